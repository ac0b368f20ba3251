//! What is asked of a registry, answered by an archive or by the registry.

use std::io::Read;

use bytes::Bytes;

use super::{Archives, Of, asked, blocking};
use crate::{
    oci::{Descriptor, Digest, RawManifest, Repository, TagOrDigest},
    registry::{
        Access, BlobSource, Copied, Place, Progress, Put, Registry, RegistryError, remote::Limits,
    },
};

impl<R: Registry> Registry for Archives<R> {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        match (self.of(repository)?, reference) {
            (Of::Registry, _) => self.registry.head_manifest(access, repository, reference).await,
            (Of::Nothing, _) => Ok(None),
            (Of::Archive(archive), TagOrDigest::Tag(tag)) => {
                self.image_of(archive, repository, tag).await
            }
            (Of::Archive(archive), TagOrDigest::Digest(_)) => {
                let manifest = self.manifest(archive, repository, reference).await?;
                Ok(manifest.map(|manifest| manifest.descriptor()))
            }
        }
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        match self.of(repository)? {
            Of::Registry => self.registry.get_manifest(access, repository, reference).await,
            Of::Archive(archive) => self.manifest(archive, repository, reference).await,
            Of::Nothing => Ok(None),
        }
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        let archive = match self.of(repository)? {
            Of::Registry => return self.registry.get_blob(access, repository, blob).await,
            Of::Nothing => return Ok(None),
            Of::Archive(archive) => archive,
        };
        let (host, request) = asked("GET", repository, &blob.digest);
        let limit = Limits::default().config;
        if blob.size > limit {
            return Err(RegistryError::TooLarge { host, request, limit });
        }
        let (archive, blob) = (archive.clone(), blob.clone());
        blocking(move || {
            let Some(mut reader) =
                archive.open_blob(&blob.digest).map_err(|error| archive.told(&error))?
            else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            // One byte more than promised is enough to know.
            let read = reader.by_ref().take(blob.size + 1).read_to_end(&mut bytes);
            read.map_err(|error| archive.told_by_reader(error))?;
            let (expected, received) = (blob.size, bytes.len() as u64);
            if received != expected {
                return Err(RegistryError::WrongSize { host, request, expected, received });
            }
            if !blob.digest.matches(&bytes) {
                let (expected, computed) = (blob.digest, Digest::of(&bytes));
                return Err(RegistryError::WrongDigest { host, request, expected, computed });
            }
            Ok(Some(bytes.into()))
        })
        .await
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        written(repository)?;
        self.registry.put_manifest(access, repository, reference, manifest).await
    }

    async fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        let archive = match self.of(repository)? {
            Of::Registry => return self.registry.blob_exists(access, repository, blob).await,
            Of::Nothing => return Ok(false),
            Of::Archive(archive) => archive,
        };
        let (archive, digest) = (archive.clone(), blob.digest.clone());
        match blocking(move || Ok(archive.blob(&digest))).await? {
            Some(received) if received != blob.size => {
                let (host, request) = asked("HEAD", repository, &blob.digest);
                let expected = blob.size;
                Err(RegistryError::WrongSize { host, request, expected, received })
            }
            size => Ok(size.is_some()),
        }
    }

    async fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        written(to.repository)?;
        match self.of(from.repository)? {
            Of::Archive(archive) => self.send(archive, (from, to), blob, progress).await,
            Of::Nothing => Ok(None),
            Of::Registry => self.registry.copy_blob(from, to, blob, progress).await,
        }
    }

    async fn push_blob(
        &self,
        to: Place<'_>,
        blob: &Descriptor,
        source: &dyn BlobSource,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        written(to.repository)?;
        self.registry.push_blob(to, blob, source, progress).await
    }

    async fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        written(repository)?;
        self.registry.delete_tag(access, repository, tag).await
    }

    async fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        match self.of(repository)? {
            Of::Archive(_) | Of::Nothing => Ok(Vec::new()),
            Of::Registry => self.registry.list_referrers(access, repository, subject).await,
        }
    }

    async fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        written(repository)?;
        self.registry.put_referrer(access, repository, manifest, subject).await
    }
}

/// Refuses to write to an archive.
fn written(repository: &Repository) -> Result<(), RegistryError> {
    let why = || format!("{repository} is in an archive, and archives are only read");
    let is_outside = repository.archive().is_none();
    is_outside.then_some(()).ok_or_else(|| RegistryError::Archive { why: why() })
}

//! A registry that is written to only while this process may write.

use std::sync::Arc;

use bytes::Bytes;

use super::Term;
use crate::{
    oci::{Descriptor, Digest, RawManifest, Repository, TagOrDigest},
    registry::{Access, BlobSource, Copied, Fence, Place, Progress, Put, Registry, RegistryError},
};

/// A registry for the time of one term: whatever is written carries the term's fence to where it is sent. A write that
/// would begin after the term waits there, and is cut off with its run.
#[derive(Clone, Debug)]
pub struct Fenced<R> {
    registry: Arc<R>,
    fence: Fence,
}

impl<R> Fenced<R> {
    /// `registry`, for the time of `term`.
    #[must_use]
    pub fn new(registry: Arc<R>, term: &Term) -> Self {
        Self { registry, fence: term.fence().clone() }
    }

    fn fenced(&self, access: &Access) -> Access {
        Access { fence: self.fence.clone(), ..access.clone() }
    }
}

impl<R: Registry> Registry for Fenced<R> {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.registry.head_manifest(access, repository, reference).await
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.registry.get_manifest(access, repository, reference).await
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.registry.get_blob(access, repository, blob).await
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        let access = &self.fenced(access);
        self.registry.put_manifest(access, repository, reference, manifest).await
    }

    async fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        self.registry.blob_exists(access, repository, blob).await
    }

    async fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        let access = &self.fenced(to.access);
        self.registry.copy_blob(from, Place { access, ..to }, blob, progress).await
    }

    async fn push_blob(
        &self,
        to: Place<'_>,
        blob: &Descriptor,
        source: &dyn BlobSource,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        let access = &self.fenced(to.access);
        self.registry.push_blob(Place { access, ..to }, blob, source, progress).await
    }

    async fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        let access = &self.fenced(access);
        self.registry.delete_tag(access, repository, tag).await
    }

    async fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.registry.list_referrers(access, repository, subject).await
    }

    async fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let access = &self.fenced(access);
        self.registry.put_referrer(access, repository, manifest, subject).await
    }
}

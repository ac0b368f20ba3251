//! The store's first face: the port itself, without a network.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use secrecy::ExposeSecret;

use super::{Fault, Store};
use crate::{
    oci::{Descriptor, Digest, RawManifest, Referrer, Repository, TagOrDigest},
    registry::{
        Access, BlobSource, Copied, Place, Progress, Proof, Put, Registry, RegistryError, Request,
    },
};

impl Registry for Store {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.admit(access, repository, &Request::manifest("HEAD", repository, reference)).await?;
        Ok(self.manifest(repository.path(), reference).map(|found| found.descriptor()))
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let request = Request::manifest("GET", repository, reference);
        self.admit(access, repository, &request).await?;
        let Some(found) = self.manifest(repository.path(), reference) else { return Ok(None) };
        RawManifest::from_response(Some(found.media_type()), found.bytes().clone())
            .map(Some)
            .map_err(|source| RegistryError::Unusable {
                host: repository.host().into(),
                request,
                source,
            })
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        let request = Request::blob("GET", repository, &blob.digest);
        self.admit(access, repository, &request).await?;
        self.read(repository, request, blob)
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        let request = Request::manifest("PUT", repository, reference);
        self.admit(access, repository, &request).await?;
        let is_taken = matches!(reference, TagOrDigest::Tag(_))
            && self.manifest(repository.path(), reference).is_some_and(|then| then != *manifest);
        if is_taken && self.state().protected {
            let (host, codes) = (repository.host().into(), vec!["DENIED".into()]);
            return Err(RegistryError::TagImmutable { host, request, status: 409, codes });
        }
        let accepted = self.accept(repository.path(), reference, manifest);
        accepted.map_err(|rejected| RegistryError::Refused {
            host: repository.host().into(),
            request: request.clone(),
            status: rejected.status,
            codes: vec![rejected.code.into()],
        })?;
        self.answered(&request)?;
        Ok(Put::Taken)
    }

    async fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        let request = Request::blob("HEAD", repository, &blob.digest);
        self.admit(access, repository, &request).await?;
        Ok(self.read(repository, request, blob)?.is_some())
    }

    async fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        let (source, target) = (from.repository, to.repository);
        let proof = |place: Place<'_>| place.access.credential.clone().map(|it| it.proof);
        if source != target && source.is_beside(target) && proof(from) == proof(to) {
            self.admit(to.access, target, &Request::mount(target, &blob.digest)).await?;
            if !self.state().no_mounts
                && let Some(bytes) = self.blob(source.path(), &blob.digest)
            {
                self.push_blob(target.path(), &blob.media_type, bytes);
                return Ok(Some(Copied::Mounted));
            }
        }
        if self.blob_exists(to.access, target, blob).await? {
            return Ok(Some(Copied::Present));
        }
        let Some(bytes) = self.get_blob(from.access, source, blob).await? else { return Ok(None) };
        self.upload(to, blob, bytes, progress).await.map(Some)
    }

    async fn push_blob(
        &self,
        to: Place<'_>,
        blob: &Descriptor,
        source: &dyn BlobSource,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        if self.blob_exists(to.access, to.repository, blob).await? {
            return Ok(Some(Copied::Present));
        }
        let Some(mut chunks) = source.open().await? else { return Ok(None) };
        let mut bytes = BytesMut::new();
        while let Some(chunk) = chunks.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let ((host, request), received) = (source.named(), bytes.len() as u64);
        if received != blob.size {
            return Err(RegistryError::WrongSize { host, request, expected: blob.size, received });
        }
        if !blob.digest.matches(&bytes) {
            let (expected, computed) = (blob.digest.clone(), Digest::of(&bytes));
            return Err(RegistryError::WrongDigest { host, request, expected, computed });
        }
        self.upload(to, blob, bytes.freeze(), progress).await.map(Some)
    }

    async fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        let reference = TagOrDigest::Tag(tag.into());
        let request = Request::manifest("DELETE", repository, &reference);
        self.admit(access, repository, &request).await?;
        let was_there = self.untag(repository.path(), tag);
        self.answered(&request).map(|()| was_there)
    }

    async fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.admit(access, repository, &Request::referrers(repository, subject)).await?;
        Ok(self.referrers(repository.path(), subject))
    }

    async fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        if let Err(source) = Referrer::of(manifest, subject) {
            let request = Request::manifest("PUT", repository, &by_digest);
            return Err(RegistryError::Unusable {
                host: repository.host().into(),
                request,
                source,
            });
        }
        self.put_manifest(access, repository, &by_digest, manifest).await.map(|_| ())
    }
}

impl Store {
    /// The blob, if it has the size that its descriptor says.
    fn read(
        &self,
        repository: &Repository,
        request: Request,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        let Some(bytes) = self.blob(repository.path(), &blob.digest) else { return Ok(None) };
        let (expected, received) = (blob.size, bytes.len() as u64);
        if expected == received {
            Ok(Some(bytes))
        } else {
            let host = repository.host().into();
            Err(RegistryError::WrongSize { host, request, expected, received })
        }
    }

    /// Takes a blob as a registry does that has nothing of it.
    async fn upload(
        &self,
        to: Place<'_>,
        blob: &Descriptor,
        bytes: Bytes,
        progress: &Progress,
    ) -> Result<Copied, RegistryError> {
        let target = to.repository;
        self.admit(to.access, target, &Request::upload("POST", target, &blob.digest)).await?;
        let put = Request::blob("PUT", target, &blob.digest);
        self.admit(to.access, target, &put).await?;
        progress(blob.size);
        self.push_blob(target.path(), &blob.media_type, bytes);
        self.answered(&put).map(|()| Copied::Uploaded)
    }

    /// The answer to what was done, unless it is lost.
    fn answered(&self, request: &Request) -> Result<(), RegistryError> {
        let losses = self.state().losses.clone();
        let lost = losses.iter().find(|loss| (loss.when)(request));
        lost.map_or(Ok(()), |loss| Err((loss.error)(request)))
    }

    /// Logs the request, when it may begin, and refuses it where a fault or the login says so, or never answers.
    async fn admit(
        &self,
        access: &Access,
        repository: &Repository,
        request: &Request,
    ) -> Result<(), RegistryError> {
        if !matches!(request.method, "HEAD" | "GET") {
            access.fence.open().await;
        }
        let (faults, hangs, login) = {
            let mut state = self.state();
            state.log.push(request.clone());
            (state.faults.clone(), state.hangs.clone(), state.login.clone())
        };
        if let Some((_, by)) = hangs.iter().find(|(hangs, _)| hangs(request)) {
            tokio::time::sleep(*by).await;
        }
        // Outside the lock: a fault may look at the store, or change it.
        for Fault { when, error } in faults {
            if when(request) {
                return Err(error(request));
            }
        }
        let accepted = login.is_none_or(|(username, password)| {
            access.credential.as_ref().is_some_and(|given| match &given.proof {
                Proof::Password { username: name, password: given } => {
                    *name == username && given.expose_secret() == password
                }
                Proof::IdentityToken { .. } | Proof::RegistryToken(_) => false,
            })
        });
        if accepted {
            Ok(())
        } else {
            Err(RegistryError::Unauthorized {
                host: repository.host().into(),
                credential: access.who(),
                status: 401,
            })
        }
    }
}

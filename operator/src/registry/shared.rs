//! Registries as all objects see them together: what one of them was answered, the others need not ask again.

mod configs;
mod contents;
mod manifests;
mod told;
mod turns;
mod who;

use std::{fmt, sync::Arc};

use bytes::Bytes;

use self::{
    configs::Blob,
    contents::Contents,
    manifests::{Named, Question},
    told::{Failed, Told},
    turns::Slots,
};
use super::{Access, BlobSource, Copied, Place, Progress, Put, Registry, RegistryError};
use crate::oci::{Descriptor, Digest, RawManifest, Repository, TagOrDigest, referrer};

/// How many references are known at most: they come from users, so there is a bound.
const REFERENCES: usize = 8192;
/// How many blobs are remembered as being read.
const BLOBS: usize = 1024;

/// A registry whose answers are shared by those who ask the same as the same identity.
///
/// What a reference names is told from another call's answer only where the caller says from when on
/// that is good enough ([`Access::since`], and for nothing [`Access::absent_since`]), and never a failure: that is
/// for the ones who were waiting while it was asked. Manifests and configs cannot change under their
/// digest, so they are read once and kept, up to a sum of bytes; that a manifest is still there is
/// asked all the same, by HEAD. What is written through here is forgotten.
pub struct Shared<R> {
    inner: R,
    named: Slots<Named, Told>,
    blobs: Slots<Blob, Result<bool, Failed>>,
    contents: Contents,
    observe: Observe,
}

/// Called once for each question that might have been answered from what is known.
pub type Observe = Arc<dyn Fn(&Use) + Send + Sync>;

/// One question that might have been answered from what is known, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// What was asked for.
    pub of: Of,
    /// It was known.
    pub hit: bool,
    /// How many bytes of manifests and configs are kept now.
    pub kept: usize,
}

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// What a reference names.
    Reference,
    /// A manifest.
    Manifest,
    /// A config.
    Config,
}

impl<R> Shared<R> {
    /// Over `inner`, with `limit` bytes for manifests and configs.
    pub fn new(inner: R, limit: usize, observe: Observe) -> Self {
        Self {
            inner,
            named: Slots::new(REFERENCES),
            blobs: Slots::new(BLOBS),
            contents: Contents::new(limit),
            observe,
        }
    }

    fn used(&self, of: Of, hit: bool) {
        (self.observe)(&Use { of, hit, kept: self.contents.bytes() });
    }
}

impl<R: Registry> Registry for Shared<R> {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.name(Question { access, repository, reference }).await
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.get(Question { access, repository, reference }).await
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.config(access, repository, blob).await
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        let _writing = self.writing(repository, [reference.clone(), by_digest]);
        self.inner.put_manifest(access, repository, reference, manifest).await
    }

    async fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        self.inner.blob_exists(access, repository, blob).await
    }

    async fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        self.inner.copy_blob(from, to, blob, progress).await
    }

    async fn push_blob(
        &self,
        to: Place<'_>,
        blob: &Descriptor,
        source: &dyn BlobSource,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        self.inner.push_blob(to, blob, source, progress).await
    }

    async fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        let _writing = self.writing(repository, [TagOrDigest::Tag(tag.into())]);
        self.inner.delete_tag(access, repository, tag).await
    }

    async fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.inner.list_referrers(access, repository, subject).await
    }

    async fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let fallback = TagOrDigest::Tag(referrer::fallback_tag(subject));
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        let _writing = self.writing(repository, [fallback, by_digest]);
        self.inner.put_referrer(access, repository, manifest, subject).await
    }
}

impl<R: fmt::Debug> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("inner", &self.inner).finish_non_exhaustive()
    }
}

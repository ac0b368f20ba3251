//! Registries as all objects see them together: what one of them was answered, the others need not ask again.

mod contents;
mod told;
mod turns;
mod who;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;

use self::{
    contents::{Content, Contents},
    told::Told,
    turns::{Slots, Turn},
    who::Who,
};
use super::{Access, Copied, Place, Progress, Registry, RegistryError};
use crate::oci::{Descriptor, Digest, RawManifest, Repository, TagOrDigest, referrer};

/// How many references are known at most: they come from users, so there is a bound.
const REFERENCES: usize = 8192;
/// How many blobs are remembered as being read.
const BLOBS: usize = 1024;

/// A registry whose answers are shared by those who ask the same as the same identity.
///
/// What a reference names is told from another call's answer only where the caller says from when on
/// that is good enough ([`Access::since`]), and never that there is nothing, or a failure: those are
/// for the ones who were waiting while it was asked. Manifests and configs cannot change under their
/// digest, so they are read once and kept, up to a sum of bytes; that a manifest is still there is
/// asked all the same, by HEAD. What is written through here is forgotten, before and after.
pub struct Shared<R> {
    inner: R,
    named: Slots<Named, Told>,
    blobs: Slots<Blob, Result<bool, told::Failed>>,
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

/// What may name something, to somebody.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Named {
    who: Who,
    repository: Repository,
    reference: TagOrDigest,
}

/// A blob that somebody reads, in the size that it is to have.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Blob {
    who: Who,
    repository: Repository,
    digest: Digest,
    size: u64,
}

/// A question about what a reference names.
#[derive(Clone, Copy)]
struct Question<'a> {
    access: &'a Access,
    repository: &'a Repository,
    reference: &'a TagOrDigest,
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

    /// Forgets what `references` name, for everybody, now and when what this gives is dropped: an
    /// answer from before a write, or from while it was at work, is not believed after it.
    #[must_use]
    fn writing<'a, const N: usize>(
        &'a self,
        repository: &'a Repository,
        references: [TagOrDigest; N],
    ) -> Writing<'a, N> {
        let writing = Writing { named: &self.named, repository, references };
        writing.forget();
        writing
    }
}

impl<R: Registry> Shared<R> {
    /// Asks what a reference names, and keeps the answer.
    async fn head(
        &self,
        question: Question<'_>,
        turn: &mut Turn<'_, Told>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let Question { access, repository, reference } = question;
        let asked = Instant::now();
        let answer = self.inner.head_manifest(access, repository, reference).await;
        turn.land(Told::new(asked, answer.as_ref().map(Option::as_ref), access));
        answer
    }

    /// Reads a manifest, and keeps it.
    async fn read(
        &self,
        question: Question<'_>,
        who: &Who,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.used(Of::Manifest, false);
        let Question { access, repository, reference } = question;
        let raw = self.inner.get_manifest(access, repository, reference).await?;
        if let Some(raw) = &raw {
            let digest = digest_of(reference, raw.digest());
            self.contents.put(who, repository, digest, Content::Manifest(raw.clone()));
        }
        Ok(raw)
    }

    /// What is kept of the manifest that `reference` names, which is `named`.
    fn kept(&self, question: Question<'_>, who: &Who, named: &Digest) -> Option<RawManifest> {
        let digest = digest_of(question.reference, named);
        match self.contents.get(who, question.repository, digest)? {
            Content::Manifest(raw) => Some(raw),
            Content::Blob(_) => None,
        }
    }

    /// The manifest that is asked for, where it is kept and is still there.
    async fn look(
        &self,
        question: Question<'_>,
        who: &Who,
        turn: &mut Turn<'_, Told>,
    ) -> Result<Looked, RegistryError> {
        let Question { access, reference, .. } = question;
        let told = turn.landed().and_then(|(told, waited)| told.answer(access, waited));
        let known = match reference {
            TagOrDigest::Digest(digest) => Some(digest),
            TagOrDigest::Tag(_) => turn.landed().and_then(|(told, _)| told.digest()),
        };
        let now = match told {
            Some(answer) => answer?,
            // Where a HEAD may be of use only: what is not kept is read at once.
            None if known.is_some_and(|known| self.kept(question, who, known).is_some()) => {
                self.head(question, turn).await?
            }
            None => return Ok(Looked::Unknown),
        };
        Ok(match now {
            None => Looked::Absent,
            Some(now) => {
                self.kept(question, who, &now.digest).map_or(Looked::Unknown, Looked::Kept)
            }
        })
    }
}

/// What is known of a manifest without reading it.
enum Looked {
    Kept(RawManifest),
    Absent,
    Unknown,
}

impl<R: Registry> Registry for Shared<R> {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        if access.since.is_none() {
            return self.inner.head_manifest(access, repository, reference).await;
        }
        let slot = self.named.get(Named::of(&Who::of(access), repository, reference));
        let mut turn = slot.turn().await;
        let told = turn.landed().and_then(|(told, waited)| told.answer(access, waited));
        self.used(Of::Reference, told.is_some());
        match told {
            Some(answer) => answer,
            None => self.head(Question { access, repository, reference }, &mut turn).await,
        }
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let (who, question) = (Who::of(access), Question { access, repository, reference });
        if access.since.is_none() {
            if let TagOrDigest::Digest(digest) = reference
                && let Some(raw) = self.kept(question, &who, digest)
            {
                self.used(Of::Manifest, true);
                let there = self.inner.head_manifest(access, repository, reference).await?;
                return Ok(there.map(|_| raw));
            }
            return self.read(question, &who).await;
        }
        let slot = self.named.get(Named::of(&who, repository, reference));
        let mut turn = slot.turn().await;
        match self.look(question, &who, &mut turn).await? {
            Looked::Kept(raw) => {
                self.used(Of::Manifest, true);
                return Ok(Some(raw));
            }
            Looked::Absent => return Ok(None),
            Looked::Unknown => {}
        }
        let asked = Instant::now();
        let answer = self.read(question, &who).await;
        let now = answer.as_ref().map(|raw| raw.as_ref().map(RawManifest::descriptor));
        turn.land(Told::new(
            asked,
            now.as_ref().map(Option::as_ref).map_err(|error| *error),
            access,
        ));
        answer
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        let who = Who::of(access);
        let kept = || match self.contents.get(&who, repository, &blob.digest)? {
            Content::Blob(bytes) => Some(bytes).filter(|bytes| bytes.len() as u64 == blob.size),
            Content::Manifest(_) => None,
        };
        if let Some(bytes) = kept() {
            self.used(Of::Config, true);
            return Ok(Some(bytes));
        }
        let slot = self.blobs.get(Blob::of(&who, repository, blob));
        let mut turn = slot.turn().await;
        if let Some((landed, true)) = turn.landed() {
            let shared = match landed {
                Ok(true) => kept().map(Some).map(Ok),
                Ok(false) => Some(Ok(None)),
                Err(failed) => failed.told(access).map(Err),
            };
            if let Some(answer) = shared {
                self.used(Of::Config, true);
                return answer;
            }
        }
        self.used(Of::Config, false);
        let answer = self.inner.get_blob(access, repository, blob).await;
        if let Ok(Some(bytes)) = &answer {
            self.contents.put(&who, repository, &blob.digest, Content::Blob(bytes.clone()));
        }
        let landed = answer.as_ref().map(Option::is_some);
        turn.land(landed.map_err(|error| told::Failed::new(error, access)));
        answer
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
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

/// A write at work, after which nothing is known of what it wrote to.
struct Writing<'a, const N: usize> {
    named: &'a Slots<Named, Told>,
    repository: &'a Repository,
    references: [TagOrDigest; N],
}

impl<const N: usize> Writing<'_, N> {
    fn forget(&self) {
        self.named.forget(|named| {
            named.repository == *self.repository && self.references.contains(&named.reference)
        });
    }
}

impl<const N: usize> Drop for Writing<'_, N> {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Named {
    fn of(who: &Who, repository: &Repository, reference: &TagOrDigest) -> Self {
        let (who, repository) = (who.clone(), repository.clone());
        Self { who, repository, reference: reference.clone() }
    }
}

impl Blob {
    fn of(who: &Who, repository: &Repository, blob: &Descriptor) -> Self {
        let (who, repository) = (who.clone(), repository.clone());
        Self { who, repository, digest: blob.digest.clone(), size: blob.size }
    }
}

/// By what `reference` is kept, which names `named`: asked by digest, by that one.
fn digest_of<'a>(reference: &'a TagOrDigest, named: &'a Digest) -> &'a Digest {
    match reference {
        TagOrDigest::Digest(digest) => digest,
        TagOrDigest::Tag(_) => named,
    }
}

impl<R: fmt::Debug> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("inner", &self.inner).finish_non_exhaustive()
    }
}

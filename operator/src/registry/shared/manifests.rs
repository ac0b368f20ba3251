//! What references name, and manifests: asked for once by those who may share the answer.

use tokio::time::Instant;

use super::{
    Of, Shared,
    contents::Content,
    told::Told,
    turns::{Slots, Turn},
    who::Who,
};
use crate::{
    oci::{Descriptor, Digest, RawManifest, Repository, TagOrDigest},
    registry::{Access, Registry, RegistryError},
};

/// What may name something, to somebody.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Named {
    who: Who,
    repository: Repository,
    reference: TagOrDigest,
}

/// A question about what a reference names.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) access: &'a Access,
    pub(super) repository: &'a Repository,
    pub(super) reference: &'a TagOrDigest,
}

/// What is known of a manifest without reading it.
enum Looked {
    Kept(RawManifest),
    Absent,
    Unknown,
}

/// A write at work, after which nothing is known of what it wrote to.
pub(super) struct Writing<'a, const N: usize> {
    named: &'a Slots<Named, Told>,
    repository: &'a Repository,
    references: [TagOrDigest; N],
}

impl<R: Registry> Shared<R> {
    /// What a reference names.
    pub(super) async fn name(
        &self,
        question: Question<'_>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let Question { access, repository, reference } = question;
        if access.since.is_none() {
            return self.inner.head_manifest(access, repository, reference).await;
        }
        let slot = self.named.get(Named::of(&Who::of(access), repository, reference));
        let mut turn = slot.turn().await;
        let told = turn.landed().and_then(|(told, waited)| told.answer(access, waited));
        self.used(Of::Reference, told.is_some());
        match told {
            Some(answer) => answer,
            None => self.head(question, &mut turn).await,
        }
    }

    /// The manifest that a reference names.
    pub(super) async fn get(
        &self,
        question: Question<'_>,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let Question { access, repository, reference } = question;
        let who = Who::of(access);
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
        let now = now.as_ref().map(Option::as_ref).map_err(|error| *error);
        turn.land(|before| Told::new(asked, now, access, before));
        answer
    }

    /// Asks what a reference names, and keeps the answer.
    async fn head(
        &self,
        question: Question<'_>,
        turn: &mut Turn<'_, Told>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let Question { access, repository, reference } = question;
        let asked = Instant::now();
        let answer = self.inner.head_manifest(access, repository, reference).await;
        let now = answer.as_ref().map(Option::as_ref);
        turn.land(|before| Told::new(asked, now, access, before));
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

impl<R> Shared<R> {
    /// Forgets what `references` name, for everybody, now and when what this gives is dropped: an
    /// answer from before a write, or from while it was at work, is not believed after it.
    #[must_use]
    pub(super) fn writing<'a, const N: usize>(
        &'a self,
        repository: &'a Repository,
        references: [TagOrDigest; N],
    ) -> Writing<'a, N> {
        let writing = Writing { named: &self.named, repository, references };
        writing.forget();
        writing
    }
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

/// By what `reference` is kept, which names `named`: asked by digest, by that one.
fn digest_of<'a>(reference: &'a TagOrDigest, named: &'a Digest) -> &'a Digest {
    match reference {
        TagOrDigest::Digest(digest) => digest,
        TagOrDigest::Tag(_) => named,
    }
}

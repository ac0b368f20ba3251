//! Configs, and whatever else is small and read whole: read once by those who may share them.

use bytes::Bytes;

use super::{Of, Shared, contents::Content, told::Failed, who::Who};
use crate::{
    oci::{Descriptor, Digest, Repository},
    registry::{Access, Registry, RegistryError},
};

/// A blob that somebody reads, in the size that it is to have.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Blob {
    who: Who,
    repository: Repository,
    digest: Digest,
    size: u64,
}

impl<R: Registry> Shared<R> {
    /// The bytes of `blob`.
    pub(super) async fn config(
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
        turn.land(|_| landed.map_err(|error| Failed::new(error, access)));
        answer
    }
}

impl Blob {
    fn of(who: &Who, repository: &Repository, blob: &Descriptor) -> Self {
        let (who, repository) = (who.clone(), repository.clone());
        Self { who, repository, digest: blob.digest.clone(), size: blob.size }
    }
}

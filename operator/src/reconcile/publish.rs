//! writes: the planned index under the target's tag, and reads it back.

use std::time::Duration;

use futures::future::try_join_all;
use jiff::SignedDuration;
use multiarch_crds::condition::Reason;

use super::{
    Job,
    access::AccessMap,
    copy,
    plan::{Current, Plan, Read},
    sources::Sources,
};
use crate::{
    keychain::KeychainError,
    oci::{Digest, Reference, TagOrDigest},
    registry::{Access, Registry, RegistryError},
};

/// How long a registry may go on answering with what the tag named before (REGISTRY.md rule 11).
pub const LAG: SignedDuration = SignedDuration::from_mins(2);

/// Pauses before the tag is asked for once more after a push, where the registry lags.
const READ_BACK: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// An index that was read back under the target's tag. Can be made only here, so that status
/// cannot report what was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    reference: Reference,
    digest: Digest,
    media_type: String,
    pushed: bool,
    replaced: Option<Digest>,
}

/// Why the plan is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No credential could be made ready.
    #[error("{source}")]
    Credential {
        /// Why not.
        #[source]
        source: KeychainError,
    },
    /// What the tag names now could not be read.
    #[error("failed to read the target {target}: {source}")]
    Look {
        /// The target.
        target: Reference,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// A published image that was to stay is gone.
    #[error("{image} is gone from the registry, and so is its source: push that image again")]
    ChildGone {
        /// The image.
        image: Reference,
    },
    /// Content could not be copied into the target's repository.
    #[error("failed to copy {image}: {source}")]
    Copy {
        /// The image, where it is.
        image: Reference,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// A blob of a source's image is gone.
    #[error("the blob {blob} of {image} is gone from its registry: push that image again")]
    BlobGone {
        /// Name of the source.
        name: String,
        /// The image, where it is.
        image: Reference,
        /// The blob.
        blob: Digest,
    },
    /// An image whose layers are to be had elsewhere only was refused.
    #[error(
        "{image} has the layer {layer} that is not in its registry but at other URLs, and the \
         target's registry refuses such images: build it again with that layer pushed"
    )]
    ForeignLayer {
        /// The image, where it is.
        image: Reference,
        /// The layer.
        layer: Digest,
    },
    /// The index was not taken.
    #[error("failed to push {target}: {source}")]
    Push {
        /// The target.
        target: Reference,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// The index was pushed, and asking for it failed.
    #[error("pushed {target}, but failed to read it back: {source}")]
    ReadBack {
        /// The target.
        target: Reference,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// The index was pushed, and the tag still names what it named before.
    #[error("pushed {target}, and waiting for the registry to show it")]
    Lagging {
        /// The target, pinned to what was pushed.
        target: Reference,
        /// Whether it was pushed in this run, and not in an earlier one.
        pushed: bool,
    },
    /// The index was pushed, and the tag names something else.
    #[error(
        "pushed {target}, but the tag names {seen}: someone else writes it too, or the registry changed it"
    )]
    Mismatch {
        /// The target, pinned to what was pushed.
        target: Reference,
        /// What the tag names.
        seen: Digest,
    },
}

impl Published {
    /// One that nobody published, for tests of what reports it.
    #[cfg(test)]
    pub(crate) fn pretend(reference: Reference, pushed: bool) -> Option<Self> {
        let (digest, media_type) = (reference.digest()?.clone(), crate::oci::media_type::OCI_INDEX);
        let media_type = media_type.to_owned();
        Some(Self { reference, digest, media_type, pushed, replaced: None })
    }

    /// The target, pinned to what its tag names.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The digest that the tag names.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Media type of the index.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Whether it was pushed now; else the tag named it, or its equal, already.
    #[must_use]
    pub fn pushed(&self) -> bool {
        self.pushed
    }

    /// What the tag named before the push, if it named anything.
    #[must_use]
    pub fn replaced(&self) -> Option<&Digest> {
        self.replaced.as_ref()
    }
}

impl PublishError {
    /// Whether the registry took the index in this run.
    #[must_use]
    pub fn pushed(&self) -> bool {
        match self {
            Self::Lagging { pushed, .. } => *pushed,
            Self::ReadBack { .. } | Self::Mismatch { .. } => true,
            Self::Credential { .. }
            | Self::Look { .. }
            | Self::ChildGone { .. }
            | Self::Copy { .. }
            | Self::BlobGone { .. }
            | Self::ForeignLayer { .. }
            | Self::Push { .. } => false,
        }
    }
}

/// Checks that the published images called `digests`, whose sources are absent, are still there.
pub async fn check_children<R: Registry>(
    registry: &R,
    access: &Access,
    sources: &Sources,
    digests: impl Iterator<Item = &Digest>,
) -> Result<(), PublishError> {
    let repository = sources.target.repository();
    let heads = digests.map(|digest| async move {
        let child = TagOrDigest::Digest(digest.clone());
        match registry.head_manifest(access, repository, &child).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(PublishError::ChildGone { image: repository.digest(digest) }),
            Err(source) => Err(PublishError::Look { target: sources.target.clone(), source }),
        }
    });
    try_join_all(heads).await.map(|_| ())
}

/// Publishes `plan`: nothing is written where the tag names it, or its equal, already.
pub async fn publish<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    plan: &Plan,
    current: &Current,
) -> Result<Published, PublishError> {
    let Job { registry, sources, memory, stage, now, .. } = *job;
    let equal = |read: &Read| plan.index.as_ref().is_some_and(|plan| read.index.satisfies(plan));
    let before = match current {
        Current::Free => None,
        Current::Known(digest) | Current::Read(Read { digest, .. })
            if digest == plan.raw.digest() =>
        {
            return Ok(found(sources, digest, plan.raw.media_type()));
        }
        Current::Read(read) if equal(read) => {
            return Ok(found(sources, &read.digest, &read.index.media_type));
        }
        Current::Known(digest) | Current::Read(Read { digest, .. }) => Some(digest),
    };
    let target = sources.target.pinned_to(plan.raw.digest());
    let pushed_just_now = memory.pushed_at.is_some_and(|at| now.duration_since(at) < LAG);
    if memory.reason == Some(Reason::ReadingBack) && pushed_just_now {
        return Err(PublishError::Lagging { target, pushed: false });
    }
    copy::copy(job, access, &plan.contents).await?;
    stage.at("while pushing the index and reading it back");
    let access = access.target().map_err(|source| PublishError::Credential { source })?;
    let (repository, tag) = (sources.target.repository(), sources.target.tag_or_digest());
    let put = registry.put_manifest(access, repository, &tag, &plan.raw).await;
    put.map_err(|source| PublishError::Push { target: sources.target.clone(), source })?;
    read_back(registry, access, &target, &tag, before).await?;
    let (digest, media_type) = (plan.raw.digest().clone(), plan.raw.media_type().to_owned());
    let replaced = before.cloned();
    Ok(Published { reference: target, digest, media_type, pushed: true, replaced })
}

async fn read_back<R: Registry>(
    registry: &R,
    access: &Access,
    target: &Reference,
    tag: &TagOrDigest,
    before: Option<&Digest>,
) -> Result<(), PublishError> {
    for pause in READ_BACK {
        tokio::time::sleep(pause).await;
        let seen = registry.head_manifest(access, target.repository(), tag).await;
        let seen =
            seen.map_err(|source| PublishError::ReadBack { target: target.clone(), source })?;
        match seen.map(|seen| seen.digest) {
            Some(seen) if Some(&seen) == target.digest() => return Ok(()),
            Some(seen) if Some(&seen) != before => {
                return Err(PublishError::Mismatch { target: target.clone(), seen });
            }
            _ => {}
        }
    }
    Err(PublishError::Lagging { target: target.clone(), pushed: true })
}

fn found(sources: &Sources, digest: &Digest, media_type: &str) -> Published {
    Published {
        reference: sources.target.pinned_to(digest),
        digest: digest.clone(),
        media_type: media_type.to_owned(),
        pushed: false,
        replaced: None,
    }
}

//! pure: why a plan is not published, in words that say what to do.

use crate::{
    keychain::KeychainError,
    oci::{Digest, Platform, Reference},
    reconcile::{claims::Owner, tags::shown},
    registry::RegistryError,
};

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
    /// An image of the index is gone, and there is nowhere to take it from.
    #[error("{image} is gone from the registry, and so is its source: push that image again")]
    ChildGone {
        /// The image.
        image: Reference,
    },
    /// An image of the index is gone, and could not be put back.
    #[error("{image} is gone from the registry, and could not be put back: {source}")]
    ChildLost {
        /// The image.
        image: Reference,
        /// Why not.
        #[source]
        source: Box<PublishError>,
    },
    /// Content could not be copied into the target's repository.
    #[error("failed to copy {image}: {source}")]
    Copy {
        /// Name of the source.
        name: String,
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
        /// Name of the source.
        name: String,
        /// The image, where it is.
        image: Reference,
        /// The layer.
        layer: Digest,
    },
    /// The tag was moved while content was copied for it.
    #[error("{tag} was moved to {} while its content was copied: looking again", shown(.named.as_ref()))]
    Moved {
        /// The tag.
        tag: Reference,
        /// What it names now.
        named: Option<Digest>,
    },
    /// The tag is left to whoever moved it.
    #[error(
        "{tag} names {} instead of {published}, and is left so, as tagPolicy: Yield says, until a \
         source or the spec changes", shown(.named.as_ref())
    )]
    Yielded {
        /// The tag.
        tag: Reference,
        /// What was published.
        published: Digest,
        /// What it names now.
        named: Option<Digest>,
    },
    /// The tag was put back too often.
    #[error(
        "{tag} names {} instead of {published}, and is left so: something else has moved it back \
         three times within an hour; stop that, then edit the spec or annotate the object with \
         multiarch.dev/requestedAt", shown(.named.as_ref())
    )]
    DriftLoop {
        /// The tag.
        tag: Reference,
        /// What was published.
        published: Digest,
        /// What it names now.
        named: Option<Digest>,
    },
    /// The tag has other content and may not be overwritten.
    #[error(
        "{tag} names {} and not what would be published, and tagPolicy: Immutable writes a tag once: \
         publish under another tag, or move this one back", shown(.named.as_ref())
    )]
    Immutable {
        /// The tag.
        tag: Reference,
        /// What it names now.
        named: Option<Digest>,
    },
    /// Another object keeps the tag.
    #[error("{tag} is written by {owner}: give one of the two another tag, or delete one of them")]
    Claimed {
        /// The tag.
        tag: Reference,
        /// Who keeps it.
        owner: Owner,
    },
    /// The tag of an image names something else.
    #[error(
        "{tag}, which platformTags gives {platform}, names something that this object did not \
         write: delete that tag, or change platformTags"
    )]
    TagTaken {
        /// The tag.
        tag: Reference,
        /// The platform.
        platform: Platform,
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

impl PublishError {
    /// What the registry took under the tag in this run.
    #[must_use]
    pub fn pushed(&self) -> Option<&Digest> {
        match self {
            Self::Lagging { target, pushed: true }
            | Self::ReadBack { target, .. }
            | Self::Mismatch { target, .. } => target.digest(),
            Self::Lagging { pushed: false, .. }
            | Self::Credential { .. }
            | Self::Look { .. }
            | Self::ChildGone { .. }
            | Self::ChildLost { .. }
            | Self::Copy { .. }
            | Self::BlobGone { .. }
            | Self::ForeignLayer { .. }
            | Self::Moved { .. }
            | Self::Yielded { .. }
            | Self::DriftLoop { .. }
            | Self::Immutable { .. }
            | Self::Claimed { .. }
            | Self::TagTaken { .. }
            | Self::Push { .. } => None,
        }
    }

    /// What the registry took under the tag, in this run or an earlier one, and may show yet.
    #[must_use]
    pub fn awaited(&self) -> Option<&Digest> {
        match self {
            Self::Lagging { target, .. } | Self::ReadBack { target, .. } => target.digest(),
            _ => None,
        }
    }

    /// Whether the target's registry may be asked for something else in this run.
    #[must_use]
    pub fn target_answered(&self) -> bool {
        !matches!(
            self,
            Self::Credential { .. }
                | Self::Look { .. }
                | Self::ReadBack { .. }
                | Self::Lagging { .. }
                | Self::Mismatch { .. }
        )
    }

    /// Whether an image that the index lists is known to be gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::ChildGone { .. } | Self::ChildLost { .. })
    }

    /// The source of which content could not be copied.
    #[must_use]
    pub fn of_source(&self) -> Option<&str> {
        match self {
            Self::Copy { name, .. }
            | Self::BlobGone { name, .. }
            | Self::ForeignLayer { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The source of which a blob is gone.
    #[must_use]
    pub fn incomplete(&self) -> Option<&str> {
        match self {
            Self::BlobGone { name, .. } => Some(name),
            _ => None,
        }
    }
}

//! pure: why nothing is published now.

use crate::{
    oci::{
        Digest, Label, Platform,
        manifest::{MAX_BYTES, MAX_CHILDREN},
    },
    reconcile::tags::TagsError,
};

/// Why nothing is published now.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Held {
    /// Platforms that are to come.
    #[error("waiting for {}", .waiting.join(", "))]
    Waiting {
        /// What is waited for, in words.
        waiting: Vec<String>,
    },
    /// A source failed, so that its platform is unknown.
    #[error("a source failed")]
    SourceFailed,
    /// Two sources give the same platform, or one gives it twice.
    #[error(
        "{}: an index has one image for each platform, so remove one of the two or correct its \
         image", both(.first, .second, .platform)
    )]
    Duplicate {
        /// The platform.
        platform: Platform,
        /// The first source.
        first: String,
        /// The second source.
        second: String,
    },
    /// Images differ in a label that must be equal.
    #[error(
        "waiting for images that agree in the label {label:?}: {}{}", each(.values),
        and_more(*.more)
    )]
    Differ {
        /// The label.
        label: String,
        /// Its values, each with the images that have it.
        values: Vec<(Label, Vec<String>)>,
        /// How many more labels differ.
        more: usize,
    },
    /// An image that is to stay, and that the target's format does not take.
    #[error(
        "the tag has {platform} as an OCI image ({digest}), which a Docker manifest list cannot hold: add a \
         source with a Docker image for it, or set target.format: OCI"
    )]
    Format {
        /// Its platform.
        platform: Platform,
        /// Its digest.
        digest: Digest,
    },
    /// The tag's index has platforms that no source provides any more.
    #[error(
        "the tag would lose {}: add a source for what must stay, or set removalPolicy to Retain \
         (keep it) or Remove (let it go)", .platforms.join(", ")
    )]
    WouldShrink {
        /// The platforms.
        platforms: Vec<String>,
    },
    /// The tag names something whose platforms cannot be told.
    #[error(
        "the tag names something of which not every platform can be told: delete that tag, choose \
         another one, or set removalPolicy: Remove to replace it"
    )]
    NoImage,
    /// The images cannot be tagged as the spec says.
    #[error("{source}")]
    Tags {
        /// Why not.
        #[source]
        source: TagsError,
    },
    /// More children than an index may have.
    #[error(
        "the index would have {children} children, more than the {MAX_CHILDREN} that are allowed"
    )]
    TooMany {
        /// How many.
        children: usize,
    },
    /// More bytes than registries and clients take.
    #[error(
        "the index would have {bytes} bytes, more than the {MAX_BYTES} that registries take: \
         shorten the annotations of the spec and of the sources"
    )]
    TooLarge {
        /// How many.
        bytes: usize,
    },
}

fn each(values: &[(Label, Vec<String>)]) -> String {
    let each: Vec<_> =
        values.iter().map(|(value, images)| format!("{value} in {}", images.join(", "))).collect();
    each.join("; ")
}

fn and_more(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!("; more labels differ: {more}"),
    }
}

fn both(first: &str, second: &str, platform: &Platform) -> String {
    if first == second {
        format!("source {first} gives {platform} twice")
    } else {
        format!("sources {first} and {second} both give {platform}")
    }
}

//! pure: why a source gives no image, in words that say what to do.

use crate::{
    keychain::KeychainError,
    oci::{Digest, Platform, manifest::ManifestError},
    reconcile::publish::PublishError,
    registry::RegistryError,
};

/// Why a source gave no image although its registry may well have something there.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The registry did not answer with content.
    #[error("failed to read {reference}: {source}")]
    Registry {
        /// What was read.
        reference: String,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// No credential could be made ready.
    #[error("{source}")]
    Credential {
        /// Why not.
        #[source]
        source: KeychainError,
    },
    /// The bytes are no manifest or config.
    #[error("{reference} cannot be used: {source}")]
    Content {
        /// What was read.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// The config says another platform than the user.
    #[error(
        "{reference} is declared as {declared}, but its config says {actual}: correct \
         the source's platforms, or {}",
        told(.reference, "push the right image", "put the right archive in its place")
    )]
    Mismatch {
        /// The image.
        reference: String,
        /// The user's words.
        declared: String,
        /// The config's.
        actual: Platform,
    },
    /// The config says another platform than the index that holds the image.
    #[error(
        "{reference} holds {digest} as {listed}, but its config says {actual}: build the index again"
    )]
    IndexMismatch {
        /// The index.
        reference: String,
        /// The child.
        digest: Digest,
        /// The index's words.
        listed: Platform,
        /// The config's.
        actual: Platform,
    },
    /// An index whose only image is not the platform that the user declared.
    #[error("{reference} is an index without {declared}; it has {listed}")]
    NotInIndex {
        /// The index.
        reference: String,
        /// The user's words.
        declared: String,
        /// What it has.
        listed: Platform,
    },
    /// Several platforms declared for one image.
    #[error(
        "{reference} is a single image, but {declared} platforms are declared for it: name the one that it is"
    )]
    SingleImage {
        /// The image.
        reference: String,
        /// How many are declared.
        declared: usize,
    },
    /// A child without platform that is no attestation.
    #[error(
        "{reference} holds {digest} without a platform: name that digest as the source, with the platform that it is"
    )]
    ChildWithoutPlatform {
        /// The index.
        reference: String,
        /// The child.
        digest: Digest,
    },
    /// An index without an image.
    #[error("{reference} is an index without an image: build it again")]
    NoImages {
        /// The index.
        reference: String,
    },
    /// A child that its media type calls an index and that is none.
    #[error("{reference} lists {digest} as an index, which it is not: build it again")]
    NotAnIndex {
        /// The outer index.
        reference: String,
        /// The child.
        digest: Digest,
    },
    /// An index in an index in an index.
    #[error(
        "{reference} holds indexes more than one level deep, at {digest}: name the images in it as \
         sources"
    )]
    Nested {
        /// The outer index.
        reference: String,
        /// The inner one.
        digest: Digest,
    },
    /// An index whose child is gone.
    #[error("{reference} is an index whose child {digest} is gone: {}", told(.reference, AGAIN, WHOLE))]
    Incomplete {
        /// The index.
        reference: String,
        /// The child that answers 404.
        digest: Digest,
    },
    /// An image whose config blob is gone.
    #[error("{reference} is an image whose config {digest} is gone: {}", told(.reference, AGAIN, WHOLE))]
    ConfigGone {
        /// The image.
        reference: String,
        /// The config that answers 404.
        digest: Digest,
    },
    /// An OCI image for a Docker manifest list.
    #[error(
        "{reference} has the OCI image {digest}, which a Docker manifest list cannot hold: build it with \
         Docker media types, or set target.format: OCI"
    )]
    Format {
        /// What was read.
        reference: String,
        /// The image: it, or a child of it.
        digest: Digest,
    },
    /// More bytes of manifests than may be kept until they are copied.
    #[error(
        "{reference} is not read to the end: the manifests of {by} have more than {limit} bytes \
         together: choose fewer platforms, or build the images with fewer layers and annotations"
    )]
    TooMuch {
        /// What was read.
        reference: String,
        /// Whose they are, in words.
        by: &'static str,
        /// How many bytes they may have.
        limit: u64,
    },
    /// It could be read, and not be copied.
    #[error("{source}")]
    NotCopied {
        /// Why not.
        #[source]
        source: Box<PublishError>,
    },
    /// An artifact whose config says no platform.
    #[error(
        "{reference} is no image: its config is {config}, which tells no platform; to publish it all \
         the same, declare the platform and set platformPolicy: Trust"
    )]
    NoPlatform {
        /// The artifact.
        reference: String,
        /// Media type of its config.
        config: String,
    },
}

const AGAIN: &str = "push it again";
const WHOLE: &str = "put a whole archive in its place";

/// What is to be done about `reference`, on a registry or in an archive: only the name of what is in one has a `#`.
fn told(reference: &str, pushed: &'static str, put: &'static str) -> &'static str {
    if reference.contains('#') { put } else { pushed }
}

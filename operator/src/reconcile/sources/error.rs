//! Why a spec cannot be served.

use crate::oci::{Reference, platform::PlatformError, reference::ReferenceError};

/// Why a spec cannot be served. Most of these the API server refuses at apply; they are checked
/// again because a CustomResourceDefinition can be older than the operator.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The target is no reference.
    #[error("spec.target.image: {source}")]
    Target {
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// The target has a digest or no tag.
    #[error("spec.target.image: {reference} must be repository:tag, without a digest")]
    TargetNotTag {
        /// The target.
        reference: Reference,
    },
    /// A source's image is no reference.
    #[error("spec.sources[{name}].image: {source}")]
    Image {
        /// The source.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// A source is in an archive, and in a registry or with a credential, too.
    #[error(
        "spec.sources[{name}]: a source in an archive has neither image nor secretRef nor provider"
    )]
    ArchiveAndMore {
        /// The source.
        name: String,
    },
    /// What is wanted of an archive is no reference.
    #[error("spec.sources[{name}].archive.image: {source}")]
    ArchiveImage {
        /// The source.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// A source is the target.
    #[error(
        "spec.sources[{name}].image: {reference} is the target itself; to keep what its index has \
         now, use removalPolicy: Retain"
    )]
    SourceIsTarget {
        /// The source.
        name: String,
        /// The reference.
        reference: Reference,
    },
    /// A source is one of the additional tags.
    #[error(
        "spec.sources[{name}].image: {reference} is one of spec.target.additionalTags, which would be overwritten: take it out of one of the two"
    )]
    SourceIsTag {
        /// The source.
        name: String,
        /// The reference.
        reference: Reference,
    },
    /// An additional tag that is no tag, or the target's own.
    #[error("spec.target.additionalTags: {tag:?} {why}")]
    AdditionalTag {
        /// The tag.
        tag: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The template of the images' tags cannot be used.
    #[error("spec.target.platformTags: {why}")]
    PlatformTags {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A Docker manifest list with what it cannot have.
    #[error("spec.target.format: a Docker manifest list has no {what}: {remedy}")]
    Docker {
        /// What the spec asks for.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// An annotation that makes an image an attestation.
    #[error(
        "spec.sources[{name}].annotations: {key:?} ties BuildKit's attestations to their image, and is not \
         set by hand"
    )]
    Annotation {
        /// The source.
        name: String,
        /// The annotation.
        key: String,
    },
    /// A platform that cannot be parsed.
    #[error("{field}: {source}")]
    Platform {
        /// The field that has it.
        field: String,
        /// What is wrong with it.
        #[source]
        source: PlatformError,
    },
    /// `Trust` without exactly one platform.
    #[error(
        "spec.sources[{name}]: platformPolicy: Trust needs exactly one platform, it has {platforms}"
    )]
    TrustWithoutPlatform {
        /// The source.
        name: String,
        /// How many it has.
        platforms: usize,
    },
    /// Certificates for a host that is spoken to without TLS.
    #[error(
        "spec.registries[{host}]: certSecretRef is for TLS, and plainHTTP does without it: leave out one of the two"
    )]
    CertificatesWithoutTls {
        /// The host.
        host: String,
    },
    /// Two credentials for one place.
    #[error(
        "{field}: provider gives the credential in the place of a Secret: leave out provider or secretRef"
    )]
    ProviderAndSecret {
        /// What has both.
        field: String,
    },
    /// The operator's credential by a connection that the object makes weaker.
    #[error(
        "{field}.provider: the operator's own credential goes over TLS by the CAs that the operator trusts (--ca-bundle): take {host} out of spec.registries"
    )]
    ProviderByOtherTls {
        /// What has it.
        field: String,
        /// The host.
        host: String,
    },
    /// An image that tenants may not name.
    #[error(
        "{field}: {reference} is in no registry that the operator may be told to use (--allowed-registries): name another one, or ask the operator's admin to allow {repository}",
        repository = .reference.repository()
    )]
    NotAllowed {
        /// The field that has it.
        field: String,
        /// The image.
        reference: Reference,
    },
    /// Two sources of one name.
    #[error("spec.sources: the name {name} occurs twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
}

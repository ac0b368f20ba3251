//! The words that users choose from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose word on a source's platform counts.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PlatformPolicy {
    /// The config's; what the user declares is checked against it.
    #[default]
    Verify,
    /// The user's, unchecked.
    Trust,
}

/// Who gives a credential, in the place of a Secret.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Provider {
    /// The credential provider plugins that kubelets have.
    Kubelet,
}

/// When the index is published.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PublishPolicy {
    /// Once all that is demanded is there.
    #[default]
    Complete,
    /// With what is there; only sources that answer 404 are left out.
    Partial,
}

/// What happens to a published platform that no source provides any more.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum RemovalPolicy {
    /// Nothing is published.
    #[default]
    Refuse,
    /// It stays.
    Retain,
    /// It goes.
    Remove,
}

/// What becomes of `BuildKit`'s attestation manifests.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Attestations {
    /// They follow their image.
    #[default]
    Keep,
    /// They are left out.
    Drop,
}

/// What becomes of referrers of images that are copied.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Referrers {
    /// They stay where they are.
    #[default]
    Ignore,
    /// They are copied along.
    Copy,
}

/// What the published index is.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Format {
    /// An OCI image index.
    #[default]
    #[serde(rename = "OCI")]
    Oci,
    /// A Docker manifest list.
    Docker,
}

/// What happens when something else moves a tag.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TagPolicy {
    /// It is put back.
    #[default]
    Enforce,
    /// It is reported and left.
    Yield,
    /// It is written once.
    Immutable,
}

/// What becomes of the tags when the object is deleted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Orphan,
    /// Those that still name what was published are deleted.
    Delete,
}

//! What users write: the spec of a `MultiArchImage`.

use std::{collections::BTreeMap, time};

use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MultiArchImageStatus;

/// What one index is made of and where it is published.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "multiarch.dev",
    version = "v1alpha1",
    kind = "MultiArchImage",
    namespaced,
    shortname = "mai",
    category = "multiarch",
    status = "MultiArchImageStatus",
    derive = "PartialEq",
    selectable = ".spec.target.image"
)]
#[serde(rename_all = "camelCase")]
pub struct MultiArchImageSpec {
    /// Where the index is published.
    pub target: Target,
    /// The images that the index is made of.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sources: Vec<Source>,
    /// Platforms that the index must have, beside those of the sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub required_platforms: Vec<String>,
    /// When to publish.
    #[serde(default)]
    pub publish_policy: PublishPolicy,
    /// What happens to a published platform that no source provides any more.
    #[serde(default)]
    pub removal_policy: RemovalPolicy,
    /// Annotations on the index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// How to reach registries that need something special.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub registries: Vec<Registry>,
    /// Secrets for reading sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<SecretRef>,
    /// How often to look.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// How long one run may take.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// Stop all work on this object.
    #[serde(default)]
    pub suspend: bool,
}

fn default_interval() -> Duration {
    time::Duration::from_secs(600).into()
}

fn default_timeout() -> Duration {
    time::Duration::from_secs(3600).into()
}

impl Default for MultiArchImageSpec {
    fn default() -> Self {
        Self {
            target: Target::default(),
            sources: Vec::new(),
            required_platforms: Vec::new(),
            publish_policy: PublishPolicy::default(),
            removal_policy: RemovalPolicy::default(),
            annotations: BTreeMap::new(),
            registries: Vec::new(),
            image_pull_secrets: Vec::new(),
            interval: default_interval(),
            timeout: default_timeout(),
            suspend: false,
        }
    }
}

/// Where the index is published.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The reference, host/repository:tag.
    pub image: String,
    /// The Secret that pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// One image that the index is made of.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The name of this source.
    pub name: String,
    /// The reference of the image.
    pub image: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub platforms: Vec<String>,
    /// Whose word is taken.
    #[serde(default)]
    pub platform_policy: PlatformPolicy,
    /// Whether it holds the index back.
    #[serde(default)]
    pub optional: bool,
    /// The Secret that reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// A Secret in the object's own namespace.
#[derive(
    KubeSchema, Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct SecretRef {
    /// The name of the Secret.
    pub name: String,
}

/// How to reach one registry.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// Host and port, as in the references.
    pub host: String,
    /// Speak HTTP.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
}

/// Whose word on a source's platform is taken.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PlatformPolicy {
    /// Checked against the image's config.
    #[default]
    Verify,
    /// The user's word.
    Trust,
}

/// When the index is published.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PublishPolicy {
    /// Only with all platforms.
    #[default]
    Complete,
    /// With those that are there.
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

//! What users read: the status of a `MultiArchImage`. The comments on its fields are the text of `kubectl explain`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was last seen in the registries and done there. observedGeneration -1 means that nothing was looked at yet.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// Without it kstatus takes an object that nobody has looked at for a finished one.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct MultiArchImageStatus {
    /// The metadata.generation that this status speaks of; a lower one means that the last change of the spec was not worked on
    /// yet, -1 that nothing was. It moves with every outcome, waiting and suspended included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation multiarch.dev/requestedAt that was last acted on; wait for it to equal what you set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The published index, by tag and digest: `registry.example.com/team/app:1.0@sha256:...`. Deploy this. It was read back from
    /// the registry after the last push, and no failure erases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The repository that has the published index: `registry.example.com/team/app`. It can be selected by:
    /// `kubectl get mai -A --field-selector status.repository=...` lists all that publish to one repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The digest of the published index: `sha256:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The media type of what is published: `application/vnd.oci.image.index.v1+json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The tags in the target's repository that this object keeps: `["1.0"]`. They are its own, and no other object may write them,
    /// where status.pushedTo is that repository; else they were found to be right, and are anybody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tags: Vec<String>,
    /// The tags that were not yet seen to name what they are to name: they are being written, or their registry does not show it
    /// yet, or did not take it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub pending_tags: Vec<PendingTag>,
    /// When something was last pushed, under the target's tag or one beside it. A look that finds the tags right
    /// already does not move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_publish_time: Option<Time>,
    /// The repository that something was last pushed to. Only there does this object have tags of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_to: Option<String>,
    /// The platforms of the published index, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub platforms: Vec<PublishedPlatform>,
    /// How many of the required platforms were found when the sources were last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// What became of each source when it was last looked at, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sources: Vec<SourceStatus>,
    /// Ready: the spec is served, and the tag was read back. Published: status.reference is whole in the registry; gate
    /// deployments on it. PlatformsComplete: the published index has every required platform. SourcesResolved: every source
    /// answered. NodesCovered, where the operator looks at nodes: the published index has the platform of each node. Only while True: Reconciling (at work, waiting or retrying) and Stalled (waiting will not help, a person must act;
    /// it is still tried each interval). The message of Ready says what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A tag that was not yet seen to name what it is to name.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingTag {
    /// The tag: `latest`.
    pub name: String,
    /// The digest that was pushed under it; absent where its registry did not take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What is about to be pushed under it for the first time, or was when a run ended without a word:
    /// `registry.example.com/team/app@sha256:...`. If the tag names it, this object may have written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended: Option<String>,
}

/// One platform of the published index.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedPlatform {
    /// The platform: `linux/arm64/v8`, `windows(10.0.17763)/amd64`.
    pub platform: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The digest of its config, which is the image ID that a container runtime shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// The digests of the attestation manifests (provenance, SBOM) that the index lists for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub attestations: Vec<String>,
    /// The name of the source that it came from; empty when it was retained from the index that was there before.
    #[serde(default)]
    pub source: String,
}

/// How many of the required platforms are there.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// How many platforms are required: requiredPlatforms, those of the sources that are not optional, and one for each of these
    /// sources whose platform is not known yet.
    // Kubernetes knows int32 and int64 only, and warns of other formats.
    #[schemars(with = "i32", range(min = 0))]
    pub required: u32,
    /// How many of the required platforms were found. Under publishPolicy Complete, fewer than required means that the tag waits.
    #[schemars(with = "i32", range(min = 0))]
    pub covered: u32,
    /// How many platforms the published index has, required or not.
    #[schemars(with = "i32", range(min = 0))]
    pub published: u32,
    /// The required platforms that were not found: `[linux/s390x]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    // The most that a spec can ask for, so that no valid spec can make its status invalid.
    #[schemars(length(max = 64 + 64 * 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub missing: Vec<String>,
    /// The platforms of the cluster's nodes that the published index does not have, as the operator sees them with
    /// --node-platforms: `[linux/arm64]`, `[windows(10.0.20348)/amd64]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub nodes_missing: Vec<String>,
    /// covered and required for the eye: `2/3`.
    pub summary: String,
}

/// What became of one source.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The name of the source in the spec.
    pub name: String,
    /// Resolved: read and checked. Missing: the registry does not have it (404). Incomplete: an index of which a part is gone.
    /// Unauthorized: the credential is wrong. Denied: the registry refuses, which many do also for what is not there yet.
    /// RateLimited: too many requests (429). Unreachable: no connection, no answer in time, or 5xx. PlatformMismatch: it is for
    /// another platform than declared. Unsupported: content that cannot be in an index. Invalid: content that is broken.
    /// Conflict: another source has the same platform.
    pub state: SourceState,
    /// The digest that the reference named when it was last resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why it is not Resolved, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when it is in this state.
    pub since: Time,
}

/// What became of a source when it was last looked at.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum SourceState {
    /// Read and checked.
    Resolved,
    /// The registry answers 404.
    Missing,
    /// An index whose child is gone.
    Incomplete,
    /// The credential is wrong.
    Unauthorized,
    /// 403, or 401 although a token was issued: denied, or not there yet.
    Denied,
    /// The registry answers 429.
    RateLimited,
    /// No connection, no answer in time, or 5xx.
    Unreachable,
    /// It is for another platform than declared.
    PlatformMismatch,
    /// Content that cannot be in an index.
    Unsupported,
    /// Content that is broken.
    Invalid,
    /// Another source has the same platform.
    Conflict,
}

//! What users write: the spec of a `MultiArchImage`. The comments on its fields are the text of `kubectl explain`.

mod archive;
mod registry;

use std::{collections::BTreeMap, time};

use kube::{CustomResource, KubeSchema, core::Duration};
use serde::{Deserialize, Serialize};

pub use self::{archive::ArchiveSource, registry::Registry};
use super::{
    Attestations, DeletionPolicy, Format, MultiArchImageStatus, PlatformPolicy, Provider,
    PublishPolicy, Referrers, RemovalPolicy, TagPolicy, rules,
};

/// What the index is made of, and where it is published.
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
    selectable = ".spec.target.image",
    selectable = ".status.repository",
    doc = "A MultiArchImage publishes one multi-platform image index under a tag, made of images that exist already, one for \
           each platform, and keeps it true: it follows its sources, checks that each is for the platform it is said to be, \
           and never publishes an index whose content is not all there.",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.target.image",
        description = "Where the index is published"
    ),
    printcolumn(
        name = "Platforms",
        type_ = "string",
        json_path = ".status.coverage.summary",
        description = "Platforms found of those required"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the spec is served and the tag was read back"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is Ready or not, in one word; `kubectl describe` has the sentence"
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.digest",
        priority = "1",
        description = "The published index"
    ),
    printcolumn(
        name = "Missing",
        type_ = "string",
        json_path = ".status.coverage.missing",
        priority = "1",
        description = "Required platforms that were not found"
    ),
    printcolumn(
        name = "Published",
        type_ = "date",
        json_path = ".status.lastPublishTime",
        priority = "1",
        description = "Time since the last push"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since this object was made"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::no_source_is_the_target(),
    validation = rules::no_source_is_an_additional_tag(),
    validation = rules::docker_drops_attestations(),
    validation = rules::docker_has_no_annotations(),
    validation = rules::immutable_is_complete(),
    validation = rules::providers_trust_the_operators_cas()
)]
pub struct MultiArchImageSpec {
    /// Where the index is published, and with which credential.
    pub target: Target,
    /// The images that the index is made of, 1 to 64. Names are unique, and the list is merged by name: several CI jobs can
    /// each add their own source with `kubectl apply --server-side --field-manager=<job>`. Two sources cannot declare the same
    /// single platform.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = rules::not_all_optional(),
        validation = rules::one_source_a_platform()
    )]
    pub sources: Vec<Source>,
    /// Platforms that the index must have, beside those that the sources declare: `[linux/amd64, linux/arm64]`. Use it where a
    /// source is an index, or is added later, by another job. While one is missing, nothing is published under publishPolicy
    /// Complete. A platform without os.version is met by any version, and a build of Windows by any revision. Default: none. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::Platform>", length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub required_platforms: Vec<String>,
    /// When the index is published. Complete (default): once every source that is not optional was read and every required
    /// platform is there; until then the tag stays as it is and Ready is Unknown, WaitingForPlatforms. Partial: as soon as there
    /// is one platform; sources that the registry does not have (404) are left out until they appear, and PlatformsComplete is
    /// False. Under both, a source that failed otherwise (401, 403, 429, 5xx, time-out, wrong content) holds the index back.
    #[serde(default)]
    pub publish_policy: PublishPolicy,
    /// What happens to a platform that the published index has and no source provides any more. Refuse (default): nothing is
    /// published, and the reason WouldShrink names the platforms. Retain: they stay in the index as they are, so that you can
    /// add to an index that something else made. Remove: they are left out of the next index. A source that is only missing from
    /// the registry keeps its published platform under Refuse and Retain.
    #[serde(default)]
    pub removal_policy: RemovalPolicy,
    /// Annotations of the index itself, such as `org.opencontainers.image.version: "1.0"`. Changing them publishes a new index,
    /// with a new digest. Default: none. At most 64, keys up to 256 and values up to 4096 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    #[x_kube(validation = rules::annotation_keys())]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the images' configs that must have one value in all of them: `[org.opencontainers.image.revision]` publishes only
    /// images of one commit. While they differ, or one has no such label, nothing is published and Ready is Unknown,
    /// WaitingForMatch. Images that stay although their source is gone count, too. Default: none. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::LabelKey>", length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub equal_labels: Vec<String>,
    /// What becomes of the attestation manifests (provenance, SBOM) that BuildKit puts into an index beside its images. Keep
    /// (default): they follow their image into the index and into the target's repository. Drop: they are left out. Default: Keep.
    #[serde(default)]
    pub attestations: Attestations,
    /// What becomes of signatures, SBOMs and other referrers of images that are copied from another repository. Ignore (default):
    /// they stay where they are. Copy: OCI referrers and cosign's .sig, .att and .sbom tags are copied along, at most 64 for each
    /// image, and looked for again every six hours; nothing that the target has is overwritten, and one that cannot be copied
    /// never holds the index back. Signatures of a source's index are copied only where that index is published byte for byte.
    #[serde(default)]
    pub referrers: Referrers,
    /// How to talk to registries that need something special, one for each host. Registries that are not listed are spoken to
    /// over HTTPS, with the certificate authorities of the operator's system and of its flag --ca-bundle. Default: none. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub registries: Vec<Registry>,
    /// Secrets in this namespace for reading sources, as in a Pod: type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg,
    /// the longest match of host and path is used. They never push; that is target.secretRef. A source with a secretRef of its
    /// own does not use them. A source that none of them is for is read with those of serviceAccountName, else with
    /// target.secretRef where that is for its repository, else anonymously. Default: none. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<SecretRef>,
    /// A ServiceAccount in this namespace whose imagePullSecrets read sources, after those of this object: `builder`. They never
    /// push. One that is not there, and a Secret of it that is not there, give the reason SecretNotFound. Default: none; the
    /// ServiceAccount default is not used by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::dns_subdomain())]
    pub service_account_name: Option<String>,
    /// How often the sources and the tag are looked at, counted from the end of the last look: `90s`, `10m`, `1h30m`. At least
    /// 30s. Default: 10m. A look that finds nothing new costs one HEAD request for each source, each tag, and each image of the index
    /// that neither of them shows. To have one
    /// at once, set the annotation multiarch.dev/requestedAt to a new value, such as the time.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32), extend("default" = "10m"))]
    #[x_kube(validation = rules::duration("10m or 1h30m"), validation = rules::at_least_30s())]
    pub interval: Duration,
    /// How long one run may take, copying included: `90s`, `10m`, `2h`. 10s to 24h. Default: 1h. A run that takes longer ends with
    /// the reason TimedOut; what was uploaded is kept, and the next run goes on from there.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 32), extend("default" = "1h"))]
    #[x_kube(validation = rules::duration("90s or 1h"), validation = rules::from_10s_to_24h())]
    pub timeout: Duration,
    /// Whether to leave this object alone. true: the registries are not asked and nothing is published; the status stays, with
    /// the reason Suspended. Back to false: the next look is at once. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// What becomes of the tags when this object is deleted. Orphan (default): they stay. Delete: the tags in status.tags that still
    /// name what was published are deleted from the registry, and nothing else: no image, and no tag that something else has moved.
    /// What the registry refuses is left, and an Event, DeleteSkipped, says so. With Delete the object has a finalizer.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn default_interval() -> Duration {
    time::Duration::from_mins(10).into()
}

fn default_timeout() -> Duration {
    time::Duration::from_hours(1).into()
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
            equal_labels: Vec::new(),
            attestations: Attestations::default(),
            referrers: Referrers::default(),
            registries: Vec::new(),
            image_pull_secrets: Vec::new(),
            service_account_name: None,
            interval: default_interval(),
            timeout: default_timeout(),
            suspend: false,
            deletion_policy: DeletionPolicy::default(),
        }
    }
}

/// Where the index is published, and with which credential.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::no_additional_tag_is_the_target(),
    validation = rules::provider_or_secret()
)]
pub struct Target {
    /// The tag to publish, in full: `registry.example.com/team/app:1.0`. The registry is always named (Docker Hub is docker.io,
    /// its official images docker.io/library/...), without scheme, :443 or digest. The registry and repository cannot change
    /// later; the tag may: then the new tag is published and the old one is left as it is. At most 180 characters.
    #[schemars(length(min = 1, max = 180))]
    #[x_kube(
        validation = rules::no_scheme(),
        validation = rules::named_registry(),
        validation = rules::docker_hub(),
        validation = rules::no_default_port(),
        validation = rules::lower_case(),
        validation = rules::target_has_tag(),
        validation = rules::target_has_no_digest(),
        validation = rules::reference(),
        validation = rules::target_repository_is_immutable()
    )]
    pub image: String,
    /// More tags of the same repository that name the same index: `[latest, "1"]`. They are written after the target's tag was read
    /// back. One that is taken out of this list is left as it is. Default: none. At most 32, each up to 128 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::Tag>", length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub additional_tags: Vec<String>,
    /// A tag for each image of the index as well, made of {tag} (the target's), {os}, {arch}, {variant} and {osVersion}:
    /// `"{tag}-{arch}{variant}"` gives 1.0-amd64 and 1.0-armv7. It must have {arch}. Where your builds push these tags
    /// themselves, leave it out: a template that gives a source's tag is refused. Such a tag is written only where there is none,
    /// or where this object wrote it; one that names something else gives the reason TargetConflict. Default: none. At most 128
    /// characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::platform_tags_have_arch(), validation = rules::platform_tags_placeholders())]
    pub platform_tags: Option<String>,
    /// What the published index is. OCI (default): an OCI image index. Docker: a Docker manifest list, for clients and registries that
    /// know nothing else; it needs attestations: Drop, has no annotations, and all images must be Docker's (FormatMismatch names
    /// one that is not): images are never converted, since that would change their digests.
    #[serde(default)]
    pub format: Format,
    /// What happens when something else moves a tag. Enforce (default): it is put back; after three times in an hour it is left, with
    /// the reason DriftLoop, until you edit the spec or ask for a run. Yield: it is reported (DriftDetected) and left until a source
    /// or the spec changes. Immutable: every tag is written once; content that differs from what a tag has is never published
    /// over it (TagImmutable). Immutable needs publishPolicy Complete.
    #[serde(default)]
    pub tag_policy: TagPolicy,
    /// The Secret that pushes to the target, of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg. It is the only
    /// credential that ever pushes; imagePullSecrets do not. Default: none, for a registry that takes anonymous pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Who gives the credential that pushes, in the place of secretRef. Kubelet: the credential provider plugins that the operator
    /// runs as a kubelet would, for registries of clouds (ECR, Artifact Registry, ACR). It is the operator's own credential, so its
    /// admin lists who may use it where (--credential-provider-allow); what is not listed gives the reason RegistryNotAllowed.
    /// Sources that no Secret is for are read with it, too, where the admin lists them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // An Option of an enum would be explained by the words of the enum.
    #[schemars(with = "Provider", extend("nullable" = true))]
    pub provider: Option<Provider>,
}

/// One image that the index is made of.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::image_or_archive(),
    validation = rules::trust_needs_one_platform(),
    validation = rules::provider_or_secret(),
    validation = rules::archive_has_no_credential()
)]
pub struct Source {
    /// What this source is called in the status and in messages: `amd64`, `windows-2022`. Unique in the object; a-z, 0-9 and -,
    /// at most 63 characters. It is the key by which the list is merged.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,
    /// The image or index, in any repository of any registry, in full: by tag `registry.example.com/team/app:1.0-amd64`, which is followed when it moves; by digest
    /// `registry.example.com/team/app@sha256:...`; or by both, then the digest decides. The registry is always named (Docker Hub
    /// is docker.io). It may not exist yet. What is in another repository than the target's is copied there. An index gives all its
    /// images, with their annotations and attestations, unless platforms chooses some. One source alone, without platforms, Trust
    /// and annotations, is published byte for byte: an OCI index or image keeps its digest. Give image or archive. At most 320 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1, max = 320))]
    #[x_kube(
        validation = rules::no_scheme(),
        validation = rules::named_registry(),
        validation = rules::docker_hub(),
        validation = rules::no_default_port(),
        validation = rules::lower_case(),
        validation = rules::source_has_tag_or_digest(),
        validation = rules::source_digest(),
        validation = rules::reference()
    )]
    pub image: String,
    /// An image in an archive, in the place of image: a file that `docker save`, skopeo, podman or crane wrote, or an OCI layout, plain or
    /// compressed by gzip or zstd. It needs the operator's flag --archive-dir. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveSource>,
    /// What the image is for, as os/architecture or os/architecture/variant: `[linux/arm64]`, `[linux/arm/v7]`,
    /// `["windows(10.0.17763)/amd64"]`; x86_64 and aarch64 are understood too. For a single image at most one: when its config
    /// says another platform, nothing is published and the reason PlatformMismatch names both. For an index: only these are
    /// taken, exactly (linux/arm/v7 does not take v6; windows(10.0.17763)/amd64 takes every revision of that build, windows/amd64 every build). One that the index does not have is
    /// awaited under publishPolicy Complete and left out under Partial; where the index has one image only and one platform is
    /// named, it must be that. Default: what the image itself says; of an index, all. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::Platform>", length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub platforms: Vec<String>,
    /// Whose word on the platform counts. Verify (default): the config of the image; platforms is checked against it. Trust:
    /// yours, for images whose config is wrong or says nothing; needs exactly one in platforms, which is published unchecked.
    #[serde(default)]
    pub platform_policy: PlatformPolicy,
    /// Whether the index may be published without this source. true: neither its absence nor its failure holds the index back,
    /// and what was published from it before stays. Default: false. At least one source must not be optional.
    #[serde(default)]
    pub optional: bool,
    /// Annotations that the index has for the images of this source, `com.example.build: "7"`; they win over those that a
    /// source's index has. `io.github.containers.compression.zstd: "true"` marks an image whose layers are zstd, so that it can
    /// stand beside the gzip image of the same platform. Keys that begin with vnd.docker.reference are BuildKit's and are refused.
    /// Default: none. At most 32, keys up to 256 and values up to 4096 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    #[x_kube(validation = rules::annotation_keys(), validation = rules::no_buildkit_annotations())]
    pub annotations: BTreeMap<String, String>,
    /// The Secret that reads this image, of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg; it is used instead of
    /// imagePullSecrets. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Who gives the credential that reads this image, in the place of secretRef and imagePullSecrets. Kubelet: the credential provider
    /// plugins that the operator runs as a kubelet would, where its admin lets this namespace use them (--credential-provider-allow);
    /// else the reason is RegistryNotAllowed. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // An Option of an enum would be explained by the words of the enum.
    #[schemars(with = "Provider", extend("nullable" = true))]
    pub provider: Option<Provider>,
}

/// A Secret in the namespace of the object.
#[derive(
    KubeSchema, Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct SecretRef {
    /// The name of the Secret: `registry-push`. It is in the same namespace as this object. One that is not there gives the
    /// reason SecretNotFound, and is looked for again.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::dns_subdomain())]
    pub name: String,
}

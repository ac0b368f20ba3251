//! What users write and read of a `MultiArchImageSet`: a list of images, and what becomes of each. The comments on its fields are the text of `kubectl explain`.

use std::time;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, core::Duration};
use serde::{Deserialize, Serialize};

use super::{PlatformPolicy, rules, template::Template};

/// Which images, where they come from, and where they go.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "multiarch.dev",
    version = "v1alpha1",
    kind = "MultiArchImageSet",
    namespaced,
    shortname = "mais",
    category = "multiarch",
    status = "MultiArchImageSetStatus",
    derive = "PartialEq",
    doc = "A MultiArchImageSet keeps a list of images true in a registry: each line becomes a MultiArchImage that this object owns, \
           which copies the image, from another registry or from archives, with all its platforms or some.",
    printcolumn(
        name = "To",
        type_ = "string",
        json_path = ".spec.to.registry",
        description = "Where the images go"
    ),
    printcolumn(
        name = "Images",
        type_ = "string",
        json_path = ".status.summary",
        description = "Images that are ready, of those in the list"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether all images of the list are ready"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is Ready or not, in one word; `kubectl describe` has the sentence"
    ),
    printcolumn(
        name = "Failing",
        type_ = "integer",
        json_path = ".status.counts.failing",
        priority = "1",
        description = "Images for which a person must act"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since this object was made"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_list())]
pub struct MultiArchImageSetSpec {
    /// The images, one a line as in a file: `[rancher/pause:3.1, quay.io/coreos/etcd:v3.5.0]`. A name without registry is from.registry's; a name
    /// with one is that registry's. A tag is needed; with a digest too (`name:tag@sha256:...`) the digest decides what is copied, also out
    /// of archives. A line that is no image hurts only itself: status.failing names it. `[]` is an empty list: all that was in it before is
    /// pruned. Default: none; give images or imagesFrom. At most 1000, each up to 320 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::Line>", length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub images: Vec<String>,
    /// Where the list is, in the place of images. It is read at each interval. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_from: Option<ImagesFrom>,
    /// The registry that images come from. Where archives are given too, it is for those images that no archive has.
    /// Default: docker.io, and where archives are given none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// Image archives that images come from, each for one platform or for several. An image that several archives have becomes one
    /// index of all of them. An image is looked for by the name of its source, `quay.io/coreos/etcd:v3.5.0` with from.registry quay.io, and
    /// if no archive has that by what the line says, where Docker Hub's short names are understood; a line with a digest only where an
    /// archive has that digest. Default: none. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    pub archives: Vec<SetArchive>,
    /// The registry that images go to, and below what.
    pub to: To,
    /// The platforms that are copied, exactly: `[linux/amd64, linux/arm64]`. One that an image does not have, wherever it comes from, makes
    /// that image wait, or is left out with template.publishPolicy Partial. What archives have for other platforms is left alone.
    /// Default: all that an image has, byte for byte. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::Platform>", length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub platforms: Vec<String>,
    /// The rest of each MultiArchImage's spec, as `kubectl explain mai.spec` describes it: credentials, policies, interval. Default: that
    /// kind's own defaults.
    #[serde(default, skip_serializing_if = "Template::is_empty")]
    pub template: Template,
    /// How often the list and what the archives have are looked at: `90s`, `10m`, `1h30m`. At least 30s. Default: 10m. The images
    /// themselves are looked at each template.interval. To have a look at once, set the annotation multiarch.dev/requestedAt to a new value,
    /// such as the time.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32), extend("default" = "10m"))]
    #[x_kube(validation = rules::duration("10m or 1h30m"), validation = rules::at_least_30s())]
    pub interval: Duration,
    /// Whether to leave this object alone. true: the list is not read, and the MultiArchImages stay as they are and go on; to
    /// stop those, set template.suspend. Default: false.
    #[serde(default)]
    pub suspend: bool,
}

fn default_interval() -> Duration {
    time::Duration::from_mins(10).into()
}

/// Where a list of images is.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImagesFrom {
    /// A key of a ConfigMap in this namespace whose text is the list: an image a line, empty lines and those that begin with # do not count.
    pub config_map_key_ref: ConfigMapKeyRef,
}

/// A key of a ConfigMap in the namespace of the object.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConfigMapKeyRef {
    /// The name of the ConfigMap: `images`. One that is not there gives the reason ListNotFound, and nothing is pruned.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::config_map_name())]
    pub name: String,
    /// The key in its data: `images.txt`; its text is the list, and one without a line is an empty one, which prunes all. At most 253
    /// characters.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::config_map_key())]
    pub key: String,
}

/// The registry that images come from.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct From {
    /// The host, with its port: `docker.io`, `registry.example.com:5000`. At most 180 characters.
    #[schemars(length(min = 1, max = 180))]
    #[x_kube(
        validation = rules::host(),
        validation = rules::host_lower_case(),
        validation = rules::host_of_docker_hub(),
        validation = rules::host_is_named(),
        validation = rules::no_default_port()
    )]
    pub registry: String,
    /// What stands before each image's repository there, and is no part of its name: `hub` for the project of a proxy, whose
    /// registry.example.com/hub/rancher/pause is rancher/pause to a line. Default: nothing. At most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::repository_prefix())]
    pub prefix: Option<String>,
}

/// An archive of images.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::trusted_archive_has_a_platform())]
pub struct SetArchive {
    /// The file, or the folder with an OCI layout, below the operator's folder for this namespace: `k3s/arm64.tar.zst`. At most 512
    /// characters.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::path_below())]
    pub path: String,
    /// The platform that its images are for, as os/architecture or os/architecture/variant: `linux/arm64`. An image whose config says
    /// another one is refused. Default: what each image's config says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "rules::Platform", extend("nullable" = true))]
    pub platform: Option<String>,
    /// Whose word on the platform counts. Verify (default): the config of each image. Trust: yours; needs platform.
    #[serde(default)]
    pub platform_policy: PlatformPolicy,
}

/// The registry that images go to.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct To {
    /// The host, with its port: `registry.local:5000`. At most 180 characters.
    #[schemars(length(min = 1, max = 180))]
    #[x_kube(
        validation = rules::host(),
        validation = rules::host_lower_case(),
        validation = rules::host_of_docker_hub(),
        validation = rules::host_is_named(),
        validation = rules::no_default_port()
    )]
    pub registry: String,
    /// What stands before the image's own repository: `mirror` makes registry.local:5000/mirror/rancher/pause of rancher/pause. The
    /// registry that a line names is left out. Default: nothing. At most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::repository_prefix())]
    pub prefix: Option<String>,
}

/// What became of the images of the list. observedGeneration -1 means that nothing was looked at yet.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// Without it kstatus takes an object that nobody has looked at for a finished one.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct MultiArchImageSetStatus {
    /// The metadata.generation that this status speaks of; a lower one means that the last change of the spec was not worked on
    /// yet, -1 that nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation multiarch.dev/requestedAt that was last acted on; wait for it to equal what you set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Images that are ready, of those in the list: `5/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// How many images there are of each kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Lines for which a person must act, and then those that wait, in the order of the list: at most 20 of them. counts has them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub failing: Vec<FailingLine>,
    /// Ready: all images of the list are ready, and what is not in it any more is pruned. Only while True: Reconciling (at work, or images
    /// wait) and Stalled (a person must act). The message of Ready says what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// How many images there are of each kind.
#[derive(KubeSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Lines of the list that name an image, or should.
    pub images: u32,
    /// Those whose MultiArchImage is Ready.
    pub ready: u32,
    /// Those whose MultiArchImage is at work, waits or tries again.
    pub waiting: u32,
    /// Those whose MultiArchImage is Stalled, and lines that are no image.
    pub failing: u32,
}

/// A line that is not ready.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FailingLine {
    /// The line, cut where it is long.
    pub image: String,
    /// The MultiArchImage; absent where the line gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The reason of its condition Ready; InvalidLine where the line gives none.
    pub reason: String,
    /// What is wrong, at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

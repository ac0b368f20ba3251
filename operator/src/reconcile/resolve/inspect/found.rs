//! pure: what a reference names, all of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::oci::{Descriptor, Digest, Platform, Reference};

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// What was asked for.
    #[serde(serialize_with = "text")]
    #[schemars(with = "String")]
    pub reference: Reference,
    /// What it names.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// Its type, where it is an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifest that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub subject: Option<Digest>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The indexes that it lists.
    pub indexes: Vec<Nested>,
    /// Its images, those of indexes in it included, in its order; of an image, that one.
    pub images: Vec<Image>,
    /// The attestation manifests that it lists.
    pub attestations: Vec<Attestation>,
    /// What refers to it and to its images; empty where nobody looked.
    pub referrers: Vec<About>,
    /// Platforms that were asked for, and of which it has no right image.
    pub missing: Vec<String>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// What is not wrong, and good to know.
    pub notes: Vec<Problem>,
    /// What could not be read, so that it is not known whether something is wrong with it.
    pub failures: Vec<String>,
    /// The blobs of all manifests that were read, each with the digest of one that names it.
    #[serde(skip)]
    pub(super) blobs: Vec<(Digest, Descriptor)>,
}

/// An index in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nested {
    /// Its digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Its media type, as listed.
    pub media_type: String,
    /// How many bytes it has, as listed.
    pub size: u64,
}

/// An image of an index, or one that the reference names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Its media type, as listed.
    pub media_type: String,
    /// How many bytes its manifest has, as listed.
    pub size: u64,
    /// The platform that the index lists for it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_text")]
    #[schemars(with = "Option<String>")]
    pub listed: Option<Platform>,
    /// The platform that its config says.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_text")]
    #[schemars(with = "Option<String>")]
    pub platform: Option<Platform>,
    /// Whether it is there, and is for the platform that it is said to be for.
    pub right: bool,
    /// The digest of its config.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub config: Option<Digest>,
    /// Its type, where it is an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What the index says of it.
    pub annotations: BTreeMap<String, String>,
    /// The index in the index that lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub within: Option<Digest>,
    /// Its layers, bottom first.
    pub layers: Vec<Layer>,
    /// The attestation manifests that are about it.
    #[schemars(with = "Vec<String>")]
    pub attestations: Vec<Digest>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Its digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// Where else it is; registries need not have it then.
    pub urls: Vec<String>,
}

/// An attestation manifest of BuildKit's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// Its digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// How many bytes its manifest has, as listed.
    pub size: u64,
    /// The image that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub about: Option<Digest>,
    /// What it says of it: `https://slsa.dev/provenance/v1`.
    pub predicates: Vec<String>,
    /// The index in the index that lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub within: Option<Digest>,
}

/// A manifest that is about what the reference names, or about an image of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// What it is about.
    #[schemars(with = "String")]
    pub subject: Digest,
    /// Its digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// What it is: `application/vnd.dev.sigstore.bundle.v0.3+json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The tag that leads to it, where it is one of cosign's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Something that is wrong, or good to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind of thing.
    pub kind: Kind,
    /// What it is about, where that is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub digest: Option<Digest>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What may be wrong with an index or image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub enum Kind {
    /// The index lists another platform than the config says.
    WrongPlatform,
    /// The index lists no platform for it, and it is no attestation.
    WithoutPlatform,
    /// Two images of one platform and compression.
    DuplicatePlatform,
    /// An index without an image.
    NoImages,
    /// An image, an attestation or an index in the index that is not there (404).
    ChildMissing,
    /// A config that is not there (404).
    ConfigMissing,
    /// A blob that is not there.
    BlobMissing,
    /// An attestation manifest of an image that the index does not list.
    OrphanAttestation,
    /// Size or media type are others than listed.
    WrongDescriptor,
    /// Content that is broken, or that no operator or runtime takes.
    Unusable,
    /// Indexes in indexes in indexes.
    Nested,
    /// Its config says no platform, so that nobody can check one.
    NotAnImage,
    /// A layer that is elsewhere.
    ForeignLayer,
    /// Listed more than once, in the same words.
    ListedAgain,
}

impl Image {
    /// As it is listed, before anything is known of it.
    pub(super) fn of(listed: &Descriptor) -> Self {
        let Descriptor { digest, media_type, size, annotations, artifact_type, .. } =
            listed.clone();
        Self {
            digest,
            media_type,
            size,
            listed: None,
            platform: None,
            right: false,
            config: None,
            artifact_type,
            annotations,
            within: None,
            layers: Vec::new(),
            attestations: Vec::new(),
        }
    }

    /// How many bytes its layers have together.
    #[must_use]
    pub fn layers_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// What it is said to be for; where nothing says so, what it is for.
    #[must_use]
    pub fn said(&self) -> Option<&Platform> {
        self.listed.as_ref().or(self.platform.as_ref())
    }
}

fn text<S: Serializer>(of: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&of.to_string())
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn some_text<S: Serializer>(of: &Option<Platform>, serializer: S) -> Result<S::Ok, S::Error> {
    match of {
        Some(of) => text(of, serializer),
        None => serializer.serialize_none(),
    }
}

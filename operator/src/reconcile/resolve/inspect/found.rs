//! pure: what a reference names, all of it, and what is wrong with it.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::super::ResolveError;
use crate::{
    oci::{Descriptor, Digest, Platform, RawManifest, Reference, descriptor::ZSTD},
    reconcile::plan::Required,
    registry::RegistryError,
};

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
}

impl Problem {
    /// Of something that resolve refuses. `None` where it was not read at all.
    pub(super) fn of(digest: Option<&Digest>, error: &ResolveError) -> Option<Self> {
        let kind = match error {
            ResolveError::Registry { source, .. } if is_of_content(source) => Kind::Unusable,
            ResolveError::Mismatch { .. } | ResolveError::IndexMismatch { .. } => {
                Kind::WrongPlatform
            }
            ResolveError::ChildWithoutPlatform { .. } => Kind::WithoutPlatform,
            ResolveError::NoImages { .. } => Kind::NoImages,
            ResolveError::Incomplete { .. } => Kind::ChildMissing,
            ResolveError::ConfigGone { .. } => Kind::ConfigMissing,
            ResolveError::NotAnIndex { .. } | ResolveError::Content { .. } => Kind::Unusable,
            ResolveError::Nested { .. } => Kind::Nested,
            ResolveError::NoPlatform { .. } => Kind::NotAnImage,
            _ => return None,
        };
        Some(Self { kind, digest: digest.cloned(), message: error.to_string() })
    }

    pub(super) fn new(kind: Kind, digest: &Digest, message: String) -> Self {
        Self { kind, digest: Some(digest.clone()), message }
    }
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

impl Inspection {
    /// Of what was read as `raw`, with nothing in it yet.
    pub(super) fn new(reference: &Reference, of: &Descriptor) -> Self {
        Self {
            reference: reference.clone(),
            digest: of.digest.clone(),
            media_type: of.media_type.clone(),
            size: of.size,
            artifact_type: None,
            subject: None,
            annotations: BTreeMap::new(),
            indexes: Vec::new(),
            images: Vec::new(),
            attestations: Vec::new(),
            referrers: Vec::new(),
            missing: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// Whether nothing is wrong with it, nor missing; of what could not be read nobody knows.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.problems.is_empty() && self.missing.is_empty()
    }

    /// Notes what `error` says of `digest`.
    pub(super) fn add(&mut self, digest: Option<&Digest>, error: &ResolveError) {
        match Problem::of(digest, error) {
            // Charts and the like are no images, and are published by those who trust a declared platform.
            Some(of) if of.kind == Kind::NotAnImage => self.notes.push(of),
            Some(problem) => self.problems.push(problem),
            None => self.failures.push(error.to_string()),
        }
    }

    /// Notes that `layer` of the image `of` is elsewhere.
    pub(super) fn foreign(&mut self, of: &Digest, layer: &Descriptor) {
        let message = format!(
            "the layer {} of {of} is a foreign one: clients fetch it from its urls, and no registry need have it",
            layer.digest
        );
        self.notes.push(Problem::new(Kind::ForeignLayer, of, message));
    }

    /// Notes that `blob` of the manifest `of` is not there.
    pub(super) fn lacks(&mut self, of: &Digest, blob: &Descriptor) {
        let (reference, digest) = (&self.reference, &blob.digest);
        let message = format!("{reference} has {of}, whose blob {digest} is gone: push it again");
        self.problems.push(Problem::new(Kind::BlobMissing, of, message));
    }

    /// Holds what was `read` to what the index `listed`.
    pub(super) fn hold(&mut self, listed: &Descriptor, read: &RawManifest) {
        let own = read.descriptor();
        let size = format!("with {} bytes, and it has {}", listed.size, own.size);
        let media_type = format!("as {}, and it is {}", listed.media_type, own.media_type);
        let size = Some(size).filter(|_| own.size != listed.size);
        let media_type = Some(media_type).filter(|_| own.media_type != listed.media_type);
        for wrong in size.into_iter().chain(media_type) {
            let (reference, digest) = (&self.reference, &listed.digest);
            let message = format!("{reference} lists {digest} {wrong}: build the index again");
            self.problems.push(Problem::new(Kind::WrongDescriptor, digest, message));
        }
    }

    /// Ties attestations to their images, and finds what no single manifest shows. `required` are
    /// the platforms that it must have.
    pub(super) fn judge(&mut self, required: &[Platform]) {
        for image in &mut self.images {
            let about = self.attestations.iter();
            let about = about.filter(|it| it.about.as_ref() == Some(&image.digest));
            image.attestations = about.map(|it| it.digest.clone()).collect();
        }
        let images: HashSet<&Digest> = self.images.iter().map(|image| &image.digest).collect();
        for orphan in &self.attestations {
            let about = match &orphan.about {
                Some(about) if images.contains(about) => continue,
                Some(about) => format!("{about}, which is not in it"),
                None => "no image".into(),
            };
            let (reference, digest) = (&self.reference, &orphan.digest);
            let message = format!(
                "{reference} lists {digest} as an attestation of {about}: build the index again"
            );
            self.problems.push(Problem::new(Kind::OrphanAttestation, digest, message));
        }
        let mut first: HashMap<(Platform, bool), &Digest> = HashMap::new();
        for image in &self.images {
            let Some(listed) = &image.listed else { continue };
            let key = (listed.normalized(), is_zstd(image));
            let Some(other) = first.insert(key, &image.digest) else { continue };
            let (reference, digest) = (&self.reference, &image.digest);
            let message = format!(
                "{reference} has {listed} twice, as {other} and as {digest}, and clients take the first: \
                 build the index again with one of them"
            );
            self.problems.push(Problem::new(Kind::DuplicatePlatform, digest, message));
        }
        let right = self.images.iter().filter(|image| image.right);
        let has: Vec<Platform> = right.filter_map(|image| image.said().cloned()).collect();
        self.missing = Required { platforms: required.to_vec(), unknown: 0 }.lacking(&has);
    }
}

/// Whether the registry answered, with what nobody can use.
fn is_of_content(error: &RegistryError) -> bool {
    use RegistryError as E;
    matches!(
        error,
        E::Unusable { .. } | E::WrongDigest { .. } | E::WrongSize { .. } | E::TooLarge { .. }
    )
}

fn is_zstd(image: &Image) -> bool {
    image.annotations.get(ZSTD).is_some_and(|value| value == "true")
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

//! pure: what is wrong with what a reference names, in the words of the rules by which sources are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    super::ResolveError,
    found::{Image, Inspection, Kind, Problem},
};
use crate::{
    oci::{Descriptor, Digest, Platform, RawManifest, Reference, descriptor::ZSTD},
    reconcile::plan::Required,
    registry::RegistryError,
};

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

    /// Notes that `digest` is listed once more, in the same words.
    pub(super) fn listed_again(&mut self, digest: &Digest) {
        let message = format!(
            "{} lists {digest} more than once, in the same words: once is enough",
            self.reference
        );
        let note = Problem::new(Kind::ListedAgain, digest, message);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
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

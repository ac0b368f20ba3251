//! An index: its canonical bytes, and whether another one says the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Descriptor, Digest, Platform, RawManifest, json, media_type, platform};

/// An OCI image index or a Docker manifest list; JSON in the order of the OCI Go struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// OCI index or Docker manifest list. Of a parsed index it is the settled one, also where the
    /// document leaves it to the Content-Type.
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// Type of an artifact.
    #[serde(default, deserialize_with = "json::non_empty", skip_serializing_if = "json::is_empty")]
    pub artifact_type: Option<String>,
    /// The children, in the order of the document.
    #[serde(deserialize_with = "json::or_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// The mark of an image whose layers are zstd. Clients that know zstd look for it, all others take
/// the first entry of their platform: so it stands behind the gzip one (containers/image does so).
const ZSTD: &str = "io.github.containers.compression.zstd";

impl Index {
    /// An OCI index of `manifests` in canonical order: images by normalised platform, gzip before
    /// zstd, then digest; attestations after them, in the order of their subjects, then digest.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        let (mut attestations, mut images): (Vec<_>, Vec<_>) =
            manifests.into_iter().partition(Descriptor::is_attestation);
        images.sort_by_cached_key(|image| (place(image), said(image)));
        let mut places = BTreeMap::new();
        for image in &images {
            let next = places.len();
            places.entry(image.digest.clone()).or_insert(next);
        }
        attestations.sort_by_cached_key(|attestation| {
            let subject = attestation.attests();
            // One whose subject is not here comes last.
            let at = subject.as_ref().and_then(|subject| places.get(subject).copied());
            (at.unwrap_or(usize::MAX), subject, attestation.digest.clone(), said(attestation))
        });
        images.append(&mut attestations);
        Self {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            artifact_type: None,
            manifests: images,
            subject: None,
            annotations,
        }
    }

    /// The canonical bytes: compact JSON, annotations sorted by key, strings escaped as Go's
    /// `encoding/json` does. The only place where bytes of an index are made.
    #[must_use]
    pub fn to_raw(&self) -> RawManifest {
        RawManifest::new(&self.media_type, Bytes::from(json::canonical(self)))
    }

    /// Whether it says what `other` says, whatever the bytes: the same media type, the same
    /// children in any order (media type, digest, size, platform as written, annotations),
    /// annotations, subject and artifactType. A child that is there twice is not there once.
    #[must_use]
    pub fn satisfies(&self, other: &Self) -> bool {
        let sorted = |mut children: Vec<_>| {
            children.sort();
            children
        };
        self.media_type == other.media_type
            && self.artifact_type == other.artifact_type
            && self.annotations == other.annotations
            && self.subject.as_ref().map(compared) == other.subject.as_ref().map(compared)
            && sorted(self.manifests.iter().map(compared).collect())
                == sorted(other.manifests.iter().map(compared).collect())
    }
}

/// Where an image stands among others.
fn place(image: &Descriptor) -> (platform::SortKey, bool, Digest) {
    let key = image.platform.as_ref().map(Platform::sort_key).unwrap_or_default();
    let zstd = image.annotations.get(ZSTD).is_some_and(|value| value == "true");
    (key, zstd, image.digest.clone())
}

/// All that a descriptor says, so that the order is total and does not depend on the input's.
fn said(descriptor: &Descriptor) -> Vec<u8> {
    json::canonical(descriptor)
}

/// What of a descriptor counts when two indexes are compared: the spec's `data`, `urls` and
/// `artifactType` repeat what the content says, and tools differ in writing them.
fn compared(
    descriptor: &Descriptor,
) -> (&str, &Digest, u64, Option<&Platform>, &BTreeMap<String, String>) {
    (
        &descriptor.media_type,
        &descriptor.digest,
        descriptor.size,
        descriptor.platform.as_ref(),
        &descriptor.annotations,
    )
}

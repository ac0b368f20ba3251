//! An index: its canonical bytes, and whether another one says the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Descriptor, RawManifest};

/// An OCI image index or a Docker manifest list; JSON in the order of the OCI Go struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// OCI index or Docker manifest list.
    #[serde(default)]
    pub media_type: String,
    /// Type of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The children, in the order of the document.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of `manifests` in canonical order: images by normalised platform and then
    /// digest, attestations after them in the order of their subjects.
    #[must_use]
    pub fn new(_manifests: Vec<Descriptor>, _annotations: BTreeMap<String, String>) -> Self {
        todo!()
    }

    /// The canonical bytes: compact JSON, annotations sorted by key, strings escaped as Go's
    /// `encoding/json` does. The only place where bytes of an index are made.
    #[must_use]
    pub fn to_raw(&self) -> RawManifest {
        todo!()
    }

    /// Whether it says what `other` says: the same media type, the same set of (digest, size,
    /// platform, annotations), annotations, subject and artifactType, whatever the bytes.
    #[must_use]
    pub fn satisfies(&self, _other: &Self) -> bool {
        todo!()
    }
}

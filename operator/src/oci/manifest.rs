//! Manifests as raw bytes, with what the operator reads from them: bytes first, parse second.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Digest, Index, Platform};

/// A descriptor of the OCI image spec; JSON in the order of its Go struct, maps sorted by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Where else the content may be had (foreign layers).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform that the content is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Type of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// A manifest as a registry serves it: the bytes, their media type and their digest, which is
/// computed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    bytes: Bytes,
    media_type: String,
    digest: Digest,
}

/// A parsed manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image, or another artifact in the form of an image manifest.
    Image(ImageManifest),
    /// An OCI index or a Docker manifest list.
    Index(Index),
}

/// What the operator reads of an OCI or Docker image manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// The config; of an image, it says the platform.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Type of an artifact.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The manifest that this one is about.
    #[serde(default)]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// What the operator reads of an image config: the truth about its platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// The platform in the words of the config.
    pub platform: Platform,
}

/// Why bytes are refused as a manifest or a config. The messages never hold remote text but names
/// of fields and media types that passed a check.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// Not the JSON that the media type promises.
    #[error("not a valid {media_type}: {why}")]
    Malformed {
        /// The media type that was parsed for.
        media_type: String,
        /// What is wrong, without a word of the document.
        why: String,
    },
    /// `manifests` beside `layers`, `config` or `fsLayers` (CVE-2021-41190).
    #[error("it is an index and an image manifest at once (CVE-2021-41190)")]
    Ambiguous,
    /// Content-Type and `mediaType` are both known and differ.
    #[error("its Content-Type says {content_type} and its mediaType says {media_type}")]
    Contradiction {
        /// From the response's header.
        content_type: String,
        /// From the document.
        media_type: String,
    },
    /// Docker's schema 1, which has no config to tell a platform from.
    #[error("it is a Docker schema 1 manifest: push the image again with a current builder")]
    Schema1,
    /// Neither a Content-Type nor a `mediaType` that is known.
    #[error("its media type is {media_type}, which is neither an image manifest nor an index")]
    UnknownMediaType {
        /// What it says of itself, cut and cleaned; `absent` where it says nothing.
        media_type: String,
    },
    /// More children than an index may have.
    #[error("it has {children} children, more than the {limit} that are allowed")]
    TooManyChildren {
        /// How many it has.
        children: usize,
        /// How many it may have.
        limit: usize,
    },
}

impl RawManifest {
    /// From the body of a response: settles the media type (REGISTRY.md rule 6), refuses what is
    /// ambiguous or unknown (rule 7), and computes the digest.
    ///
    /// `content_type` is the header's value as it came, parameters included.
    pub fn from_response(
        _content_type: Option<&str>,
        _bytes: Bytes,
    ) -> Result<Self, ManifestError> {
        todo!()
    }

    /// From bytes that were made here.
    #[must_use]
    pub fn new(_media_type: &str, _bytes: Bytes) -> Self {
        todo!()
    }

    /// The bytes, unchanged.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The media type without parameters.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The sha256 digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// A descriptor of it, without platform or annotations.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        todo!()
    }

    /// The parse of the bytes by the media type.
    pub fn parse(&self) -> Result<Manifest, ManifestError> {
        todo!()
    }
}

impl Descriptor {
    /// Whether it describes a BuildKit attestation manifest
    /// (`vnd.docker.reference.type: attestation-manifest`).
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        todo!()
    }

    /// The digest of the image that an attestation is about (`vnd.docker.reference.digest`).
    #[must_use]
    pub fn attests(&self) -> Option<Digest> {
        todo!()
    }
}

impl ImageManifest {
    /// Whether its config is of a type that tells a platform: OCI and Docker image configs, and
    /// the wasm config.
    #[must_use]
    pub fn has_platform(&self) -> bool {
        todo!()
    }
}

impl ImageConfig {
    /// From the bytes of a config blob. `None` in `platform.os` or `.architecture` is an error: a
    /// config that does not say what it is for is no truth.
    pub fn parse(_bytes: &[u8]) -> Result<Self, ManifestError> {
        todo!()
    }
}

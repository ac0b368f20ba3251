//! Manifests as raw bytes, with what the operator reads from them: bytes first, parse second.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use super::{Digest, Index, json, media_type, outline::Outline};
pub use super::{config::ImageConfig, descriptor::Descriptor};

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
#[expect(clippy::large_enum_variant, reason = "few are alive at a time, and all are read at once")]
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
    #[serde(deserialize_with = "json::or_default")]
    pub layers: Vec<Descriptor>,
    /// Type of an artifact.
    #[serde(default, deserialize_with = "json::non_empty")]
    pub artifact_type: Option<String>,
    /// The manifest that this one is about.
    #[serde(default)]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, deserialize_with = "json::or_default")]
    pub annotations: BTreeMap<String, String>,
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

/// How many children an index may have.
pub const MAX_CHILDREN: usize = 128;

impl RawManifest {
    /// From the body of a response: settles the media type (REGISTRY.md rule 6), refuses what is
    /// ambiguous, unknown or malformed (rule 7), and computes the digest. What it returns parses.
    ///
    /// `content_type` is the header's value as it came, parameters included.
    pub fn from_response(content_type: Option<&str>, bytes: Bytes) -> Result<Self, ManifestError> {
        let media_type = Outline::of(&bytes)?.settle(content_type)?;
        read(media_type, &bytes)?;
        Ok(Self::new(media_type, bytes))
    }

    /// From bytes that were made here.
    #[must_use]
    pub fn new(media_type: &str, bytes: Bytes) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, media_type: media_type.into(), digest }
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
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.bytes.len() as u64,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// The parse of the bytes by the media type.
    pub fn parse(&self) -> Result<Manifest, ManifestError> {
        let media_type = Outline::of(&self.bytes)?.settle(Some(&self.media_type))?;
        read(media_type, &self.bytes)
    }
}

impl ImageManifest {
    /// Whether its config is of a type that tells a platform: OCI and Docker image configs, and
    /// the wasm config.
    #[must_use]
    pub fn has_platform(&self) -> bool {
        media_type::is_config(&self.config.media_type)
    }
}

/// Reads `bytes`, whose outline was found to agree with `media_type`.
fn read(media_type: &str, bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let refused = |why: String| ManifestError::Malformed { media_type: media_type.into(), why };
    let manifest = if media_type::is_index(media_type) {
        let mut index: Index =
            serde_json::from_slice(bytes).map_err(|error| refused(json::why(&error)))?;
        let children = index.manifests.len();
        if children > MAX_CHILDREN {
            return Err(ManifestError::TooManyChildren { children, limit: MAX_CHILDREN });
        }
        for (at, child) in index.manifests.iter().enumerate() {
            if !media_type::is_well_formed(&child.media_type) {
                return Err(refused(format!("the mediaType of manifests[{at}] is malformed")));
            }
            if child.platform.as_ref().is_some_and(|platform| !platform.is_showable()) {
                return Err(refused(format!("the platform of manifests[{at}] is malformed")));
            }
        }
        index.media_type = media_type.into();
        Manifest::Index(index)
    } else {
        let image: ImageManifest =
            serde_json::from_slice(bytes).map_err(|error| refused(json::why(&error)))?;
        if !media_type::is_well_formed(&image.config.media_type) {
            return Err(refused("the mediaType of its config is malformed".into()));
        }
        Manifest::Image(image)
    };
    Ok(manifest)
}

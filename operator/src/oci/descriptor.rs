//! A descriptor: what points at content by media type, digest and size.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Digest, Platform, json};

/// A descriptor of the OCI image spec; JSON in the order of its Go struct, maps sorted by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    #[serde(deserialize_with = "digest")]
    pub digest: Digest,
    /// Size of the content in bytes.
    #[serde(deserialize_with = "json::size")]
    pub size: u64,
    /// Where else the content may be had (foreign layers).
    #[serde(default, deserialize_with = "json::or_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64.
    #[serde(default, deserialize_with = "json::non_empty", skip_serializing_if = "json::is_empty")]
    pub data: Option<String>,
    /// The platform that the content is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Type of an artifact.
    #[serde(default, deserialize_with = "json::non_empty", skip_serializing_if = "json::is_empty")]
    pub artifact_type: Option<String>,
}

/// The mark of an image whose layers are zstd. Clients that know zstd look for it, all others take
/// the first entry of their platform: so it stands behind the gzip one (containers/image does so).
pub const ZSTD: &str = "io.github.containers.compression.zstd";
/// `BuildKit`'s mark on the descriptor of an attestation manifest in an index.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// How the keys of both begin.
const REFERENCE: &str = "vnd.docker.reference.";
/// The digest of the image that an attestation manifest is about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

impl Descriptor {
    /// Whether it describes a `BuildKit` attestation manifest
    /// (`vnd.docker.reference.type: attestation-manifest`).
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotations.get(REFERENCE_TYPE).is_some_and(|of| of == "attestation-manifest")
    }

    /// Whether it describes an image whose layers are zstd: an index may have one beside the gzip
    /// image of the same platform.
    #[must_use]
    pub fn is_zstd(&self) -> bool {
        self.annotations.get(ZSTD).is_some_and(|value| value == "true")
    }

    /// How many bytes it has in an index.
    #[must_use]
    pub fn weight(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |json| json.len())
    }

    /// The digest of the image that an attestation is about (`vnd.docker.reference.digest`).
    #[must_use]
    pub fn attests(&self) -> Option<Digest> {
        self.annotations.get(REFERENCE_DIGEST)?.parse().ok()
    }
}

/// Whether an annotation of this key is one of those that tie attestation manifests to their image.
#[must_use]
pub fn is_reference(key: &str) -> bool {
    key.starts_with(REFERENCE)
}

/// A digest, whose error does not repeat the document's text as [`Digest`]'s own does.
fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(|_| de::Error::custom("the field `digest` is no sha256 or sha512 digest"))
}

/// The digests of a config's layers, `null` where there are none; the error repeats nothing of them.
pub(super) fn digests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Digest>, D::Error> {
    let texts: Vec<String> = json::or_default(deserializer)?;
    let digests = texts.iter().map(|text| text.parse());
    digests.collect::<Result<_, _>>().map_err(|_| {
        de::Error::custom("the field `diff_ids` has what is no sha256 or sha512 digest")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(pairs: &[(&str, &str)]) -> Descriptor {
        let annotations = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let raw = crate::oci::RawManifest::new("text/x", bytes::Bytes::new());
        Descriptor { annotations, ..raw.descriptor() }
    }

    #[test]
    fn attestations() {
        let subject = Digest::of(b"image");
        let both = annotated(&[
            (REFERENCE_TYPE, "attestation-manifest"),
            (REFERENCE_DIGEST, subject.as_str()),
        ]);
        assert!(both.is_attestation());
        assert_eq!(both.attests(), Some(subject));
        let broken =
            annotated(&[(REFERENCE_TYPE, "attestation-manifest"), (REFERENCE_DIGEST, "latest")]);
        assert!(broken.is_attestation());
        assert_eq!(broken.attests(), None);
        assert!(!annotated(&[]).is_attestation());
        assert!(!annotated(&[(REFERENCE_TYPE, "something-else")]).is_attestation());
    }
}

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
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
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

/// How many children an index may have, attestations included (REGISTRY.md rule 7).
pub const MAX_CHILDREN: usize = 128;

/// How many bytes a manifest may have: registries and clients take no more than that.
pub const MAX_BYTES: u64 = 4 << 20;

impl RawManifest {
    /// From the body of a response: settles the media type (REGISTRY.md rule 6), refuses what is
    /// ambiguous, unknown or malformed (rule 7), and computes the digest. What it returns parses.
    ///
    /// `content_type` is the header's value as it came, parameters included.
    pub fn from_response(content_type: Option<&str>, bytes: Bytes) -> Result<Self, ManifestError> {
        let media_type = Outline::of(&bytes)?.settle(content_type)?;
        read(media_type, &bytes, MAX_CHILDREN)?;
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
        read(media_type, &self.bytes, MAX_CHILDREN)
    }
}

impl ImageManifest {
    /// What it is made of: its config, then its layers, bottom first.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Whether its config is of a type that tells a platform: OCI and Docker image configs, and
    /// the wasm config.
    #[must_use]
    pub fn has_platform(&self) -> bool {
        media_type::is_config(&self.config.media_type)
    }
}

/// Reads `bytes`, whose outline was found to agree with `media_type`; an index has at most `limit`
/// children.
pub(super) fn read(
    media_type: &str,
    bytes: &[u8],
    limit: usize,
) -> Result<Manifest, ManifestError> {
    let refused = |why: String| ManifestError::Malformed { media_type: media_type.into(), why };
    let manifest = if media_type::is_index(media_type) {
        let mut index: Index =
            serde_json::from_slice(bytes).map_err(|error| refused(json::why(&error)))?;
        let children = index.manifests.len();
        if children > limit {
            return Err(ManifestError::TooManyChildren { children, limit });
        }
        for (at, child) in index.manifests.iter().enumerate() {
            if !media_type::is_well_formed(&child.media_type) {
                return Err(refused(format!("the mediaType of manifests[{at}] is malformed")));
            }
            if child.platform.as_ref().is_some_and(|platform| !platform.is_showable()) {
                return Err(refused(format!("the platform of manifests[{at}] is malformed")));
            }
        }
        check_artifact_type(index.artifact_type.as_deref()).map_err(refused)?;
        index.media_type = media_type.into();
        Manifest::Index(index)
    } else {
        let image: ImageManifest =
            serde_json::from_slice(bytes).map_err(|error| refused(json::why(&error)))?;
        if !media_type::is_well_formed(&image.config.media_type) {
            return Err(refused("the mediaType of its config is malformed".into()));
        }
        check_artifact_type(image.artifact_type.as_deref()).map_err(refused)?;
        Manifest::Image(image)
    };
    Ok(manifest)
}

fn check_artifact_type(artifact_type: Option<&str>) -> Result<(), String> {
    match artifact_type {
        Some(malformed) if !media_type::is_well_formed(malformed) => {
            Err("its artifactType is malformed".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use rstest::rstest;

    use super::*;
    use crate::oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

    const CONFIG: &str = concat!(
        r#"{"mediaType":"application/vnd.oci.image.config.v1+json","#,
        r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#,
        r#""size":2}"#
    );

    fn image(more: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{CONFIG}]{more}}}"#)
    }

    fn index(more: &str) -> String {
        format!(r#"{{"schemaVersion":2,"manifests":[{CONFIG}]{more}}}"#)
    }

    fn with_type(document: &str, media_type: &str) -> String {
        document.replacen('{', &format!(r#"{{"mediaType":"{media_type}","#), 1)
    }

    fn read(content_type: Option<&str>, body: &str) -> Result<RawManifest, ManifestError> {
        RawManifest::from_response(content_type, Bytes::from(body.to_owned()))
    }

    fn why(result: Result<RawManifest, ManifestError>) -> String {
        match result.unwrap_err() {
            ManifestError::Malformed { why, .. } => why,
            other => panic!("{other}"),
        }
    }

    #[rstest]
    #[case::document_alone(None, Some(OCI_INDEX), OCI_INDEX)]
    #[case::document_alone_docker(None, Some(DOCKER_LIST), DOCKER_LIST)]
    #[case::header_alone(Some(OCI_INDEX), None, OCI_INDEX)]
    #[case::both(Some(OCI_INDEX), Some(OCI_INDEX), OCI_INDEX)]
    #[case::parameters(
        Some("application/vnd.oci.image.index.v1+json; charset=utf-8"),
        None,
        OCI_INDEX
    )]
    #[case::case(Some("Application/VND.oci.image.index.v1+JSON"), None, OCI_INDEX)]
    #[case::octets(Some("application/octet-stream"), Some(OCI_INDEX), OCI_INDEX)]
    #[case::text(Some("text/plain; charset=utf-8"), Some(OCI_INDEX), OCI_INDEX)]
    #[case::json(Some("application/json"), Some(OCI_INDEX), OCI_INDEX)]
    #[case::empty(Some(""), Some(OCI_INDEX), OCI_INDEX)]
    #[case::unknown(Some("application/x-foo"), Some(OCI_INDEX), OCI_INDEX)]
    fn settles_the_media_type(
        #[case] header: Option<&str>,
        #[case] body: Option<&str>,
        #[case] settled: &str,
    ) {
        let document = body.map_or_else(|| index(""), |body| with_type(&index(""), body));
        let raw = read(header, &document).unwrap();
        assert_eq!(raw.media_type(), settled);
        let Manifest::Index(parsed) = raw.parse().unwrap() else { panic!("no index") };
        assert_eq!(parsed.media_type, settled);
    }

    #[rstest]
    #[case(OCI_MANIFEST)]
    #[case(DOCKER_MANIFEST)]
    fn reads_an_image(#[case] media_type: &str) {
        let body = with_type(&image(""), media_type);
        let raw = read(None, &body).unwrap();
        let Manifest::Image(image) = raw.parse().unwrap() else { panic!("no image") };
        assert!(image.has_platform());
        assert_eq!(image.layers.len(), 1);
        assert_eq!(raw.digest(), &Digest::of(body.as_bytes()));
        let descriptor = raw.descriptor();
        assert_eq!(descriptor.media_type, media_type);
        assert_eq!(descriptor.size, body.len() as u64);
        assert_eq!(&descriptor.digest, raw.digest());
    }

    #[test]
    fn keeps_what_it_does_not_need() {
        let subject = CONFIG.replace("image.config", "image.manifest");
        let layer = CONFIG.replace(
            r#""size":2"#,
            r#""size":2,"urls":["https://x"],"data":"e30=","annotations":{"a":"b"}"#,
        );
        let more = format!(
            r#","artifactType":"text/x-sbom","subject":{subject},"annotations":{{"k":"v"}}"#
        );
        let body = image(&more).replacen(&format!("[{CONFIG}]"), &format!("[{layer}]"), 1);
        let parsed = read(Some(OCI_MANIFEST), &body).unwrap().parse().unwrap();
        let Manifest::Image(image) = parsed else { panic!("no image") };
        assert_eq!(image.artifact_type.as_deref(), Some("text/x-sbom"));
        assert_eq!(image.subject.unwrap().media_type, OCI_MANIFEST);
        assert_eq!(image.annotations["k"], "v");
        assert_eq!(image.layers[0].urls, ["https://x"]);
        assert_eq!(image.layers[0].data.as_deref(), Some("e30="));
        assert_eq!(image.layers[0].annotations["a"], "b");
    }

    #[test]
    fn null_is_what_go_writes_for_nothing() {
        let body = r#"{"schemaVersion":2,"manifests":null,"annotations":null,"subject":null}"#;
        let Manifest::Index(index) = read(Some(OCI_INDEX), body).unwrap().parse().unwrap() else {
            panic!("no index")
        };
        assert!(index.manifests.is_empty() && index.annotations.is_empty());
        let body = image(r#","annotations":null,"artifactType":"""#)
            .replace(&format!("[{CONFIG}]"), "null")
            .replace(r#""size":2"#, r#""size":2,"urls":null,"annotations":null,"data":null"#);
        let Manifest::Image(image) = read(Some(OCI_MANIFEST), &body).unwrap().parse().unwrap()
        else {
            panic!("no image")
        };
        assert!(image.layers.is_empty() && image.artifact_type.is_none());
    }

    #[rstest]
    #[case(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#)]
    #[case(r#"{"schemaVersion":2,"manifests":[],"config":{}}"#)]
    #[case(r#"{"schemaVersion":1,"manifests":[],"fsLayers":[]}"#)]
    #[case::case_folded(r#"{"schemaVersion":2,"manifests":[],"LAYERS":[]}"#)]
    #[case::long_s(r#"{"schemaVersion":2,"manifeſts":[],"layers":[]}"#)]
    #[case::escaped(r#"{"schemaVersion":2,"\u006danifests":[],"layers":[]}"#)]
    #[case::even_null(r#"{"schemaVersion":2,"manifests":null,"layers":[]}"#)]
    fn refuses_what_is_both(#[case] body: &str) {
        assert_eq!(read(Some(OCI_INDEX), body), Err(ManifestError::Ambiguous));
        assert_eq!(read(Some(OCI_MANIFEST), body), Err(ManifestError::Ambiguous));
    }

    #[rstest]
    #[case(OCI_INDEX, OCI_MANIFEST, OCI_MANIFEST)]
    #[case(OCI_INDEX, DOCKER_LIST, DOCKER_LIST)]
    #[case::unknown(OCI_INDEX, "application/x-foo", "application/x-foo")]
    #[case::hostile(OCI_INDEX, "<script>", "malformed")]
    fn refuses_a_contradiction(#[case] header: &str, #[case] body: &str, #[case] shown: &str) {
        let error =
            ManifestError::Contradiction { content_type: header.into(), media_type: shown.into() };
        assert_eq!(read(Some(header), &with_type(&index(""), body)), Err(error));
    }

    #[rstest]
    #[case::version(None, r#"{"schemaVersion":1,"name":"x"}"#)]
    #[case::layers(None, r#"{"schemaVersion":2,"fsLayers":[]}"#)]
    #[case::header(Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), "{}")]
    #[case::body(None, r#"{"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#)]
    fn refuses_schema_1(#[case] header: Option<&str>, #[case] body: &str) {
        assert_eq!(read(header, body), Err(ManifestError::Schema1));
    }

    #[rstest]
    #[case::nothing(None, None, "absent")]
    #[case::octets(Some("application/octet-stream"), None, "absent")]
    #[case::header(Some("application/x-foo"), None, "application/x-foo")]
    #[case::body(None, Some("application/x-foo"), "application/x-foo")]
    #[case::body_first(Some("application/x-bar"), Some("application/x-foo"), "application/x-foo")]
    #[case::blank(None, Some(""), "absent")]
    #[case::hostile(None, Some("a/b c"), "malformed")]
    fn refuses_an_unknown_type(
        #[case] header: Option<&str>,
        #[case] body: Option<&str>,
        #[case] shown: &str,
    ) {
        let document = body.map_or_else(|| index(""), |body| with_type(&index(""), body));
        let error = ManifestError::UnknownMediaType { media_type: shown.into() };
        assert_eq!(read(header, &document), Err(error));
    }

    #[rstest]
    #[case(128, true)]
    #[case(129, false)]
    fn limits_the_children(#[case] children: usize, #[case] fine: bool) {
        let list = vec![CONFIG; children].join(",");
        let result = read(Some(OCI_INDEX), &index("").replace(CONFIG, &list));
        if fine {
            result.unwrap();
        } else {
            let error = ManifestError::TooManyChildren { children, limit: MAX_CHILDREN };
            assert_eq!(result, Err(error));
        }
    }

    #[rstest]
    #[case::not_json("<html>", "expected value at line 1 column 1")]
    #[case::cut("{\"schemaVersion\":2", "EOF while parsing an object at line 1 column 18")]
    #[case::more(&(index("") + "{}"), "trailing characters")]
    #[case::array("[]", "a value is not of the type it should have at line 1")]
    #[case::version_3(&index("").replace('2', "3"), "its schemaVersion is not 2")]
    #[case::no_version(r#"{"manifests":[]}"#, "it has no schemaVersion")]
    #[case::no_manifests(r#"{"schemaVersion":2}"#, "missing field `manifests`")]
    #[case::an_image(&image(""), "it has the config or layers of an image manifest")]
    #[case::twice(&index(r#","manifests":[]"#), "the field `manifests` is there twice")]
    #[case::twice_equal(&index(r#","schemaVersion":2"#), "the field `schemaVersion` is there twice")]
    #[case::other_case(&index(r#","MediaType":"x""#), "the field `mediaType` is written in another case")]
    #[case::twice_inside(&index("").replace(r#""size":2"#, r#""size":2,"size":3"#), "the field `size` is there twice")]
    #[case::other_case_inside(&index("").replace(r#""size":2"#, r#""size":2,"Digest":"x""#), "the field `digest` is written in another case")]
    #[case::other_case_of_a_platform(&index("").replace(r#""size":2"#, r#""size":2,"platform":{"OS":"x"}"#), "the field `os` is written in another case")]
    #[case::other_case_of_the_subject(&index(r#","subject":{"Size":1}"#), "the field `size` is written in another case")]
    #[case::bad_digest(&index("").replace("44136fa", "zzzzzzz"), "the field `digest` is no sha256 or sha512")]
    #[case::upper_digest(&index("").replace("44136fa", "44136FA"), "the field `digest` is no sha256 or sha512")]
    #[case::negative(&index("").replace(r#""size":2"#, r#""size":-2"#), "the field `size` is negative")]
    #[case::huge(&index("").replace(r#""size":2"#, r#""size":9223372036854775808"#), "the field `size` is past")]
    #[case::other_type(&index("").replace(r#""size":2"#, r#""size":"secret""#), "a value is not of the type")]
    #[case::nested(&index("").replace(CONFIG, &"[".repeat(500)), "recursion limit exceeded")]
    #[case::float(&index("").replace(r#""size":2"#, r#""size":2.0"#), "a value is not of the type")]
    #[case::child_type(&index("").replace("application/vnd", "app lication/vnd"), "the mediaType of manifests[0]")]
    #[case::platform(&index("").replace(r#""size":2"#, r#""size":2,"platform":{"os":"<b>"}"#), "the platform of manifests[0]")]
    #[case::artifact_type(&index(r#","artifactType":"<b>""#), "its artifactType is malformed")]
    #[case::wrong_type(&index(r#","annotations":{"secret":1}"#), "a value is not of the type")]
    fn refuses_a_malformed_index(#[case] body: &str, #[case] expected: &str) {
        let why = why(read(Some(OCI_INDEX), body));
        assert!(why.starts_with(expected), "{why}");
    }

    #[rstest]
    #[case::an_index(&index(""), "it has the manifests of an index")]
    #[case::no_config(r#"{"schemaVersion":2,"layers":[]}"#, "missing field `config`")]
    #[case::no_layers(&format!(r#"{{"schemaVersion":2,"config":{CONFIG}}}"#), "missing field `layers`")]
    #[case::config_type(&image("").replacen("image.config", "image config", 1), "the mediaType of its config")]
    #[case::artifact_type(&image(r#","artifactType":"<b>""#), "its artifactType is malformed")]
    fn refuses_a_malformed_image(#[case] body: &str, #[case] expected: &str) {
        let why = why(read(Some(OCI_MANIFEST), body));
        assert!(why.starts_with(expected), "{why}");
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        let mut body = index(r#","ignored":"?""#).into_bytes();
        let at = body.iter().position(|byte| *byte == b'?').unwrap();
        body[at] = 0xff;
        assert_eq!(
            why(RawManifest::from_response(Some(OCI_INDEX), body.into())),
            "it is not UTF-8"
        );
    }

    #[test]
    fn survives_deep_nesting() {
        let mut deep = String::new();
        for _ in 0..100_000 {
            write!(deep, r#"{{"a":["#).unwrap();
        }
        for field in ["ignored", "manifests", "annotations", "subject"] {
            let body = format!(r#"{{"schemaVersion":2,"{field}":{deep}"#);
            read(Some(OCI_INDEX), &body).unwrap_err();
        }
        let closed = deep.chars().rev().map(|c| match c {
            '{' => '}',
            '[' => ']',
            _ => ' ',
        });
        let closed: String = closed.collect();
        read(Some(OCI_INDEX), &index(&format!(r#","ignored":{deep}{closed}"#))).unwrap();
    }

    #[test]
    fn parse_judges_bytes_that_were_not_a_response() {
        let raw = RawManifest::new(OCI_INDEX, Bytes::from_static(b"{}"));
        assert!(raw.parse().is_err());
        let raw = RawManifest::new("application/x-foo", Bytes::from_static(b"{}"));
        assert_eq!(
            raw.parse(),
            Err(ManifestError::UnknownMediaType { media_type: "application/x-foo".into() })
        );
    }
}

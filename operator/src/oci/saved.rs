//! What `docker save` writes beside images: manifest.json, and the manifest of an image that has none.

use serde::{Deserialize, Serialize};

use super::{Descriptor, RawManifest, exact, json, manifest::ManifestError};

/// An image of a `docker save` archive, as its manifest.json names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    /// The path of its config. Often it is called by a digest, which nobody has checked.
    pub config: String,
    /// Its names, as a user of docker writes them.
    #[serde(default, deserialize_with = "json::or_default")]
    pub repo_tags: Vec<String>,
    /// The paths of its layers, bottom first.
    #[serde(default, deserialize_with = "json::or_default")]
    pub layers: Vec<String>,
}

/// The fields that are read, which must be exact.
const FIELDS: &[&str] = &["Config", "RepoTags", "Layers"];

/// The images that a manifest.json lists. How long the bytes may be is the caller's to limit.
pub fn list(bytes: &[u8]) -> Result<Vec<Saved>, ManifestError> {
    let refused = |error: serde_json::Error| ManifestError::Malformed {
        media_type: "manifest.json".into(),
        why: json::why(&error),
    };
    exact::check(bytes, FIELDS).map_err(refused)?;
    serde_json::from_slice(bytes).map_err(refused)
}

/// The manifest of an image that came without one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: &'a Descriptor,
    layers: &'a [Descriptor],
}

/// The manifest of an image of `config` and `layers`, Docker's or OCI's as `media_type` says.
#[must_use]
pub fn manifest(media_type: &str, config: &Descriptor, layers: &[Descriptor]) -> RawManifest {
    let made = Made { schema_version: 2, media_type, config, layers };
    RawManifest::new(media_type, json::canonical(&made).into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;

    use super::*;
    use crate::oci::{
        Manifest,
        media_type::{self, DOCKER_MANIFEST},
    };

    #[test]
    fn reads() {
        let saved = |config: &str, repo_tags: &[&str], layers: &[&str]| Saved {
            config: config.into(),
            repo_tags: repo_tags.iter().map(|&tag| tag.into()).collect(),
            layers: layers.iter().map(|&layer| layer.into()).collect(),
        };
        let document = r#"[
            {"Config":"a.json","RepoTags":["a:1"],"Layers":["x/layer.tar"],"LayerSources":{}},
            {"Config":"b.json","RepoTags":null,"Layers":null}
        ]"#;
        let expected = [saved("a.json", &["a:1"], &["x/layer.tar"]), saved("b.json", &[], &[])];
        assert_eq!(list(document.as_bytes()).unwrap(), expected);
        assert_eq!(list(b"[]"), Ok(vec![]));
    }

    #[rstest]
    #[case("{", "EOF while parsing an object at line 1 column 1")]
    #[case("{}", "a value is not of the type it should have at line 1 column 0")]
    #[case(r#"[{"Layers":[]}]"#, "missing field `Config` at line 1 column 14")]
    #[case(
        r#"[{"Config":"secret","config":"b"}]"#,
        "the field `Config` is written in another case at line 1 column 33"
    )]
    #[case(
        r#"[{"Config":"a","Layers":[],"Layers":[]}]"#,
        "the field `Layers` is there twice at line 1 column 39"
    )]
    fn refuses(#[case] document: &str, #[case] why: &str) {
        let refused = list(document.as_bytes()).unwrap_err();
        let expected =
            ManifestError::Malformed { media_type: "manifest.json".into(), why: why.into() };
        assert_eq!(refused, expected);
    }

    #[test]
    fn makes_a_manifest() {
        let blob = |of: &str| RawManifest::new(of, Bytes::from(of.to_owned())).descriptor();
        let config = blob(media_type::DOCKER_CONFIG);
        let layers = vec![blob(media_type::DOCKER_LAYER); 2];
        let made = manifest(DOCKER_MANIFEST, &config, &layers);
        let text = std::str::from_utf8(made.bytes()).unwrap();
        assert!(text.starts_with(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"#
        ));
        let Manifest::Image(image) = made.parse().unwrap() else { panic!("no image") };
        assert_eq!((image.config, image.layers), (config, layers));
    }
}

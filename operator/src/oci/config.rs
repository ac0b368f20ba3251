//! An image config: the truth about an image's platform, and its labels.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Digest, Label, Platform, descriptor,
    exact::{self, PLATFORM},
    json,
    manifest::ManifestError,
};

/// What the operator reads of an image config: the truth about its platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// The platform in the words of the config.
    pub platform: Platform,
}

impl ImageConfig {
    /// From the bytes of a config blob: OCI's, Docker's or wasm's, which name the platform alike.
    /// `None` in `platform.os` or `.architecture` is an error: a config that does not say what it
    /// is for is no truth. How long the bytes may be is the caller's to limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let refused = |why: String| ManifestError::Malformed { media_type: "config".into(), why };
        exact::check(bytes, PLATFORM).map_err(|error| refused(json::why(&error)))?;
        // A config has the five fields of a platform at its top, under the same names.
        let platform: Platform =
            serde_json::from_slice(bytes).map_err(|error| refused(json::why(&error)))?;
        if matches!(platform.os.as_str(), "" | "unknown") {
            return Err(refused("it does not say which os it is for".into()));
        }
        if matches!(platform.architecture.as_str(), "" | "unknown") {
            return Err(refused("it does not say which architecture it is for".into()));
        }
        if !platform.is_well_formed() {
            return Err(refused("its platform has characters that no platform has".into()));
        }
        Ok(Self { platform })
    }

    /// What the config says for each of the labels `keys`. How long the bytes may be is the caller's
    /// to limit.
    pub fn labels(bytes: &[u8], keys: &[String]) -> Result<Vec<Label>, ManifestError> {
        let config: Labelled = serde_json::from_slice(bytes).map_err(|error| {
            ManifestError::Malformed { media_type: "config".into(), why: json::why(&error) }
        })?;
        let value = |key: &String| Label::of(config.config.labels.get(key).map(String::as_str));
        Ok(keys.iter().map(value).collect())
    }

    /// The digests of the layers as they are unpacked, bottom first. How long the bytes may be is the
    /// caller's to limit.
    pub fn diff_ids(bytes: &[u8]) -> Result<Vec<Digest>, ManifestError> {
        let refused = |error: serde_json::Error| ManifestError::Malformed {
            media_type: "config".into(),
            why: json::why(&error),
        };
        exact::check(bytes, &["rootfs"]).map_err(refused)?;
        let config: Layered = serde_json::from_slice(bytes).map_err(refused)?;
        Ok(config.rootfs.diff_ids)
    }
}

/// The part of a config that has its layers.
#[derive(Deserialize)]
struct Layered {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "descriptor::digests")]
    diff_ids: Vec<Digest>,
}

/// The part of a config that has its labels.
#[derive(Deserialize)]
struct Labelled {
    #[serde(default, deserialize_with = "json::or_default")]
    config: Run,
}

#[derive(Default, Deserialize)]
struct Run {
    #[serde(default, rename = "Labels", deserialize_with = "json::or_default")]
    labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        r#"{"architecture":"arm","os":"linux","variant":"v7","config":{},"rootfs":null}"#,
        "linux/arm/v7"
    )]
    #[case(
        r#"{"os":"windows","os.version":"10.0.17763.1","os.features":["win32k"],"architecture":"amd64"}"#,
        "windows(10.0.17763.1+win32k)/amd64"
    )]
    #[case::wasm(
        r#"{"created":"x","architecture":"wasm","os":"wasip1","layerDigests":[]}"#,
        "wasip1/wasm"
    )]
    #[case::blank(r#"{"os":"linux","architecture":"amd64","variant":"","os.version":null,"os.features":null}"#, "linux/amd64")]
    fn reads(#[case] config: &str, #[case] platform: &str) {
        assert_eq!(ImageConfig::parse(config.as_bytes()).unwrap().platform.to_string(), platform);
    }

    #[rstest]
    #[case::no_json("x", "expected value at line 1 column 1")]
    #[case::empty("{}", "it does not say which os it is for")]
    #[case::no_os(r#"{"architecture":"amd64"}"#, "it does not say which os it is for")]
    #[case::null(r#"{"os":null,"architecture":"amd64"}"#, "it does not say which os it is for")]
    #[case::unknown(
        r#"{"os":"unknown","architecture":"unknown"}"#,
        "it does not say which os it is for"
    )]
    #[case::no_architecture(r#"{"os":"linux"}"#, "it does not say which architecture it is for")]
    #[case::blank(
        r#"{"os":"linux","architecture":""}"#,
        "it does not say which architecture it is for"
    )]
    #[case::characters(
        r#"{"os":"linux","architecture":"a b"}"#,
        "its platform has characters that no platform has"
    )]
    #[case::dots(
        r#"{"os":"linux","architecture":".."}"#,
        "its platform has characters that no platform has"
    )]
    #[case::twice(
        r#"{"os":"linux","os":"windows","architecture":"amd64"}"#,
        "the field `os` is there twice at line 1 column 52"
    )]
    #[case::type_(
        r#"{"os":"linux","architecture":["secret"]}"#,
        "a value is not of the type it should have at line 1 column 29"
    )]
    #[case::other_case(
        r#"{"os":"linux","architecture":"amd64","Architecture":"arm64"}"#,
        "the field `architecture` is written in another case at line 1 column 60"
    )]
    fn refuses(#[case] config: &str, #[case] why: &str) {
        assert_eq!(
            ImageConfig::parse(config.as_bytes()),
            Err(ManifestError::Malformed { media_type: "config".into(), why: why.into() })
        );
    }

    #[rstest]
    #[case::both(r#"{"config":{"Labels":{"a":"1","b":"2"}}}"#, &["\"1\"", "\"2\""])]
    #[case::one(r#"{"config":{"Labels":{"b":"2","c":"3"}}}"#, &["no such label", "\"2\""])]
    #[case::no_labels(r#"{"config":{"Labels":null}}"#, &["no such label"; 2])]
    #[case::no_config(r#"{"config":null}"#, &["no such label"; 2])]
    #[case::nothing("{}", &["no such label"; 2])]
    #[case::annotations_are_none(r#"{"annotations":{"a":"1"}}"#, &["no such label"; 2])]
    fn labels(#[case] config: &str, #[case] expected: &[&str]) {
        let labels = ImageConfig::labels(config.as_bytes(), &["a".into(), "b".into()]).unwrap();
        assert_eq!(labels.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[rstest]
    #[case("x")]
    #[case(r#"{"config":{"Labels":{"a":["secret"]}}}"#)]
    #[case::twice(r#"{"config":{"Labels":{}},"config":{}}"#)]
    fn refuses_labels(#[case] config: &str) {
        let error = ImageConfig::labels(config.as_bytes(), &[]).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[rstest]
    #[case::two(r#"{"rootfs":{"type":"layers","diff_ids":["A","A"]}}"#, 2)]
    #[case::none(r#"{"rootfs":{"type":"layers","diff_ids":null}}"#, 0)]
    #[case::absent(r#"{"rootfs":{"type":"layers"}}"#, 0)]
    fn diff_ids(#[case] config: &str, #[case] expected: usize) {
        let digest = Digest::of(b"layer");
        let config = config.replace('A', digest.as_str());
        assert_eq!(ImageConfig::diff_ids(config.as_bytes()), Ok(vec![digest; expected]));
    }

    #[rstest]
    #[case::no_rootfs("{}", "missing field `rootfs` at line 1 column 2")]
    #[case::no_digest(
        r#"{"rootfs":{"diff_ids":["secret"]}}"#,
        "the field `diff_ids` has what is no sha256 or sha512 digest at line 1 column 33"
    )]
    #[case::twice(
        r#"{"rootfs":{},"rootfs":{}}"#,
        "the field `rootfs` is there twice at line 1 column 25"
    )]
    fn refuses_diff_ids(#[case] config: &str, #[case] why: &str) {
        assert_eq!(
            ImageConfig::diff_ids(config.as_bytes()),
            Err(ManifestError::Malformed { media_type: "config".into(), why: why.into() })
        );
    }

    #[test]
    fn refuses_a_long_platform() {
        let config = format!(r#"{{"os":"linux","architecture":"{}"}}"#, "a".repeat(300));
        ImageConfig::parse(config.as_bytes()).unwrap_err();
    }
}

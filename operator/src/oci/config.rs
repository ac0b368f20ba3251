//! An image config: the truth about an image's platform.

use super::{
    Platform,
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

    #[test]
    fn refuses_a_long_platform() {
        let config = format!(r#"{{"os":"linux","architecture":"{}"}}"#, "a".repeat(300));
        ImageConfig::parse(config.as_bytes()).unwrap_err();
    }
}

//! An image config: the truth about an image's platform.

use super::{Platform, json, manifest::ManifestError};

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

//! Platforms: parsed, normalised, formatted and compared as containerd does, without ever asking
//! what the operator itself runs on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A platform in the words it was written in; the fields and their JSON are those of the OCI image
/// spec's `platform` object, in the order of its Go struct.
///
/// `==` compares words. What is the same platform in other words (`linux/arm64` and
/// `linux/arm64/v8`) is equal after [`Platform::normalized`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture in Go's words: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// Operating system in Go's words: `linux`, `windows`.
    #[serde(default)]
    pub os: String,
    /// Windows build, `10.0.17763.1234`.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features that the image needs of the operating system: `win32k`.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the CPU: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a string is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a platform such as linux/amd64 or linux/arm/v7: {why}")]
pub struct PlatformError {
    /// The string as it was given, cut to a length that is safe to show.
    pub text: String,
    /// What is wrong with it, for people.
    pub why: String,
}

impl Platform {
    /// The same platform in the one spelling that is compared, keyed and sorted.
    #[must_use]
    pub fn normalized(&self) -> Self {
        todo!()
    }

    /// Whether both are the same platform, whatever the words.
    #[must_use]
    pub fn same_as(&self, _other: &Self) -> bool {
        todo!()
    }

    /// Whether an image of this platform serves who requires `required`: equality, where a
    /// required platform without `os.version` is met by any.
    #[must_use]
    pub fn covers(&self, _required: &Self) -> bool {
        todo!()
    }

    /// Whether this, the platform of a config, is what a user declared as `declared`, the text of
    /// a source's `platforms`: a field that the text leaves out is not compared.
    ///
    /// Needs the text, since parsing fills fields in (`linux/arm` is parsed as `linux/arm/v7`).
    pub fn agrees_with(&self, _declared: &str) -> Result<bool, PlatformError> {
        todo!()
    }

    /// Whether it is the `unknown/unknown` of BuildKit's attestation manifests, or says nothing.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        todo!()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(_text: &str) -> Result<Self, PlatformError> {
        todo!()
    }
}

/// containerd's `FormatAll`: `windows(10.0.17763+win32k)/amd64`.
impl fmt::Display for Platform {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

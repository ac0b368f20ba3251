//! A content digest: `sha256:…` or `sha512:…`, always computed or checked here, never adopted.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A digest in the form of the OCI image spec, `algorithm:encoded`, with a registered algorithm
/// (sha256, sha512) and an encoded part of the right length in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a string is no digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a digest such as sha256:<64 lower-case hex digits>")]
pub struct DigestError {
    /// The string as it was given, cut to a length that is safe to show.
    pub text: String,
}

impl Digest {
    /// The sha256 digest of `bytes`.
    #[must_use]
    pub fn of(_bytes: &[u8]) -> Self {
        todo!()
    }

    /// Whether `bytes` have this digest, by its own algorithm.
    #[must_use]
    pub fn matches(&self, _bytes: &[u8]) -> bool {
        todo!()
    }

    /// `sha256` or `sha512`.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        todo!()
    }

    /// The part behind the colon.
    #[must_use]
    pub fn encoded(&self) -> &str {
        todo!()
    }

    /// The whole digest as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(_text: &str) -> Result<Self, DigestError> {
        todo!()
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

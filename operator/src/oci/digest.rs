//! A content digest: `sha256:…` or `sha512:…`, always computed or checked here, never adopted.

use std::{fmt, fmt::Write as _, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use super::cut;

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
    /// All that a digest may be by, as layouts call folders.
    pub const ALGORITHMS: [&'static str; 2] = ["sha256", "sha512"];

    /// The sha256 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(&Sha256::digest(bytes))))
    }

    /// Whether `bytes` have this digest, by its own algorithm.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        match self.algorithm() {
            "sha512" => self.encoded() == hex(&Sha512::digest(bytes)),
            _ => self.encoded() == hex(&Sha256::digest(bytes)),
        }
    }

    /// `sha256` or `sha512`.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        self.parts().0
    }

    /// The part behind the colon.
    #[must_use]
    pub fn encoded(&self) -> &str {
        self.parts().1
    }

    /// The whole digest as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        // There is always a colon: only `of` and `from_str` make digests.
        self.0.split_once(':').unwrap_or_default()
    }
}

/// Computes a digest of bytes that come piece by piece.
#[derive(Clone)]
pub struct Hasher(Algorithm);

#[derive(Clone)]
enum Algorithm {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Default for Hasher {
    /// For a sha256 digest.
    fn default() -> Self {
        Self(Algorithm::Sha256(Sha256::new()))
    }
}

impl Hasher {
    /// By the algorithm of `digest`.
    #[must_use]
    pub fn new(digest: &Digest) -> Self {
        match digest.algorithm() {
            "sha512" => Self(Algorithm::Sha512(Sha512::new())),
            _ => Self::default(),
        }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Algorithm::Sha256(hash) => hash.update(bytes),
            Algorithm::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            Algorithm::Sha256(hash) => Digest(format!("sha256:{}", hex(&hash.finalize()))),
            Algorithm::Sha512(hash) => Digest(format!("sha512:{}", hex(&hash.finalize()))),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let length = match text.split_once(':') {
            Some(("sha256", _)) => 64,
            Some(("sha512", _)) => 128,
            _ => 0,
        };
        let encoded = text.split_once(':').map_or("", |(_, encoded)| encoded);
        let lower_hex = encoded.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if length == 0 || encoded.len() != length || !lower_hex {
            return Err(DigestError { text: cut(text) });
        }
        Ok(Self(text.into()))
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_512: &str = concat!(
        "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce",
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
    );

    #[test]
    fn computes_and_checks() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        for text in [EMPTY, EMPTY_512] {
            let digest: Digest = text.parse().unwrap();
            assert!(digest.matches(b""));
            assert!(!digest.matches(b"x"));
            assert_eq!(format!("{}:{}", digest.algorithm(), digest.encoded()), text);
            assert_eq!(digest.to_string(), text);
            assert_eq!(String::from(digest.clone()), text);
            assert_eq!(Digest::try_from(text.to_string()), Ok(digest));
        }
    }

    #[rstest]
    #[case("")]
    #[case("sha256")]
    #[case("sha256:")]
    #[case::short(&EMPTY[..70])]
    #[case::long("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550")]
    #[case::upper("sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855")]
    #[case::algorithm_upper(
        "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    #[case::no_hex("sha256:g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    #[case::other_algorithm(
        "blake3:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    #[case::wrong_length("sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    #[case::space(" sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85")]
    #[case::two_colons("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b785:b855")]
    fn refuses(#[case] text: &str) {
        assert_eq!(text.parse::<Digest>(), Err(DigestError { text: text.into() }));
    }

    #[test]
    fn shows_little_of_what_it_refuses() {
        let error = format!("{}é", "é".repeat(500)).parse::<Digest>().unwrap_err();
        assert!(error.text.len() <= 200 && error.text.ends_with('…'));
        let error = "a\nb\u{202e}".parse::<Digest>().unwrap_err();
        assert!(error.to_string().starts_with(r#""a\nb\u{202e}" is not a digest"#), "{error}");
    }
}

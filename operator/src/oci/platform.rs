//! Platforms: parsed, normalised, formatted and compared as containerd does, without ever asking
//! what the operator itself runs on.

mod compare;
mod host;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{cut, json};

/// A platform in the words it was written in; the fields and their JSON are those of the OCI image
/// spec's `platform` object, in the order of its Go struct.
///
/// `==` compares words. What is the same platform in other words (`linux/arm64` and
/// `linux/arm64/v8`) is equal after [`Platform::normalized`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture in Go's words: `amd64`, `arm64`.
    #[serde(default, deserialize_with = "json::or_default")]
    pub architecture: String,
    /// Operating system in Go's words: `linux`, `windows`.
    #[serde(default, deserialize_with = "json::or_default")]
    pub os: String,
    /// Windows build, `10.0.17763.1234`.
    #[serde(
        default,
        rename = "os.version",
        deserialize_with = "json::non_empty",
        skip_serializing_if = "json::is_empty"
    )]
    pub os_version: Option<String>,
    /// Features that the image needs of the operating system: `win32k`.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the CPU: `v8`.
    #[serde(default, deserialize_with = "json::non_empty", skip_serializing_if = "json::is_empty")]
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

/// What platforms are sorted by: os, architecture, variant, os.version and os.features, normalised
/// and compared bytewise. Two platforms with the same key are the same platform.
pub type SortKey = (String, String, String, String, Vec<String>);

/// The longest text that is taken for a platform, in bytes.
const LONGEST: usize = 255;

impl Platform {
    /// The same platform in the one spelling that is compared, keyed and sorted.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (os, architecture, variant, os_version, os_features) = self.sort_key();
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self { architecture, os, os_version: some(os_version), os_features, variant: some(variant) }
    }

    /// What platforms are sorted by. The order of the struct itself is that of its JSON.
    #[must_use]
    pub fn sort_key(&self) -> SortKey {
        let variant = self.variant.as_deref().unwrap_or_default();
        let (architecture, variant) = normalize_architecture(&self.architecture, variant);
        let mut features = self.os_features.clone();
        features.retain(|feature| !feature.is_empty());
        features.sort();
        features.dedup();
        let version = self.os_version.clone().unwrap_or_default();
        (normalize_os(&self.os), architecture, variant, version, features)
    }

    /// Whether it is the `unknown/unknown` of `BuildKit`'s attestation manifests, or says nothing.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.os.as_str(), "" | "unknown")
            && matches!(self.architecture.as_str(), "" | "unknown")
    }

    /// Whether it names os and architecture, and its words can be written in the form that is
    /// parsed.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        !self.os.is_empty() && !self.architecture.is_empty() && self.is_showable()
    }

    /// Whether it has only words that platforms are made of, or none: what came from a registry
    /// and is not this may not stand in a message.
    #[must_use]
    pub fn is_showable(&self) -> bool {
        let empty_or = |text: &str, is: fn(&str) -> bool| text.is_empty() || is(text);
        empty_or(&self.os, is_os)
            && empty_or(&self.architecture, is_word)
            && empty_or(self.variant.as_deref().unwrap_or_default(), is_word)
            && empty_or(self.os_version.as_deref().unwrap_or_default(), is_option)
            && self.os_features.iter().all(|feature| empty_or(feature, is_option))
            && self.to_string().len() <= LONGEST
    }
}

/// The words of a platform's text, aliases not yet resolved but for the os.
struct Words<'a> {
    os: String,
    os_version: Option<String>,
    os_features: Vec<String>,
    architecture: &'a str,
    variant: Option<&'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Result<Self, PlatformError> {
        Self::split(text).map_err(|why| PlatformError { text: cut(text), why: why.into() })
    }

    fn split(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("it is longer than 255 bytes");
        }
        if text.contains('*') {
            return Err("wildcards are not supported, name each platform");
        }
        let mut parts = text.split('/');
        let (os, architecture, variant) =
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(os), Some(architecture), variant, None) => (os, architecture, variant),
                (_, None, _, _) => {
                    return Err("name both operating system and architecture, none is assumed");
                }
                _ => return Err("it has more than three parts"),
            };
        if !is_word(architecture) {
            return Err("its architecture is not made of letters, digits, dots, - and _");
        }
        if !variant.is_none_or(is_word) {
            return Err("its variant is not made of letters, digits, dots, - and _");
        }
        let (os, options) = match os.split_once('(') {
            None => (os, ""),
            Some((os, options)) => (
                os,
                options.strip_suffix(')').ok_or("the parenthesis after its os is not closed")?,
            ),
        };
        if !is_os(os) {
            return Err("its os is not made of letters, digits, - and _");
        }
        let mut options = options.split('+').enumerate().map(|(at, option)| {
            // Only the first one, the version, may be empty.
            if at > 0 && option.is_empty() {
                Err("it has an empty os feature")
            } else {
                decode(option)
            }
        });
        let os_version = options.next().transpose()?.filter(|version| !version.is_empty());
        let os_features = options.collect::<Result<_, _>>()?;
        Ok(Self { os: normalize_os(os), os_version, os_features, architecture, variant })
    }

    /// Whether the text names a variant: as its third part, or in the alias of an architecture.
    fn says_variant(&self) -> bool {
        self.variant.is_some()
            || matches!(self.architecture.to_ascii_lowercase().as_str(), "armhf" | "armel")
    }

    /// As containerd's `Parse` makes it of the words.
    fn platform(&self) -> Platform {
        let (architecture, variant) =
            normalize_architecture(self.architecture, self.variant.unwrap_or_default());
        let variant = match (architecture.as_str(), self.variant, variant.as_str()) {
            ("arm64", Some(_), "") => Some("v8".into()),
            ("arm", None, "v7") | (_, _, "") => None,
            _ => Some(variant),
        };
        Platform {
            architecture,
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant,
        }
    }
}

fn is_os(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// An architecture or a variant. The dots alone are refused, which containerd takes and then drops
/// with the part before them (`path.Join`).
fn is_word(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// An os.version or a feature, decoded. containerd takes whatever a percent sign can spell, but
/// what it then formats it does not parse again.
fn is_option(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-%+()/".contains(&b))
}

/// Undoes [`Encoded`].
fn decode(option: &str) -> Result<String, &'static str> {
    let mut decoded = String::with_capacity(option.len());
    let mut rest = option;
    while let Some((plain, encoded)) = rest.split_once('%') {
        let byte = encoded.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = byte.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push_str(plain);
        decoded.push(byte.ok_or("a percent sign is not followed by two hex digits")?.into());
        rest = &encoded[2..];
    }
    // What was written plainly may not be one of the characters that have to be encoded.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-%".contains(&b);
    decoded.push_str(rest);
    if !option.bytes().all(plain) || !(decoded.is_empty() || is_option(&decoded)) {
        return Err("its os options are not made of letters, digits, dots, - and _");
    }
    Ok(decoded)
}

fn normalize_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".into(),
        os => os.into(),
    }
}

/// containerd's table of aliases.
fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.into(), variant.into())
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Words::of(text).map(|words| words.platform())
    }
}

/// An os.version or a feature with the characters encoded that the form needs for itself.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '%' | '+' | '(' | ')' | '/' => write!(f, "%{:02X}", u32::from(c)),
            c => write!(f, "{c}"),
        })
    }
}

/// containerd's `FormatAll`: `windows(10.0.17763+win32k)/amd64`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        f.write_str(&self.os)?;
        let version = self.os_version.as_deref().unwrap_or_default();
        let mut features: Vec<_> = self.os_features.iter().filter(|f| !f.is_empty()).collect();
        features.sort();
        features.dedup();
        if !version.is_empty() || !features.is_empty() {
            write!(f, "({}", Encoded(version))?;
            features.iter().try_for_each(|feature| write!(f, "+{}", Encoded(feature)))?;
            f.write_str(")")?;
        }
        let variant = self.variant.as_deref().unwrap_or_default();
        let parts = [self.architecture.as_str(), variant];
        parts.iter().filter(|part| !part.is_empty()).try_for_each(|part| write!(f, "/{part}"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("linux/amd64", "linux/amd64", "linux/amd64")]
    #[case("linux/x86_64", "linux/amd64", "linux/amd64")]
    #[case("Linux/X86-64/V1", "linux/amd64", "linux/amd64")]
    #[case("linux/amd64/v2", "linux/amd64/v2", "linux/amd64/v2")]
    #[case("linux/i386", "linux/386", "linux/386")]
    #[case("linux/arm64", "linux/arm64", "linux/arm64")]
    #[case("linux/aarch64/8", "linux/arm64/v8", "linux/arm64")]
    #[case("linux/arm64/9.0", "linux/arm64/v9", "linux/arm64/v9")]
    #[case("linux/arm", "linux/arm", "linux/arm/v7")]
    #[case("linux/arm/7", "linux/arm/v7", "linux/arm/v7")]
    #[case("linux/armhf", "linux/arm", "linux/arm/v7")]
    #[case("linux/armel", "linux/arm/v6", "linux/arm/v6")]
    #[case("macos/arm64", "darwin/arm64", "darwin/arm64")]
    #[case("windows()/amd64", "windows/amd64", "windows/amd64")]
    #[case(
        "windows(10.0.17763+win32k)/amd64",
        "windows(10.0.17763+win32k)/amd64",
        "windows(10.0.17763+win32k)/amd64"
    )]
    #[case("windows(+b+a+b)/amd64", "windows(+a+b)/amd64", "windows(+a+b)/amd64")]
    #[case(
        "windows(1%2B%28%29%2f%25)/amd64",
        "windows(1%2B%28%29%2F%25)/amd64",
        "windows(1%2B%28%29%2F%25)/amd64"
    )]
    fn parses(#[case] text: &str, #[case] formatted: &str, #[case] normalized: &str) {
        assert_eq!(platform(text).to_string(), formatted);
        assert_eq!(platform(text).normalized().to_string(), normalized);
    }

    #[rstest]
    #[case::os("linux", "name both operating system and architecture, none is assumed")]
    #[case::architecture("arm64", "name both operating system and architecture, none is assumed")]
    #[case::empty("", "name both operating system and architecture, none is assumed")]
    #[case::wildcard("linux/*", "wildcards are not supported, name each platform")]
    #[case::parts("linux/amd64/v2/x", "it has more than three parts")]
    #[case::slash("linux/amd64/", "its variant is not made of letters, digits, dots, - and _")]
    #[case::architecture_space(
        "linux/a b",
        "its architecture is not made of letters, digits, dots, - and _"
    )]
    #[case::dots("linux/..", "its architecture is not made of letters, digits, dots, - and _")]
    #[case::no_os("/amd64", "its os is not made of letters, digits, - and _")]
    #[case::os_dot("li.nux/amd64", "its os is not made of letters, digits, - and _")]
    #[case::open("windows(10/amd64", "the parenthesis after its os is not closed")]
    #[case::behind("windows(10)x/amd64", "the parenthesis after its os is not closed")]
    #[case::feature("windows(10+)/amd64", "it has an empty os feature")]
    #[case::percent("windows(10%2)/amd64", "a percent sign is not followed by two hex digits")]
    #[case::percent_sign(
        "windows(10%+1)/amd64",
        "a percent sign is not followed by two hex digits"
    )]
    #[case::percent_boundary(
        "windows(10%€)/amd64",
        "a percent sign is not followed by two hex digits"
    )]
    #[case::control(
        "windows(%0a)/amd64",
        "its os options are not made of letters, digits, dots, - and _"
    )]
    #[case::invalid_utf8(
        "windows(%ff)/amd64",
        "its os options are not made of letters, digits, dots, - and _"
    )]
    #[case::space(
        "windows(1 0)/amd64",
        "its os options are not made of letters, digits, dots, - and _"
    )]
    #[case::long(&format!("linux/{}", "a".repeat(300)), "it is longer than 255 bytes")]
    fn refuses(#[case] text: &str, #[case] why: &str) {
        let error = text.parse::<Platform>().unwrap_err();
        assert_eq!(error.why, why);
        assert!(error.text.len() <= 200);
        assert_eq!(platform("linux/amd64").agrees_with(text).unwrap_err(), error);
    }

    #[test]
    fn unknown() {
        assert!(Platform::default().is_unknown());
        assert!(platform("unknown/unknown").is_unknown());
        assert!(!platform("linux/unknown").is_unknown());
        assert!(!platform("unknown/amd64").is_unknown());
    }

    #[test]
    fn never_asks_the_host() {
        let nothing = Platform::default();
        assert_eq!(nothing.normalized(), nothing);
        assert_eq!(nothing.to_string(), "unknown");
        let os_alone = Platform { os: "linux".into(), ..Platform::default() };
        assert_eq!(os_alone.normalized(), os_alone);
        assert_eq!(os_alone.to_string(), "linux");
    }

    #[test]
    fn blanks_are_absent() {
        let json = r#"{"architecture":"amd64","os":"linux","os.version":"","os.features":null,"variant":""}"#;
        let read: Platform = serde_json::from_str(json).unwrap();
        assert_eq!(read, platform("linux/amd64"));
        let blank =
            Platform { os_version: Some(String::new()), variant: Some(String::new()), ..read };
        assert!(blank.same_as(&platform("linux/amd64")));
        let json = serde_json::to_string(&blank).unwrap();
        assert_eq!(json, r#"{"architecture":"amd64","os":"linux"}"#);
    }

    #[test]
    fn well_formed() {
        assert!(platform("windows(10%2B1+a%2Fb)/amd64").is_well_formed());
        assert!(Platform::default().is_showable() && !Platform::default().is_well_formed());
        for word in ["a b", "é", "a/b", "\u{1b}", ".."] {
            let bad = Platform { variant: Some(word.into()), ..platform("linux/amd64") };
            assert!(!bad.is_showable(), "{word}");
        }
    }
}

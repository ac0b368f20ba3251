//! pure: what is written on the command line → the object that is meant.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::Serialize;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub(crate) enum Kind {
    /// One tag.
    MultiArchImage,
    /// A list of images, each of which becomes an object of the other kind.
    MultiArchImageSet,
}

/// What an object is called on the command line: `app`, `mais/k3s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Its kind.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: String,
}

impl Kind {
    /// As `kubectl` writes them: `mais`, `multiarchimageset.multiarch.dev`.
    fn of(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        match word.strip_suffix(".multiarch.dev").unwrap_or(&word) {
            "multiarchimage" | "multiarchimages" => Some(Self::MultiArchImage),
            "mai" if !word.contains('.') => Some(Self::MultiArchImage),
            "multiarchimageset" | "multiarchimagesets" => Some(Self::MultiArchImageSet),
            "mais" if !word.contains('.') => Some(Self::MultiArchImageSet),
            _ => None,
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::MultiArchImage => Self::MultiArchImageSet,
            Self::MultiArchImageSet => Self::MultiArchImage,
        }
    }

    /// An object of this kind.
    pub(super) fn named(self, name: &str) -> Name {
        Name { kind: self, name: name.into() }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            None => (Kind::MultiArchImage, text),
            Some((kind, name)) => {
                let kind = Kind::of(kind);
                (kind.ok_or("write NAME, or mais/NAME of a MultiArchImageSet")?, name)
            }
        };
        if name.is_empty() || name.contains('/') {
            return Err("it is no name of an object".into());
        }
        Ok(kind.named(name))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            Kind::MultiArchImage => "",
            Kind::MultiArchImageSet => "mais/",
        };
        write!(f, "{word}{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("app", "app")]
    #[case("mai/app", "app")]
    #[case("multiarchimage/app", "app")]
    // As `kubectl get -o name` prints it.
    #[case("multiarchimage.multiarch.dev/app", "app")]
    #[case("mais/k3s", "mais/k3s")]
    #[case("MAIS/k3s", "mais/k3s")]
    #[case("multiarchimageset/k3s", "mais/k3s")]
    #[case("MultiArchImageSet/k3s", "mais/k3s")]
    #[case("multiarchimageset.multiarch.dev/k3s", "mais/k3s")]
    #[case("multiarchimagesets.multiarch.dev/k3s", "mais/k3s")]
    fn names(#[case] text: &str, #[case] expected: &str) {
        let name: Name = text.parse().unwrap();
        assert_eq!(name.to_string(), expected);
        assert_eq!(expected.parse(), Ok(name));
    }

    #[rstest]
    #[case("")]
    #[case("mais/")]
    #[case("/app")]
    #[case("mais/a/b")]
    #[case("team-a/app")]
    #[case("mais.multiarch.dev/k3s")]
    #[case("multiarchimagesets.example.com/k3s")]
    fn no_names(#[case] text: &str) {
        text.parse::<Name>().unwrap_err();
    }
}

//! A label of an image config, as it is compared and may be shown.

use std::fmt;

use super::Digest;

/// What a config says for one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Nothing, or nothing but blanks: a build argument that was never set writes `""`.
    Absent,
    /// A word that is safe to show: a revision, version, date or URL.
    Word(String),
    /// Anything else, by its digest: what a registry sends as free text stands in no message.
    Other(Digest),
}

/// The longest word that is shown, in bytes: a digest has 71.
const LONGEST: usize = 72;

impl Label {
    /// What `value` says; `None` where the config has no such label.
    #[must_use]
    pub fn of(value: Option<&str>) -> Self {
        let of_words = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+~=-".contains(&b);
        match value.filter(|value| !value.trim().is_empty()) {
            None => Self::Absent,
            Some(value) if value.len() <= LONGEST && value.bytes().all(of_words) => {
                Self::Word(value.into())
            }
            Some(value) => Self::Other(Digest::of(value.as_bytes())),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such label"),
            Self::Word(word) => write!(f, "{word:?}"),
            Self::Other(digest) => {
                let short: String = digest.as_str().chars().take("sha256:".len() + 12).collect();
                write!(f, "a text that is not shown ({short}…)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, "no such label")]
    #[case(Some(""), "no such label")]
    #[case(Some(" \n"), "no such label")]
    #[case(Some("1.0.0+build~1"), "\"1.0.0+build~1\"")]
    #[case(Some("2026-11-21T10:00:00Z"), "\"2026-11-21T10:00:00Z\"")]
    #[case(Some("https://git.example/a@b"), "\"https://git.example/a@b\"")]
    #[case::space(Some("two words"), "a text that is not shown (sha256:")]
    #[case::quote(Some("a\""), "a text that is not shown (sha256:")]
    #[case::control(Some("a\u{1b}[31m"), "a text that is not shown (sha256:")]
    #[case::letters(Some("é"), "a text that is not shown (sha256:")]
    fn shows(#[case] value: Option<&str>, #[case] shown: &str) {
        assert!(Label::of(value).to_string().starts_with(shown), "{}", Label::of(value));
    }

    #[test]
    fn long_words_are_not_shown() {
        let of = |n: usize| Label::of(Some(&"a".repeat(n)));
        assert!(matches!((of(72), of(73)), (Label::Word(_), Label::Other(_))));
    }

    #[test]
    fn what_is_not_shown_is_told_apart() {
        let [one, two] = ["one text", "another text"].map(|text| Label::of(Some(text)));
        assert_ne!(one, two);
        assert_ne!(one.to_string(), two.to_string());
    }
}

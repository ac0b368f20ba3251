//! pure: which objects one operator of several watches, by their labels.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::oci::Digest;

/// A label selector that selects something: what `kubectl --selector` takes, without `<` and `>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(BTreeSet<Requirement>);

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// A name that starts with `base` and is another one for each selector, however it is spelt.
    #[must_use]
    pub fn name(&self, base: &str) -> String {
        let digest = Digest::of(self.to_string().as_bytes());
        let hex = digest.as_str().rsplit(':').next().unwrap_or_default();
        format!("{base}-{}", hex.get(..8).unwrap_or_default())
    }

    /// The names of the labels that it looks at.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        use Requirement as R;
        self.0.iter().map(|requirement| match requirement {
            R::Is(key, _)
            | R::IsNot(key, _)
            | R::In(key, _)
            | R::NotIn(key, _)
            | R::Exists(key)
            | R::Absent(key) => key.as_str(),
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        split(text).into_iter().map(requirement).collect::<Result<_, _>>().map(Self)
    }
}

/// `text` at its commas, apart from those in parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|c| {
        match c {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        c == ',' && !inside
    })
    .collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    use Requirement as R;
    let text = text.trim();
    if let Some(absent) = text.strip_prefix('!') {
        return key(absent).map(R::Absent);
    }
    if let Some((of, not)) = text.split_once("!=") {
        return Ok(R::IsNot(key(of)?, value(not)?));
    }
    if let Some((of, is)) = text.split_once('=') {
        return Ok(R::Is(key(of)?, value(is.strip_prefix('=').unwrap_or(is))?));
    }
    let Some((left, right)) = text.split_once('(') else { return key(text).map(R::Exists) };
    let all = right.strip_suffix(')').ok_or_else(|| format!("{text:?} lacks a closing bracket"))?;
    let all = all.split(',').map(|one| match value(one)? {
        empty if empty.is_empty() => Err(format!("{text:?} has an empty value")),
        value => Ok(value),
    });
    let all = all.collect::<Result<_, _>>()?;
    match left.trim().rsplit_once(char::is_whitespace) {
        Some((of, "in")) => Ok(R::In(key(of)?, all)),
        Some((of, "notin")) => Ok(R::NotIn(key(of)?, all)),
        _ => Err(format!("{text:?}: write `label in (a, b)` or `label notin (a, b)`")),
    }
}

/// The name of a label, with the domain before it where it has one.
fn key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (domain, name) = text.rsplit_once('/').unwrap_or(("", text));
    let is_dns = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        label.bytes().all(is_dns)
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let has_domain = text.contains('/');
    let fits = !has_domain || (domain.len() <= 253 && domain.split('.').all(is_label));
    if name.is_empty() || !is_word(name) || !fits {
        return Err(format!("{text:?} is not the name of a label"));
    }
    Ok(text.to_owned())
}

fn value(text: &str) -> Result<String, String> {
    let text = text.trim();
    if is_word(text) { Ok(text.to_owned()) } else { Err(format!("{text:?} is no label's value")) }
}

/// Up to 63 letters, digits, `-`, `_` and `.`, the first and the last of them a letter or digit.
fn is_word(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let end = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.bytes().all(inside)
        && (text.is_empty() || (text.starts_with(end) && text.ends_with(end)))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| {
            values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Is(key, value) => write!(f, "{key}={value}"),
            Self::IsNot(key, value) => write!(f, "{key}!={value}"),
            Self::In(key, values) => write!(f, "{key} in ({})", list(values)),
            Self::NotIn(key, values) => write!(f, "{key} notin ({})", list(values)),
            Self::Exists(key) => write!(f, "{key}"),
            Self::Absent(key) => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("multiarch.dev/shard=a", "multiarch.dev/shard=a")]
    #[case(" shard == a ", "shard=a")]
    #[case("shard!=a", "shard!=a")]
    #[case("shard=", "shard=")]
    #[case("multiarch.dev/shard notin (b, a,b)", "multiarch.dev/shard notin (a,b)")]
    #[case("shard in(a)", "shard in (a)")]
    #[case("shard  in (a)", "shard in (a)")]
    #[case("b, !a , c in (x,y),b", "c in (x,y),b,!a")]
    #[case("", "")]
    #[case("a,", "")]
    #[case("!", "")]
    #[case("a in ()", "")]
    #[case("a in (b", "")]
    #[case("a within (b)", "")]
    #[case("in (b)", "")]
    #[case("a b", "")]
    #[case("-a=b", "")]
    #[case("a=b c", "")]
    #[case("a=b=c", "")]
    #[case("a>1", "")]
    #[case("/a", "")]
    #[case("Example.com/a", "")]
    #[case("a/b/c", "")]
    fn reads_selectors(#[case] text: &str, #[case] read: &str) {
        let selector: Result<Selector, _> = text.parse();
        assert_eq!(selector.map(|it| it.to_string()).unwrap_or_default(), read);
    }

    #[test]
    fn bounds_names_and_values() {
        let long = "a".repeat(64);
        for text in [long.clone(), format!("a={long}"), format!("{}/a", "a.".repeat(127) + "a")] {
            assert!(text.parse::<Selector>().is_err() == (text.len() != 255 - 2), "{text}");
        }
    }

    #[test]
    fn one_selector_has_one_name_however_it_is_spelt() {
        let name = |text: &str| text.parse::<Selector>().unwrap().name("multiarch-operator");
        assert_eq!(name("shard in (a,b),x"), name("x, shard in (b, a)"));
        assert_ne!(name("shard in (a)"), name("shard in (a,b)"));
        let name = name("shard=a");
        let suffix = name.strip_prefix("multiarch-operator-").unwrap();
        assert!(suffix.len() == 8 && suffix.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(text in "[ab!,=() inot/.-]{0,24}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse(), Ok(selector));
            }
        }
    }
}

//! pure: what an image is looked up by in the coverage maps.

use std::{fmt, str::FromStr};

use crate::oci::{Digest, Reference, Repository};

/// The longest key of a ConfigMap, in bytes.
pub const LONGEST: usize = 253;

/// What an image is looked up by: its reference by tag or by digest, in canonical spelling and in letters that a ConfigMap's key
/// may have. One with a namespace is for the Pods of that namespace only.
///
/// Keys of one reference stand together in order, the one without a namespace first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    base: String,
    namespace: Option<String>,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An underscore that begins none of the pairs.
    #[error("an underscore in it is not followed by one of _ s c a l r n")]
    Pair,
    /// What it spells is not what a key is made of.
    #[error("it spells no reference by tag or by digest in its canonical form")]
    Reference,
    /// What follows `_n`.
    #[error("what follows its _n is no namespace")]
    Namespace,
}

/// A letter that no key of a ConfigMap may have, or that begins a pair, and what is written for it behind an underscore.
const PAIRS: [(char, char); 6] =
    [('_', '_'), ('/', 's'), (':', 'c'), ('@', 'a'), ('[', 'l'), (']', 'r')];
/// What stands between the reference and a namespace: no pair of a reference.
const NAMESPACE: &str = "_n";

impl Key {
    /// Of `repository:tag`.
    #[must_use]
    pub fn of_tag(repository: &Repository, tag: &str) -> Self {
        Self::of(&repository.tag(tag))
    }

    /// Of `repository@digest`.
    #[must_use]
    pub fn of_digest(repository: &Repository, digest: &Digest) -> Self {
        Self::of(&repository.digest(digest))
    }

    fn of(reference: &Reference) -> Self {
        Self { base: escaped(&reference.to_string()), namespace: None }
    }

    /// The same for the Pods of `namespace` only.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { base: self.base.clone(), namespace: Some(namespace.to_owned()) }
    }

    /// The same for all Pods.
    #[must_use]
    pub fn everywhere(&self) -> Self {
        Self { base: self.base.clone(), namespace: None }
    }

    /// What stands before the namespace: the ranges of maps are made of it.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The namespace whose Pods it is for; `None` is all.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The reference that it is made of.
    #[must_use]
    pub fn reference(&self) -> String {
        // It was made by `escaped`, or came through `unescaped`.
        unescaped(&self.base).unwrap_or_default()
    }

    /// Whether it is of a reference by digest.
    #[must_use]
    pub fn is_of_digest(&self) -> bool {
        self.reference().contains('@')
    }

    /// How long it is, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.base.len() + self.namespace.as_ref().map_or(0, |it| NAMESPACE.len() + it.len())
    }

    /// Whether the API server takes it: one that it does not take has it refuse the whole map.
    #[must_use]
    pub fn is_legal(&self) -> bool {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let bytes = || self.base.bytes().chain(self.namespace.iter().flat_map(|it| it.bytes()));
        (1..=LONGEST).contains(&self.length()) && bytes().all(fits) && !self.base.starts_with('.')
    }
}

/// `text` in letters that a key may have. No two texts give the same.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut key = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match PAIRS.iter().find(|(plain, _)| *plain == letter) {
            Some((_, pair)) => key.extend(['_', *pair]),
            None => key.push(letter),
        }
    }
    key
}

/// What [`escaped`] was given; `None` where it makes no such text.
fn unescaped(base: &str) -> Option<String> {
    let mut text = String::with_capacity(base.len());
    let mut letters = base.chars();
    while let Some(letter) = letters.next() {
        if letter == '_' {
            let pair = letters.next()?;
            text.push(PAIRS.iter().find(|(_, behind)| *behind == pair)?.0);
        } else {
            text.push(letter);
        }
    }
    Some(text)
}

/// Where the namespace begins, if there is one: the first pair that no reference has.
fn split(text: &str) -> (&str, Option<&str>) {
    let mut at = 0;
    while let Some(found) = text[at..].find('_') {
        let pair = at + found;
        if text[pair..].starts_with(NAMESPACE) {
            return (&text[..pair], Some(&text[pair + NAMESPACE.len()..]));
        }
        // What follows may be a letter of any length.
        let behind = text[pair + 1..].chars().next().map_or(0, char::len_utf8);
        at = pair + 1 + behind;
    }
    (text, None)
}

fn is_namespace(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits)
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (base, namespace) = split(text);
        let plain = unescaped(base).ok_or(KeyError::Pair)?;
        let reference = plain.parse::<Reference>().map_err(|_| KeyError::Reference)?;
        if reference.to_string() != plain
            || reference.tag().is_some() == reference.digest().is_some()
        {
            return Err(KeyError::Reference);
        }
        if !namespace.is_none_or(is_namespace) {
            return Err(KeyError::Namespace);
        }
        Ok(Self { base: base.to_owned(), namespace: namespace.map(ToOwned::to_owned) })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)?;
        self.namespace.iter().try_for_each(|it| write!(f, "{NAMESPACE}{it}"))
    }
}

#[cfg(test)]
mod tests;

//! pure: what the coverage maps say of an image.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::oci::{Digest, Platform};

/// The first field. Fields are only ever added behind the last one; another number means that they are others.
const VERSION: &str = "1";
/// How many digests that were served before under a tag are told.
pub const FORMER: usize = 5;
/// How many bytes a list of platforms has at most: more than all that Go knows. Registries say what platforms an image is for, and a
/// map is read by every Pod.
const LIST: usize = 2048;
/// The longest value of a node's label.
const LABEL: usize = 63;

/// The object that an entry is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the maps say of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The digest that is published under the key; `None` where nothing is yet.
    pub digest: Option<Digest>,
    /// The condition Published is True.
    pub published: bool,
    /// The condition PlatformsComplete is True.
    pub complete: bool,
    /// The published platforms in the words of the node labels kubernetes.io/os and kubernetes.io/arch.
    pub platforms: Words,
    /// The required platforms that were not found.
    pub missing: Words,
    /// The MultiArchImage.
    pub object: Object,
    /// The digests that were served before under this tag, the newest first.
    pub former: Vec<Digest>,
    /// The platforms of nodes that the index does not have.
    pub nodes_missing: Words,
    /// Until when (Unix time in seconds) the entry is kept, where the object has let go of the tag or digest.
    pub until: Option<i64>,
}

/// A list in one field: in order, each once, without what parts fields and words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(BTreeSet<String>);

/// Why a text is no value of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no value of version {VERSION}: the field {field:?} is none")]
pub struct ValueError {
    /// What does not parse.
    pub field: &'static str,
}

impl Value {
    /// Nothing is published yet for what `object` is to publish.
    #[must_use]
    pub fn awaited(object: Object) -> Self {
        Self {
            digest: None,
            published: false,
            complete: false,
            platforms: Words::default(),
            missing: Words::default(),
            object,
            former: Vec::new(),
            nodes_missing: Words::default(),
            until: None,
        }
    }

    /// Puts `digests` behind those that were served before, as many as are told; the one that is served now is none of them.
    pub fn remember<'a>(&mut self, digests: impl IntoIterator<Item = &'a Digest>) {
        for digest in digests {
            if self.former.len() < FORMER
                && self.digest.as_ref() != Some(digest)
                && !self.former.contains(digest)
            {
                self.former.push(digest.clone());
            }
        }
    }
}

impl Words {
    /// `platforms` in the words of node labels: os and architecture alone. What is longer than a label is no node's.
    pub fn of_nodes<'a>(platforms: impl IntoIterator<Item = &'a Platform>) -> Self {
        let words = platforms.into_iter().filter_map(|platform| {
            let platform = platform.normalized();
            let fits = platform.os.len() <= LABEL && platform.architecture.len() <= LABEL;
            fits.then(|| format!("{}/{}", platform.os, platform.architecture))
        });
        let (words, _) = fitting(words.collect());
        Self(words)
    }

    /// `words` as they are. Those for which there is no room are told as a number, in the last place: `12 more`.
    pub fn shown<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut words, left) = fitting(words.into_iter().map(ToOwned::to_owned).collect());
        if left > 0 {
            words.insert(format!("~{left} more"));
        }
        Self(words)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn parse(text: &str) -> Option<Self> {
        let words = text.split(',').filter(|_| !text.is_empty());
        words.map(|word| is_word(word).then(|| word.to_owned())).collect::<Option<_>>().map(Self)
    }
}

/// Those of `words` that are words, as many as there is room for, and for how many there is none.
fn fitting(words: BTreeSet<String>) -> (BTreeSet<String>, usize) {
    let mut room = LIST;
    let words = words.into_iter().filter(|word| is_word(word));
    let (fit, rest): (Vec<_>, Vec<_>) = words
        .map(|word| {
            let left = room.checked_sub(word.len() + 1);
            room = left.unwrap_or_default();
            (left.is_some(), word)
        })
        .partition(|(fits, _)| *fits);
    (fit.into_iter().map(|(_, word)| word).collect(), rest.len())
}

/// Whether it can be a word of a list: it is shown to people, and read by `split`.
fn is_word(text: &str) -> bool {
    let fits = |b: u8| (b.is_ascii_graphic() || b == b' ') && !b"|,".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, &self.0)
    }
}

fn separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    words: impl IntoIterator<Item = T>,
) -> fmt::Result {
    for (at, word) in words.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(f, "{comma}{word}")?;
    }
    Ok(())
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.as_ref().map(Digest::as_str).unwrap_or_default();
        let (published, complete) = (yes(self.published), yes(self.complete));
        let Self { platforms, missing, object, .. } = self;
        write!(f, "{VERSION}|{digest}|{published}|{complete}|{platforms}|{missing}|{object}|")?;
        separated(f, &self.former)?;
        write!(f, "|{}|", self.nodes_missing)?;
        self.until.iter().try_for_each(|until| until.fmt(f))
    }
}

impl FromStr for Value {
    type Err = ValueError;

    /// Fields behind those that are known are passed over.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut fields = text.split('|');
        let mut next = |field| fields.next().ok_or(ValueError { field });
        let is = |text: &str, field| match text {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(ValueError { field }),
        };
        let words = |text: &str, field| Words::parse(text).ok_or(ValueError { field });
        let digest = |text: &str, field| text.parse().map_err(|_| ValueError { field });
        if next("version")? != VERSION {
            return Err(ValueError { field: "version" });
        }
        let published_digest = Some(next("digest")?).filter(|text| !text.is_empty());
        let published_digest = published_digest.map(|text| digest(text, "digest")).transpose()?;
        Ok(Self {
            digest: published_digest,
            published: is(next("published")?, "published")?,
            complete: is(next("complete")?, "complete")?,
            platforms: words(next("platforms")?, "platforms")?,
            missing: words(next("missing")?, "missing")?,
            object: next("object")?.parse()?,
            former: {
                let text = next("former digests")?;
                let each = text.split(',').filter(|_| !text.is_empty());
                each.map(|text| digest(text, "former digests")).collect::<Result<_, _>>()?
            },
            nodes_missing: words(next("nodes missing")?, "nodes missing")?,
            until: match next("until")? {
                "" => None,
                text => Some(text.parse().map_err(|_| ValueError { field: "until" })?),
            },
        })
    }
}

impl FromStr for Object {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = ValueError { field: "object" };
        let (namespace, name) = text.split_once('/').ok_or(wrong)?;
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let is_name = |text: &str| (1..=253).contains(&text.len()) && text.bytes().all(fits);
        if !is_name(namespace) || !is_name(name) {
            return Err(wrong);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests;

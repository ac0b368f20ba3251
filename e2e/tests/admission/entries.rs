//! Entries of coverage maps, as the operator writes them.

use std::collections::BTreeMap;

use multiarch_operator::{
    coverage::{Key, Value},
    oci::Reference,
};

/// The digest that is served now, one that was, and one that never was.
pub(crate) const NOW: &str =
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const BEFORE: &str =
    "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub(crate) const NEVER: &str =
    "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

/// The data of a map.
pub(crate) type Entries = BTreeMap<String, String>;

/// What stands for an image: the fields of its value, but the nodes' platforms, which no policy reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) digest: &'a str,
    pub(crate) published: bool,
    pub(crate) complete: bool,
    pub(crate) platforms: &'a str,
    pub(crate) missing: &'a str,
    pub(crate) object: &'a str,
    pub(crate) former: &'a str,
    pub(crate) until: &'a str,
}

impl<'a> Entry<'a> {
    /// Of an index that is published, whole.
    pub(crate) fn published(object: &'a str) -> Self {
        Self {
            digest: NOW,
            published: true,
            complete: true,
            platforms: "linux/amd64,linux/arm64",
            missing: "",
            object,
            former: "",
            until: "",
        }
    }

    /// Of one that nothing is published of yet.
    pub(crate) fn awaited(object: &'a str, missing: &'a str) -> Self {
        let nothing = Self {
            digest: "",
            published: false,
            complete: false,
            platforms: "",
            ..Self::published(object)
        };
        Self { missing, ..nothing }
    }

    pub(crate) fn value(&self) -> String {
        let word = |yes: bool| if yes { "yes" } else { "no" };
        let text = [
            "1",
            self.digest,
            word(self.published),
            word(self.complete),
            self.platforms,
            self.missing,
            self.object,
            self.former,
            "",
            self.until,
        ]
        .join("|");
        // The operator reads it as it is meant, and writes no other.
        assert_eq!(text.parse::<Value>().unwrap().to_string(), text);
        text
    }
}

/// The operator's key of `reference`, in whatever spelling, for the whole cluster.
pub(crate) fn key(reference: &str) -> String {
    let reference: Reference = reference.parse().unwrap();
    let repository = reference.repository();
    let key = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => Key::of_tag(repository, tag),
        (None, digest) => Key::of_digest(repository, digest.unwrap()),
    };
    key.to_string()
}

/// The same for one namespace alone.
pub(crate) fn key_within(reference: &str, namespace: &str) -> String {
    key(reference).parse::<Key>().unwrap().within(namespace).to_string()
}

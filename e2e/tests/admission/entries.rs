//! Entries of coverage maps, as the operator writes them.

use std::collections::BTreeMap;

use multiarch_operator::oci::Reference;

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
        [
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
        .join("|")
    }
}

/// The key of `reference`, in whatever spelling, for the whole cluster.
pub(crate) fn key(reference: &str) -> String {
    let canonical = reference.parse::<Reference>().unwrap().to_string();
    let pairs = [("_", "__"), ("/", "_s"), (":", "_c"), ("@", "_a"), ("[", "_l"), ("]", "_r")];
    pairs.iter().fold(canonical, |key, (plain, pair)| key.replace(plain, pair))
}

/// The same for one namespace alone.
pub(crate) fn key_within(reference: &str, namespace: &str) -> String {
    format!("{}_n{namespace}", key(reference))
}

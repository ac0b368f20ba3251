//! Manifests and configs by digest, each for whoever has read it, as many as fit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::who::Who;
use crate::oci::{Digest, RawManifest, Repository};

/// What the book-keeping of one content takes beside its names, roughly.
const OVERHEAD: usize = 256;
/// One content may take no more than this part of all that is kept.
const SHARE: usize = 8;

/// What is kept of what was read; the least used goes first.
pub(super) struct Contents {
    kept: Mutex<Kept>,
    limit: usize,
}

/// Content that has the digest it is kept by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Manifest(RawManifest),
    Blob(Bytes),
}

/// Whose content it is, where it was read, and what it is.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    who: Who,
    repository: Repository,
    digest: Digest,
}

#[derive(Default)]
struct Kept {
    of: HashMap<Arc<Key>, Entry>,
    /// The same by their last use, the longest ago first.
    by_use: BTreeMap<u64, Arc<Key>>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    content: Content,
    used: u64,
    weight: usize,
}

impl Contents {
    /// With room for `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: Mutex::default(), limit }
    }

    /// The bytes that are taken.
    pub(super) fn bytes(&self) -> usize {
        self.kept().bytes
    }

    /// What is kept of `digest` in `repository` for `who`.
    pub(super) fn get(
        &self,
        who: &Who,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<Content> {
        let key = Key::of(who, repository, digest);
        let kept = &mut *self.kept();
        let entry = kept.of.get_mut(&key)?;
        let key = kept.by_use.remove(&entry.used)?;
        kept.uses += 1;
        entry.used = kept.uses;
        kept.by_use.insert(kept.uses, key);
        Some(entry.content.clone())
    }

    /// Keeps `content`, which `who` has read in `repository`, unless it is too large.
    pub(super) fn put(
        &self,
        who: &Who,
        repository: &Repository,
        digest: &Digest,
        content: Content,
    ) {
        let key = Arc::new(Key::of(who, repository, digest));
        let weight = key.weight() + content.weight();
        if weight > self.limit / SHARE {
            return;
        }
        let content = content.alone();
        let kept = &mut *self.kept();
        kept.drop(&key);
        while kept.bytes + weight > self.limit
            && let Some(oldest) = kept.by_use.values().next().cloned()
        {
            kept.drop(&oldest);
        }
        kept.uses += 1;
        kept.bytes += weight;
        kept.by_use.insert(kept.uses, Arc::clone(&key));
        kept.of.insert(key, Entry { content, used: kept.uses, weight });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop(&mut self, key: &Key) {
        if let Some(entry) = self.of.remove(key) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.weight;
        }
    }
}

impl Key {
    fn of(who: &Who, repository: &Repository, digest: &Digest) -> Self {
        Self { who: who.clone(), repository: repository.clone(), digest: digest.clone() }
    }

    fn weight(&self) -> usize {
        let text = [self.repository.host(), self.repository.path(), self.digest.as_str()];
        self.who.weight() + text.iter().map(|text| text.len()).sum::<usize>() + OVERHEAD
    }
}

impl Content {
    fn weight(&self) -> usize {
        match self {
            Self::Manifest(raw) => raw.bytes().len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }

    /// The same in memory of its own: what was received lies in more than it needs.
    fn alone(self) -> Self {
        match self {
            Self::Manifest(raw) => {
                let bytes = Bytes::copy_from_slice(raw.bytes());
                Self::Manifest(RawManifest::new(raw.media_type(), bytes))
            }
            Self::Blob(bytes) => Self::Blob(Bytes::copy_from_slice(&bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        oci::Reference,
        registry::{Access, Credential},
    };

    fn who(name: &str) -> Who {
        let credential = Some(Credential::of_password("s", name, "p"));
        Who::of(&Access { credential, ..Access::default() })
    }

    fn repository(text: &str) -> Repository {
        text.parse::<Reference>().unwrap().repository().clone()
    }

    fn blob(n: u8, size: usize) -> (Digest, Content) {
        let bytes = Bytes::from(vec![n; size]);
        (Digest::of(&bytes), Content::Blob(bytes))
    }

    #[test]
    fn content_is_of_who_read_it_and_where() {
        let contents = Contents::new(1 << 20);
        let (anna, app) = (who("anna"), repository("r.test/app:1"));
        let (digest, content) = blob(1, 10);
        contents.put(&anna, &app, &digest, content.clone());
        assert_eq!(contents.get(&anna, &app, &digest), Some(content));
        assert_eq!(contents.get(&who("bert"), &app, &digest), None);
        assert_eq!(contents.get(&Who::of(&Access::default()), &app, &digest), None);
        assert_eq!(contents.get(&anna, &repository("r.test/other:1"), &digest), None);
        assert_eq!(contents.get(&anna, &repository("s.test/app:1"), &digest), None);
    }

    #[test]
    fn the_least_used_goes_first_and_the_large_never_come() {
        let (anna, app) = (who("anna"), repository("r.test/app:1"));
        let one = Key::of(&anna, &app, &blob(0, 0).0).weight() + 1_000;
        let contents = Contents::new(10 * one);
        for n in 0..10 {
            let (digest, content) = blob(n, 1_000);
            contents.put(&anna, &app, &digest, content);
        }
        let is_kept = |n| contents.get(&anna, &app, &blob(n, 1_000).0).is_some();
        assert!(is_kept(0));
        let (digest, content) = blob(10, 1_000);
        contents.put(&anna, &app, &digest, content);
        assert!(is_kept(0) && !is_kept(1) && is_kept(2) && is_kept(10));
        let (digest, content) = blob(11, 10 * one / SHARE);
        contents.put(&anna, &app, &digest, content);
        assert!(contents.get(&anna, &app, &digest).is_none());
        assert!(is_kept(2));
        assert_eq!(contents.bytes(), 10 * one);
    }

    proptest! {
        /// Whatever comes in which order, the sum is right and within the limit.
        #[test]
        fn the_sum_is_kept(sizes in prop::collection::vec((0_u8..12, 0_usize..3_000), 0..60)) {
            let (anna, app) = (who("anna"), repository("r.test/app:1"));
            let contents = Contents::new(16_000);
            for (n, size) in sizes {
                let (digest, content) = blob(n, size);
                contents.put(&anna, &app, &digest, content);
                let kept = contents.kept();
                let sum: usize = kept.of.values().map(|entry| entry.weight).sum();
                prop_assert!(kept.bytes == sum && sum <= 16_000);
                prop_assert_eq!(kept.of.len(), kept.by_use.len());
            }
        }
    }
}

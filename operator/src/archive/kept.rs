//! Small documents of a packed archive, kept from its first reading, so that names and configs take no second one.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    ArchiveError,
    entries::{Entries, Entry},
};
use crate::oci::manifest::MAX_BYTES;

/// The documents by where they begin.
#[derive(Default)]
pub(super) struct Kept {
    by_place: BTreeMap<u64, Bytes>,
    small: u64,
    large: u64,
}

/// Up to how many bytes a document is small, as are all that people's images have.
const SMALL: u64 = 64 << 10;
/// About how many bytes a document takes beside its own.
const OVERHEAD: usize = 128;
/// How many bytes of small documents are kept, and how many of larger ones.
const MOST: [u64; 2] = [8 << 20, 4 << 20];

impl Kept {
    /// Keeps what `entry` has, where it may be a document that is asked for and there is room. `entries` is at its bytes.
    pub(super) fn take(
        &mut self,
        entry: &Entry,
        entries: &mut Entries<'_>,
    ) -> Result<(), ArchiveError> {
        let (kept, most) = if entry.size <= SMALL {
            (&mut self.small, MOST[0])
        } else {
            (&mut self.large, MOST[1])
        };
        if entry.size > MAX_BYTES || *kept + entry.size > most {
            return Ok(());
        }
        let mut bytes = Vec::new();
        entries.read(entry.size.min(1), &mut bytes)?;
        // Only JSON is asked for.
        if !matches!(bytes.first(), Some(b'{' | b'[' | b' ' | b'\n' | b'\r' | b'\t')) {
            return Ok(());
        }
        entries.read(entry.size.saturating_sub(1), &mut bytes)?;
        *kept += entry.size;
        self.by_place.insert(entry.at, bytes.into());
        Ok(())
    }

    /// About how many bytes of memory they are.
    pub(super) fn keeps(&self) -> usize {
        let documents = self.by_place.values().map(|bytes| bytes.len() + OVERHEAD);
        documents.sum()
    }

    /// The document that begins at `at`.
    pub(super) fn get(&self, at: u64) -> Option<Bytes> {
        self.by_place.get(&at).cloned()
    }
}

//! pure: how many bytes of manifests the sources may bring, which are kept until they are copied.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::oci::manifest::MAX_BYTES;

/// Most bytes that one source may bring: one index may list 128 images of 4 MiB each, and people's
/// have a few KiB.
const SOURCE: u64 = 4 * MAX_BYTES;

/// Most bytes that all sources of a run may bring together.
const RUN: u64 = 8 * MAX_BYTES;

/// What the sources of one run have brought so far.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicU64);

/// What one of them has brought.
#[derive(Debug)]
pub(super) struct Share<'a> {
    run: &'a Budget,
    own: AtomicU64,
}

/// More was brought than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Who brought it, in words.
    pub(super) by: &'static str,
    /// How many bytes it may be.
    pub(super) limit: u64,
}

impl Budget {
    /// The part of one source.
    pub(super) fn share(&self) -> Share<'_> {
        Share { run: self, own: AtomicU64::new(0) }
    }
}

impl Share<'_> {
    /// Counts `bytes`. An error where that, or what was brought before, is too much.
    pub(super) fn take(&self, bytes: u64) -> Result<(), Spent> {
        let spent = |count: &AtomicU64, by, limit| {
            let sum = count.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
            if sum > limit { Err(Spent { by, limit }) } else { Ok(()) }
        };
        spent(&self.own, "it", SOURCE)?;
        spent(&self.run.0, "all sources", RUN)
    }
}

//! What a run is at, for those who wait for it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use crate::registry::Progress;

/// What a run is at, for messages of one that takes long.
#[derive(Debug, Default)]
pub struct Stage {
    at: Mutex<&'static str>,
    publishes: AtomicBool,
    blobs: AtomicUsize,
    done: AtomicUsize,
    bytes: Arc<AtomicU64>,
}

impl Stage {
    /// The run is at `what` now: completes "the run took too long, …".
    pub fn at(&self, what: &'static str) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// From now on the run is not cut off, since it writes tags.
    pub fn publishes(&self) {
        self.publishes.store(true, Ordering::Relaxed);
    }

    /// Whether the run may be cut off, and begun again from where it is, without anybody seeing half
    /// of it.
    #[must_use]
    pub fn may_be_cut(&self) -> bool {
        !self.publishes.load(Ordering::Relaxed)
    }

    /// What the run is at.
    #[must_use]
    pub fn now(&self) -> String {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        match self.blobs.load(Ordering::Relaxed) {
            0 => at.to_owned(),
            blobs => {
                let (done, mib) = (self.done.load(Ordering::Relaxed), self.bytes() >> 20);
                format!("{at} ({done} of {blobs} blobs are there, {mib} MiB were sent)")
            }
        }
    }

    /// How many bytes were sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// This many blobs are to be copied.
    pub fn copying(&self, blobs: usize) {
        self.at("while copying");
        self.blobs.store(blobs, Ordering::Relaxed);
    }

    /// One blob is there.
    pub fn copied(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what is sent of one blob, from nothing on where its upload starts over.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (total, before) = (Arc::clone(&self.bytes), AtomicU64::new(0));
        Arc::new(move |sent| {
            let before = before.swap(sent, Ordering::Relaxed);
            total.fetch_add(sent.saturating_sub(before), Ordering::Relaxed);
        })
    }
}

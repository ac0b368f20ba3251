//! What a run is at, for those who wait for it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    oci::Digest,
    registry::{Copied, Progress},
};

/// What a run is at, for messages of one that takes long.
pub struct Stage {
    began: Instant,
    at: Mutex<&'static str>,
    publishes: AtomicBool,
    /// Since when it copies.
    copies: OnceLock<Instant>,
    blobs: Count,
    manifests: Count,
    /// How large the blobs are that are to be copied.
    size: AtomicU64,
    /// How large those are that came to be there by this.
    moved: [Moved; 3],
    sending: Mutex<Vec<Digest>>,
    bytes: Arc<AtomicU64>,
    observe: Observe,
}

/// How many blobs came to be at the target in one way, and how large they are.
#[derive(Debug, Default)]
struct Moved {
    blobs: AtomicUsize,
    bytes: AtomicU64,
}

/// How far a copy is, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Blobs that are there, of those to be copied, with their bytes.
    pub blobs: Of,
    /// Those of them that were there before.
    pub present: Sum,
    /// Those that the registry took from another repository of its own.
    pub mounted: Sum,
    /// Those that were sent.
    pub uploaded: Sum,
    /// Manifests that are there, of those to be copied.
    pub manifests: Of,
    /// Bytes that are to be there.
    pub size: u64,
    /// Bytes that went out so far, those that were sent twice included.
    pub sent: u64,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Of {
    /// What is there.
    pub done: usize,
    /// What there is to be.
    pub all: usize,
}

/// Blobs, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub blobs: usize,
    /// How large.
    pub bytes: u64,
}

/// Called with how many bytes of blobs were sent since it was called before.
pub type Observe = Arc<dyn Fn(u64) + Send + Sync>;

/// How many there are to copy, and how many of them are there.
#[derive(Debug, Default)]
struct Count {
    all: AtomicUsize,
    done: AtomicUsize,
}

/// A blob on its way, until this is dropped.
#[derive(Debug)]
pub struct Sending<'a> {
    stage: &'a Stage,
    blob: Digest,
}

impl Default for Stage {
    /// Of a run that begins now.
    fn default() -> Self {
        Self::observed(Arc::new(|_| {}))
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stage({})", self.now())
    }
}

impl Stage {
    /// Of a run that begins now, and of whose bytes `observe` is told.
    #[must_use]
    pub fn observed(observe: Observe) -> Self {
        Self {
            began: Instant::now(),
            at: Mutex::default(),
            publishes: AtomicBool::default(),
            copies: OnceLock::new(),
            blobs: Count::default(),
            manifests: Count::default(),
            size: AtomicU64::default(),
            moved: <[Moved; 3]>::default(),
            sending: Mutex::default(),
            bytes: Arc::default(),
            observe,
        }
    }

    /// How long the run has gone on.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        self.began.elapsed()
    }

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
        let (blobs, manifests) = (&self.blobs, &self.manifests);
        if manifests.all.load(Ordering::Relaxed) == 0 {
            return at.to_owned();
        }
        let mib = self.bytes() >> 20;
        format!("{at} ({blobs} blobs and {manifests} manifests are there, {mib} MiB were sent)")
    }

    /// How many bytes were sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How far it is, in numbers.
    #[must_use]
    pub fn amounts(&self) -> Amounts {
        let of = |count: &Count| Of {
            done: count.done.load(Ordering::Relaxed),
            all: count.all.load(Ordering::Relaxed),
        };
        let [present, mounted, uploaded] = self.moved.each_ref().map(|moved| Sum {
            blobs: moved.blobs.load(Ordering::Relaxed),
            bytes: moved.bytes.load(Ordering::Relaxed),
        });
        Amounts {
            blobs: of(&self.blobs),
            present,
            mounted,
            uploaded,
            manifests: of(&self.manifests),
            size: self.size.load(Ordering::Relaxed),
            sent: self.bytes(),
        }
    }

    /// This many blobs, of so many bytes together, and manifests more are to be copied.
    pub fn copying(&self, blobs: usize, bytes: u64, manifests: usize) {
        self.at("while copying");
        self.copies.get_or_init(Instant::now);
        self.size.fetch_add(bytes, Ordering::Relaxed);
        self.blobs.all.fetch_add(blobs, Ordering::Relaxed);
        self.manifests.all.fetch_add(manifests, Ordering::Relaxed);
    }

    /// How long it has copied.
    #[must_use]
    pub fn copies_for(&self) -> Duration {
        self.copies.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// One blob of so many bytes is there now, and how it came there.
    pub fn copied(&self, how: Copied, bytes: u64) {
        let moved = &self.moved[match how {
            Copied::Present => 0,
            Copied::Mounted => 1,
            Copied::Uploaded => 2,
        }];
        moved.blobs.fetch_add(1, Ordering::Relaxed);
        moved.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.blobs.done.fetch_add(1, Ordering::Relaxed);
    }

    /// One manifest is there.
    pub fn put(&self) {
        self.manifests.done.fetch_add(1, Ordering::Relaxed);
    }

    /// `blob` is on its way now.
    #[must_use]
    pub fn sending(&self, blob: &Digest) -> Sending<'_> {
        self.on_their_way().push(blob.clone());
        Sending { stage: self, blob: blob.clone() }
    }

    /// Of the blobs on their way, the one that has been for the longest time.
    #[must_use]
    pub fn blob(&self) -> Option<Digest> {
        self.on_their_way().first().cloned()
    }

    fn on_their_way(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what is sent of one blob, from nothing on where its upload starts over.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (total, before) = (Arc::clone(&self.bytes), AtomicU64::new(0));
        let observe = Arc::clone(&self.observe);
        Arc::new(move |sent| {
            let more = sent.saturating_sub(before.swap(sent, Ordering::Relaxed));
            total.fetch_add(more, Ordering::Relaxed);
            observe(more);
        })
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.stage.on_their_way().retain(|blob| *blob != self.blob);
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_to_be_copied_and_how_it_came() {
        let stage = Stage::default();
        assert_eq!(stage.amounts(), Amounts::default());
        stage.copying(4, 100, 2);
        stage.copied(Copied::Present, 10);
        stage.copied(Copied::Mounted, 20);
        stage.copied(Copied::Uploaded, 30);
        let progress = stage.progress();
        // Twenty, then from the beginning.
        for sent in [20, 0, 30] {
            progress(sent);
        }
        stage.put();
        let sum = |bytes| Sum { blobs: 1, bytes };
        let expected = Amounts {
            blobs: Of { done: 3, all: 4 },
            present: sum(10),
            mounted: sum(20),
            uploaded: sum(30),
            manifests: Of { done: 1, all: 2 },
            size: 100,
            sent: 50,
        };
        assert_eq!(stage.amounts(), expected);
    }
}

//! From when on a run believes what others were answered.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::SHORTEST;

/// From when on a run believes what others were answered about its sources. Of a tag that it writes
/// itself, and of images that must be there, it believes nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// What is done is done on what was asked since the run began.
    pub begun: Instant,
    /// That nothing has changed may have been told before.
    pub heard: Instant,
}

impl Since {
    /// Of a run that began at `begun` because an `interval` was over.
    ///
    /// An answer is good for as long as an interval may be short, and no longer: whoever asked for it
    /// comes back when it is too old, and asks again, so that a reference is asked for as often as
    /// one object alone would, the one with the shortest interval, and any number of others follow.
    #[must_use]
    pub fn interval(begun: Instant, interval: Duration) -> Self {
        // A machine that has run for less than that has answered nobody before.
        let heard = begun.checked_sub(interval.mul_f64(SHORTEST)).unwrap_or(begun);
        Self { begun, heard }
    }

    /// Of a run that somebody waits for: nothing that was asked before it is believed.
    #[must_use]
    pub fn anew(begun: Instant) -> Self {
        Self { begun, heard: begun }
    }
}

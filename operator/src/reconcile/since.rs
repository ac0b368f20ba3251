//! From when on a run believes what others were answered.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::SHORTEST;

/// From when on a run believes what others were answered about its sources. Of a tag that it writes
/// itself, and of images that must be there, it believes nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// That nothing has changed.
    pub heard: Instant,
    /// What has changed, and is acted upon. Never before what is known of the object itself: what its sources were found to name
    /// once, they are not taken back to by an older answer.
    pub news: Instant,
}

impl Since {
    /// Of a run that began at `begun` because an `interval` was over, of an object of which all is `known` until then.
    ///
    /// An answer is good for as long as an interval may be short, and no longer: whoever asked for it
    /// comes back when it is too old, and asks again, so that a reference is asked for as often as
    /// one object alone would, the one with the shortest interval, and any number of others follow.
    #[must_use]
    pub fn interval(begun: Instant, interval: Duration, known: Instant) -> Self {
        // A machine that has run for less than that has answered nobody before.
        let heard = begun.checked_sub(interval.mul_f64(SHORTEST)).unwrap_or(begun);
        Self { heard, news: heard.max(known) }
    }

    /// Of a run for an object that is new, or edited, since it was `seen` to be so: whoever did that means what is there since then.
    /// Many that come together ask once.
    #[must_use]
    pub fn edited(begun: Instant, interval: Duration, known: Instant, seen: Instant) -> Self {
        let news = Self::interval(begun, interval, known).news.max(seen);
        Self { heard: news, news }
    }

    /// Of a run that somebody waits for: nothing that was asked before it is believed.
    #[must_use]
    pub fn anew(begun: Instant) -> Self {
        Self { heard: begun, news: begun }
    }
}

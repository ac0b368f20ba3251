//! Every limit on what a registry may cost in time and bytes, in one struct that tests shorten.

use std::time::Duration;

use tokio::time::Instant;

use crate::oci::manifest::MAX_BYTES;

/// REGISTRY.md rules 4, 7, 10, 13 and 14.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Name, TCP and TLS.
    pub connect: Duration,
    /// From the end of a request to the end of its answer's headers.
    pub first_byte: Duration,
    /// A second more than `first_byte` for each of so many bytes that the registry has to check.
    pub checked: u64,
    /// And never more than this.
    pub first_byte_most: Duration,
    /// Between two bytes, read or written.
    pub idle: Duration,
    /// Fewer bytes a second over `rate_window` are a stall, read or written.
    pub rate: u64,
    /// What `rate` is measured over.
    pub rate_window: Duration,
    /// How old what was read of the CA bundle may be.
    pub bundle_age: Duration,
    /// Bytes of a manifest or index.
    pub manifest: u64,
    /// Bytes of an image config.
    pub config: u64,
    /// Bytes of a token endpoint's answer.
    pub token: u64,
    /// Bytes that are read of an error's body.
    pub error: u64,
    /// Bytes of an answer's headers.
    pub headers: u64,
    /// Redirects that one request follows.
    pub redirects: usize,
    /// How often something that may pass is tried: each request, and each blob's upload.
    pub tries: u32,
    /// Wait before the second try; doubles with each, and half of it is chance.
    pub backoff: Duration,
    /// Requests at once to one host on behalf of one identity. Docker Hub has its own, where that is less.
    pub at_once: usize,
    /// Requests a second to one host on behalf of one identity (`--registry-qps`). Docker Hub has its own, where that is
    /// less.
    pub a_second: f64,
    /// A host that does not answer is left alone for so long at first; twice as long each time that it still does not,
    /// up to a minute.
    pub away: Duration,
    /// A longer pause than this, which a registry asks for, ends the run instead of keeping it waiting.
    pub patience: Duration,
    /// Bytes that are sent at once after a registry refused a blob as a whole.
    pub chunk: u64,
    /// `chunk` is halved down to this while a registry refuses it.
    pub chunk_least: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_mins(1),
            checked: 10 << 20,
            first_byte_most: Duration::from_mins(30),
            idle: Duration::from_secs(30),
            rate: 1 << 10,
            rate_window: Duration::from_secs(30),
            bundle_age: Duration::from_secs(10),
            manifest: MAX_BYTES,
            config: 8 << 20,
            token: 64 << 10,
            error: 8 << 10,
            headers: 64 << 10,
            redirects: 5,
            tries: 4,
            backoff: Duration::from_millis(500),
            at_once: 8,
            a_second: 20.0,
            away: Duration::from_secs(2),
            patience: Duration::from_secs(5),
            chunk: 64 << 20,
            chunk_least: 5 << 20,
        }
    }
}

impl Limits {
    /// How long the answer may take to a request that gives the registry `bytes` to check.
    pub(super) fn answer(&self, bytes: u64) -> Duration {
        let checking = Duration::from_secs(bytes / self.checked.max(1));
        self.first_byte + checking.min(self.first_byte_most.saturating_sub(self.first_byte))
    }
}

/// Whether bytes keep moving, by `idle` and `rate`.
#[derive(Debug)]
pub(super) struct Pace {
    idle: Duration,
    rate: u64,
    window: Duration,
    last: Instant,
    window_start: Instant,
    window_bytes: u64,
}

impl Pace {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            idle: limits.idle,
            rate: limits.rate,
            window: limits.rate_window,
            last: now,
            window_start: now,
            window_bytes: 0,
        }
    }

    /// For so long nobody wanted a byte.
    pub(super) fn paused(&mut self, pause: Duration) {
        self.last += pause;
        self.window_start += pause;
    }

    /// `bytes` have moved.
    pub(super) fn moved(&mut self, bytes: u64, now: Instant) {
        self.last = now;
        self.window_bytes += bytes;
    }

    /// When to ask [`Pace::stalled`] at the latest.
    pub(super) fn deadline(&self) -> Instant {
        (self.last + self.idle).min(self.window_start + self.window)
    }

    /// Which limit ran out by `now`; opens the next window where none did.
    pub(super) fn stalled(&mut self, now: Instant) -> Option<String> {
        if now >= self.last + self.idle {
            return Some(format!("no byte within {:?}", self.idle));
        }
        if now >= self.window_start + self.window {
            let needed = u128::from(self.rate) * self.window.as_millis() / 1000;
            if u128::from(self.window_bytes) < needed {
                return Some(format!("under {} bytes a second for {:?}", self.rate, self.window));
            }
            self.window_start = now;
            self.window_bytes = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bytes_that_keep_coming_are_no_stall() {
        let start = Instant::now();
        let mut pace = Pace::new(&Limits::default(), start);
        for second in 1..=120 {
            let now = start + second * SECOND;
            pace.moved(1024, now);
            assert_eq!(pace.stalled(now), None, "after {second} s");
        }
    }

    #[test]
    fn time_in_which_nobody_wants_a_byte_does_not_count() {
        let start = Instant::now();
        let mut pace = Pace::new(&Limits::default(), start);
        pace.paused(3600 * SECOND);
        assert_eq!(pace.stalled(start + 3629 * SECOND), None);
        assert!(pace.stalled(start + 3630 * SECOND).is_some());
    }

    #[test]
    fn an_answer_may_take_longer_for_more_bytes() {
        let limits = Limits::default();
        assert_eq!(limits.answer(0), 60 * SECOND);
        assert_eq!(limits.answer(256 << 20), 85 * SECOND);
        assert_eq!(limits.answer(u64::MAX), 1800 * SECOND);
    }

    #[test]
    fn silence_is_a_stall_after_idle() {
        let start = Instant::now();
        let mut pace = Pace::new(&Limits { idle: 5 * SECOND, ..Limits::default() }, start);
        pace.moved(1 << 20, start + SECOND);
        assert_eq!(pace.deadline(), start + 6 * SECOND);
        assert_eq!(pace.stalled(start + 5 * SECOND), None);
        assert_eq!(pace.stalled(start + 6 * SECOND).as_deref(), Some("no byte within 5s"));
    }

    #[test]
    fn a_byte_a_second_is_a_stall_after_the_window() {
        let start = Instant::now();
        let mut pace = Pace::new(&Limits::default(), start);
        let stalled = (1..=40).find_map(|second| {
            let now = start + second * SECOND;
            pace.moved(1, now);
            pace.stalled(now).map(|limit| (second, limit))
        });
        assert_eq!(stalled, Some((30, "under 1024 bytes a second for 30s".into())));
    }
}

//! pure: for how long a registry is not asked because it said so, or said 429 without a word on how long.

use std::time::{Duration, Instant};

/// A pause is never longer where the registry names none.
const MOST: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Hold {
    held: Option<Held>,
    /// Pauses in a row for which it named no time.
    unsaid: u32,
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) until: Instant,
    /// What it answered.
    pub(super) status: u16,
    /// It said for how long.
    pub(super) said: bool,
    /// Since then.
    from: Instant,
}

impl Hold {
    /// A request that went at `sent` was answered with `status`, which asks for a pause of `wait`. Where it does not
    /// say how long, it is of `Err(first)`, twice as long each time that it says so again, and less by chance.
    pub(super) fn told(
        &mut self,
        (sent, now): (Instant, Instant),
        status: u16,
        wait: Result<Duration, Duration>,
        chance: f64,
    ) {
        let said = wait.is_ok();
        let wait = wait.unwrap_or_else(|first| {
            // Requests that were on their way together were refused together, and that is once.
            if self.held.is_none_or(|held| sent >= held.from) {
                self.unsaid += 1;
            }
            let step = self.unsaid.saturating_sub(1).min(10);
            first.saturating_mul(1 << step).min(MOST).mul_f64(1.0 - 0.5 * chance.clamp(0.0, 1.0))
        });
        let until = now + wait;
        if self.held.is_none_or(|held| held.until < until) {
            self.held = Some(Held { until, status, said, from: now });
        }
    }

    /// A request that went at `sent` was answered with anything else.
    pub(super) fn answered(&mut self, sent: Instant) {
        // One that went before the pause says nothing about it.
        if self.held.is_none_or(|held| sent >= held.until) {
            self.unsaid = 0;
        }
    }

    /// The pause that there is now.
    pub(super) fn at(&self, now: Instant) -> Option<Held> {
        self.held.filter(|held| now < held.until)
    }

    /// Whether it could be forgotten, and nobody would notice.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.at(now).is_none() && self.unsaid == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(hold: &Hold, now: Instant) -> Option<u64> {
        hold.at(now).map(|held| (held.until - now).as_secs())
    }

    #[test]
    fn what_it_asks_for_is_kept_and_never_made_shorter() {
        let (mut hold, now) = (Hold::default(), Instant::now());
        hold.told((now, now), 429, Ok(60 * SECOND), 1.0);
        hold.told((now, now + SECOND), 429, Ok(2 * SECOND), 1.0);
        hold.told((now, now + SECOND), 429, Err(SECOND), 1.0);
        assert_eq!(seconds(&hold, now), Some(60));
        assert!(hold.at(now).unwrap().said);
        hold.answered(now);
        assert_eq!(seconds(&hold, now + 59 * SECOND), Some(1), "one that went before counts not");
        assert_eq!(hold.at(now + 60 * SECOND), None);
    }

    #[test]
    fn where_it_names_no_time_the_pause_grows_until_it_answers() {
        let (mut hold, mut now) = (Hold::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            hold.told((now, now), 429, Err(SECOND), 0.0);
            let pause = seconds(&hold, now).unwrap();
            pauses.push(pause);
            now += Duration::from_secs(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        hold.answered(now);
        assert!(hold.is_over(now));
        hold.told((now, now), 429, Err(SECOND), 0.0);
        assert_eq!(seconds(&hold, now), Some(1));
    }

    #[test]
    fn what_is_refused_together_is_refused_once() {
        let (mut hold, now) = (Hold::default(), Instant::now());
        for _ in 0..8 {
            hold.told((now, now + SECOND), 429, Err(SECOND), 0.0);
        }
        assert_eq!(seconds(&hold, now + SECOND), Some(1));
    }
}

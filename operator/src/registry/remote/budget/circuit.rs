//! pure: whether a host that does not answer is asked: not by everyone, and by one at a time until it does.

use std::time::{Duration, Instant};

/// Failures in a row, with no answer between them, after which a host is taken to be away.
const FAILURES: u32 = 3;
/// It is never left alone for longer.
const MOST: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    since: Option<Instant>,
    open: Option<Open>,
}

/// The host is away.
#[derive(Debug)]
struct Open {
    /// It is left alone until then.
    until: Instant,
    /// So often it was left alone.
    step: u32,
    /// One request is on its way, to see whether it is back.
    probing: bool,
}

/// The host has not answered since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Away {
    pub(super) since: Instant,
}

impl Circuit {
    /// Why nothing may be asked now.
    pub(super) fn check(&self, now: Instant) -> Result<(), Away> {
        match (&self.open, self.since) {
            (Some(open), Some(since)) if open.probing || now < open.until => Err(Away { since }),
            _ => Ok(()),
        }
    }

    /// A request goes; whether it is the one that sees whether the host is back.
    pub(super) fn enter(&mut self, now: Instant) -> Result<bool, Away> {
        self.check(now)?;
        let Some(open) = &mut self.open else { return Ok(false) };
        open.probing = true;
        Ok(true)
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// It did not answer a request. It is left alone for `first`, and twice as long each time that it still does not
    /// answer, less what `chance` in 0..1 takes off: operators which failed together should not come back together.
    /// Whether it is taken to be away since this failure.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        probe: bool,
        (first, chance): (Duration, f64),
    ) -> bool {
        let pause = |step| pause(first, step, chance);
        let since = *self.since.get_or_insert(now);
        if let Some(open) = &mut self.open {
            // What was on its way when it was found to be away says nothing new.
            if probe {
                let step = open.step + 1;
                *open = Open { until: now + pause(step), step, probing: false };
            }
            return false;
        }
        self.since = Some(since);
        self.failures += 1;
        if self.failures < FAILURES {
            return false;
        }
        self.open = Some(Open { until: now + pause(0), step: 0, probing: false });
        true
    }

    /// The request that was to see whether it is back was given up.
    pub(super) fn abandoned(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// Whether it could be forgotten, and nobody would notice.
    pub(super) fn is_closed(&self) -> bool {
        self.open.is_none()
    }
}

/// Half of it is chance.
fn pause(first: Duration, step: u32, chance: f64) -> Duration {
    let whole = first.saturating_mul(1 << step.min(10)).min(MOST);
    whole.mul_f64(1.0 - 0.5 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FIRST: (Duration, f64) = (Duration::from_secs(2), 0.0);

    /// One that has just been found to be away, and when.
    fn away() -> (Circuit, Instant) {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        assert!(!circuit.failed(now, false, FIRST));
        assert!(!circuit.failed(now, false, FIRST));
        assert_eq!(circuit.enter(now), Ok(false), "two may be chance");
        assert!(circuit.failed(now, false, FIRST));
        (circuit, now)
    }

    #[test]
    fn a_host_that_does_not_answer_is_left_alone_and_then_asked_once() {
        let (mut circuit, now) = away();
        assert_eq!(circuit.enter(now), Err(Away { since: now }));
        let later = now + 2 * SECOND;
        assert_eq!(circuit.enter(later), Ok(true));
        assert_eq!(circuit.enter(later), Err(Away { since: now }), "one at a time");
        circuit.answered();
        assert_eq!(circuit.enter(later), Ok(false));
        assert!(circuit.is_closed());
    }

    #[test]
    fn each_time_it_is_left_alone_for_longer_and_never_for_more_than_a_minute() {
        let (mut circuit, mut now) = away();
        let first = now;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let asked = now;
            while circuit.check(now).is_err() {
                now += SECOND;
            }
            pauses.push((now - asked).as_secs());
            assert_eq!(circuit.enter(now), Ok(true));
            assert!(!circuit.failed(now, true, FIRST), "it is known to be away");
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(circuit.check(now), Err(Away { since: first }), "since when is told truly");
    }

    #[test]
    fn an_answer_between_failures_means_that_it_is_there() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..10 {
            circuit.failed(now, false, FIRST);
            circuit.failed(now, false, FIRST);
            circuit.answered();
        }
        assert_eq!(circuit.enter(now), Ok(false));
    }

    #[test]
    fn what_was_on_its_way_already_says_nothing_new() {
        let (mut circuit, now) = away();
        for _ in 0..20 {
            assert!(!circuit.failed(now + SECOND, false, FIRST));
        }
        assert_eq!(circuit.enter(now + 2 * SECOND), Ok(true));
    }

    #[test]
    fn a_look_that_was_given_up_is_anothers_to_take() {
        let (mut circuit, now) = away();
        let later = now + 2 * SECOND;
        assert_eq!(circuit.enter(later), Ok(true));
        circuit.abandoned();
        assert_eq!(circuit.enter(later), Ok(true));
    }

    #[test]
    fn half_of_a_pause_is_chance() {
        assert_eq!(pause(2 * SECOND, 3, 0.0), 16 * SECOND);
        assert_eq!(pause(2 * SECOND, 3, 1.0), 8 * SECOND);
        assert_eq!(pause(2 * SECOND, u32::MAX, 0.0), MOST);
    }
}

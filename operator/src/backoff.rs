//! pure: when an object is looked at again, after a success and after failures in a row.

use std::time::Duration;

use crate::error::Retry;

/// Delay after the first failure.
const FIRST: Duration = Duration::from_secs(2);
/// What was refused is tried again after this at the latest, where the interval is no longer.
const REFUSED: Duration = Duration::from_hours(6);

/// The shortest that jitter makes an interval.
pub const SHORTEST: f64 = 0.9;

/// The delay before the next run. `failures` counts the failed runs in a row, the last one
/// included; `jitter` is in 0..1 and only ever shortens (90–100 %), so that an interval is kept. Only
/// what a registry asks for is made longer, by up to a quarter: all who were told the same should not come back at
/// once.
#[must_use]
pub fn delay(retry: Retry, failures: u32, interval: Duration, jitter: f64) -> Duration {
    let shortened =
        |delay: Duration| delay.mul_f64(1.0 - (1.0 - SHORTEST) * jitter.clamp(0.0, 1.0));
    match retry {
        Retry::Interval => shortened(interval),
        // `Retry-After: 0` is no leave to ask again and again.
        Retry::After(wait) => wait.max(FIRST).mul_f64(1.0 + 0.25 * jitter.clamp(0.0, 1.0)),
        Retry::Backoff => shortened(doubled(FIRST, failures).min(interval)),
        Retry::Refused { soon } => {
            let first = if soon { FIRST } else { interval };
            shortened(doubled(first, failures).min(REFUSED.max(interval)))
        }
    }
}

/// `first`, and twice as long for each failure after the first one.
fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_mins(10);

    #[test]
    fn grows_with_each_failure_up_to_the_interval() {
        let delays: Vec<_> =
            (1..=12).map(|n| delay(Retry::Backoff, n, INTERVAL, 0.0).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        assert_eq!(delay(Retry::Backoff, u32::MAX, INTERVAL, 0.0), INTERVAL);
    }

    #[test]
    fn waits_as_long_as_a_registry_asks() {
        let wait = Duration::from_secs(76);
        assert_eq!(delay(Retry::After(wait), 3, INTERVAL, 0.0), wait);
        assert_eq!(delay(Retry::After(wait), 3, INTERVAL, 1.0), Duration::from_secs(95));
        assert_eq!(delay(Retry::After(Duration::ZERO), 3, INTERVAL, 0.0), FIRST);
    }

    #[test]
    fn what_is_refused_is_tried_ever_more_rarely() {
        let minutes = |soon, failures| {
            delay(Retry::Refused { soon }, failures, INTERVAL, 0.0).as_secs_f64() / 60.0
        };
        let from_the_interval: Vec<_> = (1..=8).map(|n| minutes(false, n)).collect();
        assert_eq!(from_the_interval, [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 360.0, 360.0]);
        let soon: Vec<_> = [1, 2, 9, 10, 11, 14, 15, 99].map(|n| minutes(true, n) * 60.0).into();
        assert_eq!(soon, [2.0, 4.0, 512.0, 1024.0, 2048.0, 16384.0, 21600.0, 21600.0]);
        let day = Duration::from_hours(24);
        assert_eq!(delay(Retry::Refused { soon: false }, 3, day, 0.0), day, "nor more often");
    }

    proptest! {
        #[test]
        fn jitter_only_shortens(failures in 0..100_u32, jitter in 0.0..1.0_f64) {
            for retry in [Retry::Interval, Retry::Backoff, Retry::Refused { soon: true }, Retry::Refused { soon: false }] {
                let (whole, delay) =
                    (delay(retry, failures, INTERVAL, 0.0), delay(retry, failures, INTERVAL, jitter));
                prop_assert!(delay <= whole && delay >= whole.mul_f64(SHORTEST));
            }
        }
    }
}

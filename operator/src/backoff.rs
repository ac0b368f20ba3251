//! pure: when an object is looked at again, after a success and after failures in a row.

use std::time::Duration;

use crate::error::Retry;

/// Delay after the first failure.
const FIRST: Duration = Duration::from_secs(2);

/// The shortest that jitter makes an interval.
pub const SHORTEST: f64 = 0.9;

/// The delay before the next run. `failures` counts the failed runs in a row, the last one
/// included; `jitter` is in 0..1 and only ever shortens (90–100 %), so that an interval is kept.
#[must_use]
pub fn delay(retry: Retry, failures: u32, interval: Duration, jitter: f64) -> Duration {
    let shortened =
        |delay: Duration| delay.mul_f64(1.0 - (1.0 - SHORTEST) * jitter.clamp(0.0, 1.0));
    match retry {
        Retry::Interval => shortened(interval),
        // `Retry-After: 0` is no leave to ask again and again.
        Retry::After(wait) => wait.max(FIRST),
        Retry::Backoff => {
            let doublings = failures.saturating_sub(1).min(20);
            shortened(FIRST.saturating_mul(1 << doublings).min(interval))
        }
    }
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
        let wait = Duration::from_secs(77);
        assert_eq!(delay(Retry::After(wait), 3, INTERVAL, 1.0), wait);
        assert_eq!(delay(Retry::After(Duration::ZERO), 3, INTERVAL, 1.0), FIRST);
    }

    proptest! {
        #[test]
        fn jitter_only_shortens(failures in 0..100_u32, jitter in 0.0..1.0_f64) {
            for retry in [Retry::Interval, Retry::Backoff] {
                let (whole, delay) =
                    (delay(retry, failures, INTERVAL, 0.0), delay(retry, failures, INTERVAL, jitter));
                prop_assert!(delay <= whole && delay >= whole.mul_f64(SHORTEST));
            }
        }
    }
}

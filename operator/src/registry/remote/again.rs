//! What is worth another try at once, and how long to wait before it (REGISTRY.md rule 10).

use std::time::Duration;

use tokio::time::sleep;

use super::{Remote, failure, limits::Limits};
use crate::registry::RegistryError;

impl Remote {
    /// Makes `call` until it succeeds, fails for good, or has failed too often.
    pub(super) async fn persist<T, F>(&self, call: impl Fn() -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        for failures in 1.. {
            match call().await {
                Err(error) if failures < self.transport.limits().tries => {
                    let Some(wait) = self.passing(&error) else { return Err(error) };
                    self.pause(failures, wait).await;
                }
                outcome => return outcome,
            }
        }
        unreachable!("a count without end ended")
    }

    /// Waits after a failure that was not the first one, for `least` at least.
    pub(super) async fn pause(&self, failures: u32, least: Duration) {
        sleep(delay(self.transport.limits(), failures, fastrand::f64()).max(least)).await;
    }

    /// After how long at least another try may succeed. `None` where that is no use, or where the registry wants to
    /// be asked so much later that a run should not wait for it.
    pub(super) fn passing(&self, error: &RegistryError) -> Option<Duration> {
        passing(error, self.transport.limits().patience)
    }
}

fn passing(error: &RegistryError, patience: Duration) -> Option<Duration> {
    use RegistryError as E;
    let asked = match error {
        // Where nothing is said, the next request waits by itself.
        E::RateLimited { retry_after, .. } => retry_after.unwrap_or_default(),
        E::Unavailable { status: 408 | 500 | 502 | 504, retry_after, .. } => {
            retry_after.unwrap_or_default()
        }
        E::Unavailable { status: 503, retry_after: Some(wait), .. } => *wait,
        E::Unreachable { .. } if failure::cut_after_sending(error) => Duration::ZERO,
        _ => return None,
    };
    (asked <= patience).then_some(asked)
}

/// Half of it is chance, so that those who failed together do not come back together.
fn delay(limits: &Limits, failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    limits.backoff.saturating_mul(1 << doublings).mul_f64(0.5 + 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::registry::Request;

    #[rstest]
    #[case(1, 0.0, 250)]
    #[case(1, 1.0, 500)]
    #[case(2, 1.0, 1_000)]
    #[case(3, 0.5, 1_500)]
    #[case(100, 1.0, 32_000)]
    fn delays(#[case] failures: u32, #[case] jitter: f64, #[case] millis: u64) {
        assert_eq!(delay(&Limits::default(), failures, jitter), Duration::from_millis(millis));
    }

    #[rstest]
    #[case(408, None, Some(0))]
    #[case(429, None, Some(0))]
    #[case(429, Some(5), Some(5))]
    #[case(429, Some(6), None)]
    #[case(500, None, Some(0))]
    #[case(501, None, None)]
    #[case(502, None, Some(0))]
    #[case(503, None, None)]
    #[case(503, Some(0), Some(0))]
    #[case(503, Some(5), Some(5))]
    #[case(503, Some(6), None)]
    #[case(504, None, Some(0))]
    #[case(504, Some(1), Some(1))]
    #[case(504, Some(60), None)]
    fn by_status(#[case] status: u16, #[case] after: Option<u64>, #[case] again: Option<u64>) {
        let (host, request) =
            ("r.example.com".into(), Request { method: "GET", noun: "blob", of: "a".into() });
        let retry_after = after.map(Duration::from_secs);
        let error = match status {
            429 => RegistryError::RateLimited { host, request, retry_after },
            _ => {
                RegistryError::Unavailable { host, request, status, codes: Vec::new(), retry_after }
            }
        };
        assert_eq!(passing(&error, Limits::default().patience), again.map(Duration::from_secs));
    }
}

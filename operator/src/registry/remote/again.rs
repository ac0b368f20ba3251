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
                Err(error) if passing(&error) && failures < self.transport.limits().tries => {
                    self.pause(failures).await;
                }
                outcome => return outcome,
            }
        }
        unreachable!("a count without end ended")
    }

    /// Waits after a failure that was not the first one.
    pub(super) async fn pause(&self, failures: u32) {
        sleep(delay(self.transport.limits(), failures, fastrand::f64())).await;
    }
}

/// Whether another try a moment later may succeed. What a registry wants to be asked for later is
/// the caller's to wait for.
pub(super) fn passing(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unavailable { status: 408 | 500 | 502 | 504, retry_after: None, .. } => true,
        RegistryError::Unreachable { .. } => failure::cut_after_sending(error),
        _ => false,
    }
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
    #[case(408, None, true)]
    #[case(500, None, true)]
    #[case(502, None, true)]
    #[case(503, None, false)]
    #[case(504, None, true)]
    #[case(504, Some(1), false)]
    fn by_status(#[case] status: u16, #[case] after: Option<u64>, #[case] again: bool) {
        let error = RegistryError::Unavailable {
            host: "r.example.com".into(),
            request: Request { method: "GET", noun: "blob", of: "a".into() },
            status,
            codes: Vec::new(),
            retry_after: after.map(Duration::from_secs),
        };
        assert_eq!(passing(&error), again);
    }
}

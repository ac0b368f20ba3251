//! An object with which all is well costs the registry a few HEADs an interval, and the API server nothing.

use std::time::Duration;

use anyhow::Result;
use multiarch_e2e::{await_condition::SOON, proxy::Seen, scenario};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// The shortest interval, and what a busy machine may take to work on it.
const ONE_INTERVAL: Duration = Duration::from_secs(30 + 10);

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_costs_heads_and_no_write() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let spec = s.spec("app", "app:1", &BOTH).with("interval", "30s");
        let before = s.apply_until(&spec, "True/Succeeded").await?;
        // A run is counted after its status and its Events are written.
        s.operator.await_runs(1.0, SOON).await?;
        let runs = s.operator.runs().await?;
        s.registry.proxy.forget();

        s.operator.await_runs(runs + 1.0, ONE_INTERVAL).await?;
        let seen = s.registry.proxy.seen();
        assert!(seen.iter().all(|seen| seen.method == "HEAD"), "{seen:?}");
        assert_eq!(seen.len(), BOTH.len() + 1, "{seen:?}");
        let after = s.images().get("app").await?;
        assert_eq!(
            after.metadata.resource_version, before.metadata.resource_version,
            "the status was written"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn own_status_writes_wake_nobody() -> Result<()> {
    scenario(async |s| {
        let of_app = || -> Vec<Seen> { s.registry.proxy.seen_of("/v2/app/") };
        s.push("app:1", &BOTH).await?;
        s.push("other:1", &BOTH).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        let before = of_app();
        // Events arrive in order: when the run for another object is over, a run that app's status had caused would be, too.
        s.apply_until(&s.spec("other", "other:1", &BOTH), "True/Succeeded").await?;
        s.apply_until(&s.spec("other", "other:1", &BOTH).with("suspend", true), "True/Suspended")
            .await?;
        assert_eq!(of_app(), before);
        s.operator.await_runs(3.0, SOON).await?;
        let runs = s.operator.runs().await?;
        assert!((runs - 3.0).abs() < f64::EPSILON, "{runs} runs for three changes");
        Ok(())
    })
    .await
}

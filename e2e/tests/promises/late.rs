//! A platform that is built later is waited for, and published at once by annotation or within one interval.

use std::time::Duration;

use anyhow::{Context, Result};
use multiarch_crds::v1alpha1::{MultiArchImage, SourceState};
use multiarch_e2e::{Scenario, await_condition::await_condition, peers, scenario, spec::Report};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// The shortest interval, and what a busy machine may take to work on it.
const ONE_INTERVAL: Duration = Duration::from_secs(30 + 10);

/// amd64 is there and arm64 is not.
async fn waiting(s: &Scenario) -> Result<()> {
    s.push("app:1", &["linux/amd64"]).await?;
    let spec = s.spec("app", "app:1", &BOTH).with("interval", "30s");
    let image = s.apply_until(&spec, "Unknown/WaitingForPlatforms").await?;
    assert!(image.message().contains("linux/arm64"), "{}", image.message());
    assert!(image.is_true("Reconciling") && image.condition("Stalled").is_none());
    assert!(!image.is_true("Published") && !image.is_true("PlatformsComplete"));
    let status = image.status.as_ref().context("a status")?;
    let coverage = status.coverage.as_ref().context("coverage")?;
    assert_eq!((&*coverage.summary, &*coverage.missing), ("1/2", &["linux/arm64".to_owned()][..]));
    assert_eq!(image.source("arm64").map(|source| source.state), Some(SourceState::Missing));
    assert_eq!(s.registry.digest("app:1").await?, None, "an index with a hole was published");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn published_at_once_by_annotation() -> Result<()> {
    scenario(async |s| {
        waiting(s).await?;
        s.push("app:1", &["linux/arm64"]).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded");
        assert_eq!(image.platforms(), BOTH);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn published_within_one_interval() -> Result<()> {
    scenario(async |s| {
        waiting(s).await?;
        s.push("app:1", &["linux/arm64"]).await?;
        let ready = |image: &MultiArchImage| image.ready() == "True/Succeeded";
        let image =
            await_condition(&s.images(), "app", "Ready is True", ONE_INTERVAL, ready).await?;
        assert_eq!(image.platforms(), BOTH);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

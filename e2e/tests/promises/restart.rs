//! An operator that is killed and started again goes on where it was: it looks, and where all is well it neither reads nor writes.

use std::time::Duration;

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    proxy::Answer,
    scenario,
    spec::Report,
};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// After a start, objects with which all is well are looked at in the course of one interval.
const ONE_INTERVAL: Duration = Duration::from_secs(30 + 10);

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_there_are_heads_only_and_no_write() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let spec = s.spec("app", "app:1", &BOTH).with("interval", "30s");
        let before = s.apply_until(&spec, "True/Succeeded").await?;

        s.registry.proxy.forget();
        s.operator.kill_and_restart().await?;
        s.operator.await_runs(1.0, ONE_INTERVAL).await?;
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
async fn killed_in_the_middle_of_a_push_it_publishes_after_the_restart() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.registry.proxy.answer("PUT", "/app/manifests/1", Answer::Never);
        s.apply(&s.spec("app", "app:1", &BOTH)).await?;
        let pushes = async || {
            Ok(s.registry.proxy.seen().iter().any(|seen| seen.method == "PUT").then_some(()))
        };
        await_some("it pushes", SOON, pushes).await?;

        s.registry.proxy.be_honest();
        s.operator.kill_and_restart().await?;
        let image = s.until_ready("app", "True/Succeeded").await?;
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(image.digest()));
        Ok(())
    })
    .await
}

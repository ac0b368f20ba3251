//! Told to stop, the operator stops within five seconds and says that all is well, even while a registry keeps it waiting.

use std::time::Duration;

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    proxy::Answer,
    scenario,
};

/// What is promised; a kubelet waits for thirty.
const GRACE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_do() -> Result<()> {
    scenario(async |s| {
        let status = s.operator.terminate(GRACE).await?;
        assert!(status.success(), "{status}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_registry_does_not_answer() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &["linux/amd64"]).await?;
        for method in ["HEAD", "GET"] {
            s.registry.proxy.answer(method, "/manifests/", Answer::Never);
        }
        s.apply(&s.spec("app", "app:1", &["linux/amd64"])).await?;
        let asks = async || Ok((!s.registry.proxy.seen().is_empty()).then_some(()));
        await_some("it asks the registry", SOON, asks).await?;
        let status = s.operator.terminate(GRACE).await?;
        assert!(status.success(), "{status}");
        Ok(())
    })
    .await
}

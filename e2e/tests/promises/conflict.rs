//! Two objects that write one tag: the first keeps it, the other one is told so, and takes over when the first lets go.

use anyhow::Result;
use kube::api::DeleteParams;
use multiarch_e2e::{scenario, spec::Report};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn the_first_keeps_the_tag_until_it_lets_go() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let first = s.apply_until(&s.spec("first", "app:1", &BOTH), "True/Succeeded").await?;
        let mut spec = s.spec("second", "app:1", &BOTH[..1]);
        spec.spec["removalPolicy"] = json!("Remove");
        let second = s.apply_until(&spec, "False/TargetConflict").await?;
        assert!(second.is_true("Stalled"));
        assert!(second.message().contains("the MultiArchImage first"), "{}", second.message());
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(first.digest()));

        // At once, and not at the next interval.
        s.images().delete("first", &DeleteParams::default()).await?;
        let second = s.until_ready("second", "True/Succeeded").await?;
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(second.digest()));
        assert_ne!(second.digest(), first.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_additional_tag_is_kept_and_freed_by_an_edit() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.push("app:2", &BOTH).await?;
        let mut one = s.spec("one", "app:1", &BOTH);
        one.spec["target"]["additionalTags"] = json!(["latest"]);
        let first = s.apply_until(&one, "True/Succeeded").await?;
        let mut two = s.spec("two", "app:2", &BOTH);
        two.spec["target"]["additionalTags"] = json!(["latest"]);
        let second = s.apply_until(&two, "False/TargetConflict").await?;
        assert!(second.is_true("Published"), "its own tag is there");
        assert_eq!(s.registry.digest("app:latest").await?.as_deref(), Some(first.digest()));

        one.spec["target"]["additionalTags"] = json!([]);
        s.apply_until(&one, "True/Succeeded").await?;
        let second = s.until_ready("two", "True/Succeeded").await?;
        assert_eq!(s.registry.digest("app:latest").await?.as_deref(), Some(second.digest()));
        Ok(())
    })
    .await
}

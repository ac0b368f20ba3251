//! Under publishPolicy Partial, and for optional sources, an absent image holds nothing back.

use anyhow::{Context, Result};
use multiarch_e2e::{peers, scenario, spec::Report};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn partial_publishes_what_is_there_and_says_what_is_not() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &["linux/amd64"]).await?;
        let spec = s
            .spec("app", "app:1", &["linux/amd64", "linux/arm64"])
            .with("publishPolicy", "Partial");
        let image = s.apply_until(&spec, "True/PublishedPartial").await?;
        assert_eq!(image.platforms(), ["linux/amd64"]);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        assert!(image.is_true("Published") && !image.is_true("PlatformsComplete"));
        let coverage = image
            .status
            .as_ref()
            .and_then(|status| status.coverage.as_ref())
            .context("coverage")?;
        assert_eq!(
            (&*coverage.summary, &*coverage.missing),
            ("1/2", &["linux/arm64".to_owned()][..])
        );

        s.push("app:1", &["linux/arm64"]).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded");
        assert_eq!(image.platforms(), ["linux/amd64", "linux/arm64"]);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_source_is_taken_when_it_comes() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &["linux/amd64"]).await?;
        let spec = s.spec("app", "app:1", &["linux/amd64"]);
        let spec = spec.source_with(
            "riscv64",
            "app:1-riscv64",
            &["linux/riscv64"],
            json!({"optional": true}),
        );
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), ["linux/amd64"]);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());

        s.push("app:1", &["linux/riscv64"]).await?;
        let image = s.request("app").await?;
        assert_eq!(image.platforms(), ["linux/amd64", "linux/riscv64"]);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

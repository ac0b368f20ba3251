//! A platform that users pull today does not vanish by mistake: the tag stays as it is until somebody says that it may go.

use anyhow::Result;
use multiarch_e2e::{peers, scenario, spec::Report};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_without_source_is_named_and_stays_until_it_may_go() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let both = s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;

        let amd64 = s.spec("app", "app:1", &["linux/amd64"]);
        let image = s.apply_until(&amd64, "False/WouldShrink").await?;
        assert!(image.is_true("Stalled") && image.is_true("Published"));
        assert!(image.message().contains("linux/arm64"), "{}", image.message());
        assert!(!image.message().contains("linux/amd64"), "{}", image.message());
        assert_eq!(image.digest(), both.digest());
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(both.digest()));

        let image = s.apply_until(&amd64.with("removalPolicy", "Remove"), "True/Succeeded").await?;
        assert_eq!(image.platforms(), ["linux/amd64"]);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_keeps_what_the_tag_has_whoever_made_it() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let first =
            s.apply_until(&s.spec("first", "app:1", &["linux/arm64"]), "True/Succeeded").await?;
        s.images().delete("first", &kube::api::DeleteParams::default()).await?;
        assert_eq!(
            s.registry.digest("app:1").await?.as_deref(),
            Some(first.digest()),
            "it deleted the tag"
        );

        let append = s.spec("second", "app:1", &["linux/amd64"]).with("removalPolicy", "Retain");
        let image = s.apply_until(&append, "True/Succeeded").await?;
        assert_eq!(image.platforms(), BOTH);
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        let status = image.status.as_ref();
        let sources: Vec<_> =
            status.into_iter().flat_map(|s| &s.platforms).map(|p| &*p.source).collect();
        assert_eq!(sources, ["amd64", ""]);
        Ok(())
    })
    .await
}

//! Per-arch tags are cleaned up every day: one that is deleted after publication takes nothing away.

use anyhow::{Context, Result};
use multiarch_crds::v1alpha1::SourceState;
use multiarch_e2e::{images::Image, peers, scenario, spec::Report};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn ready_stays_true_and_the_source_is_missing() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let before = s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;

        s.registry.delete_tag("app:1-arm64").await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded");
        assert_eq!(image.source("arm64").map(|source| source.state), Some(SourceState::Missing));
        let resolved = image.condition("SourcesResolved").context("SourcesResolved")?;
        assert_eq!(resolved.status, "False");
        assert!(image.is_true("Published") && image.is_true("PlatformsComplete"));
        assert_eq!(image.digest(), before.digest());
        assert_eq!(image.platforms(), BOTH);

        // Both are: still nothing is taken away.
        s.registry.delete_tag("app:1-amd64").await?;
        let image = s.request("app").await?;
        assert_eq!((image.ready().as_str(), image.digest()), ("True/Succeeded", before.digest()));
        assert_eq!(peers::crane(&s.registry, "app:1").await?.digest, before.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_image_is_never_merged_with_a_new_one() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let before = s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;

        // The next build has pushed amd64, and arm64's tag is gone until its job is done.
        s.registry.delete_tag("app:1-arm64").await?;
        s.registry.push("app:1-amd64", &Image::oci("linux/amd64", "the next build")?).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "Unknown/WaitingForPlatforms");
        assert!(image.is_true("Published"));
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(before.digest()));

        s.registry.push("app:1-arm64", &Image::oci("linux/arm64", "the next build")?).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded");
        assert_ne!(image.digest(), before.digest());
        Ok(())
    })
    .await
}

//! Images of other repositories and registries are copied, and the index that lists them is whole for every tool.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    peers,
    registry::Registry,
    scenario,
    scenario::{scenario_of_two_registries, tag_of},
    spec::{Report, Spec},
};
use serde_json::json;

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm/v7", "linux/arm64"];

/// The target's index is the one that status tells, every tool finds all of it, and every node its own image.
async fn is_whole(registry: &Registry, of: &str, digest: &str) -> Result<()> {
    assert_eq!(peers::is_whole(registry, of).await?.digest, digest);
    let mut images = Vec::new();
    for platform in PLATFORMS {
        images.push((platform, Image::oci(platform, "app")?.digest()));
    }
    peers::each_gets_its_own(registry, of, &images).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_repository_for_each_platform() -> Result<()> {
    scenario(async |s| {
        let mut spec = Spec::new(&s.registry, "app", "team/app:1");
        for (name, platform) in ["amd64", "armv7", "arm64"].into_iter().zip(PLATFORMS) {
            let image = format!("build/{name}/app:1");
            s.registry.push(&image, &Image::oci(platform, "app")?).await?;
            spec = spec.source(name, &image, &[platform]);
        }
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), PLATFORMS);
        is_whole(&s.registry, "team/app:1", image.digest()).await?;
        let uploads =
            s.registry.proxy.seen().into_iter().filter(multiarch_e2e::proxy::Seen::is_upload);
        assert_eq!(uploads.count(), 0, "a registry was sent what it has");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_two_registries_and_the_targets_own_repository() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let [here, beside, there] = PLATFORMS.map(|platform| Image::oci(platform, "app"));
        s.registry.push("team/app:1-amd64", &here?).await?;
        s.registry.push("build/app:1-armv7", &beside?).await?;
        elsewhere.push("ci/app:1-arm64", &there?).await?;
        let spec = Spec::new(&s.registry, "app", "team/app:1")
            .source("amd64", "team/app:1-amd64", &[PLATFORMS[0]])
            .source("armv7", "build/app:1-armv7", &[PLATFORMS[1]])
            .source_in(elsewhere, "arm64", "ci/app:1-arm64", &[PLATFORMS[2]], json!({}));
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), PLATFORMS);
        is_whole(&s.registry, "team/app:1", image.digest()).await?;
        let writes = elsewhere.proxy.seen();
        assert!(writes.iter().all(|seen| matches!(&*seen.method, "GET" | "HEAD")), "{writes:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_the_same_wherever_its_images_come_from() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let mut far = Spec::new(&s.registry, "far", "team/far:1");
        for platform in PLATFORMS.into_iter().rev() {
            let (tag, image) = (tag_of("app:1", platform), Image::oci(platform, "app")?);
            s.registry.push(&format!("team/{tag}"), &image).await?;
            elsewhere.push(&tag, &image).await?;
            let name = tag.replace([':'], "-");
            far = far.source_in(elsewhere, &name, &tag, &[platform], json!({}));
        }
        let near = s.spec("near", "team/app:1", &PLATFORMS);
        let near = s.apply_until(&near, "True/Succeeded").await?;
        let far = s.apply_until(&far, "True/Succeeded").await?;
        assert_eq!(near.digest(), far.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_copied_stays_when_its_source_is_cleaned_up() -> Result<()> {
    Box::pin(scenario_of_two_registries(async |s, elsewhere| {
        let mut several = Spec::new(&s.registry, "several", "team/app:1");
        for platform in PLATFORMS {
            let (tag, image) = (tag_of("ci/app:1", platform), Image::oci(platform, "app")?);
            elsewhere.push(&tag, &image).await?;
            let name = platform.replace('/', "-");
            several = several.source_in(elsewhere, &name, &tag, &[platform], json!({}));
        }
        elsewhere.push("upstream/app:1", &Image::buildx(PLATFORMS[0], "app")?).await?;
        let whole = Spec::new(&s.registry, "whole", "mirror/app:1");
        let whole = whole.source_in(elsewhere, "upstream", "upstream/app:1", &[], json!({}));
        let several = s.apply_until(&several, "True/Succeeded").await?;
        let whole = s.apply_until(&whole, "True/Succeeded").await?;

        for tag in PLATFORMS.map(|platform| tag_of("ci/app:1", platform)) {
            elsewhere.delete_tag(&tag).await?;
        }
        elsewhere.delete_tag("upstream/app:1").await?;
        for before in [several, whole] {
            let name = before.metadata.name.as_deref().unwrap_or_default();
            // Twice: what is first found gone, and what is known to be.
            for _ in 0..2 {
                let after = s.request(name).await?;
                assert_eq!(after.ready(), "True/Succeeded", "{}", after.message());
                assert_eq!(after.digest(), before.digest());
                assert!(!after.is_true("SourcesResolved"), "{after:?}");
            }
        }
        let several = s.images().get("several").await?;
        is_whole(&s.registry, "team/app:1", several.digest()).await
    }))
    .await
}

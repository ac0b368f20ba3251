//! One publication has as many tags as are asked for, and none of them is anybody else's.

use anyhow::{Context, Result};
use multiarch_e2e::{images::Image, peers, scenario, scenario::tag_of, spec::Report};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn more_tags_name_the_same_index() -> Result<()> {
    scenario(async |s| {
        s.push("app:1.0", &BOTH).await?;
        let mut spec = s.spec("app", "app:1.0", &BOTH);
        spec.spec["target"]["additionalTags"] = ["latest", "1"].into();
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        let mut tags = image.status.as_ref().context("a status")?.tags.clone();
        tags.sort();
        assert_eq!(tags, ["1", "1.0", "latest"]);
        let first = peers::is_whole(&s.registry, "app:1.0").await?;
        assert_eq!(first.digest, image.digest());
        for more in ["app:latest", "app:1"] {
            assert_eq!(peers::read_by_all(&s.registry, more).await?, first);
        }

        // They move along.
        let newer = Image::oci("linux/arm64", "newer")?;
        s.registry.push("app:1.0-arm64", &newer).await?;
        let image = s.request("app").await?;
        assert_ne!(image.digest(), first.digest);
        for tag in ["app:1.0", "app:latest", "app:1"] {
            assert_eq!(s.registry.digest(tag).await?.as_deref(), Some(image.digest()), "{tag}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_image_gets_a_tag_of_its_own() -> Result<()> {
    scenario(async |s| {
        let platforms = ["linux/amd64", "linux/arm/v7"];
        s.push("build/app:7", &platforms).await?;
        let mut spec = s.spec("app", "team/app:1.0", &[]);
        for (name, platform) in ["amd64", "armv7"].into_iter().zip(platforms) {
            spec = spec.source(name, &tag_of("build/app:7", platform), &[platform]);
        }
        spec.spec["target"]["platformTags"] = "{tag}-{os}-{arch}{variant}".into();
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        let mut tags = image.status.as_ref().context("a status")?.tags.clone();
        tags.sort();
        assert_eq!(tags, ["1.0", "1.0-linux-amd64", "1.0-linux-armv7"]);
        for (tag, platform) in ["1.0-linux-amd64", "1.0-linux-armv7"].into_iter().zip(platforms) {
            let read = peers::is_whole(&s.registry, &format!("team/app:{tag}")).await?;
            assert_eq!(read.digest, Image::oci(platform, "build/app:7")?.digest());
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_an_image_that_is_not_ours_is_left() -> Result<()> {
    scenario(async |s| {
        s.push("app:build", &BOTH).await?;
        let foreign = Image::oci("linux/arm64", "of somebody else")?;
        s.registry.push("app:1-arm64", &foreign).await?;
        let mut spec = s.spec("app", "app:1", &[]);
        for (name, platform) in ["amd64", "arm64"].into_iter().zip(BOTH) {
            spec = spec.source(name, &tag_of("app:build", platform), &[platform]);
        }
        spec.spec["target"]["platformTags"] = "{tag}-{arch}".into();
        let image = s.apply_until(&spec, "False/TargetConflict").await?;
        assert!(image.message().contains("app:1-arm64"), "{}", image.message());
        assert_eq!(s.registry.digest("app:1-arm64").await?, Some(foreign.digest()));
        // What people pull is there all the same.
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_tag_is_written_once() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let mut spec = s.spec("app", "app:1", &BOTH);
        spec.spec["target"]["tagPolicy"] = "Immutable".into();
        let first = s.apply_until(&spec, "True/Succeeded").await?;

        s.registry.push("app:1-arm64", &Image::oci("linux/arm64", "newer")?).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/TagImmutable", "{}", image.message());
        assert_eq!(image.digest(), first.digest());
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(first.digest()));

        // Nor is what something else wrote before.
        s.push("taken:1", &BOTH).await?;
        s.registry.push("taken:1", &Image::oci("linux/s390x", "foreign")?).await?;
        let before = s.registry.digest("taken:1").await?;
        let mut taken = s.spec("taken", "taken:1", &BOTH).with("removalPolicy", "Remove");
        taken.spec["target"]["tagPolicy"] = "Immutable".into();
        s.apply_until(&taken, "False/TagImmutable").await?;
        assert_eq!(s.registry.digest("taken:1").await?, before);
        Ok(())
    })
    .await
}

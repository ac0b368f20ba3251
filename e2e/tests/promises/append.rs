//! With removalPolicy Retain, images are added to what the tag names, whoever made it: none is lost, and no platform is there twice.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    peers::{self, Maker},
    scenario,
    scenario::tag_of,
    spec::Report,
};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const TARGET: &str = "team/app:1";

#[tokio::test(flavor = "multi_thread")]
async fn another_platform_is_added_to_what_a_tool_made() -> Result<()> {
    for maker in Maker::ALL {
        scenario(async |s| {
            s.push(TARGET, &BOTH).await?;
            peers::make(maker, &s.registry, TARGET, &["amd64", "arm64"]).await?;
            s.push(TARGET, &["linux/s390x"]).await?;
            let spec = s.spec("app", TARGET, &["linux/s390x"]).with("removalPolicy", "Retain");
            let image = s.apply_until(&spec, "True/Succeeded").await?;
            assert_eq!(image.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);

            let index = peers::is_whole(&s.registry, TARGET).await?;
            assert_eq!(index.digest, image.digest(), "{maker:?}");
            let mut images = Vec::new();
            for platform in image.platforms() {
                images.push((platform, Image::oci(platform, TARGET)?.digest()));
            }
            peers::each_gets_its_own(&s.registry, TARGET, &images).await
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_there_is_replaced_and_not_doubled() -> Result<()> {
    scenario(async |s| {
        s.push(TARGET, &BOTH).await?;
        peers::make(Maker::Crane, &s.registry, TARGET, &["amd64", "arm64"]).await?;
        let newer = Image::oci("linux/arm64", "newer")?;
        s.registry.push(&tag_of(TARGET, "linux/arm64"), &newer).await?;
        let spec = s.spec("app", TARGET, &["linux/arm64"]).with("removalPolicy", "Retain");
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), BOTH);

        let index = peers::is_whole(&s.registry, TARGET).await?;
        let older = Image::oci("linux/amd64", TARGET)?;
        assert_eq!(index.listed_digests()?, [older.digest(), newer.digest()]);
        let images = [(BOTH[0], older.digest()), (BOTH[1], newer.digest())];
        peers::each_gets_its_own(&s.registry, TARGET, &images).await
    })
    .await
}

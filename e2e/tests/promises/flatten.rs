//! Of a source that is an index, the chosen images are listed one by one, with what attests them.

use anyhow::Result;
use multiarch_crds::v1alpha1::{MultiArchImage, SourceState};
use multiarch_e2e::{
    images::Image,
    peers, scenario,
    scenario::scenario_of_two_registries,
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn the_chosen_images_come_with_their_attestations_and_the_others_stay() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let [amd64, old, arm64] = ["linux/amd64", "linux/arm/v7", "linux/arm64"]
            .map(|platform| Image::buildx(platform, "app"));
        let (amd64, old, arm64) = (amd64?, old?, arm64?);
        let index = Image::index(&[arm64.clone(), old.clone(), amd64.clone()])?;
        elsewhere.push("upstream/app:1", &index).await?;
        let spec = Spec::new(&s.registry, "app", "team/app:1");
        let spec = spec.source_in(elsewhere, "upstream", "upstream/app:1", &BOTH, json!({}));
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), BOTH);

        let digests = peers::is_whole(&s.registry, "team/app:1").await?.listed_digests()?;
        let own = [amd64.children[0].digest(), arm64.children[0].digest()];
        assert_eq!(digests[..2], own);
        let images: Vec<_> = BOTH.into_iter().zip(own).collect();
        peers::each_gets_its_own(&s.registry, "team/app:1", &images).await?;
        let mut attestations = [amd64.children[1].digest(), arm64.children[1].digest()];
        attestations.sort();
        let mut last = digests[2..].to_vec();
        last.sort();
        assert_eq!(last, attestations);
        for blob in amd64.blobs().chain(arm64.blobs()) {
            assert!(s.registry.has_blob("team/app", &blob).await?, "{blob} is not there");
        }
        let chosen: Vec<_> = amd64.blobs().chain(arm64.blobs()).collect();
        for blob in old.blobs().filter(|blob| !chosen.contains(blob)) {
            assert!(
                !s.registry.has_blob("team/app", &blob).await?,
                "{blob} was copied for nothing"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_beside_single_images_and_an_index_in_an_index() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let [amd64, old, arm64, s390x] =
            ["linux/amd64", "linux/arm/v7", "linux/arm64", "linux/s390x"]
                .map(|platform| Image::oci(platform, "app"));
        let (amd64, old, arm64, s390x) = (amd64?, old?, arm64?, s390x?);
        let nested = Image::nested(&[
            Image::index(std::slice::from_ref(&amd64))?,
            Image::index(&[old.clone(), arm64.clone()])?,
        ]);
        elsewhere.push("upstream/app:1", &nested).await?;
        s.registry.push("build/app:1-s390x", &s390x).await?;
        let spec = Spec::new(&s.registry, "app", "team/app:1")
            .source_in(elsewhere, "upstream", "upstream/app:1", &[], json!({}))
            .source("s390x", "build/app:1-s390x", &["linux/s390x"]);
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(
            image.platforms(),
            ["linux/amd64", "linux/arm/v7", "linux/arm64", "linux/s390x"]
        );
        let index = peers::is_whole(&s.registry, "team/app:1").await?;
        assert_eq!(index.digest, image.digest());
        let own = [amd64, old, arm64, s390x].map(|image| image.digest());
        assert_eq!(index.listed_digests()?, own);
        let images: Vec<_> = image.platforms().into_iter().zip(own).collect();
        peers::each_gets_its_own(&s.registry, "team/app:1", &images).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_platform_that_is_not_there_is_waited_for() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let [amd64, arm64, s390x] = ["linux/amd64", "linux/arm64", "linux/s390x"]
            .map(|platform| Image::oci(platform, "app"));
        let (amd64, arm64, s390x) = (amd64?, arm64?, s390x?);
        elsewhere.push("app:1", &Image::index(&[amd64.clone(), s390x.clone()])?).await?;
        let spec = Spec::new(&s.registry, "app", "team/app:1").source_in(
            elsewhere,
            "upstream",
            "app:1",
            &BOTH,
            json!({}),
        );
        let image = s.apply_until(&spec, "Unknown/WaitingForPlatforms").await?;
        waits(&image);
        assert_eq!(s.registry.digest("team/app:1").await?, None);

        elsewhere.push("app:1", &Image::index(&[amd64, arm64, s390x])?).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded", "{}", image.message());
        assert_eq!(image.platforms(), BOTH);
        assert_eq!(image.source("upstream").map(|it| it.state), Some(SourceState::Resolved));
        peers::validate(&s.registry, "team/app:1").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_has_one_image_so_far_is_waited_for() -> Result<()> {
    scenario(async |s| {
        let [amd64, arm64] = BOTH.map(|platform| Image::oci(platform, "app"));
        let (amd64, arm64) = (amd64?, arm64?);
        s.registry.push("build/app:1", &Image::index(std::slice::from_ref(&amd64))?).await?;
        let spec = Spec::new(&s.registry, "app", "team/app:1");
        let spec = spec.source("build", "build/app:1", &BOTH);
        let image = s.apply_until(&spec, "Unknown/WaitingForPlatforms").await?;
        waits(&image);

        s.registry.push("build/app:1", &Image::index(&[amd64, arm64])?).await?;
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        peers::validate(&s.registry, "team/app:1").await
    })
    .await
}

fn waits(image: &MultiArchImage) {
    assert!(image.message().contains("linux/arm64"), "{}", image.message());
    assert!(!image.message().contains("linux/amd64"), "{}", image.message());
    assert!(image.is_true("Reconciling") && !image.is_true("Published"), "{image:?}");
    assert!(image.condition("Stalled").is_none(), "{image:?}");
}

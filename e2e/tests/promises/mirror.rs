//! One source that is taken whole keeps its digest, whatever it is, and everything in it goes along.

use anyhow::{Context, Result};
use multiarch_e2e::{
    images::{DOCKER_MANIFEST, Image, OCI_INDEX, OCI_MANIFEST},
    peers,
    scenario::scenario_of_two_registries,
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Mirrors `image` from elsewhere, and reads it back.
async fn keeps_its_digest(image: Image, media_type: &str, platforms: &[&str]) -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        elsewhere.push("upstream/app:1", &image).await?;
        let spec = Spec::new(&s.registry, "app", "mirror/app:1");
        let spec = spec.source_in(elsewhere, "upstream", "upstream/app:1", &[], json!({}));
        let object = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(object.digest(), image.digest());
        assert_eq!(object.platforms(), platforms);
        let status = object.status.as_ref().context("a status")?;
        assert_eq!(status.media_type.as_deref(), Some(media_type));

        let copy = peers::read_by_all(&s.registry, "mirror/app:1").await?;
        assert_eq!(copy, peers::read_by_all(elsewhere, "upstream/app:1").await?);
        for child in &image.children {
            let of = format!("mirror/app@{}", child.digest());
            assert_eq!(peers::crane(&s.registry, &of).await?.bytes, child.bytes);
        }
        for blob in image.blobs() {
            assert!(s.registry.has_blob("mirror/app", &blob).await?, "{blob} is not there");
        }

        s.registry.proxy.forget();
        elsewhere.proxy.forget();
        s.request("app").await?;
        let seen = [s.registry.proxy.seen(), elsewhere.proxy.seen()].concat();
        assert!(seen.len() <= 2 && seen.iter().all(|seen| seen.method == "HEAD"), "{seen:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_with_attestations() -> Result<()> {
    // In another order than ours would be.
    let built = [Image::buildx(BOTH[1], "app")?, Image::buildx(BOTH[0], "app")?];
    keeps_its_digest(Image::index(&built)?, OCI_INDEX, &BOTH).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_in_an_index() -> Result<()> {
    let [amd64, arm64] = BOTH.map(|platform| Image::oci(platform, "app"));
    let nested = Image::nested(&[Image::index(&[arm64?])?, Image::index(&[amd64?])?]);
    keeps_its_digest(nested, OCI_INDEX, &BOTH).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_image() -> Result<()> {
    keeps_its_digest(Image::oci(BOTH[0], "app")?, OCI_MANIFEST, &BOTH[..1]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_image_becomes_an_index_of_it() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let image = Image::docker(BOTH[0], "app")?;
        elsewhere.push("upstream/app:1", &image).await?;
        let spec = Spec::new(&s.registry, "app", "mirror/app:1");
        let spec = spec.source_in(elsewhere, "upstream", "upstream/app:1", &[], json!({}));
        let object = s.apply_until(&spec, "True/Succeeded").await?;
        let index = peers::is_whole(&s.registry, "mirror/app:1").await?;
        assert_eq!(index.digest, object.digest());
        let index = index.json()?;
        assert_eq!(index["mediaType"], OCI_INDEX);
        assert_eq!(index["manifests"][0]["digest"], image.digest());
        assert_eq!(index["manifests"][0]["mediaType"], DOCKER_MANIFEST);
        let own = [(BOTH[0], image.digest())];
        peers::each_gets_its_own(&s.registry, "mirror/app:1", &own).await
    })
    .await
}

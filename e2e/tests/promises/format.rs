//! Where clients know nothing else, Docker images make a Docker manifest list; images are never converted to fit.

use anyhow::Result;
use multiarch_e2e::{
    images::{DOCKER_LIST, DOCKER_MANIFEST, Image},
    peers, scenario,
    scenario::{Scenario, tag_of},
    spec::{Report, Spec},
};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// The object that publishes `app:1` as a Docker manifest list.
fn docker_list(s: &Scenario) -> Spec {
    let mut spec = s.spec("app", "app:1", &BOTH).with("attestations", "Drop");
    spec.spec["target"]["format"] = "Docker".into();
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_images_make_a_docker_list() -> Result<()> {
    scenario(async |s| {
        let mut images = Vec::new();
        for platform in BOTH {
            let image = Image::docker(platform, "app")?;
            s.registry.push(&tag_of("app:1", platform), &image).await?;
            images.push((platform, image.digest()));
        }
        let image = s.apply_until(&docker_list(s), "True/Succeeded").await?;
        let status = image.status.as_ref();
        assert_eq!(status.and_then(|status| status.media_type.as_deref()), Some(DOCKER_LIST));

        let list = peers::is_whole(&s.registry, "app:1").await?;
        assert_eq!(list.digest, image.digest());
        assert_eq!(list.json()?["mediaType"], DOCKER_LIST);
        assert!(list.listed()?.iter().all(|child| child["mediaType"] == DOCKER_MANIFEST));
        peers::each_gets_its_own(&s.registry, "app:1", &images).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oci_image_is_refused_in_a_docker_list() -> Result<()> {
    scenario(async |s| {
        s.registry.push("app:1-amd64", &Image::docker("linux/amd64", "app")?).await?;
        s.registry.push("app:1-arm64", &Image::oci("linux/arm64", "app")?).await?;
        let image = s.apply_until(&docker_list(s), "False/FormatMismatch").await?;
        assert!(image.is_true("Stalled"), "{image:?}");
        assert!(image.message().contains("app:1-arm64"), "{}", image.message());
        assert_eq!(s.registry.digest("app:1").await?, None);

        s.registry.push("app:1-arm64", &Image::docker("linux/arm64", "app")?).await?;
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        peers::is_whole(&s.registry, "app:1").await.map(drop)
    })
    .await
}

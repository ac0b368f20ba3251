//! What is published is what crane, regctl and skopeo read, byte for byte, and containerd takes for each platform its own image.

use anyhow::{Context, Result};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    images::{Image, OCI_INDEX},
    peers, scenario,
    spec::{Report, Spec},
};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm/v7", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn other_tools_read_the_index_that_status_tells() -> Result<()> {
    scenario(async |s| {
        s.push("team/app:1.0", &PLATFORMS).await?;
        let image =
            s.apply_until(&s.spec("app", "team/app:1.0", &PLATFORMS), "True/Succeeded").await?;

        for condition in ["Published", "PlatformsComplete", "SourcesResolved"] {
            assert!(image.is_true(condition), "{condition}: {image:?}");
        }
        assert!(image.condition("Reconciling").is_none() && image.condition("Stalled").is_none());
        assert_eq!(image.platforms(), PLATFORMS);
        let status = image.status.as_ref().context("a status")?;
        let reference = format!("{}@{}", s.registry.reference("team/app:1.0"), image.digest());
        assert_eq!(status.reference.as_ref(), Some(&reference));
        assert_eq!(status.media_type.as_deref(), Some(OCI_INDEX));
        assert_eq!(status.tags, ["1.0"]);
        assert!(status.last_publish_time.is_some());
        let coverage = status.coverage.as_ref().context("coverage")?;
        assert_eq!(
            (&*coverage.summary, coverage.required, coverage.covered, coverage.published),
            ("3/3", 3, 3, 3)
        );

        let index = peers::is_whole(&s.registry, "team/app:1.0").await?;
        assert_eq!(index.digest, image.digest());
        let mut images = Vec::new();
        for platform in PLATFORMS {
            images.push((platform, Image::oci(platform, "team/app:1.0")?.digest()));
        }
        peers::each_gets_its_own(&s.registry, "team/app:1.0", &images).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_images_and_annotations_of_the_index() -> Result<()> {
    scenario(async |s| {
        s.registry.push("app:1-amd64", &Image::docker("linux/amd64", "app")?).await?;
        s.registry.push("app:1-arm64", &Image::oci("linux/arm64", "app")?).await?;
        let version = serde_json::json!({"org.opencontainers.image.version": "1 <&> 2"});
        let spec =
            s.spec("app", "app:1", &["linux/amd64", "linux/arm64"]).with("annotations", version);
        let image = s.apply_until(&spec, "True/Succeeded").await?;

        let index = peers::is_whole(&s.registry, "app:1").await?;
        assert_eq!(index.digest, image.digest());
        let index = index.json()?;
        assert_eq!(index["annotations"]["org.opencontainers.image.version"], "1 <&> 2");
        let of_docker = "application/vnd.docker.distribution.manifest.v2+json";
        assert_eq!(index["manifests"][0]["mediaType"], of_docker);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_digest_whatever_the_tag_names_by_now() -> Result<()> {
    scenario(async |s| {
        let [amd64, arm64] =
            ["linux/amd64", "linux/arm64"].map(|platform| Image::oci(platform, "built"));
        let (amd64, arm64) = (amd64?, arm64?);
        s.registry.push("app:1-amd64", &amd64).await?;
        s.registry.push("app:1-arm64", &arm64).await?;
        // The tags move on, as those of nightly builds do.
        s.push("app:1", &["linux/amd64", "linux/arm64"]).await?;
        let spec = Spec::new(&s.registry, "app", "app:1")
            .source("amd64", &format!("app@{}", amd64.digest()), &[])
            .source("arm64", &format!("app:1-arm64@{}", arm64.digest()), &["linux/arm64"]);
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        let published =
            image.status.as_ref().map(|status| &status.platforms).context("platforms")?;
        let digests: Vec<_> = published.iter().map(|platform| platform.digest.clone()).collect();
        assert_eq!(digests, [amd64.digest(), arm64.digest()]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_tells_of_it() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &["linux/amd64"]).await?;
        let mut spec = s.spec("app", "app:1", &["linux/amd64"]);
        let first = s.apply_until(&spec, "True/Succeeded").await?;
        spec.spec["annotations"] = serde_json::json!({"com.example.build": "2"});
        let second = s.apply_until(&spec, "True/Succeeded").await?;
        assert_ne!(first.digest(), second.digest());
        let events: Api<Event> = Api::namespaced(s.client.clone(), &s.namespace.name);
        for image in [&first, &second] {
            let told = async || {
                let list = events.list(&ListParams::default()).await?;
                Ok(list.items.into_iter().find(|event| {
                    let note = event.note.as_deref().unwrap_or_default();
                    event.reason.as_deref() == Some("IndexPublished")
                        && note.contains(image.digest())
                }))
            };
            let event = await_some("the event of each publication is there", SOON, told).await?;
            let about = event.regarding.context("an event about nothing")?;
            assert_eq!(
                (about.kind.as_deref(), about.name.as_deref()),
                (Some("MultiArchImage"), Some("app"))
            );
            let told = event.metadata.annotations.unwrap_or_default();
            assert_eq!(told["multiarch.dev/digest"], image.digest());
        }
        // A field that occurs twice is lost on most readers of JSON.
        for line in s.operator.logs()?.lines() {
            assert!(line.matches("\"message\":").count() <= 1, "{line}");
        }
        Ok(())
    })
    .await
}

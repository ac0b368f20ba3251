//! An image is for the platform that its config says; the user's word is checked against it, unless they ask to be trusted.

use anyhow::Result;
use multiarch_crds::v1alpha1::SourceState;
use multiarch_e2e::{images::Image, peers, scenario, spec::Report};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_platform_is_refused_and_both_are_named() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &["linux/amd64"]).await?;
        // A job that forgot --platform: an amd64 image under arm64's tag.
        s.registry.push("app:1-arm64", &Image::oci("linux/amd64", "wrong")?).await?;
        let spec = s.spec("app", "app:1", &["linux/amd64", "linux/arm64"]);
        let image = s.apply_until(&spec, "False/PlatformMismatch").await?;

        assert!(image.is_true("Stalled") && !image.is_true("Published"));
        for word in ["app:1-arm64", "linux/arm64", "linux/amd64"] {
            assert!(image.message().contains(word), "{}", image.message());
        }
        assert_eq!(
            image.source("arm64").map(|source| source.state),
            Some(SourceState::PlatformMismatch)
        );
        assert_eq!(image.source("amd64").map(|source| source.state), Some(SourceState::Resolved));
        assert_eq!(s.registry.digest("app:1").await?, None);

        // The right image is all that it takes.
        s.push("app:1", &["linux/arm64"]).await?;
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        peers::is_whole(&s.registry, "app:1").await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_publishes_the_users_word() -> Result<()> {
    scenario(async |s| {
        s.registry.push("app:1-riscv64", &Image::oci("linux/amd64", "a lie")?).await?;
        let spec = s.spec("app", "app:1", &[]);
        let trust = json!({"platformPolicy": "Trust"});
        let spec = spec.source_with("riscv64", "app:1-riscv64", &["linux/riscv64"], trust);
        let image = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(image.platforms(), ["linux/riscv64"]);
        let index = peers::read_by_all(&s.registry, "app:1").await?.json()?;
        let expected = json!({"architecture": "riscv64", "os": "linux"});
        assert_eq!(index["manifests"][0]["platform"], expected);
        // All of it is there, and the one thing that crane finds wrong is what it was told to say.
        peers::skopeo_copy_all(&s.registry, "app:1").await?;
        let Err(wrong) = peers::validate(&s.registry, "app:1").await else {
            panic!("crane found nothing wrong");
        };
        let wrong = format!("{wrong:#}");
        assert!(wrong.ends_with("mismatched Architecture: amd64 != riscv64\n"), "{wrong}");
        let own = [("linux/riscv64", Image::oci("linux/amd64", "a lie")?.digest())];
        peers::each_gets_its_own(&s.registry, "app:1", &own).await
    })
    .await
}

//! Two images for one platform are refused, and both are named: at apply where the spec says so, else when the configs do.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    scenario,
    spec::{Report, Spec},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_whose_configs_agree_are_both_named() -> Result<()> {
    scenario(async |s| {
        s.registry.push("app:1-a", &Image::oci("linux/amd64", "first")?).await?;
        s.registry.push("app:1-b", &Image::oci("linux/amd64", "second")?).await?;
        let spec = Spec::new(&s.registry, "app", "app:1");
        let spec = spec.source("first", "app:1-a", &[]).source("second", "app:1-b", &[]);
        let image = s.apply_until(&spec, "False/DuplicatePlatform").await?;
        assert!(image.is_true("Stalled"));
        for word in ["first", "second", "linux/amd64"] {
            assert!(image.message().contains(word), "{}", image.message());
        }
        assert_eq!(s.registry.digest("app:1").await?, None);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_that_declare_the_same_are_refused_at_apply() -> Result<()> {
    scenario(async |s| {
        let spec = Spec::new(&s.registry, "app", "app:1")
            .source("first", "app:1-a", &["linux/arm64"])
            .source("second", "app:1-b", &["linux/arm64"]);
        let Err(refused) = s.apply(&spec).await else { panic!("the API server took it") };
        let refused = format!("{refused:#}");
        for word in ["first", "second", "linux/arm64"] {
            assert!(refused.contains(word), "{refused}");
        }
        Ok(())
    })
    .await
}

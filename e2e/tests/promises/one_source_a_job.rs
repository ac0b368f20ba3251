//! Three jobs that each apply their own source, with their own field manager and at the same time, keep all three.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::api::{Patch, PatchParams};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    peers, scenario,
    spec::{Report, Spec},
};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/s390x"];

#[tokio::test(flavor = "multi_thread")]
async fn three_jobs_keep_all_three() -> Result<()> {
    scenario(async |s| {
        let images = s.images();
        let s = &*s;
        try_join_all(PLATFORMS.map(|platform| async move {
            s.push("app:1", &[platform]).await?;
            let mine = s.spec("app", "app:1", &[platform]).object();
            let manager = PatchParams::apply(&platform.replace('/', "-"));
            s.images().patch("app", &manager, &Patch::Apply(mine)).await.context(platform)
        }))
        .await?;
        let all = |image: &MultiArchImage| {
            image.ready() == "True/Succeeded" && image.platforms() == PLATFORMS
        };
        let image = s.until("app", "all three are published", all).await?;
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());

        // A job that leaves takes its own source along, and no other.
        let nothing = Spec::new(&s.registry, "app", "app:1").with("removalPolicy", "Remove");
        let manager = PatchParams::apply("linux-s390x");
        images
            .patch("app", &manager, &Patch::Apply(nothing.object()))
            .await
            .context("the job that leaves")?;
        let two = |image: &MultiArchImage| {
            image.ready() == "True/Succeeded" && image.platforms() == PLATFORMS[..2]
        };
        s.until("app", "the other two are left", two).await?;
        Ok(())
    })
    .await
}

//! What a clean-up deletes from under a published index is put back, by digest, while its source is there.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    peers,
    scenario::scenario_of_two_registries,
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_a_clean_up_deleted_is_put_back() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let [amd64, arm64] = BOTH.map(|platform| Image::oci(platform, "app"));
        let (amd64, arm64) = (amd64?, arm64?);
        elsewhere.push("ci/app:1", &Image::index(&[amd64.clone(), arm64.clone()])?).await?;
        let spec = Spec::new(&s.registry, "app", "team/app:1").source_in(
            elsewhere,
            "ci",
            "ci/app:1",
            &BOTH,
            json!({}),
        );
        let published = s.apply_until(&spec, "True/Succeeded").await?;

        s.registry.delete_tag(&format!("team/app@{}", arm64.digest())).await?;
        assert!(peers::skopeo_copy_all(&s.registry, "team/app:1").await.is_err(), "it is there");
        s.objects().age("app").await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded", "{}", image.message());
        let index = peers::is_whole(&s.registry, "team/app:1").await?;
        assert_eq!(index.digest, published.digest());
        let own = [(BOTH[0], amd64.digest()), (BOTH[1], arm64.digest())];
        peers::each_gets_its_own(&s.registry, "team/app:1", &own).await
    })
    .await
}

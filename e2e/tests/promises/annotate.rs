//! What is to be said of the images of one source stands in the index beside them, and changes none of them.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    peers, scenario,
    spec::{Report, Spec},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_images_of_a_source_are_annotated() -> Result<()> {
    scenario(async |s| {
        let [amd64, arm64, s390x] = ["linux/amd64", "linux/arm64", "linux/s390x"]
            .map(|platform| Image::oci(platform, "app"));
        let (amd64, arm64, s390x) = (amd64?, arm64?, s390x?);
        s.registry.push("ci:1", &Image::index(&[amd64.clone(), arm64.clone()])?).await?;
        s.registry.push("ci:1-s390x", &s390x).await?;
        let seven = json!({"annotations": {"com.example.build": "7", "com.example.by": "<ci>"}});
        let spec = Spec::new(&s.registry, "app", "app:1")
            .source_with("both", "ci:1", &[], seven.clone())
            .source("s390x", "ci:1-s390x", &["linux/s390x"]);
        let image = s.apply_until(&spec, "True/Succeeded").await?;

        let index = peers::is_whole(&s.registry, "app:1").await?;
        assert_eq!(index.digest, image.digest());
        let own = [amd64.digest(), arm64.digest(), s390x.digest()];
        assert_eq!(index.listed_digests()?, own);
        let listed = index.listed()?;
        for child in &listed[..2] {
            assert_eq!(child["annotations"], seven["annotations"], "{child}");
        }
        assert_eq!(listed[2].get("annotations"), None, "{}", listed[2]);
        let images: Vec<_> = image.platforms().into_iter().zip(own).collect();
        peers::each_gets_its_own(&s.registry, "app:1", &images).await
    })
    .await
}

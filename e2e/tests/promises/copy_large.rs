//! A layer of 256 MiB is copied in little memory: what streams is never held.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    scenario::scenario_of_two_stores,
    spec::{Report, Spec},
};
use serde_json::json;

const LAYER: usize = 256 << 20;
/// The whole process, and not only what the copy adds to it.
const MOST: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_takes_little_memory() -> Result<()> {
    scenario_of_two_stores(async |s, elsewhere| {
        let image = Image::large("linux/amd64", LAYER)?;
        elsewhere.push("build/app:1", &image).await?;
        let (idle, _) = s.operator.resident()?;
        let spec = Spec::new(&s.registry, "app", "team/app:1");
        let spec = spec.source_in(elsewhere, "amd64", "build/app:1", &["linux/amd64"], json!({}));
        let object = s.apply_until(&spec, "True/Succeeded").await?;
        let (_, most) = s.operator.resident()?;
        assert!(most < MOST, "{} MiB, {} MiB of them when idle", most >> 20, idle >> 20);
        for blob in image.blobs() {
            assert!(s.registry.has_blob("team/app", &blob).await?, "{blob} is not there");
        }
        assert_eq!(object.platforms(), ["linux/amd64"]);
        Ok(())
    })
    .await
}

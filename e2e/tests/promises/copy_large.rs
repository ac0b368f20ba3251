//! A layer of 256 MiB is copied in little memory: what streams is never held.

use std::env;

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    images::Image,
    scenario::scenario_of_two_stores,
    spec::{Report, Spec},
};
use serde_json::json;

/// In MiB, where `MULTIARCH_LAYER_MIB` does not say another size (`make large`).
const LAYER: usize = 256;
/// The whole process, and not only what the copy adds to it.
const MOST: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_takes_little_memory() -> Result<()> {
    scenario_of_two_stores(async |s, elsewhere| {
        let layer = env::var("MULTIARCH_LAYER_MIB").ok().and_then(|mib| mib.parse().ok());
        let image = Image::large("linux/amd64", layer.unwrap_or(LAYER) << 20)?;
        elsewhere.push("build/app:1", &image).await?;
        let (idle, _) = s.operator.resident()?;
        let spec = Spec::new(&s.registry, "app", "team/app:1");
        let spec = spec.source_in(elsewhere, "amd64", "build/app:1", &["linux/amd64"], json!({}));
        s.apply(&spec).await?;
        let object = await_some("app to be Ready", 20 * SOON, async || {
            let app = s.images().get("app").await?;
            Ok((app.ready() == "True/Succeeded").then_some(app))
        })
        .await?;
        let (_, most) = s.operator.resident()?;
        tell(idle, most);
        assert!(most < MOST, "{} MiB, {} MiB of them when idle", most >> 20, idle >> 20);
        for blob in image.blobs() {
            assert!(s.registry.has_blob("team/app", &blob).await?, "{blob} is not there");
        }
        assert_eq!(object.platforms(), ["linux/amd64"]);
        Ok(())
    })
    .await
}

#[expect(clippy::print_stderr, reason = "the figure that `make large` is run for")]
fn tell(idle: u64, most: u64) {
    eprintln!("resident: {} KiB when idle, {} KiB at most", idle >> 10, most >> 10);
}

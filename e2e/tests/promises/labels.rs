//! Builds of two commits are never one release: equalLabels waits until the configs say the same.

use anyhow::Result;
use multiarch_e2e::{images::Image, peers, scenario, spec::Report};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const REVISION: &str = "org.opencontainers.image.revision";

#[tokio::test(flavor = "multi_thread")]
async fn builds_of_two_commits_are_not_merged() -> Result<()> {
    scenario(async |s| {
        let of = |platform, commit: &str| Image::labelled(platform, json!({(REVISION): commit}));
        s.registry.push("app:1-amd64", &of(BOTH[0], "new")?).await?;
        s.registry.push("app:1-arm64", &of(BOTH[1], "old")?).await?;
        let spec = s.spec("app", "app:1", &BOTH).with("equalLabels", json!([REVISION]));
        let image = s.apply_until(&spec, "Unknown/WaitingForMatch").await?;
        for word in [REVISION, "old", "new", "amd64", "arm64"] {
            assert!(image.message().contains(word), "{}", image.message());
        }
        assert_eq!(s.registry.digest("app:1").await?, None);

        s.registry.push("app:1-arm64", &of(BOTH[1], "new")?).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded", "{}", image.message());
        assert_eq!(peers::is_whole(&s.registry, "app:1").await?.digest, image.digest());
        Ok(())
    })
    .await
}

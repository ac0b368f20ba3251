//! The examples are taken by a real API server as they are.

use anyhow::Result;
use multiarch_e2e::{bin::workspace, cluster::Cluster, namespace::Namespace};

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_example() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = Namespace::create(&cluster.client().await?).await?;
    let examples = workspace().join("examples");
    let mut files = 0;
    for file in std::fs::read_dir(&examples)? {
        let file = file?.path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let file = file.to_string_lossy().into_owned();
        let said = cluster.try_out(&namespace.name, &file).await?;
        let kinds = ["multiarchimage.multiarch.dev/", "multiarchimageset.multiarch.dev/"];
        assert!(kinds.iter().any(|kind| said.contains(kind)), "{file}: {said}");
        files += 1;
    }
    assert!(files >= 5, "only {files} examples in {}", examples.display());
    namespace.delete().await
}

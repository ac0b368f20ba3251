//! A control plane for the chart's tests: one that they share, and never a user's.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use multiarch_e2e::{bin::workspace, cluster::Cluster};
use tokio::sync::OnceCell;

/// The one that has our kinds, and the rights of the tests' own release.
pub(crate) async fn cluster() -> Result<Arc<Cluster>> {
    static OWN: OnceCell<Result<Arc<Cluster>, String>> = OnceCell::const_new();
    let cluster = OWN.get_or_init(|| async {
        let cluster = Cluster::start(&workspace().join("crds")).await;
        cluster.map(Arc::new).map_err(|error| format!("{error:#}"))
    });
    cluster.await.clone().map_err(|error| anyhow!("{error}"))
}

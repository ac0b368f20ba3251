//! CRDs that are managed apart, and several operators in one cluster.

use anyhow::Result;
use multiarch_e2e::{bin::workspace, helm::Release};
use serde_json::json;

use crate::install::{release, stage, untouched, used};

#[tokio::test(flavor = "multi_thread")]
async fn releases_of_namespaces_stand_beside_each_other() -> Result<()> {
    let stage = stage().await?;
    let helm = &stage.helm;
    // The CRDs are applied by whoever manages them apart.
    let crds = workspace().join("crds").display().to_string();
    stage.cluster.kubectl(["apply", "--server-side", "--filename", &crds]).await?;
    let before = used(&stage, "team-a").await?;
    used(&stage, "team-b").await?;
    let of = |namespace: &str| {
        json!({
            "crds": {"enabled": false}, "rbac": {"scope": "Namespaced"}, "watchNamespaces": [namespace],
        })
    };
    // Of the same name, each in its own namespace.
    for namespace in ["team-a", "team-b"] {
        let values = of(namespace);
        let release = Release { name: "multiarch-operator", namespace, values: &values };
        helm.apply("install", release, &[]).await?;
    }
    let of_cluster = ["get", "clusterroles,clusterrolebindings", "--output=name"];
    let of_cluster = stage.cluster.kubectl(of_cluster).await?;
    assert!(!of_cluster.contains("multiarch"), "{of_cluster}");
    // One that brings CRDs, too, is told whose they are.
    let values = json!({});
    let said = helm.apply("install", release(&values), &["--create-namespace"]).await;
    let said = said.unwrap_err().to_string();
    assert!(said.contains("multiarchimages.multiarch.dev"), "{said}");
    helm.run(["uninstall", "multiarch-operator", "--namespace", "team-b"]).await?;
    let left = ["get", "roles,deployments", "--namespace", "team-a", "--output=name"];
    let left = stage.cluster.kubectl(left).await?;
    assert_eq!(left.lines().count(), 3, "{left}");
    untouched(&stage, "team-a", &before).await
}

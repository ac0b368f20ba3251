//! What a release leaves as it is: the number of replicas that somebody else decides about, and the Pods of `helm test`.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    cluster::Cluster,
    helm::{Helm, Release},
    namespace::Namespace,
};
use serde_json::{Value, json};

use crate::{own::cluster, yaml::merged};

const NAME: &str = "multiarch-operator";

/// `command` with values of a release that is alone in `namespace`.
async fn apply(helm: &Helm, command: &str, namespace: &str, values: &Value) -> Result<()> {
    let alone = json!({"crds": {"enabled": false}, "rbac": {"scope": "Namespaced"}, "watchNamespaces": [namespace]});
    let values = merged(&alone, values);
    helm.apply(command, Release { name: NAME, namespace, values: &values }, &[]).await.map(drop)
}

async fn replicas(cluster: &Cluster, namespace: &str) -> Result<String> {
    let get =
        ["get", "deployment", NAME, "--namespace", namespace, "--output=jsonpath={.spec.replicas}"];
    cluster.kubectl(get).await
}

async fn scale(cluster: &Cluster, namespace: &str, number: u8) -> Result<()> {
    let number = format!("--replicas={number}");
    cluster
        .kubectl(["scale", "deployment", NAME, "--namespace", namespace, &number])
        .await
        .map(drop)
}

/// As docs/upgrade.md has it: a number that nobody else has written goes with the value, and one that somebody has stays.
#[tokio::test(flavor = "multi_thread")]
async fn the_replicas_are_handed_over() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client().await?;
    let helm = Helm::of(cluster.kubeconfig())?;
    let home = Namespace::create(&client).await?;
    let (ours, theirs) = (json!({"replicaCount": 2}), json!({"replicaCount": ""}));
    apply(&helm, "install", &home.name, &ours).await?;
    assert_eq!(replicas(&cluster, &home.name).await?, "2");
    // The number that it has already: nothing is written, and so it is not theirs.
    scale(&cluster, &home.name, 2).await?;
    apply(&helm, "upgrade", &home.name, &theirs).await?;
    assert_eq!(replicas(&cluster, &home.name).await?, "1");
    // Now it is whose it was left to.
    scale(&cluster, &home.name, 3).await?;
    apply(&helm, "upgrade", &home.name, &merged(&theirs, &json!({"logLevel": "debug"}))).await?;
    assert_eq!(replicas(&cluster, &home.name).await?, "3");

    // Scaled to another number before, it stays, where the release is applied server-side.
    let other = Namespace::create(&client).await?;
    apply(&helm, "install", &other.name, &ours).await?;
    scale(&cluster, &other.name, 3).await?;
    apply(&helm, "upgrade", &other.name, &theirs).await?;
    let is_server_side = helm.run(["version", "--short"]).await?.starts_with("v4");
    let expected = if is_server_side { "3" } else { "1" };
    assert_eq!(replicas(&cluster, &other.name).await?, expected);
    home.delete().await?;
    other.delete().await
}

/// Hooks are no part of a release: what `helm test` has made stays until the next one, or until somebody deletes it.
#[tokio::test(flavor = "multi_thread")]
async fn pods_of_helm_test_stay() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client().await?;
    let helm = Helm::of(cluster.kubeconfig())?;
    let home = Namespace::create(&client).await?;
    apply(&helm, "install", &home.name, &json!({})).await?;
    // No kubelet runs it: it has ended well when that is said of it.
    let pods: Api<Pod> = Api::namespaced(client.clone(), &home.name);
    let succeeded = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    let end = async || {
        let how = PatchParams::default();
        let ended = pods.patch_status("multiarch-operator-check", &how, &succeeded);
        Ok(ended.await.ok().map(drop))
    };
    let test = helm.run(["test", NAME, "--namespace", &home.name]);
    let (said, ended) = tokio::join!(test, await_some("the Pod is there", SOON, end));
    ended?;
    assert!(said?.contains("Succeeded"));
    helm.run(["uninstall", NAME, "--namespace", &home.name]).await?;
    let select = "--selector=app.kubernetes.io/name=multiarch-operator-check";
    let checks = ["get", "pods", "--namespace", &home.name, select, "--output=name"];
    assert_eq!(cluster.kubectl(checks).await?.trim(), "pod/multiarch-operator-check");
    let docs = crate::yaml::read(&multiarch_e2e::bin::workspace().join("docs/uninstall.md"));
    let delete = format!("kubectl --namespace multiarch-system delete pods {select}\n");
    assert!(docs.contains(&delete), "docs/uninstall.md does not say {delete}");
    cluster.kubectl(["delete", "pods", "--namespace", &home.name, select]).await?;
    assert_eq!(cluster.kubectl(checks).await?.trim(), "");
    home.delete().await
}

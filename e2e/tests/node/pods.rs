//! Pods of an image from a registry of the host run, are ready, are called as a Service, and reach the API server, the names of the cluster and
//! that registry.

use anyhow::{Context, Result, ensure};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    node::NodeCluster,
    proxy::client,
    registry::Setup,
};
use serde_json::json;

use crate::guest::{apply, container, namespace, registry};

#[tokio::test(flavor = "multi_thread")]
async fn they_run_and_reach_what_pods_do() -> Result<()> {
    let Some(node) = NodeCluster::shared("pods::they_run_and_reach_what_pods_do").await? else {
        return Ok(());
    };
    let cluster = &node.cluster;
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let (registry, image) = registry(&node, folder.path(), &Setup::default()).await?;
    namespace(cluster, "pods").await?;
    let kubectl = async |arguments: &[&str]| {
        cluster.kubectl(["--namespace", "pods"].iter().chain(arguments)).await
    };

    let mut server = container("web", &image, &["serve"]);
    server["readinessProbe"] = json!({"httpGet": {"port": 8080}, "periodSeconds": 1});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [server]}},
        },
    });
    apply(cluster, folder.path(), "pods", &deployment).await?;
    kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=8080"]).await?;
    kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).await?;
    assert!(!registry.registry.proxy.seen_of("/v2/guest/blobs/").is_empty(), "nobody pulled");

    // From the host, through kube-proxy, until both have answered.
    let address =
        kubectl(&["get", "service", "web", "--output=jsonpath={.spec.clusterIP}"]).await?;
    let pods = kubectl(&["get", "pods", "--output=name"]).await?;
    let pods: Vec<_> = pods.lines().map(|name| name.trim_start_matches("pod/")).collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    for pod in &pods {
        await_some("each pod answers for the Service", SOON, async || {
            // A connection of its own each time: one that is kept leads to one pod.
            let answer = client()?.get(format!("http://{address}/")).send().await;
            let Ok(answer) = answer else { return Ok(None) };
            let text = answer.text().await.context("no answer")?;
            Ok((text.trim() == *pod).then_some(()))
        })
        .await?;
    }

    let asks = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asks"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                container("service", &image, &["get", "http://web.pods/"]),
                container("whoami", &image, &["whoami"]),
                container("names", &image, &["resolve", "kubernetes.default.svc", "registry.example.com"]),
                container("registry", &image, &["get", &format!("http://{}/v2/guest/tags/list", registry.host)]),
            ],
        },
    });
    apply(cluster, folder.path(), "pods", &asks).await?;
    let succeeded = "--for=jsonpath={.status.phase}=Succeeded";
    let waited = kubectl(&["wait", succeeded, "pod/asks", "--timeout=60s"]).await;
    let logs = kubectl(&["logs", "asks", "--all-containers", "--prefix"]).await?;
    waited.with_context(|| logs.clone())?;
    let said = |container: &str, words: &str| {
        let line = format!("[pod/asks/{container}] ");
        let said = logs.lines().filter_map(|log| log.strip_prefix(&line));
        ensure!(
            said.clone().any(|said| said.contains(words)),
            "no {words} by {container}:\n{logs}"
        );
        Ok(())
    };
    said("service", "web-")?;
    said("whoami", "system:serviceaccount:pods:default")?;
    let api = ["get", "service", "kubernetes", "--output=jsonpath={.spec.clusterIP}"];
    let api = cluster.kubectl(api).await?;
    said("names", &format!("kubernetes.default.svc {api}"))?;
    said("names", &format!("registry.example.com {}", node.whereabouts().host))?;
    said("registry", r#"{"name":"guest","tags":["1"]}"#)?;

    let exec = ["exec", "deployment/web", "--", "/hello", "resolve", "localhost"];
    let said = kubectl(&exec).await?;
    assert!(said.starts_with("localhost "), "{said}");
    kubectl(&["delete", "namespace", "pods", "--wait=false"]).await?;
    Ok(())
}

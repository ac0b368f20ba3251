//! Nodes that join and leave are told to each object within seconds, and no registry is asked.

use anyhow::{Context, Result};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{DeleteParams, PostParams, WatchEvent, WatchParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::SOON,
    operator::{NAMESPACE, Operator, SERVICE_ACCOUNT},
    scenario::{Scenario, scenario_that_sees_nodes},
    spec::Report,
};
use serde_json::json;

use crate::rbac::{Right, Who};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const SMALL: [&str; 1] = ["linux/amd64"];

async fn join(s: &Scenario, name: &str, os: &str, arch: &str, build: Option<&str>) -> Result<()> {
    let mut labels = json!({"kubernetes.io/os": os, "kubernetes.io/arch": arch});
    if let Some(build) = build {
        labels["node.kubernetes.io/windows-build"] = json!(build);
    }
    let node =
        json!({"metadata": {"name": name, "labels": labels}, "spec": {"unschedulable": true}});
    let nodes: Api<Node> = Api::all(s.client.clone());
    let node = serde_json::from_value(node).context("no node")?;
    nodes.create(&PostParams::default(), &node).await.context("failed to make a node").map(drop)
}

async fn leave(s: &Scenario, name: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(s.client.clone());
    nodes.delete(name, &DeleteParams::default()).await.context("failed to delete a node").map(drop)
}

/// Status of `NodesCovered`, and what is missing.
fn told(image: &MultiArchImage) -> (&str, Vec<&str>) {
    let covered = image.condition("NodesCovered").map_or("", |covered| &covered.status);
    let coverage = image.status.as_ref().and_then(|status| status.coverage.as_ref());
    let missing = coverage.map(|coverage| coverage.nodes_missing.as_slice()).unwrap_or_default();
    (covered, missing.iter().map(String::as_str).collect())
}

async fn until_told(s: &Scenario, name: &str, expected: (&str, &[&str])) -> Result<MultiArchImage> {
    let what = format!("NodesCovered is {expected:?}");
    s.until(name, &what, |image| told(image) == (expected.0, expected.1.to_vec())).await
}

fn version(image: &MultiArchImage) -> Result<u64> {
    let version = image.metadata.resource_version.as_ref().context("no version")?;
    version.parse().context("no number")
}

/// How often each object was written between `from`, which `last` follows, and `last`.
async fn writes(s: &Scenario, from: u64, last: u64) -> Result<(usize, usize)> {
    let (mut app, mut small) = (0, 0);
    let events = s.images();
    let mut events =
        std::pin::pin!(events.watch(&WatchParams::default(), &from.to_string()).await?);
    while let Some(event) = events.try_next().await? {
        let WatchEvent::Modified(image) = event else { continue };
        match image.metadata.name.as_deref() {
            Some("app") => app += 1,
            _ => small += 1,
        }
        if version(&image)? == last {
            break;
        }
    }
    Ok((app, small))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_and_leave_are_told_without_asking_a_registry() -> Result<()> {
    scenario_that_sees_nodes(async |s| {
        s.push("app:1", &BOTH).await?;
        s.push("small:1", &SMALL).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        s.apply_until(&s.spec("small", "small:1", &SMALL), "True/Succeeded").await?;
        let app = until_told(s, "app", ("True", &[])).await?;
        let before = until_told(s, "small", ("True", &[])).await?;
        s.registry.proxy.forget();

        join(s, "arm", "linux", "arm64", None).await?;
        let small = until_told(s, "small", ("False", &["linux/arm64"])).await?;
        let covered = small.condition("NodesCovered").context("no condition")?;
        assert_eq!(covered.reason, "NodesNotCovered");
        assert!(covered.message.ends_with("lacks platforms that nodes have: linux/arm64"));
        assert_eq!(small.ready(), "True/Succeeded");

        // One that joins others, and all of them leaving, is no news.
        join(s, "arm-2", "linux", "arm64", None).await?;
        join(s, "windows", "windows", "amd64", Some("10.0.20348")).await?;
        let windows = "windows(10.0.20348)/amd64";
        until_told(s, "app", ("False", &[windows])).await?;
        until_told(s, "small", ("False", &["linux/arm64", windows])).await?;
        for node in ["arm", "arm-2", "windows"] {
            leave(s, node).await?;
        }
        join(s, "z", "linux", "s390x", None).await?;
        let of_app = until_told(s, "app", ("False", &["linux/s390x", windows])).await?;
        let all = ["linux/arm64", "linux/s390x", windows];
        let of_small = until_told(s, "small", ("False", &all)).await?;
        let last = version(&of_app)?.max(version(&of_small)?);
        let first = version(&before)?.max(version(&app)?);
        assert_eq!(writes(s, first, last).await?, (2, 3));
        assert_eq!(s.registry.proxy.seen(), [], "a registry was asked");
        assert!(s.operator.metric("multiarch_nodes_missing").await? > 4.9);

        // A restart forgets none of those that have left, and without the flag all is gone.
        s.operator.terminate(SOON).await?;
        s.operator.restart().await?;
        join(s, "ppc", "linux", "ppc64le", None).await?;
        let more = ["linux/arm64", "linux/ppc64le", "linux/s390x", windows];
        until_told(s, "small", ("False", &more)).await?;
        s.operator.terminate(SOON).await?;
        let without = s.replica_with("without", &[""; 0]).await?;
        until_told(s, "app", ("", &[])).await?;
        let small = until_told(s, "small", ("", &[])).await?;
        assert_eq!(small.ready(), "True/Succeeded");
        drop(without);
        Ok(())
    })
    .await
}

/// The chart's right, and no other one; without it objects are published, and told what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_and_watched_by_right_and_nothing_more() -> Result<()> {
    const NODES: [Right; 2] = [("", "nodes", "", &["list", "watch"]), ("", "nodes", "proxy", &[])];
    const NOTHING: [Right; 1] = [("", "nodes", "", &[])];
    scenario_that_sees_nodes(async |s| {
        let operator = Who::account(NAMESPACE);
        operator.may_exactly(&s.client, "default", &NODES).await?;
        s.operator.terminate(SOON).await?;
        let binding = format!("{SERVICE_ACCOUNT}-{NAMESPACE}-nodes");
        s.cluster.kubectl(["delete", "clusterrolebinding", &binding]).await?;
        let gone = async || {
            Ok(operator.may_exactly_now(&s.client, "default", &NOTHING).await?.then_some(()))
        };
        multiarch_e2e::await_condition::await_some("the right is gone", SOON, gone).await?;
        let blind: Operator = s.replica_with("blind", &["--node-platforms"]).await?;
        s.push("app:1", &SMALL).await?;
        let app = s.apply_until(&s.spec("app", "app:1", &SMALL), "True/Succeeded").await?;
        let covered = app.condition("NodesCovered").context("no condition")?;
        assert_eq!((&*covered.status, &*covered.reason), ("Unknown", "NodesNotSeen"));
        assert!(covered.message.contains("nodePlatforms.enabled"), "{}", covered.message);
        blind.await_log("the operator lacks the right to list and watch nodes", SOON).await?;
        Ok(())
    })
    .await
}

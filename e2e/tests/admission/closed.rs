//! Where the policies do not look, and what they do not need: Kubernetes' own namespaces, the operator's own, and its maps.

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    namespace::Namespace,
};
use serde_json::{Value, json};

use crate::{
    ask::{Ask, Verdict, pod},
    entries::{Entry, key},
    stage::Stage,
};

fn refused(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refused(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn own_namespaces_are_never_looked_at_and_no_map_refuses_nothing() -> Result<()> {
    const IMAGE: &str = "registry.example.com/closed/own:1";
    let stage = Stage::new().await?;
    let entries = [(key(IMAGE), Entry::awaited("team-a/own", "").value())].into();
    // Without the probe, which would be refused in all others' namespaces as well.
    stage.map_of("0", ["", ""], &entries).await?;
    // All namespaces, and nothing passes by mistake.
    let all = json!({"pods": "Deny", "failurePolicy": "Fail", "namespaceSelector": {}});
    stage.install(&all).await?;
    stage.until_pod(IMAGE, "is refused", refused).await?;
    for namespace in [&stage.home.name, "kube-system", "kube-public", "kube-node-lease"] {
        let ask = Ask::create(namespace, &pod("tried", IMAGE));
        assert_eq!(ask.try_out(&stage.client).await?, Verdict::Passed, "{namespace}");
    }
    // The operator is not up yet, or has nothing to say.
    stage.unmap("0").await?;
    stage.until_pod(IMAGE, "passes", |verdict| *verdict == Verdict::Passed).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_chosen_namespaces_are_looked_at() -> Result<()> {
    const IMAGE: &str = "registry.example.com/closed/chosen:1";
    let stage = Stage::new().await?;
    let other = Namespace::for_pods(&stage.client, &[]).await?;
    let entries = [(key(IMAGE), Entry::awaited("team-a/chosen", "").value())].into();
    stage.map("0", &entries).await?;
    stage.install(&json!({"pods": "Deny"})).await?;
    stage.until_pod(IMAGE, "is refused", refused).await?;
    let ask = Ask::create(&other.name, &pod("tried", IMAGE));
    assert_eq!(ask.try_out(&stage.client).await?, Verdict::Passed);
    // A static Pod's mirror runs whatever is said of it; what calls itself one and is a workload is none.
    let mut mirror = pod("tried", IMAGE);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = json!("node");
    let ask = Ask::create(&stage.team.name, &mirror);
    assert_eq!(ask.try_out(&stage.client).await?, Verdict::Passed);
    other.delete().await?;
    stage.end().await
}

/// The API server finds nothing in the expressions to warn about, for none of the kinds.
#[tokio::test(flavor = "multi_thread")]
async fn no_expression_is_warned_about() -> Result<()> {
    let stage = Stage::new().await?;
    stage.install(&json!({"requireManaged": true})).await?;
    for policy in ["coverage", "managed"].map(|of| stage.policy(of)) {
        let get = ["get", "validatingadmissionpolicy", &policy, "--output=json"];
        let checked = async || {
            let text = stage.cluster.kubectl(get).await?;
            let of: Value = serde_json::from_str(&text)?;
            Ok(of["status"].get("typeChecking").is_some().then_some(of))
        };
        let of = await_some("its expressions are checked", SOON, checked).await?;
        assert_eq!(of["status"]["typeChecking"], json!({}), "{policy}");
    }
    stage.end().await
}

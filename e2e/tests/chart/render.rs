//! What each set of values renders is what Kubernetes takes: by helm's lint, by its schemas, and by admission.

use std::{collections::BTreeSet, fs, process::Stdio};

use anyhow::{Context, Result, bail};
use clap::Parser;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::{tool, workspace},
    cluster::Cluster,
    helm::{Helm, chart},
    namespace::Namespace,
};
use multiarch_operator::args::Args;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    cases::cases,
    own::cluster,
    schemas,
    yaml::{self, args, of_kind, parse, render, render_case},
};

#[tokio::test]
async fn helm_finds_nothing_to_mend() -> Result<()> {
    let (helm, folder) = (Helm::new()?, tempfile::tempdir()?);
    for (name, values) in cases() {
        let file = folder.path().join(name);
        fs::write(&file, values.to_string())?;
        let (chart, file) = (chart(), file.display().to_string());
        let chart = chart.display().to_string();
        helm.run(["lint", "--strict", "--values", &file, &chart]).await.context(name)?;
    }
    Ok(())
}

/// A cluster that knows the Prometheus operator's kinds.
async fn monitored() -> Result<(std::sync::Arc<Cluster>, Client)> {
    let cluster = cluster().await?;
    let crds = tool("monitoring-crds")?.display().to_string();
    cluster.kubectl(["apply", "--server-side", "--filename", &crds]).await?;
    let client = cluster.client().await?;
    let kinds = ["PodMonitor", "ServiceMonitor", "PrometheusRule"];
    let kinds = kinds.map(|kind| ("monitoring.coreos.com/v1".to_owned(), kind.to_owned()));
    let folder = tempfile::tempdir()?;
    let known = async || {
        let written = schemas::write(&client, &kinds.clone().into(), folder.path()).await;
        Ok(written.is_ok().then_some(()))
    };
    await_some("the kinds of the Prometheus operator are described", SOON, known).await?;
    Ok((cluster, client))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_set_conforms_to_the_schemas() -> Result<()> {
    let (_cluster, client) = monitored().await?;
    let folder = tempfile::tempdir()?;
    let (mut kinds, mut all) = (BTreeSet::new(), Vec::new());
    for (name, values) in cases() {
        for object in render_case(name, &values).await {
            let word = |key: &str| object[key].as_str().unwrap().to_owned();
            kinds.insert((word("apiVersion"), word("kind")));
            all.push(object);
        }
    }
    for kind in [
        "Deployment",
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
        "NetworkPolicy",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ] {
        assert!(kinds.iter().any(|(_, of)| of == kind), "no set has a {kind}");
    }
    schemas::write(&client, &kinds, folder.path()).await?;
    let conform = async |objects: &[Value]| kubeconform(folder.path(), objects).await;
    let said = conform(&all).await?;
    assert!(said.contains(&format!("Valid: {}, Invalid: 0, Errors: 0, Skipped: 0", all.len())));

    // It would tell a field that there is not, at any depth.
    let mut wrong = all.iter().find(|object| object["kind"] == "Deployment").unwrap().clone();
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["pth"] =
        json!("/");
    let told = conform(&[wrong]).await.unwrap_err().to_string();
    assert!(told.contains("pth"), "{told}");
    Ok(())
}

async fn kubeconform(schemas: &std::path::Path, objects: &[Value]) -> Result<String> {
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    let text: Vec<_> = objects.iter().map(ToString::to_string).collect();
    fs::write(file.path(), text.join("\n---\n"))?;
    let output = Command::new(tool("kubeconform")?)
        .args(["-strict", "-summary", "-schema-location"])
        .arg(schemas.join(schemas::TEMPLATE))
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}

/// By the API server's own strict reading, with its defaults and rules: also what no schema says.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_each_set() -> Result<()> {
    let (cluster, client) = monitored().await?;
    // Dry runs need the namespaces that objects are in.
    let namespace = Namespace::create(&client).await?;
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    for (name, values) in cases() {
        let mut objects = render_case(name, &values).await;
        for object in &mut objects {
            if object["metadata"].get("namespace").is_some() {
                object["metadata"]["namespace"] = json!(namespace.name);
            }
        }
        // The CRD is the tests' own; Pods need a ServiceAccount, and are tried below.
        objects.retain(|object| {
            object["kind"] != "CustomResourceDefinition" && object["kind"] != "Pod"
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(file.path(), list.to_string())?;
        let path = file.path().display().to_string();
        let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server"];
        let how = ["--validate=strict", "--namespace", &namespace.name, "--filename", &path];
        cluster.kubectl(apply.into_iter().chain(how)).await.context(name)?;
    }
    namespace.delete().await
}

/// A namespace that enforces the restricted Pod Security Standard takes its Pods, those of `helm test` included.
#[tokio::test(flavor = "multi_thread")]
async fn its_pods_are_restricted() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client().await?;
    let restricted = [("pod-security.kubernetes.io/enforce", "restricted")];
    let namespace = Namespace::for_pods(&client, &restricted).await?;
    let mut tried = 0;
    for (name, values) in cases() {
        // Whether the ServiceAccount, priority and so on are there is not the question here.
        let values = yaml::merged(&values, &json!({"priorityClassName": ""}));
        let objects = render_case(name, &values).await;
        let templates = of_kind(&objects, "Deployment");
        let templates = templates.into_iter().map(|of| of["spec"]["template"].clone());
        let checks = of_kind(&objects, "Pod").into_iter().cloned();
        for mut pod in templates.chain(checks) {
            pod["metadata"] = json!({"name": "tried"});
            admitted(&client, &namespace.name, pod).await.context(name)?;
            tried += 1;
        }
    }
    assert!(tried > 2 * cases().len(), "{tried}");

    // It is enforced.
    let values = json!({"securityContext": {"allowPrivilegeEscalation": true}});
    let objects = render(&values).await;
    let pod = of_kind(&objects, "Deployment")[0]["spec"]["template"].clone();
    let pod = yaml::merged(&pod, &json!({"metadata": {"name": "tried"}}));
    let refused = admitted(&client, &namespace.name, pod).await.unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity"), "{refused}");
    namespace.delete().await
}

/// Has the API server try to create the Pod.
async fn admitted(client: &Client, namespace: &str, mut pod: Value) -> Result<()> {
    // The one that every namespace has, soon after it was made.
    pod["spec"]["serviceAccountName"] = json!("default");
    let pod: Pod = serde_json::from_value(pod)?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&dry, &pod).await.map_err(|error| anyhow::anyhow!("{error}")).map(drop)
}

/// The CRDs of the chart are those of crds/, and kept where that is asked.
#[tokio::test]
async fn the_crds_are_those_that_the_types_generate() {
    let ours = ["multiarchimages", "multiarchimagesets"]
        .map(|name| parse(&yaml::read(&workspace().join(format!("crds/{name}.yaml")))));
    for keep in [true, false] {
        let objects = render(&json!({"crds": {"keep": keep}})).await;
        let crds = of_kind(&objects, "CustomResourceDefinition");
        assert_eq!(crds.len(), ours.len());
        for ours in &ours {
            let name = &ours["metadata"]["name"];
            let crd = crds.iter().find(|crd| crd["metadata"]["name"] == *name).unwrap();
            assert!(yaml::plain(&crd["spec"]) == yaml::plain(&ours["spec"]), "{name} differs");
            let policy = &crd["metadata"]["annotations"]["helm.sh/resource-policy"];
            assert_eq!(policy.as_str(), keep.then_some("keep"));
        }
    }
    let objects = render(&json!({"crds": {"enabled": false}})).await;
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty());
}

/// The operator understands the flags of each set, and those of `helm test` are the same.
#[tokio::test]
async fn the_operator_takes_the_flags() {
    for (name, values) in cases() {
        let objects = render_case(name, &values).await;
        let (deployments, checks) = (of_kind(&objects, "Deployment"), of_kind(&objects, "Pod"));
        assert_eq!(deployments.len(), checks.len(), "{name}");
        for (deployment, check) in deployments.iter().zip(checks) {
            let flags = args(&deployment["spec"]["template"]["spec"]);
            let program = || ["multiarch-operator".to_owned()].into_iter();
            let parsed = Args::try_parse_from(program().chain(flags.clone()));
            let parsed = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
            parsed.timing().unwrap();
            assert!(parsed.command.is_none());
            let checks = args(&check["spec"]);
            assert_eq!(&checks[..flags.len()], flags, "{name}");
            let parsed = Args::try_parse_from(program().chain(checks)).unwrap();
            assert!(parsed.command.is_some(), "{name}");
        }
    }
}

/// Where nothing is said, the chart runs the operator as it runs by itself, but for two things: the election, which wants a namespace for its Lease,
/// and sets, which want rights and a second CRD. A program that somebody starts by hand, or with the rights of an older chart, has none of these; the
/// chart brings them along.
#[tokio::test]
async fn the_defaults_are_the_operators_own() {
    let objects = render(&json!({})).await;
    let flags = args(&of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]);
    let election = |flag: &String| {
        ["--leader-elect", "--leader-election-namespace", "--leader-election-lease="]
            .iter()
            .any(|of| flag == of || flag.starts_with(of) && *of != "--leader-elect")
    };
    assert!(flags.iter().any(|flag| flag == "--sets"));
    let rest = flags.into_iter().filter(|flag| !election(flag) && flag != "--sets");
    let of_chart = Args::parse_from(["multiarch-operator".to_owned()].into_iter().chain(rest));
    let of_operator = Args::parse_from(["multiarch-operator"]);
    assert_eq!(format!("{of_chart:?}"), format!("{of_operator:?}"));
}

/// No Lease, no ConfigMap that the operator writes: Helm would fight for it.
#[tokio::test]
async fn nothing_is_rendered_that_the_operator_writes() {
    for (name, values) in cases() {
        let objects = render_case(name, &values).await;
        for kind in ["Lease", "MultiArchImage", "Event", "Namespace", "Secret"] {
            assert!(of_kind(&objects, kind).is_empty(), "{name} has a {kind}");
        }
    }
}

/// Objects that one selects are the shard's own Pods, and the Service's are those of all shards, and no others.
#[tokio::test]
async fn selectors_select_their_own_pods() {
    let objects =
        render(&json!({"shards": ["a"], "metrics": {"podMonitor": {"enabled": true}}})).await;
    let fits = |selector: &Value, labels: &Value| {
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty());
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let deployments = of_kind(&objects, "Deployment");
    let pods: Vec<_> =
        deployments.iter().map(|of| &of["spec"]["template"]["metadata"]["labels"]).collect();
    let checks: Vec<_> =
        of_kind(&objects, "Pod").into_iter().map(|of| &of["metadata"]["labels"]).collect();
    let selected = |selector: &Value| {
        assert!(checks.iter().all(|labels| !fits(selector, labels)));
        pods.iter().filter(|labels| fits(selector, labels)).count()
    };
    for kind in ["Deployment", "PodDisruptionBudget"] {
        let all = of_kind(&objects, kind);
        assert_eq!(all.len(), 2);
        for object in all {
            let selector = &object["spec"]["selector"]["matchLabels"];
            assert_eq!(selected(selector), 1, "{kind}");
            assert!(selector.get("multiarch.dev/shard").is_some());
        }
    }
    assert_eq!(selected(&of_kind(&objects, "Service")[0]["spec"]["selector"]), 2);
    let monitor = &of_kind(&objects, "PodMonitor")[0]["spec"];
    assert_eq!(selected(&monitor["selector"]["matchLabels"]), 2);
    assert_eq!(monitor["podMetricsEndpoints"][0]["honorLabels"], true);
    // What the main one works on is what no shard does.
    let flags = args(&deployments[0]["spec"]["template"]["spec"]);
    assert!(flags.contains(&"--watch-label-selector=multiarch.dev/shard notin (a)".to_owned()));
}

//! The sample for Kyverno (`make kyverno`): its own CLI refuses what it should, by objects that the operator wrote.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use kube::api::ListParams;
use multiarch_e2e::{
    Scenario,
    bin::{tool, workspace},
    namespace::Namespace,
    objects::Objects,
    proxy::{Answer, Rule},
    scenario,
    spec::{Report, Spec},
};
use serde_json::{Value, json};
use tokio::process::Command;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const POLICY: &str = "multiarch-images";

/// A Pod, and what is said of it: nothing where it may start.
struct Case {
    pod: Value,
    namespace: String,
    refused: Option<Vec<String>>,
}

/// Pods with their names and images, in one namespace.
struct Pods<'a> {
    namespace: &'a str,
    cases: &'a mut Vec<Case>,
}

impl Pods<'_> {
    fn add(&mut self, spec: &Value, refused: Option<Vec<String>>) {
        let name = format!("pod-{}", self.cases.len());
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": self.namespace},
        });
        self.cases.push(Case { pod, namespace: self.namespace.to_owned(), refused });
    }

    fn starts(&mut self, image: &str) {
        self.add(&json!({"containers": [{"name": "app", "image": image}]}), None);
    }

    /// In each kind of container.
    fn is_refused(&mut self, image: &str, words: &[&str]) {
        let words: Vec<_> = [image].iter().chain(words).map(ToString::to_string).collect();
        let other = json!([{"name": "app", "image": "registry.example.com/nobodys:1"}]);
        let this = json!([{"name": "this", "image": image}]);
        self.add(&json!({"containers": this}), Some(words.clone()));
        self.add(&json!({"containers": other, "initContainers": this}), Some(words.clone()));
        self.add(&json!({"containers": other, "ephemeralContainers": this}), Some(words));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kyverno_refuses_what_is_not_published_or_not_complete() -> Result<()> {
    scenario(async |s| {
        let elsewhere = Namespace::create(&s.client).await?;
        let played = play(s, &elsewhere).await;
        elsewhere.delete().await?;
        played
    })
    .await
}

async fn play(s: &Scenario, elsewhere: &Namespace) -> Result<()> {
    s.push("app:1", &BOTH).await?;
    let mut app = s.spec("app", "app:1", &BOTH);
    app.spec["target"]["additionalTags"] = json!(["latest"]);
    let app = s.apply_until(&app, "True/Succeeded").await?;
    s.push("down:1", &BOTH).await?;
    s.apply_until(&s.spec("down", "down:1", &BOTH), "True/Succeeded").await?;
    s.registry.proxy.follow(Rule::of_all(Answer::Status(503, vec![])).path("/v2/down/"));
    s.request("down").await?;
    s.push("late:1", &BOTH[..1]).await?;
    s.apply_until(&s.spec("late", "late:1", &BOTH), "Unknown/WaitingForPlatforms").await?;
    s.push("part:1", &BOTH[..1]).await?;
    let part = s.spec("part", "part:1", &BOTH).with("publishPolicy", "Partial");
    let part = s.apply_until(&part, "True/PublishedPartial").await?;
    // Its conditions speak of the tag before.
    s.push("raised:1", &BOTH).await?;
    s.apply_until(&s.spec("raised", "raised:1", &BOTH), "True/Succeeded").await?;
    s.push("raised:2", &BOTH[..1]).await?;
    let raised = s.spec("raised", "raised:2", &BOTH);
    s.apply_until(&raised, "Unknown/WaitingForPlatforms").await?;
    // Nobody works on these: they only name what others have, or what nobody has.
    let theirs = Objects::of(&s.client, &elsewhere.name);
    let named = ["app:1", "free:1"].map(|of| (of.replace(':', "-"), s.registry.reference(of)));
    let hub = [("hub".to_owned(), "docker.io/library/nginx:latest".to_owned())];
    for (name, image) in named.into_iter().chain(hub) {
        let spec = Spec::new(&s.registry, &name, "x:1").source("amd64", "free:1-amd64", &BOTH[..1]);
        theirs.apply(&spec.with("target", json!({"image": image}))).await?;
    }

    let at = |of: &str| s.registry.reference(of);
    let of = |name: &str| format!("{}/{name}", s.namespace.name);
    let their = |name: &str| format!("{}/{name}", elsewhere.name);
    let mut cases = Vec::new();
    for namespace in [&s.namespace.name, &elsewhere.name] {
        let mut pods = Pods { namespace, cases: &mut cases };
        pods.starts(&at("app:1"));
        pods.starts(&at("app"));
        pods.starts(&at(&format!("app@{}", app.digest())));
        pods.starts(&at(&format!("app:1@{}", app.digest())));
        // Published is what counts, and not Ready.
        pods.starts(&at("down:1"));
        pods.starts(&at("raised:1"));
        pods.starts(&at("app:2"));
        pods.starts("registry.example.com/nobodys:1");
        pods.starts("nginx:1.27");
        // What was pushed there is refused to all.
        pods.is_refused(&at("part:1"), &["lacks linux/arm64", &of("part")]);
        let digest = at(&format!("part@{}", part.digest()));
        pods.is_refused(&digest, &["lacks linux/arm64", &of("part")]);
    }
    let mut ours = Pods { namespace: &s.namespace.name, cases: &mut cases };
    ours.is_refused(&at("late:1"), &["is not published yet", &of("late")]);
    ours.is_refused(&at("raised:2"), &["is not published yet", &of("raised")]);
    ours.starts(&at("free:1"));
    ours.starts("nginx");
    let mut others = Pods { namespace: &elsewhere.name, cases: &mut cases };
    others.starts(&at("late:1"));
    others.is_refused(&at("free:1"), &["is not published yet", &their("free-1")]);
    for nginx in [
        "nginx",
        "docker.io/nginx",
        "index.docker.io/library/nginx:latest",
        "Docker.io:443/library/nginx",
        "registry-1.docker.io/nginx",
        "index.docker.io:0443/nginx:latest",
    ] {
        others.is_refused(nginx, &["is not published yet", &their("hub")]);
    }

    let mut objects = s.images().list(&ListParams::default()).await?.items;
    objects.extend(theirs.api.list(&ListParams::default()).await?.items);
    let objects: Vec<_> = objects.iter().map(|it| json!(it)).collect();
    let said = kyverno(&objects, &cases, "CREATE").await?;
    for case in &cases {
        for word in case.refused.iter().flatten() {
            ensure!(said.contains(word.as_str()), "nobody says {word:?}: {said}");
        }
    }
    // A Pod that is there is not asked for the images that it has.
    for case in &mut cases {
        case.refused = None;
    }
    kyverno(&objects, &cases, "UPDATE").await?;
    // What nobody names starts; and the CLI would tell.
    kyverno(&[], &cases, "CREATE").await?;
    for case in &mut cases {
        case.refused = Some(Vec::new());
    }
    ensure!(kyverno(&[], &cases, "CREATE").await.is_err(), "the CLI compares nothing");
    Ok(())
}

/// What Kyverno's CLI says of the cases, where it is what they say.
async fn kyverno(objects: &[Value], cases: &[Case], operation: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, documents: &[Value]| {
        let text: Vec<_> = documents.iter().map(Value::to_string).collect();
        fs::write(folder.path().join(name), text.join("\n---\n"))
    };
    write("objects.yaml", objects)?;
    write("pods.yaml", &cases.iter().map(|case| case.pod.clone()).collect::<Vec<_>>())?;
    let values = json!({
        "apiVersion": "cli.kyverno.io/v1alpha1", "kind": "Values",
        "globalValues": {"request.operation": operation},
    });
    write("values.yaml", &[values])?;
    let results: Vec<_> = cases.iter().map(result).collect();
    let entry = match objects {
        [] => json!({"name": "multiarchimages", "resources": []}),
        _ => json!({"name": "multiarchimages", "resourceFiles": ["objects.yaml"]}),
    };
    let test = json!({
        "apiVersion": "cli.kyverno.io/v1alpha1",
        "kind": "Test",
        "metadata": {"name": "sample"},
        "policies": [workspace().join("examples/kyverno/policy.yaml")],
        "resources": ["pods.yaml"],
        "variables": "values.yaml",
        "globalContextEntries": [entry],
        "results": results,
    });
    write("kyverno-test.yaml", &[test])?;
    run(folder.path()).await
}

fn result(case: &Case) -> Value {
    let name = case.pod["metadata"]["name"].as_str().unwrap_or_default();
    json!({
        "policy": POLICY,
        "isValidatingPolicy": true,
        "kind": "Pod",
        "resources": [format!("{}/{name}", case.namespace)],
        "result": if case.refused.is_some() { "fail" } else { "pass" },
    })
}

async fn run(folder: &Path) -> Result<String> {
    let program = tool("kyverno").context("`make kyverno` builds it")?;
    let mut command = Command::new(program);
    command.args(["test", "--detailed-results", "--remove-color"]).arg(folder);
    command.env_clear().env("HOME", folder).stdin(Stdio::null());
    let output = command.output().await.context("failed to run kyverno")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "kyverno: {said}");
    Ok(said)
}

//! kubectl-multiarch shows, steers and waits for objects of a cluster.

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams, PostParams};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin,
    cli::{Cli, Ran},
    scenario,
    scenario::Scenario,
    spec::Report,
};
use serde_json::{Value, json};
use tokio::process::Command;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Somebody who administers the scenario's cluster.
fn somebody(s: &Scenario) -> Result<Cli> {
    let cli = Cli::new()?;
    cli.administer(&s.cluster)?;
    Ok(cli)
}

/// Runs `arguments` in the scenario's namespace.
async fn run(s: &Scenario, cli: &Cli, arguments: &[&str]) -> Result<Ran> {
    cli.run(&[arguments, &["-n", &s.namespace.name]].concat()).await
}

async fn json(s: &Scenario, cli: &Cli, arguments: &[&str]) -> Result<Value> {
    let ran = run(s, cli, &[arguments, &["-o", "json"]].concat()).await?;
    Ok(ran.json()?["items"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_shown_waited_for_and_run() -> Result<()> {
    scenario(async |s| {
        let cli = somebody(s)?;
        s.push("app:1", &BOTH[..1]).await?;
        let spec = s.spec("app", "app:1", &BOTH);
        s.apply_until(&spec, "Unknown/WaitingForPlatforms").await?;
        let late = format!("{}/app", s.namespace.name);

        // Not there yet: 2, and why.
        let ran = run(s, &cli, &["status", "app"]).await?.ended(2)?;
        assert!(ran.stdout.contains("1/2") && ran.stdout.contains("linux/arm64"), "{}", ran.stdout);
        assert!(ran.stdout.contains("source arm64   Missing"), "{}", ran.stdout);
        let shown = json(s, &cli, &["status"]).await?;
        assert_eq!(shown["coverage"]["missing"], json!(["linux/arm64"]));
        assert_eq!((&shown["ready"], &shown["covered"]), (&json!("Unknown"), &json!(false)));
        let ran = run(s, &cli, &["wait", "app", "--timeout", "0s"]).await?.ended(2)?;
        assert!(
            ran.stderr
                .contains(&format!("{late}: timed out: Ready is Unknown, WaitingForPlatforms")),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, format!("{late} timed out\n"));
        let platform = ["wait", "app", "--timeout", "0s", "--for", "platform=linux/amd64"];
        run(s, &cli, &platform).await?.ended(2)?;
        run(s, &cli, &["wait", "app", "--for", "condition=Ready=Unknown"]).await?.ended(0)?;
        // Run, and it is still not there.
        run(s, &cli, &["reconcile", "app"]).await?.ended(2)?;

        // One waits, and another one has it run.
        let waits = cli
            .command(&[
                "wait",
                "app",
                "-n",
                &s.namespace.name,
                "--for=ready",
                "--for=platform=linux/arm64",
                "--timeout=2m",
            ])?
            .spawn()?;
        s.push("app:1", &BOTH).await?;
        let ran = run(s, &cli, &["reconcile", "app"]).await?.ended(0)?;
        assert!(ran.stdout.contains("2/2"), "{}", ran.stdout);
        let waited = waits.wait_with_output().await?;
        assert_eq!(String::from_utf8(waited.stdout)?, format!("{late} condition met\n"));
        ensure!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));

        let image = s.images().get("app").await?;
        let digest = image.digest().to_owned();
        let told = async || {
            let shown = json(s, &cli, &["status", "app"]).await?;
            let events = shown["events"].as_array().cloned().unwrap_or_default();
            let told = events.iter().any(|event| event["reason"] == "IndexPublished");
            Ok(told.then_some(shown))
        };
        let shown = await_some("status shows the Event", SOON, told).await?;
        assert_eq!(shown["digest"], json!(digest));
        assert_eq!((&shown["ready"], &shown["covered"]), (&json!("True"), &json!(true)));
        run(s, &cli, &["status"]).await?.ended(0)?;
        let everywhere = cli.run(&["status", "-A"]).await?;
        assert!(everywhere.stdout.contains(&s.namespace.name), "{everywhere:?}");

        let tree = json(s, &cli, &["tree", "app"]).await?;
        assert_eq!(tree["index"]["images"][1]["platform"], "linux/arm64");
        assert_eq!(tree["index"]["images"][1]["source"], "arm64");
        let ran = run(s, &cli, &["tree", "app"]).await?.ended(0)?;
        let source = format!(
            "│   ├── amd64  {}  linux/amd64  Resolved",
            s.registry.reference("app:1-amd64")
        );
        assert!(ran.stdout.contains(&source), "{}", ran.stdout);
        assert!(ran.stdout.contains("└── tags\n    └── 1\n"), "{}", ran.stdout);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_and_stops_no_other() -> Result<()> {
    scenario(async |s| {
        let cli = somebody(s)?;
        s.push("app:1", &BOTH).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        for command in ["status", "tree", "reconcile", "wait"] {
            let ran = run(s, &cli, &[command, "misspelt", "app"]).await?.ended(1)?;
            assert!(
                ran.stderr.contains("\"misspelt\" not found")
                    || ran.stderr.contains("misspelt is not there"),
                "{command}: {}",
                ran.stderr
            );
            assert!(ran.stdout.contains("app"), "{command}: {}", ran.stdout);
        }
        let ran = run(s, &cli, &["status", "-l", "app=none"]).await?.ended(0)?;
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr),
            ("", format!("There are no MultiArchImages in {}.\n", s.namespace.name))
        );
        let ran = cli.run(&["status", "--context", "none"]).await?.ended(1)?;
        assert!(ran.stderr.contains("none"), "{}", ran.stderr);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_and_resumed_and_nothing_else_is_touched() -> Result<()> {
    scenario(async |s| {
        let cli = somebody(s)?;
        s.push("app:1", &BOTH).await?;
        let spec = s.spec("app", "app:1", &BOTH);
        let before = s.apply_until(&spec, "True/Succeeded").await?;

        let ran = run(s, &cli, &["suspend", "app"]).await?.ended(0)?;
        assert_eq!(ran.stdout, format!("{}/app suspended\n", s.namespace.name));
        let suspended = s.until_ready("app", "True/Suspended").await?;
        assert_eq!(suspended.spec.sources, before.spec.sources);
        let ours = suspended.metadata.managed_fields.iter().flatten();
        let mut ours = ours.filter(|field| field.manager.as_deref() == Some("kubectl-multiarch"));
        let fields = ours.next().and_then(|field| field.fields_v1.clone()).context("a manager")?;
        assert_eq!(fields.0, json!({"f:spec": {"f:suspend": {}}}));
        let ran = run(s, &cli, &["suspend", "--all"]).await?.ended(0)?;
        assert!(ran.stdout.ends_with("/app suspended already\n"), "{}", ran.stdout);
        // Whoever asks for a run of it is told.
        let ran = run(s, &cli, &["reconcile", "app"]).await?.ended(1)?;
        assert!(ran.stderr.contains("is suspended: resume it first"), "{}", ran.stderr);
        // What others apply stays theirs, without force.
        let parameters = PatchParams::apply("e2e");
        s.objects().api.patch("app", &parameters, &Patch::Apply(spec.object())).await?;

        run(s, &cli, &["resume", "--all"]).await?.ended(0)?;
        s.until_ready("app", "True/Succeeded").await?;
        run(s, &cli, &["status", "app"]).await?.ended(0)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_operator_runs_that_is_said() -> Result<()> {
    scenario(async |s| {
        let cli = somebody(s)?;
        s.push("app:1", &BOTH).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        s.operator.kill().await?;
        let ran = run(s, &cli, &["reconcile", "app", "--timeout", "1s"]).await?.ended(1)?;
        assert!(
            ran.stderr.contains("is an operator running that watches this namespace?"),
            "{}",
            ran.stderr
        );
        run(s, &cli, &["reconcile", "app", "--no-wait"]).await?.ended(0)?;
        s.apply(&s.spec("other", "other:1", &BOTH)).await?;
        let ran = run(s, &cli, &["status", "other"]).await?.ended(2)?;
        assert!(ran.stdout.contains("no operator has looked at it yet"), "{}", ran.stdout);
        let ran = run(s, &cli, &["wait", "other", "--timeout", "1s"]).await?.ended(2)?;
        assert!(ran.stderr.contains("no operator has looked at it yet"), "{}", ran.stderr);
        Ok(())
    })
    .await
}

/// The API server takes what was exported, and the operator finds it published already.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_adopted() -> Result<()> {
    scenario(async |s| {
        let cli = somebody(s)?;
        s.push("app:1", &BOTH).await?;
        let published = s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        let reference = s.registry.reference("app:1");
        let exported =
            run(s, &cli, &["export", &reference, "--name", "exported"]).await?.ended(0)?;
        let object: MultiArchImage =
            serde_json::from_value(serde_saphyr::from_str(&exported.stdout)?)?;
        s.objects().api.delete("app", &kube::api::DeleteParams::default()).await?;
        s.registry.proxy.forget();
        s.objects().api.create(&PostParams::default(), &object).await?;
        let adopted = s.until_ready("exported", "True/Succeeded").await?;
        assert_eq!(adopted.digest(), published.digest());
        let writes = s
            .registry
            .proxy
            .seen()
            .into_iter()
            .filter(|seen| seen.method != "GET" && seen.method != "HEAD");
        assert_eq!(writes.count(), 0);
        run(s, &cli, &["inspect", &reference, "--platform", "linux/amd64,linux/arm64"])
            .await
            .map(drop)?;
        Ok(())
    })
    .await
}

/// kubectl finds the plugin on the PATH.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_runs_it_as_a_plugin() -> Result<()> {
    scenario(async |s| {
        let cli = somebody(s)?;
        s.push("app:1", &BOTH).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;
        let program = bin::cli()?;
        let folder = program.parent().context("a folder")?;
        let mut kubectl = Command::new(bin::tool("kubectl")?);
        kubectl.args(["multiarch", "status", "app", "-n", &s.namespace.name]);
        kubectl.env_clear().env("HOME", cli.home()).env("PATH", folder);
        let ran = kubectl.output().await?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(String::from_utf8(ran.stdout)?.contains("True    2/2         Succeeded"));
        Ok(())
    })
    .await
}

/// What the operator does with an object is what the plan of its file says, and the plan itself writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_what_the_operator_does() -> Result<()> {
    scenario(async |s| {
        let cli = somebody(s)?;
        s.push("app:1", &BOTH).await?;
        let spec = s.spec("app", "app:1", &BOTH);
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("app.json");
        std::fs::write(&file, spec.object().to_string())?;
        let plan = ["plan", "-f", file.to_str().context("a path")?, "-o", "json"];
        let planned = cli.run(&plan).await?.ended(2)?.json()?["images"][0].clone();
        assert_eq!(s.registry.digest("app:1").await?, None);
        let object = s.apply_until(&spec, "True/Succeeded").await?;
        assert_eq!(planned["digest"], json!(object.digest()));
        cli.run(&plan).await?.ended(0)?;
        Ok(())
    })
    .await
}

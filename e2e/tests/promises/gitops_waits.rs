//! Who applies a MultiArchImage and waits for it gets what it waits for, and sees no differences: Helm 4's `--wait`, `kubectl wait`, `kubectl diff`.

use std::fs;

use anyhow::{Context, Result};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    helm::{Helm, Release},
    images::Image,
    scenario,
    scenario::REQUESTED_AT,
    spec::{Report, Spec},
};
use serde_json::json;
use tempfile::TempDir;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// Longer than anything here takes that comes to an end.
const LONG: &str = "5m";
/// Of what never comes.
const SHORT: &str = "3s";

/// A chart of one MultiArchImage.
fn chart() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("Chart.yaml"), "{apiVersion: v2, name: app, version: 1.0.0}\n")?;
    fs::create_dir(folder.path().join("templates"))?;
    let image = "{{ .Values.object | toYaml }}\n";
    fs::write(folder.path().join("templates/image.yaml"), image)?;
    Ok(folder)
}

/// Installs or upgrades a release of `spec` alone, and waits for it.
async fn helm(s: &Scenario, command: &str, spec: &Spec, timeout: &str) -> Result<String> {
    helm_with(s, command, spec, &["--wait", "--timeout", timeout]).await
}

async fn helm_with(s: &Scenario, command: &str, spec: &Spec, flags: &[&str]) -> Result<String> {
    let (helm, chart) = (Helm::of(s.cluster.kubeconfig())?, chart()?);
    let values = json!({"object": spec.object()});
    let release = Release { name: &spec.name, namespace: &s.namespace.name, values: &values };
    helm.apply_of(chart.path(), command, release, flags).await
}

async fn kubectl_wait(s: &Scenario, name: &str, timeout: &str) -> Result<String> {
    let (name, timeout) = (format!("mai/{name}"), format!("--timeout={timeout}"));
    let of = ["--namespace", &s.namespace.name, "wait", &name, "--for=condition=Ready", &timeout];
    s.cluster.kubectl(of).await
}

async fn now(s: &Scenario, name: &str) -> Result<MultiArchImage> {
    s.images().get(name).await.with_context(|| format!("no {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_waits_until_it_is_published() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let app = s.spec("app", "app:1", &BOTH);
        helm(s, "install", &app, LONG).await?;
        assert_eq!(now(s, "app").await?.ready(), "True/Succeeded");
        // The one before was ready: it is the new spec that is waited for.
        s.push("app:1", &["linux/s390x"]).await?;
        let more = s.spec("app", "app:1", &["linux/amd64", "linux/arm64", "linux/s390x"]);
        helm(s, "upgrade", &more, LONG).await?;
        let upgraded = now(s, "app").await?;
        assert_eq!((upgraded.ready(), upgraded.platforms().len()), ("True/Succeeded".into(), 3));

        // A platform that is late is waited for until the time is over.
        s.push("late:1", &BOTH[..1]).await?;
        let late = s.spec("late", "late:1", &BOTH);
        let said = helm(s, "install", &late, SHORT).await.unwrap_err().to_string();
        assert!(said.contains("MultiArchImage/") && said.contains("InProgress"), "{said}");
        assert_eq!(now(s, "late").await?.ready(), "Unknown/WaitingForPlatforms");
        // As Helm 3 does, it waits for no kind that it does not know.
        helm_with(s, "upgrade", &late, &["--wait=legacy"]).await?;
        assert_eq!(now(s, "late").await?.ready(), "Unknown/WaitingForPlatforms");
        s.push("late:1", &BOTH[1..]).await?;
        s.request("late").await?;
        helm(s, "upgrade", &late, LONG).await?;

        // What a person must mend is not waited for.
        s.push("wrong:1", &BOTH[..1]).await?;
        s.registry.push("wrong:1-arm64", &Image::oci("linux/amd64", "wrong")?).await?;
        let said = helm(s, "install", &s.spec("wrong", "wrong:1", &BOTH), LONG).await;
        let said = said.unwrap_err().to_string();
        assert!(said.contains("MultiArchImage/") && said.contains("Failed"), "{said}");
        assert!(!said.contains("deadline"), "{said}");
        Ok(())
    })
    .await
}

/// What is in Git is in the cluster, whatever the operator and those who ask have written: nothing has to be ignored.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_does_not_differ() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let app = s.spec("app", "app:1", &BOTH).with("deletionPolicy", "Delete");
        let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        fs::write(file.path(), app.object().to_string())?;
        let path = file.path().to_string_lossy().into_owned();
        let namespace = s.namespace.name.as_str();
        let on = |verb: &'static str, more: &'static [&'static str]| {
            let of = ["--namespace", namespace, verb, "--filename", &path].map(ToOwned::to_owned);
            s.cluster.kubectl(of.into_iter().chain(more.iter().map(ToString::to_string)))
        };
        let server_side = &["--server-side"];
        for more in [&[][..], &server_side[..]] {
            on("apply", more).await?;
            s.until_ready("app", "True/Succeeded").await?;
            let image = s.request("app").await?;
            let annotations = image.metadata.annotations.unwrap_or_default();
            assert!(annotations.contains_key(REQUESTED_AT));
            assert!(image.metadata.finalizers.is_some_and(|it| !it.is_empty()));
            assert_eq!(on("diff", more).await?, "");
            on("apply", more).await?;
            let annotations = now(s, "app").await?.metadata.annotations.unwrap_or_default();
            assert!(annotations.contains_key(REQUESTED_AT));
        }
        // It would tell.
        fs::write(file.path(), app.with("interval", "1h").object().to_string())?;
        let told = on("diff", &[]).await;
        assert!(told.is_err(), "{told:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_waits_for_the_spec_as_it_is() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH[..1]).await?;
        let app = s.spec("app", "app:1", &BOTH);
        s.apply_until(&app, "Unknown/WaitingForPlatforms").await?;
        let said = kubectl_wait(s, "app", "1s").await.unwrap_err().to_string();
        assert!(said.contains("timed out waiting"), "{said}");
        s.push("app:1", &BOTH[1..]).await?;
        let ((), waited) = tokio::try_join!(
            async { s.request("app").await.map(drop) },
            kubectl_wait(s, "app", LONG)
        )?;
        assert!(waited.contains("condition met"), "{waited}");

        // Ready is True, of the spec before.
        s.operator.kill().await?;
        s.apply(&app.with("annotations", json!({"com.example.by": "an edit"}))).await?;
        assert!(now(s, "app").await?.is_true("Ready"));
        let said = kubectl_wait(s, "app", "1s").await.unwrap_err().to_string();
        assert!(said.contains("timed out waiting"), "{said}");
        s.operator.restart().await?;
        kubectl_wait(s, "app", LONG).await.map(drop)
    })
    .await
}

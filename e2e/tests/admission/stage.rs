//! A release with the chart's policies and maps of its own, and a namespace that they look at.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kube::Client;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    cluster::Cluster,
    helm::{Helm, Release},
    namespace::Namespace,
    operator::samples,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    ask::{Ask, Verdict, deployment, pod},
    entries::{Entries, Entry, key},
};

/// What the API server counts.
pub(crate) const CHECKS: &str = "apiserver_validating_admission_policy_check_total";
/// In each map of [`Stage::map`], and not published, so that policies are seen at work.
const PROBE: &str = "probe.example.com/probe:1";
const LABEL: &str = "e2e.multiarch.dev/of";

/// The release, which is called as its namespace is.
pub(crate) struct Stage {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) client: Client,
    /// Where the operator and its maps are.
    pub(crate) home: Namespace,
    /// Which the policies look at.
    pub(crate) team: Namespace,
}

/// What all tests share, but those that stop the API server.
async fn cluster() -> Result<Arc<Cluster>> {
    static SHARED: OnceCell<Result<Arc<Cluster>, String>> = OnceCell::const_new();
    let cluster = SHARED.get_or_init(|| async {
        let cluster = Cluster::start_with(&[
            "--feature-gates=MutatingAdmissionPolicy=true",
            "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        ]);
        let cluster = cluster.await.map_err(|error| format!("{error:#}"))?;
        keep_watching(&cluster).await.map_err(|error| format!("{error:#}"))?;
        Ok(Arc::new(cluster))
    });
    cluster.await.clone().map_err(|error| anyhow!("{error}"))
}

/// Has the API server watch ConfigMaps for the life of the cluster, whatever policies come and go, as the chart does for what is installed once more.
pub(crate) async fn keep_watching(cluster: &Cluster) -> Result<()> {
    let values = json!({"admission": {"enabled": true}});
    let release = Release { name: "kept", namespace: "kept", values: &values };
    let text = Helm::new()?.template(release, &["admission-watch.yaml"]).await?;
    cluster.apply_text(&text).await
}

impl Stage {
    /// Its namespaces.
    pub(crate) async fn new() -> Result<Self> {
        Self::on(cluster().await?).await
    }

    /// The same on a cluster of one's own.
    pub(crate) async fn on(cluster: Arc<Cluster>) -> Result<Self> {
        let client = cluster.client().await?;
        let home = Namespace::create(&client).await?;
        let team = Namespace::for_pods(&client, &[(LABEL, &home.name)]).await?;
        Ok(Self { cluster, client, home, team })
    }

    /// One more that the policies look at.
    pub(crate) async fn another(&self) -> Result<Namespace> {
        Namespace::for_pods(&self.client, &[(LABEL, &self.home.name)]).await
    }

    /// The map `name` of all keys, with the probe.
    pub(crate) async fn map(&self, name: &str, entries: &Entries) -> Result<()> {
        let mut entries = entries.clone();
        entries.insert(key(PROBE), Entry::awaited("team-a/probe", "").value());
        self.map_of(name, ["", ""], &entries).await
    }

    /// The map `name` of the keys from the first of `range` to its second.
    pub(crate) async fn map_of(
        &self,
        name: &str,
        range: [&str; 2],
        entries: &Entries,
    ) -> Result<()> {
        self.cluster.apply_text(&map(&self.home.name, name, range, entries).to_string()).await
    }

    /// Deletes a map.
    pub(crate) async fn unmap(&self, name: &str) -> Result<()> {
        let name = format!("multiarch-coverage-{name}");
        let delete = ["delete", "configmap", &name, "--namespace", &self.home.name];
        self.cluster.kubectl(delete).await.map(drop)
    }

    /// The policies that the chart makes of `admission`, for the namespaces of this stage where it says nothing else.
    pub(crate) async fn render(&self, admission: &Value) -> Result<String> {
        let chosen = json!({"matchLabels": {LABEL: self.home.name}});
        let mut all = json!({"enabled": true, "namespaceSelector": chosen});
        for (key, value) in admission.as_object().context("no values")? {
            all[key] = value.clone();
        }
        let values = json!({"fullnameOverride": self.home.name, "admission": all});
        let release =
            Release { name: &self.home.name, namespace: &self.home.name, values: &values };
        Helm::new()?.template(release, &["admission.yaml"]).await
    }

    /// Installs them.
    pub(crate) async fn install(&self, admission: &Value) -> Result<()> {
        self.cluster.apply_text(&self.render(admission).await?).await
    }

    /// Waits until the bindings of `of` (`pods`, `workloads`) are at work, by the map's probe.
    pub(crate) async fn until_at_work(&self, of: &[&str]) -> Result<()> {
        for of in of {
            let probe =
                if *of == "pods" { pod("probe", PROBE) } else { deployment("probe", PROBE) };
            let ask = Ask::create(&self.team.name, &probe);
            let at_work = async || {
                // Another release may look at all namespaces.
                let ours = self.policy("coverage");
                let seen = match ask.try_out(&self.client).await? {
                    Verdict::Warned(said) | Verdict::Refused(said) => said.contains(&ours),
                    Verdict::Passed => self.checks("audit", Some(of)).await? > 0.0,
                };
                Ok(seen.then_some(()))
            };
            await_some(&format!("the policy looks at {of}"), SOON, at_work).await?;
        }
        Ok(())
    }

    /// The name of a policy: `coverage`, `managed`.
    pub(crate) fn policy(&self, of: &str) -> String {
        format!("{}-{of}.multiarch.dev", self.home.name)
    }

    /// How often the policies of this release, or one binding of `coverage`, did `action` (`audit`, `allow`).
    pub(crate) async fn checks(&self, action: &str, binding: Option<&str>) -> Result<f64> {
        let request = axum::http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client.request_text(request).await.context("no metrics")?;
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(CHECKS)).collect();
        let binding = binding.map(|of| self.policy(&format!("coverage-{of}")));
        let ours = samples(&lines.join("\n"))?.into_iter().filter(|sample| {
            let is =
                |label: &str, value: &str| sample.labels.get(label).is_some_and(|of| of == value);
            (is("policy", &self.policy("coverage")) || is("policy", &self.policy("managed")))
                && is("enforcement_action", action)
                && binding.as_ref().is_none_or(|of| is("policy_binding", of))
        });
        Ok(ours.map(|sample| sample.value).sum())
    }

    /// What becomes of a Pod of `image` in the chosen namespace.
    pub(crate) async fn pod(&self, image: &str) -> Result<Verdict> {
        Ask::create(&self.team.name, &pod("tried", image)).try_out(&self.client).await
    }

    /// Waits until a Pod of `image` is refused, or passes.
    pub(crate) async fn until_pod(
        &self,
        image: &str,
        what: &str,
        is: impl Fn(&Verdict) -> bool,
    ) -> Result<()> {
        let settled = async || Ok(is(&self.pod(image).await?).then_some(()));
        await_some(&format!("a Pod of {image} {what}"), SOON, settled).await
    }

    /// Removes what is of the cluster, and the namespaces.
    pub(crate) async fn end(self) -> Result<()> {
        self.cluster.delete_policies(&self.home.name).await?;
        self.home.delete().await?;
        self.team.delete().await
    }
}

/// A map as the operator writes it.
pub(crate) fn map(home: &str, name: &str, [from, to]: [&str; 2], entries: &Entries) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": format!("multiarch-coverage-{name}"), "namespace": home,
            "labels": {"multiarch.dev/coverage": "true"},
            "annotations": {"multiarch.dev/from": from, "multiarch.dev/to": to},
        },
        "data": entries,
    })
}

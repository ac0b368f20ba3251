//! The stage of a release whose Pods run: a node, a registry that has the operator's image and what its objects name, and helm.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, api::ListParams};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::await_some,
    helm::{Helm, Release},
    images::Image,
    node::{self, NodeCluster, NodeRegistry},
    objects::Objects,
    proxy::Seen,
    registry::{Registry, Setup},
    scenario::show,
    spec::{Report, Spec},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::guest::{self, apply, container};

/// The name of the release.
pub(crate) const NAME: &str = "multiarch-operator";
/// Its namespace.
pub(crate) const SYSTEM: &str = "multiarch-system";
/// How long Pods and those who lead may take. It is generous: a busy machine is no bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The same for helm.
pub(crate) const WAIT: [&str; 2] = ["--wait", "--timeout=3m"];

/// What a test plays with.
pub(crate) struct Stage {
    pub(crate) node: Arc<NodeCluster>,
    pub(crate) client: Client,
    pub(crate) helm: Helm,
    pub(crate) registry: NodeRegistry,
    pub(crate) folder: TempDir,
}

impl Stage {
    /// One on `node`; the operator's image has these `tags`.
    pub(crate) async fn on(node: Arc<NodeCluster>, tags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let registry = node.registry(&folder.path().join("registry"), &Setup::default()).await?;
        for tag in tags {
            registry.push_operator(tag).await?;
        }
        let (client, helm) = (node.cluster.client().await?, Helm::of(node.cluster.kubeconfig())?);
        Ok(Self { node, client, helm, registry, folder })
    }

    /// A namespace that enforces the restricted Pod Security Standard.
    pub(crate) async fn restricted(&self, name: &str) -> Result<()> {
        guest::namespace(&self.node.cluster, name).await?;
        let label = ["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"];
        self.node.cluster.kubectl(label).await.map(drop)
    }

    /// The objects of `namespace`.
    pub(crate) fn objects(&self, namespace: &str) -> Objects {
        Objects::of(&self.client, namespace).within(PATIENCE)
    }

    /// An object that publishes `target` (repository:tag) out of two images, which are pushed; the one for this machine runs.
    pub(crate) async fn spec(&self, name: &str, target: &str) -> Result<Spec> {
        spec_in(&self.registry.registry, &self.registry.host, name, target).await
    }

    /// The Pods of the release in `namespace` that are not about to go, by name.
    pub(crate) async fn pods(&self, namespace: &str) -> Result<BTreeSet<String>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let ours = ListParams::default().labels("app.kubernetes.io/name=multiarch-operator");
        let pods = pods.list(&ours).await.context("failed to list Pods")?;
        let stay = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(stay.filter_map(|pod| pod.metadata.name).collect())
    }

    /// Waits until one of the Pods of [`SYSTEM`] leads, other than those of `before`; its name.
    pub(crate) async fn leader(&self, before: &BTreeSet<String>) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), SYSTEM);
        let leads = async || {
            let lease = leases.get_opt(NAME).await.context("failed to get the Lease")?;
            let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
            // Its identity begins with its host name, which is the Pod's.
            let pod = holder.split('_').next().unwrap_or_default().to_owned();
            let is_new = !before.contains(&pod) && self.pods(SYSTEM).await?.contains(&pod);
            Ok(is_new.then_some(pod))
        };
        await_some("one of the Pods leads", PATIENCE, leads).await
    }

    /// What was asked of the registry that is not only reading.
    pub(crate) fn writes(&self) -> Vec<Seen> {
        let seen = self.registry.registry.proxy.seen().into_iter();
        seen.filter(|seen| !matches!(&*seen.method, "GET" | "HEAD")).collect()
    }

    /// Has `helm test` check the release: nothing is missing.
    pub(crate) async fn passes(&self, name: &str, namespace: &str) -> Result<()> {
        let test = ["test", name, "--namespace", namespace, "--logs", "--timeout=3m"];
        let said = self.helm.run(test).await?;
        ensure!(said.contains("Succeeded"), "{said}");
        ensure!(said.contains("ok       it serves multiarchimages in"), "no log: {said}");
        ensure!(!said.contains("MISSING"), "{said}");
        Ok(())
    }

    /// A Pod of `namespace` starts out of what `reference` names, and stays.
    pub(crate) async fn runs(&self, namespace: &str, name: &str, reference: &str) -> Result<()> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [container("app", reference, &["serve"])]},
        });
        let cluster = &self.node.cluster;
        apply(cluster, self.folder.path(), namespace, &pod).await?;
        let pod = format!("pod/{name}");
        let ready = ["wait", "--for=condition=Ready", &pod, "--timeout=90s"];
        cluster.kubectl(["--namespace", namespace].into_iter().chain(ready)).await.map(drop)
    }

    /// Plays `play`; where that fails, all is shown that Kubernetes, the operator and the registry say.
    pub(crate) async fn play(&self, play: impl Future<Output = Result<()>>) -> Result<()> {
        let played = AssertUnwindSafe(play).catch_unwind().await;
        if !matches!(played, Ok(Ok(()))) {
            self.show().await;
        }
        played.unwrap_or_else(|panic| resume_unwind(panic))
    }

    #[expect(
        clippy::print_stderr,
        reason = "the test harness captures it, and shows it of the tests that fail"
    )]
    async fn show(&self) {
        let all = "pods,deployments,leases,multiarchimages";
        let ours = "--selector=app.kubernetes.io/name=multiarch-operator";
        for arguments in [
            &["get", all, "--all-namespaces", "--output=wide"][..],
            &["get", "events.v1.events.k8s.io", "--all-namespaces"],
            &["logs", ours, "--all-containers", "--prefix", "--tail=40", "--namespace", SYSTEM],
        ] {
            let said = self.node.cluster.kubectl(arguments).await;
            eprintln!("--- {}", arguments.join(" "));
            eprintln!("{}", said.unwrap_or_else(|error| format!("{error:#}")));
        }
        show(&self.registry.registry);
    }
}

/// The same in a registry that pods reach as `host`.
pub(crate) async fn spec_in(
    registry: &Registry,
    host: &str,
    name: &str,
    target: &str,
) -> Result<Spec> {
    let ours = node::platform();
    let other = if ours == "linux/arm64" { "linux/amd64" } else { "linux/arm64" };
    let (runs, other_runs_not) = (node::guest()?, Image::oci(other, target)?);
    let spec = [(&*ours, runs), (other, other_runs_not)].into_iter();
    let mut spec_of = Spec::at(host, name, target);
    for (platform, image) in spec {
        let (_, architecture) = platform.split_once('/').context("a platform without os")?;
        let source = format!("{target}-{architecture}");
        registry.push(&source, &image).await?;
        spec_of = spec_of.source(architecture, &source, &[platform]);
    }
    Ok(spec_of)
}

/// A release in [`SYSTEM`].
pub(crate) fn release(values: &Value) -> Release<'_> {
    Release { name: NAME, namespace: SYSTEM, values }
}

/// Fails unless `now` is what `before` was, but for what was asked of it meanwhile.
pub(crate) fn is_the_same(now: &MultiArchImage, before: &MultiArchImage) {
    assert_eq!(now.ready(), "True/Succeeded");
    assert_eq!(now.metadata.uid, before.metadata.uid);
    assert_eq!(now.metadata.generation, before.metadata.generation);
    assert_eq!(now.digest(), before.digest());
    let since =
        |image: &MultiArchImage| image.condition("Ready").map(|it| it.last_transition_time.clone());
    assert_eq!(since(now), since(before));
}

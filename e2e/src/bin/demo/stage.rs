//! Where it plays: on a node, with the chart, or where this machine cannot have one, with the operator as a process of it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use multiarch_e2e::{
    await_condition::SOON,
    bin::workspace,
    cluster::Cluster,
    helm::{Helm, Release, chart},
    images::Image,
    node::{self, NodeCluster},
    operator::{NAMESPACE as SYSTEM, Operator, SERVICE_ACCOUNT as NAME},
    registry::{Registry, Setup, Storage},
};

use crate::{NAMESPACE, say, told};

/// The operator's tag in the demo's registry.
const TAG: &str = "demo";

/// What it plays with.
pub(crate) struct Stage {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) registry: Registry,
    /// The registry's host in objects.
    pub(crate) host: String,
    operator: Runs,
    run: PathBuf,
}

/// How the operator runs.
enum Runs {
    Pods,
    Process(Operator),
}

impl Stage {
    /// Sets it, in `folder`.
    pub(crate) async fn set(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).context("failed to make .demo")?;
        match node::missing().await? {
            None => Self::with_a_node(folder).await,
            Some(missing) => {
                say(
                    "A node (kubelet, containerd) cannot run on this machine. So the operator is a process here, without image and chart's Pods",
                );
                missing.lines().for_each(told);
                Self::without_a_node(folder).await
            }
        }
    }

    async fn with_a_node(folder: &Path) -> Result<Self> {
        say(
            "Starting Kubernetes: etcd, API server, controllers, and a node with kubelet and containerd",
        );
        let node = NodeCluster::start_in(&folder.join("cluster")).await?;
        let run = fresh(folder.join("run"))?;
        let registry = node.registry(&run, &Setup::default()).await?;
        let cluster = Arc::clone(&node.cluster);
        cluster.kubectl(["create", "namespace", NAMESPACE]).await?;

        say(&format!(
            "Starting a registry, which the node knows as {}, with the operator's image",
            registry.host
        ));
        registry.push_operator(TAG).await?;
        say("Installing the chart. Its two replicas start on the node; one of them works");
        let helm = Helm::of(cluster.kubeconfig())?;
        let values = registry.values(TAG);
        let release = Release { name: NAME, namespace: SYSTEM, values: &values };
        told(&format!(
            "helm install {NAME} charts/multiarch-operator --namespace {SYSTEM} --create-namespace --wait"
        ));
        helm.apply("install", release, &["--create-namespace", "--wait", "--timeout=3m"]).await?;
        shown(&cluster, &["get", "pods", "--namespace", SYSTEM]).await?;
        told(&format!("helm test {NAME} --namespace {SYSTEM} --logs"));
        let test = ["test", NAME, "--namespace", SYSTEM, "--logs", "--timeout=3m"];
        let said = helm.run(test).await?;
        let findings =
            said.lines().filter(|line| line.starts_with("ok ") || line.starts_with("MISSING"));
        findings.for_each(told);
        let (registry, host) = (registry.registry, registry.host);
        Ok(Self { cluster, registry, host, operator: Runs::Pods, run })
    }

    async fn without_a_node(folder: &Path) -> Result<Self> {
        say(
            "Starting a Kubernetes control plane (etcd, API server, controllers) with the CRD and the operator's RBAC",
        );
        let cluster = Cluster::start_in(&folder.join("cluster"), &workspace().join("crds")).await?;
        // Whoever holds the cluster's folder may clean up beside it.
        let run = fresh(folder.join("run"))?;
        cluster.kubectl(["create", "namespace", NAMESPACE]).await?;
        let registry = Registry::start(&run, None, Storage::Memory).await?;
        let host = registry.host().to_owned();
        say(&format!("Starting a registry, {host}, and the operator, as its own ServiceAccount"));
        let operator = Operator::start(&cluster, &run, Some(NAMESPACE)).await?;
        let (cluster, operator) = (Arc::new(cluster), Runs::Process(operator));
        Ok(Self { cluster, registry, host, operator, run })
    }

    /// The image that a build for `platform` pushes as `name`: one that the node can run, where it is for this machine.
    pub(crate) fn image(&self, platform: &str, name: &str) -> Result<Image> {
        match self.operator {
            Runs::Pods if platform == node::platform() => node::guest(),
            _ => Image::oci(platform, name),
        }
    }

    /// Starts a Pod of `reference`, where there is a node.
    pub(crate) async fn start(&self, reference: &str) -> Result<()> {
        if let Runs::Process(_) = self.operator {
            return Ok(());
        }
        say(
            "A Pod of the published tag starts on the node, which takes the image of its own platform",
        );
        told(&format!("kubectl run app --image={reference} -- serve"));
        let image = format!("--image={reference}");
        let within = ["--namespace", NAMESPACE];
        let run = ["run", "app", &image, "--", "serve"];
        self.cluster.kubectl(within.into_iter().chain(run)).await?;
        let ready = ["wait", "--for=condition=Ready", "pod/app", "--timeout=90s"];
        self.cluster.kubectl(within.into_iter().chain(ready)).await?;
        shown(&self.cluster, &["get", "pods", "--namespace", NAMESPACE]).await
    }

    /// The end of the operator's log.
    pub(crate) async fn logs(&self) -> String {
        let logs = match &self.operator {
            Runs::Process(operator) => operator.logs(),
            Runs::Pods => {
                let label = "--selector=app.kubernetes.io/name=multiarch-operator";
                let logs = ["logs", label, "--prefix", "--tail=10", "--namespace", SYSTEM];
                self.cluster.kubectl(logs).await
            }
        };
        let logs = logs.unwrap_or_default();
        let tail: Vec<_> = logs.lines().rev().take(20).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n  ")
    }

    /// What a person can do with the operator.
    pub(crate) fn commands(&self) -> Vec<String> {
        match self.operator {
            Runs::Process(_) => {
                vec![format!("tail -f {}", self.run.join("operator-1.log").display())]
            }
            Runs::Pods => vec![
                format!("kubectl logs --follow deployment/{NAME} --all-pods --namespace {SYSTEM}"),
                format!("alias helm={}", workspace().join(".build/bin/helm").display()),
                format!(
                    "helm upgrade {NAME} {} --namespace {SYSTEM} --reuse-values --set logLevel=debug --wait",
                    chart().display()
                ),
            ],
        }
    }

    /// Ends it.
    pub(crate) async fn end(self) -> Result<()> {
        match self.operator {
            Runs::Process(mut operator) => operator.terminate(SOON).await.map(drop),
            // The Pods end with their node.
            Runs::Pods => Ok(()),
        }
    }
}

async fn shown(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    told(&format!("kubectl {}", arguments.join(" ")));
    cluster.kubectl(arguments).await?.lines().for_each(told);
    Ok(())
}

fn fresh(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to remove what an earlier run left")?;
    }
    fs::create_dir_all(&folder).context("failed to make a folder")?;
    Ok(folder)
}

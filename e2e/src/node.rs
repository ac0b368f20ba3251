//! A cluster whose pods run: the control plane with a kubelet and containerd in namespaces of their own, where the machine can have them.

use std::{
    env,
    env::consts::ARCH,
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{process::Command, sync::OnceCell};

use crate::{
    bin::{image, tool},
    cluster::Cluster,
    images::Image,
    peers::push_archive,
    registry::{Registry, Setup},
};

/// Set to `required` where a machine that cannot have a node is a failure, as in CI.
pub const SWITCH: &str = "MULTIARCH_E2E_NODE";

/// The operator's repository in a registry of the host.
const OPERATOR: &str = "mirror/multiarch-operator";

/// A cluster with one node, and nothing of ours applied.
#[derive(Debug)]
pub struct NodeCluster {
    /// The cluster; `kubectl logs` and `exec` work.
    pub cluster: Arc<Cluster>,
    whereabouts: Whereabouts,
    folder: PathBuf,
}

/// What `cluster up --node` says of its node.
#[derive(Clone, Debug, Deserialize)]
pub struct Whereabouts {
    /// The host, as the node and its pods reach it.
    pub host: IpAddr,
    /// All names below it are the host's, to the node and its pods.
    pub domain: String,
    /// The host's end of the veth pair.
    pub link: String,
    /// The cgroup that all of the node's are below of.
    pub cgroup: String,
}

/// A registry of the host that the node pulls from, and pods reach.
#[derive(Debug)]
pub struct NodeRegistry {
    /// As the test itself reaches it.
    pub registry: Registry,
    /// Its host to the node and its pods.
    pub host: String,
}

impl NodeCluster {
    /// The one that all tests of this program share; `None`, said loudly for `test`, where this machine cannot have a node.
    pub async fn shared(test: &str) -> Result<Option<Arc<Self>>> {
        static SHARED: OnceCell<Result<Arc<NodeCluster>, String>> = OnceCell::const_new();
        if !can_run(test).await? {
            return Ok(None);
        }
        let cluster = SHARED.get_or_init(|| async {
            Self::start().await.map(Arc::new).map_err(|error| format!("{error:#}"))
        });
        cluster.await.clone().map(Some).map_err(|error| anyhow!("{error}"))
    }

    /// Starts one. Ask [`can_run`] before.
    pub async fn start() -> Result<Self> {
        Self::of(Cluster::start_node().await?)
    }

    /// The same in `folder`, which is kept.
    pub async fn start_in(folder: &Path) -> Result<Self> {
        Self::of(Cluster::start_node_in(folder).await?)
    }

    fn of(cluster: Cluster) -> Result<Self> {
        let folder = cluster.kubeconfig().parent().context("a kubeconfig in no folder")?;
        let folder = folder.to_owned();
        let file = folder.join("node.json");
        let text = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        let whereabouts = serde_json::from_slice(&text).context("failed to read node.json")?;
        Ok(Self { cluster: Arc::new(cluster), whereabouts, folder })
    }

    /// Where its node is.
    #[must_use]
    pub fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    /// The folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a registry as `setup` says, which the node and its pods reach as `registry.example.com:port`, at a port of the
    /// kernel's. Its files lie in `folder`. Certificates must be for that name and for the host's address.
    pub async fn registry(&self, folder: &Path, setup: &Setup<'_>) -> Result<NodeRegistry> {
        let at = SocketAddr::new(self.whereabouts.host, 0);
        let registry = Registry::start_as(folder, &Setup { at: Some(at), ..*setup }).await?;
        let (_, port) = registry.host().rsplit_once(':').context("a registry without port")?;
        let host = format!("registry.{}:{port}", self.whereabouts.domain);
        // What containerd is told of a registry: that it has no TLS, or by whose CA. TOML quotes as JSON does.
        let (scheme, ca) = match setup.wire.certificates() {
            None => ("http", String::new()),
            Some(certificates) => {
                let ca = folder.join("node-ca.crt");
                fs::write(&ca, &certificates.ca).context("failed to write a CA")?;
                ("https", format!("ca = {}\n", json!(ca)))
            }
        };
        let told =
            format!("server = \"{scheme}://{host}\"\n{ca}[host.\"{scheme}://{host}\"]\n{ca}");
        let of_containerd = self.folder.join("registries").join(&host);
        fs::create_dir_all(&of_containerd).context("failed to make a folder for containerd")?;
        fs::write(of_containerd.join("hosts.toml"), told).context("failed to write hosts.toml")?;
        Ok(NodeRegistry { registry, host })
    }
}

impl NodeRegistry {
    /// `repository:tag` (or `@digest`) as pods and objects of the cluster name it.
    #[must_use]
    pub fn reference(&self, of: &str) -> String {
        format!("{}/{of}", self.host)
    }

    /// Pushes the operator's image of this build under `tag`.
    pub async fn push_operator(&self, tag: &str) -> Result<()> {
        let archive = image()?.join("image.tar");
        push_archive(&self.registry, &archive, &format!("{OPERATOR}:{tag}")).await
    }

    /// Values of the chart by which that is pulled, and objects may name registries without TLS.
    #[must_use]
    pub fn values(&self, tag: &str) -> Value {
        json!({
            "image": {"registry": self.host, "repository": OPERATOR, "tag": tag},
            "insecureAllowHTTP": true,
        })
    }
}

/// The platform of this machine, and so of its node.
#[must_use]
pub fn platform() -> String {
    let architecture = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

/// An image that runs on it: of the program `guest`, which tells what it can do.
pub fn guest() -> Result<Image> {
    Image::program(&platform(), &fs::read(tool("guest")?).context("failed to read guest")?)
}

/// Whether this machine can have a node. Where it cannot, all that is missing is said, so that nobody takes `test` for one that ran: past
/// the test runner, which shows what a test prints only when it fails.
pub async fn can_run(test: &str) -> Result<bool> {
    static MISSING: OnceCell<Result<Option<String>, String>> = OnceCell::const_new();
    let missing = MISSING
        .get_or_init(|| async { missing().await.map_err(|error| format!("{error:#}")) })
        .await
        .clone()
        .map_err(|error| anyhow!("{error}"))?;
    let Some(missing) = missing else { return Ok(true) };
    match env::var(SWITCH).as_deref() {
        Ok("required") => bail!("{SWITCH} is \"required\", and a node cannot run here:\n{missing}"),
        Ok(other) => bail!("{SWITCH} is {other:?}; there is only \"required\""),
        Err(_) => {}
    }
    writeln!(
        std::io::stderr(),
        "\nNOT RUN HERE: {test}: it wants a node (kubelet, containerd), and a node cannot run on this machine:\n{missing}"
    )
    .context("failed to say that a test is not run")?;
    Ok(false)
}

/// What a node would want here; `None` where nothing is missing.
pub async fn missing() -> Result<Option<String>> {
    let mut command = Command::new(tool("cluster")?);
    let output = command.arg("can-node").stdin(Stdio::null()).output().await;
    let output = output.context("failed to run cluster can-node")?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.code() == Some(1) && !said.is_empty(), "can-node: {}", output.status);
    Ok(Some(said))
}

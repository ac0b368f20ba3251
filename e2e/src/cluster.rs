//! A control plane: one for all tests of a program, or one of a test's own.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::{sync::OnceCell, task::spawn_blocking};

use crate::{
    bin::{tool, workspace},
    helm::{Helm, Release},
    operator::{NAMESPACE, SERVICE_ACCOUNT},
};

/// The switch by which a user names a cluster of their own. Nothing else, `KUBECONFIG` included, ever does.
pub const OWN_CLUSTER: &str = "MULTIARCH_E2E_KUBECONFIG";

/// A cluster with our CRDs and RBAC applied.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    supervisor: Option<Arc<Mutex<Supervisor>>>,
}

/// What keeps the control plane up.
#[derive(Debug)]
struct Supervisor {
    child: Child,
    /// As long as it is open, the control plane is up: it ends with this process, however that ends.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Has `command` done.
    fn obey(&mut self, command: &str) -> Result<()> {
        let commands = self.commands.as_mut().context("the control plane is down")?;
        writeln!(commands, "{command}").with_context(|| format!("failed to ask to {command}"))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).context("failed to read what it prints")?;
        ensure!(answer.trim() == command, "the control plane did not {command}");
        Ok(())
    }
}

impl Cluster {
    /// The cluster that all tests of this program share.
    pub async fn shared() -> Result<Arc<Self>> {
        static SHARED: OnceCell<Result<Arc<Cluster>, String>> = OnceCell::const_new();
        let cluster = SHARED.get_or_init(|| async {
            let cluster = match env::var_os(OWN_CLUSTER) {
                Some(kubeconfig) => Self::own(PathBuf::from(kubeconfig)).await,
                None => Self::start(&workspace().join("crds")).await,
            };
            cluster.map(Arc::new).map_err(|error| format!("{error:#}"))
        });
        cluster.await.clone().map_err(|error| anyhow!("{error}"))
    }

    /// Starts a control plane that serves the kinds in the folder `crds`, in a folder that is removed with it.
    pub async fn start(crds: &Path) -> Result<Self> {
        let cluster = Self::launch(crds).await?;
        cluster.grant().await?;
        Ok(cluster)
    }

    /// Starts one of our kinds with more `flags` of `cluster up`.
    pub async fn start_with(flags: &[&str]) -> Result<Self> {
        let mut command = in_scratch()?;
        command.arg("--crds").arg(workspace().join("crds")).args(flags);
        let cluster = Self::supervised(command).await?;
        cluster.grant().await?;
        Ok(cluster)
    }

    /// Starts one that has nothing of ours: whoever installs the chart has it make the kinds, and the rights.
    pub async fn start_bare() -> Result<Self> {
        Self::launch(Path::new("")).await
    }

    async fn launch(crds: &Path) -> Result<Self> {
        let mut command = in_scratch()?;
        command.arg("--crds").arg(crds);
        Self::supervised(command).await
    }

    /// Starts one with a node, whose pods run, in a folder that is removed with it. Nothing of ours is applied: a chart does that.
    pub async fn start_node() -> Result<Self> {
        let mut command = in_scratch()?;
        command.arg("--node");
        Self::supervised(command).await
    }

    /// The same in `folder`, which is kept.
    pub async fn start_node_in(folder: &Path) -> Result<Self> {
        let mut command = Command::new(tool("cluster")?);
        command.args(["up", "--until-stdin-closes", "--node", "--dir"]).arg(folder);
        Self::supervised(command).await
    }

    /// Starts one in `folder`, which is kept.
    pub async fn start_in(folder: &Path, crds: &Path) -> Result<Self> {
        let mut command = Command::new(tool("cluster")?);
        command.args(["up", "--until-stdin-closes", "--dir"]).arg(folder).arg("--crds").arg(crds);
        let cluster = Self::supervised(command).await?;
        cluster.grant().await?;
        Ok(cluster)
    }

    async fn supervised(mut command: Command) -> Result<Self> {
        let (supervisor, kubeconfig) = spawn_blocking(move || {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context("failed to start the control plane")?;
            let commands = child.stdin.take();
            let stdout = child.stdout.take().context("the control plane prints nowhere")?;
            let (mut answers, mut line) = (BufReader::new(stdout), String::new());
            answers.read_line(&mut line).context("failed to read what it prints")?;
            if line.is_empty() {
                let mut why = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    stderr.read_to_string(&mut why).context("failed to read its errors")?;
                }
                bail!("the control plane did not start: {}", why.trim());
            }
            let supervisor = Supervisor { child, commands, answers };
            Ok((supervisor, PathBuf::from(line.trim())))
        })
        .await
        .context("the start of the control plane was cut short")??;
        Ok(Self { kubeconfig, supervisor: Some(Arc::new(Mutex::new(supervisor))) })
    }

    async fn own(kubeconfig: PathBuf) -> Result<Self> {
        ensure!(
            kubeconfig.is_file(),
            "{OWN_CLUSTER} names {}, which is no file",
            kubeconfig.display()
        );
        let cluster = Self { kubeconfig, supervisor: None };
        cluster.apply(&workspace().join("crds")).await?;
        cluster.grant().await?;
        Ok(cluster)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of the administrator. It belongs to the runtime that made it.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    /// Kills the API server. Its data stay, and its address is nobody else's.
    pub async fn stop_api_server(&self) -> Result<()> {
        self.obey("stop kube-apiserver").await
    }

    /// Starts it again, and waits until it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        self.obey("start kube-apiserver").await
    }

    async fn obey(&self, command: &'static str) -> Result<()> {
        let supervisor = self.supervisor.clone();
        let supervisor = supervisor.context("the cluster is not the test's to break")?;
        let obeyed = spawn_blocking(move || {
            supervisor.lock().unwrap_or_else(PoisonError::into_inner).obey(command)
        });
        obeyed.await.context("it was cut short")?
    }

    /// `kubectl` with `arguments`, as the administrator; what it prints.
    pub async fn kubectl<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        kubectl(&self.kubeconfig, arguments).await
    }

    /// Has the API server check `file` strictly, as if it were applied in `namespace`; what kubectl prints.
    pub async fn try_out(&self, namespace: &str, file: &str) -> Result<String> {
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict"];
        let what = ["--namespace", namespace, "--filename", file];
        self.kubectl(apply.into_iter().chain(what)).await
    }

    /// Applies the YAML `text`, each object in its own namespace or in `default`.
    pub async fn apply_text(&self, text: &str) -> Result<()> {
        let file =
            tempfile::NamedTempFile::with_suffix(".yaml").context("failed to make a file")?;
        std::fs::write(file.path(), text).context("failed to write a file")?;
        self.apply(file.path()).await
    }

    /// Deletes the policies of admission, and their bindings, of the release called so.
    pub async fn delete_policies(&self, release: &str) -> Result<()> {
        let label = format!("--selector=app.kubernetes.io/instance={release}");
        let kinds = "validatingadmissionpolicybindings,validatingadmissionpolicies";
        self.kubectl(["delete", kinds, &label]).await.map(drop)
    }

    /// Gives the operator a namespace, and the rights that the chart gives it, to users theirs.
    async fn grant(&self) -> Result<()> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
        });
        let release = Release { name: SERVICE_ACCOUNT, namespace: NAMESPACE, values: &json!({}) };
        let rights = Helm::new()?.template(release, &RIGHTS).await?;
        self.apply_text(&format!("{namespace}\n---\n{rights}")).await
    }

    async fn apply(&self, file: &Path) -> Result<()> {
        let arguments =
            ["apply", "--server-side", "--force-conflicts", "--filename"].map(OsStr::new);
        self.kubectl(arguments.into_iter().chain([file.as_os_str()])).await.map(drop)
    }
}

impl Drop for Cluster {
    /// Takes it down, and waits until it is, so that its folder may be removed.
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            let mut supervisor = supervisor.lock().unwrap_or_else(PoisonError::into_inner);
            drop(supervisor.commands.take());
            let _ = supervisor.child.wait();
        }
    }
}

/// `cluster up` in a folder of its own, which is removed when it ends; flags may follow. A shared cluster lies in a static, which is never
/// dropped: who removes the folder must be a process.
fn in_scratch() -> Result<Command> {
    // What is missing is told before there is anything to remove.
    let program = tool("cluster")?;
    tool("kubectl")?;
    let folder = tempfile::Builder::new().prefix("multiarch-e2e-").tempdir();
    let folder = folder.context("failed to make a folder for the cluster")?.keep();
    let script = r#"trap : INT TERM HUP; program=$1 folder=$2; shift 2
        "$program" up --until-stdin-closes --dir "$folder" "$@"; s=$?; rm -rf "$folder"; exit $s"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(program).arg(folder);
    Ok(command)
}

/// The chart's templates with the operator's rights, and the users'.
pub const RIGHTS: [&str; 4] =
    ["serviceaccount.yaml", "rbac.yaml", "rbac-leases.yaml", "user-roles.yaml"];

/// A client of whoever `kubeconfig` is for.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).context("failed to read the kubeconfig")?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(config.context("failed to use the kubeconfig")?)
        .context("failed to make a client")
}

/// `kubectl` with `arguments`, as whoever `kubeconfig` is for; what it prints.
pub async fn kubectl<S: AsRef<OsStr>>(
    kubeconfig: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String> {
    let mut command = tokio::process::Command::new(tool("kubectl")?);
    command.arg("--kubeconfig").arg(kubeconfig).args(arguments).stdin(Stdio::null());
    let output = command.output().await.context("failed to run kubectl")?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(stdout)
}

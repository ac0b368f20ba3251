//! An operator process for one test: its own namespace, token and home, under the RBAC that users install.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams, config::Kubeconfig};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    await_condition::{SOON, await_some},
    bin,
    cluster::Cluster,
    process::Process,
    proxy::client,
};

/// Where the release is that the tests have, and so the ServiceAccount.
pub const NAMESPACE: &str = "multiarch-system";
/// The name of the release, and so of the ServiceAccount and the ClusterRole.
pub const SERVICE_ACCOUNT: &str = "multiarch-operator";

/// What tests want to see.
const LOG_LEVEL: &str = "info,multiarch_operator=debug";

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    admin: String,
    folder: PathBuf,
    namespace: Option<String>,
    flags: Vec<String>,
    starts: u32,
}

impl Operator {
    /// Starts one that watches `namespace` only (or all of them), and waits until it is ready. Its files lie in `folder`.
    pub async fn start(cluster: &Cluster, folder: &Path, namespace: Option<&str>) -> Result<Self> {
        Self::start_with(cluster, folder, namespace, &[""; 0]).await
    }

    /// The same with more flags.
    pub async fn start_with(
        cluster: &Cluster,
        folder: &Path,
        namespace: Option<&str>,
        flags: &[impl AsRef<str>],
    ) -> Result<Self> {
        Self::start_as(cluster, folder, namespace, NAMESPACE, flags).await
    }

    /// The same as the ServiceAccount of that name in `home`, with what rights it has; `namespace` may be a list with commas.
    pub async fn start_as(
        cluster: &Cluster,
        folder: &Path,
        namespace: Option<&str>,
        home: &str,
        flags: &[impl AsRef<str>],
    ) -> Result<Self> {
        fs::create_dir_all(folder.join("home")).context("failed to make a home")?;
        let kubeconfig = folder.join("operator.kubeconfig");
        fs::write(&kubeconfig, service_account_kubeconfig(cluster, home).await?)
            .context("failed to write a kubeconfig")?;
        let namespace = namespace.map(ToOwned::to_owned);
        let flags: Vec<_> = flags.iter().map(|flag| flag.as_ref().to_owned()).collect();
        let (process, admin) = run(folder, namespace.as_deref(), &flags, 1).await?;
        let folder = folder.to_owned();
        let mut operator = Self { process, admin, folder, namespace, flags, starts: 1 };
        operator.ready(SOON).await?;
        Ok(operator)
    }

    /// Waits until it is ready: its first list of objects is done.
    pub async fn ready(&mut self, deadline: Duration) -> Result<()> {
        let (process, admin) = (&mut self.process, &self.admin);
        let ready = async || {
            process.find_in_logs(|_| Some(()))?;
            Ok(get(admin, "/readyz", "*/*").await?.status().is_success().then_some(()))
        };
        let waited = await_some("the operator is ready", deadline, ready).await;
        waited.with_context(|| self.process.logs().unwrap_or_default())
    }

    /// Kills it as `kill -9` does, and starts it anew.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.kill().await?;
        self.restart().await
    }

    /// Kills it as `kill -9` does.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it anew after its end, and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.relaunch().await?;
        self.ready(SOON).await
    }

    /// Starts it anew after its end, whether or not there is an API server.
    pub async fn relaunch(&mut self) -> Result<()> {
        self.starts += 1;
        let namespace = self.namespace.as_deref();
        (self.process, self.admin) = run(&self.folder, namespace, &self.flags, self.starts).await?;
        Ok(())
    }

    /// Sends it the signal `name` (STOP, CONT, TERM).
    pub async fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name).await
    }

    /// Waits for its end.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.process.ended(deadline).await
    }

    /// Asks it to stop, as a kubelet does, and waits for the end.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.process.signal("TERM").await?;
        self.process.ended(deadline).await
    }

    /// Where its probes and metrics are (host:port), until it is started anew.
    #[must_use]
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// GET of `path` on its admin address.
    pub async fn get(&self, path: &str, accept: &str) -> Result<reqwest::Response> {
        get(&self.admin, path, accept).await
    }

    /// The sum of the samples called `name`, whatever their labels; 0 where there is none.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = self
            .get("/metrics", "text/plain")
            .await?
            .text()
            .await
            .context("failed to read metrics")?;
        Ok(samples(&text)?
            .iter()
            .filter(|sample| sample.name == name)
            .map(|sample| sample.value)
            .sum())
    }

    /// Whether it works: it holds its Lease.
    pub async fn leads(&self) -> Result<bool> {
        Ok(self.metric("multiarch_leader").await? > 0.0)
    }

    /// Waits until it works.
    pub async fn await_lead(&self, deadline: Duration) -> Result<()> {
        let leads = async || Ok(self.leads().await?.then_some(()));
        await_some("it leads", deadline, leads).await
    }

    /// How many runs have ended since its start.
    pub async fn runs(&self) -> Result<f64> {
        self.metric("multiarch_reconcile_duration_seconds_count").await
    }

    /// Waits until `runs` runs have ended since its start.
    pub async fn await_runs(&self, runs: f64, deadline: Duration) -> Result<()> {
        let what = format!("{runs} runs have ended");
        await_some(&what, deadline, async || Ok((self.runs().await? >= runs).then_some(()))).await
    }

    /// The bytes of memory that it has now, and the most that it ever had.
    #[cfg(target_os = "linux")]
    pub fn resident(&self) -> Result<(u64, u64)> {
        let path = format!("/proc/{}/status", self.process.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            Ok(kib.with_context(|| format!("no {name} in {path}"))? << 10)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// How many bytes it has read of files since its start.
    #[cfg(target_os = "linux")]
    pub fn bytes_read(&self) -> Result<u64> {
        let path = format!("/proc/{}/io", self.process.pid());
        let io = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
        line.and_then(|bytes| bytes.parse().ok()).with_context(|| format!("no rchar in {path}"))
    }

    /// Waits until it has logged `words` since its last start.
    pub async fn await_log(&self, words: &str, deadline: Duration) -> Result<()> {
        let said = async || Ok(self.logs()?.contains(words).then_some(()));
        await_some(&format!("it logs: {words}"), deadline, said).await
    }

    /// What it has logged since its last start.
    pub fn logs(&self) -> Result<String> {
        self.process.logs()
    }
}

/// What `multiarch-operator check` says with `flags` (`check` and its own among them), as the ServiceAccount in `home`: whether
/// nothing is missing, and its lines.
pub async fn check(
    cluster: &Cluster,
    folder: &Path,
    home: &str,
    flags: &[String],
) -> Result<(bool, String)> {
    let kubeconfig = folder.join("check.kubeconfig");
    fs::write(&kubeconfig, service_account_kubeconfig(cluster, home).await?)
        .context("failed to write a kubeconfig")?;
    let mut command = Command::new(bin::operator()?);
    command.args(flags).env_clear().env("HOME", folder).env("KUBECONFIG", kubeconfig);
    let output = command.output().await.context("failed to run the check")?;
    let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    ensure!(!out.is_empty(), "the check says nothing: {err}");
    Ok((output.status.success(), String::from_utf8_lossy(&out).into_owned()))
}

/// Starts the process, and waits until it listens.
async fn run(
    folder: &Path,
    namespace: Option<&str>,
    flags: &[String],
    number: u32,
) -> Result<(Process, String)> {
    let mut command = Command::new(bin::operator()?);
    command
        .args(["--admin-listen", "127.0.0.1:0", "--log-format", "json"])
        .args(["--insecure-allow-http", "--allow-loopback-registries"])
        .args(flags)
        .env_clear()
        .env("PATH", "/nonexistent")
        .env("HOME", folder.join("home"))
        // A flag says otherwise.
        .env("MULTIARCH_LOG_LEVEL", LOG_LEVEL)
        .env("KUBECONFIG", folder.join("operator.kubeconfig"));
    if let Some(namespace) = namespace {
        command.args(["--watch-namespace", namespace]);
    }
    let mut process = Process::start(command, &folder.join(format!("operator-{number}.log")))?;
    let admin =
        await_some("the operator listens", SOON, async || process.find_in_logs(listening)).await?;
    Ok((process, admin))
}

async fn get(admin: &str, path: &str, accept: &str) -> Result<reqwest::Response> {
    let url = format!("http://{admin}{path}");
    let answer = client()?.get(&url).header("accept", accept).send().await;
    answer.with_context(|| format!("GET {url}"))
}

/// The address in the line that says `listening`.
fn listening(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let said = fields.get("message")?.as_str()? == "listening";
    said.then(|| fields.get("admin")?.as_str().map(ToOwned::to_owned)).flatten()
}

/// A kubeconfig of the operator's ServiceAccount in `home`, for the cluster of the administrator's.
async fn service_account_kubeconfig(cluster: &Cluster, home: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await?, home);
    let spec = TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer =
        accounts.create_token_request(SERVICE_ACCOUNT, &PostParams::default(), &request).await;
    let token = answer
        .context("failed to request a token")?
        .status
        .context("a token request without status")?
        .token;
    let admin =
        Kubeconfig::read_from(cluster.kubeconfig()).context("failed to read the kubeconfig")?;
    let current = admin.current_context.context("a kubeconfig without current context")?;
    let context = admin.contexts.into_iter().find(|context| context.name == current);
    let context = context
        .and_then(|named| named.context)
        .context("a kubeconfig without its current context")?;
    let server = admin.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
    let server = server.context("a kubeconfig without its current cluster")?;
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [server],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "operator", "context": {"cluster": context.cluster, "user": "operator"}}],
        "current-context": "operator",
    });
    Ok(kubeconfig.to_string())
}

/// One line of /metrics, or one that Prometheus has of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// Parses what Prometheus would; anything else is an error.
pub fn samples(text: &str) -> Result<Vec<Sample>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| sample(line).with_context(|| format!("not a sample: {line}")))
        .collect()
}

fn sample(line: &str) -> Result<Sample> {
    let end = line
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':'))
        .context("no name")?;
    let (name, mut rest) = line.split_at(end);
    ensure!(!name.is_empty(), "no name");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        let (inside, after) = inside.rsplit_once('}').context("labels without end")?;
        rest = after;
        for label in inside.split("\",").filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once("=\"").context("a label without value")?;
            labels.insert(key.to_owned(), value.trim_end_matches('"').to_owned());
        }
    }
    let value = rest
        .split_whitespace()
        .next()
        .context("no value")?
        .parse()
        .context("a value that is no number")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

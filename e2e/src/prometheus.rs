//! Debian's Prometheus and promtool: what they make of the operator's metrics, and of the chart's alerts and dashboard.

mod text;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};
use url::Url;

pub use self::text::AsText;
use crate::{
    await_condition::{SOON, await_some},
    bin::tool,
    cluster::Cluster,
    helm::{Helm, Release},
    operator::{NAMESPACE, SERVICE_ACCOUNT, Sample},
    process::Process,
    proxy::client,
};

/// A running Prometheus, which scrapes as the chart's ServiceMonitor says and evaluates the chart's alerts, both each second.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: String,
    // Its files, removed after the process has ended.
    folder: TempDir,
}

/// An alert that is pending or fires.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    /// What it is of, `alertname` and `severity` included.
    pub labels: BTreeMap<String, String>,
    /// What a person reads.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
}

/// What is scraped, and how that goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// `job`, `instance`, and what the monitor adds.
    pub labels: BTreeMap<String, String>,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Why it is not up; empty where it is.
    pub last_error: String,
}

/// What a target says of one of its metrics.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// The labels of the target.
    pub target: BTreeMap<String, String>,
    /// The metric.
    pub metric: String,
    /// What it is of, which only `OpenMetrics` says.
    pub unit: String,
}

impl Prometheus {
    /// Starts one for `jobs`: a name, and where its metrics are (host:port).
    pub async fn start(jobs: &[(&str, &str)]) -> Result<Self> {
        Self::scraping(jobs, None).await
    }

    /// Starts one for the API server of `cluster`, as the job `apiserver`.
    pub async fn of_api_server(cluster: &Cluster) -> Result<Self> {
        Self::scraping(&[], Some(cluster)).await
    }

    async fn scraping(jobs: &[(&str, &str)], cluster: Option<&Cluster>) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for Prometheus")?;
        let chart = rendered().await?;
        let write = |name: &str, value: &Value| {
            // JSON is YAML.
            let path = folder.path().join(name);
            fs::write(&path, value.to_string()).with_context(|| format!("failed to write {name}"))
        };
        write("alerts.yaml", &at_once(of_kind(&chart, "PrometheusRule")?["spec"].clone())?)?;
        let endpoint = &of_kind(&chart, "ServiceMonitor")?["spec"]["endpoints"][0];
        let mut config = config(endpoint, jobs);
        if let Some(cluster) = cluster {
            let job = of_api_server(cluster, folder.path())?;
            config["scrape_configs"].as_array_mut().context("no jobs")?.push(job);
        }
        write("prometheus.yaml", &config)?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new(program("prometheus")?);
        command
            .arg(format!("--config.file={}", at("prometheus.yaml")))
            .arg(format!("--storage.tsdb.path={}", at("data")))
            .args(["--web.listen-address=127.0.0.1:0", "--web.external-url=http://localhost/"])
            .arg("--log.format=json")
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path());
        let mut process = Process::start(command, &folder.path().join("prometheus.log"))?;
        let listens = async || process.find_in_logs(listening);
        let address = await_some("Prometheus listens", SOON, listens).await?;
        let prometheus = Self { process, address, folder };
        let ready = async || {
            let answer = client()?.get(format!("http://{}/-/ready", prometheus.address)).send();
            Ok(answer.await?.status().is_success().then_some(()))
        };
        await_some("Prometheus is ready", SOON, ready).await?;
        Ok(prometheus)
    }

    /// Ends it, and removes its files.
    pub async fn stop(mut self) -> Result<()> {
        self.process.kill().await?;
        self.folder.close().context("failed to remove the files of Prometheus")
    }

    /// What `expr` is now.
    pub async fn query(&self, expr: &str) -> Result<Vec<Sample>> {
        #[derive(Deserialize)]
        struct Answer {
            result: Vec<Element>,
        }
        #[derive(Deserialize)]
        struct Element {
            metric: BTreeMap<String, String>,
            value: (f64, String),
        }
        let answer: Answer = self.get("query", &[("query", expr)]).await?;
        let sample = |Element { metric: mut labels, value: (_, value) }| {
            let name = labels.remove("__name__").unwrap_or_default();
            let value = value.parse().with_context(|| format!("no number: {value}"))?;
            Ok(Sample { name, labels, value })
        };
        answer.result.into_iter().map(sample).collect()
    }

    /// The alerts that are pending or fire.
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        #[derive(Deserialize)]
        struct Answer {
            alerts: Vec<Alert>,
        }
        let answer: Answer = self.get("alerts", &[]).await?;
        Ok(answer.alerts)
    }

    /// What it scrapes.
    pub async fn targets(&self) -> Result<Vec<Target>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            active_targets: Vec<Target>,
        }
        let answer: Answer = self.get("targets", &[("state", "active")]).await?;
        Ok(answer.active_targets)
    }

    /// What its targets say of their metrics.
    pub async fn metadata(&self) -> Result<Vec<Metadata>> {
        self.get("targets/metadata", &[]).await
    }

    /// Waits until the alert `name` fires with `labels`, and returns it.
    pub async fn fires(&self, name: &str, labels: &[(&str, &str)]) -> Result<Alert> {
        let what = format!("{name} fires for {labels:?}");
        await_some(&what, SOON, async || self.firing(name, labels).await).await
    }

    /// Waits until the alert `name` does not fire with `labels`.
    pub async fn resolves(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let what = format!("{name} does not fire for {labels:?}");
        let resolved = async || Ok(self.firing(name, labels).await?.is_none().then_some(()));
        await_some(&what, SOON, resolved).await
    }

    /// The alert `name`, where it fires with `labels`.
    pub async fn firing(&self, name: &str, labels: &[(&str, &str)]) -> Result<Option<Alert>> {
        let is = |alert: &Alert, (label, value): (&str, &str)| {
            alert.labels.get(label).is_some_and(|of| of == value)
        };
        let alerts = self.alerts().await?;
        let fires = |alert: &Alert| {
            alert.state == "firing"
                && is(alert, ("alertname", name))
                && labels.iter().all(|label| is(alert, *label))
        };
        Ok(alerts.into_iter().find(fires))
    }

    async fn get<T: DeserializeOwned>(&self, of: &str, query: &[(&str, &str)]) -> Result<T> {
        #[derive(Deserialize)]
        struct Answer<T> {
            data: Option<T>,
            error: Option<String>,
        }
        let url = Url::parse_with_params(&format!("http://{}/api/v1/{of}", self.address), query)
            .context("not a URL")?;
        let answer = client()?.get(url).send().await;
        let text = answer.with_context(|| format!("failed to ask Prometheus for {of}"))?.text();
        let text = text.await.context("failed to read what Prometheus answers")?;
        let answer: Answer<T> =
            serde_json::from_str(&text).with_context(|| format!("{of}: {text}"))?;
        let error = answer.error.unwrap_or_default();
        answer.data.with_context(|| format!("Prometheus refuses {of} {query:?}: {error}"))
    }
}

/// What promtool says to `arguments`; an error with that where it complains. `input` is what it reads.
pub async fn promtool<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    input: &str,
) -> Result<String> {
    let mut command = Command::new(program("promtool")?);
    command.args(arguments).env_clear().kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to run promtool")?;
    let mut stdin = child.stdin.take().context("promtool reads nothing")?;
    let written = async move {
        // It may end before it has read all.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ((), output) = tokio::join!(written, child.wait_with_output());
    let output = output.context("failed to run promtool")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "promtool: {said}");
    Ok(said)
}

fn program(name: &str) -> Result<PathBuf> {
    let missing = "Debian's package prometheus is missing: `hack/build-tools.sh prometheus` \
                   fetches it, or says why it cannot";
    tool(name).context(missing)
}

/// What the chart renders with all that Prometheus reads.
async fn rendered() -> Result<Vec<Value>> {
    let enabled = json!({"enabled": true});
    let values = json!({"metrics": {"serviceMonitor": enabled, "prometheusRule": enabled}});
    let release = Release { name: SERVICE_ACCOUNT, namespace: NAMESPACE, values: &values };
    let templates = ["servicemonitor.yaml", "prometheusrule.yaml"];
    let text = Helm::new()?.template(release, &templates).await?;
    let documents = text.split("---\n").filter(|document| !document.trim().is_empty());
    documents.map(|document| serde_saphyr::from_str(document).context("not YAML")).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let object = objects.iter().find(|object| object["kind"] == kind);
    object.with_context(|| format!("the chart renders no {kind}"))
}

/// `rules` that fire as soon as they hold.
fn at_once(mut rules: Value) -> Result<Value> {
    let groups = rules["groups"].as_array_mut().context("rules without groups")?;
    for rule in groups.iter_mut().filter_map(|group| group["rules"].as_array_mut()).flatten() {
        ensure!(rule["for"].is_string(), "a rule without a time: {rule}");
        rule["for"] = json!("0s");
    }
    Ok(rules)
}

/// A config that scrapes `jobs` as `endpoint` of a monitor says, with the labels that the Prometheus operator gives targets.
fn config(endpoint: &Value, jobs: &[(&str, &str)]) -> Value {
    let job = |(job, address): &(&str, &str)| {
        let labels = json!({
            "namespace": NAMESPACE, "pod": "multiarch-operator-0", "container": "operator",
            "service": "multiarch-operator", "endpoint": endpoint["port"],
        });
        json!({
            "job_name": job,
            "metrics_path": endpoint["path"],
            "honor_labels": endpoint["honorLabels"],
            "static_configs": [{"targets": [address], "labels": labels}],
        })
    };
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": jobs.iter().map(job).collect::<Vec<_>>(),
    })
}

/// The job that scrapes the API server as its administrator, whose certificates it has in `folder`.
fn of_api_server(cluster: &Cluster, folder: &Path) -> Result<Value> {
    let text = fs::read_to_string(cluster.kubeconfig()).context("failed to read a kubeconfig")?;
    let file: Value = serde_saphyr::from_str(&text).context("the kubeconfig is not YAML")?;
    let (of, user) = (&file["clusters"][0]["cluster"], &file["users"][0]["user"]);
    let kept = |value: &Value, name: &str| {
        let encoded = value.as_str().with_context(|| format!("the kubeconfig has no {name}"))?;
        let bytes = BASE64_STANDARD.decode(encoded).context("not base64")?;
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("failed to write {name}"))?;
        anyhow::Ok(path)
    };
    let server = of["server"].as_str().context("the kubeconfig names no server")?;
    Ok(json!({
        "job_name": "apiserver",
        // It has some megabytes, and a busy machine is no bug.
        "scrape_interval": "5s",
        "scrape_timeout": "5s",
        "scheme": "https",
        "tls_config": {
            "ca_file": kept(&of["certificate-authority-data"], "ca.crt")?,
            "cert_file": kept(&user["client-certificate-data"], "client.crt")?,
            "key_file": kept(&user["client-key-data"], "client.key")?,
        },
        // What a test waits for is among thousands of series.
        "metric_relabel_configs": [{
            "source_labels": ["__name__"], "regex": "apiserver_validating_admission_policy_.+", "action": "keep",
        }],
        "static_configs": [{"targets": [server.trim_start_matches("https://")]}],
    }))
}

/// The address in the line that says that it listens.
fn listening(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let listens = line["msg"] == "Listening on";
    listens.then(|| line["address"].as_str().map(ToOwned::to_owned)).flatten()
}

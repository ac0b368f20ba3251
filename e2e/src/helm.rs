//! helm, with a home of its own, and what it makes of the chart.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::bin::{tool, workspace};

/// The switch by which `make helm3` names another helm of `.build/bin`.
const OTHER: &str = "MULTIARCH_HELM";
/// The version of Kubernetes that is rendered for where no cluster says one: the chart's oldest.
const OLDEST: &str = "1.31.0";

/// The folder of the chart.
#[must_use]
pub fn chart() -> PathBuf {
    workspace().join("charts/multiarch-operator")
}

/// helm, for one cluster or for none.
#[derive(Debug)]
pub struct Helm {
    home: TempDir,
    kubeconfig: Option<PathBuf>,
}

/// A release: its name, its namespace, and its values.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// What differs from the chart's values.
    pub values: &'a Value,
}

impl Helm {
    /// helm without a cluster.
    pub fn new() -> Result<Self> {
        let home = tempfile::tempdir().context("failed to make a home for helm")?;
        Ok(Self { home, kubeconfig: None })
    }

    /// helm for the cluster of `kubeconfig`.
    pub fn of(kubeconfig: &Path) -> Result<Self> {
        Ok(Self { kubeconfig: Some(kubeconfig.to_owned()), ..Self::new()? })
    }

    /// helm with `arguments`; what it prints, or an error with what it says.
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let name = env::var(OTHER).unwrap_or_else(|_| "helm".into());
        let mut command = Command::new(tool(&name)?);
        command.args(arguments).stdin(Stdio::null()).env_clear();
        for variable in ["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.home.path());
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().await.context("failed to run helm")?;
        let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "helm: {}", err.trim());
        String::from_utf8(out).context("what helm prints is not text")
    }

    /// What the chart becomes for `release`: all of it, or the `templates` that are named.
    pub async fn template(&self, release: Release<'_>, templates: &[&str]) -> Result<String> {
        self.template_of(&chart(), release, templates).await
    }

    /// The same of another chart.
    pub async fn template_of(
        &self,
        chart: &Path,
        release: Release<'_>,
        templates: &[&str],
    ) -> Result<String> {
        let only = templates.iter().map(|name| format!("--show-only=templates/{name}"));
        let mut arguments = self.arguments("template", chart, release)?;
        arguments.extend(only.map(Into::into));
        arguments.push(format!("--kube-version={OLDEST}").into());
        self.run(arguments).await
    }

    /// Installs the chart as `release`, or upgrades it (`command`), with more `flags`; nothing waits for Pods.
    pub async fn apply(
        &self,
        command: &str,
        release: Release<'_>,
        flags: &[&str],
    ) -> Result<String> {
        self.apply_of(&chart(), command, release, flags).await
    }

    /// The same of another chart.
    pub async fn apply_of(
        &self,
        chart: &Path,
        command: &str,
        release: Release<'_>,
        flags: &[&str],
    ) -> Result<String> {
        let mut arguments = self.arguments(command, chart, release)?;
        arguments.extend(flags.iter().map(Into::into));
        self.run(arguments).await
    }

    fn arguments(
        &self,
        command: &str,
        chart: &Path,
        release: Release<'_>,
    ) -> Result<Vec<std::ffi::OsString>> {
        // JSON is YAML; a name of its own, since several may run at once.
        let values = tempfile::NamedTempFile::new_in(self.home.path());
        let (_, values) =
            values.and_then(|file| Ok(file.keep()?)).context("failed to make values")?;
        fs::write(&values, release.values.to_string()).context("failed to write values")?;
        let named = [command, release.name].map(Into::into);
        let namespace = ["--namespace", release.namespace, "--values"].map(Into::into);
        let all = named.into_iter().chain([chart.into()]).chain(namespace).chain([values.into()]);
        Ok(all.collect())
    }
}

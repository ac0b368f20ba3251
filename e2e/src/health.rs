//! What Argo CD, Flux and kstatus say of objects, by the files of docs/gitops.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::bin::{tool, workspace};

/// What one of them says, in its own words.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    /// `Healthy`, or `Current`, and so on.
    pub status: String,
    /// Why.
    pub message: String,
}

/// What all of them say of one object.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdicts {
    /// Argo CD, by docs/gitops/health.lua.
    pub argo: Verdict,
    /// Flux, by the expressions of docs/gitops/flux.yaml.
    pub flux: Verdict,
    /// kstatus, and so Flux without expressions, and Helm.
    pub kstatus: Verdict,
}

/// What they say of each of `objects`.
pub async fn verdicts(objects: &[impl Serialize]) -> Result<Vec<Verdicts>> {
    let input = serde_json::to_vec(objects).context("objects that are no JSON")?;
    let page = workspace().join("docs/gitops");
    let mut command = Command::new(tool("health")?);
    command.arg(page.join("health.lua")).arg(page.join("flux.yaml")).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to run health")?;
    let mut stdin = child.stdin.take().context("health reads nothing")?;
    let written = async move {
        // It may end before it has read all.
        let _ = stdin.write_all(&input).await;
    };
    let ((), output) = tokio::join!(written, child.wait_with_output());
    let output = output.context("failed to run health")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("what health prints is no JSON")
}

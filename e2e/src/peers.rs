//! Other tools' reading of what we published: crane and regctl, each with an empty home.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::{bin::tool, registry::Registry};

/// A manifest as a tool reads it: the digest that it gives, and the bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Read {
    /// The digest.
    pub digest: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Read {
    /// The document.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.bytes).context("not JSON")
    }
}

/// What crane reads under `of` (repository:tag).
pub async fn crane(registry: &Registry, of: &str) -> Result<Read> {
    let reference = registry.uncounted(of);
    let digest = run("crane", &["digest", "--insecure", &reference]).await?;
    let bytes = run("crane", &["manifest", "--insecure", &reference]).await?;
    Ok(Read { digest: text(&digest), bytes })
}

/// What regctl reads under `of` (repository:tag).
pub async fn regctl(registry: &Registry, of: &str) -> Result<Read> {
    let reference = registry.uncounted(of);
    let (host, _) = reference.split_once('/').context("a reference without host")?;
    let host = format!("reg={host},tls=disabled");
    let digest = run("regctl", &["--host", &host, "manifest", "head", &reference]).await?;
    let bytes =
        run("regctl", &["--host", &host, "manifest", "get", "--format", "raw-body", &reference])
            .await?;
    Ok(Read { digest: text(&digest), bytes })
}

/// The digest of the image that crane gives to a machine of `platform`.
pub async fn crane_for(registry: &Registry, of: &str, platform: &str) -> Result<String> {
    let reference = registry.uncounted(of);
    run("crane", &["digest", "--insecure", "--platform", platform, &reference])
        .await
        .map(|digest| text(&digest))
}

/// Whether crane finds whole what `of` (repository:tag) names: every manifest, config and layer, by digest and size.
pub async fn validate(registry: &Registry, of: &str) -> Result<()> {
    let reference = registry.uncounted(of);
    run("crane", &["validate", "--insecure", "--remote", &reference]).await.map(drop)
}

async fn run(name: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let home = tempfile::tempdir().context("failed to make a home")?;
    let mut command = Command::new(tool(name)?);
    command.args(arguments).env_clear().env("HOME", home.path()).stdin(Stdio::null());
    let output = command.output().await.with_context(|| format!("failed to run {name}"))?;
    ensure!(
        output.status.success(),
        "{name} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

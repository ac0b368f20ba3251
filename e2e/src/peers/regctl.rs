//! regctl: the peer whose index bytes ours equal.

use anyhow::{Context, Result};

use super::{Read, run, text};
use crate::registry::Registry;

/// What regctl reads under `of` (repository:tag).
pub async fn regctl(registry: &Registry, of: &str) -> Result<Read> {
    let reference = registry.uncounted(of);
    let host = plain(&reference)?;
    let digest =
        run(registry, "regctl", &["--host", &host, "manifest", "head", &reference]).await?;
    let bytes = run(
        registry,
        "regctl",
        &["--host", &host, "manifest", "get", "--format", "raw-body", &reference],
    )
    .await?;
    Ok(Read { digest: text(&digest), bytes })
}

/// How regctl is told that the host of `reference` has no TLS.
pub(super) fn plain(reference: &str) -> Result<String> {
    let (host, _) = reference.split_once('/').context("a reference without host")?;
    Ok(format!("reg={host},tls=disabled"))
}

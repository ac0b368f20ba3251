//! skopeo: reads a manifest, and copies all that it lists.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Read, run, text};
use crate::registry::Registry;

/// What skopeo reads under `of` (repository:tag).
pub async fn skopeo(registry: &Registry, of: &str) -> Result<Read> {
    let from = docker(registry, of);
    let raw = run(registry, "skopeo", &["inspect", "--tls-verify=false", "--raw", &from]).await?;
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let file = folder.path().join("manifest.json");
    std::fs::write(&file, &raw).context("failed to write a manifest")?;
    let digest = run(registry, "skopeo", &["manifest-digest", &file.to_string_lossy()]).await?;
    Ok(Read { digest: text(&digest), bytes: raw })
}

/// Copies what `of` (repository:tag) names and all that it lists into a folder, which fails where something is not there.
pub async fn skopeo_copy_all(registry: &Registry, of: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let to = format!("dir:{}", folder.path().join("copy").display());
    let from = docker(registry, of);
    let copy = ["copy", "--all", "--src-tls-verify=false", &from, &to];
    // Whose signatures it asks for is nobody's business here.
    run(registry, "skopeo", &[&["--insecure-policy"], &copy[..]].concat()).await.map(drop)
}

/// Pushes the image or index in the OCI archive `archive` to `to` (repository:tag), byte for byte.
pub async fn push_archive(registry: &Registry, archive: &Path, to: &str) -> Result<()> {
    let (from, to) = (format!("oci-archive:{}", archive.display()), docker(registry, to));
    let copy = ["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to];
    run(registry, "skopeo", &[&["--insecure-policy"], &copy[..]].concat()).await.map(drop)
}

pub(super) fn docker(registry: &Registry, of: &str) -> String {
    format!("docker://{}", registry.uncounted(of))
}

//! crane: a second opinion on the manifest, on the choice of an image, and on whether all of it is there and true.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Read, run, text};
use crate::registry::Registry;

/// What crane reads under `of` (repository:tag).
pub async fn crane(registry: &Registry, of: &str) -> Result<Read> {
    let reference = registry.uncounted(of);
    let digest = run(registry, "crane", &["digest", "--insecure", &reference]).await?;
    let bytes = run(registry, "crane", &["manifest", "--insecure", &reference]).await?;
    Ok(Read { digest: text(&digest), bytes })
}

/// The digest of the image that crane gives to a machine of `platform`.
pub async fn crane_for(registry: &Registry, of: &str, platform: &str) -> Result<String> {
    let reference = registry.uncounted(of);
    // `windows(10.0.17763)/amd64` is `windows/amd64:10.0.17763` to it.
    let platform = match platform.split_once('(') {
        Some((os, rest)) => {
            let (version, architecture) = rest.split_once(')').context("a platform without )")?;
            format!("{os}{architecture}:{version}")
        }
        None => platform.to_owned(),
    };
    run(registry, "crane", &["digest", "--insecure", "--platform", &platform, &reference])
        .await
        .map(|digest| text(&digest))
}

/// The config of the image that `of` names.
pub async fn config(registry: &Registry, of: &str) -> Result<Value> {
    let config = run(registry, "crane", &["config", "--insecure", &registry.uncounted(of)]).await?;
    serde_json::from_slice(&config).context("a config that is no JSON")
}

/// Whether crane finds whole what `of` (repository:tag) names: every manifest, config and layer, by digest and size, and every
/// platform as the config says it.
pub async fn validate(registry: &Registry, of: &str) -> Result<()> {
    let reference = registry.uncounted(of);
    run(registry, "crane", &["validate", "--insecure", "--remote", &reference]).await.map(drop)
}

/// Pushes an image that lies in a folder as OCI lays it out.
pub async fn crane_push(registry: &Registry, layout: &Path, to: &str) -> Result<()> {
    let (from, to) = (layout.to_string_lossy(), registry.uncounted(to));
    run(registry, "crane", &["push", "--insecure", &from, &to]).await.map(drop)
}

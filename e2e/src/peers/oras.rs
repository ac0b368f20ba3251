//! oras: attaches to images, and tells what is attached.

use anyhow::{Context, Result};
use serde_json::Value;

use super::run;
use crate::registry::Registry;

/// Has oras attach an artifact of `artifact_type` without files to `of` (repository@digest), and returns its digest.
pub async fn attach(registry: &Registry, of: &str, artifact_type: &str) -> Result<String> {
    let reference = registry.uncounted(of);
    let attach = ["attach", "--plain-http", "--format", "json", "--artifact-type", artifact_type];
    let options = ["--annotation", "dev.multiarch.test=1", &reference];
    let attached = run(registry, "oras", &[attach.as_slice(), &options].concat()).await?;
    let attached: Value = serde_json::from_slice(&attached).context("no JSON of oras")?;
    attached["digest"].as_str().map(ToOwned::to_owned).context("oras attached without a digest")
}

/// The digests of all that refers to `of` (repository@digest), also by way of others, as oras discovers it.
pub async fn discover(registry: &Registry, of: &str) -> Result<Vec<String>> {
    let reference = registry.uncounted(of);
    let discover = ["discover", "--plain-http", "--format", "json", &reference];
    let found = run(registry, "oras", &discover).await?;
    let found: Value = serde_json::from_slice(&found).context("no JSON of oras")?;
    let mut digests = Vec::new();
    let mut left = vec![&found["referrers"]];
    while let Some(list) = left.pop() {
        for referrer in list.as_array().into_iter().flatten() {
            digests.extend(referrer["digest"].as_str().map(ToOwned::to_owned));
            left.push(&referrer["referrers"]);
        }
    }
    Ok(digests)
}

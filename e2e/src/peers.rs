//! Other tools' reading of what we published, and what they make and attach, each tool with an empty home.

mod archives;
mod containerd;
mod crane;
mod makers;
mod oras;
mod podman;
mod regctl;
mod skopeo;

use std::{fs, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

pub use self::{
    archives::{Pushed, Saver, crane_pushes, skopeo_pushes},
    containerd::containerd_for,
    crane::{config, crane, crane_for, crane_push, validate},
    makers::{Maker, make},
    oras::{attach, discover},
    podman::{has_podman, podman_save},
    regctl::regctl,
    skopeo::{push_archive, skopeo, skopeo_copy_all},
};
use crate::{bin::tool, images::digest, registry::Registry};

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

    /// What the index lists, in its order; empty for an image.
    pub fn listed(&self) -> Result<Vec<Value>> {
        Ok(self.json()?["manifests"].as_array().cloned().unwrap_or_default())
    }

    /// The digests of what the index lists, in its order.
    pub fn listed_digests(&self) -> Result<Vec<String>> {
        let digest = |child: &Value| child["digest"].as_str().unwrap_or_default().to_owned();
        Ok(self.listed()?.iter().map(digest).collect())
    }
}

/// What crane, regctl and skopeo read under `of` (repository:tag), which is the same, and has the digest that they give.
pub async fn read_by_all(registry: &Registry, of: &str) -> Result<Read> {
    let read = crane(registry, of).await?;
    for (name, other) in
        [("regctl", regctl(registry, of).await?), ("skopeo", skopeo(registry, of).await?)]
    {
        ensure!(other == read, "crane reads {read:?}, {name} {other:?}");
    }
    ensure!(digest(&read.bytes) == read.digest, "these bytes have another digest: {read:?}");
    Ok(read)
}

/// The same, once skopeo has copied all that it lists, and crane found nothing missing, and each platform to be the config's.
pub async fn is_whole(registry: &Registry, of: &str) -> Result<Read> {
    skopeo_copy_all(registry, of).await?;
    let read = read_by_all(registry, of).await?;
    let attests = |child: &&Value| child["annotations"]["vnd.docker.reference.type"].is_string();
    let listed = read.listed()?;
    if !listed.iter().any(|child| attests(&child)) {
        validate(registry, of).await?;
        return Ok(read);
    }
    // Attestation manifests are no images to crane ("mismatched number of diffids"), so it is shown what else there is.
    let (repository, _) = of.rsplit_once(':').context("a reference without tag")?;
    for child in listed.iter().filter(|child| !attests(child)) {
        let image = format!("{repository}@{}", child["digest"].as_str().unwrap_or_default());
        validate(registry, &image).await?;
        let config = config(registry, &image).await?;
        for field in ["os", "architecture", "variant", "os.version", "os.features"] {
            let (said, is) = (&child["platform"][field], &config[field]);
            ensure!(said == is, "{image} has {field} {is}, and the index says {said}");
        }
    }
    Ok(read)
}

/// Fails unless crane and containerd take the image with this digest for each of these platforms.
pub async fn each_gets_its_own(
    registry: &Registry,
    of: &str,
    images: &[(&str, String)],
) -> Result<()> {
    let platforms: Vec<_> = images.iter().map(|(platform, _)| *platform).collect();
    let taken = containerd_for(registry, of, &platforms).await?;
    for ((platform, expected), taken) in images.iter().zip(taken) {
        ensure!(taken == *expected, "containerd takes {taken} for {platform}, not {expected}");
        let taken = crane_for(registry, of, platform).await?;
        ensure!(taken == *expected, "crane takes {taken} for {platform}, not {expected}");
    }
    Ok(())
}

/// What the tool called `name` prints, logged in to `registry` where that asks for it; an error where it fails.
async fn run(registry: &Registry, name: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let home = tempfile::tempdir().context("failed to make a home")?;
    if let Some(config) = registry.docker_config() {
        let folder = home.path().join(".docker");
        fs::create_dir(&folder).context("failed to make a folder")?;
        fs::write(folder.join("config.json"), config.to_string()).context("failed to log in")?;
    }
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

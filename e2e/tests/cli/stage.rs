//! Two registries, somebody at a shell, and what the CLI has told them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use multiarch_e2e::{
    cli::{Cli, Ran},
    peers::{Pushed, Read, crane},
    registry::{Registry, Storage},
};
use serde_json::Value;
use tempfile::TempDir;

/// The stage of a test.
pub(crate) struct Stage {
    /// Where images come from.
    pub(crate) source: Registry,
    /// Where they go.
    pub(crate) target: Registry,
    /// Who asks for it.
    pub(crate) cli: Cli,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Result<Self> {
        Self::with(Storage::Memory).await
    }

    /// Whose target keeps its files in its memory or not.
    pub(crate) async fn with(storage: Storage) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let source = Registry::start(&folder.path().join("source"), None, Storage::Memory).await?;
        let target = Registry::start(&folder.path().join("target"), None, storage).await?;
        Ok(Self { source, target, cli: Cli::new()?, folder })
    }

    /// A file of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How often something was asked of the target that changes it.
    pub(crate) fn writes(&self) -> usize {
        let seen = self.target.proxy.seen();
        seen.iter().filter(|seen| !matches!(&*seen.method, "HEAD" | "GET")).count()
    }

    /// What the target has under `of`: the platforms that its index says, and the images; one image without an index says none.
    pub(crate) async fn images(&self, of: &str) -> Result<(Read, Vec<(String, Pushed)>)> {
        images(&self.target, of).await
    }
}

/// The same of any registry.
pub(crate) async fn images(registry: &Registry, of: &str) -> Result<(Read, Vec<(String, Pushed)>)> {
    let read = crane(registry, of).await?;
    let listed = read.listed()?;
    if listed.is_empty() {
        return Ok((read, vec![(String::new(), Pushed::read(registry, of).await?)]));
    }
    let (repository, _) = of.rsplit_once(':').context("a reference without tag")?;
    let mut images = Vec::new();
    for child in listed {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let platform = ["os", "architecture", "variant"].map(|it| text(&child["platform"][it]));
        let platform = platform.join("/").trim_end_matches('/').to_owned();
        let image = format!("{repository}@{}", text(&child["digest"]));
        images.push((platform, Pushed::read(registry, &image).await?));
    }
    Ok((read, images))
}

/// What became of the image with this target, out of what a command printed by `-o json`.
pub(crate) fn of(ran: &Ran, target: &str) -> Result<Value> {
    let printed = ran.json()?;
    let all = printed["images"].as_array().context("no images")?;
    let found = all.iter().find(|image| image["target"] == *target);
    found.cloned().with_context(|| format!("nothing of {target} in {printed:#}"))
}

/// Each image's outcome, in order.
pub(crate) fn outcomes(ran: &Ran) -> Result<Vec<String>> {
    let printed = ran.json()?;
    let all = printed["images"].as_array().context("no images")?;
    Ok(all.iter().map(|image| image["outcome"].as_str().unwrap_or_default().to_owned()).collect())
}

//! Archives that skopeo and crane write, and what they push of archives that others wrote.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Read, crane, run, skopeo::docker};
use crate::registry::Registry;

/// Who saves an image, and as what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Saver {
    /// `skopeo copy docker://… docker-archive:…`.
    SkopeoDocker,
    /// `skopeo copy docker://… oci-archive:…`: the image of one platform.
    SkopeoOci,
    /// `skopeo copy --all docker://… oci-archive:…`: all that an index lists.
    SkopeoOciAll,
    /// `crane pull --format=tarball`.
    CraneTarball,
    /// `crane pull --format=legacy`.
    CraneLegacy,
    /// `crane pull --format=oci`: a folder.
    CraneOci,
}

impl Saver {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SkopeoDocker,
        Self::SkopeoOci,
        Self::SkopeoOciAll,
        Self::CraneTarball,
        Self::CraneLegacy,
        Self::CraneOci,
    ];

    /// Whether it keeps manifests and layers as they are.
    #[must_use]
    pub fn keeps_digests(self) -> bool {
        matches!(self, Self::SkopeoOci | Self::SkopeoOciAll | Self::CraneOci)
    }

    /// Whether it saves all that an index lists.
    #[must_use]
    pub fn saves_all(self) -> bool {
        matches!(self, Self::SkopeoOciAll | Self::CraneOci)
    }

    /// Saves what `of` (repository:tag) names, of `platform` where it is one, under `name`, where there is room for a name.
    pub async fn save(
        self,
        registry: &Registry,
        of: &str,
        platform: &str,
        name: &str,
        to: &Path,
    ) -> Result<()> {
        let path = to.display();
        let crane = |format: &'static str| {
            let mut pull: Vec<String> =
                ["pull", "--insecure", "--format", format].map(Into::into).into();
            if !self.saves_all() {
                pull.extend(["--platform".into(), platform.into()]);
            }
            pull.extend([registry.uncounted(of), path.to_string()]);
            ("crane", pull)
        };
        let (os, architecture) = platform.split_once('/').context("a platform without os")?;
        let skopeo = |to: String| {
            let mut copy = vec!["--insecure-policy".to_owned()];
            copy.extend(["--override-os", os, "--override-arch", architecture].map(Into::into));
            copy.extend(["copy", "--src-tls-verify=false"].map(Into::into));
            if self.saves_all() {
                copy.push("--all".into());
            }
            copy.extend([docker(registry, of), to]);
            ("skopeo", copy)
        };
        let (tool, arguments) = match self {
            Self::SkopeoDocker => skopeo(format!("docker-archive:{path}:{name}")),
            Self::SkopeoOci | Self::SkopeoOciAll => skopeo(format!("oci-archive:{path}:{name}")),
            Self::CraneTarball => crane("tarball"),
            Self::CraneLegacy => crane("legacy"),
            Self::CraneOci => crane("oci"),
        };
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        run(registry, tool, &arguments).await.map(drop)
    }
}

/// What is at the registry, once skopeo has pushed the image called `name` of a docker archive.
pub async fn skopeo_pushes(
    registry: &Registry,
    archive: &Path,
    name: &str,
    to: &str,
) -> Result<Pushed> {
    let from = format!("docker-archive:{}:{name}", archive.display());
    let copy = ["--insecure-policy", "copy", "--dest-tls-verify=false", &from];
    run(registry, "skopeo", &[&copy[..], &[&docker(registry, to)]].concat()).await?;
    Pushed::read(registry, to).await
}

/// What is at the registry, once crane has pushed the only image of an archive or layout.
pub async fn crane_pushes(registry: &Registry, archive: &Path, to: &str) -> Result<Pushed> {
    super::crane_push(registry, archive, to).await?;
    Pushed::read(registry, to).await
}

/// An image at a registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pushed {
    /// The manifest, as crane reads it.
    pub manifest: Read,
    /// The digest of its config, which is the image's id.
    pub config: String,
    /// What its layers are when they are unpacked.
    pub diff_ids: Vec<String>,
    /// The digests of its layers.
    pub layers: Vec<String>,
}

impl Pushed {
    /// What `of` (repository:tag or repository@digest) names, once all of it was found there, and its layers to be what the config says.
    pub async fn read(registry: &Registry, of: &str) -> Result<Self> {
        let manifest = crane(registry, of).await?;
        let document = manifest.json()?;
        let config = super::config(registry, of).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = |list: &Value, of: fn(&Value) -> &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().map(|it| text(of(it))).collect()
        };
        let pushed = Self {
            config: text(&document["config"]["digest"]),
            diff_ids: all(&config["rootfs"]["diff_ids"], |it| it),
            layers: all(&document["layers"], |it| &it["digest"]),
            manifest,
        };
        if !all(&document["layers"], |it| &it["mediaType"]).iter().all(|it| it.ends_with("tar")) {
            super::validate(registry, of).await?;
            return Ok(pushed);
        }
        // crane takes all layers for compressed ones. These are not: they are what their digests say, which the registry holds them to.
        ensure!(pushed.layers == pushed.diff_ids, "{of} has other layers than its config says");
        let (repository, _) = of.split_once(['@', ':']).context("a reference without tag")?;
        for layer in &pushed.layers {
            ensure!(registry.has_blob(repository, layer).await?, "{of} lacks {layer}");
        }
        Ok(pushed)
    }
}

//! Archives as other tools write them, entry for entry. What `docker save` and `podman save` themselves wrote is in `fixtures/archives`, and a
//! test holds these writers to it.

mod compressed;
mod docker;
pub mod k3s;
mod layer;
mod layout;
mod tar;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

pub use self::{
    compressed::{Compression, unpack},
    layer::Layer,
};
use crate::{bin::workspace, images::Image};

/// The archives that real tools wrote, each of `team/app:1` (also `registry.example.com:5000/team/app:stable`; three layers, of which the
/// last is the first again) and `pause:3.1`; all of linux/arm64.
pub const WRITTEN: [&str; 4] =
    ["docker-20.10.24", "docker-26.1.5", "docker-26.1.5-containerd", "podman-4.3.1"];

/// One of [`WRITTEN`], as it was before it was compressed.
pub fn written(name: &str) -> Result<Vec<u8>> {
    let file = workspace().join(format!("e2e/fixtures/archives/{name}.tar.gz"));
    let bytes =
        std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
    unpack(&bytes)
}

/// Who writes an archive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writer {
    /// `docker save` until docker 24 (image/tarexport/save.go of v20.10.24): a folder a layer, whose layer of an earlier folder is a link.
    Docker20,
    /// `docker save` since docker 25, of a graph driver (the same file of v26.1.5): an OCI layout whose layers are not compressed.
    Docker26,
}

/// An image that is saved: its names, its config, and its layers without compression.
#[derive(Clone, Debug)]
pub struct Saved {
    /// As Docker spells them out: `docker.io/library/busybox:1`.
    pub names: Vec<String>,
    /// The bytes of its config.
    pub config: Vec<u8>,
    /// Its layers.
    pub layers: Vec<Layer>,
}

impl Saved {
    /// What an image's builder has of it, where its registry has `image`.
    pub fn of(image: &Image, names: &[&str]) -> Result<Self> {
        let (config, layers) = image.blobs.split_first().context("an image without config")?;
        let layers = layers.iter().map(|layer| unpack(&layer.bytes).map(Layer::new));
        Ok(Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            config: config.bytes.clone(),
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// An image of `layers` whose config says `platform` (os/architecture).
    pub fn made(platform: &str, names: &[&str], layers: Vec<Layer>) -> Result<Self> {
        let (os, architecture) = platform.split_once('/').context("a platform without os")?;
        let diff_ids: Vec<_> = layers.iter().map(Layer::digest).collect();
        let config = json!({
            "architecture": architecture,
            "os": os,
            "config": {"Entrypoint": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": diff_ids.iter().map(|_| json!({"created_by": "COPY hello /"})).collect::<Vec<_>>(),
        });
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { names, config: config.to_string().into_bytes(), layers })
    }

    /// The digest of its config, which is Docker's name of it.
    #[must_use]
    pub fn id(&self) -> String {
        crate::images::digest(&self.config)
    }

    /// Its config.
    pub fn about(&self) -> Result<Value> {
        serde_json::from_slice(&self.config).context("a config that is no JSON")
    }
}

/// Writes what `writer` makes of `images` to a file.
pub fn save(writer: Writer, images: &[Saved], to: &Path, compression: Compression) -> Result<()> {
    let entries = match writer {
        Writer::Docker20 => docker::entries(images)?,
        Writer::Docker26 => layout::of_graph_driver(images)?,
    };
    write(&entries, to, compression)
}

/// Writes what `docker save` writes of a containerd store (`ctr images export` and `nerdctl save`, too; core/images/archive/exporter.go of
/// containerd v2.1) to a file: of an index only the images of `platforms` are there, with all else that it lists being absent.
pub fn save_containerd(
    images: &[(&Image, &[&str])],
    platforms: &[&str],
    to: &Path,
    compression: Compression,
) -> Result<()> {
    write(&layout::of_containerd(images, platforms)?, to, compression)
}

fn write(entries: &[tar::Entry], to: &Path, compression: Compression) -> Result<()> {
    let file = File::create(to).with_context(|| format!("failed to make {}", to.display()))?;
    let mut file = BufWriter::new(file);
    compression.compress(&mut file, |plain| tar::write(entries, plain))?;
    file.flush().with_context(|| format!("failed to write {}", to.display()))
}

/// Unpacks the archive `from`, which is not compressed, into a folder of this name beside it: an OCI layout as a folder.
pub fn unpacked(from: &Path, name: &str) -> Result<PathBuf> {
    let folder = from.with_file_name(name);
    let file = File::open(from).with_context(|| format!("failed to open {}", from.display()))?;
    ::tar::Archive::new(file).unpack(&folder).context("failed to unpack")?;
    Ok(folder)
}

/// `docker.io/library/busybox:1` as people write it, the name without tag, and the tag.
fn familiar(name: &str) -> Result<(&str, &str, &str)> {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let (repository, tag) = name.rsplit_once(':').context("a name without tag")?;
    Ok((name, repository, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::{Blob, Manifest};

    /// What is in `fixtures/archives/docker-*`, out of podman's archive of the same images.
    fn images() -> Result<Vec<Saved>> {
        let archive = written("podman-4.3.1")?;
        let files = tar::files(&archive)?;
        let listed: Vec<Value> = serde_json::from_slice(&files["manifest.json"])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let texts =
            |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
        let image = |of: &Value| Saved {
            names: texts(&of["RepoTags"]),
            config: files[&text(&of["Config"])].clone(),
            layers: texts(&of["Layers"])
                .iter()
                .map(|layer| Layer::new(files[layer].clone()))
                .collect(),
        };
        Ok(listed.iter().map(image).collect())
    }

    /// Name, kind, mode, owner, link and content of each entry, in order. Not its time, which is now where docker forgets to set it.
    fn told(archive: &[u8]) -> Result<Vec<String>> {
        let mut archive = ::tar::Archive::new(archive);
        let mut told = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let mut content = Vec::new();
            let header = entry.header().clone();
            let owner = header.username().ok().flatten().unwrap_or_default().to_owned();
            let link =
                entry.link_name()?.map(|link| link.display().to_string()).unwrap_or_default();
            let path = entry.path()?.display().to_string();
            let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            std::io::Read::read_to_end(&mut entry, &mut content)?;
            let content = String::from_utf8_lossy(&content);
            assert_eq!(path.trim_end_matches('/'), raw.trim_end_matches('/'));
            told.push(format!(
                "{raw} {:?} {:o} {owner} {link} {content}",
                header.entry_type(),
                header.mode()?
            ));
        }
        Ok(told)
    }

    #[test]
    fn docker_save_is_what_docker_saves() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("saved.tar");
        for (writer, name) in
            [(Writer::Docker20, "docker-20.10.24"), (Writer::Docker26, "docker-26.1.5")]
        {
            save(writer, &images()?, &file, Compression::None)?;
            assert_eq!(told(&std::fs::read(&file)?)?, told(&written(name)?)?, "{name}");
        }
        Ok(())
    }

    /// The images that an archive of a containerd store has, out of its index.json.
    fn indexed(archive: &[u8]) -> Result<Vec<(Image, Vec<String>)>> {
        let files = tar::files(archive)?;
        let blob = |digest: &Value| {
            let digest = digest.as_str().unwrap_or_default().to_owned();
            let bytes = files[&digest.replacen("sha256:", "blobs/sha256/", 1)].clone();
            Blob { digest, bytes }
        };
        let manifest = |of: &Value| Manifest {
            media_type: of["mediaType"].as_str().unwrap_or_default().to_owned(),
            bytes: blob(&of["digest"]).bytes,
        };
        let index: Value = serde_json::from_slice(&files["index.json"])?;
        let mut images: Vec<(Image, Vec<String>)> = Vec::new();
        for listed in index["manifests"].as_array().into_iter().flatten() {
            let top = manifest(listed);
            let name = &listed["annotations"]["io.containerd.image.name"];
            let name = name.as_str().unwrap_or_default().to_owned();
            if let Some((_, names)) = images.iter_mut().find(|(it, _)| it.digest() == top.digest())
            {
                names.push(name);
                continue;
            }
            let document: Value = serde_json::from_slice(&top.bytes)?;
            let children = document["manifests"].as_array().into_iter().flatten().map(manifest);
            let children: Vec<_> = children.collect();
            let mut blobs = Vec::new();
            for of in children.iter().chain([&top]) {
                let of: Value = serde_json::from_slice(&of.bytes)?;
                let layers = of["layers"].as_array().into_iter().flatten();
                let all = layers.chain(of.get("config"));
                blobs.extend(all.map(|of| blob(&of["digest"])));
            }
            images.push((Image { manifest: top, children, blobs }, vec![name]));
        }
        Ok(images)
    }

    #[test]
    fn an_export_of_containerd_is_what_docker_saves_of_its_store() -> Result<()> {
        let written = written("docker-26.1.5-containerd")?;
        let images = indexed(&written)?;
        let names: Vec<Vec<_>> =
            images.iter().map(|(_, names)| names.iter().map(String::as_str).collect()).collect();
        let images: Vec<_> =
            images.iter().zip(&names).map(|((image, _), names)| (image, &names[..])).collect();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("saved.tar");
        save_containerd(&images, &["linux/amd64", "linux/arm64"], &file, Compression::None)?;
        let saved = std::fs::read(&file)?;
        // Go writes manifest.json by an order that is another one each time.
        let sorted = |archive: &[u8]| -> Result<(Vec<String>, Vec<String>)> {
            let told = told(archive)?.into_iter().filter(|it| !it.starts_with("manifest.json"));
            let listed: Vec<Value> =
                serde_json::from_slice(&tar::files(archive)?["manifest.json"])?;
            let mut listed: Vec<_> = listed.iter().map(Value::to_string).collect();
            listed.sort();
            Ok((told.collect(), listed))
        };
        assert_eq!(sorted(&saved)?, sorted(&written)?);
        Ok(())
    }
}

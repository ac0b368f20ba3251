//! OCI layouts with a manifest.json beside them: `docker save` since docker 25, and containerd's export.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::{
    Saved,
    docker::{hex, line, versions},
    familiar,
    tar::{Content, Entry},
};
use crate::images::{DOCKER_LIST, Image, Manifest, OCI_INDEX, OCI_MANIFEST, digest};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// In the order of OCI's struct in Go.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, &'a str>,
}

/// In the order of distribution's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    media_type: &'static str,
    size: u64,
    digest: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor<'a>,
    layers: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor<'a>>,
}

/// What manifest.json says of an image.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    config: String,
    repo_tags: Vec<&'a str>,
    layers: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layer_sources: BTreeMap<&'a str, Source>,
}

impl<'a> Descriptor<'a> {
    fn new(media_type: &'a str, digest: &str, size: u64) -> Self {
        Self { media_type, digest: digest.to_owned(), size, annotations: BTreeMap::new() }
    }

    fn named(&self, name: &'a str) -> Result<Self> {
        let (_, _, tag) = familiar(name)?;
        let annotations =
            [("io.containerd.image.name", name), ("org.opencontainers.image.ref.name", tag)];
        Ok(Self { annotations: annotations.into(), ..self.clone() })
    }
}

impl<'a> Index<'a> {
    fn bytes(manifests: Vec<Descriptor<'a>>) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Self { schema_version: 2, media_type: OCI_INDEX, manifests })?)
    }
}

pub(super) fn of_graph_driver(images: &[Saved]) -> Result<Vec<Entry>> {
    let mut files = BTreeMap::from([
        ("blobs/".to_owned(), Content::Folder),
        ("blobs/sha256/".to_owned(), Content::Folder),
        ("oci-layout".into(), Content::Bytes(br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec())),
    ]);
    let (mut listed, mut indexed) = (Vec::new(), Vec::new());
    let mut names: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for image in images {
        for version in versions(image)? {
            let bytes = serde_json::to_vec(&version)?;
            files.insert(blob(&digest(&bytes)), Content::Bytes(bytes));
        }
        let layers = image.layers.iter();
        files.extend(
            layers.clone().map(|layer| (blob(layer.digest()), Content::Layer(layer.clone()))),
        );
        files.insert(blob(&image.id()), Content::Bytes(image.config.clone()));
        let manifest = serde_json::to_vec(&Document {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            config: Descriptor::new(CONFIG, &image.id(), image.config.len() as u64),
            layers: layers
                .clone()
                .map(|layer| Descriptor::new(LAYER, layer.digest(), layer.size()))
                .collect(),
        })?;
        let described = Descriptor::new(OCI_MANIFEST, &digest(&manifest), manifest.len() as u64);
        files.insert(blob(&described.digest), Content::Bytes(manifest));
        let top = image.layers.last().context("an image without layers")?;
        let mut repo_tags = Vec::new();
        for full in &image.names {
            let (name, repository, tag) = familiar(full)?;
            repo_tags.push(name);
            names.entry(repository).or_default().insert(tag, hex(top.digest()));
            indexed.push(described.named(full)?);
        }
        if indexed.is_empty() {
            indexed.push(described);
        }
        listed.push(Listed {
            config: blob(&image.id()),
            repo_tags,
            layers: layers.clone().map(|layer| blob(layer.digest())).collect(),
            layer_sources: layers
                .map(|layer| {
                    let (size, digest) = (layer.size(), layer.digest().to_owned());
                    (layer.digest(), Source { media_type: LAYER, size, digest })
                })
                .collect(),
        });
    }
    files.insert("manifest.json".into(), Content::Bytes(line(&listed)?));
    files.insert("index.json".into(), Content::Bytes(Index::bytes(indexed)?));
    if !names.is_empty() {
        files.insert("repositories".into(), Content::Bytes(line(&names)?));
    }
    let entry = |(path, content): (String, _)| {
        let mode = if path.ends_with('/') { 0o755 } else { 0o644 };
        Entry { path, mode, owner: "", content }
    };
    Ok(files.into_iter().map(entry).collect())
}

pub(super) fn of_containerd(
    images: &[(&Image, &[&str])],
    platforms: &[&str],
) -> Result<Vec<Entry>> {
    let mut files = BTreeMap::from([
        ("blobs/".to_owned(), Content::Folder),
        ("blobs/sha256/".to_owned(), Content::Folder),
        ("oci-layout".into(), Content::Bytes(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())),
    ]);
    let (mut listed, mut indexed) = (Vec::new(), Vec::new());
    for (image, names) in images {
        let top = &image.manifest;
        files.insert(blob(&top.digest()), Content::Bytes(top.bytes.clone()));
        let of_index = [OCI_INDEX, DOCKER_LIST].contains(&&*top.media_type);
        let manifests = if of_index { &image.children[..] } else { std::slice::from_ref(top) };
        let mut chosen = None;
        for manifest in manifests {
            let document: Value = serde_json::from_slice(&manifest.bytes)?;
            if of_index && !is_of(image, &document, platforms)? {
                continue;
            }
            chosen.get_or_insert_with(|| document.clone());
            files.insert(blob(&manifest.digest()), Content::Bytes(manifest.bytes.clone()));
            for digest in digests(&document) {
                let of = image.blobs.iter().find(|of| of.digest == digest).context("no blob")?;
                files.insert(blob(&digest), Content::Bytes(of.bytes.clone()));
            }
        }
        let described = of_manifest(top);
        let mut repo_tags = Vec::new();
        for &name in *names {
            repo_tags.push(familiar(name)?.0);
            indexed.push(described.named(name)?);
        }
        if let Some(document) = chosen {
            let mut blobs = digests(&document).into_iter().map(|digest| blob(&digest));
            let config = blobs.next().context("an image without config")?;
            let layers = blobs.collect();
            listed.push(Listed { config, repo_tags, layers, layer_sources: BTreeMap::new() });
        }
    }
    files.insert("manifest.json".into(), Content::Bytes(serde_json::to_vec(&listed)?));
    files.insert("index.json".into(), Content::Bytes(Index::bytes(indexed)?));
    let entry = |(path, content): (String, _)| {
        let mode = match &*path {
            "index.json" | "manifest.json" => 0o644,
            folder if folder.ends_with('/') => 0o755,
            _ => 0o444,
        };
        Entry { path, mode, owner: "", content }
    };
    Ok(files.into_iter().map(entry).collect())
}

fn of_manifest(manifest: &Manifest) -> Descriptor<'_> {
    Descriptor::new(&manifest.media_type, &manifest.digest(), manifest.bytes.len() as u64)
}

/// Whether the config of the manifest `document` says one of `platforms`.
fn is_of(image: &Image, document: &Value, platforms: &[&str]) -> Result<bool> {
    let config = document["config"]["digest"].as_str().unwrap_or_default();
    let config = image.blobs.iter().find(|blob| blob.digest == config).context("no config")?;
    let config: Value = serde_json::from_slice(&config.bytes)?;
    let text = |field: &str| config[field].as_str().unwrap_or_default();
    let platform = ["os", "architecture", "variant"].map(text).join("/");
    Ok(platforms.contains(&platform.trim_end_matches('/')))
}

/// The config's digest and the layers'.
fn digests(document: &Value) -> Vec<String> {
    let layers = document["layers"].as_array().into_iter().flatten();
    let all = [&document["config"]].into_iter().chain(layers);
    all.map(|blob| blob["digest"].as_str().unwrap_or_default().to_owned()).collect()
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

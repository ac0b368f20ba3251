//! `docker save` until docker 24: a folder a layer, by the id that images had before docker 1.10.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::{
    Layer, Saved, familiar,
    tar::{Content, Entry},
};
use crate::images::digest;

/// What manifest.json says of an image.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    config: String,
    repo_tags: Vec<&'a str>,
    layers: Vec<String>,
}

/// An image as docker had it before 1.10, in the order of Go's struct.
#[derive(Clone, Default, Serialize)]
pub(super) struct V1Image {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) parent: String,
    created: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    container: String,
    container_config: Config,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Config>,
    #[serde(skip_serializing_if = "String::is_empty")]
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    os: String,
}

/// What a container is run with, with all that is always written.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of Docker's")]
struct Config {
    hostname: String,
    domainname: String,
    user: String,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Value,
    cmd: Value,
    image: String,
    volumes: Value,
    working_dir: String,
    entrypoint: Value,
    on_build: Value,
    labels: Value,
}

impl Config {
    fn of(config: &Value) -> Self {
        let text = |field: &str| config[field].as_str().unwrap_or_default().to_owned();
        let any = |field: &str| config[field].clone();
        Self {
            user: text("User"),
            env: any("Env"),
            cmd: any("Cmd"),
            volumes: any("Volumes"),
            working_dir: text("WorkingDir"),
            entrypoint: any("Entrypoint"),
            on_build: any("OnBuild"),
            labels: any("Labels"),
            ..Self::default()
        }
    }
}

/// Go's first moment, which is what is not said.
const NEVER: &str = "0001-01-01T00:00:00Z";
const EPOCH: &str = "1970-01-01T00:00:00Z";

pub(super) fn entries(images: &[Saved]) -> Result<Vec<Entry>> {
    let mut files = BTreeMap::new();
    let mut saved: BTreeMap<&str, String> = BTreeMap::new();
    let mut listed = Vec::new();
    let mut names: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for image in images {
        let versions = versions(image)?;
        for (version, layer) in versions.iter().zip(&image.layers) {
            let folder = &version.id;
            if files.insert(format!("{folder}/"), (0o40_755, Content::Folder)).is_some() {
                continue;
            }
            let file = |bytes: Vec<u8>| (0o100_644, Content::Bytes(bytes));
            files.insert(format!("{folder}/VERSION"), file(b"1.0".to_vec()));
            files.insert(format!("{folder}/json"), file(serde_json::to_vec(version)?));
            let content = if let Some(earlier) = saved.get(layer.digest()) {
                (0o120_777, Content::Link(format!("../{earlier}/layer.tar")))
            } else {
                saved.insert(layer.digest(), folder.clone());
                (0o100_644, Content::Layer(Layer::clone(layer)))
            };
            files.insert(format!("{folder}/layer.tar"), content);
        }
        let config = format!("{}.json", hex(&image.id()));
        files.insert(config.clone(), (0o100_644, Content::Bytes(image.config.clone())));
        let top = &versions.last().context("an image without layers")?.id;
        let mut repo_tags = Vec::new();
        for name in &image.names {
            let (name, repository, tag) = familiar(name)?;
            repo_tags.push(name);
            names.entry(repository).or_default().insert(tag, top.clone());
        }
        let layers = versions.iter().map(|version| format!("{}/layer.tar", version.id)).collect();
        listed.push(Listed { config, repo_tags, layers });
    }
    files.insert("manifest.json".into(), (0o100_644, Content::Bytes(line(&listed)?)));
    if !names.is_empty() {
        files.insert("repositories".into(), (0o100_644, Content::Bytes(line(&names)?)));
    }
    let entry = |(path, (mode, content))| Entry { path, mode, owner: "root", content };
    Ok(files.into_iter().map(entry).collect())
}

/// What there is of `image` up to each of its layers (image/v1.CreateID).
pub(super) fn versions(image: &Saved) -> Result<Vec<V1Image>> {
    let about = image.about()?;
    let text = |field: &str| about[field].as_str().unwrap_or_default().to_owned();
    let mut versions: Vec<V1Image> = Vec::new();
    let mut chain = String::new();
    for (number, layer) in image.layers.iter().enumerate() {
        chain = match &*chain {
            "" => layer.digest().to_owned(),
            below => digest(format!("{below} {}", layer.digest()).as_bytes()),
        };
        let mut version = if number + 1 == image.layers.len() {
            V1Image {
                created: about["created"].as_str().unwrap_or(NEVER).to_owned(),
                container: text("container"),
                container_config: Config::of(&about["container_config"]),
                config: about.get("config").map(Config::of),
                architecture: text("architecture"),
                os: text("os"),
                ..V1Image::default()
            }
        } else {
            V1Image { created: EPOCH.into(), ..V1Image::default() }
        };
        // The id is that of the fields' bytes by the order of their names, with two more.
        let parent = versions.last().map(|parent| parent.id.clone()).unwrap_or_default();
        let mut fields = fields(&serde_json::to_string(&version)?)?;
        fields.insert("layer_id".into(), serde_json::value::to_raw_value(&chain)?);
        if !parent.is_empty() {
            let parent = serde_json::value::to_raw_value(&format!("sha256:{parent}"))?;
            fields.insert("parent".into(), parent);
        }
        hex(&digest(&serde_json::to_vec(&fields)?)).clone_into(&mut version.id);
        version.parent = parent;
        version.os = text("os");
        versions.push(version);
    }
    Ok(versions)
}

fn fields(text: &str) -> Result<BTreeMap<String, Box<serde_json::value::RawValue>>> {
    serde_json::from_str(text).context("no JSON object")
}

/// As Go's Encoder writes it: with a newline.
pub(super) fn line(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The digest without its algorithm.
pub(super) fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

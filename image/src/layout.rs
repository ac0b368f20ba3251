//! The image as OCI lays it out: a layer, a config, a manifest, and an index that lists it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    layer::{Archive, gzip},
    platform::Platform,
    root,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// What says that a folder is a layout.
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// Where a tool finds the name of an image in a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

/// What the image says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// The version of the operator.
    pub version: String,
    /// The commit that it was built of, where it is known.
    pub revision: Option<String>,
    /// When that was made, in seconds of Unix time.
    pub created: u64,
    /// Where its sources are.
    pub source: String,
}

impl About {
    /// When the commit was made, as RFC 3339 says it.
    pub fn time(&self) -> Result<String> {
        let seconds = i64::try_from(self.created).context("no time is so late")?;
        Ok(Timestamp::from_second(seconds).context("no time is so late")?.to_string())
    }

    /// Labels of the config, and annotations of the manifest.
    pub fn labels(&self) -> Result<BTreeMap<String, String>> {
        let mut labels = BTreeMap::from([
            ("created", self.time()?),
            ("description", "Publishes multi-arch images from per-arch sources".into()),
            ("documentation", format!("{}#readme", self.source)),
            ("licenses", "Apache-2.0".into()),
            ("source", self.source.clone()),
            ("title", root::PROGRAM.into()),
            ("version", self.version.clone()),
        ]);
        labels.extend(self.revision.clone().map(|revision| ("revision", revision)));
        let label = |(key, value)| (format!("org.opencontainers.image.{key}"), value);
        Ok(labels.into_iter().map(label).collect())
    }
}

/// An image, ready to be written.
#[derive(Debug)]
pub struct Layout {
    /// The digest of its manifest, which is the image's.
    pub digest: String,
    /// The bytes of its files, by their path.
    files: BTreeMap<String, Vec<u8>>,
    created: u64,
}

impl Layout {
    /// The image of a static `program` for `platform`.
    pub fn of(program: Vec<u8>, platform: &Platform, about: &About) -> Result<Self> {
        let mut layer = Archive::new(about.created);
        for file in root::files(program) {
            layer.add(file.path, file.mode, file.bytes.as_deref())?;
        }
        let layer = layer.finish()?;
        let (time, labels) = (about.time()?, about.labels()?);
        let mut files = BTreeMap::new();
        let mut store = |media_type, bytes: Vec<u8>| {
            let described = Descriptor::of(media_type, &bytes);
            files.insert(described.path(), bytes);
            described
        };
        let config = Image {
            created: &time,
            architecture: platform.architecture,
            variant: platform.variant,
            os: "linux",
            config: Run {
                user: root::USER,
                env: ["PATH=/"],
                entrypoint: [format!("/{}", root::PROGRAM)],
                working_dir: "/",
                labels: &labels,
            },
            rootfs: Rootfs { kind: "layers", diff_ids: [digest(&layer)] },
            history: [History { created: &time, created_by: "multiarch-image" }],
        };
        let config = store(CONFIG, json(&config)?);
        let layer = store(LAYER, gzip(&layer));
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            config,
            layers: [layer],
            annotations: &labels,
        };
        let mut listed = store(MANIFEST, json(&manifest)?);
        let digest = listed.digest.clone();
        listed.annotations = Some(BTreeMap::from([(NAME, about.version.clone())]));
        listed.platform = Some(Listed {
            architecture: platform.architecture,
            os: "linux",
            variant: platform.variant,
        });
        let index = Index { schema_version: 2, media_type: INDEX, manifests: [listed] };
        files.insert("index.json".into(), json(&index)?);
        files.insert("oci-layout".into(), VERSION.into());
        Ok(Self { digest, files, created: about.created })
    }

    /// Writes it into `folder`, which is made anew.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let wrote = |path: &PathBuf| format!("failed to write {}", path.display());
        if folder.exists() {
            // Never a folder of something else.
            ensure!(folder.join("oci-layout").is_file(), "{} is no layout", folder.display());
            fs::remove_dir_all(folder).with_context(|| wrote(&folder.to_owned()))?;
        }
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| wrote(&blobs))?;
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            fs::write(&path, bytes).with_context(|| wrote(&path))?;
        }
        Ok(())
    }

    /// It as one file: a tar archive of that folder.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::new(self.created);
        for folder in ["blobs/", "blobs/sha256/"] {
            archive.add(folder, 0o755, None)?;
        }
        for (path, bytes) in &self.files {
            archive.add(path, 0o644, Some(bytes))?;
        }
        archive.finish()
    }
}

/// What a descriptor says of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hex = |byte: u8| format!("{byte:02x}");
    format!("sha256:{}", Sha256::digest(bytes).into_iter().map(hex).collect::<String>())
}

/// Fields in the order in which they stand here, so that no feature of a library changes the digest.
fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).context("failed to write JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Listed>,
}

impl Descriptor {
    fn of(media_type: &'static str, bytes: &[u8]) -> Self {
        let (digest, size) = (digest(bytes), bytes.len());
        Self { media_type, digest, size, annotations: None, platform: None }
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }
}

#[derive(Serialize)]
struct Listed {
    architecture: &'static str,
    os: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: [Descriptor; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Image<'a> {
    created: &'a str,
    architecture: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'static str>,
    os: &'static str,
    config: Run<'a>,
    rootfs: Rootfs,
    history: [History<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run<'a> {
    user: &'static str,
    env: [&'static str; 1],
    entrypoint: [String; 1],
    working_dir: &'static str,
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [String; 1],
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'static str,
}

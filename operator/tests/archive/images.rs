//! Images as programs write them into archives.

use multiarch_operator::oci::{Digest, media_type};
use serde_json::{Value, json};

use super::write::{Tar, gzip};

/// The files of an archive.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// Writes images with their names.
pub(crate) type Writer = fn(&[(&Image, &[&str])]) -> Files;

/// An image: its config, and its layers as they are unpacked.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image {
    /// An image of two layers, and of the first one once more, as Docker's empty layers are.
    pub(crate) fn of(architecture: &str) -> Self {
        let layer = |name: &str, text: &str| Tar::new().file(name, text.as_bytes()).end();
        let base = layer("etc/motd", "the same for all\n");
        let own = layer("bin/hello", &format!("{architecture}\n").repeat(50_000));
        Self::with(architecture, vec![base.clone(), own, base])
    }

    pub(crate) fn with(architecture: &str, layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        let config = json!({"architecture": architecture, "os": "linux", "rootfs": rootfs});
        Self { config: config.to_string().into_bytes(), layers }
    }

    /// The digest of its config.
    pub(crate) fn id(&self) -> Digest {
        Digest::of(&self.config)
    }
}

/// The path of a blob in a layout.
pub(crate) fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).encoded())
}

fn tags(names: &[&str]) -> Value {
    // Of an image without a name, docker writes null.
    if names.is_empty() { Value::Null } else { json!(names) }
}

fn with_list(mut files: Files, list: &[Value]) -> Files {
    files.push(("manifest.json".into(), json!(list).to_string().into_bytes()));
    files
}

/// As `docker save` until docker 24 writes them.
pub(crate) fn docker(images: &[(&Image, &[&str])]) -> Files {
    let (mut files, mut list) = (Files::new(), Vec::new());
    for (image, names) in images {
        let mut layers = Vec::new();
        for (at, layer) in image.layers.iter().enumerate() {
            let id = Digest::of(format!("{} {at}", image.id()).as_bytes());
            files.push((format!("{}/VERSION", id.encoded()), b"1.0".to_vec()));
            files.push((format!("{}/json", id.encoded()), b"{}".to_vec()));
            layers.push(format!("{}/layer.tar", id.encoded()));
            files.push((format!("{}/layer.tar", id.encoded()), layer.clone()));
        }
        let config = format!("{}.json", image.id().encoded());
        files.push((config.clone(), image.config.clone()));
        list.push(json!({"Config": config, "RepoTags": tags(names), "Layers": layers}));
    }
    files.push(("repositories".into(), b"{}".to_vec()));
    with_list(files, &list)
}

/// As crane writes them: configs that are called by their digest, layers that are packed.
pub(crate) fn crane(images: &[(&Image, &[&str])]) -> Files {
    let (mut files, mut list) = (Files::new(), Vec::new());
    for (image, names) in images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let packed = gzip(layer);
            let name = format!("{}.tar.gz", Digest::of(&packed).encoded());
            if !layers.contains(&name) {
                files.push((name.clone(), packed));
            }
            layers.push(name);
        }
        let config = image.id().to_string();
        files.push((config.clone(), image.config.clone()));
        list.push(json!({"Config": config, "RepoTags": tags(names), "Layers": layers}));
    }
    with_list(files, &list)
}

/// As podman and skopeo write them: layers by the name of their diff_id, and links to them as docker had them.
pub(crate) fn podman(images: &[(&Image, &[&str])]) -> Tar {
    let (mut tar, mut list) = (Tar::new(), Vec::new());
    for (image, names) in images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let name = format!("{}.tar", Digest::of(layer).encoded());
            if !layers.contains(&name) {
                let id = Digest::of(name.as_bytes());
                tar = tar.file(&name, layer);
                tar = tar.link(&format!("{}/layer.tar", id.encoded()), &format!("../{name}"));
            }
            layers.push(name);
        }
        let config = format!("{}.json", image.id().encoded());
        tar = tar.file(&config, &image.config);
        list.push(json!({"Config": config, "RepoTags": tags(names), "Layers": layers}));
    }
    tar.file("manifest.json", json!(list).to_string().as_bytes())
}

/// A layout in the making.
#[derive(Default)]
pub(crate) struct Layout {
    pub(crate) files: Files,
    listed: Vec<Value>,
    saved: Vec<Value>,
}

impl Layout {
    /// Adds a blob, and gives its descriptor.
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.files.push((blob(bytes), bytes.to_vec()));
        describe(media_type, bytes)
    }

    /// Adds an image, with its layers plain as docker has them, or packed; and gives its descriptor.
    pub(crate) fn image(&mut self, image: &Image, packed: bool) -> Value {
        let config = self.blob(media_type::OCI_CONFIG, &image.config);
        let layers: Vec<_> = image
            .layers
            .iter()
            .map(|layer| {
                if packed {
                    self.blob(media_type::OCI_LAYER, &gzip(layer))
                } else {
                    self.blob("application/vnd.oci.image.layer.v1.tar", layer)
                }
            })
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": config, "layers": layers});
        self.blob(media_type::OCI_MANIFEST, manifest.to_string().as_bytes())
    }

    /// Adds an index of `children`, and gives its descriptor.
    pub(crate) fn index(&mut self, children: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
            "manifests": children});
        self.blob(media_type::OCI_INDEX, index.to_string().as_bytes())
    }

    /// Lists what is described, with annotations.
    pub(crate) fn list(&mut self, descriptor: &Value, annotations: &[(&str, &str)]) {
        let mut descriptor = descriptor.clone();
        for (key, value) in annotations {
            descriptor["annotations"][*key] = json!(value);
        }
        self.listed.push(descriptor);
    }

    /// Lists an image in manifest.json, too.
    pub(crate) fn save(&mut self, image: &Image, names: &[&str]) {
        let layers: Vec<_> = image.layers.iter().map(|layer| blob(layer)).collect();
        let config = blob(&image.config);
        self.saved.push(json!({"Config": config, "RepoTags": tags(names), "Layers": layers}));
    }

    /// All files of it.
    pub(crate) fn end(mut self) -> Files {
        let index = json!({"schemaVersion": 2, "manifests": self.listed});
        self.files.push(("index.json".into(), index.to_string().into_bytes()));
        if !self.saved.is_empty() {
            self.files = with_list(self.files, &self.saved);
        }
        let version = br#"{"imageLayoutVersion":"1.0.0"}"#;
        self.files.push(("oci-layout".into(), version.to_vec()));
        self.files
    }
}

/// A descriptor of `bytes`.
pub(crate) fn describe(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// The digest in a descriptor.
pub(crate) fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

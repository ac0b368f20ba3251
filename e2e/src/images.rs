//! Images as builders make them, on the spot: real gzip layers, honest configs, OCI and Docker manifests, and buildx's index of one.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Media type of an OCI image.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a Docker image.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Something that a tag can name, with everything that it consists of.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the tag names.
    pub manifest: Manifest,
    /// The manifests below it.
    pub children: Vec<Manifest>,
    /// The blobs of all of them.
    pub blobs: Vec<Blob>,
}

/// A manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Image {
    /// An OCI image for `platform` (os/architecture/variant, with the os's version and features in brackets), whose one file has the words `content`.
    pub fn oci(platform: &str, content: &str) -> Result<Self> {
        Self::layered(platform, &[&format!("{content} for {platform}\n")])
    }

    /// An OCI image of a layer for each of `contents`: the words of its one file.
    pub fn layered(platform: &str, contents: &[&str]) -> Result<Self> {
        let tars = contents.iter().map(|content| tar_of(content.as_bytes()));
        let layers = tars.map(|tar| tar.and_then(|tar| Ok((digest(&tar), Blob::new(gzip(&tar)?)))));
        let layers = layers.collect::<Result<_>>()?;
        Self::new(platform, layers, json!({}), [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER])
    }

    /// An OCI image whose config has `labels`.
    pub fn labelled(platform: &str, labels: Value) -> Result<Self> {
        let tar = tar_of(format!("{labels} for {platform}\n").as_bytes())?;
        let layer = (digest(&tar), Blob::new(gzip(&tar)?));
        Self::new(platform, vec![layer], labels, [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER])
    }

    /// An OCI image of one layer whose one file has so many zeros. It is not compressed, so that it takes the room that it says.
    pub fn large(platform: &str, zeros: usize) -> Result<Self> {
        let tar = Blob::new(tar_of(&vec![0; zeros])?);
        let layer = (tar.digest.clone(), tar);
        Self::new(platform, vec![layer], json!({}), [OCI_MANIFEST, OCI_CONFIG, OCI_TAR])
    }

    /// An OCI image of one program, which runs without anything else.
    pub fn program(platform: &str, program: &[u8]) -> Result<Self> {
        let tar = tar_of(program)?;
        let layer = (digest(&tar), Blob::new(gzip(&tar)?));
        Self::new(platform, vec![layer], json!({}), [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER])
    }

    /// What [`Image::oci`] makes, in Docker's media types.
    pub fn docker(platform: &str, content: &str) -> Result<Self> {
        let tar = tar_of(format!("{content} for {platform}\n").as_bytes())?;
        let layer = (digest(&tar), Blob::new(gzip(&tar)?));
        let types = [DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER];
        Self::new(platform, vec![layer], json!({}), types)
    }

    /// Of `layers`, each with the digest of what it has inside.
    fn new(
        platform: &str,
        layers: Vec<(String, Blob)>,
        labels: Value,
        [manifest, config, layer]: [&str; 3],
    ) -> Result<Self> {
        let (diff_ids, layers): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
        let mut about = fields(platform)?;
        about["config"] = json!({"Entrypoint": ["/hello"]});
        if labels != json!({}) {
            about["config"]["Labels"] = labels;
        }
        about["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        about["history"] = diff_ids.iter().map(|_| json!({"created_by": "COPY hello /"})).collect();
        let about = Blob::new(about.to_string().into_bytes());
        let listed: Vec<_> = layers.iter().map(|blob| blob.descriptor(layer)).collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": manifest,
            "config": about.descriptor(config),
            "layers": listed,
        });
        Ok(Self {
            manifest: Manifest::new(manifest, &document),
            children: Vec::new(),
            blobs: [about].into_iter().chain(layers).collect(),
        })
    }

    /// An index of `images` and of what is in those of them that are indexes.
    pub fn index(images: &[Self]) -> Result<Self> {
        let listed: Vec<Vec<Value>> = images.iter().map(Self::listed).collect::<Result<_>>()?;
        let children = images.iter().flat_map(|image| match &image.children[..] {
            [] => vec![image.manifest.clone()],
            children => children.to_vec(),
        });
        Ok(Self {
            manifest: Manifest::index(&listed.concat()),
            children: children.collect(),
            blobs: images.iter().flat_map(|image| image.blobs.clone()).collect(),
        })
    }

    /// An index that says of `images` that they are for another architecture than their configs say.
    pub fn mislabelled(images: &[Self], architecture: &str) -> Result<Self> {
        let index = Self::index(images)?;
        let mut document: Value = serde_json::from_slice(&index.manifest.bytes)?;
        for listed in document["manifests"].as_array_mut().into_iter().flatten() {
            listed["platform"]["architecture"] = architecture.into();
        }
        Ok(Self { manifest: Manifest::new(OCI_INDEX, &document), ..index })
    }

    /// [`Image::index`] as a Docker manifest list.
    pub fn docker_list(images: &[Self]) -> Result<Self> {
        let index = Self::index(images)?;
        let mut document: Value = serde_json::from_slice(&index.manifest.bytes)?;
        document["mediaType"] = DOCKER_LIST.into();
        Ok(Self { manifest: Manifest::new(DOCKER_LIST, &document), ..index })
    }

    /// An index that lists `indexes` as they are.
    #[must_use]
    pub fn nested(indexes: &[Self]) -> Self {
        let listed: Vec<_> = indexes.iter().map(|index| index.manifest.descriptor()).collect();
        let children = indexes.iter().flat_map(|index| {
            index.children.iter().chain([&index.manifest]).cloned().collect::<Vec<_>>()
        });
        Self {
            manifest: Manifest::index(&listed),
            children: children.collect(),
            blobs: indexes.iter().flat_map(|index| index.blobs.clone()).collect(),
        }
    }

    /// What an index lists for it, with the platform that its config says; of an index what it lists itself.
    fn listed(&self) -> Result<Vec<Value>> {
        let document: Value =
            serde_json::from_slice(&self.manifest.bytes).context("a manifest that is no JSON")?;
        if let Some(listed) = document["manifests"].as_array() {
            return Ok(listed.clone());
        }
        let config = self.blobs.first().context("an image without config")?;
        let config: Value =
            serde_json::from_slice(&config.bytes).context("a config that is no JSON")?;
        let mut listed = self.manifest.descriptor();
        for field in ["architecture", "os", "variant", "os.version", "os.features"] {
            if let Some(value) = config.get(field) {
                listed["platform"][field] = value.clone();
            }
        }
        Ok(vec![listed])
    }

    /// What `docker buildx build --platform … --push` makes of one platform: an index of the image and its provenance.
    pub fn buildx(platform: &str, content: &str) -> Result<Self> {
        let Self { manifest: image, mut blobs, .. } = Self::oci(platform, content)?;
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": "pkg:docker/app", "digest": {"sha256": image.digest().trim_start_matches("sha256:")}}],
            "predicate": {"buildType": "https://mobyproject.org/buildkit@v1"},
        });
        let statement = Blob::new(statement.to_string().into_bytes());
        let rootfs = json!({"type": "layers", "diff_ids": [statement.digest]});
        let config =
            json!({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs});
        let config = Blob::new(config.to_string().into_bytes());
        let mut layer = statement.descriptor(IN_TOTO);
        layer["annotations"] =
            json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"});
        let attestation = Manifest::new(
            OCI_MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": config.descriptor(OCI_CONFIG),
                "layers": [layer],
            }),
        );
        let mut about_image = image.descriptor();
        about_image["platform"] = fields(platform)?;
        let mut about_attestation = attestation.descriptor();
        about_attestation["annotations"] = json!({
            "vnd.docker.reference.digest": image.digest(),
            "vnd.docker.reference.type": "attestation-manifest",
        });
        about_attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        blobs.extend([statement, config]);
        Ok(Self {
            manifest: Manifest::index(&[about_image, about_attestation]),
            children: vec![image, attestation],
            blobs,
        })
    }

    /// What refers to `subject`: an artifact of one layer with the words `content`.
    #[must_use]
    pub fn referrer(subject: &Manifest, artifact_type: &str, content: &str) -> Self {
        let (empty, layer) = (Blob::new(b"{}".to_vec()), Blob::new(content.as_bytes().to_vec()));
        let document = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": empty.descriptor(EMPTY),
            "layers": [layer.descriptor(artifact_type)],
            "subject": subject.descriptor(),
        });
        let manifest = Manifest::new(OCI_MANIFEST, &document);
        Self { manifest, children: Vec::new(), blobs: vec![empty, layer] }
    }

    /// What the fallback tag of their subject names: an index that lists `referrers`.
    #[must_use]
    pub fn fallback(referrers: &[Self], artifact_type: &str) -> Self {
        let listed: Vec<_> = referrers
            .iter()
            .map(|referrer| {
                let mut descriptor = referrer.manifest.descriptor();
                descriptor["artifactType"] = artifact_type.into();
                descriptor
            })
            .collect();
        Self {
            manifest: Manifest::index(&listed),
            children: referrers.iter().map(|referrer| referrer.manifest.clone()).collect(),
            blobs: referrers.iter().flat_map(|referrer| referrer.blobs.clone()).collect(),
        }
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// The digests of those of its blobs that are configs.
    pub fn configs(&self) -> Result<Vec<String>> {
        let manifests = self.children.iter().chain([&self.manifest]);
        let configs = manifests.map(|manifest| -> Result<Option<String>> {
            let document: Value =
                serde_json::from_slice(&manifest.bytes).context("a manifest that is no JSON")?;
            Ok(document["config"]["digest"].as_str().map(ToOwned::to_owned))
        });
        configs.filter_map(Result::transpose).collect()
    }

    /// The digests of its blobs.
    pub fn blobs(&self) -> impl Iterator<Item = String> {
        self.blobs.iter().map(|blob| blob.digest.clone())
    }
}

impl Manifest {
    fn new(media_type: &str, document: &Value) -> Self {
        Self { media_type: media_type.to_owned(), bytes: document.to_string().into_bytes() }
    }

    fn index(listed: &[Value]) -> Self {
        let document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
        Self::new(OCI_INDEX, &document)
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// The digest of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// `linux/arm/v7` or `windows(10.0.17763+win32k)/amd64` as the fields that configs and descriptors have for it.
fn fields(platform: &str) -> Result<Value> {
    let mut parts = platform.split('/');
    let os = parts.next().context("a platform without os")?;
    let (os, more) = os.split_once('(').unwrap_or((os, ""));
    let architecture = parts.next().context("a platform without architecture")?;
    let mut fields = json!({"architecture": architecture, "os": os});
    if let Some(variant) = parts.next() {
        fields["variant"] = variant.into();
    }
    let more = more.trim_end_matches(')');
    let (version, features) = more.split_once('+').unwrap_or((more, ""));
    if !version.is_empty() {
        fields["os.version"] = version.into();
    }
    if !features.is_empty() {
        fields["os.features"] = features.split('+').collect();
    }
    Ok(fields)
}

pub(crate) fn tar_of(content: &[u8]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, "hello", content).context("failed to write a tar")?;
    tar.into_inner().context("failed to end a tar")
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).context("failed to compress")?;
    gzip.finish().context("failed to compress")
}

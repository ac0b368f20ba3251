//! Images made on the spot, so that tests have real configs, layers and digests to work on.

#![expect(clippy::must_use_candidate, reason = "who pushes needs the descriptor only sometimes")]

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Store;
use crate::oci::{Descriptor, Digest, Index, Platform, RawManifest, media_type};

/// An image to be pushed; the same words give the same bytes.
#[derive(Clone, Debug)]
pub struct Image {
    /// What its config says it is for.
    pub platform: Platform,
    /// Told apart from other images of the platform.
    pub salt: String,
    /// Labels in its config.
    pub labels: Vec<(String, String)>,
    /// With Docker's media types instead of OCI's.
    pub docker: bool,
}

impl Image {
    /// An OCI image for `platform`, such as `linux/arm64`.
    ///
    /// # Panics
    ///
    /// Where `platform` is none.
    #[must_use]
    #[expect(clippy::panic, reason = "a bad platform is a mistake in the test that gives it")]
    pub fn of(platform: &str) -> Self {
        let Ok(platform) = platform.parse() else { panic!("{platform} is no platform") };
        Self { platform, salt: String::new(), labels: Vec::new(), docker: false }
    }

    /// The same with other content.
    #[must_use]
    pub fn salted(mut self, salt: &str) -> Self {
        self.salt = salt.into();
        self
    }

    /// The same with a label in its config.
    #[must_use]
    pub fn labelled(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// The same with Docker's media types.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// The bytes of its config.
    #[must_use]
    pub fn config(&self) -> Bytes {
        let mut config = match serde_json::to_value(&self.platform) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let labels: Map<_, _> =
            self.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        config.insert("config".into(), json!({ "Labels": labels }));
        let layer = Digest::of(&self.layer());
        config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": [layer] }));
        Value::Object(config).to_string().into()
    }

    /// The bytes of its one layer.
    #[must_use]
    pub fn layer(&self) -> Bytes {
        format!("layer of {:?} {}", self.platform, self.salt).into()
    }
}

/// The blobs of [`Store::push_referrer`].
#[must_use]
pub fn about(name: &str) -> [Bytes; 2] {
    [Bytes::from_static(b"{}"), format!("about it: {name}").into()]
}

impl Store {
    /// Pushes a plain image of `platform` and tags it.
    pub fn push_image(&self, path: &str, tag: &str, platform: &str) -> Descriptor {
        self.push(path, Some(tag), &Image::of(platform))
    }

    /// Pushes `image`: its blobs, then its manifest.
    pub fn push(&self, path: &str, tag: Option<&str>, image: &Image) -> Descriptor {
        let (manifest, config, layer) = if image.docker {
            (
                media_type::DOCKER_MANIFEST,
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        } else {
            (
                media_type::OCI_MANIFEST,
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
            )
        };
        let config = self.push_blob(path, config, image.config());
        let layer = self.push_blob(path, layer, image.layer());
        let document = json!({
            "schemaVersion": 2, "mediaType": manifest, "config": config, "layers": [layer],
        });
        let bytes = Bytes::from(document.to_string());
        self.push_manifest(path, tag, &RawManifest::new(manifest, bytes))
    }

    /// Pushes an index of `children`.
    pub fn push_index(
        &self,
        path: &str,
        tag: Option<&str>,
        children: Vec<Descriptor>,
    ) -> Descriptor {
        let index = Index::new(children, std::collections::BTreeMap::new());
        self.push_manifest(path, tag, &index.to_raw())
    }

    /// Pushes an artifact about `subject`, as a signature is one; [`about`] are its blobs.
    pub fn push_referrer(&self, path: &str, subject: &Descriptor, name: &str) -> Descriptor {
        let [config, layer] = about(name);
        let config = self.push_blob(path, "application/vnd.oci.empty.v1+json", config);
        let layer = self.push_blob(path, "text/plain", layer);
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "artifactType": "application/vnd.example.about", "config": config, "layers": [layer],
            "subject": subject, "annotations": { "name": name },
        });
        let bytes = Bytes::from(document.to_string());
        self.push_manifest(path, None, &RawManifest::new(media_type::OCI_MANIFEST, bytes))
    }

    /// Pushes what docker buildx makes by default: an index of one image and its attestation.
    pub fn push_attested(&self, path: &str, tag: &str, image: &Image) -> Descriptor {
        let mut child = self.push(path, None, image);
        child.platform = Some(image.platform.clone());
        let about = json!({ "architecture": "unknown", "os": "unknown" }).to_string();
        let config = self.push_blob(path, "application/vnd.oci.image.config.v1+json", about.into());
        let statement = format!("{{\"subject\":\"{}\"}}", child.digest);
        let layer = self.push_blob(path, "application/vnd.in-toto+json", statement.into());
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": config, "layers": [layer],
        });
        let manifest =
            RawManifest::new(media_type::OCI_MANIFEST, Bytes::from(document.to_string()));
        let mut attestation = self.push_manifest(path, None, &manifest);
        attestation.platform = Some(Platform {
            architecture: "unknown".into(),
            os: "unknown".into(),
            ..Platform::default()
        });
        attestation.annotations = [
            ("vnd.docker.reference.digest".into(), child.digest.to_string()),
            ("vnd.docker.reference.type".into(), "attestation-manifest".into()),
        ]
        .into();
        self.push_index(path, Some(tag), vec![child, attestation])
    }
}

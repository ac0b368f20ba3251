//! A release of the operator: its own index, published by itself on a control plane of its own (docs/releasing.md).

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use serde_json::{Value, json};

use crate::{await_condition::await_condition, spec::Report};

/// The name of the object, and of the Secret that pushes.
const NAME: &str = "release";
/// How long a registry may take. What a person must mend ends the wait at once.
const PATIENCE: Duration = Duration::from_mins(5);
/// What all images of a release have in common.
const COMMON: [&str; 2] = ["org.opencontainers.image.revision", "org.opencontainers.image.version"];

/// What is released.
#[derive(Clone, Debug)]
pub struct Release {
    /// The tag that the index gets, with its host.
    pub target: String,
    /// The platform and the reference of each image.
    pub images: Vec<(String, String)>,
    /// A Docker config file with the password for the registry, where it wants one.
    pub login: Option<String>,
    /// Registries without TLS: `registries` of the object.
    pub registries: Value,
}

impl Release {
    /// From words such as `registry.example.com/app:1.0 linux/amd64=registry.example.com/app:1.0-amd64`.
    pub fn parse(words: impl IntoIterator<Item = String>, login: Option<String>) -> Result<Self> {
        let mut words = words.into_iter();
        let target = words.next().context("usage: release TARGET PLATFORM=IMAGE...")?;
        let image = |word: String| {
            let (platform, image) =
                word.split_once('=').with_context(|| format!("{word} is not PLATFORM=IMAGE"))?;
            Ok((platform.to_owned(), image.to_owned()))
        };
        let images: Vec<_> = words.map(image).collect::<Result<_>>()?;
        ensure!(!images.is_empty(), "no image is named: usage: release TARGET PLATFORM=IMAGE...");
        Ok(Self { target, images, login, registries: json!([]) })
    }

    /// Has the operator that watches `namespace` publish it, and returns what it names: `repository@digest`.
    pub async fn publish(&self, client: &Client, namespace: &str) -> Result<String> {
        if let Some(login) = &self.login {
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": NAME},
                "type": "kubernetes.io/dockerconfigjson",
                "stringData": {".dockerconfigjson": login},
            });
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let applied =
                secrets.patch(NAME, &PatchParams::apply(NAME), &Patch::Apply(secret)).await;
            applied.context("failed to apply the Secret that pushes")?;
        }
        let objects: Api<MultiArchImage> = Api::namespaced(client.clone(), namespace);
        let applied =
            objects.patch(NAME, &PatchParams::apply(NAME), &Patch::Apply(self.object())).await;
        applied.context("failed to apply the MultiArchImage")?;
        let ended = |object: &MultiArchImage| {
            let ready = object.ready();
            let ended = ready.starts_with("True/") || ready == "Unknown/WaitingForMatch";
            object.is_current() && (ended || object.is_true("Stalled"))
        };
        let object = await_condition(&objects, NAME, "it is published", PATIENCE, ended).await?;
        if !object.ready().starts_with("True/") {
            bail!("{} was not published: {}: {}", self.target, object.ready(), object.message());
        }
        let status = object.status.context("an object without status")?;
        status.reference.context("a published object without reference")
    }

    /// The object: every image is what it is said to be and of one commit, and the tag is written once.
    fn object(&self) -> Value {
        let source = |(platform, image): &(String, String)| {
            let name = platform.replace('/', "-");
            json!({"name": name, "image": image, "platforms": [platform]})
        };
        let mut target = json!({"image": self.target, "tagPolicy": "Immutable"});
        if self.login.is_some() {
            target["secretRef"] = json!({"name": NAME});
        }
        json!({
            "apiVersion": "multiarch.dev/v1alpha1",
            "kind": "MultiArchImage",
            "metadata": {"name": NAME},
            "spec": {
                "target": target,
                "sources": self.images.iter().map(source).collect::<Vec<_>>(),
                "equalLabels": COMMON,
                "registries": self.registries,
            },
        })
    }
}

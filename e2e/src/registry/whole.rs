//! What a tag names, read to the last byte past the proxy, each byte held to its digest.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;

use super::{Registry, split};
use crate::images::digest;

/// What a tag names, all of which is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whole {
    /// Its digest.
    pub digest: String,
    /// The images that it lists, by the platform that their configs say; of an image itself that one.
    pub images: BTreeMap<String, String>,
    /// The digests of all blobs.
    pub blobs: BTreeSet<String>,
}

impl Registry {
    /// What `of` (repository:tag) names; `None` where there is no such tag. An error names what is missing, or not what it should be.
    pub async fn whole(&self, of: &str) -> Result<Option<Whole>> {
        let (repository, tag) = split(of)?;
        let Some(bytes) = self.read(&format!("{repository}/manifests/{tag}")).await? else {
            return Ok(None);
        };
        let mut whole =
            Whole { digest: digest(&bytes), images: BTreeMap::new(), blobs: BTreeSet::new() };
        let document = json(&bytes).with_context(|| format!("{of} is no JSON"))?;
        let Some(listed) = document["manifests"].as_array() else {
            let platform = self.read_image(repository, &document, &mut whole).await?;
            whole.images.insert(platform, whole.digest.clone());
            return Ok(Some(whole));
        };
        for listed in listed {
            let child = text(&listed["digest"])?;
            let bytes = self.read(&format!("{repository}/manifests/{child}")).await?;
            let bytes = bytes.with_context(|| format!("{of} lists {child}, which is not there"))?;
            ensure!(digest(&bytes) == child, "{child} has the bytes of {}", digest(&bytes));
            ensure!(listed["size"] == bytes.len(), "{child} has {} bytes", bytes.len());
            let document = json(&bytes).with_context(|| format!("{child} is no JSON"))?;
            let platform = self.read_image(repository, &document, &mut whole).await?;
            if listed["annotations"]["vnd.docker.reference.type"].is_string() {
                continue;
            }
            let said = platform_of(&listed["platform"]);
            ensure!(said == platform, "{child} is of {platform}, and {of} says {said}");
            let twice = whole.images.insert(platform, child.to_owned());
            ensure!(twice.is_none(), "{of} lists {said} twice");
        }
        Ok(Some(whole))
    }

    /// Reads the blobs of the image `document`, and tells the platform that its config says.
    async fn read_image(
        &self,
        repository: &str,
        document: &Value,
        whole: &mut Whole,
    ) -> Result<String> {
        let layers = document["layers"].as_array().context("an image without layers")?;
        let mut config = None;
        for blob in [&document["config"]].into_iter().chain(layers) {
            let name = text(&blob["digest"])?;
            let bytes = self.read(&format!("{repository}/blobs/{name}")).await?;
            let bytes = bytes.with_context(|| format!("the blob {name} is not there"))?;
            ensure!(digest(&bytes) == name, "the blob {name} has the bytes of {}", digest(&bytes));
            ensure!(blob["size"] == bytes.len(), "the blob {name} has {} bytes", bytes.len());
            whole.blobs.insert(name.to_owned());
            config.get_or_insert(bytes);
        }
        let config = json(&config.unwrap_or_default()).context("a config that is no JSON")?;
        Ok(platform_of(&config))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.send(Method::GET, path, None, Vec::new()).await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        ensure!(answer.status() == 200, "GET {path}: {}", answer.status());
        let bytes = answer.bytes().await.with_context(|| format!("GET {path}"))?;
        Ok(Some(bytes.to_vec()))
    }
}

fn json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).context("not JSON")
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a descriptor without digest")
}

/// `linux/arm/v7`, of a descriptor's platform or a config.
fn platform_of(fields: &Value) -> String {
    let parts = ["os", "architecture", "variant"].map(|field| fields[field].as_str());
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}

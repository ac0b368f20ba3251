//! Pods of one program, which is an image by itself.

use std::{env::consts::ARCH, fs, path::Path};

use anyhow::{Context, Result};
use multiarch_e2e::{
    bin::tool,
    cluster::Cluster,
    images::Image,
    node::{NodeCluster, NodeRegistry},
    registry::Setup,
};
use serde_json::{Value, json};

/// The image, in `registry` as `guest:1`; its reference.
pub async fn push(registry: &NodeRegistry) -> Result<String> {
    let architecture = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let program = fs::read(tool("guest")?).context("failed to read guest")?;
    let image = Image::program(&format!("linux/{architecture}"), &program)?;
    registry.registry.push("guest:1", &image).await?;
    Ok(registry.reference("guest:1"))
}

/// A registry with the image: it must outlive the pods' start.
pub async fn registry(node: &NodeCluster, folder: &Path) -> Result<(NodeRegistry, String)> {
    let registry = node.registry(folder, &Setup::default()).await?;
    let image = push(&registry).await?;
    Ok((registry, image))
}

/// A container that does as `arguments` say.
pub fn container(name: &str, image: &str, arguments: &[&str]) -> Value {
    json!({
        "name": name,
        "image": image,
        "args": arguments,
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

/// Applies `object` in `namespace`; its file goes to `folder`.
pub async fn apply(
    cluster: &Cluster,
    folder: &Path,
    namespace: &str,
    object: &Value,
) -> Result<()> {
    let file = folder.join("object.json");
    fs::write(&file, object.to_string()).context("failed to write an object")?;
    let file = file.display().to_string();
    cluster.kubectl(["--namespace", namespace, "apply", "--filename", &file]).await.map(drop)
}

/// Makes the namespace, and waits until a pod would be admitted.
pub async fn namespace(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.kubectl(["create", "namespace", name]).await?;
    let exists = ["wait", "--for=create", "serviceaccount/default", "--timeout=30s"];
    cluster.kubectl(["--namespace", name].into_iter().chain(exists)).await.map(drop)
}

//! Pods of one program, which is an image by itself.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use multiarch_e2e::{
    cluster::Cluster,
    images::Image,
    node::{self, NodeCluster, NodeRegistry},
    peers::push_archive,
    registry::Setup,
};
use serde_json::{Value, json};

/// A registry with the image as `guest:1`, pushed out of an archive as builds make them; it must outlive the pods' start.
pub(crate) async fn registry(
    cluster: &NodeCluster,
    folder: &Path,
    setup: &Setup<'_>,
) -> Result<(NodeRegistry, String)> {
    let registry = cluster.registry(&folder.join("registry"), setup).await?;
    let image = node::guest()?;
    let archive = folder.join("guest.tar");
    fs::write(&archive, archive_of(&image)?).context("failed to write an archive")?;
    push_archive(&registry.registry, &archive, "guest:1").await?;
    assert_eq!(registry.registry.digest("guest:1").await?, Some(image.digest()));
    let reference = registry.reference("guest:1");
    Ok((registry, reference))
}

/// An OCI archive of `image`.
fn archive_of(image: &Image) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut append = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).context("failed to write a tar")
    };
    let blob = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
    append("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let manifest = &image.manifest;
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": manifest.media_type, "digest": manifest.digest(), "size": manifest.bytes.len(),
    }]});
    append("index.json", index.to_string().as_bytes())?;
    append(&blob(&manifest.digest()), &manifest.bytes)?;
    for each in &image.blobs {
        append(&blob(&each.digest), &each.bytes)?;
    }
    tar.into_inner().context("failed to end a tar")
}

/// A container that does as `arguments` say.
pub(crate) fn container(name: &str, image: &str, arguments: &[&str]) -> Value {
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
pub(crate) async fn apply(
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
pub(crate) async fn namespace(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.kubectl(["create", "namespace", name]).await?;
    let exists = ["wait", "--for=create", "serviceaccount/default", "--timeout=30s"];
    cluster.kubectl(["--namespace", name].into_iter().chain(exists)).await.map(drop)
}

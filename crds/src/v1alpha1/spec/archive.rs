//! An image that a source takes out of an archive.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::rules;

/// An image in an archive.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ArchiveSource {
    /// The file, or the folder with an OCI layout, below the operator's folder for this namespace: `k3s/arm64.tar.zst`. It is never
    /// outside of that: no absolute path, no .., no link. With the operator's flag --archive-dir-shared, `_shared/k3s/arm64.tar.zst` is below
    /// the folder for all namespaces. It is read when it has not changed for 30 seconds, and again when it was changed. At most 512 characters.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::path_below())]
    pub path: String,
    /// The image in it, by its name and tag: `docker.io/rancher/pause:3.1`; Docker Hub's short names (`rancher/pause:3.1`) are understood. With
    /// a digest, `rancher/pause:3.1@sha256:...`, the digest decides: that of a manifest or index in the archive, or of the manifest that is
    /// made for an image without one. At most 320 characters.
    #[schemars(length(min = 1, max = 320))]
    #[x_kube(
        validation = rules::no_scheme(),
        validation = rules::source_has_tag_or_digest(),
        validation = rules::source_digest()
    )]
    pub image: String,
}

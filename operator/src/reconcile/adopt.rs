//! reads: images under the target's tag that have the configs of images which have no manifest yet: they are the same.

use std::collections::{BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt, stream};

use super::publish::PublishError;
use crate::{
    oci::{Digest, Manifest, RawManifest, Reference, TagOrDigest, media_type},
    registry::{Access, Registry, RegistryError},
};

/// How many children are read at once.
const AT_ONCE: usize = 8;

/// The manifests that `tag` names, or lists, whose configs are among `configs`: by config, of two with one config the one that is
/// listed first. Whatever made it: an image is its config, which has the digests of its layers as they are unpacked, and how they
/// are packed is no matter.
pub async fn find<R: Registry>(
    registry: &R,
    access: &Access,
    tag: &Reference,
    configs: &BTreeSet<Digest>,
) -> Result<HashMap<Digest, RawManifest>, PublishError> {
    if configs.is_empty() {
        return Ok(HashMap::new());
    }
    let failed = |source| PublishError::Look { target: tag.clone(), source };
    let repository = tag.repository();
    let named = registry.get_manifest(access, repository, &tag.tag_or_digest()).await;
    let raw = match named {
        Ok(Some(raw)) => raw,
        // What is no manifest has no config.
        Ok(None) | Err(RegistryError::Unusable { .. }) => return Ok(HashMap::new()),
        Err(source) => return Err(failed(source)),
    };
    let listed = match raw.parse() {
        Ok(Manifest::Index(index)) => index.manifests,
        _ => return Ok(config_of(&raw, configs).map(|config| (config, raw)).into_iter().collect()),
    };
    let images = listed
        .into_iter()
        .filter(|child| !child.is_attestation() && !media_type::is_index(&child.media_type));
    let reads: Vec<_> = images
        .map(|child| async move {
            let of = TagOrDigest::Digest(child.digest);
            match registry.get_manifest(access, repository, &of).await {
                Err(RegistryError::Unusable { .. }) => Ok(None),
                read => read.map_err(failed),
            }
        })
        .collect();
    let read: Vec<Option<RawManifest>> =
        stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
    let mut found = HashMap::new();
    for raw in read.into_iter().flatten() {
        if let Some(config) = config_of(&raw, configs) {
            found.entry(config).or_insert(raw);
        }
    }
    Ok(found)
}

/// The config of the image `raw`, if it is among `configs`.
fn config_of(raw: &RawManifest, configs: &BTreeSet<Digest>) -> Option<Digest> {
    match raw.parse() {
        Ok(Manifest::Image(image)) if configs.contains(&image.config.digest) => {
            Some(image.config.digest)
        }
        _ => None,
    }
}

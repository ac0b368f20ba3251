//! writes: what the target's repository lacks of a plan: all blobs, then all manifests by digest.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};

use super::{
    Job, access::AccessMap, memory::Memory, publish::PublishError, resolve::Content, stage::Stage,
};
use crate::{
    oci::{Descriptor, Reference, TagOrDigest, media_type},
    registry::{Place, Registry, RegistryError},
};

/// How many blobs are moved at once.
const AT_ONCE: usize = 4;

/// Copies `contents` into the target's repository: every blob once, and no manifest before all
/// blobs are there. What was published before and still is there is not copied again. Returns
/// whether anything was.
pub async fn copy<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    contents: &[Content],
) -> Result<bool, PublishError> {
    let Job { registry, sources, memory, stage, .. } = *job;
    let to = Place {
        access: access.target().map_err(|source| PublishError::Credential { source })?,
        repository: sources.target.repository(),
    };
    let mut seen = HashSet::new();
    let contents = contents.iter().filter(|content| seen.insert(content.manifest.digest()));
    let asks: Vec<_> = contents.map(|content| is_lacking(registry, to, content, memory)).collect();
    let contents: Vec<&Content> = try_join_all(asks).await?.into_iter().flatten().collect();
    if contents.is_empty() {
        return Ok(false);
    }

    let mut seen = HashSet::new();
    let blobs =
        contents.iter().flat_map(|content| content.blobs.iter().map(move |b| (*content, b)));
    let blobs: Vec<_> =
        blobs.filter(|(_, blob)| blob.urls.is_empty() && seen.insert(&blob.digest)).collect();
    stage.copying(blobs.len());
    let moves: Vec<_> = blobs
        .into_iter()
        .map(|(content, blob)| move_blob(registry, access, content, to, blob, stage))
        .collect();
    stream::iter(moves).buffer_unordered(AT_ONCE).try_collect::<()>().await?;

    // An index in the index after the images that it lists.
    let (indexes, images): (Vec<&Content>, Vec<&Content>) = contents
        .into_iter()
        .partition(|content| media_type::is_index(content.manifest.media_type()));
    for wave in [images, indexes] {
        let puts: Vec<_> =
            wave.into_iter().map(|content| put_manifest(registry, to, content)).collect();
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    }
    Ok(true)
}

/// `content`, unless it was published before and still is there.
async fn is_lacking<'a, R: Registry>(
    registry: &R,
    to: Place<'_>,
    content: &'a Content,
    memory: &Memory,
) -> Result<Option<&'a Content>, PublishError> {
    let digest = content.manifest.digest();
    let mut published = memory.published.iter().flat_map(|index| &index.children);
    if !published.any(|child| child.digest == *digest || child.attestations.contains(digest)) {
        return Ok(Some(content));
    }
    let of = TagOrDigest::Digest(digest.clone());
    let head = registry.head_manifest(to.access, to.repository, &of).await;
    let head = head.map_err(|source| PublishError::Copy { image: content.image(), source })?;
    Ok(head.is_none().then_some(content))
}

async fn move_blob<R: Registry>(
    registry: &R,
    access: &AccessMap,
    content: &Content,
    to: Place<'_>,
    blob: &Descriptor,
    stage: &Stage,
) -> Result<(), PublishError> {
    let from = Place {
        access: access
            .named(&content.source)
            .map_err(|source| PublishError::Credential { source })?,
        repository: &content.repository,
    };
    let image = || content.image();
    let progress = stage.progress();
    match registry.copy_blob(from, to, blob, &progress).await {
        Ok(Some(_)) => {
            stage.copied();
            Ok(())
        }
        Ok(None) => {
            let (name, blob) = (content.source.clone(), blob.digest.clone());
            Err(PublishError::BlobGone { name, image: image(), blob })
        }
        Err(source) => Err(PublishError::Copy { image: image(), source }),
    }
}

async fn put_manifest<R: Registry>(
    registry: &R,
    to: Place<'_>,
    content: &Content,
) -> Result<(), PublishError> {
    let of = TagOrDigest::Digest(content.manifest.digest().clone());
    let put = registry.put_manifest(to.access, to.repository, &of, &content.manifest).await;
    put.map_err(|source| {
        let foreign = content.blobs.iter().find(|blob| !blob.urls.is_empty());
        match (&source, foreign) {
            (RegistryError::Refused { .. }, Some(layer)) => {
                PublishError::ForeignLayer { image: content.image(), layer: layer.digest.clone() }
            }
            _ => PublishError::Copy { image: content.image(), source },
        }
    })
}

impl Content {
    /// The manifest, where it is.
    fn image(&self) -> Reference {
        self.repository.digest(self.manifest.digest())
    }
}

//! reads: what the target's tag names now.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    memory::Memory,
    plan::{Current, Draft, Read},
    publish::PublishError,
    sources::Sources,
};
use crate::{
    oci::{
        Descriptor, Digest, ImageConfig, Index, Manifest, RawManifest, Reference, TagOrDigest,
        media_type,
    },
    registry::{Access, Registry, RegistryError},
};

/// How many indexes in an index are read at once.
const AT_ONCE: usize = 8;

/// The digest that `tag`, the target's or one beside it, names now.
pub async fn named<R: Registry>(
    registry: &R,
    access: &Access,
    tag: &Reference,
) -> Result<Option<Digest>, PublishError> {
    let head = registry.head_manifest(access, tag.repository(), &tag.tag_or_digest()).await;
    let head = head.map_err(|source| PublishError::Look { target: tag.clone(), source })?;
    Ok(head.map(|descriptor| descriptor.digest))
}

/// Looks at what the target's tag names now, and at the index that status remembers where images
/// that must stay are to be found in it alone. Each is read only where the plan depends on it.
pub async fn look<R: Registry>(
    registry: &R,
    access: &Access,
    sources: &Sources,
    draft: &Draft,
    memory: &Memory,
) -> Result<(Current, Option<Read>), PublishError> {
    let current = tagged(registry, access, sources, draft, memory).await?;
    let Some(published) = &memory.published else { return Ok((current, None)) };
    let is_read = matches!(&current, Current::Read(read) if read.digest == published.digest);
    if draft.is_whole() || is_read {
        return Ok((current, None));
    }
    let failed = |source| PublishError::Look { target: sources.target.clone(), source };
    let (repository, ours) =
        (sources.target.repository(), TagOrDigest::Digest(published.digest.clone()));
    let raw = registry.get_manifest(access, repository, &ours).await.map_err(failed)?;
    let Some(raw) = raw else { return Ok((current, None)) };
    Ok((current, Some(read(registry, access, sources, raw).await.map_err(failed)?)))
}

/// What the tag names now.
async fn tagged<R: Registry>(
    registry: &R,
    access: &Access,
    sources: &Sources,
    draft: &Draft,
    memory: &Memory,
) -> Result<Current, PublishError> {
    let failed = |source| PublishError::Look { target: sources.target.clone(), source };
    let (repository, tag) = (sources.target.repository(), sources.target.tag_or_digest());
    // Where its content is wanted whatever it is, it is read without asking for its digest first.
    if !draft.needs(memory) {
        let named = named(registry, access, &sources.target).await?;
        let Some(digest) = named else { return Ok(Current::Free) };
        let ours = memory.published.as_ref().is_some_and(|published| published.digest == digest);
        if ours || (digest == *draft.digest() && draft.is_whole()) {
            return Ok(Current::Known(digest));
        }
    }
    let raw = match registry.get_manifest(access, repository, &tag).await {
        Ok(Some(raw)) => raw,
        Ok(None) => return Ok(Current::Free),
        // Whatever it is, it tells no platform.
        Err(RegistryError::Unusable { .. }) => {
            let digest = named(registry, access, &sources.target).await?;
            let Some(digest) = digest else { return Ok(Current::Free) };
            return Ok(Current::Read(Read { digest, raw: None, index: stand_in(Vec::new()) }));
        }
        Err(source) => return Err(failed(source)),
    };
    read(registry, access, sources, raw).await.map(Current::Read).map_err(failed)
}

/// `raw` as one flat index: with what is in the indexes that it lists, of an image as an index of it,
/// and of what has no platform as an empty one.
async fn read<R: Registry>(
    registry: &R,
    access: &Access,
    sources: &Sources,
    raw: RawManifest,
) -> Result<Read, RegistryError> {
    let repository = sources.target.repository();
    let index = match raw.parse() {
        Ok(Manifest::Index(index)) => {
            let (inner, images): (Vec<Descriptor>, Vec<Descriptor>) =
                index.manifests.iter().cloned().partition(|c| media_type::is_index(&c.media_type));
            if inner.is_empty() {
                index
            } else {
                let reads = inner.into_iter().map(|child| async move {
                    let of = TagOrDigest::Digest(child.digest.clone());
                    let inner = registry.get_manifest(access, repository, &of).await?;
                    match inner.map(|raw| raw.parse()) {
                        Some(Ok(Manifest::Index(inner))) => Ok(inner.manifests),
                        // What is in it cannot be told, which its own descriptor says too.
                        _ => Ok(vec![Descriptor { platform: None, ..child }]),
                    }
                });
                let reads: Vec<_> = reads.collect();
                let inner: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
                stand_in(images.into_iter().chain(inner.into_iter().flatten()).collect())
            }
        }
        Ok(Manifest::Image(image)) if image.has_platform() => {
            let config = registry.get_blob(access, repository, &image.config).await?;
            let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
            let image =
                config.map(|c| Descriptor { platform: Some(c.platform), ..raw.descriptor() });
            stand_in(image.into_iter().collect())
        }
        _ => stand_in(Vec::new()),
    };
    Ok(Read { digest: raw.digest().clone(), raw: Some(raw), index })
}

/// An index that equals no plan.
fn stand_in(manifests: Vec<Descriptor>) -> Index {
    Index { media_type: String::new(), ..Index::new(manifests, BTreeMap::new()) }
}

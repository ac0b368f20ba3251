//! writes: what the target's repository lacks of a plan: all blobs, then all manifests by digest.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Job, access::AccessMap, memory::Memory, publish::PublishError, resolve::Content, stage::Stage,
};
use crate::{
    oci::{Descriptor, Digest, Reference, TagOrDigest, media_type},
    registry::{Copied, Place, Registry, RegistryError},
};

/// How many blobs, or manifests, are moved at once.
const AT_ONCE: usize = 4;

/// How many manifests are looked for at once.
const LOOKS_AT_ONCE: usize = 8;

/// A blob, and the contents that name it: where the first one's repository does not have it, that
/// of another one may.
struct Shared<'a> {
    blob: &'a Descriptor,
    of: Vec<&'a Content>,
}

/// Copies `contents` into the target's repository: every blob once, and no manifest before all
/// blobs are there. What was published before and still is there is not copied again. Returns
/// the most that had to be done for a blob; `None` where nothing was copied.
pub async fn copy<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    contents: &[Content],
) -> Result<Option<Copied>, PublishError> {
    let Job { registry, sources, memory, stage, .. } = *job;
    let to = Place {
        access: access.target().map_err(|source| PublishError::Credential { source })?,
        repository: sources.target.repository(),
    };
    let mut seen = HashSet::new();
    let once = contents.iter().filter(|content| seen.insert(content.manifest.digest()));
    let asks: Vec<_> = once.map(|content| is_lacking(registry, to, content, memory)).collect();
    let answers: Vec<_> = stream::iter(asks).buffered(LOOKS_AT_ONCE).try_collect().await?;
    let lacking: Vec<&Content> = answers.into_iter().flatten().collect();
    if lacking.is_empty() {
        return Ok(None);
    }

    let blobs = shared(contents, &lacking);
    let bytes = blobs.iter().map(|shared| shared.blob.size).sum();
    stage.copying(blobs.len(), bytes, lacking.len());
    let copying: Vec<_> =
        blobs.iter().map(|shared| move_blob(registry, access, shared, to, stage)).collect();
    let copied: Vec<_> = stream::iter(copying).buffer_unordered(AT_ONCE).try_collect().await?;

    // An index in the index after the images that it lists.
    let (indexes, images): (Vec<&Content>, Vec<&Content>) = lacking
        .into_iter()
        .partition(|content| media_type::is_index(content.manifest.media_type()));
    for wave in [images, indexes] {
        let puts: Vec<_> =
            wave.into_iter().map(|content| put_manifest(registry, to, content, stage)).collect();
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    }
    Ok(Some(copied.into_iter().max().unwrap_or(Copied::Present)))
}

/// The blobs of the contents that are `lacking`, each once, with the `contents` that name it in one
/// repository or another.
fn shared<'a>(contents: &'a [Content], lacking: &[&'a Content]) -> Vec<Shared<'a>> {
    let mut blobs: Vec<Shared<'a>> = Vec::new();
    let mut by_digest: HashMap<&Digest, usize> = HashMap::new();
    let own = |content: &'a Content| content.blobs.iter().filter(|blob| blob.urls.is_empty());
    for (content, blob) in lacking.iter().flat_map(|c| own(c).map(move |blob| (*c, blob))) {
        by_digest.entry(&blob.digest).or_insert_with(|| {
            blobs.push(Shared { blob, of: vec![content] });
            blobs.len() - 1
        });
    }
    // One that is there already, or the same image of another source, tells a place as well.
    for (content, blob) in contents.iter().flat_map(|c| own(c).map(move |blob| (c, blob))) {
        let Some(shared) = by_digest.get(&blob.digest).map(|at| &mut blobs[*at]) else { continue };
        let same =
            |of: &&Content| (&of.source, &of.repository) == (&content.source, &content.repository);
        if !shared.of.iter().any(same) {
            shared.of.push(content);
        }
    }
    blobs
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
    let head = head.map_err(|source| content.failed(source))?;
    Ok(head.is_none().then_some(content))
}

async fn move_blob<R: Registry>(
    registry: &R,
    access: &AccessMap,
    shared: &Shared<'_>,
    to: Place<'_>,
    stage: &Stage,
) -> Result<Copied, PublishError> {
    let _sending = stage.sending(&shared.blob.digest);
    for content in &shared.of {
        let from = Place {
            access: access
                .named(&content.source)
                .map_err(|source| PublishError::Credential { source })?,
            repository: &content.repository,
        };
        let progress = stage.progress();
        let copied = registry.copy_blob(from, to, shared.blob, &progress).await;
        if let Some(how) = copied.map_err(|source| content.failed(source))? {
            stage.copied(how, shared.blob.size);
            return Ok(how);
        }
    }
    let (name, image) = (shared.of[0].source.clone(), shared.of[0].image());
    Err(PublishError::BlobGone { name, image, blob: shared.blob.digest.clone() })
}

async fn put_manifest<R: Registry>(
    registry: &R,
    to: Place<'_>,
    content: &Content,
    stage: &Stage,
) -> Result<(), PublishError> {
    let of = TagOrDigest::Digest(content.manifest.digest().clone());
    let put = registry.put_manifest(to.access, to.repository, &of, &content.manifest).await;
    put.map_err(|source| {
        let foreign = content.blobs.iter().find(|blob| !blob.urls.is_empty());
        match (&source, foreign) {
            (RegistryError::Refused { .. }, Some(layer)) => PublishError::ForeignLayer {
                name: content.source.clone(),
                image: content.image(),
                layer: layer.digest.clone(),
            },
            _ => content.failed(source),
        }
    })?;
    stage.put();
    Ok(())
}

impl Content {
    /// The manifest, where it is.
    fn image(&self) -> Reference {
        self.repository.digest(self.manifest.digest())
    }

    /// It could not be copied.
    fn failed(&self, source: RegistryError) -> PublishError {
        PublishError::Copy { name: self.source.clone(), image: self.image(), source }
    }
}

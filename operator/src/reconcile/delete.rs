//! writes: the tags of an object that is deleted, away from their registry.

use std::collections::HashMap;

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::MultiArchImageStatus;

use super::{claims::Claims, look, sources::Sources, tags};
use crate::{
    oci::{Digest, Reference},
    registry::{Access, Registry, RegistryError, Scope},
};

/// How many tags are deleted at once.
const AT_ONCE: usize = 4;

/// What became of the tags.
#[derive(Debug, Default)]
pub struct Deleted {
    /// Those that are gone now.
    pub tags: Vec<Reference>,
    /// Those that are still there.
    pub left: Vec<Left>,
}

/// A tag that is still there.
#[derive(Debug, thiserror::Error)]
#[error("failed to delete {tag}: {why}")]
pub struct Left {
    /// The tag.
    pub tag: Reference,
    /// Why, in words.
    pub why: String,
    /// Whether another try may help.
    pub may_pass: bool,
}

/// Deletes the tags that `status` says were written, or may have been, where they still name what was put there. Only
/// tags: never an image, and no tag that something else has moved or another object keeps.
pub async fn delete<R: Registry>(
    registry: &R,
    access: &Access,
    sources: &Sources,
    status: &MultiArchImageStatus,
    claims: &Claims,
) -> Deleted {
    let reference: Option<Reference> = status.reference.as_deref().and_then(|r| r.parse().ok());
    let repository = sources.target.repository();
    let access = &Access { scopes: vec![Scope::delete(repository)], ..access.clone() };
    let mut tags: Vec<(&str, Vec<Digest>)> = Vec::new();
    // What was never pushed, and only found to be right, something else has made.
    let pushed = status.pushed_to.as_deref() == Some(&repository.to_string());
    if let Some(reference) = reference.filter(|then| pushed && then.repository() == repository) {
        let images = left(sources, status, &reference);
        let left = |name: &String| images.get(name).or(reference.digest()).cloned();
        tags.extend(
            status.tags.iter().map(|name| (name.as_str(), left(name).into_iter().collect())),
        );
    }
    // What a run has left that ended without a word.
    for tag in &status.pending_tags {
        let content = tag.intended.as_ref().and_then(|content| content.parse().ok());
        let content = content.filter(|content: &Reference| content.repository() == repository);
        let Some(digest) = content.and_then(|content| content.digest().cloned()) else { continue };
        match tags.iter_mut().find(|(name, _)| *name == tag.name) {
            Some((_, left)) => left.push(digest),
            None => tags.push((&tag.name, vec![digest])),
        }
    }
    tags.retain(|(name, _)| claims.owner(name).is_none());
    let deletions: Vec<_> = tags
        .into_iter()
        .map(|(name, left)| (repository.tag(name), left))
        .map(|(tag, left)| async move {
            let deleted = one(registry, access, &tag, &left).await;
            (tag, deleted)
        })
        .collect();
    let results: Vec<_> = stream::iter(deletions).buffered(AT_ONCE).collect().await;
    let mut deleted = Deleted::default();
    for (tag, result) in results {
        match result {
            Ok(true) => deleted.tags.push(tag),
            Ok(false) => {}
            Err(left) => deleted.left.push(left),
        }
    }
    deleted
}

/// The images that were left under tags of their own.
fn left(
    sources: &Sources,
    status: &MultiArchImageStatus,
    index: &Reference,
) -> HashMap<String, Digest> {
    let tags = index.digest().map(|index| tags::of_published(sources, index, &status.platforms));
    let tags = tags.and_then(Result::ok).unwrap_or_default();
    tags.into_iter().map(|tag| (tag.name, tag.digest)).collect()
}

/// Deletes `tag`, if it names what it was left with; whether it did.
async fn one<R: Registry>(
    registry: &R,
    access: &Access,
    tag: &Reference,
    left_with: &[Digest],
) -> Result<bool, Left> {
    let left = |why: String, may_pass| Left { tag: tag.clone(), why, may_pass };
    let named = look::named(registry, access, tag).await;
    let named = named.map_err(|error| left(error.to_string(), true))?;
    if !named.is_some_and(|named| left_with.contains(&named)) {
        return Ok(false);
    }
    let name = tag.tag().unwrap_or_default();
    let deleted = registry.delete_tag(access, tag.repository(), name).await;
    deleted.map_err(|error| left(error.to_string(), may_pass(&error)))
}

/// Whether another try may help: registries that cannot delete tags say so by these.
fn may_pass(error: &RegistryError) -> bool {
    !matches!(error.status(), Some(400 | 404 | 405 | 501))
}

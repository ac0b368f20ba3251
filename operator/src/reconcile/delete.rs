//! writes: the tags of an object that is deleted, away from their registry.

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::MultiArchImageStatus;

use super::{claims::Claims, look};
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

/// Deletes the tags that `status` says were written, where they still name what was published. Only
/// tags: never an image, and no tag that something else has moved or another object keeps.
pub async fn delete<R: Registry>(
    registry: &R,
    access: &Access,
    status: &MultiArchImageStatus,
    claims: &Claims,
) -> Deleted {
    let reference: Option<Reference> = status.reference.as_deref().and_then(|r| r.parse().ok());
    let Some(reference) = reference else { return Deleted::default() };
    let repository = reference.repository();
    let access = &Access { scopes: vec![Scope::delete(repository)], ..access.clone() };
    let images = status.platforms.iter().filter_map(|image| image.digest.parse().ok());
    let ours: Vec<Digest> = images.chain(reference.digest().cloned()).collect();
    let ours = &ours;
    let deletions: Vec<_> = status
        .tags
        .iter()
        .filter(|tag| claims.owner(tag).is_none())
        .map(|tag| repository.tag(tag))
        .map(|tag| async move {
            let deleted = one(registry, access, &tag, ours).await;
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

/// Deletes `tag`, if it names one of `ours`; whether it did.
async fn one<R: Registry>(
    registry: &R,
    access: &Access,
    tag: &Reference,
    ours: &[Digest],
) -> Result<bool, Left> {
    let left = |why: String, may_pass| Left { tag: tag.clone(), why, may_pass };
    let named = look::named(registry, access, tag).await;
    let named = named.map_err(|error| left(error.to_string(), true))?;
    if named.is_none_or(|named| !ours.contains(&named)) {
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

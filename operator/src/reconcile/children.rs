//! writes: images of the index that are gone from the target's repository, back from where they came.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use multiarch_crds::v1alpha1::PublishedPlatform;

use super::{
    Job,
    access::AccessMap,
    copy,
    memory::PublishedIndex,
    publish::PublishError,
    resolve::{Answer, Content, Resolution},
    sources::Sources,
};
use crate::{
    oci::{Digest, Manifest, Reference, TagOrDigest},
    registry::{Registry, RegistryError},
};

/// How many are asked for at once.
const AT_ONCE: usize = 8;

/// An image or attestation manifest that the target's repository must have.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its digest.
    pub digest: Digest,
    /// Name of the source that it came from; empty where it was retained.
    pub source: String,
}

/// Digests of the images `platforms`.
#[must_use]
pub fn images(platforms: &[PublishedPlatform]) -> Vec<Digest> {
    platforms.iter().filter_map(|image| image.digest.parse().ok()).collect()
}

/// What the target's repository must have for a plan, beside what is copied there anyway.
#[derive(Debug, Default)]
pub struct Children {
    /// All but what was just read in that repository.
    pub unseen: Vec<Wanted>,
    /// Those that no source gave.
    pub staying: Vec<Wanted>,
}

impl Children {
    /// Of a plan of the images `platforms`, which the sources gave as `resolutions`.
    #[must_use]
    pub fn of(
        sources: &Sources,
        resolutions: &[Resolution],
        platforms: &[PublishedPlatform],
    ) -> Self {
        let (mut given, mut seen) = (HashSet::new(), HashSet::new());
        for (source, resolution) in sources.sources.iter().zip(resolutions) {
            let Answer::Found(found) = &resolution.answer else { continue };
            let is_here = source.reference.repository() == sources.target.repository();
            for child in &found.children {
                let digests = child.attestations.iter().chain([&child.descriptor]);
                let digests: Vec<_> = digests.map(|descriptor| &descriptor.digest).collect();
                given.extend(digests.iter().copied());
                seen.extend(digests.into_iter().filter(|_| is_here));
            }
        }
        let planned: Vec<Wanted> = platforms.iter().flat_map(listed).collect();
        let without = |known: &HashSet<&Digest>| {
            planned.iter().filter(|child| !known.contains(&child.digest)).cloned().collect()
        };
        Self { unseen: without(&seen), staying: without(&given) }
    }
}

/// An image and its attestations.
fn listed(image: &PublishedPlatform) -> impl Iterator<Item = Wanted> {
    let digests = std::iter::once(&image.digest).chain(&image.attestations);
    let digests = digests.filter_map(|digest| digest.parse().ok());
    digests.map(|digest| Wanted { digest, source: image.source.clone() })
}

/// All that `index` lists.
#[must_use]
pub fn published(index: &PublishedIndex) -> Vec<Wanted> {
    let each = index.children.iter().flat_map(|child| {
        let digests = std::iter::once(&child.digest).chain(&child.attestations);
        digests.map(|digest| Wanted { digest: digest.clone(), source: child.source.clone() })
    });
    each.collect()
}

/// Sees to it that the target's repository has `children`: one that is gone is copied from its
/// source's repository again, by digest. Returns those.
pub async fn keep<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    children: &[Wanted],
) -> Result<Vec<Reference>, PublishError> {
    let asks: Vec<_> = children.iter().map(|child| is_gone(job, access, child)).collect();
    let gone: Vec<_> = stream::iter(asks).buffered(AT_ONCE).try_collect().await?;
    let gone: Vec<&Wanted> = gone.into_iter().flatten().collect();
    let mut contents = Vec::new();
    for child in &gone {
        contents.push(find(job, access, child).await?);
    }
    copy::copy(job, access, &contents).await?;
    let repository = job.sources.target.repository();
    Ok(gone.into_iter().map(|child| repository.digest(&child.digest)).collect())
}

async fn is_gone<'a, R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    child: &'a Wanted,
) -> Result<Option<&'a Wanted>, PublishError> {
    let target = &job.sources.target;
    let access = access.target().map_err(|source| PublishError::Credential { source })?;
    let digest = TagOrDigest::Digest(child.digest.clone());
    let head = job.registry.head_manifest(access, target.repository(), &digest).await;
    let head = head.map_err(|source| PublishError::Look { target: target.clone(), source })?;
    Ok(head.is_none().then_some(child))
}

/// `child`, where it came from.
async fn find<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    child: &Wanted,
) -> Result<Content, PublishError> {
    let target = job.sources.target.repository();
    let gone = || PublishError::ChildGone { image: target.digest(&child.digest) };
    let source = job.sources.sources.iter().find(|source| source.name == child.source);
    let repository = source.map(|source| source.reference.repository());
    let Some(repository) = repository.filter(|repository| *repository != target) else {
        return Err(gone());
    };
    let access =
        access.named(&child.source).map_err(|source| PublishError::Credential { source })?;
    let digest = TagOrDigest::Digest(child.digest.clone());
    let manifest = match job.registry.get_manifest(access, repository, &digest).await {
        Ok(manifest) => manifest.ok_or_else(gone)?,
        Err(RegistryError::Unusable { .. }) => return Err(gone()),
        Err(source) => {
            let image = repository.digest(&child.digest);
            return Err(PublishError::Copy { image, source });
        }
    };
    let blobs = match manifest.parse() {
        Ok(Manifest::Image(image)) => std::iter::once(image.config).chain(image.layers).collect(),
        _ => return Err(gone()),
    };
    let (source, repository) = (child.source.clone(), repository.clone());
    Ok(Content { source, repository, manifest, blobs })
}

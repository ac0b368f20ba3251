//! writes: images of the index that are gone from the target's repository, back from where they came.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::PublishedPlatform;

use super::{
    Job,
    access::AccessMap,
    copy, look,
    plan::Plan,
    publish::PublishError,
    referrers::Followed,
    resolve::{Answer, Content, Found, Resolution},
};
use crate::{
    oci::{Digest, Manifest, RawManifest, Reference, TagOrDigest},
    registry::{Registry, RegistryError},
};

/// How many are asked for at once.
const AT_ONCE: usize = 8;

/// An image or attestation manifest that the target's repository must have.
#[derive(Clone, Debug)]
pub struct Wanted {
    digest: Digest,
    /// Name of the source that it came from; empty where it was retained.
    source: String,
}

/// What became of the images that the target's repository must have.
#[derive(Debug, Default)]
pub struct Kept {
    /// Those that were gone and put back.
    pub repaired: Vec<Reference>,
    /// Whether all images of the published index are there; `None` where that is not known.
    pub whole: Option<bool>,
    /// What became of their referrers, where those were looked for.
    pub referrers: Option<Followed>,
}

/// What the target's repository must have for a plan, beside what is copied there anyway.
#[derive(Debug, Default)]
pub struct Children {
    /// All but what was just read in that repository.
    pub unseen: Vec<Wanted>,
    /// Those that no source gave.
    pub staying: Vec<Wanted>,
    /// All that the plan lists.
    pub planned: Vec<Wanted>,
}

impl Children {
    /// Of `plan`, for which the sources gave `resolutions`.
    #[must_use]
    pub fn of<R>(job: &Job<'_, R>, resolutions: &[Resolution], plan: &Plan) -> Self {
        let found = resolutions.iter().filter_map(|resolution| match &resolution.answer {
            Answer::Found(found) => Some(found),
            _ => None,
        });
        let given: HashSet<Digest> = found.flat_map(digests).collect();
        let seen = seen(job, resolutions);
        let planned = wanted(job, plan);
        let without = |known: &HashSet<Digest>| {
            planned.iter().filter(|child| !known.contains(&child.digest)).cloned().collect()
        };
        Self { unseen: without(&seen), staying: without(&given), planned }
    }
}

/// What `plan` lists: its images, each with its attestations, then what else an index lists that is
/// published as it is, and what is in the indexes in it.
fn wanted<R>(job: &Job<'_, R>, plan: &Plan) -> Vec<Wanted> {
    let copied = plan.contents.iter().map(|content| {
        let (digest, source) = (content.manifest.digest().clone(), content.source.clone());
        Wanted { digest, source }
    });
    // It has one source.
    let whole = job.sources.sources.first().filter(|_| plan.index.is_none());
    let listed_whole = whole.into_iter().flat_map(|source| {
        let source = source.name.clone();
        lists(&plan.raw).map(move |digest| Wanted { digest, source: source.clone() })
    });
    let mut seen = HashSet::new();
    let all = plan.platforms.iter().flat_map(listed).chain(copied).chain(listed_whole);
    all.filter(|child| seen.insert(child.digest.clone())).collect()
}

/// What `raw` lists, if it is an index.
fn lists(raw: &RawManifest) -> impl Iterator<Item = Digest> {
    let index = match raw.parse() {
        Ok(Manifest::Index(index)) => Some(index),
        _ => None,
    };
    index.into_iter().flat_map(|index| index.manifests).map(|child| child.digest)
}

/// An image and its attestations.
fn listed(image: &PublishedPlatform) -> impl Iterator<Item = Wanted> {
    let digests = std::iter::once(&image.digest).chain(&image.attestations);
    let digests = digests.filter_map(|digest| digest.parse().ok());
    digests.map(|digest| Wanted { digest, source: image.source.clone() })
}

/// The images that a source gave, and their attestations; all of it, where it is mirrored.
fn digests(found: &Found) -> impl Iterator<Item = Digest> {
    let each = found.children.iter().flat_map(|c| c.attestations.iter().chain([&c.descriptor]));
    let whole = found.whole.iter().flat_map(|whole| {
        let contents = whole.contents.iter().map(|content| content.manifest.digest().clone());
        lists(&whole.raw).chain(contents)
    });
    each.map(|descriptor| descriptor.digest.clone()).chain(whole)
}

/// What the sources' answers show to be in the target's repository.
fn seen<R>(job: &Job<'_, R>, resolutions: &[Resolution]) -> HashSet<Digest> {
    let mut seen = HashSet::new();
    for (source, resolution) in job.sources.sources.iter().zip(resolutions) {
        if source.reference.repository() != job.sources.target.repository() {
            continue;
        }
        match &resolution.answer {
            Answer::Found(found) => seen.extend(digests(found)),
            // One that is pinned was not asked.
            Answer::Unchanged
                if !job.memory.is_missing(&source.name) && source.reference.digest().is_none() =>
            {
                seen.extend(resolution.known.clone());
            }
            _ => {}
        }
    }
    seen
}

/// Sees to it that the images of the published index are there: those that neither `resolutions`
/// show nor a tag, which names one of `tagged`. For a while after a push, absence tells nothing.
pub async fn keep_published<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    resolutions: &[Resolution],
    tagged: &[&Digest],
    kept: &mut Kept,
) -> Result<(), PublishError> {
    let published = job.memory.published.as_ref().filter(|_| !job.is_lag_to_be_expected());
    let Some(published) = published else { return Ok(()) };
    let seen = seen(job, resolutions);
    let each = published.children.iter().flat_map(|child| {
        let digests = std::iter::once(&child.digest).chain(&child.attestations);
        digests.map(|digest| Wanted { digest: digest.clone(), source: child.source.clone() })
    });
    let unseen = each.filter(|c| !seen.contains(&c.digest) && !tagged.contains(&&c.digest));
    let result = keep(job, access, &unseen.collect::<Vec<_>>(), kept).await;
    kept.tell(&result);
    result
}

impl Kept {
    /// All images of the published index were asked for, and that was the `result`.
    pub fn tell(&mut self, result: &Result<(), PublishError>) {
        self.whole = match result {
            Ok(()) => Some(true),
            Err(error) if error.is_gone() => Some(false),
            Err(_) => None,
        };
    }
}

/// Sees to it that the target's repository has `children`: one that is gone is copied from its
/// source's repository again, by digest.
pub async fn keep<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    children: &[Wanted],
    kept: &mut Kept,
) -> Result<(), PublishError> {
    let asks: Vec<_> = children.iter().map(|child| is_gone(job, access, child)).collect();
    let answers: Vec<_> = stream::iter(asks).buffered(AT_ONCE).collect().await;
    // One that cannot be helped does not keep the others from being put back.
    let (mut lost, mut unknown) = (None, None);
    for (child, answer) in children.iter().zip(answers) {
        match answer {
            Ok(false) => {}
            Ok(true) => match put_back(job, access, child).await {
                Ok(image) => kept.repaired.extend(image),
                Err(error) => lost = lost.or(Some(error)),
            },
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    lost.or(unknown).map_or(Ok(()), Err)
}

async fn is_gone<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    child: &Wanted,
) -> Result<bool, PublishError> {
    let access = access.target().map_err(|source| PublishError::Credential { source })?;
    let image = job.sources.target.repository().digest(&child.digest);
    Ok(look::named(job.registry, access, &image).await?.is_none())
}

/// Copies `child` from where it came. `None` where it is there after all.
async fn put_back<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    child: &Wanted,
) -> Result<Option<Reference>, PublishError> {
    let image = job.sources.target.repository().digest(&child.digest);
    let Some(content) = find(job, access, child).await? else {
        return Err(PublishError::ChildGone { image });
    };
    match copy::copy(job, access, &[content]).await {
        Ok(copied) => Ok(copied.map(|_| image)),
        Err(source) => Err(PublishError::ChildLost { image, source: Box::new(source) }),
    }
}

/// `child`, where it came from.
async fn find<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    child: &Wanted,
) -> Result<Option<Content>, PublishError> {
    let target = job.sources.target.repository();
    let repository = job.sources.named(&child.source).map(|source| source.reference.repository());
    let Some(repository) = repository.filter(|repository| *repository != target) else {
        return Ok(None);
    };
    let lost = |source| {
        let image = target.digest(&child.digest);
        PublishError::ChildLost { image, source: Box::new(source) }
    };
    let access = access.named(&child.source);
    let access = access.map_err(|source| lost(PublishError::Credential { source }))?;
    let digest = TagOrDigest::Digest(child.digest.clone());
    let manifest = match job.registry.get_manifest(access, repository, &digest).await {
        Ok(Some(manifest)) => manifest,
        Ok(None) | Err(RegistryError::Unusable { .. }) => return Ok(None),
        Err(source) => {
            let (name, image) = (child.source.clone(), repository.digest(&child.digest));
            return Err(lost(PublishError::Copy { name, image, source }));
        }
    };
    let blobs = match manifest.parse() {
        Ok(Manifest::Image(image)) => image.blobs().cloned().collect(),
        Ok(Manifest::Index(_)) => Vec::new(),
        Err(_) => return Ok(None),
    };
    let (source, repository) = (child.source.clone(), repository.clone());
    Ok(Some(Content { source, repository, manifest, blobs }))
}

//! pure: what the sources gave, and what the tag names now → the index to publish, and coverage.

mod coverage;
mod draft;
mod held;
mod labels;

use std::collections::HashSet;

use multiarch_crds::v1alpha1::{PublishPolicy, PublishedPlatform, RemovalPolicy};

use super::{
    memory::PublishedChild,
    resolve::{Child, Content, Whole},
    sources::Sources,
};
use crate::oci::{
    Descriptor, Digest, Index, Platform, RawManifest,
    manifest::{MAX_BYTES, MAX_CHILDREN},
};

use self::draft::{awaited, oddities};
pub use self::{
    coverage::{Required, required},
    draft::{Draft, draft},
    held::Held,
    labels::{Labelled, agree},
};

/// What the target's tag names now.
#[derive(Debug)]
pub enum Current {
    /// Nothing.
    Free,
    /// The index that status remembers, or the draft itself: nothing needed to be read.
    Known(Digest),
    /// What was read.
    Read(Read),
}

/// What was read of the target.
#[derive(Debug)]
pub struct Read {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes, where they are a manifest.
    pub raw: Option<RawManifest>,
    /// It as one flat index. What is none stands under no media type, so that it equals no plan.
    pub index: Index,
}

/// The index to publish.
#[derive(Debug)]
pub struct Plan {
    /// What it says, where other bytes that say the same do as well; a source that is mirrored keeps
    /// its own.
    pub index: Option<Index>,
    /// Its bytes; those of an image where the one source is mirrored and is one.
    pub raw: RawManifest,
    /// Its images, as status shows them.
    pub platforms: Vec<PublishedPlatform>,
    /// What has to be copied for it.
    pub contents: Vec<Content>,
    /// Its images, where they must agree in labels.
    pub labelled: Vec<Labelled>,
}

impl Current {
    /// Its bytes, where they were read.
    #[must_use]
    pub fn raw(&self) -> Option<&RawManifest> {
        match self {
            Self::Read(read) => read.raw.as_ref(),
            Self::Free | Self::Known(_) => None,
        }
    }

    /// The digest that the tag names.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Free => None,
            Self::Known(digest) | Self::Read(Read { digest, .. }) => Some(digest),
        }
    }
}

/// The index to publish, given what the tag names now, and the index that status remembers where
/// the tag does not name it any more.
pub fn plan(
    draft: Draft,
    current: &Current,
    ours: Option<&Read>,
    sources: &Sources,
) -> Result<Plan, Held> {
    let (given, staying) = (draft.children.len(), draft.children.len() + draft.kept.len());
    let mut children = draft.children;
    let tagged = match current {
        Current::Read(read) => Some(read),
        Current::Free | Current::Known(_) => None,
    };
    let read = || [tagged, ours].into_iter().flatten();
    // What is kept stands before what something else has put under the tag.
    let mut lost = Vec::new();
    for kept in &draft.kept {
        let listed = read().find_map(|read| listed(&read.index, kept, sources));
        if let Some(child) = listed {
            children.push(child);
        } else {
            let source = sources.named(&kept.source);
            lost.extend(source.map(|source| awaited(source, [&kept.platform].into_iter())));
        }
    }
    if !lost.is_empty() {
        return Err(Held::Waiting { waiting: lost });
    }
    let others = tagged.map(|read| not_given(&read.index, &children, sources)).unwrap_or_default();
    match sources.removal_policy {
        RemovalPolicy::Remove => {}
        // Of what is published already, an index in it may be gone: it is put back.
        _ if tagged.is_some_and(|read| {
            read.digest != *draft.raw.digest() && !tells_platforms(&read.index)
        }) =>
        {
            return Err(Held::NoImage);
        }
        RemovalPolicy::Refuse if others.is_empty() => {}
        RemovalPolicy::Refuse => {
            let mut platforms: Vec<_> = others.iter().map(|c| c.platform.to_string()).collect();
            platforms.sort_unstable();
            platforms.dedup();
            return Err(Held::WouldShrink { platforms });
        }
        RemovalPolicy::Retain => {
            children.extend(others);
            let lost =
                ours.map(|read| not_given(&read.index, &children, sources)).unwrap_or_default();
            children.extend(lost);
        }
    }
    if let Some(child) = children.iter().find(|c| !sources.may_list(&c.descriptor.media_type)) {
        let (platform, digest) = (child.platform.clone(), child.descriptor.digest.clone());
        return Err(Held::Format { platform, digest });
    }
    let has: Vec<_> = children.iter().map(|child| child.platform.clone()).collect();
    let lacking = Required { platforms: sources.required.clone(), unknown: 0 }.lacking(&has);
    if children.is_empty()
        || (!lacking.is_empty() && sources.publish_policy == PublishPolicy::Complete)
    {
        let waiting = lacking.iter().map(|platform| {
            format!(
                "{platform} (no source provides it{})",
                oddities(std::slice::from_ref(platform))
            )
        });
        return Err(Held::Waiting { waiting: waiting.collect() });
    }
    let as_drafted = children.len() == given;
    let drafted = as_drafted.then_some(draft.raw);
    let index = if as_drafted { draft.index } else { sources.index(descriptors(&children)) };
    if index.manifests.len() > MAX_CHILDREN {
        return Err(Held::TooMany { children: index.manifests.len() });
    }
    let platforms = shown(&index, &children);
    let must_agree = !sources.equal_labels.is_empty();
    let labelled = if must_agree { labels::of(&children) } else { Vec::new() };
    if let Some(Whole { raw, contents }) = draft.mirrored.filter(|_| as_drafted) {
        return Ok(Plan { index: None, raw, platforms, contents, labelled });
    }
    // Its source is gone, and it stays as it is.
    let stays = draft.stays.filter(|_| children.len() == staying);
    let stays = stays.and_then(|digest| read().find(|read| read.digest == digest));
    if let Some(raw) = stays.and_then(|read| as_it_is(read, sources)) {
        return Ok(Plan { index: None, raw, platforms, contents: Vec::new(), labelled });
    }
    let contents = children.into_iter().flat_map(|child| child.contents).collect();
    let raw = drafted.unwrap_or_else(|| index.to_raw());
    let bytes = raw.bytes().len();
    if bytes as u64 > MAX_BYTES {
        return Err(Held::TooLarge { bytes });
    }
    Ok(Plan { raw, index: Some(index), platforms, contents, labelled })
}

/// Whether `index` has images, and tells the platform of each.
fn tells_platforms(index: &Index) -> bool {
    let mut images = index.manifests.iter().filter(|child| !child.is_attestation()).peekable();
    images.peek().is_some() && images.all(|image| platform(image).is_some())
}

/// The bytes of what was read, where the spec has nothing against them.
fn as_it_is(read: &Read, sources: &Sources) -> Option<RawManifest> {
    let attested = read.index.manifests.iter().any(Descriptor::is_attestation);
    let fine = |raw: &&RawManifest| {
        sources.may_publish(raw.media_type()) && !(attested && sources.drops_attestations())
    };
    read.raw.as_ref().filter(fine).cloned()
}

/// The image `kept` as `index` lists it.
fn listed(index: &Index, kept: &PublishedChild, sources: &Sources) -> Option<Child> {
    let image = index.manifests.iter().find(|image| {
        image.digest == kept.digest && platform(image).as_ref() == Some(&kept.platform)
    })?;
    Some(taken(index, image, kept.platform.clone(), kept.source.clone(), sources))
}

/// The images of `index` whose platforms `children` do not have, once for each platform and
/// compression. A new revision of a build of Windows is given instead of the old one.
fn not_given(index: &Index, children: &[Child], sources: &Sources) -> Vec<Child> {
    let mut seen = HashSet::new();
    let images = index.manifests.iter().filter(|child| !child.is_attestation());
    images
        .filter_map(|image| {
            let platform = platform(image)?;
            let given = children.iter().any(|child| child.platform.replaces(&platform));
            let first = !given && seen.insert((platform.clone(), image.is_zstd()));
            first.then(|| taken(index, image, platform, String::new(), sources))
        })
        .collect()
}

/// `image` from `index`, with the attestations that follow it.
fn taken(
    index: &Index,
    image: &Descriptor,
    platform: Platform,
    source: String,
    sources: &Sources,
) -> Child {
    let keeps = !sources.drops_attestations();
    let about = |a: &&Descriptor| {
        keeps && a.is_attestation() && a.attests().as_ref() == Some(&image.digest)
    };
    Child {
        platform,
        config: None,
        attestations: index.manifests.iter().filter(about).cloned().collect(),
        source,
        labels: None,
        descriptor: sources.listed(image.clone()),
        contents: Vec::new(),
    }
}

/// The platform of `image`, normalised, where it tells one.
fn platform(image: &Descriptor) -> Option<Platform> {
    let tells = |platform: &&Platform| platform.is_well_formed() && !platform.is_unknown();
    let told = image.platform.as_ref().filter(tells);
    told.map(Platform::normalized)
}

/// What the index lists; an attestation that an image has in two sources is listed once. One that
/// says the same bytes of two images is listed for each, whichever comes first.
fn descriptors(children: &[Child]) -> Vec<Descriptor> {
    let images = children.iter().map(|child| child.descriptor.clone());
    let mut attestations: Vec<&Descriptor> = Vec::new();
    for attestation in children.iter().flat_map(|child| &child.attestations) {
        if !attestations.contains(&attestation) {
            attestations.push(attestation);
        }
    }
    images.chain(attestations.into_iter().cloned()).collect()
}

/// The images of `index` in its order, with where they came from.
fn shown(index: &Index, children: &[Child]) -> Vec<PublishedPlatform> {
    let of = |descriptor: &Descriptor| children.iter().find(|c| c.descriptor == *descriptor);
    let images = index.manifests.iter().filter_map(of);
    images
        .map(|child| PublishedPlatform {
            platform: child.platform.to_string(),
            digest: child.descriptor.digest.to_string(),
            config_digest: child.config.as_ref().map(ToString::to_string),
            attestations: child.attestations.iter().map(|a| a.digest.to_string()).collect(),
            source: child.source.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests;

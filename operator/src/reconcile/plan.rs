//! pure: what the sources gave, and what the tag names now → the index to publish, and coverage.

mod coverage;
mod held;

use std::collections::{HashMap, HashSet};

use multiarch_crds::v1alpha1::{PublishPolicy, PublishedPlatform, RemovalPolicy};

use super::{
    memory::{Memory, PublishedChild},
    resolve::{Answer, Child, Content, Resolution, Whole},
    sources::{Source, Sources},
};
use crate::oci::{
    Descriptor, Digest, Index, Platform, RawManifest,
    manifest::{MAX_BYTES, MAX_CHILDREN},
};

pub use coverage::{Required, required};
pub use held::Held;

/// The annotation by which builders tell a zstd image from the gzip one of the same platform.
const ZSTD: &str = "io.github.containers.compression.zstd";

/// The index that the sources make, before what the tag names now is looked at.
#[derive(Debug)]
pub struct Draft {
    children: Vec<Child>,
    /// Published images of sources that are absent now: they must be in the index.
    kept: Vec<PublishedChild>,
    /// Published images that no source gives, and that are retained if they can still be found.
    retained: Vec<PublishedChild>,
    /// The index without anything that is kept or retained.
    index: Index,
    /// The one source as it is, where that is what is published.
    mirrored: Option<Whole>,
    /// What was published of the one source as it is, where that source is absent now.
    stays: Option<Digest>,
    /// Its bytes, made once: those of the index, or of the one source as it is.
    raw: RawManifest,
}

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
}

/// What the index would be made of, from what the sources gave.
pub fn draft(
    sources: &Sources,
    resolutions: &[Resolution],
    memory: &Memory,
) -> Result<Draft, Held> {
    let answers = || sources.sources.iter().zip(resolutions);
    let failed = |(source, resolution): (&Source, &Resolution)| {
        !source.optional && matches!(resolution.answer, Answer::Failed { .. })
    };
    if answers().any(failed) {
        return Err(Held::SourceFailed);
    }
    let children = found(resolutions)?;
    let mut kept: Vec<PublishedChild> = Vec::new();
    let mut waiting = Vec::new();
    let moved = !memory.has_all_found(resolutions);
    for (source, resolution) in answers() {
        let left_out = source.optional || sources.publish_policy == PublishPolicy::Partial;
        let missing = match &resolution.answer {
            Answer::Missing => true,
            Answer::Failed { .. } => false,
            Answer::Found(found) if found.lacking.is_empty() || left_out => continue,
            Answer::Found(found) => {
                let lacking = found.lacking.join(", ");
                waiting
                    .push(format!("{lacking} (in source {}, {})", source.name, source.reference));
                continue;
            }
            Answer::Unchanged => continue,
        };
        let published: Vec<_> = memory.published_from(&source.name).collect();
        let goes = missing && sources.removal_policy == RemovalPolicy::Remove && left_out;
        if goes || (published.is_empty() && left_out) {
            continue;
        }
        // An old image is never merged with new ones because of a 404, and a reference that never
        // answered is awaited.
        if !source.optional && (published.is_empty() || moved || !resolution.was_resolved()) {
            waiting.push(awaited(source, published.iter().map(|child| &child.platform)));
            continue;
        }
        // What another source gives instead need not be kept.
        let replaced = |kept: &PublishedChild| children.iter().any(|c| c.platform == kept.platform);
        kept.extend(published.into_iter().filter(|child| !replaced(child)).cloned());
    }
    if !waiting.is_empty() {
        return Err(Held::Waiting { waiting });
    }
    if children.is_empty() && kept.is_empty() {
        let waiting = sources.sources.iter().map(|source| awaited(source, [].into_iter()));
        return Err(Held::Waiting { waiting: waiting.collect() });
    }
    let index = Index::new(descriptors(&children), sources.annotations.clone());
    // Published byte for byte, so that its digest, and signatures of it, stay true.
    let mirrored = match resolutions {
        [Resolution { answer: Answer::Found(found), .. }] => found.whole.clone(),
        _ => None,
    };
    let stays = match resolutions {
        [Resolution { answer: Answer::Missing, known, .. }] if sources.mirrors() => known.clone(),
        _ => None,
    };
    let raw = match &mirrored {
        Some(whole) => whole.raw.clone(),
        None => index.to_raw(),
    };
    let retained = Vec::new();
    let mut draft = Draft { children, kept, retained, index, mirrored, stays, raw };
    if sources.removal_policy == RemovalPolicy::Retain {
        let published = memory.published.iter().flat_map(|index| &index.children);
        draft.retained = published.filter(|child| !draft.provides(child)).cloned().collect();
    }
    Ok(draft)
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

impl Draft {
    /// Whether it is the whole plan, so that no published image has to be found.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.kept.is_empty() && self.retained.is_empty()
    }

    /// The digest of what is published where nothing else has to stay.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        self.raw.digest()
    }

    /// The images that the sources give, or have given.
    pub fn given(&self) -> impl Iterator<Item = &Digest> {
        let found = self.children.iter().map(|child| &child.descriptor.digest);
        found.chain(self.kept.iter().map(|kept| &kept.digest))
    }

    /// Whether what the tag names now must be read, although it is the index that status
    /// remembers: for images that are kept or would vanish, and where it may already say the same
    /// in other bytes.
    #[must_use]
    pub fn needs(&self, memory: &Memory) -> bool {
        memory.published.as_ref().is_none_or(|published| {
            !self.is_whole()
                || published.children.iter().any(|child| !self.has(&child.platform))
                || published.has_just(self.children.iter().map(|child| &child.descriptor.digest))
        })
    }

    fn has(&self, platform: &Platform) -> bool {
        self.children.iter().any(|child| child.platform == *platform)
    }

    /// Whether a source gives the platform of `published`, or it is kept.
    fn provides(&self, published: &PublishedChild) -> bool {
        self.has(&published.platform)
            || self.kept.iter().any(|kept| kept.platform == published.platform)
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
        let listed = read().find_map(|read| listed(&read.index, kept));
        if let Some(child) = listed {
            children.push(child);
        } else {
            let source = sources.sources.iter().find(|source| source.name == kept.source);
            lost.extend(source.map(|source| awaited(source, [&kept.platform].into_iter())));
        }
    }
    if !lost.is_empty() {
        return Err(Held::Waiting { waiting: lost });
    }
    let others = tagged.map(|read| not_given(&read.index, &children)).unwrap_or_default();
    match sources.removal_policy {
        RemovalPolicy::Remove => {}
        _ if tagged.is_some_and(|read| !tells_platforms(&read.index)) => return Err(Held::NoImage),
        RemovalPolicy::Refuse if others.is_empty() => {}
        RemovalPolicy::Refuse => {
            let mut platforms: Vec<_> = others.iter().map(|c| c.platform.to_string()).collect();
            platforms.sort_unstable();
            platforms.dedup();
            return Err(Held::WouldShrink { platforms });
        }
        RemovalPolicy::Retain => {
            children.extend(others);
            let lost = ours.map(|read| not_given(&read.index, &children)).unwrap_or_default();
            children.extend(lost);
        }
    }
    let has: Vec<_> = children.iter().map(|child| child.platform.clone()).collect();
    let lacking = Required { platforms: sources.required.clone(), unknown: 0 }.lacking(&has);
    if children.is_empty()
        || (!lacking.is_empty() && sources.publish_policy == PublishPolicy::Complete)
    {
        let waiting = lacking.iter().map(|p| format!("{p} (no source provides it)")).collect();
        return Err(Held::Waiting { waiting });
    }
    let as_drafted = children.len() == given;
    let drafted = as_drafted.then_some(draft.raw);
    let index = if as_drafted {
        draft.index
    } else {
        Index::new(descriptors(&children), sources.annotations.clone())
    };
    if index.manifests.len() > MAX_CHILDREN {
        return Err(Held::TooMany { children: index.manifests.len() });
    }
    let platforms = shown(&index, &children);
    if let Some(Whole { raw, contents }) = draft.mirrored.filter(|_| as_drafted) {
        return Ok(Plan { index: None, raw, platforms, contents });
    }
    // Its source is gone, and it stays as it is.
    let stays = draft.stays.filter(|_| children.len() == staying);
    let stays = stays.and_then(|digest| read().find(|read| read.digest == digest)?.raw.clone());
    if let Some(raw) = stays {
        return Ok(Plan { index: None, raw, platforms, contents: Vec::new() });
    }
    let contents = children.into_iter().flat_map(|child| child.contents).collect();
    let raw = drafted.unwrap_or_else(|| index.to_raw());
    let bytes = raw.bytes().len();
    if bytes as u64 > MAX_BYTES {
        return Err(Held::TooLarge { bytes });
    }
    Ok(Plan { raw, index: Some(index), platforms, contents })
}

/// Whether `index` has images, and tells the platform of each.
fn tells_platforms(index: &Index) -> bool {
    let mut images = index.manifests.iter().filter(|child| !child.is_attestation()).peekable();
    images.peek().is_some() && images.all(|image| platform(image).is_some())
}

/// The image `kept` as `index` lists it.
fn listed(index: &Index, kept: &PublishedChild) -> Option<Child> {
    let image = index.manifests.iter().find(|image| {
        image.digest == kept.digest && platform(image).as_ref() == Some(&kept.platform)
    })?;
    Some(taken(index, image, kept.platform.clone(), kept.source.clone()))
}

/// The images of `index` whose platforms `children` do not have, once for each platform and
/// compression.
fn not_given(index: &Index, children: &[Child]) -> Vec<Child> {
    let mut seen = HashSet::new();
    let images = index.manifests.iter().filter(|child| !child.is_attestation());
    images
        .filter_map(|image| {
            let platform = platform(image)?;
            let given = children.iter().any(|child| child.platform == platform);
            let first = !given && seen.insert((platform.clone(), is_zstd(image)));
            first.then(|| taken(index, image, platform, String::new()))
        })
        .collect()
}

/// `image` from `index`, with the attestations that follow it.
fn taken(index: &Index, image: &Descriptor, platform: Platform, source: String) -> Child {
    let about = |a: &&Descriptor| a.is_attestation() && a.attests().as_ref() == Some(&image.digest);
    Child {
        platform,
        config: None,
        attestations: index.manifests.iter().filter(about).cloned().collect(),
        source,
        descriptor: image.clone(),
        contents: Vec::new(),
    }
}

/// The platform of `image`, normalised, where it tells one.
fn platform(image: &Descriptor) -> Option<Platform> {
    let told = image.platform.as_ref().filter(|platform| platform.is_well_formed());
    told.map(Platform::normalized)
}

fn found(resolutions: &[Resolution]) -> Result<Vec<Child>, Held> {
    let mut children: Vec<Child> = Vec::new();
    let mut by_key: HashMap<(Platform, bool), String> = HashMap::new();
    for resolution in resolutions {
        let Answer::Found(found) = &resolution.answer else { continue };
        for child in &found.children {
            let key = (child.platform.clone(), is_zstd(&child.descriptor));
            if let Some(first) = by_key.insert(key, child.source.clone()) {
                let (platform, second) = (child.platform.clone(), child.source.clone());
                return Err(Held::Duplicate { platform, first, second });
            }
            children.push(child.clone());
        }
    }
    Ok(children)
}

/// An index may have a gzip and a zstd image of one platform.
fn is_zstd(image: &Descriptor) -> bool {
    image.annotations.get(ZSTD).is_some_and(|value| value == "true")
}

/// `source` in words, with the platforms that are declared for it or that were published from it.
fn awaited<'a>(source: &Source, published: impl Iterator<Item = &'a Platform>) -> String {
    let mut words: Vec<_> = source.declared.iter().map(|declared| declared.text.clone()).collect();
    if words.is_empty() {
        words = published.map(ToString::to_string).collect();
    }
    match words.as_slice() {
        [] => format!("source {} ({})", source.name, source.reference),
        words => format!("{} (source {}, {})", words.join(", "), source.name, source.reference),
    }
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

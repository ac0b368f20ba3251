//! pure: what the sources gave, and what the tag names now → the index to publish, and coverage.

use std::collections::{HashMap, HashSet};

use multiarch_crds::v1alpha1::{Coverage, PublishPolicy, PublishedPlatform, RemovalPolicy};

use super::{
    memory::Memory,
    resolve::{Answer, Child, Resolution},
    sources::{Source, Sources},
};
use crate::oci::{Descriptor, Digest, Index, Platform, RawManifest};

/// The annotation by which builders tell a zstd image from the gzip one of the same platform.
const ZSTD: &str = "io.github.containers.compression.zstd";

/// Most children, attestations included, that an index may have (REGISTRY.md rule 7).
pub const MAX_CHILDREN: usize = 128;

/// The index that the sources make, before what the tag names now is looked at.
#[derive(Debug)]
pub struct Draft {
    children: Vec<Child>,
    /// Digests of published children of sources that are absent now, and the name of the source.
    kept: HashMap<Digest, String>,
    /// The index without anything that is kept or retained.
    index: Index,
    /// Its digest.
    pub digest: Digest,
}

/// What the target's tag names now.
#[derive(Debug)]
pub enum Current {
    /// Nothing.
    Free,
    /// The index that status remembers, or the draft itself: nothing needed to be read.
    Known(Digest),
    /// What was read.
    Read {
        /// Its digest.
        digest: Digest,
        /// It as an index; a single image stands as an index of itself.
        index: Index,
    },
}

/// The index to publish.
#[derive(Debug)]
pub struct Plan {
    /// What it says.
    pub index: Index,
    /// Its bytes.
    pub raw: RawManifest,
    /// Its images, as status shows them.
    pub platforms: Vec<PublishedPlatform>,
}

/// The platforms that an index must have to be complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// Those that are known, normalised and in order.
    pub platforms: Vec<Platform>,
    /// Sources of which not even the platform is known.
    pub unknown: usize,
}

/// Why nothing is published now.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Held {
    /// Platforms that are to come.
    #[error("waiting for {}", .waiting.join(", "))]
    Waiting {
        /// What is waited for, in words.
        waiting: Vec<String>,
    },
    /// A source failed, so that its platform is unknown.
    #[error("a source failed")]
    SourceFailed,
    /// Two sources give the same platform.
    #[error(
        "sources {first} and {second} both give {platform}: an index has one image for each \
         platform, so remove one of the two or correct its image"
    )]
    Duplicate {
        /// The platform.
        platform: Platform,
        /// The first source.
        first: String,
        /// The second source.
        second: String,
    },
    /// The tag's index has platforms that no source provides any more.
    #[error(
        "the tag would lose {}: add a source for what must stay, or set removalPolicy to Retain \
         (keep it) or Remove (let it go)", .platforms.join(", ")
    )]
    WouldShrink {
        /// The platforms.
        platforms: Vec<String>,
    },
    /// The tag names something whose platforms cannot be told.
    #[error(
        "the tag names something that is no image: delete that tag, choose another one, or set \
         removalPolicy: Remove to replace it"
    )]
    NoImage,
    /// More children than an index may have.
    #[error(
        "the index would have {children} children, more than the {MAX_CHILDREN} that are allowed"
    )]
    TooMany {
        /// How many.
        children: usize,
    },
}

/// What the index would be made of, from what the sources gave.
pub fn draft(
    sources: &Sources,
    resolutions: &[Resolution],
    memory: &Memory,
) -> Result<Draft, Held> {
    let answers: Vec<(&Source, &Answer)> =
        sources.sources.iter().zip(resolutions.iter().map(|r| &r.answer)).collect();
    let failed = |(source, answer): &(&Source, &Answer)| {
        !source.optional && matches!(answer, Answer::Failed { .. })
    };
    if answers.iter().any(failed) {
        return Err(Held::SourceFailed);
    }
    let children = found(&answers)?;
    let mut kept = HashMap::new();
    let mut waiting = Vec::new();
    let moved = !memory.has_all_found(resolutions);
    for (source, answer) in &answers {
        let missing = match answer {
            Answer::Missing => true,
            Answer::Failed { .. } => false,
            Answer::Found(_) | Answer::Unchanged => continue,
        };
        let published: Vec<_> = memory.published_from(&source.name).collect();
        let goes = missing
            && sources.removal_policy == RemovalPolicy::Remove
            && (source.optional || sources.publish_policy == PublishPolicy::Partial);
        let left_out = source.optional || sources.publish_policy == PublishPolicy::Partial;
        if goes || (published.is_empty() && left_out) {
            continue;
        }
        // An old image is never merged with new ones because of a 404.
        if !source.optional && (published.is_empty() || moved) {
            waiting.push(awaited(source));
            continue;
        }
        kept.extend(published.iter().map(|child| (child.digest.clone(), source.name.clone())));
    }
    if !waiting.is_empty() {
        return Err(Held::Waiting { waiting });
    }
    if children.is_empty() && kept.is_empty() {
        let waiting = sources.sources.iter().map(awaited).collect();
        return Err(Held::Waiting { waiting });
    }
    let index = Index::new(descriptors(&children), sources.annotations.clone());
    let digest = index.to_raw().digest().clone();
    Ok(Draft { children, kept, index, digest })
}

impl Draft {
    /// Digests of the published images that stay although their sources are absent now.
    pub fn kept(&self) -> impl Iterator<Item = &Digest> {
        self.kept.keys()
    }

    /// The platforms of the images that the sources gave.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.children.iter().map(|child| &child.platform)
    }

    /// Whether what the tag names now must be read, although it is the index that status
    /// remembers: for images that are kept or would vanish, and where it may already say the same
    /// in other bytes.
    #[must_use]
    pub fn needs(&self, memory: &Memory) -> bool {
        memory.published.as_ref().is_none_or(|published| {
            !self.kept.is_empty()
                || published.children.iter().any(|child| !self.has(&child.platform))
                || published.has_just(self.children.iter().map(|child| &child.descriptor.digest))
        })
    }

    fn has(&self, platform: &Platform) -> bool {
        self.children.iter().any(|child| child.platform == *platform)
    }
}

/// The index to publish, given what the tag names now.
pub fn plan(draft: Draft, current: &Current, sources: &Sources) -> Result<Plan, Held> {
    let mut children = draft.children;
    let mut vanishing = Vec::new();
    if let Current::Read { index, .. } = current {
        let (attestations, images): (Vec<_>, Vec<_>) =
            index.manifests.iter().cloned().partition(Descriptor::is_attestation);
        if images.is_empty() && sources.removal_policy != RemovalPolicy::Remove {
            return Err(Held::NoImage);
        }
        let given: HashSet<Platform> =
            children.iter().map(|child| child.platform.clone()).collect();
        let mut stays = HashSet::new();
        for image in images {
            let Some(platform) = image.platform.as_ref().map(Platform::normalized) else {
                continue;
            };
            let zstd = is_zstd(&image);
            // What a source gives replaces it; a double of what stays is dropped.
            if given.contains(&platform) || !stays.insert((platform.clone(), zstd)) {
                continue;
            }
            let kept = draft.kept.get(&image.digest);
            if kept.is_none() {
                match sources.removal_policy {
                    RemovalPolicy::Remove => continue,
                    RemovalPolicy::Retain => {}
                    RemovalPolicy::Refuse => {
                        vanishing.push(platform.to_string());
                        continue;
                    }
                }
            }
            let about = |a: &&Descriptor| a.attests().as_ref() == Some(&image.digest);
            children.push(Child {
                platform,
                config: None,
                attestations: attestations.iter().filter(about).cloned().collect(),
                source: kept.cloned().unwrap_or_default(),
                descriptor: image,
            });
        }
    }
    if !vanishing.is_empty() {
        vanishing.sort_unstable();
        vanishing.dedup();
        return Err(Held::WouldShrink { platforms: vanishing });
    }
    let has: Vec<_> = children.iter().map(|child| child.platform.clone()).collect();
    let lacking = Required { platforms: sources.required.clone(), unknown: 0 }.lacking(&has);
    if children.is_empty()
        || (!lacking.is_empty() && sources.publish_policy == PublishPolicy::Complete)
    {
        let waiting = lacking.iter().map(|p| format!("{p} (no source provides it)")).collect();
        return Err(Held::Waiting { waiting });
    }
    let index = if children.len() == draft.index.manifests.len() && draft.kept.is_empty() {
        draft.index
    } else {
        Index::new(descriptors(&children), sources.annotations.clone())
    };
    if index.manifests.len() > MAX_CHILDREN {
        return Err(Held::TooMany { children: index.manifests.len() });
    }
    Ok(Plan { raw: index.to_raw(), platforms: shown(&index, &children), index })
}

/// What an index must have: the spec's platforms, and those that the sources have or, while they
/// are absent, had or are declared to have. Optional sources require nothing.
#[must_use]
pub fn required(sources: &Sources, resolutions: &[Resolution], memory: &Memory) -> Required {
    let mut platforms: Vec<Platform> = sources.required.iter().map(Platform::normalized).collect();
    let mut unknown = 0;
    let answers = sources.sources.iter().zip(resolutions);
    for (source, resolution) in answers.filter(|(source, _)| !source.optional) {
        let mut its: Vec<Platform> = match &resolution.answer {
            Answer::Found(found) => found.children.iter().map(|c| c.platform.clone()).collect(),
            _ => memory.published_from(&source.name).map(|child| child.platform.clone()).collect(),
        };
        if its.is_empty() {
            its = source.declared.iter().map(|d| d.platform.normalized()).collect();
        }
        unknown += usize::from(its.is_empty());
        platforms.append(&mut its);
    }
    platforms.sort_by_cached_key(Platform::sort_key);
    platforms.dedup();
    Required { platforms, unknown }
}

impl Required {
    /// The known platforms that none of `has` covers.
    #[must_use]
    pub fn lacking(&self, has: &[Platform]) -> Vec<String> {
        let covered = |required: &&Platform| !has.iter().any(|platform| platform.covers(required));
        self.platforms.iter().filter(covered).map(|p| p.normalized().to_string()).collect()
    }

    /// Coverage by a plan that has the platforms `planned`, beside a tag that has `published`.
    #[must_use]
    pub fn coverage(&self, planned: &[Platform], published: usize) -> Coverage {
        let missing = self.lacking(planned);
        let required = self.platforms.len() + self.unknown;
        let covered = self.platforms.len() - missing.len();
        Coverage {
            required: count(required),
            covered: count(covered),
            published: count(published),
            missing,
            summary: format!("{covered}/{required}"),
        }
    }
}

fn found(answers: &[(&Source, &Answer)]) -> Result<Vec<Child>, Held> {
    let mut children: Vec<Child> = Vec::new();
    let mut by_key: HashMap<(Platform, bool), String> = HashMap::new();
    for (_, answer) in answers {
        let Answer::Found(found) = answer else { continue };
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

fn awaited(source: &Source) -> String {
    let declared: Vec<_> = source.declared.iter().map(|declared| declared.text.as_str()).collect();
    match declared.as_slice() {
        [] => format!("source {} ({})", source.name, source.reference),
        words => format!("{} (source {}, {})", words.join(", "), source.name, source.reference),
    }
}

/// What the index lists; an attestation that two images name is listed once.
fn descriptors(children: &[Child]) -> Vec<Descriptor> {
    let images = children.iter().map(|child| child.descriptor.clone());
    let mut seen = HashSet::new();
    let attestations = children.iter().flat_map(|child| &child.attestations);
    images.chain(attestations.filter(|a| seen.insert(&a.digest)).cloned()).collect()
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
            source: child.source.clone(),
        })
        .collect()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

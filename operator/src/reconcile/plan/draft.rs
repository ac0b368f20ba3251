//! pure: what the sources gave → the index that they make, before what the tag names now is looked at.

use std::collections::HashMap;

use multiarch_crds::v1alpha1::{PublishPolicy, RemovalPolicy};

use super::{Held, descriptors, labels};
use crate::{
    oci::{Digest, Index, Platform, RawManifest},
    reconcile::{
        memory::{Memory, PublishedChild},
        resolve::{Answer, Child, Resolution, Whole},
        sources::{Source, Sources},
    },
};

/// The index that the sources make, before what the tag names now is looked at.
#[derive(Debug)]
pub struct Draft {
    pub(super) children: Vec<Child>,
    /// Published images of sources that are absent now: they must be in the index.
    pub(super) kept: Vec<PublishedChild>,
    /// Published images that no source gives, and that are retained if they can still be found.
    pub(super) retained: Vec<PublishedChild>,
    /// The index without anything that is kept or retained.
    pub(super) index: Index,
    /// The one source as it is, where that is what is published.
    pub(super) mirrored: Option<Whole>,
    /// What was published of the one source as it is, where that source is absent now.
    pub(super) stays: Option<Digest>,
    /// Its bytes, made once: those of the index, or of the one source as it is.
    pub(super) raw: RawManifest,
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
                let (lacking, odd) = (found.lacking.join(", "), oddities(&found.lacking));
                let Source { name, reference, .. } = source;
                waiting.push(format!("{lacking} (in source {name}, {reference}{odd})"));
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
    labels::agree(&sources.equal_labels, &labels::of(&children))?;
    let index = sources.index(descriptors(&children));
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
    /// remembers: for images that are kept or would vanish, and where it may say the same as the
    /// draft in other bytes.
    #[must_use]
    pub fn needs(&self, memory: &Memory) -> bool {
        memory.published.as_ref().is_none_or(|published| {
            !self.is_whole()
                || published.children.iter().any(|child| !self.has(&child.platform))
                || (published.digest != *self.digest()
                    && published
                        .has_just(self.children.iter().map(|child| &child.descriptor.digest)))
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

fn found(resolutions: &[Resolution]) -> Result<Vec<Child>, Held> {
    let mut children: Vec<Child> = Vec::new();
    let mut by_key: HashMap<(Platform, bool), String> = HashMap::new();
    for resolution in resolutions {
        let Answer::Found(found) = &resolution.answer else { continue };
        for child in &found.children {
            let key = (child.platform.clone(), child.descriptor.is_zstd());
            if let Some(first) = by_key.insert(key, child.source.clone()) {
                let (platform, second) = (child.platform.clone(), child.source.clone());
                return Err(Held::Duplicate { platform, first, second });
            }
            children.push(child.clone());
        }
    }
    Ok(children)
}

/// What is odd about the first of `platforms` that is odd: it may be misspelt, and be waited for in
/// vain.
pub(super) fn oddities(platforms: &[String]) -> String {
    let odd = platforms.iter().find_map(|text| text.parse::<Platform>().ok()?.oddity());
    odd.map(|odd| format!("; {odd}")).unwrap_or_default()
}

/// `source` in words, with the platforms that are declared for it or that were published from it.
pub(super) fn awaited<'a>(
    source: &Source,
    published: impl Iterator<Item = &'a Platform>,
) -> String {
    let mut words: Vec<_> = source.declared.iter().map(|declared| declared.text.clone()).collect();
    if words.is_empty() {
        words = published.map(ToString::to_string).collect();
    }
    match words.as_slice() {
        [] => format!("source {} ({})", source.name, source.reference),
        words => format!("{} (source {}, {})", words.join(", "), source.name, source.reference),
    }
}

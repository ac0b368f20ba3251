//! pure: the status that a run left → what the next run may rely on.

use std::collections::HashMap;

use jiff::Timestamp;
use multiarch_crds::{
    condition::{self, Reason, Type},
    v1alpha1::{MultiArchImageStatus, PendingTag, SourceState, SourceStatus, TagPolicy},
};

use super::{
    resolve::{Answer, Resolution},
    sources::{Source, Sources},
    status,
    tags::Tag,
};
use crate::oci::{Digest, Platform, Reference};

/// What the status says of earlier runs. A status that does not parse is no memory.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one thing that a status says")]
pub struct Memory {
    /// What was last read back under the tag that the spec names now.
    pub published: Option<PublishedIndex>,
    /// When the last index was pushed.
    pub pushed_at: Option<Timestamp>,
    /// The reason of Ready.
    pub reason: Option<Reason>,
    /// The generation that the status speaks of is the one at hand.
    pub current: bool,
    /// The last run did not come to its end, so that nothing tells what it found.
    pub interrupted: bool,
    /// Ready is True.
    pub ready: bool,
    /// What is published was published for the generation at hand.
    pub serves: bool,
    /// It has pushed something to the target's repository.
    pub has_pushed: bool,
    /// The tags of that repository that this object has written, or found to be right; the target's among them.
    pub tags: Vec<String>,
    /// Tags that were not yet seen to name what they are to name.
    pub pending: Vec<PendingTag>,
    intended: HashMap<String, Digest>,
    sources: HashMap<String, Remembered>,
}

/// The index that the target's tag named when it was last read back.
#[derive(Clone, Debug)]
pub struct PublishedIndex {
    /// Its digest.
    pub digest: Digest,
    /// Its images.
    pub children: Vec<PublishedChild>,
}

/// An image of the published index.
#[derive(Clone, Debug)]
pub struct PublishedChild {
    /// Its platform, normalised.
    pub platform: Platform,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Digests of the attestation manifests that are listed for it.
    pub attestations: Vec<Digest>,
    /// Name of the source that it came from; empty where it was retained.
    pub source: String,
}

/// What is remembered of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The digest that its reference named when it last answered; `None` where the reference may
    /// have been another one then.
    pub digest: Option<Digest>,
    /// How it answered.
    pub state: SourceState,
    /// It is in an archive, where the digest is that of a config.
    pub in_archive: bool,
}

impl Memory {
    /// Reads `status`, for a spec of `generation` that was parsed into `sources`.
    #[must_use]
    pub fn of(status: &MultiArchImageStatus, generation: Option<i64>, sources: &Sources) -> Self {
        let ready = condition::get(&status.conditions, Type::Ready);
        let reason = ready.and_then(|ready| ready.reason.parse().ok());
        let published = condition::get(&status.conditions, Type::Published);
        // A run may end before its sources are asked, and still observe a generation.
        let asked = condition::get(&status.conditions, Type::SourcesResolved)
            .and_then(|condition| condition.observed_generation);
        let remembered = sources.sources.iter().filter_map(|source| {
            let then = status.sources.iter().find(|then| then.name == source.name)?;
            let remembered = Remembered::of(then, source, asked == generation);
            Some((source.name.clone(), remembered))
        });
        let reference = status.reference.as_ref().and_then(|reference| reference.parse().ok());
        let repository = sources.target.repository();
        let is_here = reference.is_some_and(|then: Reference| then.repository() == repository);
        let intended = status.pending_tags.iter().filter_map(|tag| {
            let content: Reference = tag.intended.as_ref()?.parse().ok()?;
            let digest = content.digest().filter(|_| content.repository() == repository)?;
            Some((tag.name.clone(), digest.clone()))
        });
        Self {
            published: PublishedIndex::of(status, &sources.target),
            pushed_at: status.last_publish_time.as_ref().map(|time| time.0),
            reason,
            current: status.observed_generation == generation,
            interrupted: status::is_at_work(status),
            ready: ready.is_some_and(|ready| ready.status == "True"),
            serves: published.is_some_and(|published| published.observed_generation == generation),
            has_pushed: status.pushed_to.as_deref() == Some(&repository.to_string()),
            tags: if is_here { status.tags.clone() } else { Vec::new() },
            pending: status.pending_tags.clone(),
            intended: intended.collect(),
            sources: remembered.collect(),
        }
    }

    /// What is remembered of the source called `name`.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Remembered> {
        self.sources.get(name)
    }

    /// Whether the source called `name` answered 404 when it was last asked.
    #[must_use]
    pub fn is_missing(&self, name: &str) -> bool {
        self.source(name).is_some_and(|source| source.state == SourceState::Missing)
    }

    /// The images of the published index that came from the source called `name`.
    pub fn published_from(&self, name: &str) -> impl Iterator<Item = &PublishedChild> {
        self.published
            .iter()
            .flat_map(|index| &index.children)
            .filter(move |child| child.source == name)
    }

    /// Whether the outcome of the last run depends on content alone, so that the same answers lead
    /// to it again: only then may a run stop after its HEADs. What a foreign tag names is not
    /// remembered, so what was held because of it is looked at anew.
    #[must_use]
    pub fn is_settled(&self, policy: TagPolicy) -> bool {
        use Reason as R;
        let tag_is_known = self.published.is_some();
        // A tag that could not be written is tried again.
        self.current
            && !self.interrupted
            && self.pending.is_empty()
            && self.reason.is_some_and(|reason| match reason {
                R::Succeeded
                | R::PublishedPartial
                | R::WouldShrink
                | R::TagImmutable
                | R::TargetConflict
                | R::DriftLoop => tag_is_known,
                // What the target's registry refused it may take later.
                R::UnsupportedContent | R::FormatMismatch => {
                    tag_is_known && self.has_unusable_source()
                }
                R::WaitingForPlatforms
                | R::WaitingForMatch
                | R::PlatformMismatch
                | R::DuplicatePlatform => true,
                // It is left as it is, until something else than the tag changes.
                R::DriftDetected => tag_is_known && policy == TagPolicy::Yield,
                _ => false,
            })
    }

    fn has_unusable_source(&self) -> bool {
        let unusable = |source: &Remembered| {
            matches!(source.state, SourceState::Unsupported | SourceState::Invalid)
        };
        self.sources.values().any(unusable)
    }

    /// Whether the last run left the spec served.
    #[must_use]
    pub fn was_served(&self) -> bool {
        self.current && self.ready && self.reason != Some(Reason::Suspended)
    }

    /// Whether the last run left a tag as something else had moved it, or as its registry keeps it.
    /// Not so where the tag is as it was left, and the spec gives something else since: only
    /// another spec ends that.
    #[must_use]
    pub fn was_left(&self, policy: TagPolicy) -> bool {
        let stays = policy == TagPolicy::Immutable && !self.serves;
        self.current
            && !self.ready
            && self.reason.is_some_and(|reason| match reason {
                Reason::TagImmutable => !stays,
                Reason::DriftLoop | Reason::DriftDetected => true,
                _ => false,
            })
    }

    /// Whether the sources gave just `images` when the index was published, for the spec as it is
    /// now. What was retained beside them, something else may have changed.
    #[must_use]
    pub fn repeats<'a>(&self, images: impl Iterator<Item = &'a Digest>) -> bool {
        let published = self.published.as_ref().filter(|_| self.serves);
        published.is_some_and(|index| {
            let given = index.children.iter().filter(|child| !child.source.is_empty());
            same(images, given.map(|child| &child.digest))
        })
    }

    /// Whether this object has written the tag called `name`.
    #[must_use]
    pub fn has_written(&self, name: &str) -> bool {
        self.tags.iter().any(|tag| tag == name)
    }

    /// Whether the tag called `name` is this object's own: no other one may write it.
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        self.has_pushed && self.has_written(name)
    }

    /// What may have been written under the tag called `name` in a run that ended without a word.
    #[must_use]
    pub fn intended(&self, name: &str) -> Option<&Digest> {
        self.intended.get(name)
    }

    /// Whether the tag called `name` was not yet seen to name what it is to name.
    fn is_pending(&self, name: &str) -> bool {
        self.pending.iter().any(|tag| tag.name == name)
    }

    /// Whether the last push to the tag called `name` was refused.
    #[must_use]
    pub fn was_refused(&self, name: &str) -> bool {
        self.pending.iter().any(|tag| tag.name == name && tag.digest.is_none())
    }

    /// What was pushed under the tag called `name`, for the spec as it is, and was not seen there
    /// yet.
    #[must_use]
    pub fn awaited(&self, name: &str) -> Option<Digest> {
        let mut pending = self.pending.iter().filter(|tag| self.current && tag.name == name);
        pending.find_map(|tag| tag.digest.as_ref()?.parse().ok())
    }

    /// Whether this object published `digest` for `platform`.
    #[must_use]
    pub fn has_published(&self, platform: &Platform, digest: &Digest) -> bool {
        let mut children = self.published.iter().flat_map(|index| &index.children);
        children.any(|child| child.platform == *platform && child.digest == *digest)
    }

    /// What this object left `tag` with, where it wrote it and saw it written.
    #[must_use]
    pub fn left(&self, tag: &Tag) -> Option<&Digest> {
        let is_known = self.has_written(&tag.name) && !self.is_pending(&tag.name);
        let published = self.published.as_ref().filter(|_| is_known)?;
        match &tag.platform {
            None => Some(&published.digest),
            Some(of) => {
                let child = published.children.iter().find(|child| child.platform == *of)?;
                Some(&child.digest)
            }
        }
    }

    /// Whether every image that `resolutions` found is in the published index already.
    #[must_use]
    pub fn has_all_found(&self, resolutions: &[Resolution]) -> bool {
        let published: Vec<_> = self.published.iter().flat_map(|index| &index.children).collect();
        resolutions.iter().all(|resolution| match &resolution.answer {
            Answer::Found(found) => found.children.iter().all(|child| {
                published.iter().any(|known| {
                    known.digest == child.descriptor.digest && known.platform == child.platform
                })
            }),
            _ => true,
        })
    }
}

impl Remembered {
    /// What `then` says of `source`. `same`: the spec has not changed since.
    fn of(then: &SourceStatus, source: &Source, same: bool) -> Self {
        let digest: Option<Digest> = then.digest.as_deref().and_then(|digest| digest.parse().ok());
        // Status does not tell which reference was asked. After an edit, a digest counts where it
        // is the reference's own, or the message shows the same reference.
        let same = same
            || (digest.is_some() && source.reference.digest() == digest.as_ref())
            || (then.state == SourceState::Missing
                && then.message == Some(Source::absence(&source.reference)));
        let in_archive = source.reference.repository().archive().is_some();
        Self { digest: digest.filter(|_| same), state: then.state, in_archive }
    }

    /// Whether the state follows from the digest alone. What is wrong in an archive beside the config may be mended, and the config
    /// be the same.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        use SourceState as S;
        match self.state {
            S::Resolved | S::PlatformMismatch | S::Conflict => true,
            S::Unsupported | S::Invalid => !self.in_archive,
            _ => false,
        }
    }
}

impl PublishedIndex {
    /// Its images, each with its platform.
    pub fn images(&self) -> impl Iterator<Item = (&Platform, &Digest)> {
        self.children.iter().map(|child| (&child.platform, &child.digest))
    }

    fn of(status: &MultiArchImageStatus, target: &Reference) -> Option<Self> {
        let reference: Reference = status.reference.as_deref()?.parse().ok()?;
        if reference.repository() != target.repository() || reference.tag() != target.tag() {
            return None;
        }
        let children = status.platforms.iter().map(|published| {
            Some(PublishedChild {
                platform: published.platform.parse::<Platform>().ok()?.normalized(),
                digest: published.digest.parse().ok()?,
                attestations: published.attestations.iter().flat_map(|a| a.parse()).collect(),
                source: published.source.clone(),
            })
        });
        Some(Self {
            digest: reference.digest()?.clone(),
            children: children.collect::<Option<_>>()?,
        })
    }

    /// Whether it is `digest`, or has an image of it.
    #[must_use]
    pub fn lists(&self, digest: &Digest) -> bool {
        self.digest == *digest || self.children.iter().any(|child| child.digest == *digest)
    }

    /// Whether it has exactly the images `children`, whatever else it says.
    #[must_use]
    pub fn has_just<'a>(&self, children: impl Iterator<Item = &'a Digest>) -> bool {
        same(children, self.children.iter().map(|child| &child.digest))
    }
}

/// Whether both are the same, in whatever order.
fn same<'a, 'b>(a: impl Iterator<Item = &'a Digest>, b: impl Iterator<Item = &'b Digest>) -> bool {
    let (mut a, mut b): (Vec<&Digest>, Vec<&Digest>) = (a.collect(), b.collect());
    a.sort_unstable();
    b.sort_unstable();
    a == b
}

#[cfg(test)]
mod tests;

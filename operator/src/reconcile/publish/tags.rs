//! writes: the index, and its images, under the tags beside the target's.

use futures::{StreamExt, stream};
use multiarch_crds::{condition::Reason, v1alpha1::TagPolicy};

use super::{Before, PublishError, put, read_back, refused};
use crate::{
    oci::{Digest, RawManifest, TagOrDigest},
    reconcile::{
        Job, look,
        tags::{Astray, Tag, Verdict, drift},
    },
    registry::{Access, Registry},
};

/// How many tags are written at once.
const AT_ONCE: usize = 4;

/// What became of the tags.
#[derive(Debug, Default)]
pub struct Tagged {
    /// Those that this object has written, or that were right already.
    pub ours: Vec<String>,
    /// The registry took something under one of them, whether or not it was read back.
    pub pushed: bool,
    /// What tags of ours named before they were put back, in words.
    pub drifts: Vec<String>,
    /// Why one of them is not as it should be.
    pub failed: Option<PublishError>,
}

/// What tags are written for.
#[derive(Debug)]
pub struct Step<'a, R> {
    /// The run.
    pub job: &'a Job<'a, R>,
    /// Who asks.
    pub access: &'a Access,
    /// Manifests that need not be read.
    pub at_hand: Vec<&'a RawManifest>,
    /// What the target's tag names.
    pub index: &'a Digest,
    /// It was pushed just now, and was not published before.
    pub fresh: bool,
    /// The sources give what was published before.
    pub repeats: bool,
}

/// Writes `tags`, whatever becomes of each. The target's tag names the index already.
pub async fn write<R: Registry>(step: &Step<'_, R>, tags: &[Tag]) -> Tagged {
    step.job.stage.publishes();
    step.job.stage.at("while writing the other tags");
    let writes: Vec<_> = tags.iter().map(|tag| step.write(tag)).collect();
    let written: Vec<_> = stream::iter(writes).buffered(AT_ONCE).collect().await;
    let mut tagged = Tagged::default();
    for (tag, result) in tags.iter().zip(written) {
        let is_ours = match &result {
            Ok(_) | Err(PublishError::Yielded { .. } | PublishError::DriftLoop { .. }) => true,
            Err(PublishError::Claimed { .. }) => false,
            // One that could not be written names what it named before. Of the index, that is not
            // ours any more; of an image, it must be known again as ours.
            Err(error) => {
                let was_ours = step.job.memory.has_written(&tag.name);
                tag.platform.is_some() && (was_ours || error.pushed())
            }
        };
        if is_ours {
            tagged.ours.push(tag.name.clone());
        }
        match result {
            Ok(Written::Right) => {}
            Ok(Written::Pushed { drift }) => {
                tagged.pushed = true;
                tagged.drifts.extend(drift);
            }
            Err(error) => {
                tagged.pushed |= error.pushed();
                tagged.failed = tagged.failed.or(Some(error));
            }
        }
    }
    tagged
}

/// How a tag came to be right.
enum Written {
    /// It was.
    Right,
    /// It was written; with what it had been moved to, in words.
    Pushed { drift: Option<String> },
}

impl<R: Registry> Step<'_, R> {
    /// Writes one tag where it is not right.
    async fn write(&self, tag: &Tag) -> Result<Written, PublishError> {
        let Job { registry, sources, memory, .. } = *self.job;
        let reference = sources.target.repository().tag(&tag.name);
        let pinned = reference.pinned_to(&tag.digest);
        if let Some(owner) = self.job.claims.owner(&tag.name) {
            return Err(PublishError::Claimed { tag: reference, owner: owner.clone() });
        }
        // An index that is new is under no other tag, and under Enforce it goes there whatever was.
        let is_asked =
            !self.fresh || tag.platform.is_some() || sources.tag_policy != TagPolicy::Enforce;
        let named =
            if is_asked { look::named(registry, self.access, &reference).await? } else { None };
        if named.as_ref() == Some(&tag.digest) {
            return Ok(Written::Right);
        }
        let is_ours = memory.has_written(&tag.name);
        if let Some(platform) = tag.platform.as_ref().filter(|_| named.is_some() && !is_ours) {
            return Err(PublishError::TagTaken { tag: reference, platform: platform.clone() });
        }
        if self.was_pushed() {
            return Err(PublishError::Lagging { target: pinned, pushed: false });
        }
        let (left, repeats) = (memory.left(tag), self.repeats);
        let exhausted = self.job.is_exhausted();
        let astray = Astray { named: named.as_ref(), left, repeats, exhausted };
        if is_asked {
            match astray.verdict(sources.tag_policy) {
                Verdict::Write => {}
                verdict => return Err(refused(verdict, &reference, &tag.digest, named.as_ref())),
            }
        }
        put(registry, self.access, &reference, &self.raw(tag).await?).await?;
        let before = if is_asked { Before::Named(named.as_ref()) } else { Before::Unknown };
        read_back(registry, self.access, &pinned, before).await?;
        let is_drift = is_asked && repeats && astray.is_moved();
        let drift = is_drift.then(|| drift(&reference, named.as_ref(), &tag.digest));
        Ok(Written::Pushed { drift })
    }

    /// Whether the last run pushed the tags of this same index, and the registry did not show them
    /// yet.
    fn was_pushed(&self) -> bool {
        let memory = self.job.memory;
        memory.current
            && memory.reason == Some(Reason::ReadingBack)
            && memory.published.as_ref().is_some_and(|published| published.digest == *self.index)
            && self.job.is_lag_to_be_expected()
    }

    /// The bytes that `tag` is to name: at hand, or in the target's repository.
    async fn raw(&self, tag: &Tag) -> Result<RawManifest, PublishError> {
        if let Some(raw) = self.at_hand.iter().find(|raw| *raw.digest() == tag.digest) {
            return Ok((*raw).clone());
        }
        let target = &self.job.sources.target;
        let (repository, digest) = (target.repository(), TagOrDigest::Digest(tag.digest.clone()));
        let raw = self.job.registry.get_manifest(self.access, repository, &digest).await;
        let raw = raw.map_err(|source| PublishError::Look { target: target.clone(), source })?;
        raw.ok_or_else(|| PublishError::ChildGone { image: repository.digest(&tag.digest) })
    }
}

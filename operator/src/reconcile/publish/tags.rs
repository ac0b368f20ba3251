//! writes: the index, and its images, under the tags beside the target's.

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::{PendingTag, TagPolicy};

use super::{Before, PublishError, begin, put, read_back, refused};
use crate::{
    oci::{Digest, RawManifest, TagOrDigest},
    reconcile::{
        Job, look,
        tags::{Astray, Tag, Verdict, drift},
    },
    registry::{Access, Put, Registry},
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
    /// A tag of ours was put back, whether or not it stayed.
    pub put_back: bool,
    /// Those that were not yet seen to name what they are to name, and are tried again.
    pub pending: Vec<PendingTag>,
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
    /// It is known that this object may push to the repository, because it has.
    pub proved: bool,
}

/// Writes `tags`, whatever becomes of each. The target's tag names the index already.
pub async fn write<R: Registry>(step: &Step<'_, R>, tags: &[Tag]) -> Tagged {
    step.job.stage.at("while writing the other tags");
    let writes: Vec<_> = tags.iter().map(|tag| step.write(tag)).collect();
    let written: Vec<_> = stream::iter(writes).buffered(AT_ONCE).collect().await;
    let mut tagged = Tagged::default();
    for (tag, result) in tags.iter().zip(written) {
        tagged.add(step.job, tag, result);
    }
    tagged
}

impl Tagged {
    /// Counts what became of `tag`.
    fn add<R>(&mut self, job: &Job<'_, R>, tag: &Tag, result: Result<Written, PublishError>) {
        let Job { memory, writer, .. } = *job;
        let is_settled = match &result {
            Ok(_) | Err(PublishError::Yielded { .. } | PublishError::DriftLoop { .. }) => true,
            Err(
                PublishError::Claimed { .. }
                | PublishError::TagTaken { .. }
                | PublishError::Immutable { .. },
            ) => false,
            Err(error) => {
                let lags = error.awaited().cloned();
                let lags = lags.or(memory.awaited(&tag.name).filter(|then| *then == tag.digest));
                if lags.is_some() || memory.left(tag) != Some(&tag.digest) {
                    let is_put = matches!(error, PublishError::Push { .. });
                    let said = writer.said(&tag.name).filter(|_| is_put);
                    let before = job.intended(&tag.name).filter(|_| error.pushed().is_none());
                    let intended = said.or(before);
                    let digest = lags.map(|digest| digest.to_string());
                    self.pending.push(PendingTag { name: tag.name.clone(), digest, intended });
                }
                // It must be known again as ours, or would be taken for something else's.
                tag.platform.is_some() && error.pushed().is_some()
            }
        };
        let is_claimed = matches!(result, Err(PublishError::Claimed { .. }));
        if is_settled || (memory.has_written(&tag.name) && !is_claimed) {
            self.ours.push(tag.name.clone());
        }
        match result {
            Ok(Written::Right) => {}
            Ok(Written::Pushed { drift }) => {
                self.pushed = true;
                self.put_back |= drift.is_some();
                self.drifts.extend(drift);
            }
            Err(error) => {
                self.pushed |= error.pushed().is_some();
                // The tag does not name it, or it would not have been written.
                self.put_back |= error.pushed().is_some_and(|took| memory.left(tag) == Some(took));
                self.failed.get_or_insert(error);
            }
        }
    }
}

/// How a tag came to be right.
enum Written {
    /// It was.
    Right,
    /// It was written; with what it had been moved to, in words.
    Pushed { drift: Option<String> },
}

impl Written {
    /// It is right after it was `put`, and had been moved to `drift`.
    fn of(put: Put, drift: Option<String>) -> Self {
        match put {
            Put::Taken => Self::Pushed { drift },
            Put::Present => Self::Right,
        }
    }
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
            if self.proved || !self.job.is_to_be_proved(&tag.name, &tag.digest) {
                return Ok(Written::Right);
            }
            let raw = self.raw(tag).await?;
            begin(self.job, &reference).await?;
            let put = put(self.job, self.access, &reference, &raw).await?;
            return Ok(Written::of(put, None));
        }
        let published = |platform| {
            let is_ours = |n: &Digest| {
                memory.has_published(platform, n) || memory.intended(&tag.name) == Some(n)
            };
            named.as_ref().is_some_and(is_ours)
        };
        let is_ours = memory.has_written(&tag.name) || tag.platform.as_ref().is_some_and(published);
        if let Some(platform) = tag.platform.as_ref().filter(|_| named.is_some() && !is_ours) {
            return Err(PublishError::TagTaken { tag: reference, platform: platform.clone() });
        }
        if self.job.awaits(&tag.name, &tag.digest) {
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
        let raw = self.raw(tag).await?;
        begin(self.job, &reference).await?;
        let put = put(self.job, self.access, &reference, &raw).await?;
        let lags = memory.awaited(&tag.name);
        let before = Before::Named(named.as_ref(), lags.as_ref());
        let before = if is_asked { before } else { Before::Unknown };
        read_back(registry, self.access, &pinned, before).await?;
        let is_drift = is_asked && repeats && astray.is_moved();
        let drift = is_drift.then(|| drift(&reference, named.as_ref(), &tag.digest));
        Ok(Written::of(put, drift))
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

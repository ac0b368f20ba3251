//! writes: the index, and its images, under the tags beside the target's.

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::TagPolicy;

use super::{PublishError, Published, put, read_back, refused};
use crate::{
    oci::{Digest, RawManifest, Reference, TagOrDigest},
    reconcile::{
        Job, children, look,
        plan::{Current, Plan},
        tags::{Astray, Tag, Verdict},
    },
    registry::{Access, Registry},
};

/// How many tags are written at once.
const AT_ONCE: usize = 4;

/// What became of the tags.
#[derive(Debug)]
pub struct Tagged {
    /// Those that this object has written, or that were right already.
    pub ours: Vec<String>,
    /// What a tag of ours named before it was put back, in words.
    pub drift: Option<String>,
    /// Why one of them is not as it should be.
    pub failed: Option<PublishError>,
}

/// Writes `tags`, whatever becomes of each. The target's tag names `published` already.
pub async fn write<R: Registry>(
    job: &Job<'_, R>,
    access: &Access,
    plan: &Plan,
    current: &Current,
    published: &Published,
    tags: &[Tag],
) -> Tagged {
    job.stage.at("while writing the other tags");
    let step = Step { job, access, plan, current, published };
    let writes: Vec<_> = tags.iter().map(|tag| step.write(tag)).collect();
    let written: Vec<_> = stream::iter(writes).buffered(AT_ONCE).collect().await;
    let mut tagged = Tagged { ours: Vec::new(), drift: None, failed: None };
    for (tag, result) in tags.iter().zip(written) {
        let is_ours = match &result {
            Ok(_) | Err(PublishError::Yielded { .. } | PublishError::DriftLoop { .. }) => true,
            // One that could not be written names what it named before. Of the index, that is not
            // ours any more; of an image, it must be known again as ours.
            Err(_) => tag.platform.is_some() && job.memory.has_written(&tag.name),
        };
        if is_ours {
            tagged.ours.push(tag.name.clone());
        }
        match result {
            Ok(drift) => tagged.drift = tagged.drift.or(drift),
            Err(error) => tagged.failed = tagged.failed.or(Some(error)),
        }
    }
    tagged
}

struct Step<'a, R> {
    job: &'a Job<'a, R>,
    access: &'a Access,
    plan: &'a Plan,
    current: &'a Current,
    published: &'a Published,
}

impl<R: Registry> Step<'_, R> {
    /// Writes one tag where it is not right. Returns what it named before, where it had been moved.
    async fn write(&self, tag: &Tag) -> Result<Option<String>, PublishError> {
        let Job { registry, sources, memory, .. } = *self.job;
        let reference = sources.target.repository().tag(&tag.name);
        let pinned = reference.pinned_to(&tag.digest);
        // Nothing that was pushed just now is under another tag already.
        let is_asked = !self.published.pushed()
            || tag.platform.is_some()
            || sources.tag_policy != TagPolicy::Enforce;
        let named =
            if is_asked { look::named(registry, self.access, &reference).await? } else { None };
        if named.as_ref() == Some(&tag.digest) {
            return Ok(None);
        }
        let is_ours = memory.has_written(&tag.name);
        if let Some(platform) = tag.platform.as_ref().filter(|_| named.is_some() && !is_ours) {
            return Err(PublishError::TagTaken { tag: reference, platform: platform.clone() });
        }
        let left = memory.left(tag);
        let repeats = memory.repeats(children::images(&self.plan.platforms).iter());
        let exhausted = self.job.is_exhausted();
        let astray =
            Astray { named: named.as_ref(), left, repeats: repeats && is_asked, exhausted };
        match astray.verdict(sources.tag_policy) {
            Verdict::Write => {}
            verdict => return Err(refused(verdict, &reference, &tag.digest, named.as_ref())),
        }
        let raw = self.raw(tag).await?;
        let before = named.as_ref().or(left.filter(|_| !is_asked));
        put(registry, self.access, &reference, &raw, before).await?;
        read_back(registry, self.access, &pinned, before).await?;
        let moved = is_asked && astray.is_moved();
        Ok(moved.then(|| drift(&reference, named.as_ref(), &tag.digest)))
    }

    /// The bytes that `tag` is to name: at hand, or in the target's repository.
    async fn raw(&self, tag: &Tag) -> Result<RawManifest, PublishError> {
        let read = match self.current {
            Current::Read(read) => read.raw.as_ref(),
            Current::Free | Current::Known(_) => None,
        };
        let contents = self.plan.contents.iter().map(|content| &content.manifest);
        let mut at_hand = contents.chain([&self.plan.raw]).chain(read);
        if let Some(raw) = at_hand.find(|raw| *raw.digest() == tag.digest) {
            return Ok(raw.clone());
        }
        let target = &self.job.sources.target;
        let (repository, digest) = (target.repository(), TagOrDigest::Digest(tag.digest.clone()));
        let raw = self.job.registry.get_manifest(self.access, repository, &digest).await;
        let raw = raw.map_err(|source| PublishError::Look { target: target.clone(), source })?;
        raw.ok_or_else(|| PublishError::ChildGone { image: repository.digest(&tag.digest) })
    }
}

/// That `tag` named `named` where `published` had been left, in words.
#[must_use]
pub fn drift(tag: &Reference, named: Option<&Digest>, published: &Digest) -> String {
    let instead = named.map_or("nothing".to_owned(), ToString::to_string);
    format!("{tag} named {instead} instead of {published}")
}

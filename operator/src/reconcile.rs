//! The pipeline, on one screen: sources → resolve → plan → publish → status.

pub mod access;
mod answers;
pub mod busy;
pub mod children;
pub mod claims;
pub mod copy;
pub mod delete;
mod glance;
pub mod labels;
mod lag;
pub mod look;
pub mod memory;
pub mod plan;
pub mod publish;
pub mod referrers;
pub mod resolve;
pub mod since;
pub mod sources;
pub mod stage;
pub mod status;
pub mod tags;
pub mod writer;

use jiff::{SignedDuration, Timestamp};
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{PublishedPlatform, TagPolicy},
};

pub use self::stage::{Amounts, Stage};
use self::{
    access::AccessMap,
    answers::{known, optional, publish_failure, unknown, worst},
    children::{Children, Kept},
    claims::Claims,
    memory::Memory,
    plan::{Current, Held, Plan},
    publish::{
        LAG, PublishError, Published,
        tags::{Step, Tagged},
    },
    referrers::Looks,
    resolve::{Answer, Resolution, ResolveError},
    since::Since,
    sources::Sources,
    status::{Counted, Outcome, Run, Tags},
    tags::{Corrections, Tag},
    writer::Writer,
};
use crate::{
    error::{self, Failure},
    keychain::Keychain,
    oci::Digest,
    registry::{Access, Registry},
};

/// One run of one object.
#[derive(Debug)]
pub struct Job<'a, R> {
    /// The registries.
    pub registry: &'a R,
    /// The spec.
    pub sources: &'a Sources,
    /// The Secrets that it names.
    pub keychain: &'a Keychain,
    /// What the status says of earlier runs.
    pub memory: &'a Memory,
    /// A person asks for the run, by the annotation.
    pub requested: bool,
    /// A registry refused what was to be written, and it is not due to be tried again.
    pub put_off: bool,
    /// When referrers of its images were looked for.
    pub looks: &'a Looks,
    /// The tags of the target's repository that other objects keep.
    pub claims: &'a Claims,
    /// The run, as one that writes tags.
    pub writer: &'a Writer,
    /// When tags of this object were put back.
    pub corrections: &'a Corrections,
    /// When the run began.
    pub now: Timestamp,
    /// From when on what others were answered is believed.
    pub since: Since,
    /// What the run is at.
    pub stage: &'a Stage,
}

impl<R> Job<'_, R> {
    /// Whether tags were put back so often that they are left now. A person may ask for once more.
    fn is_exhausted(&self) -> bool {
        let is_left = self.memory.current && self.memory.reason == Some(Reason::DriftLoop);
        !self.requested && (is_left || self.corrections.are_exhausted(self.now))
    }

    /// Whether nothing but its HEADs is to be asked, unless they show something new: the answers lead to what they led
    /// to before, or what they led to is put off.
    fn is_settled(&self) -> bool {
        let put_off = self.put_off && self.memory.current && !self.requested;
        put_off || self.memory.is_settled(self.sources.tag_policy)
    }

    /// Whether something was pushed so short a time ago that its absence tells nothing.
    fn is_lag_to_be_expected(&self) -> bool {
        self.memory.pushed_at.is_some_and(|at| is_within(LAG, at, self.now))
    }

    /// Its tags are to be `index`, under the target's, and `tags`.
    fn intend(&self, index: &Digest, tags: &[Tag]) {
        let beside = tags.iter().map(|tag| (tag.name.as_str(), &tag.digest));
        let all = [(self.sources.tag(), index)].into_iter().chain(beside);
        let is_left = |name: &str| self.memory.owns(name) || self.claims.owner(name).is_some();
        let others = all.filter(|(name, _)| !is_left(name));
        let repository = self.sources.target.repository();
        self.writer.intend(others.map(|(name, digest)| (repository.tag(name), digest.clone())));
    }

    /// What a run before may have written under the tag called `name` without anybody knowing, for status.
    fn intended(&self, name: &str) -> Option<String> {
        let content = |digest| self.sources.target.repository().digest(digest).to_string();
        self.memory.intended(name).map(content)
    }

    /// Whether `tag`, which names `digest`, is to be pushed all the same: a run that ended without a word may have
    /// written it, and who has it is who may push it.
    fn is_to_be_proved(&self, tag: &str, digest: &Digest) -> bool {
        !self.memory.has_pushed && self.memory.intended(tag) == Some(digest)
    }

    /// Whether `digest` was pushed under `tag` so short a time ago that it may be shown yet. A
    /// person who asks has it pushed again.
    fn awaits(&self, tag: &str, digest: &Digest) -> bool {
        let awaited = self.memory.awaited(tag);
        !self.requested && self.is_lag_to_be_expected() && awaited.as_ref() == Some(digest)
    }
}

/// Whether `then` is less than `span` away from `now`. What is dated later than now was dated by another clock, or by this
/// one before it was set: it must not count for longer than anything else.
fn is_within(span: SignedDuration, then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then).abs() < span
}

/// Why nothing was published.
#[derive(Debug)]
enum Stop {
    Held(Held),
    Publish(PublishError),
}

/// What was published, and what became of the other tags.
enum Served {
    Published {
        published: Published,
        platforms: Vec<PublishedPlatform>,
        tagged: Tagged,
    },
    /// What was published once stands.
    Stands {
        tagged: Tagged,
    },
}

/// Runs `job`: reads no more than what changed since the last run makes necessary, and writes
/// nothing where the tag is right already.
pub async fn run<R: Registry>(job: &Job<'_, R>) -> Run {
    if let Some(owner) = job.claims.owner(job.sources.tag()) {
        let (tag, owner) = (job.sources.target.clone(), owner.clone());
        let claimed = publish_failure(&PublishError::Claimed { tag, owner });
        return Run::without_answers(Outcome::Held(claimed));
    }
    let access = AccessMap::new(job.sources, job.keychain);
    let mut kept = Kept::default();
    if job.is_settled() {
        job.stage.at("while asking what the sources and the tag name");
        if let Some(run) = glance::glance(job, &access, &mut kept).await {
            return run;
        }
    }
    if let Some(run) = lag::wait(job, &access).await {
        return run;
    }
    job.stage.at("while reading the sources");
    let mut resolutions =
        resolve::resolve(job.registry, job.sources, &access, job.memory, job.since.news).await;
    let required = plan::required(job.sources, &resolutions, job.memory);
    let mut served = serve(job, &access, &resolutions, &mut kept).await;
    while let Err(Stop::Publish(error)) = served {
        let Some(failed) = optional(job.sources, &mut resolutions, &error) else {
            served = Err(Stop::Publish(error));
            break;
        };
        failed.answer =
            Answer::Failed { named: None, error: ResolveError::NotCopied { source: error.into() } };
        served = serve(job, &access, &resolutions, &mut kept).await;
    }
    // Nothing is published now; what is must be there all the same.
    let is_open = match &served {
        Ok(Served::Published { .. }) => false,
        Ok(Served::Stands { .. }) | Err(Stop::Held(_)) => true,
        Err(Stop::Publish(error)) => error.target_answered(),
    };
    if is_open && kept.whole.is_none() {
        let looked = children::keep_published(job, &access, &resolutions, &[], &mut kept).await;
        if let Some(gone) = looked.err().filter(PublishError::is_gone) {
            served = Err(Stop::Publish(gone));
        }
    }
    let planned = match &served {
        Ok(Served::Published { platforms, .. }) => {
            platforms.iter().filter_map(|p| p.platform.parse().ok()).collect()
        }
        _ => known(&resolutions, job.memory),
    };
    let run = Run {
        counted: Some(Counted { required, planned }),
        ..Run::without_answers(Outcome::Unchanged).with(kept)
    };
    match served {
        Ok(Served::Published { published, platforms, tagged }) => {
            let drifts = drift(job, &published).into_iter().chain(tagged.drifts.iter().cloned());
            let drifts: Vec<_> = drifts.collect();
            let (pushed, wrote_tag) = (published.pushed(), tagged.pushed);
            let put_back = tagged.put_back || !drifts.is_empty();
            let pending = Some(tagged.pending.clone());
            let tags = Tags::from(tagged);
            let outcome = Outcome::Served { published, platforms, tags };
            Run { resolutions, pushed, wrote_tag, drifts, put_back, pending, outcome, ..run }
        }
        Ok(Served::Stands { tagged }) => {
            let (wrote_tag, put_back) = (tagged.pushed, tagged.put_back);
            let (drifts, pending) = (tagged.drifts.clone(), Some(tagged.pending.clone()));
            let outcome = Outcome::Stands { tags: Tags::from(tagged) };
            Run { resolutions, wrote_tag, drifts, put_back, pending, outcome, ..run }
        }
        Err(stop) => {
            let mut run = Run { conflict: conflict(&stop), ..run };
            run.pending = Some(lag::pending(job, &stop));
            if let Stop::Publish(error) = &stop {
                run.pushed = error.pushed().is_some();
                let published = job.memory.published.as_ref().map(|published| &published.digest);
                run.put_back = run.pushed && error.pushed() == published;
                run.incomplete = error.incomplete().map(ToOwned::to_owned);
            }
            let outcome = Outcome::Held(failure(&stop, job, &resolutions));
            Run { resolutions, outcome, ..run }
        }
    }
}

/// From what the sources gave to tags that were read back. Where a tag is written once, what was
/// published stands whatever the sources give; not so while it is unknown what they give.
async fn serve<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    resolutions: &[Resolution],
    kept: &mut Kept,
) -> Result<Served, Stop> {
    let served = try_to_serve(job, access, resolutions, kept).await;
    let Job { registry, sources, memory, .. } = *job;
    let is_immutable = sources.tag_policy == TagPolicy::Immutable && memory.serves;
    let Some(published) = memory.published.as_ref().filter(|_| is_immutable) else { return served };
    let is_known = match &served {
        Err(Stop::Held(Held::SourceFailed)) => !unknown(sources, resolutions),
        Err(Stop::Held(_)) => true,
        Ok(_) | Err(Stop::Publish(_)) => false,
    };
    let Some(access) = access.target().ok().filter(|_| is_known) else { return served };
    match look::named(registry, access, &sources.target).await {
        Ok(Some(named)) if named == published.digest => {
            stand(job, access, &Current::Known(named)).await
        }
        _ => served,
    }
}

/// The same, apart from what stands.
async fn try_to_serve<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    resolutions: &[Resolution],
    kept: &mut Kept,
) -> Result<Served, Stop> {
    let Job { registry, sources, memory, stage, .. } = *job;
    let draft = plan::draft(sources, resolutions, memory).map_err(Stop::Held)?;
    let target =
        access.target().map_err(|source| Stop::Publish(PublishError::Credential { source }))?;
    stage.at("while reading what the tag names");
    let current = look::look(registry, target, sources, &draft, memory).await;
    let (current, ours) = current.map_err(Stop::Publish)?;
    let (repeats, drafted) = (memory.repeats(draft.given()), draft.digest().clone());
    let plan = match plan::plan(draft, &current, ours.as_ref(), sources) {
        Ok(plan) => plan,
        // Where the tag would not be written anyway, nothing would be lost.
        Err(held @ (Held::WouldShrink { .. } | Held::NoImage)) => {
            match publish::may_write(job, current.digest(), repeats, &drafted) {
                Ok(true) => return Err(Stop::Held(held)),
                Ok(false) => return stand(job, target, &current).await,
                Err(left) => return Err(Stop::Publish(left)),
            }
        }
        Err(held) => return Err(Stop::Held(held)),
    };
    let children = Children::of(job, resolutions, &plan);
    let mut labelled = labels::read(registry, target, sources, plan.labelled.clone()).await;
    if labelled.as_ref().is_err_and(PublishError::is_gone) {
        children::keep(job, access, &children.staying, kept).await.map_err(Stop::Publish)?;
        labelled = labels::read(registry, target, sources, plan.labelled.clone()).await;
    }
    plan::agree(&sources.equal_labels, &labelled.map_err(Stop::Publish)?).map_err(Stop::Held)?;
    // What cannot be tagged is not published.
    let tags = beside(sources, plan.raw.digest(), &plan)?;
    job.intend(plan.raw.digest(), &tags);
    let published = publish::publish(job, access, &plan, &current, repeats, &children, kept).await;
    let Some(published) = published.map_err(Stop::Publish)? else {
        return stand(job, target, &current).await;
    };
    let tags = beside(sources, published.digest(), &plan)?;
    job.intend(published.digest(), &tags);
    let was_published = memory.published.as_ref().map(|published| &published.digest);
    let fresh = published.pushed() && was_published != Some(published.digest());
    let at_hand = plan.contents.iter().map(|content| &content.manifest);
    let at_hand = at_hand.chain([&plan.raw]).chain(current.raw()).collect();
    let proved = memory.has_pushed || published.pushed();
    let index = published.digest();
    let step = Step { job, access: target, at_hand, index, fresh, repeats, proved };
    let tagged = publish::tags::write(&step, &tags).await;
    let Plan { platforms, .. } = plan;
    Ok(Served::Published { published, platforms, tagged })
}

/// What was published once stands, and so do the tags beside the target's.
async fn stand<R: Registry>(
    job: &Job<'_, R>,
    access: &Access,
    current: &Current,
) -> Result<Served, Stop> {
    let mut tagged = Tagged::default();
    if let Some(published) = &job.memory.published {
        let index = &published.digest;
        let tags = tags::of(job.sources, index, published.images());
        let tags = tags.map_err(|source| Stop::Held(Held::Tags { source }))?;
        job.intend(index, &tags);
        let at_hand = current.raw().into_iter().collect();
        let proved = job.memory.has_pushed;
        let step = Step { job, access, at_hand, index, fresh: false, repeats: true, proved };
        tagged = publish::tags::write(&step, &tags).await;
    }
    Ok(Served::Stands { tagged })
}

/// The tags beside the target's for `plan`, which is published as `index`.
fn beside(sources: &Sources, index: &Digest, plan: &Plan) -> Result<Vec<Tag>, Stop> {
    let tags = tags::of_published(sources, index, &plan.platforms);
    tags.map_err(|source| Stop::Held(Held::Tags { source }))
}

/// What the target's tag named where something else had moved it, in words.
fn drift<R>(job: &Job<'_, R>, published: &Published) -> Option<String> {
    let then = &job.memory.published.as_ref()?.digest;
    // Over what something else put there, our own news may have been published, too.
    let moved = published.pushed() && published.digest() == then;
    moved.then(|| tags::drift(&job.sources.target, published.replaced(), then))
}

/// Names of sources that give the same platform.
fn conflict(stop: &Stop) -> Vec<String> {
    let Stop::Held(Held::Duplicate { first, second, .. }) = stop else { return Vec::new() };
    let mut names = vec![first.clone(), second.clone()];
    names.dedup();
    names
}

fn failure<R>(stop: &Stop, job: &Job<'_, R>, resolutions: &[Resolution]) -> Failure {
    match stop {
        Stop::Held(Held::SourceFailed) => worst(job.sources, resolutions).unwrap_or_else(|| {
            Failure::new(error::of_held(&Held::SourceFailed), &Held::SourceFailed)
        }),
        Stop::Held(held) => Failure::new(error::of_held(held), held),
        Stop::Publish(error) => publish_failure(error),
    }
}

impl From<Tagged> for Tags {
    fn from(tagged: Tagged) -> Self {
        Self { ours: tagged.ours, failed: tagged.failed.as_ref().map(publish_failure) }
    }
}

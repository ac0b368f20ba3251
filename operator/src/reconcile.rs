//! The pipeline, on one screen: sources → resolve → plan → publish → status.

pub mod access;
pub mod children;
pub mod claims;
pub mod copy;
pub mod delete;
mod glance;
pub mod labels;
pub mod look;
pub mod memory;
pub mod plan;
pub mod publish;
pub mod referrers;
pub mod resolve;
pub mod sources;
pub mod stage;
pub mod status;
pub mod tags;

use jiff::Timestamp;
use multiarch_crds::{condition::Reason, v1alpha1::PublishedPlatform};

pub use self::stage::Stage;
use self::{
    access::AccessMap,
    children::{Children, Kept},
    claims::Claims,
    memory::Memory,
    plan::{Current, Held, Plan},
    publish::{
        LAG, PublishError, Published,
        tags::{Step, Tagged},
    },
    referrers::Looks,
    resolve::{Answer, Resolution},
    sources::Sources,
    status::{Counted, Outcome, Run, Tags},
    tags::{Corrections, Tag},
};
use crate::{
    error::{self, Failure},
    keychain::Keychain,
    oci::{Digest, Platform},
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
    /// When referrers of its images were looked for.
    pub looks: &'a Looks,
    /// The tags of the target's repository that other objects keep.
    pub claims: &'a Claims,
    /// When tags of this object were put back.
    pub corrections: &'a Corrections,
    /// When the run began.
    pub now: Timestamp,
    /// What the run is at.
    pub stage: &'a Stage,
}

impl<R> Job<'_, R> {
    /// Whether tags were put back so often that they are left now. A person may ask for once more.
    fn is_exhausted(&self) -> bool {
        let is_left = self.memory.current && self.memory.reason == Some(Reason::DriftLoop);
        !self.requested && (is_left || self.corrections.are_exhausted(self.now))
    }

    /// Whether something was pushed so short a time ago that its absence tells nothing.
    fn is_lag_to_be_expected(&self) -> bool {
        self.memory.pushed_at.is_some_and(|at| self.now.duration_since(at) < LAG)
    }
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
    if job.memory.is_settled(job.sources.tag_policy) {
        job.stage.at("while asking what the sources and the tag name");
        if let Some(run) = glance::glance(job, &access, &mut kept).await {
            return run;
        }
    }
    job.stage.at("while reading the sources");
    let resolutions = resolve::resolve(job.registry, job.sources, &access, job.memory).await;
    let required = plan::required(job.sources, &resolutions, job.memory);
    let mut served = serve(job, &access, &resolutions, &mut kept).await;
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
            let tags = Tags::from(tagged);
            let outcome = Outcome::Served { published, platforms, tags };
            Run { resolutions, pushed, wrote_tag, drifts, outcome, ..run }
        }
        Ok(Served::Stands { tagged }) => {
            let (wrote_tag, drifts) = (tagged.pushed, tagged.drifts.clone());
            let outcome = Outcome::Stands { tags: Tags::from(tagged) };
            Run { resolutions, wrote_tag, drifts, outcome, ..run }
        }
        Err(stop) => {
            let mut run = Run { conflict: conflict(&stop), ..run };
            if let Stop::Publish(error) = &stop {
                run.pushed = error.pushed();
                run.incomplete = error.incomplete().map(ToOwned::to_owned);
            }
            let outcome = Outcome::Held(failure(&stop, job, &resolutions));
            Run { resolutions, outcome, ..run }
        }
    }
}

/// From what the sources gave to tags that were read back.
async fn serve<R: Registry>(
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
    let labelled = labels::read(registry, target, sources, plan.labelled.clone()).await;
    plan::agree(&sources.equal_labels, &labelled.map_err(Stop::Publish)?).map_err(Stop::Held)?;
    // What cannot be tagged is not published.
    beside(sources, plan.raw.digest(), &plan)?;
    let children = Children::of(job, resolutions, &plan.platforms);
    let published = publish::publish(job, access, &plan, &current, repeats, &children, kept).await;
    let Some(published) = published.map_err(Stop::Publish)? else {
        return stand(job, target, &current).await;
    };
    let tags = beside(sources, published.digest(), &plan)?;
    let was_published = memory.published.as_ref().map(|published| &published.digest);
    let fresh = published.pushed() && was_published != Some(published.digest());
    let at_hand = plan.contents.iter().map(|content| &content.manifest);
    let at_hand = at_hand.chain([&plan.raw]).chain(current.raw()).collect();
    let step = Step { job, access: target, at_hand, index: published.digest(), fresh, repeats };
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
        let images = published.children.iter().map(|child| (&child.platform, &child.digest));
        let tags = tags::of(job.sources, index, images);
        let tags = tags.map_err(|source| Stop::Held(Held::Tags { source }))?;
        let at_hand = current.raw().into_iter().collect();
        let step = Step { job, access, at_hand, index, fresh: false, repeats: true };
        tagged = publish::tags::write(&step, &tags).await;
    }
    Ok(Served::Stands { tagged })
}

/// The tags beside the target's for `plan`, which is published as `index`.
fn beside(sources: &Sources, index: &Digest, plan: &Plan) -> Result<Vec<Tag>, Stop> {
    let parsed = plan.platforms.iter().filter_map(|image| {
        Some((image.platform.parse::<Platform>().ok()?, image.digest.parse::<Digest>().ok()?))
    });
    let images: Vec<_> = parsed.collect();
    let images = images.iter().map(|(platform, digest)| (platform, digest));
    tags::of(sources, index, images).map_err(|source| Stop::Held(Held::Tags { source }))
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

/// The failure of a source that says most about what to do: one that a person must act on before
/// one that passes, and among equals the first of the spec.
fn worst(sources: &Sources, resolutions: &[Resolution]) -> Option<Failure> {
    let mut failed = 0_usize;
    let mut worst: Option<Failure> = None;
    let answers = sources.sources.iter().zip(resolutions);
    for (source, resolution) in answers.filter(|(source, _)| !source.optional) {
        let Answer::Failed { error, .. } = &resolution.answer else { continue };
        failed += 1;
        let (_, consequence) = error::of_source(error, resolution.was_resolved());
        if worst.as_ref().is_none_or(|worst| consequence.weight() > worst.consequence.weight()) {
            worst =
                Some(Failure { consequence, message: format!("source {}: {error}", source.name) });
        }
    }
    let mut worst = worst?;
    if failed > 1 {
        worst.message =
            format!("{}; {} more failed, see status.sources", worst.message, failed - 1);
    }
    Some(worst)
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

fn publish_failure(error: &PublishError) -> Failure {
    Failure::new(error::of_publish(error), error)
}

/// The platforms that the sources gave; of one that failed, those that were published from it,
/// since a failure tells nothing about them.
fn known(resolutions: &[Resolution], memory: &Memory) -> Vec<Platform> {
    let each = resolutions.iter().map(|resolution| match &resolution.answer {
        Answer::Found(found) => {
            found.children.iter().map(|child| child.platform.clone()).collect::<Vec<_>>()
        }
        Answer::Failed { named: None, .. } => {
            memory.published_from(&resolution.name).map(|child| child.platform.clone()).collect()
        }
        _ => Vec::new(),
    });
    each.flatten().collect()
}

//! The pipeline, on one screen: sources → resolve → plan → publish → status.

pub mod access;
pub mod copy;
pub mod look;
pub mod memory;
pub mod plan;
pub mod publish;
pub mod resolve;
pub mod sources;
pub mod status;
pub mod tags;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use jiff::Timestamp;
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{PublishedPlatform, RemovalPolicy},
};

use self::{
    access::AccessMap,
    memory::Memory,
    plan::{Held, Plan},
    publish::{LAG, PublishError, Published},
    resolve::{Answer, Resolution},
    sources::Sources,
    status::{Counted, Outcome, Run},
};
use crate::{
    error::{self, Failure},
    keychain::Keychain,
    oci::{Digest, Platform},
    registry::{Progress, Registry},
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
    /// When the run began.
    pub now: Timestamp,
    /// What the run is at.
    pub stage: &'a Stage,
}

/// What a run is at, for messages of one that takes long.
#[derive(Debug, Default)]
pub struct Stage {
    at: Mutex<&'static str>,
    blobs: AtomicUsize,
    done: AtomicUsize,
    bytes: Arc<AtomicU64>,
}

/// Why nothing was published.
#[derive(Debug)]
enum Stop {
    Held(Held),
    Publish(PublishError),
}

/// Runs `job`: reads no more than what changed since the last run makes necessary, and writes
/// nothing where the tag is right already.
pub async fn run<R: Registry>(job: &Job<'_, R>) -> Run {
    let access = AccessMap::new(job.sources, job.keychain);
    if job.memory.is_settled() {
        job.stage.at("while asking what the sources and the tag name");
        if let Some(run) = glance(job, &access).await {
            return run;
        }
    }
    job.stage.at("while reading the sources");
    let resolutions = resolve::resolve(job.registry, job.sources, &access, job.memory).await;
    let required = plan::required(job.sources, &resolutions, job.memory);
    let served = serve(job, &access, &resolutions).await;
    let planned = match &served {
        Ok((_, platforms)) => platforms.iter().filter_map(|p| p.platform.parse().ok()).collect(),
        Err(_) => known(&resolutions, job.memory),
    };
    let pushed = match &served {
        Ok((published, _)) => published.pushed(),
        Err(Stop::Publish(error)) => error.pushed(),
        Err(Stop::Held(_)) => false,
    };
    let published = job.memory.published.as_ref();
    let drift = match (&served, published) {
        (Ok((now, _)), Some(then)) if pushed && now.replaced() != Some(&then.digest) => {
            let instead = now.replaced().map_or("nothing".to_owned(), ToString::to_string);
            Some(format!("{} named {instead} instead of {}", job.sources.target, then.digest))
        }
        _ => None,
    };
    let conflict = match &served {
        Err(Stop::Held(Held::Duplicate { first, second, .. })) => {
            let mut names = vec![first.clone(), second.clone()];
            names.dedup();
            names
        }
        _ => Vec::new(),
    };
    let incomplete = match &served {
        Err(Stop::Publish(PublishError::BlobGone { name, .. })) => Some(name.clone()),
        _ => None,
    };
    let outcome = match served {
        Ok((published, platforms)) => Outcome::Served { published, platforms },
        Err(stop) => Outcome::Held(failure(&stop, job, &resolutions)),
    };
    let counted = Some(Counted { required, planned });
    Run { resolutions, counted, pushed, drift, conflict, incomplete, outcome }
}

/// From what the sources gave to a tag that was read back.
async fn serve<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    resolutions: &[Resolution],
) -> Result<(Published, Vec<PublishedPlatform>), Stop> {
    let Job { registry, sources, memory, stage, .. } = *job;
    let draft = plan::draft(sources, resolutions, memory).map_err(Stop::Held)?;
    let target =
        access.target().map_err(|source| Stop::Publish(PublishError::Credential { source }))?;
    stage.at("while reading what the tag names");
    publish::check_children(registry, target, sources, draft.kept())
        .await
        .map_err(Stop::Publish)?;
    let current = look::look(registry, target, sources, &draft, memory).await;
    let (current, ours) = current.map_err(Stop::Publish)?;
    let plan = plan::plan(draft, &current, ours.as_ref(), sources).map_err(Stop::Held)?;
    let published = publish::publish(job, access, &plan, &current).await;
    let Plan { platforms, .. } = plan;
    published.map(|published| (published, platforms)).map_err(Stop::Publish)
}

/// Asks, by HEAD alone, whether everything is as the status says. `None` where the sources must be
/// read to know what to do.
async fn glance<R: Registry>(job: &Job<'_, R>, access: &AccessMap) -> Option<Run> {
    let Job { registry, sources, memory, .. } = *job;
    let run = |resolutions, outcome| Some(Run { resolutions, ..Run::without_answers(outcome) });
    let resolutions = resolve::glance(registry, sources, access, memory).await?;
    if let Some(failure) = worst(sources, &resolutions) {
        // It may hide what was wrong before, which the digests alone do not tell.
        let tells_all = memory.was_served() || memory.reason == Some(Reason::WaitingForPlatforms);
        return if tells_all { run(resolutions, Outcome::Held(failure)) } else { None };
    }
    let mut staying: Vec<&Digest> = Vec::new();
    for (source, resolution) in sources.sources.iter().zip(&resolutions) {
        let newly = matches!(resolution.answer, Answer::Missing);
        let gone = newly || memory.is_missing(&source.name);
        let kept = memory.published_from(&source.name).map(|child| &child.digest);
        if newly && (!memory.was_served() || sources.removal_policy == RemovalPolicy::Remove) {
            return None;
        }
        let absent = gone || matches!(resolution.answer, Answer::Failed { .. });
        if absent && memory.was_served() {
            staying.extend(kept);
        }
    }
    let Some(published) = &memory.published else {
        // What is required may have come by the tag, which is not remembered.
        let retains = sources.removal_policy == RemovalPolicy::Retain;
        let settled = !retains || sources.required.is_empty();
        return if settled { run(resolutions, Outcome::Unchanged) } else { None };
    };
    let target = match access.target() {
        Ok(access) => access,
        Err(source) => {
            let failure = publish_failure(&PublishError::Credential { source });
            return run(resolutions, Outcome::Held(failure));
        }
    };
    let children = publish::check_children(registry, target, sources, staying.into_iter());
    let named = look::named(registry, target, sources);
    match futures::future::try_join(children, named).await {
        Ok(((), Some(digest))) if digest == published.digest => {
            run(resolutions, Outcome::Unchanged)
        }
        // A person who asks for a run does not want to wait for a second look.
        Ok(_) if !memory.was_served() || job.requested => None,
        // Until two minutes after a push, what the tag named before is lag.
        Ok(_) if memory.pushed_at.is_some_and(|at| job.now.duration_since(at) < LAG) => {
            run(resolutions, Outcome::Unchanged)
        }
        Ok(((), named)) => {
            let failure = Failure::drifted(&sources.target, &published.digest, named.as_ref());
            run(resolutions, Outcome::Held(failure))
        }
        Err(error) => run(resolutions, Outcome::Held(publish_failure(&error))),
    }
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

impl Stage {
    /// The run is at `what` now: completes "the run took too long, …".
    pub fn at(&self, what: &'static str) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// What the run is at.
    #[must_use]
    pub fn now(&self) -> String {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        match self.blobs.load(Ordering::Relaxed) {
            0 => at.to_owned(),
            blobs => {
                let (done, mib) = (self.done.load(Ordering::Relaxed), self.bytes() >> 20);
                format!("{at} ({done} of {blobs} blobs are there, {mib} MiB were sent)")
            }
        }
    }

    /// How many bytes were sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// This many blobs are to be copied.
    pub fn copying(&self, blobs: usize) {
        self.at("while copying");
        self.blobs.store(blobs, Ordering::Relaxed);
    }

    /// One blob is there.
    pub fn copied(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what is sent of one blob, from nothing on where its upload starts over.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (total, before) = (Arc::clone(&self.bytes), AtomicU64::new(0));
        Arc::new(move |sent| {
            let before = before.swap(sent, Ordering::Relaxed);
            total.fetch_add(sent.saturating_sub(before), Ordering::Relaxed);
        })
    }
}

//! pure: the outcome of a run → the status to report.

use std::{collections::HashSet, fmt};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use multiarch_crds::{
    condition::{self, Reason, Status, Type},
    v1alpha1::{MultiArchImageStatus, PublishedPlatform, SourceState, SourceStatus},
};

use super::{
    plan::Required,
    publish::Published,
    resolve::{Answer, Resolution},
    sources::Source,
};
use crate::{
    error::{self, Failure, Stalled, TRIES},
    oci::{Platform, Reference},
};

/// Longest message of a source, in bytes.
const SOURCE_MESSAGE: usize = 256;

/// What a run found and did.
#[derive(Debug)]
pub struct Run {
    /// What the sources gave, in the order of the spec; empty where none was asked.
    pub resolutions: Vec<Resolution>,
    /// What the index must have and the plan has, where it was counted.
    pub counted: Option<Counted>,
    /// The registry took an index, whether or not it was read back.
    pub pushed: bool,
    /// What the tag named instead of the published index before this run put it back, in words.
    pub drift: Option<String>,
    /// Images of the published index that were gone and put back.
    pub repaired: Vec<Reference>,
    /// Names of sources that give the same platform.
    pub conflict: Vec<String>,
    /// Name of the source of which a blob is gone, as the outcome says.
    pub incomplete: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Run {
    /// A run that ended before it asked anything.
    #[must_use]
    pub fn without_answers(outcome: Outcome) -> Self {
        Self {
            resolutions: Vec::new(),
            counted: None,
            pushed: false,
            drift: None,
            repaired: Vec::new(),
            conflict: Vec::new(),
            incomplete: None,
            outcome,
        }
    }

    /// Why it did not do all that the spec asks for.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Held(failure) | Outcome::Served { failed: Some(failure), .. } => Some(failure),
            _ => None,
        }
    }
}

/// What an index must have, and what the sources or the plan have of it.
#[derive(Clone, Debug)]
pub struct Counted {
    /// What it must have.
    pub required: Required,
    /// What there is.
    pub planned: Vec<Platform>,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is as the status says, apart from what the sources answered.
    Unchanged,
    /// The target's tag was read back.
    Served {
        /// What it names.
        published: Published,
        /// The images of the index.
        platforms: Vec<PublishedPlatform>,
        /// The other tags that this object has written.
        tags: Vec<String>,
        /// Why one of the other tags is not as it should be.
        failed: Option<Failure>,
    },
    /// The target's tag was written once and stands, whatever the sources give now.
    Stands,
    /// Nothing was published, or not read back.
    Held(Failure),
    /// The object is suspended.
    Suspended,
}

/// What a run is about, beside its outcome.
#[derive(Clone, Debug)]
pub struct About {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// The annotation `multiarch.dev/requestedAt`.
    pub requested_at: Option<String>,
    /// How many runs in a row have failed, this one included.
    pub failures: u32,
    /// When the run ended.
    pub now: Timestamp,
}

/// The status to report after `run`. Reported again for the same run, it is the same.
#[must_use]
pub fn next(previous: &MultiArchImageStatus, about: &About, run: &Run) -> MultiArchImageStatus {
    let mut status = previous.clone();
    status.observed_generation = about.generation;
    status.last_handled_reconcile_at.clone_from(&about.requested_at);
    if !run.resolutions.is_empty() {
        status.sources = sources(&previous.sources, run, about.now);
    }
    if let Outcome::Served { published, platforms, tags, .. } = &run.outcome {
        status.reference = Some(published.reference().to_string());
        status.digest = Some(published.digest().to_string());
        status.media_type = Some(published.media_type().to_owned());
        let target = published.reference().tag().map(ToOwned::to_owned);
        status.tags = target.into_iter().chain(tags.iter().cloned()).collect();
        status.platforms = with_configs(platforms, &previous.platforms);
    }
    if run.pushed {
        status.last_publish_time = Some(Time(about.now));
    }
    let complete = run.counted.as_ref().map(|counted| {
        let published: Vec<Platform> =
            status.platforms.iter().filter_map(|p| p.platform.parse().ok()).collect();
        status.coverage = Some(counted.required.coverage(&counted.planned, &published));
        let lacking = counted.required.lacking(&published);
        Completeness {
            published: !published.is_empty(),
            lacking,
            unknown: counted.required.unknown,
        }
    });
    let mut conditions = Conditions { list: std::mem::take(&mut status.conditions), about };
    match &run.outcome {
        Outcome::Unchanged => conditions.unchanged(),
        Outcome::Served { published, failed, .. } => {
            let whole = complete.as_ref().is_none_or(Completeness::is_complete);
            let platforms: HashSet<_> = status.platforms.iter().map(|p| &p.platform).collect();
            conditions.served(published, platforms.len(), whole);
            if let Some(failure) = failed {
                conditions.held(failure, previous);
            }
        }
        Outcome::Stands => conditions.stands(status.reference.as_deref().unwrap_or_default()),
        Outcome::Held(failure) => conditions.held(failure, previous),
        Outcome::Suspended => conditions.suspended(),
    }
    if let Some(complete) = &complete {
        conditions.completeness(complete);
    }
    if !run.resolutions.is_empty() {
        conditions.sources_resolved(&status.sources);
    }
    conditions.defaults();
    status.conditions = conditions.list;
    status
}

/// `previous` while a run goes on that takes long: only that it is at work is new.
#[must_use]
pub fn at_work(
    previous: &MultiArchImageStatus,
    generation: Option<i64>,
    message: &str,
    now: Timestamp,
) -> MultiArchImageStatus {
    let mut status = previous.clone();
    let (kind, reason) = (Type::Reconciling, Reason::Progressing);
    let generation = generation.unwrap_or_default();
    condition::remove(&mut status.conditions, Type::Stalled);
    condition::set(&mut status.conditions, kind, Status::True, reason, message, generation, now);
    status
}

/// The reason of Ready.
#[must_use]
pub fn ready_reason(status: &MultiArchImageStatus) -> Option<Reason> {
    condition::get(&status.conditions, Type::Ready)?.reason.parse().ok()
}

/// What the published index is, held against what it must have.
struct Completeness {
    published: bool,
    lacking: Vec<String>,
    unknown: usize,
}

impl Completeness {
    fn is_complete(&self) -> bool {
        self.published && self.lacking.is_empty() && self.unknown == 0
    }
}

/// The conditions of one object while a status is made.
struct Conditions<'a> {
    list: Vec<Condition>,
    about: &'a About,
}

impl Conditions<'_> {
    fn set(&mut self, kind: Type, status: Status, reason: impl fmt::Display, message: &str) {
        let generation = self.about.generation.unwrap_or_default();
        condition::set(&mut self.list, kind, status, reason, message, generation, self.about.now);
    }

    fn served(&mut self, published: &Published, platforms: usize, whole: bool) {
        let reason = if whole { Reason::Succeeded } else { Reason::PublishedPartial };
        let plural = if platforms == 1 { "" } else { "s" };
        let message = format!("{} has {platforms} platform{plural}", published.reference());
        self.set(Type::Ready, Status::True, reason, &message);
        self.set(Type::Published, Status::True, Reason::Succeeded, &message);
        condition::remove(&mut self.list, Type::Reconciling);
        condition::remove(&mut self.list, Type::Stalled);
    }

    fn stands(&mut self, reference: &str) {
        let message = format!(
            "{reference} stays as it was published, as tagPolicy: Immutable says: the sources give something else now"
        );
        self.set(Type::Ready, Status::True, Reason::TagImmutable, &message);
        condition::remove(&mut self.list, Type::Reconciling);
        condition::remove(&mut self.list, Type::Stalled);
    }

    /// A run that was cut off while it copied is over.
    fn unchanged(&mut self) {
        if condition::get(&self.list, Type::Ready).is_some_and(|ready| ready.status == "True") {
            condition::remove(&mut self.list, Type::Reconciling);
        }
    }

    fn held(&mut self, failure: &Failure, previous: &MultiArchImageStatus) {
        let reason = failure.consequence.reason;
        let unknown = matches!(
            reason,
            Reason::WaitingForPlatforms
                | Reason::WaitingForMatch
                | Reason::Progressing
                | Reason::ReadingBack
        );
        let status = if unknown { Status::Unknown } else { Status::False };
        self.set(Type::Ready, status, reason, &failure.message);
        if reason == Reason::ChildMissing {
            self.set(Type::Published, Status::False, reason, &failure.message);
        }
        // A restart forgets how often it was tried, but not that it was tried often enough.
        let was_stalled = condition::get(&previous.conditions, Type::Stalled).is_some()
            && ready_reason(previous) == Some(reason)
            && previous.observed_generation == self.about.generation;
        let stalled = match failure.consequence.stalled {
            Stalled::Now => true,
            Stalled::AfterTries => was_stalled || self.about.failures >= TRIES,
            Stalled::No => false,
        };
        let (shown, hidden) = if stalled {
            (Type::Stalled, Type::Reconciling)
        } else {
            (Type::Reconciling, Type::Stalled)
        };
        self.set(shown, Status::True, reason, &failure.message);
        condition::remove(&mut self.list, hidden);
    }

    fn suspended(&mut self) {
        let ready = condition::get(&self.list, Type::Ready);
        // What was edited while it was suspended is not served.
        let edited = ready.is_some_and(|ready| {
            ready.reason == Reason::Suspended.as_str()
                && ready.observed_generation != self.about.generation
        });
        let status = ready.filter(|_| !edited).and_then(|ready| ready.status.parse().ok());
        let status = status.unwrap_or(Status::Unknown);
        let message = "suspended: set spec.suspend to false to go on";
        self.set(Type::Ready, status, Reason::Suspended, message);
        condition::remove(&mut self.list, Type::Reconciling);
        condition::remove(&mut self.list, Type::Stalled);
    }

    fn completeness(&mut self, complete: &Completeness) {
        let kind = Type::PlatformsComplete;
        if complete.is_complete() {
            let message = "the published index has every required platform";
            self.set(kind, Status::True, Reason::Succeeded, message);
        } else if !complete.published {
            self.set(kind, Status::False, NOT_PUBLISHED, "no index is published yet");
        } else {
            let mut missing = complete.lacking.clone();
            if complete.unknown > 0 {
                missing.push(format!("the platforms of {} absent sources", complete.unknown));
            }
            let message = format!("the published index lacks {}", missing.join(", "));
            self.set(kind, Status::False, "PlatformsMissing", &message);
        }
    }

    fn sources_resolved(&mut self, sources: &[SourceStatus]) {
        let kind = Type::SourcesResolved;
        let mut others =
            sources.iter().filter(|source| source.state != SourceState::Resolved).peekable();
        let Some(first) = others.peek() else {
            let message = "every source is resolved";
            return self.set(kind, Status::True, Reason::Succeeded, message);
        };
        let reason = format!("{:?}", first.state);
        let listed: Vec<_> =
            others.map(|source| format!("{} is {:?}", source.name, source.state)).collect();
        self.set(kind, Status::False, &reason, &listed.join(", "));
    }

    /// Published, PlatformsComplete and SourcesResolved are always shown.
    fn defaults(&mut self) {
        for kind in [Type::Published, Type::PlatformsComplete] {
            if condition::get(&self.list, kind).is_none() {
                self.set(kind, Status::False, NOT_PUBLISHED, "no index is published yet");
            }
        }
        if condition::get(&self.list, Type::SourcesResolved).is_none() {
            let message = "the sources were not asked yet";
            self.set(Type::SourcesResolved, Status::Unknown, Reason::Progressing, message);
        }
    }
}

/// Reason of Published and PlatformsComplete before the first publication.
const NOT_PUBLISHED: &str = "NotPublished";

fn sources(previous: &[SourceStatus], run: &Run, now: Timestamp) -> Vec<SourceStatus> {
    run.resolutions
        .iter()
        .filter_map(|resolution| {
            let before = previous.iter().find(|source| source.name == resolution.name);
            let known = resolution.known.as_ref().map(ToString::to_string);
            let (state, digest, message) = match &resolution.answer {
                Answer::Unchanged => return before.cloned(),
                Answer::Found(found) => {
                    let named = Some(found.named.to_string());
                    if run.conflict.contains(&resolution.name) {
                        let message = match run.conflict.as_slice() {
                            [one] => format!("{one} gives the same platform twice"),
                            both => format!("{} give the same platform", both.join(" and ")),
                        };
                        (SourceState::Conflict, named, Some(message))
                    } else if let Outcome::Held(failure) = &run.outcome
                        && run.incomplete.as_ref() == Some(&resolution.name)
                    {
                        (SourceState::Incomplete, named, Some(failure.message.clone()))
                    } else {
                        (SourceState::Resolved, named, None)
                    }
                }
                Answer::Missing => {
                    (SourceState::Missing, known, Some(Source::absence(&resolution.reference)))
                }
                Answer::Failed { named, error } => {
                    let (state, _) = error::of_source(error, resolution.was_resolved());
                    let named = named.as_ref().map(ToString::to_string).or(known);
                    (state, named, Some(error.to_string()))
                }
            };
            let message: Option<String> =
                message.map(|message| condition::cut(&message, SOURCE_MESSAGE).into_owned());
            let since = before.filter(|source| source.state == state).map(|s| s.since.clone());
            let since = since.unwrap_or(Time(now));
            Some(SourceStatus { name: resolution.name.clone(), state, digest, message, since })
        })
        .collect()
}

/// `platforms`, with the config digests that are known of the same images.
fn with_configs(
    platforms: &[PublishedPlatform],
    known: &[PublishedPlatform],
) -> Vec<PublishedPlatform> {
    let config = |image: &PublishedPlatform| {
        let same = known.iter().find(|known| known.digest == image.digest);
        image.config_digest.clone().or_else(|| same?.config_digest.clone())
    };
    platforms
        .iter()
        .map(|image| PublishedPlatform { config_digest: config(image), ..image.clone() })
        .collect()
}

#[cfg(test)]
mod tests;

//! pure: the outcome of a run → the status to report.

mod conditions;
mod nodes;
mod run;

use std::collections::HashSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use multiarch_crds::{
    condition::{self, Reason, Status, Type},
    v1alpha1::{MultiArchImageStatus, PendingTag, PublishedPlatform, SourceState, SourceStatus},
};

use self::conditions::{Completeness, Conditions};
pub use self::{
    nodes::with_nodes,
    run::{Counted, Outcome, Run, Tags},
};
use super::{resolve::Answer, sources::Source};
use crate::{
    error,
    nodes::View,
    oci::{Platform, Reference, Repository},
};

/// Longest message of a source, in bytes.
const SOURCE_MESSAGE: usize = 256;

/// What a run is about, beside its outcome.
#[derive(Clone, Debug)]
pub struct About {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// The annotation `multiarch.dev/requestedAt`.
    pub requested_at: Option<String>,
    /// How many runs in a row have failed, this one included.
    pub failures: u32,
    /// The repository that the object publishes to.
    pub repository: Option<Repository>,
    /// What is known of the cluster's nodes.
    pub nodes: View,
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
    if let Outcome::Served { published, platforms, .. } = &run.outcome {
        status.reference = Some(published.reference().to_string());
        status.digest = Some(published.digest().to_string());
        status.media_type = Some(published.media_type().to_owned());
        status.platforms = with_configs(platforms, &previous.platforms);
    }
    let reference = status.reference.as_ref().and_then(|reference| reference.parse().ok());
    status.repository = reference.map(|reference: Reference| reference.repository().to_string());
    if let Outcome::Served { tags, .. } | Outcome::Stands { tags } = &run.outcome {
        let target = status.reference.as_ref().and_then(|reference| reference.parse().ok());
        let target = target.and_then(|target: Reference| target.tag().map(ToOwned::to_owned));
        status.tags = target.into_iter().chain(tags.ours.iter().cloned()).collect();
    }
    if let Some(pending) = &run.pending {
        status.pending_tags.clone_from(pending);
    }
    if run.pushed || run.wrote_tag {
        status.last_publish_time = Some(Time(about.now));
        status.pushed_to = about.repository.as_ref().map(ToString::to_string);
    }
    let complete = run.counted.as_ref().map(|counted| {
        let published: Vec<Platform> =
            status.platforms.iter().filter_map(|p| p.platform.parse().ok()).collect();
        let mut coverage = counted.required.coverage(&counted.planned, &published);
        let before = status.coverage.take();
        coverage.nodes_missing = before.map(|before| before.nodes_missing).unwrap_or_default();
        status.coverage = Some(coverage);
        let lacking = counted.required.lacking(&published);
        Completeness {
            published: !published.is_empty(),
            lacking,
            unknown: counted.required.unknown,
        }
    });
    let mut conditions = Conditions { list: std::mem::take(&mut status.conditions), about };
    let reference = status.reference.as_deref().unwrap_or_default();
    match &run.outcome {
        Outcome::Unchanged => conditions.unchanged(),
        Outcome::Served { tags, .. } => {
            let whole = complete.as_ref().is_none_or(Completeness::is_complete);
            let reason = if whole { Reason::Succeeded } else { Reason::PublishedPartial };
            let platforms: HashSet<_> = status.platforms.iter().map(|p| &p.platform).collect();
            let message = has(reference, platforms.len());
            conditions.ready(reason, &message, tags, previous);
            conditions.published(&message);
        }
        Outcome::Stands { tags } => {
            let message = format!(
                "{reference} stays as it was published, as tagPolicy: Immutable says, whatever the sources give now"
            );
            conditions.ready(Reason::TagImmutable, &message, tags, previous);
        }
        Outcome::Held(failure) => conditions.held(failure, previous),
        Outcome::Suspended => conditions.suspended(),
    }
    if !matches!(run.outcome, Outcome::Served { .. }) {
        conditions.whole(run.whole, reference);
    }
    if let Some(complete) = &complete {
        conditions.completeness(complete);
    }
    if !run.resolutions.is_empty() {
        conditions.sources_resolved(&status.sources);
    }
    conditions.defaults();
    status.conditions = conditions.list;
    nodes::show(&mut status, &about.nodes, about.now);
    status
}

/// `previous` when `tags` are about to be written for the first time.
#[must_use]
pub fn intending(previous: &MultiArchImageStatus, tags: &[PendingTag]) -> MultiArchImageStatus {
    let mut status = previous.clone();
    for tag in tags {
        match status.pending_tags.iter_mut().find(|then| then.name == tag.name) {
            Some(then) => then.intended.clone_from(&tag.intended),
            None => status.pending_tags.push(tag.clone()),
        }
    }
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

/// Whether `status` shows a run that goes on, or one that did not come to its end.
#[must_use]
pub fn is_at_work(status: &MultiArchImageStatus) -> bool {
    let shown = condition::get(&status.conditions, Type::Reconciling);
    shown.is_some_and(|shown| shown.reason == Reason::Progressing.as_str())
}

/// What was published, in words.
fn has(reference: &str, platforms: usize) -> String {
    let plural = if platforms == 1 { "" } else { "s" };
    format!("{reference} has {platforms} platform{plural}")
}

/// The reason of Ready.
#[must_use]
pub fn ready_reason(status: &MultiArchImageStatus) -> Option<Reason> {
    condition::get(&status.conditions, Type::Ready)?.reason.parse().ok()
}

/// Whether two statuses say the same, apart from conditions that others set, and however they were written.
#[must_use]
pub fn is_same(one: &MultiArchImageStatus, other: &MultiArchImageStatus) -> bool {
    let plain = |status: &MultiArchImageStatus| {
        let mut status = status.clone();
        status.conditions.retain(|condition| condition.type_.parse::<Type>().is_ok());
        status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        serde_json::to_value(&status).ok()
    };
    plain(one) == plain(other)
}

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

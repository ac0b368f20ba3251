//! pure: the conditions of one object while a status is made.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use multiarch_crds::{
    condition::{self, Reason, Status, Type},
    v1alpha1::{MultiArchImageStatus, SourceState, SourceStatus},
};

use super::{About, Tags, ready_reason};
use crate::error::{Failure, Stalled, TRIES};

/// What the published index is, held against what it must have.
pub(super) struct Completeness {
    pub(super) published: bool,
    pub(super) lacking: Vec<String>,
    pub(super) unknown: usize,
}

impl Completeness {
    pub(super) fn is_complete(&self) -> bool {
        self.published && self.lacking.is_empty() && self.unknown == 0
    }
}

/// The conditions of one object while a status is made.
pub(super) struct Conditions<'a> {
    pub(super) list: Vec<Condition>,
    pub(super) about: &'a About,
}

impl Conditions<'_> {
    fn set(&mut self, kind: Type, status: Status, reason: impl fmt::Display, message: &str) {
        let generation = self.about.generation.unwrap_or_default();
        condition::set(&mut self.list, kind, status, reason, message, generation, self.about.now);
    }

    /// What was published was read back. The generation that it was published for stays with it.
    pub(super) fn published(&mut self, message: &str) {
        self.set(Type::Published, Status::True, Reason::Succeeded, message);
    }

    /// The target's tag is right, and `tags` are as they are.
    pub(super) fn ready(
        &mut self,
        reason: Reason,
        message: &str,
        tags: &Tags,
        previous: &MultiArchImageStatus,
    ) {
        if let Some(failure) = &tags.failed {
            return self.held(failure, previous);
        }
        self.set(Type::Ready, Status::True, reason, message);
        condition::remove(&mut self.list, Type::Reconciling);
        condition::remove(&mut self.list, Type::Stalled);
    }

    /// Whether the published index, `reference`, is `whole`, where that was asked.
    pub(super) fn whole(&mut self, whole: Option<bool>, reference: &str) {
        let published = condition::get(&self.list, Type::Published);
        let was_gone = published.is_some_and(|c| c.reason == Reason::ChildMissing.as_str());
        let generation = published.and_then(|published| published.observed_generation);
        let (status, reason, message) = match whole {
            Some(true) if was_gone => {
                let message = format!("{reference} is whole again");
                (Status::True, Reason::Succeeded, message)
            }
            Some(false) => {
                let ready = condition::get(&self.list, Type::Ready);
                let message = ready.map(|ready| ready.message.clone()).unwrap_or_default();
                (Status::False, Reason::ChildMissing, message)
            }
            _ => return,
        };
        let generation = generation.or(self.about.generation).unwrap_or_default();
        let (list, now) = (&mut self.list, self.about.now);
        condition::set(list, Type::Published, status, reason, &message, generation, now);
    }

    /// A run that was cut off while it copied is over.
    pub(super) fn unchanged(&mut self) {
        if condition::get(&self.list, Type::Ready).is_some_and(|ready| ready.status == "True") {
            condition::remove(&mut self.list, Type::Reconciling);
        }
    }

    pub(super) fn held(&mut self, failure: &Failure, previous: &MultiArchImageStatus) {
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

    pub(super) fn suspended(&mut self) {
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

    pub(super) fn completeness(&mut self, complete: &Completeness) {
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

    pub(super) fn sources_resolved(&mut self, sources: &[SourceStatus]) {
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
    pub(super) fn defaults(&mut self) {
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

/// Reason of Published, PlatformsComplete and `NodesCovered` before the first publication.
pub(super) const NOT_PUBLISHED: &str = "NotPublished";

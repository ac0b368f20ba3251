//! When an object with which all was well is looked at first after a start.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
    time::{Duration, Instant},
};

use kube::ResourceExt;
use multiarch_crds::{
    condition::{Reason, Type, get},
    v1alpha1::{MultiArchImage, MultiArchImageStatus},
};

use super::{interval, is_requested, session::Sessions};
use crate::reconcile::status::{is_at_work, ready_reason};

/// In the course of how much time, at most, all objects are looked at after a start.
pub const SPREAD: Duration = Duration::from_mins(10);

/// The first looks of a term.
#[derive(Debug)]
pub(super) struct Spread {
    over: Duration,
    /// Of this term: the places are others in each.
    salt: u64,
    /// When the first object was at hand: all were listed by then.
    begun: OnceLock<Instant>,
}

impl Spread {
    /// Over so much time, in an order that `salt` gives.
    pub(super) fn over(over: Duration, salt: u64) -> Self {
        Self { over, salt, begun: OnceLock::new() }
    }

    /// How much longer `object` waits for its first look; `None` where it has had it, where there is
    /// news for it, and where its time has come.
    pub(super) fn wait(&self, object: &MultiArchImage, sessions: &Sessions) -> Option<Duration> {
        let since_start = self.begun.get_or_init(Instant::now).elapsed();
        let status = object.status.as_ref().filter(|_| !sessions.has_run(object))?;
        let requested = is_requested(object, status);
        let may_wait = may_wait(status, object.metadata.generation, requested);
        let uid = object.uid().filter(|_| may_wait)?;
        wait((&uid, self.salt), interval(object), self.over, since_start)
    }
}

/// How much longer the object of `uid` waits, `since_start` after the term began:
/// `None` where its time has come. All objects are spread over `most`, or their own interval where
/// that is shorter. Each has another place in each term: where terms are shorter than that, none is always too late.
fn wait(
    (uid, salt): (&str, u64),
    interval: Duration,
    most: Duration,
    since_start: Duration,
) -> Option<Duration> {
    let mut hasher = DefaultHasher::new();
    (uid, salt).hash(&mut hasher);
    // 32 bits are enough for milliseconds of ten minutes, and exact as a float.
    let place = f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX);
    let wait = interval.min(most).mul_f64(place).checked_sub(since_start)?;
    (!wait.is_zero()).then_some(wait)
}

/// Whether an object of `generation` with `status` may wait: its spec as it is was published, the
/// last look found everything as it should be, no run was cut off since, and nobody has asked.
fn may_wait(status: &MultiArchImageStatus, generation: Option<i64>, requested: bool) -> bool {
    let is_current = |kind| {
        get(&status.conditions, kind).is_some_and(|condition| {
            condition.status == "True" && condition.observed_generation == generation
        })
    };
    !requested
        && status.observed_generation == generation
        && is_current(Type::Ready)
        && is_current(Type::Published)
        && !is_at_work(status)
        && status.pending_tags.is_empty()
        && ready_reason(status) != Some(Reason::Suspended)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use multiarch_crds::v1alpha1::PendingTag;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const INTERVAL: Duration = Duration::from_mins(20);

    fn condition(kind: Type, status: &str, reason: Reason, generation: i64) -> Condition {
        Condition {
            type_: kind.to_string(),
            status: status.into(),
            reason: reason.as_str().into(),
            message: "words".into(),
            observed_generation: Some(generation),
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    fn published() -> MultiArchImageStatus {
        MultiArchImageStatus {
            observed_generation: Some(2),
            conditions: vec![
                condition(Type::Ready, "True", Reason::Succeeded, 2),
                condition(Type::Published, "True", Reason::Succeeded, 2),
            ],
            ..MultiArchImageStatus::default()
        }
    }

    fn with(kind: Type, status: &str, reason: Reason, generation: i64) -> MultiArchImageStatus {
        let mut all = published();
        all.conditions.retain(|condition| condition.type_ != kind.to_string());
        all.conditions.push(condition(kind, status, reason, generation));
        all
    }

    fn pending() -> MultiArchImageStatus {
        let tag = PendingTag { name: "latest".into(), ..PendingTag::default() };
        MultiArchImageStatus { pending_tags: vec![tag], ..published() }
    }

    #[rstest]
    #[case::all_well(published(), false, true)]
    #[case::requested(published(), true, false)]
    #[case::never_looked_at(MultiArchImageStatus::default(), false, false)]
    #[case::another_generation(MultiArchImageStatus { observed_generation: Some(1), ..published() }, false, false)]
    #[case::ready_for_another(with(Type::Ready, "True", Reason::Succeeded, 1), false, false)]
    #[case::published_for_another(
        with(Type::Published, "True", Reason::Succeeded, 1),
        false,
        false
    )]
    #[case::not_published(with(Type::Published, "False", Reason::ChildMissing, 2), false, false)]
    #[case::partial(with(Type::Ready, "True", Reason::PublishedPartial, 2), false, true)]
    #[case::stands(with(Type::Ready, "True", Reason::TagImmutable, 2), false, true)]
    #[case::waiting(with(Type::Ready, "Unknown", Reason::WaitingForPlatforms, 2), false, false)]
    #[case::failed(with(Type::Ready, "False", Reason::RegistryUnreachable, 2), false, false)]
    #[case::cut_off(with(Type::Reconciling, "True", Reason::Progressing, 2), false, false)]
    #[case::was_suspended(with(Type::Ready, "True", Reason::Suspended, 2), false, false)]
    #[case::a_tag_is_awaited(pending(), false, false)]
    fn only_what_was_well_may_wait(
        #[case] status: MultiArchImageStatus,
        #[case] requested: bool,
        #[case] may: bool,
    ) {
        assert_eq!(may_wait(&status, Some(2), requested), may);
    }

    #[test]
    fn they_come_one_after_the_other() {
        let waits: Vec<_> = (0..1000)
            .filter_map(|n| wait((&format!("uid-{n}"), 7), INTERVAL, SPREAD, Duration::ZERO))
            .collect();
        assert!(waits.len() >= 999);
        // Of each tenth of the time about a tenth of them.
        for tenth in 0..10 {
            let (from, to) = (SPREAD * tenth / 10, SPREAD * (tenth + 1) / 10);
            let here = waits.iter().filter(|wait| (from..to).contains(*wait)).count();
            assert!((60..=140).contains(&here), "{here} in tenth {tenth}");
        }
    }

    /// However often the operator starts anew before all were looked at, each object's time comes.
    #[test]
    fn short_terms_leave_nobody_out() {
        let tenth = SPREAD / 10;
        let is_looked_at = |uid: &str, term| {
            wait((uid, term), INTERVAL, SPREAD, Duration::ZERO).is_none_or(|wait| wait < tenth)
        };
        for n in 0..1000 {
            let uid = format!("uid-{n}");
            assert!((0..200).any(|term| is_looked_at(&uid, term)), "{uid} was never looked at");
        }
    }

    proptest! {
        /// Whenever it is asked, an object's time is the same, within the interval and the limit.
        #[test]
        fn each_has_its_time(uid in "[a-z0-9-]{1,36}", salt: u64, interval in 0..3_000_u64, since in 0..3_000_u64) {
            let of = (uid.as_str(), salt);
            let (interval, since) = (Duration::from_secs(interval), Duration::from_secs(since));
            let first = wait(of, interval, SPREAD, Duration::ZERO).unwrap_or_default();
            prop_assert!(first <= interval.min(SPREAD));
            let later = wait(of, interval, SPREAD, since);
            prop_assert_eq!(later, first.checked_sub(since).filter(|wait| !wait.is_zero()));
            prop_assert_eq!(wait(of, interval, Duration::ZERO, Duration::ZERO), None);
        }
    }
}

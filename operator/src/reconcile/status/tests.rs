//! The outcome table of API.md, row by row, and the law that reporting twice changes nothing.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use multiarch_crds::v1alpha1::{Coverage, PendingTag};
use proptest::{collection, option, prelude::*, sample::select};
use rstest::rstest;

use super::*;
use crate::{
    error::{Consequence, Failure, Retry, Stalled, TRIES},
    oci::Digest,
    reconcile::{
        plan::Required,
        publish::Published,
        resolve::{Found, Resolution, ResolveError},
    },
    registry::{RegistryError, Request},
};

const T0: Timestamp = Timestamp::constant(1_800_000_000, 0);
const T1: Timestamp = Timestamp::constant(1_800_000_600, 0);

fn repository() -> Repository {
    "r.example/app:1.0".parse::<Reference>().unwrap().repository().clone()
}

fn about(failures: u32, now: Timestamp) -> About {
    let repository = Some(repository());
    About {
        generation: Some(2),
        requested_at: Some("r".into()),
        failures,
        repository,
        nodes: View::Off,
        now,
    }
}

fn platform(platform: &str, source: &str) -> PublishedPlatform {
    PublishedPlatform {
        platform: platform.into(),
        digest: Digest::of(platform.as_bytes()).to_string(),
        config_digest: None,
        attestations: Vec::new(),
        source: source.into(),
    }
}

fn served(platforms: &[&str]) -> Outcome {
    let reference = format!("r.example/app:1.0@{}", Digest::of(platforms.concat().as_bytes()));
    Outcome::Served {
        published: Published::pretend(reference.parse().unwrap(), true).unwrap(),
        platforms: platforms.iter().map(|text| platform(text, "a")).collect(),
        tags: Tags::default(),
    }
}

fn held(reason: Reason, stalled: Stalled) -> Outcome {
    let consequence = Consequence { reason, stalled, retry: Retry::Backoff };
    Outcome::Held(Failure { consequence, message: format!("{reason} it is") })
}

fn counted(required: &[&str], planned: &[&str]) -> Counted {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let required = Required { platforms: parse(required), unknown: 0 };
    Counted { required, planned: parse(planned) }
}

fn resolution(name: &str, known: Option<&str>, answer: Answer) -> Resolution {
    Resolution {
        name: name.into(),
        reference: format!("r.example/app:{name}").parse().unwrap(),
        known: known.map(|text| Digest::of(text.as_bytes())),
        answer,
    }
}

fn resolved(name: &str, content: &str) -> Resolution {
    let found = Found {
        named: Digest::of(content.as_bytes()),
        children: Vec::new(),
        lacking: Vec::new(),
        whole: None,
    };
    resolution(name, None, Answer::Found(found))
}

fn failed(name: &str, error: fn(Request) -> RegistryError) -> Resolution {
    let request = Request { method: "GET", noun: "manifest", of: "app:x".into() };
    let error = ResolveError::Registry { reference: name.into(), source: error(request) };
    resolution(name, Some("before"), Answer::Failed { named: None, error })
}

fn unavailable(request: Request) -> RegistryError {
    let (host, codes) = ("r.example".into(), Vec::new());
    RegistryError::Unavailable { host, request, status: 503, codes, retry_after: None }
}

fn run(outcome: Outcome) -> Run {
    Run { resolutions: vec![resolved("a", "1")], ..Run::without_answers(outcome) }
}

/// Published and complete at T0.
fn published() -> MultiArchImageStatus {
    let run = Run {
        counted: Some(counted(&["linux/amd64"], &["linux/amd64"])),
        pushed: true,
        ..run(served(&["linux/amd64"]))
    };
    next(&MultiArchImageStatus::default(), &about(0, T0), &run)
}

fn shown(status: &MultiArchImageStatus) -> Vec<String> {
    let word = |c: &Condition| format!("{} {} {}", c.type_, c.status, c.reason);
    status.conditions.iter().map(word).collect()
}

fn since(status: &MultiArchImageStatus, kind: Type) -> Timestamp {
    condition::get(&status.conditions, kind).unwrap().last_transition_time.0
}

#[test]
fn published_and_complete() {
    let status = published();
    assert_eq!(
        shown(&status),
        [
            "Ready True Succeeded",
            "Published True Succeeded",
            "PlatformsComplete True Succeeded",
            "SourcesResolved True Succeeded",
        ]
    );
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("r"));
    assert_eq!(status.tags, ["1.0"]);
    assert!(status.reference.as_ref().unwrap().ends_with(status.digest.as_ref().unwrap()));
    assert_eq!(status.last_publish_time, Some(Time(T0)));
    assert_eq!(status.pushed_to, status.repository);
    let expected = Coverage {
        required: 1,
        covered: 1,
        published: 1,
        missing: Vec::new(),
        nodes_missing: vec![],
        summary: "1/1".into(),
    };
    assert_eq!(status.coverage, Some(expected));
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(2)));
}

fn seen(nodes: &[&str]) -> View {
    View::Seen(nodes.iter().map(|text| text.parse().unwrap()).collect())
}

/// What is said of nodes, and what is missing of them.
fn nodes_of(status: &MultiArchImageStatus) -> (String, Vec<String>) {
    let covered = condition::get(&status.conditions, Type::NodesCovered);
    let words = covered.map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default();
    let coverage = status.coverage.as_ref();
    (words, coverage.map(|coverage| coverage.nodes_missing.clone()).unwrap_or_default())
}

#[rstest]
#[case::off(View::Off, "", &[])]
#[case::no_node(seen(&[]), "True Succeeded", &[])]
#[case::covered(seen(&["linux/amd64"]), "True Succeeded", &[])]
#[case::lacking(seen(&["linux/amd64", "linux/arm64"]), "False NodesNotCovered", &["linux/arm64"])]
#[case::refused(View::Refused, "Unknown NodesNotSeen", &[])]
#[case::not_yet(View::Unseen, "Unknown NodesNotSeen", &[])]
fn says_which_nodes_have_an_image(
    #[case] view: View,
    #[case] words: &str,
    #[case] missing: &[&str],
    #[values(false, true)] by_a_run: bool,
) {
    let before = published();
    let status = if by_a_run {
        let about = About { nodes: view, ..about(0, T1) };
        next(&before, &about, &Run::without_answers(Outcome::Unchanged))
    } else {
        with_nodes(&before, &view, T1)
    };
    assert_eq!(nodes_of(&status), (words.into(), missing.iter().map(|&m| m.into()).collect()));
    // Nothing else of it is another one.
    let without = with_nodes(&status, &View::Off, T1);
    assert_eq!(without, before);
    assert_eq!(
        with_nodes(&status, &View::Unseen, T1),
        if words.is_empty() { with_nodes(&before, &View::Unseen, T1) } else { status.clone() },
        "a start is no news"
    );
    if let Some(covered) = condition::get(&status.conditions, Type::NodesCovered) {
        assert_eq!(covered.observed_generation, Some(2));
    }
}

#[test]
fn what_is_not_published_has_no_image_for_a_node() {
    let nodes = seen(&["linux/amd64"]);
    let new = MultiArchImageStatus { observed_generation: Some(-1), ..Default::default() };
    assert_eq!(with_nodes(&new, &nodes, T0), new, "no run has reported yet");
    let about = About { nodes: nodes.clone(), ..about(1, T0) };
    let waiting = run(held(Reason::WaitingForPlatforms, Stalled::No));
    let status = next(&new, &about, &waiting);
    assert_eq!(nodes_of(&status).0, "Unknown NotPublished");
    assert_eq!(with_nodes(&status, &nodes, T1), status);
}

/// It follows what is published, and counting what is required does not lose it.
#[test]
fn what_nodes_lack_is_of_the_published_index() {
    let about = About { nodes: seen(&["linux/arm64"]), ..about(0, T0) };
    let of = |platforms: &[&str]| Run {
        counted: Some(counted(&["linux/amd64"], platforms)),
        ..run(served(platforms))
    };
    let first = next(&MultiArchImageStatus::default(), &about, &of(&["linux/amd64"]));
    assert_eq!(nodes_of(&first), ("False NodesNotCovered".into(), vec!["linux/arm64".into()]));
    let unseen = About { nodes: View::Unseen, ..about.clone() };
    assert_eq!(next(&first, &unseen, &of(&["linux/amd64"])), first);
    let both = next(&first, &about, &of(&["linux/amd64", "linux/arm64"]));
    assert_eq!(nodes_of(&both), ("True Succeeded".into(), vec![]));
}

/// Not even a hundred kinds of nodes make a status that the API server refuses.
#[test]
fn no_more_platforms_are_named_than_a_status_holds() {
    let nodes: Vec<_> = (0..100).map(|n| format!("linux/arch{n:02}")).collect();
    let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
    let status = with_nodes(&published(), &seen(&nodes), T1);
    assert_eq!(nodes_of(&status).1.len(), 64);
    let covered = condition::get(&status.conditions, Type::NodesCovered).unwrap();
    assert!(covered.message.len() <= condition::MAX_MESSAGE);
    let few = with_nodes(&published(), &seen(&["linux/arm", "linux/arm64"]), T1);
    let covered = condition::get(&few.conditions, Type::NodesCovered).unwrap();
    let words = "the published index lacks platforms that nodes have: linux/arm, linux/arm64";
    assert_eq!(covered.message, words);
}

#[test]
fn partial_and_published() {
    let run = Run {
        counted: Some(counted(&["linux/amd64", "linux/arm64"], &["linux/amd64"])),
        ..run(served(&["linux/amd64"]))
    };
    let status = next(&MultiArchImageStatus::default(), &about(0, T0), &run);
    assert_eq!(
        shown(&status)[..3],
        [
            "Ready True PublishedPartial",
            "Published True Succeeded",
            "PlatformsComplete False PlatformsMissing",
        ]
    );
    let complete = condition::get(&status.conditions, Type::PlatformsComplete).unwrap();
    assert!(complete.message.contains("linux/arm64"));
}

/// One row a reason that holds: status of Ready, and what stands beside it.
#[rstest]
#[case::waiting(Reason::WaitingForPlatforms, Stalled::No, "Unknown", "Reconciling")]
#[case::differ(Reason::WaitingForMatch, Stalled::No, "Unknown", "Reconciling")]
#[case::reading_back(Reason::ReadingBack, Stalled::No, "Unknown", "Reconciling")]
#[case::wrong_platform(Reason::PlatformMismatch, Stalled::Now, "False", "Stalled")]
#[case::double(Reason::DuplicatePlatform, Stalled::Now, "False", "Stalled")]
#[case::unsupported(Reason::UnsupportedContent, Stalled::Now, "False", "Stalled")]
#[case::shrink(Reason::WouldShrink, Stalled::Now, "False", "Stalled")]
#[case::secret(Reason::SecretNotFound, Stalled::AfterTries, "False", "Reconciling")]
#[case::unauthorized(Reason::AuthenticationFailed, Stalled::AfterTries, "False", "Reconciling")]
#[case::denied(Reason::AccessDenied, Stalled::AfterTries, "False", "Reconciling")]
#[case::unreachable(Reason::RegistryUnreachable, Stalled::No, "False", "Reconciling")]
#[case::limited(Reason::RateLimited, Stalled::No, "False", "Reconciling")]
#[case::drift(Reason::DriftDetected, Stalled::No, "False", "Reconciling")]
#[case::timed_out(Reason::TimedOut, Stalled::No, "False", "Reconciling")]
#[case::invalid(Reason::InvalidSpec, Stalled::Now, "False", "Stalled")]
fn held_back(
    #[case] reason: Reason,
    #[case] stalled: Stalled,
    #[case] ready: &str,
    #[case] beside: &str,
    #[values(false, true)] was_published: bool,
) {
    let before = if was_published { published() } else { MultiArchImageStatus::default() };
    let status = next(&before, &about(1, T1), &run(held(reason, stalled)));
    let shown = shown(&status);
    assert!(shown.contains(&format!("Ready {ready} {reason}")), "{shown:?}");
    assert!(shown.contains(&format!("{beside} True {reason}")), "{shown:?}");
    let other = if beside == "Stalled" { "Reconciling" } else { "Stalled" };
    assert!(!shown.iter().any(|text| text.starts_with(other)), "{shown:?}");
    // No failure erases or withdraws what is published.
    let published =
        if was_published { "Published True Succeeded" } else { "Published False NotPublished" };
    assert!(shown.contains(&published.to_owned()), "{shown:?}");
    assert_eq!((&status.digest, &status.reference), (&before.digest, &before.reference));
    assert_eq!((&status.platforms, &status.tags), (&before.platforms, &before.tags));
    assert_eq!(status.last_publish_time, before.last_publish_time);
    assert_eq!(status.observed_generation, Some(2), "it moves with every outcome");
}

/// Until it is back, whatever else holds the object then. That it was seen is no publication.
#[test]
fn a_gone_child_withdraws_published() {
    let gone = Run { whole: Some(false), ..run(held(Reason::ChildMissing, Stalled::No)) };
    let later = About { generation: Some(3), ..about(1, T1) };
    let status = next(&published(), &later, &gone);
    assert!(shown(&status).contains(&"Published False ChildMissing".into()));
    let published_for = |status: &MultiArchImageStatus| {
        condition::get(&status.conditions, Type::Published).unwrap().observed_generation
    };
    assert_eq!(published_for(&status), Some(2));
    assert_eq!(status.digest, published().digest);
    let unknown = run(held(Reason::RegistryUnreachable, Stalled::No));
    let status = next(&status, &later, &unknown);
    assert!(shown(&status).contains(&"Published False ChildMissing".into()));
    let back = Run { whole: Some(true), ..run(held(Reason::WaitingForPlatforms, Stalled::No)) };
    let status = next(&status, &later, &back);
    assert!(shown(&status).contains(&"Published True Succeeded".into()));
    assert_eq!(published_for(&status), Some(2));
}

fn with_tags(outcome: Outcome, tags: Tags) -> Outcome {
    match outcome {
        Outcome::Served { published, platforms, .. } => {
            Outcome::Served { published, platforms, tags }
        }
        other => other,
    }
}

/// The index is published all the same, and a failure that lasts changes nothing any more.
#[rstest]
#[case::published(true, "Ready False PushFailed")]
#[case::stands(false, "Ready False PushFailed")]
fn one_of_the_other_tags_is_not_right(#[case] served_now: bool, #[case] ready: &str) {
    let outcome = || {
        let Outcome::Held(failure) = held(Reason::PushFailed, Stalled::No) else { unreachable!() };
        let tags = Tags { ours: vec!["latest".into()], failed: Some(failure) };
        if served_now {
            with_tags(served(&["linux/amd64"]), tags)
        } else {
            Outcome::Stands { tags }
        }
    };
    let first = next(&published(), &about(1, T1), &run(outcome()));
    assert!(shown(&first).contains(&ready.to_owned()));
    assert!(shown(&first).contains(&"Published True Succeeded".to_owned()));
    assert!(shown(&first).contains(&"Reconciling True PushFailed".to_owned()));
    assert_eq!(first.tags, ["1.0", "latest"]);
    let later = Timestamp::constant(1_800_001_200, 0);
    assert_eq!(next(&first, &about(2, later), &run(outcome())), first);
}

#[test]
fn what_was_written_once_stands() {
    let tags = Tags { ours: vec!["latest".into()], failed: None };
    let status = next(&published(), &about(0, T1), &run(Outcome::Stands { tags }));
    assert_eq!(shown(&status)[..2], ["Ready True TagImmutable", "Published True Succeeded"]);
    assert_eq!((status.digest, status.tags.len()), (published().digest, 2));
    assert_eq!(status.last_publish_time, Some(Time(T0)));
    let written = Run { wrote_tag: true, ..run(Outcome::Stands { tags: Tags::default() }) };
    let status = next(&published(), &about(0, T1), &written);
    assert_eq!(status.last_publish_time, Some(Time(T1)), "what a tag named before is lag now");
}

#[test]
fn transition_times_move_with_the_status_alone() {
    let first = published();
    let limited = next(&first, &about(1, T1), &run(held(Reason::RateLimited, Stalled::No)));
    assert_eq!(since(&limited, Type::Ready), T1);
    assert_eq!(since(&limited, Type::Published), T0);
    assert_eq!(since(&limited, Type::Reconciling), T1);
    let later = Timestamp::constant(1_800_001_200, 0);
    let denied = held(Reason::AccessDenied, Stalled::AfterTries);
    let denied = next(&limited, &about(2, later), &run(denied));
    assert_eq!(since(&denied, Type::Ready), T1, "False as before");
    assert_eq!(since(&denied, Type::Reconciling), T1);
    let well = next(&denied, &about(0, later), &run(served(&["linux/amd64"])));
    assert_eq!(since(&well, Type::Ready), later);
    assert!(condition::get(&well.conditions, Type::Reconciling).is_none());
}

#[test]
fn stalled_after_three_tries_and_sticky_over_a_restart() {
    let denied = || run(held(Reason::AccessDenied, Stalled::AfterTries));
    let mut status = published();
    for failures in 1..=4 {
        status = next(&status, &about(failures, T1), &denied());
        let is = condition::get(&status.conditions, Type::Stalled).is_some();
        assert_eq!(is, failures >= TRIES, "{failures}");
    }
    let restarted = next(&status, &about(1, T1), &denied());
    assert!(condition::get(&restarted.conditions, Type::Stalled).is_some());
    // Not for another reason, and not for another generation.
    let other = run(held(Reason::SecretNotFound, Stalled::AfterTries));
    let other = next(&status, &about(1, T1), &other);
    assert!(condition::get(&other.conditions, Type::Stalled).is_none());
    let edited = next(&status, &About { generation: Some(3), ..about(1, T1) }, &denied());
    assert!(condition::get(&edited.conditions, Type::Stalled).is_none());
}

#[rstest]
#[case::published(published(), "True")]
#[case::waiting(next(&published(), &about(1, T0), &run(held(Reason::WaitingForPlatforms, Stalled::No))), "Unknown")]
#[case::stalled(next(&published(), &about(1, T0), &run(held(Reason::WouldShrink, Stalled::Now))), "False")]
#[case::new(MultiArchImageStatus::default(), "Unknown")]
fn suspended_keeps_the_status_of_ready(#[case] before: MultiArchImageStatus, #[case] ready: &str) {
    let status = next(&before, &about(0, T1), &Run::without_answers(Outcome::Suspended));
    let shown = shown(&status);
    assert_eq!(shown[0], format!("Ready {ready} Suspended"));
    assert!(!shown.iter().any(|c| c.starts_with("Stalled") || c.starts_with("Reconciling")));
    assert_eq!((&status.digest, &status.sources), (&before.digest, &before.sources));
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("r"));
}

#[test]
fn what_is_edited_while_suspended_is_not_served() {
    let suspended = Run::without_answers(Outcome::Suspended);
    let status = next(&published(), &about(0, T0), &suspended);
    assert_eq!(shown(&status)[0], "Ready True Suspended");
    let edited = About { generation: Some(9), ..about(0, T1) };
    let status = next(&status, &edited, &suspended);
    assert_eq!(shown(&status)[0], "Ready Unknown Suspended");
    assert_eq!(next(&status, &edited, &suspended), status);
}

#[test]
fn unchanged_moves_nothing_but_the_echo() {
    let before = published();
    let unchanged = Run {
        resolutions: vec![resolution("a", Some("1"), Answer::Unchanged)],
        ..Run::without_answers(Outcome::Unchanged)
    };
    let asked = About { requested_at: Some("again".into()), ..about(0, T1) };
    let after = next(&before, &asked, &unchanged);
    let echoed = MultiArchImageStatus { last_handled_reconcile_at: asked.requested_at, ..before };
    assert_eq!(after, echoed);
}

#[test]
fn last_publish_time_moves_on_every_push_and_on_nothing_else() {
    let pushed = Run { pushed: true, ..run(held(Reason::ReadingBack, Stalled::No)) };
    let status = next(&published(), &about(1, T1), &pushed);
    assert_eq!(status.last_publish_time, Some(Time(T1)));
    let adopted = run(served(&["linux/amd64"]));
    let status = next(&published(), &about(0, T1), &adopted);
    assert_eq!(status.last_publish_time, Some(Time(T0)));
}

#[test]
fn sources_are_told_in_the_order_of_the_spec() {
    let gone = resolution("gone", Some("x"), Answer::Missing);
    let never = resolution("never", None, Answer::Missing);
    let resolutions =
        vec![failed("b", unavailable), resolved("a", "2"), gone, never, resolved("c", "3")];
    let outcome = held(Reason::DuplicatePlatform, Stalled::Now);
    let conflict = vec!["c".to_owned(), "x".to_owned()];
    let run = Run { resolutions, conflict, ..Run::without_answers(outcome) };
    let status = next(&published(), &about(1, T1), &run);
    let told: Vec<_> = status
        .sources
        .iter()
        .map(|s| (s.name.as_str(), s.state, s.digest.is_some(), s.since.0))
        .collect();
    assert_eq!(
        told,
        [
            ("b", SourceState::Unreachable, true, T1),
            ("a", SourceState::Resolved, true, T0),
            ("gone", SourceState::Missing, true, T1),
            ("never", SourceState::Missing, false, T1),
            ("c", SourceState::Conflict, true, T1),
        ]
    );
    let message = |at: usize| status.sources[at].message.as_deref().unwrap_or_default();
    assert!(message(0).contains("r.example") && message(0).contains("503"));
    assert_eq!(message(1), "");
    assert_eq!(message(2), "r.example/app:gone is not there (HTTP 404)");
    assert_eq!(message(4), "c and x give the same platform");
    let shown = shown(&status);
    assert!(shown.contains(&"SourcesResolved False Unreachable".into()), "{shown:?}");
}

#[test]
fn sources_that_were_not_asked_are_not_touched() {
    let late = Outcome::Held(Failure::timed_out(Duration::from_secs(10), "while asking", None));
    let status = next(
        &published(),
        &About { generation: Some(3), ..about(1, T1) },
        &Run::without_answers(late),
    );
    assert_eq!(status.sources, published().sources);
    let asked = condition::get(&status.conditions, Type::SourcesResolved).unwrap();
    assert_eq!(asked.observed_generation, Some(2), "memory reads when they were asked");
    let ready = condition::get(&status.conditions, Type::Ready).unwrap();
    assert!(ready.message.contains("spec.timeout (10s), while asking"), "{}", ready.message);
}

#[test]
fn config_digests_that_are_known_stay_with_their_images() {
    let mut before = published();
    before.platforms[0].config_digest = Some("sha256:c".into());
    let status = next(&before, &about(0, T1), &run(served(&["linux/amd64", "linux/arm64"])));
    let configs: Vec<_> = status.platforms.iter().map(|p| p.config_digest.as_deref()).collect();
    assert_eq!(configs, [Some("sha256:c"), None]);
}

#[test]
fn foreign_conditions_stay() {
    let mut before = published();
    let foreign = Condition { type_: "example.com/X".into(), ..before.conditions[0].clone() };
    before.conditions.insert(0, foreign.clone());
    for outcome in
        [served(&["linux/amd64"]), held(Reason::WouldShrink, Stalled::Now), Outcome::Suspended]
    {
        assert_eq!(next(&before, &about(1, T1), &run(outcome)).conditions[0], foreign);
    }
}

#[test]
fn messages_are_short() {
    let host = |request| RegistryError::Unreachable {
        host: "h".repeat(9000),
        request,
        why: "é".repeat(9000),
        sent: false,
    };
    let resolutions = vec![failed("a", host)];
    let consequence =
        Consequence { reason: Reason::PushFailed, stalled: Stalled::No, retry: Retry::Backoff };
    let outcome = Outcome::Held(Failure { consequence, message: "é".repeat(9000) });
    let run = Run {
        resolutions,
        counted: Some(Counted {
            required: Required {
                platforms: (0..2000)
                    .map(|n| format!("windows(10.0.{n})/amd64").parse().unwrap())
                    .collect(),
                unknown: 3,
            },
            planned: Vec::new(),
        }),
        ..Run::without_answers(outcome)
    };
    let status = next(&published(), &about(1, T1), &run);
    assert!(status.conditions.iter().all(|c| c.message.len() <= 1024));
    assert!(status.sources.iter().all(|s| s.message.as_ref().unwrap().len() <= 256));
}

// The law.

fn answers() -> impl Strategy<Value = Vec<Resolution>> {
    let answer = (0..4_usize, any::<bool>(), 0..6_u8).prop_map(|(name, known, kind)| {
        let name = ["a", "b", "c", "d"][name];
        let known = known.then_some("known");
        match kind {
            0 => resolution(name, known, Answer::Missing),
            1 => resolution(name, known, Answer::Unchanged),
            2 => failed(name, unavailable),
            3 => failed(name, |request| RegistryError::Denied {
                host: "r.example".into(),
                request,
                credential: "x".into(),
                status: 403,
                codes: Vec::new(),
            }),
            _ => resolved(name, known.unwrap_or("new")),
        }
    });
    collection::vec(answer, 0..4).prop_map(|mut answers| {
        answers.sort_by(|a, b| a.name.cmp(&b.name));
        answers.dedup_by(|a, b| a.name == b.name);
        answers
    })
}

fn tags() -> impl Strategy<Value = Tags> {
    let failed = select(&[Reason::PushFailed, Reason::TargetConflict, Reason::ReadingBack][..]);
    option::of(failed).prop_map(|failed| match failed.map(|reason| held(reason, Stalled::Now)) {
        Some(Outcome::Held(failure)) => Tags { ours: Vec::new(), failed: Some(failure) },
        _ => Tags { ours: vec!["latest".into()], failed: None },
    })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let stalled = select(&[Stalled::No, Stalled::AfterTries, Stalled::Now][..]);
    let platforms =
        proptest::sample::subsequence(vec!["linux/amd64", "linux/arm64", "linux/s390x"], 1..=3);
    prop_oneof![
        Just(()).prop_map(|()| Outcome::Unchanged),
        Just(()).prop_map(|()| Outcome::Suspended),
        (platforms, tags()).prop_map(|(platforms, tags)| with_tags(served(&platforms), tags)),
        tags().prop_map(|tags| Outcome::Stands { tags }),
        (select(Reason::ALL), stalled).prop_map(|(reason, stalled)| held(reason, stalled)),
    ]
}

fn runs() -> impl Strategy<Value = Run> {
    let counts =
        select(vec![(0_usize, vec!["linux/amd64"]), (1, vec!["linux/amd64", "linux/s390x"])]);
    let counts = option::of(counts);
    (answers(), counts, any::<bool>(), any::<Option<bool>>(), outcomes()).prop_map(
        |(resolutions, counts, pushed, whole, outcome)| Run {
            resolutions,
            counted: counts.map(|(unknown, texts)| {
                let platforms: Vec<Platform> =
                    texts.iter().map(|text| text.parse().unwrap()).collect();
                Counted {
                    required: Required { platforms: platforms.clone(), unknown },
                    planned: platforms,
                }
            }),
            pushed,
            wrote_tag: pushed,
            drifts: Vec::new(),
            put_back: pushed,
            pending: pushed
                .then(|| vec![PendingTag { name: "latest".into(), ..PendingTag::default() }]),
            repaired: Vec::new(),
            whole,
            referrers: None,
            conflict: if pushed { vec!["a".into(), "b".into()] } else { Vec::new() },
            incomplete: if pushed { None } else { Some("a".into()) },
            outcome,
        },
    )
}

fn views() -> impl Strategy<Value = View> {
    let seen = [&["linux/amd64"][..], &["linux/arm64", "linux/s390x"], &[]].map(seen);
    select([View::Off, View::Unseen, View::Refused].into_iter().chain(seen).collect::<Vec<_>>())
}

fn abouts() -> impl Strategy<Value = About> {
    let words = option::of(select(vec!["one".to_owned(), "two".to_owned()]));
    (1..4_i64, words, 0..5_u32, any::<bool>(), views()).prop_map(
        |(generation, requested_at, failures, late, nodes)| About {
            generation: Some(generation),
            requested_at,
            failures,
            repository: Some(repository()),
            nodes,
            now: if late { T1 } else { T0 },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// For any run after any history.
    #[test]
    fn next_is_a_fixpoint(history in collection::vec((abouts(), runs()), 1..6)) {
        let mut status = MultiArchImageStatus::default();
        for (about, run) in &history {
            let before = status.clone();
            status = next(&before, about, run);
            prop_assert_eq!(&next(&status, about, run), &status);
            // Whoever looks at nodes between runs says no more than a run.
            prop_assert_eq!(&with_nodes(&status, &about.nodes, T1), &status);
            // What holds of every status.
            prop_assert_eq!(status.observed_generation, about.generation);
            prop_assert_eq!(&status.last_handled_reconcile_at, &about.requested_at);
            for kind in [Type::Published, Type::PlatformsComplete, Type::SourcesResolved] {
                prop_assert!(condition::get(&status.conditions, kind).is_some());
            }
            let shown = |kind| condition::get(&status.conditions, kind);
            prop_assert!(shown(Type::Stalled).is_none() || shown(Type::Reconciling).is_none());
            if !matches!(run.outcome, Outcome::Served { .. }) {
                prop_assert_eq!(&status.digest, &before.digest);
                prop_assert_eq!(&status.platforms, &before.platforms);
            }
            let missing = status.coverage.as_ref().map(|coverage| coverage.nodes_missing.as_slice());
            let covered = shown(Type::NodesCovered);
            prop_assert_eq!(covered.is_none(), about.nodes == View::Off);
            if let (Some(covered), Some(missing)) = (covered, missing)
                && about.nodes != View::Unseen
            {
                prop_assert_eq!(covered.status == "False", !missing.is_empty());
            }
            if !matches!(run.outcome, Outcome::Served { .. }) && run.whole.is_none() {
                prop_assert_eq!(
                    shown(Type::Published).filter(|_| !before.conditions.is_empty()),
                    condition::get(&before.conditions, Type::Published),
                );
            }
        }
    }
}

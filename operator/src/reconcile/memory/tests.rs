//! What the next run may rely on, and what it may not.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use multiarch_crds::{
    condition::Status,
    v1alpha1::{MultiArchImageSpec, PublishedPlatform, Source as Spec, Target},
};
use rstest::rstest;

use super::*;
use crate::reconcile::resolve::Found;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

fn sources(image: &str) -> Sources {
    let spec = MultiArchImageSpec {
        target: Target { image: "r.example/app:1.0".into(), ..Target::default() },
        sources: vec![Spec { name: "a".into(), image: image.into(), ..Spec::default() }],
        ..MultiArchImageSpec::default()
    };
    Sources::parse(&spec).unwrap()
}

/// Of generation 1, asked and published.
fn status(reason: Reason) -> MultiArchImageStatus {
    let mut status = MultiArchImageStatus {
        observed_generation: Some(1),
        reference: Some(format!("r.example/app:1.0@{}", digest("index"))),
        last_publish_time: Some(Time(NOW)),
        platforms: vec![PublishedPlatform {
            platform: "linux/arm64/v8".into(),
            digest: digest("child").to_string(),
            config_digest: None,
            attestations: Vec::new(),
            source: "a".into(),
        }],
        sources: vec![SourceStatus {
            name: "a".into(),
            state: SourceState::Resolved,
            digest: Some(digest("named").to_string()),
            message: None,
            since: Time(NOW),
        }],
        ..MultiArchImageStatus::default()
    };
    let list = &mut status.conditions;
    let holds =
        matches!(reason, Reason::Succeeded | Reason::PublishedPartial | Reason::TagImmutable);
    let holds = if holds { Status::True } else { Status::False };
    condition::set(list, Type::Ready, holds, reason, "", 1, NOW);
    condition::set(list, Type::SourcesResolved, Status::True, reason, "", 1, NOW);
    status
}

const TAGGED: &str = "r.example/app:a";

fn memory(status: &MultiArchImageStatus) -> Memory {
    Memory::of(status, Some(1), &sources(TAGGED))
}

#[test]
fn reads_a_status() {
    let memory = memory(&status(Reason::Succeeded));
    let published = memory.published.as_ref().unwrap();
    assert_eq!(published.digest, digest("index"));
    assert_eq!(published.children[0].platform.to_string(), "linux/arm64", "normalised");
    assert_eq!(memory.published_from("a").count(), 1);
    assert_eq!(memory.published_from("b").count(), 0);
    assert_eq!(memory.source("a").unwrap().digest, Some(digest("named")));
    assert_eq!(memory.pushed_at, Some(NOW));
    assert!(memory.current && memory.is_settled(TagPolicy::Enforce) && memory.was_served());
    assert!(!memory.is_missing("a"));
}

#[test]
fn a_status_that_says_nothing_is_no_memory() {
    let memory = memory(&MultiArchImageStatus::default());
    assert!(memory.published.is_none() && memory.source("a").is_none());
    assert!(!memory.current && !memory.is_settled(TagPolicy::Enforce) && !memory.was_served());
}

#[rstest]
#[case::other_tag("r.example/app:2.0")]
#[case::other_repository("r.example/other:1.0")]
fn what_another_tag_names_is_not_ours(#[case] target: &str) {
    let mut status = status(Reason::Succeeded);
    status.reference = Some(format!("{target}@{}", digest("index")));
    assert!(memory(&status).published.is_none());
}

#[rstest]
#[case::reference(|s: &mut MultiArchImageStatus| s.reference = Some("x".into()))]
#[case::no_digest(|s: &mut MultiArchImageStatus| s.reference = Some("r.example/app:1.0".into()))]
#[case::platform(|s: &mut MultiArchImageStatus| s.platforms[0].platform = "x".into())]
#[case::digest(|s: &mut MultiArchImageStatus| s.platforms[0].digest = "x".into())]
fn a_status_that_does_not_parse_is_no_memory(#[case] spoil: fn(&mut MultiArchImageStatus)) {
    let mut status = status(Reason::Succeeded);
    spoil(&mut status);
    let memory = memory(&status);
    assert!(memory.published.is_none() && !memory.is_settled(TagPolicy::Enforce));
}

/// Its answers may be those of before by now, and its outcome was never told.
#[rstest]
#[case::served(Reason::Succeeded)]
#[case::stalled(Reason::PlatformMismatch)]
fn a_run_that_did_not_come_to_its_end_is_not_settled(#[case] reason: Reason) {
    let status = status(reason);
    assert!(memory(&status).is_settled(TagPolicy::Enforce));
    let status = crate::reconcile::status::at_work(&status, Some(1), "at work", NOW);
    assert!(!memory(&status).is_settled(TagPolicy::Enforce));
}

/// A source that cannot be used stays what it is; what its target refused may be taken later.
#[rstest]
#[case::unsupported(SourceState::Unsupported, true)]
#[case::invalid(SourceState::Invalid, true)]
#[case::resolved(SourceState::Resolved, false)]
fn unsupported_content_is_settled_where_it_is_a_source_s(
    #[case] state: SourceState,
    #[case] settled: bool,
) {
    let mut status = status(Reason::UnsupportedContent);
    status.sources[0].state = state;
    assert_eq!(memory(&status).is_settled(TagPolicy::Enforce), settled);
}

/// The same answers lead to the same outcome again, after these reasons only.
#[rstest]
fn settled(#[values(true, false)] published: bool) {
    use Reason as R;
    for reason in R::ALL {
        let mut status = status(*reason);
        if !published {
            status.reference = None;
        }
        let expected = match reason {
            R::WaitingForPlatforms
            | R::WaitingForMatch
            | R::PlatformMismatch
            | R::DuplicatePlatform => true,
            R::Succeeded
            | R::PublishedPartial
            | R::WouldShrink
            | R::TagImmutable
            | R::TargetConflict
            | R::DriftLoop => published,
            // Of UnsupportedContent it is the target that is to blame, as every source is resolved.
            _ => false,
        };
        assert_eq!(memory(&status).is_settled(TagPolicy::Enforce), expected, "{reason}");
        assert!(
            !Memory::of(&status, Some(2), &sources(TAGGED)).is_settled(TagPolicy::Enforce),
            "{reason}"
        );
        let served = matches!(reason, R::Succeeded | R::PublishedPartial | R::TagImmutable);
        assert_eq!(memory(&status).was_served(), served, "{reason}");
    }
}

#[rstest]
#[case(SourceState::Resolved, true, true)]
#[case(SourceState::PlatformMismatch, true, true)]
#[case(SourceState::Unsupported, true, false)]
#[case(SourceState::Invalid, true, false)]
#[case(SourceState::Conflict, true, true)]
#[case(SourceState::Missing, false, false)]
#[case(SourceState::Incomplete, false, false)]
#[case(SourceState::Unauthorized, false, false)]
#[case(SourceState::Denied, false, false)]
#[case(SourceState::RateLimited, false, false)]
#[case(SourceState::Unreachable, false, false)]
fn states_that_follow_from_a_digest(
    #[case] state: SourceState,
    #[case] of_manifest: bool,
    #[case] of_config: bool,
) {
    let is_settled = |in_archive| Remembered { digest: None, state, in_archive }.is_settled();
    assert_eq!((is_settled(false), is_settled(true)), (of_manifest, of_config));
}

/// After an edit a reference is known only where status shows which one was asked.
#[rstest]
#[case::unedited(TAGGED, SourceState::Resolved, None, Some(1), true)]
#[case::edited(TAGGED, SourceState::Resolved, None, Some(2), false)]
#[case::edited_while_missing(
    TAGGED,
    SourceState::Missing,
    Some("r.example/app:a is not there (HTTP 404)"),
    Some(2),
    true
)]
#[case::raised_while_missing(
    "r.example/app:b",
    SourceState::Missing,
    Some("r.example/app:a is not there (HTTP 404)"),
    Some(2),
    false
)]
#[case::failed_under_that_message(
    TAGGED,
    SourceState::Unreachable,
    Some("r.example/app:a is not there (HTTP 404)"),
    Some(2),
    false
)]
#[case::pinned(&format!("r.example/app@{}", digest("named")), SourceState::Resolved, None, Some(2), true)]
#[case::pinned_to_another(&format!("r.example/app@{}", digest("x")), SourceState::Resolved, None, Some(2), false)]
fn a_digest_belongs_to_a_reference(
    #[case] image: &str,
    #[case] state: SourceState,
    #[case] message: Option<&str>,
    #[case] generation: Option<i64>,
    #[case] known: bool,
) {
    let mut status = status(Reason::Succeeded);
    status.sources[0].state = state;
    status.sources[0].message = message.map(ToOwned::to_owned);
    // A run of the new generation that did not get as far as the sources.
    status.observed_generation = generation;
    let memory = Memory::of(&status, generation, &sources(image));
    assert_eq!(memory.source("a").unwrap().digest.is_some(), known);
    assert_eq!(memory.is_missing("a"), state == SourceState::Missing);
}

#[rstest]
#[case::the_same("linux/arm64", "child", true)]
#[case::another_image("linux/arm64", "other", false)]
#[case::another_platform("linux/amd64", "child", false)]
fn whether_all_that_was_found_is_published(
    #[case] platform: &str,
    #[case] content: &str,
    #[case] expected: bool,
) {
    let raw = crate::oci::RawManifest::new("x/y", content.to_owned().into());
    let child = crate::reconcile::resolve::Child {
        descriptor: raw.descriptor(),
        platform: platform.parse::<Platform>().unwrap().normalized(),
        config: None,
        labels: None,
        attestations: Vec::new(),
        source: "renamed".into(),
        contents: Vec::new(),
    };
    let resolution = |answer| Resolution {
        name: "a".into(),
        reference: TAGGED.parse().unwrap(),
        known: None,
        answer,
    };
    let found = Found {
        named: raw.digest().clone(),
        children: vec![child],
        lacking: Vec::new(),
        whole: None,
    };
    let resolutions = [resolution(Answer::Found(found)), resolution(Answer::Missing)];
    assert_eq!(memory(&status(Reason::Succeeded)).has_all_found(&resolutions), expected);
}

#[test]
fn compares_images_whatever_the_order() {
    let mut status = status(Reason::Succeeded);
    status.platforms.push(PublishedPlatform {
        platform: "linux/amd64".into(),
        digest: digest("second").to_string(),
        ..status.platforms[0].clone()
    });
    let published = memory(&status).published.unwrap();
    let [child, second, other] = ["child", "second", "other"].map(digest);
    assert!(published.has_just([&second, &child].into_iter()));
    assert!(!published.has_just([&child].into_iter()));
    assert!(!published.has_just([&child, &other].into_iter()));
    assert!(!published.has_just([&child, &child].into_iter()));
}

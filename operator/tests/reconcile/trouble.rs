//! Registries that fail, credentials that are wrong: nothing published is withdrawn or made smaller.

use std::time::Duration;

use multiarch_crds::{
    condition::Type,
    v1alpha1::{PublishPolicy, RemovalPolicy, SecretRef, SourceState},
};
use multiarch_operator::{
    error::Retry,
    registry::{RegistryError, Request},
};
use rstest::rstest;

use crate::world::*;

type Error = fn(&Request) -> RegistryError;

#[rstest]
#[case::unavailable(
    unavailable,
    "RegistryUnreachable",
    SourceState::Unreachable,
    Retry::Backoff,
    "503"
)]
#[case::rate_limited(
    rate_limited,
    "RateLimited",
    SourceState::RateLimited,
    Retry::After(Duration::from_secs(77)),
    "429"
)]
#[case::unauthorized(
    unauthorized,
    "AuthenticationFailed",
    SourceState::Unauthorized,
    Retry::Backoff,
    "Secret pull"
)]
#[case::denied(denied, "AccessDenied", SourceState::Denied, Retry::Backoff, "403")]
#[tokio::test(start_paused = true)]
async fn a_source_that_fails_after_publication(
    #[case] error: Error,
    #[case] reason: &str,
    #[case] state: SourceState,
    #[case] retry: Retry,
    #[case] word: &str,
    #[values(PublishPolicy::Complete, PublishPolicy::Partial)] publish: PublishPolicy,
    #[values(RemovalPolicy::Refuse, RemovalPolicy::Remove)] removal: RemovalPolicy,
) {
    let mut world = World::pair();
    world.spec.publish_policy = publish;
    world.spec.removal_policy = removal;
    world.run().await;
    let (published, digest) = (world.tagged(), world.status.digest.clone());
    world.fail("arm64", error);
    // Also when the others moved: the index would be half new.
    for step in 0..4 {
        world.later(10);
        let report = world.run().await;
        world.assert_ready("False", reason);
        world.assert_message(&[HOST, word, "arm64"]);
        assert_eq!(report.retry, Some(retry));
        assert_eq!(world.source("arm64").state, state);
        assert!(world.source("arm64").message.as_ref().unwrap().contains(HOST));
        assert!(world.source("arm64").digest.is_some(), "its memory stays");
        assert_eq!(world.condition(Type::Published).0, "True");
        assert_eq!(world.condition(Type::PlatformsComplete).0, "True");
        assert_eq!(world.status.digest, digest);
        assert_eq!(world.tagged(), published);
        world.move_to("amd64", "linux/amd64", &step.to_string());
    }
    world.store.mend();
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
}

#[rstest]
#[case::unavailable(unavailable, "RegistryUnreachable", Retry::Backoff)]
#[case::rate_limited(rate_limited, "RateLimited", Retry::After(Duration::from_secs(77)))]
#[case::unauthorized(unauthorized, "AuthenticationFailed", Retry::Backoff)]
#[case::denied(denied, "AccessDenied", Retry::Backoff)]
#[tokio::test(start_paused = true)]
async fn a_target_that_fails(
    #[case] error: Error,
    #[case] reason: &str,
    #[case] retry: Retry,
    #[values(false, true)] published: bool,
) {
    let mut world = World::pair();
    if published {
        world.run().await;
        world.later(10);
    }
    let (before, digest) = (world.tagged(), world.status.digest.clone());
    world.fail(TAG, error);
    let report = world.run().await;
    world.assert_ready("False", reason);
    world.assert_message(&[HOST]);
    assert_eq!(report.retry, Some(retry));
    assert_eq!(world.condition(Type::Published).0, if published { "True" } else { "False" });
    assert_eq!((world.tagged(), &world.status.digest), (before, &digest));
    world.store.mend();
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[rstest]
#[case::unavailable(unavailable, "PushFailed")]
#[case::rate_limited(rate_limited, "RateLimited")]
#[case::denied(denied, "AccessDenied")]
#[case::not_found(|r: &Request| RegistryError::RepositoryNotFound { host: HOST.into(), request: r.clone(), answer: "HTTP 404" }, "RepositoryNotFound")]
#[case::refused(|r: &Request| RegistryError::Refused { host: HOST.into(), request: r.clone(), status: 400, codes: vec!["TAG_INVALID".into()] }, "PushFailed")]
#[tokio::test(start_paused = true)]
async fn a_push_that_fails(#[case] error: Error, #[case] reason: &str) {
    let mut world = World::pair();
    world.store.fail(|request| request.method == "PUT", error);
    let report = world.run().await;
    world.assert_ready("False", reason);
    world.assert_message(&[HOST, "push"]);
    assert_eq!(world.status.last_publish_time, None);
    assert_eq!(world.tagged(), None);
    let told = if reason == "RepositoryNotFound" { "Stalled" } else { reason };
    let told = if reason == "AccessDenied" { "AuthFailed" } else { told };
    assert_eq!(report.events, [told]);
    world.store.mend();
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn denied_before_the_first_resolution_waits_and_is_never_stalled() {
    let mut world = World::pair();
    world.fail("arm64", denied);
    for run in 0..5 {
        let report = world.run().await;
        world.assert_ready("Unknown", "WaitingForPlatforms");
        world.assert_reconciling("WaitingForPlatforms");
        world.assert_message(&[HOST, "Secret pull", "403"]);
        assert_eq!(report.retry, Some(Retry::Interval));
        assert_eq!(world.source("arm64").state, SourceState::Denied);
        // The message names the request, which is a HEAD from the second look on.
        assert_eq!((report.count("GET") > 0, report.changed), (run == 0, run < 2));
        world.later(10);
    }
    world.store.mend();
    world.run().await;
    world.assert_ready("True", "Succeeded");

    world.fail("arm64", denied);
    for run in 1..5 {
        world.later(10);
        world.run().await;
        world.assert_ready("False", "AccessDenied");
        assert_eq!(world.condition(Type::Stalled).0, if run < 3 { "" } else { "True" });
    }
    // A restart forgets the tries, and the status does not.
    world.restart();
    world.run().await;
    world.assert_stalled("AccessDenied");
    // After an edit the reference may be another one, which is not there yet.
    world.edit(|spec| spec.sources[1].image = image("arm64-2"));
    world.fail("arm64-2", denied);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_anew_for_a_generation_and_a_request() {
    let mut world = World::pair();
    world.fail("arm64", unauthorized);
    for _ in 0..3 {
        world.run().await;
        world.later(10);
    }
    world.assert_stalled("AuthenticationFailed");
    world.request();
    world.run().await;
    world.assert_stalled("AuthenticationFailed");
    world.edit(|_| {});
    world.run().await;
    world.assert_reconciling("AuthenticationFailed");
}

#[tokio::test(start_paused = true)]
async fn stalled_is_told_once() {
    let mut world = World::pair();
    world.fail("arm64", unauthorized);
    let mut events = Vec::new();
    for _ in 0..6 {
        events.extend(world.run().await.events);
        world.later(10);
    }
    assert_eq!(events, ["AuthFailed", "Stalled"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_must_mend_is_told_before_what_passes() {
    let mut world = World::new(vec![source("a"), declared("b", "linux/arm64"), source("c")]);
    world.push("b", "linux/amd64");
    world.fail("a", unavailable);
    world.fail("c", unauthorized);
    for _ in 0..4 {
        world.run().await;
        world.assert_stalled("PlatformMismatch");
        world.assert_message(&["source b", "2 more"]);
        world.later(10);
    }
    world.edit(|spec| spec.sources[1].platforms = vec!["linux/amd64".into()]);
    world.run().await;
    world.assert_ready("False", "AuthenticationFailed");
}

/// One that is Stalled is not hidden by another one that fails for a while.
#[tokio::test(start_paused = true)]
async fn a_passing_failure_does_not_hide_a_wrong_platform() {
    let mut world = World::new(vec![source("amd64"), declared("b", "linux/arm64")]);
    world.push("amd64", "linux/amd64");
    world.push("b", "linux/s390x");
    world.run().await;
    world.assert_stalled("PlatformMismatch");
    world.later(10);
    world.run().await.assert_idle(2);
    world.fail("amd64", unavailable);
    world.later(10);
    world.run().await;
    world.assert_stalled("PlatformMismatch");
    world.assert_message(&["source b"]);
}

#[rstest]
#[case::absent(None, "SecretNotFound")]
#[case::malformed(Some("{"), "SecretInvalid")]
#[case::other_host(
    Some(r#"{"auths":{"other.example":{"username":"u","password":"p"}}}"#),
    "SecretInvalid"
)]
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_missing_or_bad(
    #[case] content: Option<&str>,
    #[case] reason: &str,
    #[values(true, false)] push: bool,
) {
    let mut world = World::pair();
    world.store.require_login("u", "p");
    let secret = Some(SecretRef { name: "login".into() });
    if push {
        world.spec.target.secret_ref = secret;
    } else {
        world.spec.sources[0].secret_ref = secret;
        world.spec.image_pull_secrets = vec![SecretRef { name: "good".into() }];
        world.secret("good", "u");
    }
    if let Some(content) = content {
        world.secrets.insert("login".into(), content.into());
    }
    for run in 1..=4 {
        world.run().await;
        world.assert_ready("False", reason);
        world.assert_message(&["Secret login"]);
        if reason == "SecretInvalid" && content != Some("{") {
            world.assert_message(&[HOST]);
        }
        assert_eq!(world.condition(Type::Stalled).0, if run < 3 { "" } else { "True" });
        world.later(10);
    }
    world.secret("login", "u");
    world.push_secret("login");
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_names_host_and_secret() {
    let mut world = World::pair();
    world.store.require_login("u", "p");
    world.secret("login", "someone");
    world.push_secret("login");
    world.run().await;
    world.assert_ready("False", "AuthenticationFailed");
    world.assert_message(&[HOST, "Secret login", "401"]);
    assert!(!world.ready().2.contains("someone"));
}

#[tokio::test(start_paused = true)]
async fn messages_of_many_failures_stay_short() {
    let names: Vec<_> = (0..64).map(|n| format!("s{n}")).collect();
    let mut world = World::new(names.iter().map(|name| source(name)).collect());
    for name in &names {
        world.fail(name, unavailable);
    }
    world.run().await;
    world.assert_message(&["63 more"]);
    assert_eq!(world.status.sources.len(), 64);
}

/// A run that takes longer than its time is cut, says at what, and goes on later.
#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long() {
    let mut world = World::pair();
    world.spec.timeout = Duration::from_secs(1).into();
    world.lag(usize::MAX);
    let report = world.run().await;
    world.assert_reconciling("TimedOut");
    world.assert_ready("False", "TimedOut");
    world.assert_message(&["spec.timeout", "1s", "reading it back"]);
    assert_eq!(report.retry, Some(Retry::Backoff));
    world.edit(|spec| spec.timeout = Duration::from_mins(1).into());
    world.store.mend();
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

fn refused(request: &Request) -> RegistryError {
    let (host, request, codes) = (HOST.into(), request.clone(), vec!["TAG_INVALID".into()]);
    RegistryError::Refused { host, request, status: 400, codes }
}

fn is_push_of(request: &Request, tag: &str) -> bool {
    request.method == "PUT" && request.of.ends_with(&format!(":{tag}"))
}

/// What a registry refuses costs HEADs until it is due to be tried again, or there is something else to push.
#[rstest]
#[case::refused(refused, "PushFailed", true)]
#[case::denied(denied, "AccessDenied", true)]
#[case::not_found(|r: &Request| RegistryError::RepositoryNotFound { host: HOST.into(), request: r.clone(), answer: "HTTP 404" }, "RepositoryNotFound", false)]
#[tokio::test(start_paused = true)]
async fn a_push_that_is_refused_is_put_off(
    #[case] error: Error,
    #[case] reason: &str,
    #[case] soon: bool,
    #[values(false, true)] published: bool,
) {
    let mut world = World::pair();
    if published {
        world.run().await;
        world.later(10);
        world.move_to("amd64", "linux/amd64", "news");
    }
    let before = world.tagged();
    world.store.fail(|request| is_push_of(request, TAG), error);
    let report = world.run().await;
    assert_eq!(report.retry, Some(Retry::Refused { soon }));
    world.assert_ready("False", reason);
    for _ in 0..3 {
        world.put_off = true;
        world.later(10);
        let report = world.run().await;
        report.assert_idle(2 + usize::from(published));
        assert_eq!(report.retry, None);
        world.assert_ready("False", reason);
    }
    // Something else to push is tried at once,
    world.move_to("arm64", "linux/arm64", "more news");
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.retry), (1, Some(Retry::Refused { soon })));
    // the same again when it is due, or when a person asks.
    world.put_off = false;
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 1);
    world.put_off = true;
    world.request();
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 1);
    assert_eq!(world.tagged(), before);
    world.store.mend();
    world.put_off = false;
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// Meanwhile everything else is kept true: images, and the tags that were not refused.
#[tokio::test(start_paused = true)]
async fn what_is_put_off_holds_nothing_else_back() {
    let mut world = World::published().await;
    world.edit(|spec| spec.target.additional_tags = vec!["latest".into(), "1".into()]);
    world.store.fail(|request| is_push_of(request, "latest"), refused);
    let report = world.run().await;
    assert_eq!(report.retry, Some(Retry::Refused { soon: true }));
    world.assert_ready("False", "PushFailed");
    world.later(10);
    world.put_off = true;
    world.run().await.assert_idle(2 + 2);
    // Another tag that goes astray is seen, and all is tried.
    world.store.delete_tag(PATH, "1");
    world.later(10);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 2, "{report:?}");
    assert!(world.store.tagged(PATH, "1").is_some());
    world.later(10);
    world.run().await.assert_idle(2 + 2);
    // A tag that its registry keeps as it is, too.
    world.store.mend();
    world.put_off = false;
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.store.protect();
    world.move_to("amd64", "linux/amd64", "news");
    let report = world.run().await;
    world.assert_stalled("TagImmutable");
    assert_eq!(report.retry, Some(Retry::Refused { soon: false }));
    world.put_off = true;
    world.later(10);
    world.run().await.assert_idle(2 + 3);
}

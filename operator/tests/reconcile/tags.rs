//! Tags beside the target's: the index under more tags, and each of its images under its own.

use std::time::Duration;

use multiarch_crds::{condition::Type, v1alpha1::TagPolicy};
use multiarch_operator::{
    error::Retry,
    oci::Digest,
    registry::{RegistryError, Request},
};
use rstest::rstest;

use crate::world::*;

/// The pair, also under `latest` and `1`, not published yet.
fn tagged_pair() -> World {
    let mut world = World::pair();
    world.spec.target.additional_tags = vec!["latest".into(), "1".into()];
    world
}

/// The pair, each image also under a tag of its own.
fn with_platform_tags() -> World {
    let mut world = World::pair();
    world.spec.target.platform_tags = Some("{tag}-{arch}{variant}".into());
    world
}

/// What was asked, in its order.
fn log(world: &World) -> Vec<String> {
    world.store.requests().iter().map(ToString::to_string).collect()
}

fn first(log: &[String], request: &str) -> usize {
    log.iter().position(|asked| asked == request).unwrap()
}

#[tokio::test(start_paused = true)]
async fn more_tags_are_written_after_the_index_was_read_back() {
    let mut world = tagged_pair();
    let report = world.run().await;
    // Two for each: the push, and a look at it.
    report.assert_counts(1 + 2, 5, 1 + 2);
    assert_eq!(report.events, ["IndexPublished"]);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.tags, ["1.0", "latest", "1"]);
    for tag in ["latest", "1"] {
        assert_eq!(world.named(tag), world.named(TAG));
    }
    let log = log(&world);
    let read_back = first(&log, &format!("HEAD manifest {PATH}:{TAG}"));
    for tag in ["latest", "1"] {
        assert!(first(&log, &format!("PUT manifest {PATH}:{tag}")) > read_back, "{log:#?}");
    }
    world.later(10);
    world.run().await.assert_idle(3 + 2);
    world.restart();
    world.run().await.assert_idle(3 + 2);

    // The next version.
    world.move_to("amd64", "linux/amd64", "2");
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 3);
    assert_eq!(report.events, ["IndexPublished", "SourceChanged"]);
    assert_eq!(world.named("latest"), world.named(TAG));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tagged_before_the_target() {
    let mut world = tagged_pair();
    world.fail(TAG, unavailable);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    world.store.mend();
    world.store.fail(|r| r.method == "PUT" && r.of.ends_with(TAG), unavailable);
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 1);
    assert!(world.status.tags.is_empty());
    assert_eq!(world.named("latest"), None);
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_added_and_another_one_let_go() {
    let mut world = tagged_pair();
    world.run().await;
    let published = world.named(TAG);
    world.later(10);
    world.edit(|spec| spec.target.additional_tags = vec!["1".into(), "stable".into()]);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 1, "{report:#?}");
    assert!(report.events.is_empty(), "{report:#?}");
    assert_eq!(world.status.tags, ["1.0", "1", "stable"]);
    assert_eq!(world.named("stable"), published);
    assert_eq!(world.named("latest"), published, "left as it is");
    assert_eq!(world.status.last_publish_time.as_ref().unwrap().0, world.now, "a tag was pushed");
    // Not ours any more.
    world.push_foreign_as("latest", &["linux/amd64"]);
    world.later(10);
    world.run().await.assert_idle(3 + 2);
}

#[tokio::test(start_paused = true)]
async fn another_target_tag_takes_the_additional_tags_along() {
    let mut world = tagged_pair();
    world.run().await;
    let old = world.named(TAG);
    world.later(10);
    world.move_to("amd64", "linux/amd64", "2");
    world.edit(|spec| spec.target.image = image("1.1"));
    let report = world.run().await;
    assert_eq!((report.count("PUT"), world.status.tags.join(" ")), (3, "1.1 latest 1".into()));
    assert_eq!(world.named(TAG), old, "the old one is left as it is");
    assert_ne!(world.named("1.1"), old);
    assert_eq!(world.named("latest"), world.named("1.1"));
    let log = log(&world);
    let read_back = log.iter().rposition(|r| r == &format!("HEAD manifest {PATH}:1.1")).unwrap();
    assert!(first(&log, &format!("PUT manifest {PATH}:latest")) > read_back, "{log:#?}");
    world.later(10);
    world.run().await.assert_idle(3 + 2);
}

#[tokio::test(start_paused = true)]
async fn each_image_gets_its_own_tag() {
    let mut world = with_platform_tags();
    let report = world.run().await;
    // For each: a look at the tag, the image's bytes, the push, and a look at it.
    report.assert_counts(1 + 4, 5 + 2, 1 + 2);
    assert_eq!(world.status.tags, ["1.0", "1.0-amd64", "1.0-arm64"]);
    let images = world.digests();
    assert_eq!(world.named("1.0-amd64").as_ref(), Some(&images[0]));
    assert_eq!(world.named("1.0-arm64").as_ref(), Some(&images[1]));
    world.later(10);
    world.run().await.assert_idle(3 + 2);
    // A new image is put under the tag that was ours; the other tag is right.
    let moved = world.move_to("amd64", "linux/amd64", "2");
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.contains(&"DriftCorrected".into())), (2, false));
    assert_eq!(world.named("1.0-amd64"), Some(moved.digest));
}

/// Of what is copied, the bytes are at hand.
#[tokio::test(start_paused = true)]
async fn a_copied_image_is_not_read_again_for_its_tag() {
    let mut world = with_platform_tags();
    for source in &mut world.spec.sources {
        source.image = format!("{HOST}/ci/app:{}", source.name);
        world.store.push_image("ci/app", &source.name, &format!("linux/{}", source.name));
    }
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(report.count("GET"), 5, "{report:#?}");
    world.later(10);
    let report = world.run().await;
    report.assert_idle(3 + 2);
    assert_eq!(report.children, 0, "their tags show that they are there");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_right_already_is_adopted() {
    let mut world = with_platform_tags();
    let amd64 = world.push("amd64", "linux/amd64");
    world.store.tag(PATH, "1.0-amd64", &amd64.digest);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 2);
    assert_eq!(world.status.tags, ["1.0", "1.0-amd64", "1.0-arm64"]);
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_platform_tag_of_something_else_is_not_taken() {
    let mut world = with_platform_tags();
    let theirs = world.store.push_image(PATH, "1.0-amd64", "linux/s390x");
    let report = world.run().await;
    world.assert_stalled("TargetConflict");
    world.assert_message(&[&image("1.0-amd64"), "linux/amd64", "did not write"]);
    assert!(!world.ready().2.contains("sha256"), "nothing of others is named");
    assert_eq!(report.events, ["IndexPublished", "TargetConflict"]);
    assert_eq!(report.retry, Some(Retry::Interval));
    assert_eq!(world.condition(Type::Published).0, "True");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(world.status.tags, ["1.0", "1.0-arm64"], "the others are written");
    assert_eq!(world.named("1.0-amd64"), Some(theirs.digest.clone()));
    world.assert_fixpoint().await;
    // Nor when another image comes.
    world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    world.assert_stalled("TargetConflict");
    assert_eq!(world.named("1.0-amd64"), Some(theirs.digest));
    world.store.delete_tag(PATH, "1.0-amd64");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn gzip_and_zstd_of_one_platform_have_one_tag() {
    let mut world = with_platform_tags();
    world.spec.sources.push(source("zstd"));
    let mut zstd = world.foreign("linux/amd64");
    zstd.annotations.insert("io.github.containers.compression.zstd".into(), "true".into());
    world.store.push_index(PATH, Some("zstd"), vec![zstd]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.digests().len(), 3);
    let gzip = world.source("amd64").digest.clone();
    assert_eq!(world.named("1.0-amd64").map(|digest| digest.to_string()), gzip);
    world.later(10);
    world.run().await.assert_idle(4 + 2);
}

#[rstest]
#[case::one_tag_twice("{tag}-{variant}x{arch}", &["windows/amd64", "linux/amd64"], "one tag")]
#[case::a_sources("{arch}", &["linux/amd64", "linux/arm64"], "the source amd64")]
#[case::an_additional("x{arch}", &["linux/amd64"], "additionalTags")]
#[case::no_tag("{variant}-{arch}", &["linux/amd64"], "no tag")]
#[tokio::test(start_paused = true)]
async fn what_cannot_be_tagged_is_not_published(
    #[case] template: &str,
    #[case] platforms: &[&str],
    #[case] words: &str,
) {
    let names = ["amd64", "arm64"];
    let mut world = World::new(names[..platforms.len()].iter().map(|n| source(n)).collect());
    world.spec.target.platform_tags = Some(template.into());
    world.spec.target.additional_tags = vec!["xamd64".into()];
    for (name, platform) in names.iter().zip(platforms) {
        world.push(name, platform);
    }
    let before = world.store.tags(PATH);
    let report = world.run().await;
    world.assert_stalled("InvalidSpec");
    world.assert_message(&[words, "platformTags"]);
    assert_eq!((report.count("PUT"), world.store.tags(PATH)), (0, before));
    world.assert_fixpoint().await;
}

fn refused(request: &Request) -> RegistryError {
    let (host, request, codes) = (HOST.into(), request.clone(), vec!["TAG_INVALID".into()]);
    RegistryError::Refused { host, request, status: 404, codes }
}

#[rstest]
#[case::unavailable(unavailable, "PushFailed")]
#[case::denied(denied, "AccessDenied")]
#[case::limited(rate_limited, "RateLimited")]
#[case::refused(refused, "PushFailed")]
#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_be_written_does_not_take_the_index_back(
    #[case] error: fn(&Request) -> RegistryError,
    #[case] reason: &str,
) {
    let mut world = tagged_pair();
    world.run().await;
    world.later(10);
    let old = world.named(TAG);
    world.move_to("amd64", "linux/amd64", "2");
    // By digest, too: else it would be the tag that is protected.
    let latest = |of: &str| of.ends_with("latest") || of.contains('@');
    world.store.fail(move |request| request.method == "PUT" && latest(&request.of), error);
    let report = world.run().await;
    world.assert_ready("False", reason);
    world.assert_message(&["latest", HOST]);
    assert!(report.events.contains(&"IndexPublished".into()), "{report:#?}");
    assert_eq!(world.condition(Type::Published).0, "True");
    assert!(world.condition(Type::Published).2.contains(&image(TAG)));
    let new = world.named(TAG);
    assert_ne!(new, old);
    assert_eq!(world.status.digest, new.as_ref().map(ToString::to_string));
    assert_eq!((world.named("latest"), world.named("1")), (old, new.clone()));
    assert_eq!(world.status.tags, ["1.0", "latest", "1"], "it stays ours");
    let retries =
        |retry| matches!(retry, Retry::Backoff | Retry::After(_) | Retry::Refused { soon: true });
    assert!(report.retry.is_some_and(retries), "{:?}", report.retry);
    // Tried again; nothing is told twice.
    for _ in 0..3 {
        world.later(10);
        let report = world.run().await;
        assert_eq!(report.count("PUT manifest team/app:"), 1, "{report:#?}");
        assert!(!report.events.contains(&"IndexPublished".into()), "{report:#?}");
    }
    world.assert_fixpoint().await;
    world.store.mend();
    let report = world.run().await;
    assert!(report.events.is_empty(), "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named("latest"), new);
    assert_eq!(world.status.tags, ["1.0", "latest", "1"]);
}

/// The registry goes on for a while with what an additional tag named before.
#[rstest]
#[case::with_the_index(true)]
#[case::added_later(false)]
#[tokio::test(start_paused = true)]
async fn a_tag_that_lags_is_not_pushed_again_and_again(#[case] fresh: bool) {
    let mut world = if fresh { tagged_pair() } else { World::published().await };
    if !fresh {
        world.edit(|spec| spec.target.additional_tags = vec!["latest".into()]);
    }
    let store = world.store.clone();
    world.store.fail(
        move |request| {
            if request.of.ends_with("latest") && request.method == "HEAD" {
                store.delete_tag(PATH, "latest");
            }
            false
        },
        unavailable,
    );
    let report = world.run().await;
    assert_eq!(report.count("PUT manifest team/app:latest"), 1);
    assert_eq!(report.retry, Some(Retry::Backoff));
    world.assert_ready("Unknown", "ReadingBack");
    world.assert_message(&["latest", "waiting"]);
    assert_eq!(world.condition(Type::Published).0, "True");
    assert_eq!(report.events, if fresh { &["IndexPublished"][..] } else { &[] });
    for _ in 0..10 {
        world.now += jiff::SignedDuration::from_secs(5);
        let report = world.run().await;
        assert_eq!((report.count("PUT"), report.events.len()), (0, 0), "{report:#?}");
        assert!(!report.changed);
        world.assert_ready("Unknown", "ReadingBack");
    }
    world.store.mend();
    world.store.tag(PATH, "latest", &world.named(TAG).unwrap());
    world.now += jiff::SignedDuration::from_secs(5);
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.len()), (0, 0), "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert!(world.status.tags.contains(&"latest".into()));
}

/// The tag had other content, and the registry shows that for a moment.
#[tokio::test(start_paused = true)]
async fn a_short_lag_of_a_tag_that_was_not_ours_is_waited_out() {
    let mut world = tagged_pair();
    let theirs = world.push_foreign_as("latest", &["linux/amd64"]);
    let (store, digest, ours) = (world.store.clone(), theirs.digest, std::sync::Mutex::new(None));
    world.store.fail(
        move |request| {
            if request.of.ends_with("latest") && request.method == "HEAD" {
                let mut ours = ours.lock().unwrap();
                if let Some(ours) = ours.take() {
                    store.tag(PATH, "latest", &ours);
                } else {
                    *ours = store.tagged(PATH, "latest").map(|raw| raw.digest().clone());
                    store.tag(PATH, "latest", &digest);
                }
            }
            false
        },
        unavailable,
    );
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named("latest"), world.named(TAG));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_someone_else_writes_too_is_told() {
    let mut world = World::published().await;
    world.edit(|spec| spec.target.additional_tags = vec!["latest".into()]);
    let theirs = world.push_foreign_as("rival", &["linux/amd64"]).digest;
    let (store, rival) = (world.store.clone(), theirs.clone());
    world.store.fail(
        move |request| {
            if request.of.ends_with("latest") && store.tagged(PATH, "latest").is_some() {
                store.tag(PATH, "latest", &rival);
            }
            false
        },
        unavailable,
    );
    let report = world.run().await;
    world.assert_ready("False", "ReadBackMismatch");
    world.assert_message(&[&image("latest"), theirs.as_str()]);
    assert_eq!(report.retry, Some(Retry::Backoff));
    assert_eq!(world.condition(Type::Published).0, "True");
    assert_eq!(world.status.tags, ["1.0"]);
}

#[rstest]
#[case::additional_moved("latest", false)]
#[case::additional_deleted("latest", true)]
#[case::platform_moved("1.0-arm64", false)]
#[case::platform_deleted("1.0-arm64", true)]
#[tokio::test(start_paused = true)]
async fn drift_of_a_tag_is_told_and_then_corrected(#[case] tag: &str, #[case] deleted: bool) {
    let mut world = tagged_pair();
    world.spec.target.platform_tags = Some("{tag}-{arch}".into());
    world.run().await;
    world.later(10);
    let right = world.named(tag);
    let instead = if deleted {
        world.store.delete_tag(PATH, tag);
        "nothing".to_owned()
    } else {
        world.push_foreign_as(tag, &["linux/amd64"]).digest.to_string()
    };
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.count("GET")), (0, 0));
    assert_eq!(report.events, ["DriftDetected"]);
    assert_eq!(report.retry, Some(Retry::After(Duration::from_mins(1))));
    world.assert_ready("False", "DriftDetected");
    world.assert_message(&[&image(tag), &instead, right.as_ref().unwrap().as_str()]);
    assert_eq!(world.condition(Type::Published).0, "True");
    world.later(1);
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.join(" ")), (1, "DriftCorrected".into()));
    assert!(report.notes[0].contains(tag) && report.notes[0].contains(&instead), "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named(tag), right);
    // A replica that is behind is no drift so short after it was written.
    if !deleted {
        world.store.tag(PATH, tag, &instead.parse::<Digest>().unwrap());
        world.now += jiff::SignedDuration::from_secs(30);
        world.run().await.assert_idle(3 + 4);
        world.store.tag(PATH, tag, &right.unwrap());
    }
    world.later(10);
    world.run().await.assert_idle(3 + 4);
}

/// Both are told: what was published, and which tag was put back.
#[tokio::test(start_paused = true)]
async fn a_tag_that_drifted_is_no_reason_to_conceal_a_publication() {
    let mut world = tagged_pair();
    world.run().await;
    world.later(10);
    world.push_foreign_as("latest", &["linux/amd64"]);
    world.move_to("amd64", "linux/amd64", "2");
    let report = world.run().await;
    assert!(report.events.contains(&"IndexPublished".into()), "{report:#?}");
    assert_eq!(world.named("latest"), world.named(TAG));
    world.assert_ready("True", "Succeeded");
}

/// The target is put back; what is right already is not pushed again.
#[tokio::test(start_paused = true)]
async fn only_the_tag_that_was_moved_is_written() {
    let mut world = tagged_pair();
    world.run().await;
    world.later(10);
    world.push_foreign(&["linux/amd64"]);
    world.request();
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.join(" ")), (1, "DriftCorrected".into()));
}

/// Our own news that could not be written are no move of something else.
#[rstest]
#[case::yields(TagPolicy::Yield)]
#[case::enforce(TagPolicy::Enforce)]
#[tokio::test(start_paused = true)]
async fn a_tag_whose_write_failed_is_written_later(#[case] policy: TagPolicy) {
    let mut world = with_platform_tags();
    world.spec.target.tag_policy = policy;
    world.spec.target.additional_tags = vec!["latest".into()];
    world.run().await;
    world.later(10);
    let moved = world.move_to("amd64", "linux/amd64", "2");
    let tags = ["1.0-amd64", "latest"];
    world.store.fail(
        move |request| request.method == "PUT" && tags.iter().any(|tag| request.of.ends_with(tag)),
        unavailable,
    );
    world.run().await;
    world.assert_ready("False", "PushFailed");
    assert_eq!(world.status.tags, ["1.0", "latest", "1.0-amd64", "1.0-arm64"]);
    assert_eq!(world.status.pending_tags.len(), 2);
    world.store.mend();
    world.later(10);
    let report = world.run().await;
    assert!(report.events.is_empty(), "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named("1.0-amd64"), Some(moved.digest));
    assert_eq!(world.named("latest"), world.named(TAG));
    assert!(world.status.pending_tags.is_empty());
    world.later(10);
    world.run().await.assert_idle(3 + 3);
}

/// A look that fails takes no tag away, and a move of it is still somebody's.
#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_be_looked_at_stays_ours() {
    let mut world = tagged_pair();
    world.spec.target.tag_policy = TagPolicy::Yield;
    world.run().await;
    world.later(10);
    world.fail("latest", unavailable);
    world.request();
    world.run().await;
    assert_eq!(world.status.tags, ["1.0", "latest", "1"]);
    world.store.mend();
    let theirs = world.push_foreign_as("latest", &["linux/amd64"]).digest;
    world.later(10);
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    assert_eq!(world.named("latest"), Some(theirs));
}

/// The operator was killed after it had tagged an image, and before it could say so.
#[tokio::test(start_paused = true)]
async fn a_tag_of_an_image_that_was_published_is_ours() {
    let mut world = World::published().await;
    world.edit(|spec| spec.target.platform_tags = Some("{tag}-{arch}".into()));
    let then = world.digests();
    world.store.tag(PATH, "1.0-amd64", &then[0]);
    // What names the image of another platform is not.
    world.store.tag(PATH, "1.0-arm64", &then[0]);
    let moved = world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    world.assert_stalled("TargetConflict");
    world.assert_message(&["1.0-arm64"]);
    assert_eq!(world.named("1.0-amd64"), Some(moved.digest));
    assert_eq!(world.named("1.0-arm64"), Some(then[0].clone()));
}

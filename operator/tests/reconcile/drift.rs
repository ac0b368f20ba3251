//! The tag is moved by something else, or the registry lags behind a push.

use std::time::Duration;

use multiarch_crds::condition::Type;
use multiarch_operator::error::Retry;
use rstest::rstest;

use crate::world::*;

#[rstest]
#[case::moved(false)]
#[case::deleted(true)]
#[tokio::test(start_paused = true)]
async fn drift_is_told_first_and_corrected_at_the_second_look(#[case] deleted: bool) {
    let mut world = World::published().await;
    let published = world.tagged();
    if deleted {
        world.store.delete_tag(PATH, TAG);
    } else {
        world.push_foreign(&["linux/amd64"]);
    }
    let report = world.run().await;
    report.assert_counts(3, 0, 0);
    assert_eq!(report.retry, Some(Retry::After(Duration::from_mins(1))));
    assert_eq!(report.events, ["DriftDetected"]);
    world.assert_ready("False", "DriftDetected");
    world.assert_reconciling("DriftDetected");
    world.assert_message(&[HOST, &image(TAG), published.as_ref().unwrap().digest().as_str()]);
    assert_eq!(world.condition(Type::Published).0, "True", "the index itself is whole");

    world.later(1);
    let report = world.run().await;
    assert_eq!(report.events, ["DriftCorrected"]);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), published);
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn a_request_corrects_at_once() {
    let mut world = World::published().await;
    let published = world.tagged();
    world.push_foreign(&["linux/amd64"]);
    world.request();
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 1);
    assert_eq!(report.events, ["DriftCorrected"]);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_behind_for_one_look_is_no_drift() {
    let mut world = World::published().await;
    let published = world.tagged().unwrap();
    world.store.delete_tag(PATH, TAG);
    world.run().await;
    world.store.tag(PATH, TAG, published.digest());
    world.later(1);
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.len()), (0, 0));
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn drift_with_more_platforms_would_shrink() {
    let mut world = World::published().await;
    let foreign = world.push_foreign(&["linux/amd64", "linux/s390x"]);
    world.run().await;
    world.later(1);
    world.run().await;
    world.assert_stalled("WouldShrink");
    world.assert_message(&["linux/s390x"]);
    assert_eq!(world.tagged().unwrap().digest(), &foreign.digest);
}

#[rstest]
#[case::free(false)]
#[case::ours(true)]
#[tokio::test(start_paused = true)]
async fn a_short_lag_is_waited_out(#[case] ours: bool) {
    let mut world = World::pair();
    if ours {
        world.run().await;
        world.later(10);
        world.move_to("amd64", "linux/amd64", "2");
    }
    world.lag(3);
    let report = world.run().await;
    assert!(report.events.contains(&"IndexPublished".into()));
    world.assert_ready("True", "Succeeded");
    assert_eq!(report.count("PUT"), 1);
}

#[rstest]
#[case::free(false)]
#[case::ours(true)]
#[tokio::test(start_paused = true)]
async fn a_long_lag_is_read_back_later_and_not_pushed_again(#[case] ours: bool) {
    let mut world = World::pair();
    if ours {
        world.run().await;
        world.later(10);
        world.move_to("amd64", "linux/amd64", "2");
    }
    let before = world.status.digest.clone();
    let pushed_at = world.now;
    world.lag(8);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 1);
    world.assert_ready("Unknown", "ReadingBack");
    world.assert_reconciling("ReadingBack");
    assert_eq!(report.retry, Some(Retry::Backoff));
    assert_eq!(world.status.digest, before, "not what was not read back");
    assert_eq!(world.condition(Type::Published).0, if ours { "True" } else { "False" });

    world.now += jiff::SignedDuration::from_secs(5);
    assert_eq!(world.run().await.count("PUT"), 0);
    world.assert_ready("Unknown", "ReadingBack");

    world.store.mend();
    world.lag(0);
    let (name, tag) = world.pushed_elsewhere();
    world.store.tag(PATH, &tag, &name);
    world.now += jiff::SignedDuration::from_secs(5);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");
    assert!(report.events.contains(&"IndexPublished".into()), "{:?}", report.events);
    assert_eq!(world.status.last_publish_time.as_ref().unwrap().0, pushed_at);
}

/// A registry that loses what is pushed: it is pushed again, but each two minutes and not each five seconds.
#[tokio::test(start_paused = true)]
async fn a_push_that_is_never_seen_is_repeated_each_two_minutes() {
    let mut world = World::pair();
    world.lag(usize::MAX);
    let mut puts = 0;
    for _ in 0..=120 {
        puts += world.run().await.count("PUT");
        world.assert_ready("Unknown", "ReadingBack");
        world.now += jiff::SignedDuration::from_secs(5);
    }
    // Ten minutes.
    assert_eq!(puts, 6);
}

/// Within two minutes of a push, what the tag named before is lag.
#[tokio::test(start_paused = true)]
async fn lag_after_a_success_is_no_drift() {
    let mut world = World::published().await;
    let old = world.tagged().unwrap();
    world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    let new = world.tagged().unwrap();
    world.store.tag(PATH, TAG, old.digest());
    world.later(1);
    world.run().await.assert_idle(3);
    world.store.tag(PATH, TAG, new.digest());
    world.later(1);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn a_read_back_of_something_else_is_told() {
    let mut world = World::pair();
    let foreign = world.foreign("linux/amd64");
    let rival = world.store.push_index(PATH, None, vec![foreign]);
    let (store, digest) = (world.store.clone(), rival.digest.clone());
    // Someone else wins the race, right after the push.
    let pushed = std::sync::atomic::AtomicBool::new(false);
    world.store.fail(
        move |request| {
            use std::sync::atomic::Ordering::SeqCst;
            if request.method == "PUT" {
                pushed.store(true, SeqCst);
            } else if request.of.ends_with(TAG) && pushed.load(SeqCst) {
                store.tag(PATH, TAG, &digest);
            }
            false
        },
        unavailable,
    );
    let report = world.run().await;
    world.assert_ready("False", "ReadBackMismatch");
    world.assert_reconciling("ReadBackMismatch");
    world.assert_message(&[rival.digest.as_str(), HOST]);
    assert_eq!(report.retry, Some(Retry::Backoff));
    assert_eq!(world.status.digest, None);
    assert_eq!(world.condition(Type::Published).0, "False");
    assert_eq!(world.status.last_publish_time.as_ref().unwrap().0, world.now, "it was pushed");
}

/// Pushed, and the registry fails to say so: the next run finds it, and tells it as published.
#[tokio::test(start_paused = true)]
async fn a_read_back_that_fails_is_made_up_for() {
    let mut world = World::pair();
    let pushed = std::sync::atomic::AtomicBool::new(false);
    world.store.fail(
        move |request| {
            use std::sync::atomic::Ordering::SeqCst;
            let after = pushed.load(SeqCst);
            pushed.fetch_or(request.method == "PUT", SeqCst);
            after
        },
        unavailable,
    );
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 1);
    assert_ne!(world.ready().0, "True");
    world.assert_message(&["503", HOST]);
    assert_eq!(world.status.last_publish_time.as_ref().unwrap().0, world.now, "it was pushed");
    world.store.mend();
    world.later(1);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");
    assert_eq!(report.events, ["IndexPublished"]);
}

/// Looks go on by HEAD alone while nothing but the lag is there.
#[tokio::test(start_paused = true)]
async fn a_lag_is_waited_out_by_heads_alone() {
    let mut world = World::pair();
    world.lag(usize::MAX);
    world.run().await;
    for _ in 0..3 {
        world.now += jiff::SignedDuration::from_secs(5);
        let report = world.run().await;
        report.assert_counts(3, 0, 0);
        assert!(!report.changed && report.events.is_empty(), "{report:#?}");
        world.assert_ready("Unknown", "ReadingBack");
    }
}

#[derive(Clone, Copy, Debug)]
enum News {
    Source,
    Edit,
    Request,
}

/// What was pushed is waited for; what came since is pushed at once.
#[rstest]
#[case::source(News::Source)]
#[case::edit(News::Edit)]
#[case::request(News::Request)]
#[tokio::test(start_paused = true)]
async fn a_lag_does_not_hide_news(#[case] news: News) {
    let mut world = World::published().await;
    world.move_to("amd64", "linux/amd64", "2");
    world.lag(5);
    world.run().await;
    world.assert_ready("Unknown", "ReadingBack");
    let pushed = world.status.pending_tags[0].digest.clone();
    world.now += jiff::SignedDuration::from_secs(5);
    match news {
        News::Source => drop(world.move_to("amd64", "linux/amd64", "3")),
        News::Edit => world.edit(|spec| spec.annotations = [("a".into(), "b".into())].into()),
        News::Request => world.request(),
    }
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 1, "{report:#?}");
    let awaited = world.status.pending_tags.first().and_then(|tag| tag.digest.clone());
    let digest = awaited.or(world.status.digest.clone());
    assert_eq!(digest == pushed, matches!(news, News::Request));
}

/// A rival that is quicker than the look after the push is a rival all the same.
#[rstest]
#[case::the_target(TAG)]
#[case::another("latest")]
#[tokio::test(start_paused = true)]
async fn a_rival_that_reverts_at_once_is_left_in_the_end(#[case] tag: &'static str) {
    let mut world = World::pair();
    world.spec.target.additional_tags = vec!["latest".into()];
    world.run().await;
    world.later(10);
    let rivals =
        ["linux/amd64", "linux/arm64"].map(|p| world.push_foreign_as("rival", &[p]).digest);
    let (store, pushes) = (world.store.clone(), std::sync::atomic::AtomicUsize::new(0));
    let of = format!("{PATH}:{tag}");
    world.store.fail(
        move |request| {
            use std::sync::atomic::Ordering::SeqCst;
            if request.of == of && request.method == "PUT" {
                pushes.fetch_add(1, SeqCst);
            } else if request.of == of {
                store.tag(PATH, tag, &rivals[pushes.load(SeqCst) % 2]);
            }
            false
        },
        unavailable,
    );
    let mut puts = 0;
    for _ in 0..10 {
        puts += world.run().await.count("PUT");
        world.later(1);
    }
    world.assert_stalled("DriftLoop");
    assert_eq!(puts, 3);
    world.assert_fixpoint().await;
}

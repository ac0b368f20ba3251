//! What `tagPolicy` says of a tag that something else has moved, or that had other content before.

use std::sync::Mutex;

use multiarch_crds::{
    condition::Type,
    v1alpha1::{RemovalPolicy, TagPolicy},
};
use multiarch_operator::registry::memory::Image;
use rstest::rstest;

use crate::world::*;

/// The pair, published under `policy`, and under `latest`, too.
async fn published(policy: TagPolicy) -> World {
    let mut world = World::pair();
    world.spec.target.tag_policy = policy;
    world.spec.target.additional_tags = vec!["latest".into()];
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world
}

/// Moves `tag`, and looks until it is put back.
async fn fight(world: &mut World, tag: &str) -> Report {
    world.push_foreign_as(tag, &["linux/amd64"]);
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    world.later(1);
    let report = world.run().await;
    world.later(5);
    report
}

/// Three corrections within an hour, and one more move.
async fn drift_loop(tag: &str) -> World {
    let mut world = published(TagPolicy::Enforce).await;
    for _ in 0..3 {
        assert_eq!(fight(&mut world, tag).await.events, ["DriftCorrected"]);
        world.assert_ready("True", "Succeeded");
    }
    let report = fight(&mut world, tag).await;
    assert_eq!((report.count("PUT"), report.events.join(" ")), (0, "Stalled".into()));
    world.assert_stalled("DriftLoop");
    world.assert_message(&[&image(tag), "three times", "requestedAt"]);
    assert_eq!(world.condition(Type::Published).0, "True");
    world
}

#[rstest]
#[case::the_target(TAG)]
#[case::another("latest")]
#[tokio::test(start_paused = true)]
async fn a_tag_that_is_moved_again_and_again_is_left(#[case] tag: &str) {
    let mut world = drift_loop(tag).await;
    // An outage changes nothing.
    world.fail("amd64", unavailable);
    world.run().await;
    world.store.mend();
    world.later(10);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    world.assert_stalled("DriftLoop");
    // By HEADs alone, also after a restart and after hours.
    for _ in 0..2 {
        world.later(90);
        world.run().await.assert_idle(4);
        world.restart();
    }
    assert_ne!(world.named(tag), world.status.digest.as_ref().map(|d| d.parse().unwrap()));
}

#[derive(Clone, Copy, Debug)]
enum End {
    Edit,
    Request,
    PutRight,
}

#[rstest]
#[case::edit(End::Edit, TAG)]
#[case::request(End::Request, TAG)]
#[case::put_right(End::PutRight, TAG)]
#[case::edit_another(End::Edit, "latest")]
#[case::request_another(End::Request, "latest")]
#[case::put_right_another(End::PutRight, "latest")]
#[tokio::test(start_paused = true)]
async fn a_loop_ends(#[case] end: End, #[case] tag: &str) {
    let mut world = drift_loop(tag).await;
    match end {
        End::Edit => world.edit(|spec| spec.annotations = [("a".into(), "b".into())].into()),
        End::Request => world.request(),
        End::PutRight => {
            let digest = world.status.digest.as_ref().unwrap().parse().unwrap();
            world.store.tag(PATH, tag, &digest);
        }
    }
    let report = world.run().await;
    let pushes = match end {
        End::Edit => 2,
        End::Request => 1,
        End::PutRight => 0,
    };
    assert_eq!(report.count("PUT"), pushes, "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named(tag), world.named("latest"));
    world.later(5);
    world.run().await.assert_idle(4);
    // A person who acted has the tag put back three times again.
    let report = fight(&mut world, tag).await;
    assert_eq!(report.count("PUT"), usize::from(!matches!(end, End::PutRight)), "{report:#?}");
}

#[rstest]
#[case::the_target(TAG)]
#[case::another("latest")]
#[tokio::test(start_paused = true)]
async fn own_changes_are_published_over_a_loop(#[case] tag: &str) {
    let mut world = drift_loop(tag).await;
    world.move_to("amd64", "linux/amd64", "2");
    let report = world.run().await;
    assert!(report.events.contains(&"IndexPublished".into()), "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named(tag), world.status.digest.as_ref().map(|d| d.parse().unwrap()));
}

/// Corrections are counted for an hour.
#[tokio::test(start_paused = true)]
async fn a_tag_that_is_moved_now_and_then_is_put_back_each_time() {
    let mut world = published(TagPolicy::Enforce).await;
    for _ in 0..5 {
        assert_eq!(fight(&mut world, TAG).await.events, ["DriftCorrected"]);
        world.later(30);
    }
}

#[rstest]
#[case::moved(TAG, false)]
#[case::deleted(TAG, true)]
#[case::another_moved("latest", false)]
#[case::another_deleted("latest", true)]
#[tokio::test(start_paused = true)]
async fn yield_leaves_a_tag_to_who_moved_it(#[case] tag: &str, #[case] deleted: bool) {
    let mut world = published(TagPolicy::Yield).await;
    let ours = world.named(TAG);
    if deleted {
        world.store.delete_tag(PATH, tag);
    } else {
        // With more platforms than ours: nothing of it would be lost, since nothing is written.
        world.push_foreign_as(tag, &["linux/amd64", "linux/s390x"]);
    }
    let theirs = world.named(tag);
    let report = world.run().await;
    assert_eq!((report.count("GET"), report.count("PUT")), (0, 0));
    assert_eq!(report.events, ["DriftDetected"]);
    world.assert_ready("False", "DriftDetected");
    world.assert_reconciling("DriftDetected");
    world.assert_message(&[&image(tag), "left so", "Yield"]);
    assert_eq!(world.condition(Type::Published).0, "True");
    world.later(10);
    world.run().await.assert_idle(4);
    world.restart();
    world.run().await.assert_idle(4);
    // A request is no change of ours, and neither is an outage.
    world.request();
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.len()), (0, 0), "{report:#?}");
    world.assert_ready("False", "DriftDetected");
    world.fail("amd64", unavailable);
    world.later(10);
    world.run().await;
    world.store.mend();
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 0);
    world.assert_ready("False", "DriftDetected");
    world.assert_message(&[&image(tag), "left so"]);
    assert_eq!(world.named(tag), theirs);
    assert_eq!(world.status.digest, ours.map(|digest| digest.to_string()));
    // What we change is published.
    world.edit(|spec| spec.removal_policy = RemovalPolicy::Remove);
    world.move_to("amd64", "linux/amd64", "2");
    let report = world.run().await;
    assert!(report.events.contains(&"IndexPublished".into()), "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named(tag), world.named(TAG));
    assert_ne!(world.named(tag), theirs);
}

/// A source's own change is enough, without any edit.
#[tokio::test(start_paused = true)]
async fn yield_publishes_what_a_source_changes() {
    let mut world = published(TagPolicy::Yield).await;
    world.push_foreign(&["linux/amd64"]);
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    world.later(10);
    world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_yields_is_ready_again_when_it_is_put_right() {
    let mut world = published(TagPolicy::Yield).await;
    let ours = world.named(TAG).unwrap();
    world.push_foreign(&["linux/amd64"]);
    world.run().await;
    world.store.tag(PATH, TAG, &ours);
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");
}

/// What others append is retained where our own change is published, and not before.
#[tokio::test(start_paused = true)]
async fn yield_and_retain() {
    let mut world = World::pair();
    world.spec.target.tag_policy = TagPolicy::Yield;
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.run().await;
    world.later(10);
    let theirs = world.push_foreign(&["linux/amd64", "linux/s390x"]).digest;
    for _ in 0..2 {
        world.fail("amd64", unavailable);
        world.run().await;
        world.store.mend();
        world.later(10);
        world.run().await;
        world.assert_ready("False", "DriftDetected");
        assert_eq!(world.named(TAG), Some(theirs.clone()));
        world.later(10);
    }
    world.move_to("arm64", "linux/arm64", "2");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);
}

#[tokio::test(start_paused = true)]
async fn immutable_adopts_equal_content() {
    let mut world = published(TagPolicy::Enforce).await;
    let ours = world.tagged();
    // Another object of the same content.
    world.status = multiarch_crds::v1alpha1::MultiArchImageStatus::default();
    world.edit(|spec| spec.target.tag_policy = TagPolicy::Immutable);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");
    assert_eq!((world.tagged(), world.status.tags.len()), (ours, 2));
    world.later(10);
    world.run().await.assert_idle(4);
}

#[rstest]
#[case::fewer(&["linux/amd64"])]
#[case::other(&["linux/amd64", "linux/arm64"])]
#[case::more(&["linux/amd64", "linux/arm64", "linux/s390x"])]
#[tokio::test(start_paused = true)]
async fn immutable_leaves_other_content(#[case] platforms: &[&str]) {
    let mut world = World::pair();
    world.spec.target.tag_policy = TagPolicy::Immutable;
    let theirs = world.push_foreign(platforms).digest;
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    world.assert_stalled("TagImmutable");
    world.assert_message(&[&image(TAG), theirs.as_str(), "another tag"]);
    assert_eq!(world.condition(Type::Published).0, "False");
    world.assert_fixpoint().await;
}

#[tokio::test(start_paused = true)]
async fn immutable_does_not_follow_its_sources() {
    let mut world = published(TagPolicy::Immutable).await;
    let ours = world.named(TAG);
    world.move_to("amd64", "linux/amd64", "2");
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    assert_eq!(report.events, ["SourceChanged"]);
    world.assert_ready("True", "TagImmutable");
    world.assert_message(&[&image(TAG), ours.as_ref().unwrap().as_str(), "Immutable"]);
    assert_eq!(world.condition(Type::Published).0, "True");
    assert_eq!(world.condition(Type::PlatformsComplete).0, "True");
    assert_eq!(world.status.tags, ["1.0", "latest"]);
    // The old amd64 is shown by nothing any more.
    for _ in 0..2 {
        world.later(10);
        let report = world.run().await;
        report.assert_idle(4);
        assert_eq!(report.children, 1);
        world.restart();
    }
    assert_eq!(world.named(TAG), ours);
    // Also where it would lose a platform.
    world.store.push_index(PATH, Some("arm64"), vec![world.foreign("linux/riscv64")]);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "TagImmutable");
    // It is put right: all is as it was published.
    world.push("amd64", "linux/amd64");
    world.push("arm64", "linux/arm64");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named(TAG), ours);
}

#[tokio::test(start_paused = true)]
async fn immutable_refuses_a_spec_with_other_content() {
    let mut world = published(TagPolicy::Immutable).await;
    let ours = world.named(TAG);
    world.edit(|spec| spec.annotations = [("a".into(), "b".into())].into());
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    world.assert_stalled("TagImmutable");
    world.assert_message(&[&image(TAG), "another tag"]);
    assert_eq!((world.condition(Type::Published).0, world.named(TAG)), ("True", ours.clone()));
    for _ in 0..2 {
        world.later(10);
        world.run().await.assert_idle(4);
        world.restart();
    }
    // A platform less is no reason to ask for another policy, which would not help.
    world.edit(|spec| {
        spec.annotations.clear();
        spec.sources.pop();
    });
    world.run().await;
    world.assert_stalled("TagImmutable");
    assert_eq!(world.named(TAG), ours);
    // The way that the message shows.
    world.edit(|spec| spec.target.image = image("1.1"));
    world.run().await;
    // `latest` has other content, too.
    world.assert_stalled("TagImmutable");
    world.assert_message(&[&image("latest")]);
    assert_eq!(world.condition(Type::Published).0, "True");
    assert!(world.named("1.1").is_some());
    world.edit(|spec| spec.target.additional_tags.clear());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named(TAG), ours);
}

#[rstest]
#[case::target_deleted(TAG, true)]
#[case::target_moved(TAG, false)]
#[case::another_deleted("latest", true)]
#[case::another_moved("latest", false)]
#[tokio::test(start_paused = true)]
async fn immutable_puts_back_what_is_deleted_alone(#[case] tag: &str, #[case] deleted: bool) {
    let mut world = published(TagPolicy::Immutable).await;
    let ours = world.named(TAG);
    if deleted {
        world.store.delete_tag(PATH, tag);
    } else {
        world.push_foreign_as(tag, &["linux/amd64", "linux/s390x"]);
    }
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    world.later(1);
    let report = world.run().await;
    if deleted {
        assert_eq!((report.count("PUT"), report.events.join(" ")), (1, "DriftCorrected".into()));
        world.assert_ready("True", "Succeeded");
        assert_eq!(world.named(tag), ours);
    } else {
        assert_eq!(report.count("PUT"), 0);
        world.assert_stalled("TagImmutable");
        world.assert_message(&[&image(tag)]);
        world.assert_fixpoint().await;
        world.later(10);
        world.store.tag(PATH, tag, &ours.unwrap());
        world.run().await;
        world.assert_ready("True", "Succeeded");
    }
    world.later(10);
    world.run().await.assert_idle(4);
}

/// While the sources go on, what was published stays under its other tags, too.
#[tokio::test(start_paused = true)]
async fn immutable_keeps_the_other_tags_while_its_sources_go_on() {
    let mut world = published(TagPolicy::Immutable).await;
    let ours = world.named(TAG);
    world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    world.assert_ready("True", "TagImmutable");
    world.later(10);
    world.store.delete_tag(PATH, "latest");
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    world.later(1);
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.join(" ")), (1, "DriftCorrected".into()));
    world.assert_ready("True", "TagImmutable");
    assert_eq!(world.named("latest"), ours);
    world.later(10);
    world.push_foreign_as("latest", &["linux/amd64"]);
    world.run().await;
    world.later(1);
    world.run().await;
    world.assert_stalled("TagImmutable");
    world.assert_message(&[&image("latest")]);
    world.assert_fixpoint().await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_may_protect_its_tags() {
    let mut world = published(TagPolicy::Enforce).await;
    let ours = world.named(TAG);
    world.store.protect();
    world.run().await.assert_idle(4);
    world.move_to("amd64", "linux/amd64", "2");
    let report = world.run().await;
    assert!(report.events.contains(&"Stalled".into()), "{report:#?}");
    world.assert_stalled("TagImmutable");
    world.assert_message(&[&image(TAG), "may not change there", "another tag"]);
    assert_eq!(world.named(TAG), ours);
    assert_eq!(world.condition(Type::Published).0, "True");
    world.assert_fixpoint().await;
    // The next version under another tag; `latest` is protected, too.
    world.edit(|spec| spec.target.image = image("1.1"));
    world.run().await;
    world.assert_stalled("TagImmutable");
    world.assert_message(&[&image("latest")]);
    assert_eq!(world.condition(Type::Published).0, "True");
    world.edit(|spec| spec.target.additional_tags.clear());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    // When it is let go, the old one is no concern of ours.
    world.store.mend();
    world.later(10);
    world.run().await.assert_idle(3);
    assert_eq!(world.named(TAG), ours);
}

/// Protection that ends is noticed within the interval.
#[tokio::test(start_paused = true)]
async fn a_tag_that_is_free_again_is_written() {
    let mut world = published(TagPolicy::Enforce).await;
    world.store.protect();
    world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    world.assert_stalled("TagImmutable");
    world.store.mend();
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.named("latest"), world.named(TAG));
}

/// What a registry refuses for another reason is not taken for protection.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_protection() {
    let mut world = published(TagPolicy::Enforce).await;
    world.store.fail(|request| request.method == "PUT", refuse(400));
    world.move_to("amd64", "linux/amd64", "2");
    world.run().await;
    world.assert_ready("False", "PushFailed");
    // Nor where there is no tag to be protected.
    let mut world = World::pair();
    world.store.fail(|r| r.method == "PUT" && r.of.ends_with(TAG), refuse(400));
    world.run().await;
    world.assert_ready("False", "PushFailed");
}

/// Another writer appends while our images are copied: it is looked at again, and nothing is lost.
#[rstest]
#[case::enforce(TagPolicy::Enforce)]
#[case::yields(TagPolicy::Yield)]
#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_during_the_copy_is_looked_at_again(#[case] policy: TagPolicy) {
    let mut world = World::pair();
    world.spec.target.tag_policy = policy;
    world.spec.removal_policy = RemovalPolicy::Retain;
    for source in &mut world.spec.sources {
        source.image = format!("{HOST}/ci/app:{}", source.name);
        world.store.push_image("ci/app", &source.name, &format!("linux/{}", source.name));
    }
    world.run().await;
    world.later(10);
    let new = Image::of("linux/amd64").salted("2");
    world.store.push("ci/app", Some("amd64"), &new);
    let rival = world.push_foreign_as("rival", &["linux/s390x"]).digest;
    let (store, once) = (world.store.clone(), Mutex::new(Some(rival.clone())));
    world.store.fail(
        move |request| {
            if request.noun == "mount"
                && let Some(rival) = once.lock().unwrap().take()
            {
                store.tag(PATH, TAG, &rival);
            }
            false
        },
        unavailable,
    );
    let report = world.run().await;
    world.assert_ready("Unknown", "Progressing");
    world.assert_reconciling("Progressing");
    world.assert_message(&[&image(TAG), rival.as_str(), "looking again"]);
    assert_eq!(report.count("PUT manifest team/app:1.0"), 0);
    assert_eq!(world.named(TAG), Some(rival));
    let report = world.run().await;
    assert!(report.events.contains(&"IndexPublished".into()), "{report:#?}");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Gone,
    Duplicate,
    Differ,
    Unusable,
    Fails,
}

/// A release stands whatever becomes of its sources; not so while that is unknown.
#[rstest]
#[case::gone(Turn::Gone)]
#[case::duplicate(Turn::Duplicate)]
#[case::differ(Turn::Differ)]
#[case::unusable(Turn::Unusable)]
#[case::fails(Turn::Fails)]
#[tokio::test(start_paused = true)]
async fn immutable_stands_whatever_its_sources_give(#[case] turn: Turn) {
    let mut world = World::pair();
    world.spec.target.tag_policy = TagPolicy::Immutable;
    world.spec.sources[0].platforms = vec!["linux/amd64".into()];
    if matches!(turn, Turn::Differ) {
        world.spec.equal_labels = vec!["commit".into()];
        for (tag, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64")] {
            let image = Image::of(platform).labelled("commit", "1");
            world.store.push(PATH, Some(tag), &image);
        }
    }
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let ours = world.named(TAG);
    world.later(10);
    match turn {
        Turn::Gone => {
            world.store.delete_tag(PATH, "amd64");
            world.move_to("arm64", "linux/arm64", "2");
        }
        Turn::Duplicate => drop(world.move_to("arm64", "linux/amd64", "2")),
        Turn::Differ => {
            let image = Image::of("linux/arm64").labelled("commit", "2");
            world.store.push(PATH, Some("arm64"), &image);
        }
        Turn::Unusable => drop(world.move_to("amd64", "linux/s390x", "2")),
        Turn::Fails => world.fail("amd64", unavailable),
    }
    world.run().await;
    if matches!(turn, Turn::Fails) {
        world.assert_ready("False", "RegistryUnreachable");
    } else {
        world.assert_ready("True", "TagImmutable");
        assert_eq!(world.condition(Type::Published).0, "True");
    }
    assert_eq!(world.named(TAG), ours);
    world.later(10);
    world.run().await;
    world.assert_fixpoint().await;
    // Moved by something else, it is no release any more.
    if matches!(turn, Turn::Duplicate) {
        world.push_foreign(&["linux/amd64"]);
        world.later(10);
        world.run().await;
        assert_ne!(world.ready().0, "True");
    }
}

//! Sources that are deleted after publication, and published images that are.

use multiarch_crds::{
    condition::Type,
    v1alpha1::{PublishPolicy, RemovalPolicy, SourceState},
};
use rstest::rstest;

use crate::world::*;

#[rstest]
#[case::complete(PublishPolicy::Complete, RemovalPolicy::Refuse)]
#[case::partial(PublishPolicy::Partial, RemovalPolicy::Refuse)]
#[case::retain(PublishPolicy::Complete, RemovalPolicy::Retain)]
#[case::remove_of_what_is_demanded(PublishPolicy::Complete, RemovalPolicy::Remove)]
#[tokio::test(start_paused = true)]
async fn a_source_that_is_cleaned_up_leaves_everything_as_it_is(
    #[case] publish: PublishPolicy,
    #[case] removal: RemovalPolicy,
) {
    let mut world = World::pair();
    world.spec.publish_policy = publish;
    world.spec.removal_policy = removal;
    world.run().await;
    let published = world.tagged();
    world.store.delete_tag(PATH, "arm64");

    world.later(10);
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    assert_eq!(report.events, ["SourceMissing"]);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::SourcesResolved).0, "False");
    assert_eq!(world.condition(Type::PlatformsComplete).0, "True");
    assert_eq!(world.source("arm64").state, SourceState::Missing);
    assert!(world.source("arm64").digest.is_some());
    world.later(10);
    let report = world.run().await;
    report.assert_idle(3);
    assert_eq!(report.children, 1);
    world.restart();
    world.run().await.assert_idle(3);
    assert_eq!(world.tagged(), published);

    // It comes back as it was.
    world.push("arm64", "linux/arm64");
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.events.len()), (0, 0));
    assert_eq!(world.condition(Type::SourcesResolved).0, "True");
    world.run().await.assert_idle(3);
}

#[rstest]
#[case::complete(PublishPolicy::Complete, RemovalPolicy::Refuse)]
#[case::partial(PublishPolicy::Partial, RemovalPolicy::Refuse)]
#[case::retain(PublishPolicy::Partial, RemovalPolicy::Retain)]
#[tokio::test(start_paused = true)]
async fn an_old_image_is_never_merged_with_new_ones(
    #[case] publish: PublishPolicy,
    #[case] removal: RemovalPolicy,
) {
    let mut world = World::pair();
    world.spec.publish_policy = publish;
    world.spec.removal_policy = removal;
    world.run().await;
    let published = world.tagged();
    world.store.delete_tag(PATH, "arm64");
    world.move_to("amd64", "linux/amd64", "2");
    world.later(10);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    world.assert_message(&[&image("arm64")]);
    assert_eq!(world.condition(Type::Published).0, "True");
    assert_eq!(world.condition(Type::PlatformsComplete).0, "True");
    assert_eq!(world.tagged(), published);
    world.later(10);
    let report = world.run().await;
    assert_eq!((report.count("GET"), report.changed), (0, false));
    world.restart();
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    assert_eq!(world.tagged(), published);

    world.move_to("arm64", "linux/arm64", "2");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_ne!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn first_gone_and_then_another_moves() {
    let mut world = World::published().await;
    let published = world.tagged();
    world.store.delete_tag(PATH, "arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.move_to("amd64", "linux/amd64", "2");
    world.later(10);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    assert_eq!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_gone_with_its_source_is_told() {
    let mut world = World::published().await;
    let published = world.tagged();
    let child = world.digests()[1].clone();
    world.store.delete_tag(PATH, "arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::Published).0, "True");
    world.store.delete_manifest(PATH, &child);
    world.later(10);
    world.run_dangling().await;
    world.assert_ready("False", "ChildMissing");
    world.assert_reconciling("ChildMissing");
    world.assert_message(&[child.as_str(), HOST]);
    assert_eq!(world.condition(Type::Published).0, "False", "its children are not all there");
    assert_eq!(world.tagged(), published, "the index is left alone");
    assert_eq!(world.status.digest, published.as_ref().map(|raw| raw.digest().to_string()));
    // The next look reads the sources, and counts them.
    for changed in [true, false] {
        world.later(10);
        let report = world.run_dangling().await;
        assert_eq!((report.count("PUT"), report.changed), (0, changed));
    }

    world.push("arm64", "linux/arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::Published).0, "True");
}

/// The child of a source that is gone while another one moved: waiting says so once, and goes on.
#[tokio::test(start_paused = true)]
async fn waiting_does_not_take_turns_with_a_gone_child() {
    let mut world = World::published().await;
    let child = world.digests()[1].clone();
    world.move_to("amd64", "linux/amd64", "2");
    world.store.delete_manifest(PATH, &child);
    world.run_dangling().await;
    let (reason, events) = (world.ready().1.to_owned(), world.status.clone());
    for _ in 0..3 {
        world.later(10);
        let report = world.run_dangling().await;
        assert_eq!(world.ready().1, reason);
        assert!(!report.changed, "{events:#?}\n{:#?}", world.status);
    }
}

#[rstest]
#[case::tag_deleted(false)]
#[case::tag_moved_to_an_index_without_it(true)]
#[tokio::test(start_paused = true)]
async fn a_kept_image_survives_the_loss_of_the_tag(#[case] moved: bool) {
    let mut world = World::published().await;
    world.store.delete_tag(PATH, "arm64");
    world.run().await;
    let published = world.tagged();
    if moved {
        world.push_foreign(&["linux/amd64"]);
    } else {
        world.store.delete_tag(PATH, TAG);
    }
    world.later(10);
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    world.later(1);
    world.run().await;
    assert_eq!(world.tagged(), published, "the tag is put back as it was, with linux/arm64");
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.run().await.assert_idle(3);
}

/// The registry's clean-up took the index with its tag: nothing is made of what is left.
#[tokio::test(start_paused = true)]
async fn a_kept_image_of_a_lost_index_holds() {
    let mut world = World::published().await;
    let published = world.tagged().unwrap();
    world.store.delete_tag(PATH, "arm64");
    world.run().await;
    world.store.delete_manifest(PATH, published.digest());
    for _ in 0..3 {
        world.later(10);
        world.run().await;
        assert!(world.tagged().is_none(), "published without linux/arm64");
    }
    world.assert_ready("Unknown", "WaitingForPlatforms");
    world.assert_message(&["linux/arm64", &image("arm64")]);
    world.push("arm64", "linux/arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), Some(published));
}

#[rstest]
#[case::refuse(RemovalPolicy::Refuse)]
#[case::retain(RemovalPolicy::Retain)]
#[case::remove(RemovalPolicy::Remove)]
#[tokio::test(start_paused = true)]
async fn a_kept_image_stays_before_a_foreign_one(#[case] removal: RemovalPolicy) {
    let mut world = World::pair();
    world.spec.removal_policy = removal;
    world.run().await;
    let published = world.tagged();
    world.store.delete_tag(PATH, "arm64");
    world.later(10);
    world.run().await;
    world.push_foreign(&["linux/amd64", "linux/arm64"]);
    world.request();
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), published);
}

#[rstest]
#[case::both(&["amd64-2", "arm64-2"])]
#[case::one(&["amd64", "arm64-2"])]
#[tokio::test(start_paused = true)]
async fn a_source_that_now_names_what_is_not_there_yet_is_awaited(#[case] tags: &[&str]) {
    let mut world = World::published().await;
    let published = world.tagged();
    world.edit(|spec| {
        for (source, tag) in spec.sources.iter_mut().zip(tags) {
            source.image = image(tag);
        }
    });
    for _ in 0..3 {
        let report = world.run().await;
        world.assert_ready("Unknown", "WaitingForPlatforms");
        world.assert_message(&[&image("arm64-2")]);
        assert!(!report.events.contains(&"SourceMissing".into()), "it was never there");
        world.restart();
        world.request();
        world.later(10);
    }
    assert_eq!(world.tagged(), published);
    world.move_to(tags[0], "linux/amd64", "2");
    world.move_to(tags[1], "linux/arm64", "2");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_ne!(world.tagged(), published);
}

/// As above, where the registry fails before it answers 404.
#[tokio::test(start_paused = true)]
async fn a_failure_between_does_not_make_a_new_reference_an_old_one() {
    let mut world = World::published().await;
    world.edit(|spec| spec.sources[1].image = image("arm64-2"));
    world.fail("arm64-2", unavailable);
    world.run().await;
    world.assert_ready("False", "RegistryUnreachable");
    world.store.mend();
    for _ in 0..2 {
        world.run().await;
        world.assert_ready("Unknown", "WaitingForPlatforms");
    }
}

/// The clean-up of tags must not turn every later edit of the spec into waiting.
#[tokio::test(start_paused = true)]
async fn an_edit_beside_a_source_that_is_gone_is_published() {
    let mut world = World::published().await;
    world.store.delete_tag(PATH, "arm64");
    world.run().await;
    for version in ["1", "2"] {
        world.edit(|spec| {
            spec.annotations.insert("version".into(), version.into());
        });
        world.later(10);
        world.run().await;
        world.assert_ready("True", "Succeeded");
        assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
        assert_eq!(world.index().annotations["version"], version);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_by_digest_that_is_gone_keeps_its_child_over_an_edit() {
    let mut world = World::pair();
    let pinned = world.move_to("x", "linux/s390x", "1");
    world.spec.sources.push(multiarch_crds::v1alpha1::Source {
        image: format!("{HOST}/{PATH}@{}", pinned.digest),
        ..source("s390x")
    });
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn remove_lets_go_after_a_404_and_never_after_a_failure() {
    let mut world = World::pair();
    world.spec.sources[1].optional = true;
    world.spec.removal_policy = RemovalPolicy::Remove;
    world.run().await;
    world.fail("arm64", unavailable);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    // Also when another one moves, and when the tag is lost.
    world.move_to("amd64", "linux/amd64", "2");
    world.later(10);
    world.run().await;
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    world.store.delete_tag(PATH, TAG);
    world.request();
    world.run().await;
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);

    world.store.mend();
    world.store.delete_tag(PATH, "arm64");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64"]);
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn partial_and_remove_let_a_demanded_source_go() {
    let mut world = World::pair();
    world.spec.publish_policy = PublishPolicy::Partial;
    world.spec.removal_policy = RemovalPolicy::Remove;
    world.run().await;
    world.store.delete_tag(PATH, "arm64");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "PublishedPartial");
    assert_eq!(world.platforms(), ["linux/amd64"]);
    assert_eq!(world.condition(Type::PlatformsComplete).0, "False");
}

#[tokio::test(start_paused = true)]
async fn an_optional_source_that_is_gone_keeps_its_child_beside_new_ones() {
    let mut world = World::pair();
    world.spec.sources[1].optional = true;
    world.run().await;
    world.store.delete_tag(PATH, "arm64");
    world.move_to("amd64", "linux/amd64", "2");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(world.status.platforms[1].source, "arm64");
    assert!(world.status.platforms[1].config_digest.is_some());
}

#[tokio::test(start_paused = true)]
async fn all_sources_gone_changes_nothing() {
    let mut world = World::published().await;
    let published = world.tagged();
    world.store.delete_tag(PATH, "arm64");
    world.store.delete_tag(PATH, "amd64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.run().await.assert_idle(3);
    world.edit(|_| {});
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), published);
}

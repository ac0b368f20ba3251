//! Images of the published index are looked for each interval, and put back by digest.

use multiarch_crds::{
    condition::Type,
    v1alpha1::{RemovalPolicy, TagPolicy},
};
use multiarch_operator::{error::Retry, oci::Digest, registry::memory::Image};
use rstest::rstest;

use crate::world::*;

const CI: &str = "ci/app";

/// Two sources of another repository, with attestations, and their index published.
async fn copied() -> World {
    let mut world = World::new(Vec::new());
    for arch in ["amd64", "arm64"] {
        let mut source = source(arch);
        source.image = format!("{HOST}/{CI}:{arch}");
        world.spec.sources.push(source);
        world.store.push_attested(CI, arch, &Image::of(&format!("linux/{arch}")));
    }
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world
}

/// Deletes an image of the target's repository with its blobs, as a clean-up does.
fn lose(world: &World, image: &Digest) {
    use multiarch_operator::oci::{Manifest, TagOrDigest};
    let manifest = world.store.manifest(PATH, &TagOrDigest::Digest(image.clone())).unwrap();
    if let Ok(Manifest::Image(image)) = manifest.parse() {
        for blob in image.layers.iter().chain([&image.config]) {
            world.store.delete_blob(PATH, &blob.digest);
        }
    }
    world.store.delete_manifest(PATH, image);
}

fn repaired(report: &Report) -> usize {
    report.events.iter().filter(|event| *event == "ChildRepaired").count()
}

#[tokio::test(start_paused = true)]
async fn each_image_and_attestation_is_looked_for() {
    let mut world = copied().await;
    for _ in 0..2 {
        let report = world.run().await;
        report.assert_idle(3);
        assert_eq!(report.children, 4, "two images, two attestations");
        world.restart();
        world.later(10);
    }
    // In the target's repository, the answer for a source shows its image.
    let mut world = World::published().await;
    assert_eq!(world.run().await.children, 0);
    // Of an index there, it shows the index.
    world.store.push_attested(PATH, "arm64", &Image::of("linux/arm64"));
    world.run().await;
    world.later(10);
    let report = world.run().await;
    report.assert_idle(3);
    assert_eq!(report.children, 2);
}

#[rstest]
#[case::an_image(0, 1)]
#[case::an_attestation(2, 1)]
#[tokio::test(start_paused = true)]
async fn what_is_gone_is_put_back(#[case] first: usize, #[case] count: usize) {
    let mut world = copied().await;
    let children = world.digests();
    for child in &children[first..first + count] {
        lose(&world, child);
    }
    let report = world.run().await;
    assert_eq!(repaired(&report), count);
    assert!(report.notes[0].contains(children[first].as_str()), "{report:#?}");
    assert_eq!(report.count("PUT manifest team/app:"), 0, "the index is left alone");
    assert!(!report.changed, "nothing else changed");
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn everything_is_gone_but_the_index() {
    let mut world = copied().await;
    for child in world.digests() {
        lose(&world, &child);
    }
    let report = world.run().await;
    assert_eq!(repaired(&report), 4);
    world.later(10);
    world.run().await.assert_idle(3);
}

/// By digest, so that the tags of the source need not be there any more.
#[rstest]
#[case::moved_on(true)]
#[case::missing(false)]
#[tokio::test(start_paused = true)]
async fn the_sources_tag_need_not_name_it_any_more(#[case] moved: bool) {
    let mut world = copied().await;
    let published = world.tagged();
    let image = world.digests()[0].clone();
    if moved {
        // Nothing new is published, since another platform is awaited.
        world.edit(|spec| spec.required_platforms = vec!["linux/s390x".into()]);
        world.store.push_attested(CI, "amd64", &Image::of("linux/amd64").salted("2"));
    } else {
        world.store.delete_tag(CI, "amd64");
    }
    world.run().await;
    let reason = world.ready().1.to_owned();
    world.later(10);
    lose(&world, &image);
    let report = world.run().await;
    assert_eq!(repaired(&report), 1, "{report:#?}");
    assert_eq!(world.ready().1, reason);
    assert_eq!(world.tagged(), published);
    world.assert_fixpoint().await;
}

/// The tag cannot be written while the index is not whole; both are mended in one go.
#[tokio::test(start_paused = true)]
async fn a_gone_image_and_a_moved_tag() {
    let mut world = copied().await;
    let published = world.tagged();
    let image = world.digests()[0].clone();
    world.push_foreign(&["linux/amd64"]);
    lose(&world, &image);
    let report = world.run().await;
    assert_eq!(repaired(&report), 1);
    world.later(1);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_back_is_missing_until_it_comes_back() {
    let mut world = copied().await;
    let children = world.digests();
    world.store.delete_tag(CI, "amd64");
    world.run().await;
    world.later(10);
    lose(&world, &children[0]);
    lose(&world, &children[1]);
    world.store.delete_manifest(CI, &children[0]);
    let report = world.run_dangling().await;
    assert_eq!(repaired(&report), 1, "the other one is put back");
    world.assert_ready("False", "ChildMissing");
    world.assert_reconciling("ChildMissing");
    world.assert_message(&[children[0].as_str(), &format!("{HOST}/{PATH}"), "push that image"]);
    assert_eq!(report.retry, Some(Retry::Backoff));
    assert_eq!(world.condition(Type::Published).0, "False");
    world.later(10);
    world.run_dangling().await;
    world.later(10);
    let report = world.run_dangling().await;
    assert!(!report.changed && report.events.is_empty(), "{report:#?}");
    // Someone pushes it again, to the source's repository.
    world.store.push_attested(CI, "back", &Image::of("linux/amd64"));
    let report = world.run().await;
    assert_eq!(repaired(&report), 1);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::Published).0, "True");
}

/// Gone is known, and where it would come from is not: the index is not whole until that is.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_back_now_is_missing_too() {
    let mut world = copied().await;
    let image = world.digests()[0].clone();
    lose(&world, &image);
    world.store.fail(|r| r.method == "GET" && r.of.starts_with(CI), rate_limited);
    let report = world.run_dangling().await;
    world.assert_ready("False", "ChildMissing");
    world.assert_message(&[image.as_str(), "429", "could not be put back"]);
    assert!(matches!(report.retry, Some(Retry::After(_))));
    assert_eq!(world.condition(Type::Published).0, "False");
    world.later(10);
    let report = world.run_dangling().await;
    world.assert_ready("False", "ChildMissing");
    assert!(report.events.is_empty(), "{report:#?}");
    world.store.mend();
    world.later(10);
    let report = world.run().await;
    assert_eq!(repaired(&report), 1);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::Published).0, "True");
}

/// A registry that does not answer tells nothing of the images.
#[tokio::test(start_paused = true)]
async fn an_outage_is_no_loss() {
    let mut world = copied().await;
    world.store.fail(|r| r.of.starts_with(&format!("{PATH}@")), unavailable);
    world.run().await;
    world.assert_ready("False", "RegistryUnreachable");
    assert_eq!(world.condition(Type::Published).0, "True");
    world.store.mend();
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[derive(Clone, Copy, Debug)]
enum Hold {
    Waiting,
    Denied,
    Failed,
    WouldShrink,
    Immutable,
    Yield,
}

/// Whatever holds the object: a published image that is gone is told, stays told, and what holds
/// the object is told again when it is back.
#[rstest]
#[case::waiting(Hold::Waiting, "WaitingForPlatforms")]
#[case::denied(Hold::Denied, "WaitingForPlatforms")]
#[case::failed(Hold::Failed, "RegistryUnreachable")]
#[case::would_shrink(Hold::WouldShrink, "WouldShrink")]
#[case::immutable(Hold::Immutable, "TagImmutable")]
#[case::yields(Hold::Yield, "DriftDetected")]
#[tokio::test(start_paused = true)]
async fn nothing_hides_a_gone_image(#[case] hold: Hold, #[case] reason: &str) {
    let mut world = copied().await;
    let image = world.digests()[0].clone();
    match hold {
        Hold::Waiting => world.edit(|spec| spec.sources.push(source("late"))),
        Hold::Denied => {
            world.fail("late", denied);
            world.edit(|spec| spec.sources.push(source("late")));
        }
        Hold::Failed => {
            world.edit(|spec| spec.sources.push(source("late")));
            world.fail("late", unavailable);
        }
        Hold::WouldShrink => world.edit(|spec| {
            spec.sources.pop();
        }),
        Hold::Immutable => {
            world.edit(|spec| spec.target.tag_policy = TagPolicy::Immutable);
            world.run().await;
            world.store.push_attested(CI, "arm64", &Image::of("linux/arm64").salted("2"));
        }
        Hold::Yield => {
            world.edit(|spec| spec.target.tag_policy = TagPolicy::Yield);
            world.run().await;
            world.push_foreign(&["linux/amd64"]);
        }
    }
    for _ in 0..3 {
        world.later(10);
        world.run().await;
    }
    assert_eq!(world.ready().1, reason, "{}", world.ready().2);
    lose(&world, &image);
    world.store.delete_manifest(CI, &image);
    let mut changed = Vec::new();
    for _ in 0..5 {
        world.later(10);
        let report = world.run_dangling().await;
        assert_eq!(world.ready().1, "ChildMissing", "{}", world.ready().2);
        assert_eq!(world.condition(Type::Published).0, "False");
        changed.push(report.changed);
    }
    assert_eq!(changed[2..], [false; 3], "it does not change from run to run");
    world.store.push_attested(CI, "back", &Image::of("linux/amd64"));
    for _ in 0..2 {
        world.later(10);
        world.run().await;
        assert_eq!(world.ready().1, reason, "{}", world.ready().2);
        assert_eq!(world.condition(Type::Published).0, "True");
    }
}

/// For two minutes after a push, absence is a replica that is behind.
#[tokio::test(start_paused = true)]
async fn an_image_that_lags_is_not_missing() {
    let mut world = copied().await;
    world.store.push_attested(CI, "amd64", &Image::of("linux/amd64").salted("2"));
    world.run().await;
    let image = world.digests()[0].clone();
    let away = image.clone();
    let store = world.store.clone();
    world.store.fail(
        move |request| {
            if request.of.ends_with(away.as_str()) {
                store.delete_manifest(PATH, &away);
            }
            false
        },
        unavailable,
    );
    world.later(1);
    world.run().await.assert_idle(3);
    world.store.mend();
    world.later(5);
    world.run().await.assert_idle(3);
}

/// A retained image has no source to come back from.
#[tokio::test(start_paused = true)]
async fn a_retained_image_that_is_gone() {
    let mut world = copied().await;
    let theirs = world.foreign("linux/s390x");
    world.edit(|spec| spec.removal_policy = RemovalPolicy::Retain);
    world.store.push_index(PATH, Some(TAG), vec![theirs.clone()]);
    world.request();
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms().len(), 3);
    world.later(10);
    let report = world.run().await;
    report.assert_idle(3);
    assert_eq!(report.children, 5);
    world.store.delete_manifest(PATH, &theirs.digest);
    world.run_dangling().await;
    world.assert_ready("False", "ChildMissing");
    world.assert_message(&[theirs.digest.as_str()]);
    assert_eq!(world.condition(Type::Published).0, "False");
    // Nor is it published in a new index.
    world.store.push_attested(CI, "amd64", &Image::of("linux/amd64").salted("2"));
    world.later(10);
    world.run_dangling().await;
    world.assert_ready("False", "ChildMissing");
    let back = world.foreign("linux/s390x");
    assert_eq!(back.digest, theirs.digest);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms().len(), 3);
}

/// What something else appended is gone already: it is not taken over, and ours is whole.
#[tokio::test(start_paused = true)]
async fn a_foreign_image_that_is_gone_is_never_listed() {
    let mut world = copied().await;
    let ours = world.tagged();
    world.edit(|spec| spec.removal_policy = RemovalPolicy::Retain);
    let theirs = world.push_foreign(&["linux/s390x"]).digest;
    let image = world.foreign("linux/s390x").digest;
    world.store.delete_manifest(PATH, &image);
    for _ in 0..3 {
        let report = world.run_dangling().await;
        assert_eq!(report.count("PUT manifest team/app:"), 0);
        world.assert_ready("False", "ChildMissing");
        world.assert_message(&[image.as_str()]);
        assert_eq!(world.named(TAG), Some(theirs.clone()));
        assert_eq!(world.condition(Type::Published).0, "True", "what we published is whole");
        assert_eq!(world.status.digest, ours.as_ref().map(|raw| raw.digest().to_string()));
        world.later(10);
    }
}

/// Told also where more must be read for another reason in the same run.
#[tokio::test(start_paused = true)]
async fn what_was_put_back_is_told_whatever_comes_after() {
    let mut world = copied().await;
    world.push_foreign(&["linux/amd64"]);
    lose(&world, &world.digests_of_status()[0]);
    world.request();
    let report = world.run().await;
    assert_eq!(report.events, ["DriftCorrected", "ChildRepaired"]);
    world.assert_ready("True", "Succeeded");
}

/// A tag of an image shows it only while it names it.
#[tokio::test(start_paused = true)]
async fn an_image_whose_tag_was_moved_is_looked_for() {
    let mut world = copied().await;
    world.edit(|spec| {
        spec.target.tag_policy = TagPolicy::Yield;
        spec.target.platform_tags = Some("{tag}-{arch}".into());
    });
    world.run().await;
    world.later(10);
    let report = world.run().await;
    report.assert_idle(3 + 2);
    assert_eq!(report.children, 2, "the attestations");
    world.push_foreign_as("1.0-amd64", &["linux/amd64"]);
    world.run().await;
    world.assert_ready("False", "DriftDetected");
    world.later(10);
    let report = world.run().await;
    report.assert_idle(3 + 2);
    assert_eq!(report.children, 3);
    lose(&world, &world.digests()[0]);
    world.later(10);
    assert_eq!(repaired(&world.run().await), 1);
}

//! Platforms that the tag's index has and no source provides: Refuse, Retain, Remove.

use multiarch_crds::v1alpha1::RemovalPolicy;
use multiarch_operator::{
    oci::{Index, Platform},
    registry::memory::Image,
};
use rstest::rstest;

use crate::world::*;

#[tokio::test(start_paused = true)]
async fn a_platform_that_would_vanish_is_refused() {
    let mut world = World::published().await;
    let published = world.tagged();
    world.edit(|spec| {
        spec.sources.pop();
    });
    world.run().await;
    world.assert_stalled("WouldShrink");
    world.assert_message(&["linux/arm64", "Retain", "Remove"]);
    assert_eq!(world.tagged(), published);
    world.later(10);
    world.run().await.assert_idle(2);
    world.edit(|spec| spec.removal_policy = RemovalPolicy::Remove);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_turns_into_another_platform_would_shrink() {
    let mut world = World::published().await;
    world.move_to("arm64", "linux/s390x", "wrong");
    world.run().await;
    world.assert_stalled("WouldShrink");
    world.assert_message(&["linux/arm64"]);
    world.later(10);
    world.run().await.assert_idle(3);
    world.push("arm64", "linux/arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn platforms_of_something_elses_index_are_refused_and_retained() {
    let mut world = World::pair();
    let foreign = world.push_foreign(&["linux/arm64", "linux/ppc64le", "linux/s390x"]);
    world.run().await;
    world.assert_stalled("WouldShrink");
    world.assert_message(&["linux/ppc64le, linux/s390x"]);
    assert!(!world.ready().2.contains("arm64"));
    assert_eq!(world.tagged().unwrap().digest(), &foreign.digest);

    // What a foreign tag names is not remembered: it is looked at anew.
    world.push_foreign(&["linux/arm64", "linux/s390x"]);
    world.later(10);
    world.run().await;
    world.assert_stalled("WouldShrink");
    world.assert_message(&["linux/s390x"]);
    assert!(!world.ready().2.contains("ppc64le"));

    world.edit(|spec| spec.removal_policy = RemovalPolicy::Retain);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);
    let named: Vec<_> = world.status.platforms.iter().map(|p| p.source.as_str()).collect();
    assert_eq!(named, ["amd64", "arm64", ""]);
    world.later(10);
    world.run().await.assert_idle(3);

    // It is never there twice, however often sources change.
    for salt in ["2", "3"] {
        world.move_to("amd64", "linux/amd64", salt);
        world.later(10);
        world.run().await;
        world.assert_ready("True", "Succeeded");
        assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);
    }
}

/// A draft of one image and its attestation has as many descriptors as a plan of two images.
#[tokio::test(start_paused = true)]
async fn what_is_retained_beside_an_attested_image_stays() {
    let mut world = World::new(vec![source("amd64")]);
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.store.push_attested(PATH, "amd64", &Image::of("linux/amd64"));
    world.push_foreign(&["linux/arm64"]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(world.index().manifests.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_keeps_its_attestation() {
    let mut world = World::new(vec![source("amd64")]);
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.push("amd64", "linux/amd64");
    let foreign = world.store.push_attested(PATH, TAG, &Image::of("linux/arm64"));
    let before = world.index();
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(&world.index().manifests[1..], before.manifests, "{foreign:?}");
}

#[rstest]
#[case::deleted(false)]
#[case::moved(true)]
#[tokio::test(start_paused = true)]
async fn what_was_retained_survives_the_loss_of_the_tag(#[case] moved: bool) {
    let mut world = World::pair();
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.push_foreign(&["linux/s390x"]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
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
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn a_raised_tag_starts_anew() {
    let mut world = World::pair();
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.push_foreign(&["linux/s390x"]);
    world.run().await;
    world.edit(|spec| spec.target.image = image("2.0"));
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.platforms.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_replaces_what_the_tag_has_of_its_platform_in_other_words() {
    let mut world = World::new(vec![source("arm64")]);
    world.push("arm64", "linux/arm64");
    let foreign = world.foreign("linux/arm64/v8");
    world.store.push_index(PATH, Some(TAG), vec![foreign]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/arm64"]);
    assert_eq!(world.tagged(), world.store.tagged(PATH, "arm64"));
}

#[rstest]
#[case::refuse(RemovalPolicy::Refuse)]
#[case::retain(RemovalPolicy::Retain)]
#[case::remove(RemovalPolicy::Remove)]
#[tokio::test(start_paused = true)]
async fn a_single_image_at_the_tag(#[case] removal: RemovalPolicy) {
    let mut world = World::new(vec![source("amd64")]);
    world.spec.removal_policy = removal;
    world.push("amd64", "linux/amd64");
    world.push(TAG, "linux/s390x");
    world.run().await;
    match removal {
        RemovalPolicy::Refuse => {
            world.assert_stalled("WouldShrink");
            world.assert_message(&["linux/s390x"]);
        }
        RemovalPolicy::Retain => {
            world.assert_ready("True", "Succeeded");
            assert_eq!(world.platforms(), ["linux/amd64", "linux/s390x"]);
        }
        RemovalPolicy::Remove => {
            world.assert_ready("True", "Succeeded");
            assert_eq!(world.platforms(), ["linux/amd64"]);
        }
    }
}

/// As a pipeline does that pushed its image straight to the tag before.
#[rstest]
#[case::mirrored(None, 0)]
#[case::declared(Some("linux/amd64"), 1)]
#[tokio::test(start_paused = true)]
async fn a_single_image_at_the_tag_of_a_platform_that_a_source_has(
    #[case] platform: Option<&str>,
    #[case] puts: usize,
) {
    let mut world = World::new(vec![source("amd64")]);
    world.spec.sources[0].platforms = platform.into_iter().map(ToOwned::to_owned).collect();
    world.push("amd64", "linux/amd64");
    let image = world.push(TAG, "linux/amd64");
    assert_eq!(world.run().await.count("PUT"), puts);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64"]);
    let is_image = world.tagged().unwrap().digest() == &image.digest;
    assert_eq!(is_image, puts == 0, "a source that is declared makes an index");
}

fn artifact(world: &World) {
    let artifact = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.sbom",
        "config": world.store.push_blob(PATH, "application/vnd.oci.empty.v1+json", "{}".into()),
        "layers": [],
    });
    let raw = multiarch_operator::oci::RawManifest::new(
        "application/vnd.oci.image.manifest.v1+json",
        artifact.to_string().into(),
    );
    world.store.push_manifest(PATH, Some(TAG), &raw);
}

fn empty_index(world: &World) {
    world.store.push_index(PATH, Some(TAG), Vec::new());
}

/// One of the two says no platform: whether it is one that must stay cannot be told.
fn half_told(world: &World) {
    let mut silent = world.foreign("linux/s390x");
    silent.platform = None;
    world.store.push_index(PATH, Some(TAG), vec![world.foreign("linux/amd64"), silent]);
}

fn nameless(world: &World) {
    let mut nameless = world.foreign("linux/s390x");
    nameless.platform = Some(Platform { architecture: "s390x".into(), ..Platform::default() });
    world.store.push_index(PATH, Some(TAG), vec![nameless]);
}

fn no_manifest(world: &World) {
    let raw = multiarch_operator::oci::RawManifest::new("application/x", "{}".into());
    world.store.push_manifest(PATH, Some(TAG), &raw);
}

#[rstest]
#[case::artifact(artifact)]
#[case::empty_index(empty_index)]
#[case::half_told(half_told)]
#[case::nameless(nameless)]
#[case::no_manifest(no_manifest)]
#[tokio::test(start_paused = true)]
async fn what_has_no_platform_is_replaced_only_if_told_so(#[case] push: fn(&World)) {
    for removal in [RemovalPolicy::Refuse, RemovalPolicy::Retain] {
        let mut world = World::pair();
        push(&world);
        let before = world.tagged();
        world.spec.removal_policy = removal;
        world.run().await;
        world.assert_stalled("UnsupportedContent");
        world.assert_message(&["removalPolicy: Remove"]);
        assert_eq!(world.tagged(), before);
    }
    let mut world = World::pair();
    push(&world);
    world.spec.removal_policy = RemovalPolicy::Remove;
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
}

/// Retained platforms count for what is required, and what another tool adds is seen.
#[tokio::test(start_paused = true)]
async fn a_required_platform_may_come_by_the_tag() {
    let mut world = World::new(vec![source("amd64")]);
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.spec.required_platforms = vec!["linux/s390x".into()];
    world.push("amd64", "linux/amd64");
    let amd64 = world.foreign("linux/amd64");
    world.store.push_index(PATH, Some(TAG), vec![amd64.clone()]);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    world.assert_message(&["linux/s390x"]);
    world.store.push_index(PATH, Some(TAG), vec![amd64, world.foreign("linux/s390x")]);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/s390x"]);
}

#[tokio::test(start_paused = true)]
async fn more_children_than_an_index_may_have() {
    let mut world = World::new(vec![source("amd64")]);
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.push("amd64", "linux/amd64");
    let children = (0..128).map(|n| {
        let platform = format!("windows(10.0.{n})/amd64");
        multiarch_operator::oci::Descriptor {
            platform: Some(platform.parse().unwrap()),
            ..world.move_to("x", "windows/amd64", &platform)
        }
    });
    let index = Index::new(children.collect(), std::collections::BTreeMap::default()).to_raw();
    world.store.push_manifest(PATH, Some(TAG), &index);
    world.run().await;
    world.assert_stalled("TooManyPlatforms");
    world.assert_message(&["129", "128"]);
    assert_eq!(world.tagged(), Some(index));
}

#[tokio::test(start_paused = true)]
async fn more_bytes_than_registries_take() {
    let mut world = World::new(vec![source("amd64")]);
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.push("amd64", "linux/amd64");
    let mut retained = world.foreign("linux/s390x");
    retained.annotations.insert("com.example.long".into(), "x".repeat(4 << 20));
    world.store.push_index(PATH, Some(TAG), vec![retained]);
    let before = world.tagged();
    world.run().await;
    world.assert_stalled("UnsupportedContent");
    world.assert_message(&["more than the 4194304", "annotations"]);
    assert_eq!(world.tagged(), before);
}

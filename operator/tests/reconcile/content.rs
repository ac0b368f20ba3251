//! What sources name: images, indexes of one image, and what cannot be used.

use std::collections::BTreeMap;

use multiarch_crds::v1alpha1::{PlatformPolicy, Source, SourceState};
use multiarch_operator::{
    oci::{Descriptor, Digest, Index, RawManifest, media_type},
    registry::memory::Image,
};
use rstest::rstest;
use serde_json::json;

use crate::world::*;

#[tokio::test(start_paused = true)]
async fn a_wrong_platform_publishes_nothing_and_names_both() {
    let mut world = World::new(vec![source("amd64"), declared("arm64", "linux/arm64")]);
    world.push("amd64", "linux/amd64");
    world.push("arm64", "linux/s390x");
    let report = world.run().await;
    world.assert_stalled("PlatformMismatch");
    world.assert_message(&["linux/arm64", "linux/s390x", &image("arm64")]);
    assert_eq!(report.events, ["PlatformMismatch"]);
    assert_eq!(world.tagged(), None);
    assert_eq!(world.source("arm64").state, SourceState::PlatformMismatch);
    world.later(10);
    world.run().await.assert_idle(2);
    world.push("arm64", "linux/arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_published_index_stays_while_a_source_is_wrong() {
    let mut world = World::published().await;
    world.edit(|spec| spec.sources[1].platforms = vec!["linux/arm64".into()]);
    world.run().await;
    let published = world.tagged();
    world.move_to("arm64", "linux/arm", "wrong");
    world.later(10);
    world.run().await;
    world.assert_stalled("PlatformMismatch");
    assert_eq!(world.tagged(), published);
    world.later(10);
    world.run().await.assert_idle(3);
}

/// A source that is optional may be wrong: the others are published, and its child stays.
#[tokio::test(start_paused = true)]
async fn a_wrong_optional_source_holds_nothing() {
    let mut world = World::new(vec![
        source("amd64"),
        Source { optional: true, ..declared("arm64", "linux/arm64") },
    ]);
    world.push("amd64", "linux/amd64");
    world.push("arm64", "linux/s390x");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64"]);
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn two_sources_of_one_platform_are_refused_and_named() {
    let mut world = World::pair();
    world.push("arm64", "linux/amd64/v1");
    world.run().await;
    world.assert_stalled("DuplicatePlatform");
    world.assert_message(&["amd64", "arm64", "linux/amd64"]);
    assert_eq!(world.tagged(), None);
    let states: Vec<_> = world.status.sources.iter().map(|source| source.state).collect();
    assert_eq!(states, [SourceState::Conflict; 2]);
    assert_eq!(world.condition(multiarch_crds::condition::Type::SourcesResolved).0, "False");
    world.later(10);
    world.run().await.assert_idle(2);
    world.push("arm64", "linux/arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(world.status.sources.iter().all(|source| source.state == SourceState::Resolved));
}

#[rstest]
#[case::fixes_a_wrong_config("linux/s390x")]
#[case::spells_it_otherwise("linux/aarch64")]
#[tokio::test(start_paused = true)]
async fn trust_publishes_the_users_word(#[case] word: &str) {
    let trusted = Source {
        platforms: vec![word.into()],
        platform_policy: PlatformPolicy::Trust,
        ..source("b")
    };
    let mut world = World::new(vec![source("amd64"), trusted]);
    world.push("amd64", "linux/amd64");
    world.push("b", "linux/ppc64le");
    world.run().await.assert_counts(1, 4, 1);
    world.assert_ready("True", "Succeeded");
    let expected: multiarch_operator::oci::Platform = word.parse().unwrap();
    assert_eq!(world.platforms()[1], expected.to_string());
    assert_eq!(world.status.platforms[1].config_digest, None, "it was not read");
    world.later(10);
    world.run().await.assert_idle(3);
}

fn manifest(world: &World, document: &serde_json::Value) -> Descriptor {
    let media_type = document["mediaType"].as_str().unwrap().to_owned();
    let raw = RawManifest::new(&media_type, document.to_string().into());
    world.store.push_manifest(PATH, Some("x"), &raw)
}

fn artifact(world: &World) {
    let config = world.store.push_blob(PATH, "application/vnd.oci.empty.v1+json", "{}".into());
    manifest(
        world,
        &json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "artifactType": "application/vnd.example.chart", "config": config, "layers": [],
        }),
    );
}

fn silent_config(world: &World) {
    let config = world.store.push_blob(PATH, media_type::OCI_CONFIG, r#"{"os":"linux"}"#.into());
    manifest(
        world,
        &json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [],
        }),
    );
}

fn of(world: &World, platforms: &[&str]) {
    let children = platforms.iter().map(|platform| world.foreign(platform)).collect();
    world.store.push_index(PATH, Some("x"), children);
}

fn nested_twice(world: &World) {
    let inner = world.store.push_index(PATH, None, vec![world.foreign("linux/amd64")]);
    let middle = world.store.push_index(PATH, None, vec![inner]);
    world.store.push_index(PATH, Some("x"), vec![middle]);
}

/// Its child is an image that is listed as an index.
fn no_index(world: &World) {
    let child = world.foreign("linux/amd64");
    let child = Descriptor { media_type: media_type::OCI_INDEX.into(), ..child };
    world.store.push_index(PATH, Some("x"), vec![child]);
}

fn without_platform(world: &World) {
    let child = Descriptor { platform: None, ..world.foreign("linux/amd64") };
    world.store.push_index(PATH, Some("x"), vec![child]);
}

fn lying(world: &World) {
    let lie = Some("linux/arm64".parse().unwrap());
    let child = Descriptor { platform: lie, ..world.foreign("linux/amd64") };
    world.store.push_index(PATH, Some("x"), vec![child]);
}

fn no_document(world: &World) {
    let raw = RawManifest::new(media_type::OCI_MANIFEST, "[]".into());
    world.store.push_manifest(PATH, Some("x"), &raw);
}

#[rstest]
#[case::artifact(artifact, SourceState::Unsupported, "UnsupportedContent", &["application/vnd.example.chart", "Trust"])]
#[case::silent_config(silent_config, SourceState::Invalid, "UnsupportedContent", &["architecture"])]
#[case::none(|w: &World| of(w, &[]), SourceState::Unsupported, "UnsupportedContent", &["without an image"])]
#[case::nested_twice(nested_twice, SourceState::Unsupported, "UnsupportedContent", &["sha256:", "more than one level"])]
#[case::no_index(no_index, SourceState::Unsupported, "UnsupportedContent", &["as an index, which it is not"])]
#[case::without_platform(without_platform, SourceState::Unsupported, "UnsupportedContent", &["without a platform", "sha256:"])]
#[case::lying(lying, SourceState::PlatformMismatch, "PlatformMismatch", &["linux/arm64", "linux/amd64"])]
#[case::no_document(no_document, SourceState::Unsupported, "UnsupportedContent", &["not a valid manifest"])]
#[tokio::test(start_paused = true)]
async fn content_that_cannot_be_used(
    #[case] push: fn(&World),
    #[case] state: SourceState,
    #[case] reason: &str,
    #[case] words: &[&str],
) {
    let mut world = World::new(vec![source("a"), source("x")]);
    world.push("a", "linux/s390x");
    push(&world);
    world.run().await;
    world.assert_stalled(reason);
    world.assert_message(&[&image("x"), "source x"]);
    world.assert_message(words);
    assert_eq!(world.source("x").state, state);
    assert_eq!(world.tagged(), None);
}

#[tokio::test(start_paused = true)]
async fn several_platforms_for_a_single_image() {
    let mut world = World::new(vec![Source {
        platforms: vec!["linux/amd64".into(), "linux/arm64".into()],
        ..source("x")
    }]);
    world.push("x", "linux/amd64");
    world.run().await;
    world.assert_stalled("PlatformMismatch");
    world.assert_message(&["single image", "2 platforms"]);
}

#[rstest]
#[case::silent(None, "True", "Succeeded")]
#[case::declared(Some("linux/amd64"), "True", "Succeeded")]
#[case::declared_otherwise(Some("linux/arm64"), "False", "PlatformMismatch")]
#[tokio::test(start_paused = true)]
async fn what_buildx_makes(
    #[case] platform: Option<&str>,
    #[case] status: &str,
    #[case] reason: &str,
) {
    let platforms = platform.into_iter().map(ToOwned::to_owned).collect();
    let mut world = World::new(vec![Source { platforms, ..source("x") }]);
    let source = world.store.push_attested(PATH, "x", &Image::of("linux/amd64"));
    world.run().await;
    world.assert_ready(status, reason);
    if status == "True" {
        // The image and, after it, its attestation; byte for byte what the source is.
        assert_eq!(world.tagged().unwrap().digest(), &source.digest);
        assert_eq!(world.status.platforms.len(), 1);
        assert_eq!(world.source("x").digest, Some(source.digest.to_string()));
        world.later(10);
        world.run().await.assert_idle(2);
    } else {
        assert_eq!(world.tagged(), None);
        world.assert_message(&["linux/arm64", "linux/amd64"]);
    }
}

#[tokio::test(start_paused = true)]
async fn attestations_follow_their_images() {
    let mut world = World::new(vec![source("a"), source("b")]);
    world.store.push_attested(PATH, "a", &Image::of("linux/arm64"));
    world.store.push_attested(PATH, "b", &Image::of("linux/amd64"));
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let index = world.index();
    let shown: Vec<_> =
        index.manifests.iter().map(|child| (child.is_attestation(), child.attests())).collect();
    let digest = |at: usize| Some(index.manifests[at].digest.clone());
    assert_eq!(shown, [(false, None), (false, None), (true, digest(0)), (true, digest(1))]);
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(world.status.coverage.as_ref().unwrap().published, 2);
}

/// An attestation about something else does not follow.
#[tokio::test(start_paused = true)]
async fn a_strangers_attestation_is_left() {
    let mut world = World::new(vec![declared("x", "linux/amd64")]);
    let image = world.foreign("linux/amd64");
    let other = Descriptor { digest: Digest::of(b"other"), ..image.clone() };
    let stranger = world.attestation(PATH, &other, "1");
    world.store.push_index(PATH, Some("x"), vec![image, stranger]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests.len(), 1);
}

/// An index of one image may be as large as any manifest, and that of many sources is not.
#[tokio::test(start_paused = true)]
async fn what_an_index_says_of_its_image_has_a_limit() {
    let mut world = World::new(vec![source("x")]);
    let mut image = world.foreign("linux/amd64");
    image.annotations.insert("com.example.long".into(), "x".repeat(257 << 10));
    world.store.push_index(PATH, Some("x"), vec![image]);
    world.run().await;
    world.assert_stalled("UnsupportedContent");
    world.assert_message(&["more than 262144 bytes"]);
    assert_eq!(world.tagged(), None);
}

#[rstest]
#[case::image(0)]
#[case::attestation(1)]
#[tokio::test(start_paused = true)]
async fn an_index_of_which_a_part_is_gone_is_incomplete(#[case] part: usize) {
    let mut world = World::new(vec![source("a"), source("x")]);
    world.push("a", "linux/s390x");
    let index = world.store.push_attested(PATH, "x", &Image::of("linux/amd64"));
    let raw = world.store.tagged(PATH, "x").unwrap();
    assert_eq!(raw.digest(), &index.digest);
    let multiarch_operator::oci::Manifest::Index(listed) = raw.parse().unwrap() else { panic!() };
    world.store.delete_manifest(PATH, &listed.manifests[part].digest);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    assert_eq!(world.source("x").state, SourceState::Incomplete);
    world.assert_message(&[listed.manifests[part].digest.as_str(), "gone"]);
    assert_eq!(world.tagged(), None);
    // It is pushed again; the index has the same digest.
    world.store.push_attested(PATH, "x", &Image::of("linux/amd64"));
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn gzip_and_zstd_of_one_platform_are_one_platform() {
    let zstd = |child: Descriptor| Descriptor {
        annotations: BTreeMap::from([(
            "io.github.containers.compression.zstd".into(),
            "true".into(),
        )]),
        ..child
    };
    let mut world = World::new(vec![source("gzip"), source("zstd")]);
    world.push("gzip", "linux/amd64");
    let child = zstd(world.foreign("linux/amd64"));
    world.store.push_manifest(
        PATH,
        Some("zstd"),
        &Index::new(vec![child.clone()], BTreeMap::new()).to_raw(),
    );
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/amd64"]);
    assert_eq!(world.index().manifests[1], child, "gzip first");
    let coverage = world.status.coverage.clone().unwrap();
    assert_eq!((coverage.summary.as_str(), coverage.published), ("1/1", 1));
    world.assert_message(&["1 platform"]);
}

#[tokio::test(start_paused = true)]
async fn docker_images_make_an_oci_index() {
    let mut world = World::new(vec![source("amd64"), source("arm64")]);
    for (tag, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64")] {
        world.store.push(PATH, Some(tag), &Image::of(platform).docker());
    }
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged().unwrap().media_type(), media_type::OCI_INDEX);
    assert!(world.index().manifests.iter().all(|m| m.media_type == media_type::DOCKER_MANIFEST));
}

/// The words of the config are published, in whatever spelling, and compared normalised.
#[tokio::test(start_paused = true)]
async fn the_index_has_the_words_of_the_config() {
    let mut world = World::new(vec![declared("arm64", "linux/aarch64"), source("win")]);
    let mut image = Image::of("linux/arm64");
    image.platform.variant = Some("v8".into());
    world.store.push(PATH, Some("arm64"), &image);
    world.push("win", "windows(10.0.17763+win32k)/amd64");
    world.spec.required_platforms = vec!["linux/arm64".into(), "windows(+win32k)/amd64".into()];
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let words: Vec<_> =
        world.index().manifests.iter().map(|m| m.platform.clone().unwrap().to_string()).collect();
    assert_eq!(words, ["linux/arm64/v8", "windows(10.0.17763+win32k)/amd64"]);
}

//! equalLabels: images of different builds never stand in one index.

use multiarch_crds::{
    condition::Type,
    v1alpha1::{PlatformPolicy, RemovalPolicy, Source},
};
use multiarch_operator::{
    oci::{Descriptor, RawManifest, media_type},
    registry::memory::Image,
};
use rstest::rstest;
use serde_json::json;

use crate::world::*;

const REVISION: &str = "org.opencontainers.image.revision";

fn build(platform: &str, revision: &str) -> Image {
    Image::of(platform).labelled(REVISION, revision)
}

fn push(world: &World, tag: &str, revision: &str) -> Descriptor {
    world.store.push(PATH, Some(tag), &build(&format!("linux/{tag}"), revision))
}

/// Sources called as their architecture, each of a revision.
fn of(builds: &[(&str, &str)]) -> World {
    let mut world = World::new(builds.iter().map(|(tag, _)| source(tag)).collect());
    world.spec.equal_labels = vec![REVISION.into()];
    for (tag, revision) in builds {
        push(&world, tag, revision);
    }
    world
}

#[tokio::test(start_paused = true)]
async fn the_tag_waits_until_they_are_equal() {
    let mut world = of(&[("amd64", "2222"), ("arm64", "1111"), ("s390x", "2222")]);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    world.assert_reconciling("WaitingForMatch");
    world.assert_message(&[REVISION, "\"1111\" in arm64; \"2222\" in amd64, s390x"]);
    assert_eq!(world.tagged(), None);
    world.later(10);
    world.run().await.assert_idle(3);
    world.restart();
    world.run().await.assert_idle(3);
    push(&world, "arm64", "2222");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.run().await.assert_idle(4);
}

#[tokio::test(start_paused = true)]
async fn what_is_published_stays_while_a_release_comes_in() {
    let mut world = of(&[("amd64", "1"), ("arm64", "1")]);
    world.run().await;
    let published = world.tagged();
    push(&world, "amd64", "2");
    world.later(10);
    let report = world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    assert_eq!(world.condition(Type::Published).0, "True");
    assert_eq!((world.tagged(), report.count("PUT")), (published, 0));
    world.later(10);
    world.run().await.assert_idle(3);
    push(&world, "arm64", "2");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[rstest]
#[case::absent(None, "no such label")]
#[case::blank(Some(""), "no such label")]
#[case::free_text(Some("ignore all\nwarnings"), "a text that is not shown (sha256:")]
#[case::quotes(Some("1\", b has \"1"), "a text that is not shown (sha256:")]
#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_label(#[case] value: Option<&str>, #[case] shown: &str) {
    let mut world = of(&[("amd64", "1"), ("arm64", "1")]);
    let image = Image::of("linux/arm64");
    let image = value.map_or(image.clone(), |value| image.labelled(REVISION, value));
    world.store.push(PATH, Some("arm64"), &image);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    world.assert_message(&[shown, " in arm64", "\"1\" in amd64"]);
    let (_, _, message) = world.ready();
    assert!(!message.contains("warnings"), "{message}");
}

/// Two texts that are not shown are told apart, and one that all have is as good as any.
#[tokio::test(start_paused = true)]
async fn texts_are_compared_though_not_shown() {
    let mut world = of(&[("amd64", "one text"), ("arm64", "another text")]);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    push(&world, "arm64", "one text");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn all_labels_count_and_the_first_is_shown() {
    let mut world = of(&[("amd64", "1"), ("arm64", "1")]);
    world.spec.equal_labels = vec![REVISION.into(), "com.example.a".into(), "com.example.b".into()];
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    world.assert_message(&["com.example.a", "no such label in amd64, arm64", "differ: 1"]);
}

/// A message stays bounded, whatever the sources are called.
#[tokio::test(start_paused = true)]
async fn many_sources() {
    let mut world = World::new(Vec::new());
    world.spec.equal_labels = vec![REVISION.into()];
    for n in 0..64 {
        let tag = format!("{n:0>63}");
        let image = build(&format!("windows(10.0.{n})/amd64"), &n.to_string().repeat(30));
        world.store.push(PATH, Some(&tag), &image);
        world.spec.sources.push(source(&tag));
    }
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
}

#[tokio::test(start_paused = true)]
async fn images_of_an_index_are_called_by_platform() {
    let mut world = World::new(vec![source("x")]);
    world.spec.equal_labels = vec![REVISION.into()];
    let children = vec![
        world.listed(PATH, &build("linux/amd64", "1")),
        world.listed(PATH, &build("linux/arm64", "2")),
    ];
    world.store.push_index(PATH, Some("x"), children);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    world.assert_message(&["\"1\" in x (linux/amd64); \"2\" in x (linux/arm64)"]);
    // Those that are not chosen do not count.
    world.edit(|spec| spec.sources[0].platforms = vec!["linux/arm64".into()]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// An old image that an optional source left behind would make it an index of two builds.
#[tokio::test(start_paused = true)]
async fn what_is_kept_is_read() {
    let mut world = of(&[("amd64", "1"), ("arm64", "1")]);
    world.spec.sources[1].optional = true;
    world.run().await;
    let published = world.tagged();
    world.store.delete_tag(PATH, "arm64");
    push(&world, "amd64", "2");
    world.later(10);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    world.assert_message(&["\"1\" in arm64; \"2\" in amd64"]);
    assert_eq!(world.tagged(), published);
    world.later(10);
    world.run().await.assert_idle(3);
    // What is of the same build is no reason to wait.
    world.store.push(PATH, Some("amd64"), &build("linux/amd64", "1").salted("again"));
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_is_read() {
    let mut world = of(&[("amd64", "1")]);
    world.spec.removal_policy = RemovalPolicy::Retain;
    let foreign = |revision: &str| world.listed(PATH, &build("linux/s390x", revision));
    let (old, new) = (foreign("0"), foreign("1"));
    world.store.push_index(PATH, Some(TAG), vec![old]);
    let tagged = world.tagged();
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    world.assert_message(&["\"0\" in linux/s390x of the tag; \"1\" in amd64"]);
    assert_eq!(world.tagged(), tagged);
    // What the tag names is not remembered, so it is read again.
    world.store.push_index(PATH, Some(TAG), vec![new]);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/s390x"]);
    world.later(10);
    world.run().await.assert_idle(2);
}

/// Nobody vouches for the labels of an image whose platform is trusted, so they are read.
#[rstest]
#[case::equal("1", "True", "Succeeded")]
#[case::differ("2", "Unknown", "WaitingForMatch")]
#[tokio::test(start_paused = true)]
async fn of_a_trusted_image(#[case] revision: &str, #[case] status: &str, #[case] reason: &str) {
    let mut world = of(&[("amd64", "1")]);
    let trusted = PlatformPolicy::Trust;
    world.spec.sources.push(Source { platform_policy: trusted, ..declared("x", "linux/s390x") });
    world.store.push(PATH, Some("x"), &build("linux/ppc64le", revision));
    world.run().await;
    world.assert_ready(status, reason);
}

#[tokio::test(start_paused = true)]
async fn an_artifact_has_none() {
    let mut world = of(&[("amd64", "1")]);
    let trusted = PlatformPolicy::Trust;
    world.spec.sources.push(Source { platform_policy: trusted, ..declared("x", "linux/s390x") });
    let config = world.store.push_blob(PATH, "application/vnd.oci.empty.v1+json", "{}".into());
    let document = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "artifactType": "application/vnd.example.x", "config": config, "layers": [],
    });
    let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
    world.store.push_manifest(PATH, Some("x"), &raw);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForMatch");
    world.assert_message(&["no such label in x"]);
    world.edit(|spec| spec.equal_labels.clear());
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// Also where one source is mirrored.
#[tokio::test(start_paused = true)]
async fn of_a_mirrored_index() {
    let mut world = World::new(vec![source("x")]);
    world.spec.equal_labels = vec![REVISION.into()];
    let children =
        ["linux/amd64", "linux/arm64"].map(|platform| world.listed(PATH, &build(platform, "1")));
    let index = world.store.push_index(PATH, Some("x"), children.into());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.digest, Some(index.digest.to_string()));
}

/// An image that stays is put back before its labels are asked for.
#[tokio::test(start_paused = true)]
async fn an_image_that_stays_and_is_gone_is_put_back_first() {
    let mut world = of(&[("amd64", "1")]);
    let elsewhere = format!("{HOST}/ci/app:arm64");
    world.spec.sources.push(Source { image: elsewhere, ..source("arm64") });
    let arm64 = world.store.push("ci/app", Some("arm64"), &build("linux/arm64", "1"));
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.store.delete_tag("ci/app", "arm64");
    world.later(10);
    world.run().await;
    world.store.delete_manifest(PATH, &arm64.digest);
    world.later(10);
    world.edit(|spec| {
        spec.annotations.insert("a".into(), "b".into());
    });
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(report.events.contains(&"ChildRepaired".into()), "{report:?}");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
}

//! One source taken whole: its own bytes are published, and its digest stays what it is.

use std::collections::BTreeMap;

use multiarch_crds::v1alpha1::{PlatformPolicy, RemovalPolicy, Source, SourceState};
use multiarch_operator::{
    oci::{Descriptor, Digest, Index, RawManifest, TagOrDigest, media_type},
    registry::memory::Image,
};
use rstest::rstest;

use crate::world::*;

/// An image of `path` as an index lists it.
fn child(world: &World, path: &str, platform: &str) -> Descriptor {
    world.listed(path, &Image::of(platform))
}

fn single(world: &World, path: &str) -> Digest {
    world.store.push_image(path, "x", "linux/amd64").digest
}

fn pair(world: &World, path: &str) -> Digest {
    // In an order and with annotations that are not ours.
    let children = ["linux/arm64", "linux/amd64"].map(|platform| child(world, path, platform));
    let mut index = Index::new(children.into(), BTreeMap::new());
    index.manifests.reverse();
    index.annotations.insert("theirs".into(), "1".into());
    let bytes = serde_json::to_vec_pretty(&index).unwrap();
    let raw = RawManifest::new(media_type::OCI_INDEX, bytes.into());
    world.store.push_manifest(path, Some("x"), &raw).digest
}

fn nested(world: &World, path: &str) -> Digest {
    let inner = world.store.push_index(path, None, vec![child(world, path, "linux/arm64")]);
    let children = vec![child(world, path, "linux/amd64"), inner];
    world.store.push_index(path, Some("x"), children).digest
}

/// An OCI index may list a Docker one.
fn mixed(world: &World, path: &str) -> Digest {
    let arm = world.listed(path, &Image::of("linux/arm64").docker());
    let inner = world.push_list(path, "inner", vec![arm]);
    let children = vec![child(world, path, "linux/amd64"), inner];
    world.store.push_index(path, Some("x"), children).digest
}

fn attested(world: &World, path: &str) -> Digest {
    world.store.push_attested(path, "x", &Image::of("linux/amd64")).digest
}

/// An attestation about an image that the index does not list.
fn orphan(world: &World, path: &str) -> Digest {
    let stranger = world.attestation(
        path,
        &Descriptor { digest: Digest::of(b"other"), ..child(world, path, "linux/riscv64") },
        "1",
    );
    let children = vec![child(world, path, "linux/amd64"), stranger];
    world.store.push_index(path, Some("x"), children).digest
}

fn from(path: &str) -> Source {
    Source { image: format!("{HOST}/{path}:x"), ..source("x") }
}

#[rstest]
#[case::single(single, 1)]
#[case::pair(pair, 2)]
#[case::nested(nested, 2)]
#[case::mixed(mixed, 2)]
#[case::attested(attested, 1)]
#[case::orphan(orphan, 1)]
#[tokio::test(start_paused = true)]
async fn the_digest_is_the_sources(
    #[case] push: fn(&World, &str) -> Digest,
    #[case] platforms: usize,
    #[values(PATH, "ci/app")] path: &str,
    #[values(RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove)]
    removal: RemovalPolicy,
) {
    let mut world = World::new(vec![from(path)]);
    world.spec.removal_policy = removal;
    let digest = push(&world, path);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), world.store.tagged(path, "x"));
    assert_eq!(world.status.digest, Some(digest.to_string()));
    assert_eq!(world.status.platforms.len(), platforms);
    world.later(10);
    world.run().await.assert_idle(2);

    // Also when all is read again.
    world.edit(|spec| spec.interval = std::time::Duration::from_mins(7).into());
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");

    // And when its tag is cleaned up.
    world.store.delete_tag(path, "x");
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");
    world.edit(|spec| spec.interval = std::time::Duration::from_mins(8).into());
    world.later(10);
    assert_eq!(world.run().await.count("PUT"), 0, "published is what was published");
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.digest, Some(digest.to_string()));
}

/// What was published from a source that is gone is put back as it was.
#[rstest]
#[case::single(single)]
#[case::pair(pair)]
#[case::nested(nested)]
#[tokio::test(start_paused = true)]
async fn a_lost_tag_of_a_gone_source(#[case] push: fn(&World, &str) -> Digest) {
    let mut world = World::new(vec![from("ci/app")]);
    push(&world, "ci/app");
    world.run().await;
    let published = world.tagged();
    world.store.delete_tag("ci/app", "x");
    world.later(10);
    world.run().await;
    world.store.delete_tag(PATH, TAG);
    world.request();
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged(), published);
}

fn annotated(world: &mut World) {
    world.edit(|spec| {
        spec.annotations.insert("ours".into(), "2".into());
    });
}

fn selected(world: &mut World) {
    world.edit(|spec| spec.sources[0].platforms = vec!["linux/amd64".into()]);
}

fn trusted(world: &mut World) {
    world.edit(|spec| {
        spec.sources[0].platforms = vec!["linux/amd64".into()];
        spec.sources[0].platform_policy = PlatformPolicy::Trust;
    });
}

fn joined(world: &mut World) {
    world.push("s390x", "linux/s390x");
    world.edit(|spec| spec.sources.push(source("s390x")));
}

fn retained(world: &mut World) {
    world.edit(|spec| spec.removal_policy = RemovalPolicy::Retain);
    let listed = vec![world.foreign("linux/amd64"), world.foreign("linux/ppc64le")];
    world.store.push_index(PATH, Some(TAG), listed);
}

#[rstest]
#[case::annotated(annotated, &["linux/amd64", "linux/arm64"])]
#[case::selected(selected, &["linux/amd64"])]
#[case::trusted(trusted, &["linux/amd64"])]
#[case::joined(joined, &["linux/amd64", "linux/arm64", "linux/s390x"])]
#[case::retained(retained, &["linux/amd64", "linux/arm64", "linux/ppc64le"])]
#[tokio::test(start_paused = true)]
async fn mirroring_ends(
    #[case] change: fn(&mut World),
    #[case] platforms: &[&str],
    #[values(pair, nested)] push: fn(&World, &str) -> Digest,
) {
    let mut world = World::new(vec![from("ci/app")]);
    world.spec.removal_policy = RemovalPolicy::Remove;
    let digest = push(&world, "ci/app");
    world.run().await;
    assert_eq!(world.tagged().unwrap().digest(), &digest);
    change(&mut world);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), platforms, "one flat index");
    assert_ne!(world.tagged().unwrap().digest(), &digest);
    assert_eq!(world.index().to_raw().bytes(), world.tagged().unwrap().bytes());
    world.later(10);
    world.run().await.assert_idle(world.spec.sources.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn a_mirrored_nested_index_keeps_its_images_under_refuse() {
    let mut world = World::new(vec![from("ci/app")]);
    nested(&world, "ci/app");
    world.run().await;
    world.store.push_index("ci/app", Some("x"), vec![child(&world, "ci/app", "linux/amd64")]);
    world.later(10);
    world.run().await;
    world.assert_stalled("WouldShrink");
    world.assert_message(&["linux/arm64"]);
}

#[tokio::test(start_paused = true)]
async fn a_docker_list_becomes_an_oci_index() {
    let mut world = World::new(vec![from("ci/app")]);
    let children: Vec<_> = ["linux/arm64", "linux/amd64"]
        .map(|platform| world.listed("ci/app", &Image::of(platform).docker()))
        .into();
    world.push_list("ci/app", "x", children.clone());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged().unwrap().media_type(), media_type::OCI_INDEX);
    assert_eq!(world.index().manifests, [children[1].clone(), children[0].clone()]);
    world.later(10);
    world.run().await.assert_idle(2);
}

#[tokio::test(start_paused = true)]
async fn a_docker_image_becomes_an_oci_index() {
    let mut world = World::new(vec![from("ci/app")]);
    let image = world.store.push("ci/app", Some("x"), &Image::of("linux/amd64").docker());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged().unwrap().media_type(), media_type::OCI_INDEX);
    assert_eq!(world.digests(), [image.digest]);
    world.later(10);
    world.run().await.assert_idle(2);
}

/// A source of which something is gone is not mirrored half.
#[tokio::test(start_paused = true)]
async fn an_orphan_that_is_gone_holds_the_mirror_and_nothing_else() {
    let mut world = World::new(vec![from("ci/app")]);
    orphan(&world, "ci/app");
    let raw = world.store.tagged("ci/app", "x").unwrap();
    let multiarch_operator::oci::Manifest::Index(index) = raw.parse().unwrap() else { panic!() };
    let gone = index.manifests.iter().find(|child| child.is_attestation()).unwrap();
    world.store.delete_manifest("ci/app", &gone.digest);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    assert_eq!(world.source("x").state, SourceState::Incomplete);
    selected(&mut world);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let gone = TagOrDigest::Digest(gone.digest.clone());
    assert!(world.store.manifest(PATH, &gone).is_none());
}

/// The tag has the same in other bytes: mirrored are the bytes.
#[tokio::test(start_paused = true)]
async fn equal_content_is_not_enough() {
    let mut world = World::new(vec![from(PATH)]);
    let digest = pair(&world, PATH);
    let raw = world.store.tagged(PATH, "x").unwrap();
    let multiarch_operator::oci::Manifest::Index(index) = raw.parse().unwrap() else { panic!() };
    world.store.push_manifest(PATH, Some(TAG), &index.to_raw());
    world.run().await;
    assert_eq!(world.tagged().unwrap().digest(), &digest);
}

/// An index in the index, and an attestation of no image of it, are looked for when the sources are
/// read.
#[rstest]
#[case::nested(nested)]
#[case::orphan(orphan)]
#[tokio::test(start_paused = true)]
async fn what_belongs_to_no_image_is_put_back(#[case] push: fn(&World, &str) -> Digest) {
    let mut world = World::new(vec![from("ci/app")]);
    push(&world, "ci/app");
    world.run().await;
    world.later(10);
    let shown = world.digests_of_status();
    let lost: Vec<_> = world.digests().into_iter().filter(|d| !shown.contains(d)).collect();
    let [lost] = lost.as_slice() else { panic!("{lost:?}") };
    world.store.delete_manifest(PATH, lost);
    world.edit(|spec| spec.interval = std::time::Duration::from_mins(7).into());
    let report = world.run().await;
    assert_eq!(report.events, ["ChildRepaired"]);
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.run().await.assert_idle(2);
}

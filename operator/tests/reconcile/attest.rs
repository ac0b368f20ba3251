//! Attestation manifests: kept with their image, shown, asked for, or dropped.

use multiarch_crds::v1alpha1::{Attestations, RemovalPolicy, Source};
use multiarch_operator::{
    oci::{Descriptor, Digest, TagOrDigest},
    registry::memory::Image,
};
use rstest::rstest;

use crate::world::*;

const OTHER: &str = "ci/app";

fn from(path: &str) -> Source {
    Source { image: format!("{HOST}/{path}:x"), ..source("x") }
}

/// An index of two images under `x` in `path`, each with an attestation: images, then attestations.
fn attested(world: &World, path: &str) -> [Descriptor; 4] {
    let [amd, arm] = ["linux/amd64", "linux/arm64"].map(|of| world.listed(path, &Image::of(of)));
    let about = [&amd, &arm].map(|of| world.attestation(path, of, of.digest.as_str()));
    let [of_amd, of_arm] = about;
    let all = [amd, arm, of_amd, of_arm];
    world.store.push_index(path, Some("x"), all.to_vec());
    all
}

fn digests(listed: &[Descriptor]) -> Vec<Digest> {
    listed.iter().map(|descriptor| descriptor.digest.clone()).collect()
}

fn dropping(path: &str) -> World {
    let mut world = World::new(vec![from(path)]);
    world.spec.attestations = Attestations::Drop;
    world
}

/// Nor is an index mirrored whose bytes list them.
#[rstest]
#[tokio::test(start_paused = true)]
async fn dropped_ones_are_neither_listed_nor_copied_nor_asked_for(
    #[values(PATH, OTHER)] path: &str,
) {
    let mut world = dropping(path);
    let all = attested(&world, path);
    for attestation in &all[2..] {
        world.store.delete_manifest(path, &attestation.digest);
    }
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.digests(), digests(&all[..2]));
    for attestation in &all[2..] {
        let asked = report.requests.iter().any(|r| r.contains(attestation.digest.as_str()));
        assert!(!asked, "{:#?}", report.requests);
    }
    assert!(world.status.platforms.iter().all(|image| image.attestations.is_empty()));
    world.later(10);
    world.run().await.assert_idle(2);
}

#[tokio::test(start_paused = true)]
async fn an_index_without_any_is_mirrored_under_drop() {
    let mut world = dropping(OTHER);
    let images = ["linux/arm64", "linux/amd64"].map(|of| world.listed(OTHER, &Image::of(of)));
    let mut index = multiarch_operator::oci::Index::new(images.into(), [].into());
    index.manifests.reverse();
    let source = world.store.push_manifest(OTHER, Some("x"), &index.to_raw());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.digest, Some(source.digest.to_string()));
}

#[tokio::test(start_paused = true)]
async fn the_policy_can_change() {
    let mut world = World::new(vec![from(OTHER)]);
    let all = attested(&world, OTHER);
    world.run().await;
    assert_eq!(world.digests(), digests(&all));
    for (policy, listed) in [(Attestations::Drop, &all[..2]), (Attestations::Keep, &all[..])] {
        world.edit(|spec| spec.attestations = policy);
        world.later(10);
        let report = world.run().await;
        world.assert_ready("True", "Succeeded");
        assert_eq!(world.digests(), digests(listed));
        assert_eq!(report.count("PUT blob"), 0);
        world.later(10);
        world.run().await.assert_idle(2);
    }
}

/// What stays because its source is gone, or because it is retained, loses them too: then the index
/// has none.
#[rstest]
#[case::mirrored(&[])]
#[case::chosen(&["linux/amd64", "linux/arm64"])]
#[tokio::test(start_paused = true)]
async fn what_is_kept_loses_them(#[case] platforms: &[&str]) {
    let mut world = World::new(vec![from(OTHER)]);
    world.spec.sources[0].platforms = platforms.iter().map(|p| (*p).to_owned()).collect();
    let all = attested(&world, OTHER);
    world.run().await;
    world.store.delete_tag(OTHER, "x");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.edit(|spec| spec.attestations = Attestations::Drop);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.digests(), digests(&all[..2]));
    world.later(10);
    world.run().await.assert_idle(2);
}

#[rstest]
#[case::keep(Attestations::Keep, 4)]
#[case::drop(Attestations::Drop, 3)]
#[tokio::test(start_paused = true)]
async fn what_is_retained(#[case] policy: Attestations, #[case] listed: usize) {
    let mut world = World::new(vec![source("s390x")]);
    world.push("s390x", "linux/s390x");
    world.spec.removal_policy = RemovalPolicy::Retain;
    world.spec.attestations = policy;
    let [amd, arm] = ["linux/amd64", "linux/arm64"].map(|platform| world.foreign(platform));
    let about = world.attestation(PATH, &amd, "1");
    world.store.push_index(PATH, Some(TAG), vec![amd, arm, about]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests.len(), listed);
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);
}

#[tokio::test(start_paused = true)]
async fn status_shows_them_with_their_image() {
    let mut world = World::new(vec![from(OTHER)]);
    let all = attested(&world, OTHER);
    world.run().await;
    let shown: Vec<_> = world.status.platforms.iter().map(|p| p.attestations.clone()).collect();
    assert_eq!(shown, [vec![all[2].digest.to_string()], vec![all[3].digest.to_string()]]);
}

/// Those that were published before are asked for, and neither their blobs nor they are sent again.
#[tokio::test(start_paused = true)]
async fn a_second_version_asks_for_those_that_were_published() {
    let mut world = World::new(vec![from(OTHER)]);
    let [amd, arm, of_amd, of_arm] = attested(&world, OTHER);
    world.run().await;
    let new = world.listed(OTHER, &Image::of("linux/arm64").salted("2"));
    let of_new = world.attestation(OTHER, &new, "2");
    let children = vec![amd, new.clone(), of_amd.clone(), of_new.clone()];
    world.store.push_index(OTHER, Some("x"), children);
    world.later(10);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    let put = |digest: &Digest| format!("PUT manifest {PATH}@{digest}");
    let put = |of: &Descriptor| report.requests.contains(&put(&of.digest));
    assert!(put(&new) && put(&of_new), "{:#?}", report.requests);
    assert!(!put(&of_amd) && !put(&arm) && !put(&of_arm), "{:#?}", report.requests);
    assert_eq!(report.count("PUT manifest"), 3);
    let asked = format!("HEAD manifest {PATH}@{}", of_amd.digest);
    assert!(report.requests.contains(&asked), "{:#?}", report.requests);

    // One that is gone is sent again.
    world.store.delete_manifest(PATH, &of_amd.digest);
    let newer = world.listed(OTHER, &Image::of("linux/arm64").salted("3"));
    let amd = world.index().manifests[0].clone();
    world.store.push_index(OTHER, Some("x"), vec![amd, newer, of_amd.clone()]);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(world.store.manifest(PATH, &TagOrDigest::Digest(of_amd.digest)).is_some());
}

/// `unknown/unknown` is what attestations have, and what has it is no image.
#[tokio::test(start_paused = true)]
async fn unknown_is_no_platform() {
    // Of a source: refused by name.
    let mut world = World::new(vec![from(OTHER)]);
    let amd = world.listed(OTHER, &Image::of("linux/amd64"));
    let mut stranger = world.attestation(OTHER, &amd, "1");
    stranger.annotations.clear();
    world.store.push_index(OTHER, Some("x"), vec![amd, stranger.clone()]);
    for policy in [Attestations::Keep, Attestations::Drop] {
        world.edit(|spec| spec.attestations = policy);
        world.run().await;
        world.assert_stalled("UnsupportedContent");
        world.assert_message(&[stranger.digest.as_str(), "without a platform"]);
    }
    // Under the tag: of that not every platform can be told.
    let mut world = World::new(vec![source("amd64")]);
    world.push("amd64", "linux/amd64");
    let mut stranger = world.foreign("unknown/unknown");
    stranger.annotations.clear();
    world.store.push_index(PATH, Some(TAG), vec![world.foreign("linux/amd64"), stranger]);
    for policy in [RemovalPolicy::Refuse, RemovalPolicy::Retain] {
        world.edit(|spec| spec.removal_policy = policy);
        world.run().await;
        world.assert_stalled("UnsupportedContent");
    }
    world.edit(|spec| spec.removal_policy = RemovalPolicy::Remove);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let coverage = world.status.coverage.clone().unwrap();
    assert_eq!((coverage.summary.as_str(), coverage.published), ("1/1", 1));
}

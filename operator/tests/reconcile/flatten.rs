//! Indexes as sources: flattened with what they say, chosen from, and what they lack.

use multiarch_crds::v1alpha1::{PlatformPolicy, PublishPolicy, Source, SourceState};
use multiarch_operator::{
    oci::{Descriptor, TagOrDigest},
    registry::memory::Image,
};
use rstest::rstest;

use crate::world::*;

const OTHER: &str = "ci/app";

fn image(world: &World, platform: &str, salt: &str) -> Descriptor {
    world.listed(OTHER, &Image::of(platform).salted(salt))
}

fn images(world: &World, platforms: &[&str]) -> Vec<Descriptor> {
    platforms.iter().map(|platform| image(world, platform, "")).collect()
}

fn attestation(world: &World, about: &Descriptor, salt: &str) -> Descriptor {
    world.attestation(OTHER, about, salt)
}

/// The index called `tag` as a source, of which `platforms` are chosen.
fn index(tag: &str, platforms: &[&str]) -> Source {
    let platforms = platforms.iter().map(|platform| (*platform).to_owned()).collect();
    Source { image: format!("{HOST}/{OTHER}:{tag}"), platforms, ..source(tag) }
}

/// One index for three platforms, of which `platforms` are chosen.
fn three(platforms: &[&str]) -> World {
    let world = World::new(vec![index("x", platforms)]);
    let all = images(&world, &["linux/amd64", "linux/arm/v6", "linux/arm/v7"]);
    world.store.push_index(OTHER, Some("x"), all);
    world
}

#[tokio::test(start_paused = true)]
async fn two_indexes_become_one_with_their_words_and_annotations() {
    let mut world = World::new(vec![index("b", &[]), index("a", &[])]);
    let mut arm = image(&world, "linux/arm64", "");
    arm.platform = Some("linux/arm64/v8".parse().unwrap());
    arm.annotations.insert("com.example.build".into(), "7".into());
    let amd = image(&world, "linux/amd64", "");
    let about = [attestation(&world, &amd, "1"), attestation(&world, &arm, "2")];
    world.store.push_index(OTHER, Some("a"), vec![about[1].clone(), arm.clone()]);
    world.store.push_index(OTHER, Some("b"), vec![amd.clone(), about[0].clone()]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let [first, second] = about;
    assert_eq!(world.index().manifests, [amd, arm, first, second]);
    let from: Vec<_> = world.status.platforms.iter().map(|p| p.source.as_str()).collect();
    assert_eq!(from, ["b", "a"]);
    world.later(10);
    world.run().await.assert_idle(3);
}

#[rstest]
#[case::one(&["linux/arm/v6"], &["linux/arm/v6"])]
#[case::strictly(&["linux/arm"], &["linux/arm/v7"])]
#[case::in_other_words(&["linux/armhf", "linux/x86_64"], &["linux/amd64", "linux/arm/v7"])]
#[tokio::test(start_paused = true)]
async fn chosen(#[case] platforms: &[&str], #[case] published: &[&str]) {
    let mut world = three(platforms);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), published);
    world.later(10);
    world.run().await.assert_idle(2);
}

#[rstest]
#[case::complete(PublishPolicy::Complete, "Unknown", "WaitingForPlatforms")]
#[case::partial(PublishPolicy::Partial, "True", "PublishedPartial")]
#[tokio::test(start_paused = true)]
async fn a_chosen_platform_that_is_not_there_is_missing(
    #[case] policy: PublishPolicy,
    #[case] status: &str,
    #[case] reason: &str,
) {
    let mut world = three(&["linux/amd64", "linux/s390x"]);
    world.spec.publish_policy = policy;
    world.run().await;
    world.assert_ready(status, reason);
    let coverage = world.status.coverage.clone().unwrap();
    assert_eq!((coverage.summary.as_str(), coverage.missing), ("1/2", vec!["linux/s390x".into()]));
    assert_eq!(world.source("x").state, SourceState::Resolved);
    if policy == PublishPolicy::Complete {
        world.assert_message(&["linux/s390x", "source x", &format!("{HOST}/{OTHER}:x")]);
        assert!(world.tagged().is_none());
        world.later(10);
        world.run().await.assert_idle(1);
    } else {
        assert_eq!(world.platforms(), ["linux/amd64"]);
        world.later(10);
        world.run().await.assert_idle(2);
    }
    // It comes.
    let all = images(&world, &["linux/amd64", "linux/s390x"]);
    world.store.push_index(OTHER, Some("x"), all);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/s390x"]);
}

/// An index that is appended to is not wrong while only its first image is there.
#[tokio::test(start_paused = true)]
async fn an_index_of_one_image_of_several_that_are_chosen_waits() {
    let mut world = World::new(vec![index("x", &["linux/amd64", "linux/arm64"])]);
    world.store.push_index(OTHER, Some("x"), images(&world, &["linux/amd64"]));
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    world.assert_message(&["linux/arm64"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_optional_index_lacks_holds_nothing() {
    let optional = Source { optional: true, ..index("x", &["linux/arm/v7", "linux/s390x"]) };
    let mut world = three(&[]);
    world.push("b", "linux/arm64");
    world.spec.sources = vec![optional, source("b")];
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/arm/v7", "linux/arm64"]);
    assert_eq!(world.status.coverage.as_ref().unwrap().summary, "1/1");
}

/// A platform that was published from an index stays while the index lacks it.
#[rstest]
#[case::complete(PublishPolicy::Complete, "WaitingForPlatforms")]
#[case::partial(PublishPolicy::Partial, "WouldShrink")]
#[tokio::test(start_paused = true)]
async fn an_index_that_loses_a_chosen_platform(
    #[case] policy: PublishPolicy,
    #[case] reason: &str,
) {
    let mut world = three(&["linux/amd64", "linux/arm/v7"]);
    world.spec.publish_policy = policy;
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let published = world.tagged();
    world.store.push_index(OTHER, Some("x"), images(&world, &["linux/amd64", "linux/s390x"]));
    world.later(10);
    world.run().await;
    assert_eq!(world.ready().1, reason);
    assert_eq!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn nested_once_is_flattened_with_its_attestations() {
    let mut world = World::new(vec![index("x", &["linux/amd64", "linux/arm64"])]);
    let (amd, arm) = (image(&world, "linux/amd64", ""), image(&world, "linux/arm64", ""));
    let about = attestation(&world, &arm, "1");
    let inner = world.store.push_index(OTHER, None, vec![arm.clone(), about.clone()]);
    // The inner one is listed as many do: with the platform of what is in it. And what is in it is
    // listed a second time.
    let inner = Descriptor { platform: arm.platform.clone(), ..inner };
    world.store.push_index(OTHER, Some("x"), vec![inner, amd.clone(), arm.clone()]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests, [amd, arm, about]);
}

/// Indexes in an index could bring a hundred times what one may have: they are counted before an
/// image is read.
#[tokio::test(start_paused = true)]
async fn what_nested_indexes_bring_has_a_limit() {
    let mut world = World::new(vec![index("x", &[])]);
    let inner = |world: &World, n: usize| {
        let platforms = (0..50).map(|build| format!("windows(10.0.{n}.{build})/amd64"));
        let images = platforms.map(|platform| image(world, &platform, "")).collect();
        world.store.push_index(OTHER, None, images)
    };
    let indexes = (0..4).map(|n| inner(&world, n)).collect();
    world.store.push_index(OTHER, Some("x"), indexes);
    let report = world.run().await;
    world.assert_stalled("UnsupportedContent");
    world.assert_message(&["150 children, more than the 128"]);
    assert_eq!(report.count("GET"), 4, "the index, and three of the four in it");
    assert_eq!(world.tagged(), None);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_its_config_denies() {
    let mut world = World::new(vec![index("x", &["linux/amd64", "linux/arm64"])]);
    let lie = Some("linux/arm64".parse().unwrap());
    let lie = Descriptor { platform: lie, ..image(&world, "linux/s390x", "") };
    world.store.push_index(OTHER, Some("x"), vec![image(&world, "linux/amd64", ""), lie.clone()]);
    world.run().await;
    world.assert_stalled("PlatformMismatch");
    world.assert_message(&["linux/arm64", "linux/s390x", lie.digest.as_str()]);
    assert_eq!(world.source("x").state, SourceState::PlatformMismatch);
    // One that was not chosen is not looked at.
    world.edit(|spec| spec.sources[0].platforms = vec!["linux/amd64".into()]);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(!report.requests.iter().any(|request| request.contains(lie.digest.as_str())));
}

#[tokio::test(start_paused = true)]
async fn duplicates_of_two_indexes_are_named() {
    let mut world = World::new(vec![index("a", &[]), index("b", &[])]);
    world.store.push_index(OTHER, Some("a"), images(&world, &["linux/amd64", "linux/arm64"]));
    let other = vec![image(&world, "linux/arm64", "2"), image(&world, "linux/s390x", "")];
    world.store.push_index(OTHER, Some("b"), other);
    world.run().await;
    world.assert_stalled("DuplicatePlatform");
    world.assert_message(&["sources a and b", "linux/arm64"]);
    // Choosing resolves it.
    world.edit(|spec| spec.sources[1].platforms = vec!["linux/s390x".into()]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);
}

#[tokio::test(start_paused = true)]
async fn duplicates_in_one_index_are_told_of_it() {
    let mut world = World::new(vec![index("a", &[])]);
    let twice = ["1", "2"].map(|salt| image(&world, "linux/amd64", salt));
    world.store.push_index(OTHER, Some("a"), twice.into());
    world.run().await;
    world.assert_stalled("DuplicatePlatform");
    world.assert_message(&["source a gives linux/amd64 twice"]);
    assert_eq!(world.source("a").message.as_deref(), Some("a gives the same platform twice"));
}

#[tokio::test(start_paused = true)]
async fn zstd_beside_gzip_of_one_index() {
    let mut world = World::new(vec![index("x", &["linux/amd64"])]);
    let gzip = image(&world, "linux/amd64", "gzip");
    let mut zstd = image(&world, "linux/amd64", "zstd");
    zstd.annotations.insert("io.github.containers.compression.zstd".into(), "true".into());
    world.store.push_index(OTHER, Some("x"), vec![zstd.clone(), gzip.clone()]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests, [gzip, zstd]);
    world.assert_message(&["1 platform"]);
    world.later(10);
    world.run().await.assert_idle(2);
}

#[tokio::test(start_paused = true)]
async fn trust_chooses_from_an_index_and_reads_no_config() {
    let trusted =
        Source { platform_policy: PlatformPolicy::Trust, ..index("x", &["linux/arm/v7"]) };
    let mut world = three(&[]);
    let lie = Some("linux/arm/v7".parse().unwrap());
    let lie = Descriptor { platform: lie, ..image(&world, "linux/s390x", "") };
    world.store.push_index(OTHER, Some("x"), vec![image(&world, "linux/amd64", ""), lie.clone()]);
    world.spec.sources = vec![trusted];
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests, [lie]);
    assert_eq!(world.status.platforms[0].config_digest, None);
}

/// An attestation of an image that is not chosen is neither read nor copied.
#[tokio::test(start_paused = true)]
async fn attestations_go_with_what_is_not_chosen() {
    let mut world = World::new(vec![index("x", &["linux/amd64"])]);
    let (amd, arm) = (image(&world, "linux/amd64", ""), image(&world, "linux/arm64", ""));
    let about = [attestation(&world, &amd, "1"), attestation(&world, &arm, "2")];
    let listed = vec![amd.clone(), arm.clone(), about[0].clone(), about[1].clone()];
    world.store.push_index(OTHER, Some("x"), listed);
    world.store.delete_manifest(OTHER, &about[1].digest);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests, [amd, about[0].clone()]);
    assert!(!report.requests.iter().any(|request| request.contains(about[1].digest.as_str())));
    let copied = TagOrDigest::Digest(about[0].digest.clone());
    assert!(world.store.manifest(PATH, &copied).is_some());
}

//! Sources of other repositories and registries: what is copied, in which order, and what nothing is published for.

use std::time::Duration;

use multiarch_crds::v1alpha1::{RemovalPolicy, SecretRef, Source, SourceState, TagPolicy};
use multiarch_operator::{
    error::Retry,
    oci::{Descriptor, Digest, Manifest, RawManifest, TagOrDigest, media_type},
    registry::{RegistryError, Request, memory::Image},
};
use rstest::rstest;
use serde_json::json;

use crate::world::*;

/// A repository of the target's registry, and one of another registry. The store tells them apart
/// by path.
const SAME: &str = "r.example/ci/app";
const ELSEWHERE: &str = "other.example/ci/app";
const CI: &str = "ci/app";

fn from(repository: &str, tag: &str) -> Source {
    Source { image: format!("{repository}:{tag}"), ..source(tag) }
}

/// The sources amd64 and arm64 in `repository`.
fn pair_in(repository: &str) -> World {
    let world = World::new(vec![from(repository, "amd64"), from(repository, "arm64")]);
    world.store.push_image(CI, "amd64", "linux/amd64");
    world.store.push_image(CI, "arm64", "linux/arm64");
    world
}

fn image_of(world: &World, tag: &str) -> (Digest, multiarch_operator::oci::ImageManifest) {
    let raw = world.store.tagged(CI, tag).unwrap();
    let Manifest::Image(image) = raw.parse().unwrap() else { panic!("{tag} is an index") };
    (raw.digest().clone(), image)
}

/// The requests of the last run as they went out.
fn log(world: &World) -> Vec<String> {
    world.store.requests().iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn blobs_are_mounted_within_a_registry() {
    let mut world = pair_in(SAME);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    // N manifests and N configs; the tag; B mounts; N PUTs; the tag's PUT and a read back.
    report.assert_counts(1, 5, 3);
    assert_eq!(report.count("POST mount"), 4);
    assert_eq!(report.count("POST"), 4, "nothing is sent");
    world.later(10);
    world.run().await.assert_idle(3);
    world.restart();
    world.run().await.assert_idle(3);
}

/// Mounts are over at once, uploads are not: the tag is looked at again before it is written, unless
/// that would take as long as all since the last look.
#[rstest]
#[case::mounted(SAME, |_: &mut World| {}, 2)]
#[case::mounted_slowly(SAME, slow_mounts, 3)]
#[case::yields(SAME, |world: &mut World| world.spec.target.tag_policy = TagPolicy::Yield, 3)]
#[case::once(SAME, |world: &mut World| world.spec.target.tag_policy = TagPolicy::Immutable, 3)]
#[case::appends(SAME, |world: &mut World| world.spec.removal_policy = RemovalPolicy::Retain, 3)]
#[case::sent(ELSEWHERE, |_: &mut World| {}, 3)]
#[case::sent_where_mounts_are_refused(SAME, |world: &mut World| world.store.refuse_mounts(), 3)]
#[tokio::test(start_paused = true)]
async fn the_tag_is_looked_at_again_where_time_has_passed(
    #[case] repository: &str,
    #[case] prepare: fn(&mut World),
    #[case] looks: usize,
) {
    let mut world = pair_in(repository);
    prepare(&mut world);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    let of = |what: &str| report.count(&format!("{what} manifest team/app:1.0"));
    assert_eq!(of("HEAD") + of("GET"), looks, "{:#?}", report.requests);
}

fn slow_mounts(world: &mut World) {
    world.store.delay(Duration::from_secs(31), |request| request.noun == "mount");
}

#[tokio::test(start_paused = true)]
async fn blobs_are_sent_to_another_registry() {
    let mut world = pair_in(ELSEWHERE);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    let of =
        |what: &str| report.requests.iter().filter(|request| request.starts_with(what)).count();
    assert_eq!(of("POST mount"), 0, "no mount from another registry");
    assert_eq!((of("HEAD blob"), of("POST upload"), of("PUT blob")), (4, 4, 4));
    // Two configs are read to know the platforms.
    assert_eq!((of("GET blob"), of("GET manifest"), of("PUT manifest")), (6, 3, 3));
    world.later(10);
    world.run().await.assert_idle(3);
}

/// All blobs, then all manifests by digest, then the index under the tag, then the look at it.
#[rstest]
#[tokio::test(start_paused = true)]
async fn order(#[values(SAME, ELSEWHERE)] repository: &str, #[values(false, true)] mounts: bool) {
    let mut world = pair_in(repository);
    if !mounts {
        world.store.refuse_mounts();
    }
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let log = log(&world);
    let target = format!("{PATH}:{TAG}");
    let puts: Vec<_> = log.iter().filter(|request| request.starts_with("PUT manifest")).collect();
    let (index, children) = puts.split_last().unwrap();
    assert!(index.ends_with(&target), "{puts:?}");
    assert!(children.iter().all(|put| put.contains(&format!("{PATH}@sha256:"))), "{puts:?}");
    let first = log.iter().position(|request| request.starts_with("PUT manifest")).unwrap();
    let is_blob = |request: &&String| request.contains(" blob ") || request.starts_with("POST");
    assert_eq!(log[first..].iter().filter(is_blob).count(), 0, "{log:#?}");
    assert_eq!(log.last().unwrap(), &format!("HEAD manifest {target}"));
}

#[tokio::test(start_paused = true)]
async fn a_shared_blob_is_moved_once() {
    let mut world = World::new(vec![from(ELSEWHERE, "amd64"), from(ELSEWHERE, "win")]);
    let base = world.store.push_blob(CI, "application/vnd.oci.image.layer.v1.tar", "base".into());
    for (tag, platform) in [("amd64", "linux/amd64"), ("win", "windows/amd64")] {
        let config =
            world.store.push_blob(CI, media_type::OCI_CONFIG, Image::of(platform).config());
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": config, "layers": [base, base],
        });
        let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
        world.store.push_manifest(CI, Some(tag), &raw);
    }
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(report.count("PUT blob"), 3);
    let asked = report.requests.iter().filter(|request| request.contains(base.digest.as_str()));
    assert_eq!(asked.count(), 4, "HEAD, GET, POST, PUT");
}

/// The tag names the index already: nothing of it is copied again.
#[tokio::test(start_paused = true)]
async fn nothing_is_copied_where_the_index_is_there() {
    let mut world = pair_in(ELSEWHERE);
    world.run().await;
    let (store, published) = (world.store.clone(), world.tagged());
    let mut world = pair_in(ELSEWHERE);
    world.store = store;
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    // Nobody knows yet whether the images of that index are still there.
    report.assert_counts(2, 5, 0);
    assert_eq!(report.count("POST"), 0);
    assert_eq!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn a_second_version_copies_only_what_is_new() {
    let mut world = pair_in(ELSEWHERE);
    world.run().await;
    // The same config, another layer.
    world.store.push(CI, Some("arm64"), &Image::of("linux/arm64").salted("2"));
    world.later(10);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    let amd64 = image_of(&world, "amd64").0;
    let heads = report.requests.iter().filter(|r| r.starts_with("HEAD manifest"));
    assert!(heads.clone().any(|r| r.ends_with(&format!("{PATH}@{amd64}"))), "{heads:?}");
    let arm64 = image_of(&world, "arm64").1;
    let sent: Vec<_> = report.requests.iter().filter(|r| r.starts_with("PUT blob")).collect();
    let new: Vec<_> = arm64.layers.iter().chain([&arm64.config]).collect();
    assert!(sent.iter().all(|r| new.iter().any(|b| r.ends_with(b.digest.as_str()))), "{sent:?}");
    assert_eq!(report.count("PUT manifest"), 2, "the image that is new, and the index");
    world.later(10);
    world.run().await.assert_idle(3);
}

/// What was published and has been deleted behind our back is copied again with the next version.
#[tokio::test(start_paused = true)]
async fn a_published_image_that_is_gone_is_copied_again() {
    let mut world = pair_in(ELSEWHERE);
    world.run().await;
    let amd64 = image_of(&world, "amd64").0;
    world.store.delete_manifest(PATH, &amd64);
    world.store.push(CI, Some("arm64"), &Image::of("linux/arm64").salted("2"));
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(world.store.manifest(PATH, &TagOrDigest::Digest(amd64)).is_some());
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn a_blob_that_is_gone_is_awaited(#[values(SAME, ELSEWHERE)] repository: &str) {
    let mut world = pair_in(repository);
    let (digest, image) = image_of(&world, "arm64");
    let layer = &image.layers[0].digest;
    world.store.delete_blob(CI, layer);
    for run in 0..3 {
        let report = world.run().await;
        world.assert_ready("Unknown", "WaitingForPlatforms");
        world.assert_reconciling("WaitingForPlatforms");
        world.assert_message(&[layer.as_str(), digest.as_str(), repository]);
        assert_eq!(world.source("arm64").state, SourceState::Incomplete);
        assert!(world.source("arm64").message.as_ref().unwrap().contains(layer.as_str()));
        assert_eq!(world.source("amd64").state, SourceState::Resolved);
        assert_eq!((report.count("PUT manifest"), report.changed), (0, run == 0));
        assert_eq!(report.retry, Some(Retry::Interval));
        assert!(world.tagged().is_none());
        world.later(10);
    }
    // It is pushed again: the image has the same digest.
    world.store.push_image(CI, "arm64", "linux/arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.source("arm64").state, SourceState::Resolved);
    world.later(10);
    world.run().await.assert_idle(3);
}

#[rstest]
#[case::rate_limited(rate_limited, "RateLimited", Retry::After(Duration::from_secs(77)))]
#[case::unavailable(unavailable, "RegistryUnreachable", Retry::Backoff)]
#[tokio::test(start_paused = true)]
async fn a_source_registry_that_fails_in_the_middle(
    #[case] error: fn(&Request) -> RegistryError,
    #[case] reason: &str,
    #[case] retry: Retry,
    #[values(false, true)] published: bool,
) {
    let mut world = pair_in(ELSEWHERE);
    if published {
        world.run().await;
        for (tag, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64")] {
            world.store.push(CI, Some(tag), &Image::of(platform).salted("2"));
        }
        world.later(10);
    }
    let before = world.tagged();
    let layer = image_of(&world, "arm64").1.layers[0].digest.to_string();
    world.store.fail(move |request| request.method == "GET" && request.of.ends_with(&layer), error);
    let report = world.run().await;
    world.assert_ready("False", reason);
    world.assert_reconciling(reason);
    world.assert_message(&["failed to copy", ELSEWHERE]);
    assert_eq!((report.retry, report.count("PUT manifest")), (Some(retry), 0));
    assert_eq!(world.tagged(), before);
    world.store.mend();
    world.later(10);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(report.count("PUT blob") < 3, "it goes on where it was: {:#?}", report.requests);
}

fn no_quota(request: &Request) -> RegistryError {
    RegistryError::Denied {
        host: HOST.into(),
        request: request.clone(),
        credential: "the credential of Secret push".into(),
        status: 403,
        codes: vec!["QUOTA_EXCEEDED".into()],
    }
}

fn refused(request: &Request) -> RegistryError {
    RegistryError::Refused {
        host: HOST.into(),
        request: request.clone(),
        status: 400,
        codes: vec!["MANIFEST_INVALID".into()],
    }
}

#[rstest]
#[case::upload("POST", no_quota, "AccessDenied", "QUOTA_EXCEEDED")]
#[case::manifest("PUT manifest", no_quota, "AccessDenied", "QUOTA_EXCEEDED")]
#[case::upload_refused("POST", refused, "PushFailed", "400")]
#[case::manifest_refused("PUT manifest", refused, "PushFailed", "400")]
#[tokio::test(start_paused = true)]
async fn a_target_that_refuses(
    #[case] what: &'static str,
    #[case] error: fn(&Request) -> RegistryError,
    #[case] reason: &str,
    #[case] word: &str,
) {
    let mut world = pair_in(ELSEWHERE);
    world.store.fail(move |request| request.to_string().starts_with(what), error);
    world.run().await;
    world.assert_ready("False", reason);
    world.assert_message(&[HOST, word, "failed to copy"]);
    assert!(world.tagged().is_none());
    assert!(world.status.sources.iter().all(|s| s.state == SourceState::Resolved));
    world.store.mend();
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// An image of which a layer is to be had at URLs only.
fn foreign(world: &World, tag: &str, platform: &str) -> Digest {
    let config = world.store.push_blob(CI, media_type::OCI_CONFIG, Image::of(platform).config());
    let own = world.store.push_blob(CI, "application/vnd.oci.image.layer.v1.tar", "own".into());
    let layer = Digest::of(b"elsewhere");
    let document = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config,
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "size": 9,
             "digest": layer, "urls": ["https://vendor.example/layer"]},
            own,
        ],
    });
    let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
    world.store.push_manifest(CI, Some(tag), &raw);
    layer
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn foreign_layers_are_not_copied(#[values(false, true)] published: bool) {
    let mut world = pair_in(ELSEWHERE);
    if published {
        world.run().await;
        world.later(10);
    }
    let layer = foreign(&world, "arm64", "linux/arm64");
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(!report.requests.iter().any(|request| request.contains(layer.as_str())));
}

/// A registry that refuses such images is named with the layer, and asked again: it may be told
/// to take them.
#[rstest]
#[tokio::test(start_paused = true)]
async fn foreign_layers_that_are_refused(#[values(false, true)] published: bool) {
    let mut world = pair_in(ELSEWHERE);
    if published {
        world.run().await;
        world.later(10);
    }
    let before = world.tagged();
    let layer = foreign(&world, "arm64", "linux/arm64");
    let image = image_of(&world, "arm64").0;
    let refuses = format!("PUT manifest {PATH}@{image}");
    world.store.fail(move |request| request.to_string() == refuses, refused);
    for _ in 0..2 {
        world.run().await;
        world.assert_stalled("UnsupportedContent");
        world.assert_message(&[layer.as_str(), image.as_str()]);
        assert_eq!(world.tagged(), before);
        world.later(10);
    }
    world.store.mend();
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// A Secret that has nothing for the source's registry, and one that has nothing for the target's.
#[rstest]
#[case::source("r.example", ELSEWHERE, SourceState::Unauthorized)]
#[case::target("other.example", "r.example/team/app", SourceState::Resolved)]
#[tokio::test(start_paused = true)]
async fn a_secret_for_the_other_registry(
    #[case] host: &str,
    #[case] lacks: &str,
    #[case] state: SourceState,
) {
    let mut world = pair_in(ELSEWHERE);
    let secret = Some(SecretRef { name: "login".into() });
    if state == SourceState::Resolved {
        world.spec.target.secret_ref = secret;
    } else {
        world.spec.sources[1].secret_ref = secret;
    }
    world.run().await;
    world.assert_ready("False", "SecretNotFound");
    world.assert_message(&["Secret login"]);
    let auths = json!({ "auths": { host: { "username": "u", "password": "p" } } });
    world.secrets.insert("login".into(), auths.to_string());
    world.later(10);
    world.run().await;
    world.assert_ready("False", "SecretInvalid");
    world.assert_message(&["Secret login", lacks]);
    assert_eq!(world.source("arm64").state, state);
    assert!(world.tagged().is_none());
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn attestations_are_copied(#[values(SAME, ELSEWHERE)] repository: &str) {
    let mut world = World::new(vec![from(repository, "a"), from(repository, "b")]);
    world.store.push_attested(CI, "a", &Image::of("linux/amd64"));
    world.store.push_attested(CI, "b", &Image::of("linux/arm64"));
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    // Two images, two attestations, and the index.
    assert_eq!((world.index().manifests.len(), report.count("PUT manifest")), (4, 5));
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_gone_after_publication_is_looked_for_at_the_target() {
    let mut world = pair_in(ELSEWHERE);
    world.run().await;
    let published = world.tagged();
    let arm64 = image_of(&world, "arm64").0;
    world.store.delete_manifest(CI, &arm64);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.source("arm64").state, SourceState::Missing);
    world.later(10);
    let report = world.run().await;
    report.assert_idle(3);
    let child = format!("HEAD manifest {PATH}@{arm64}");
    assert!(report.requests.contains(&child), "{report:?}");
    // Also beside an edit, which needs what the tag has.
    world.edit(|spec| {
        spec.annotations.insert("a".into(), "b".into());
    });
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_ne!(world.tagged(), published);
    assert_eq!(report.count("PUT"), 1, "only the index");

    world.store.delete_manifest(PATH, &arm64);
    world.later(10);
    world.run_dangling().await;
    world.assert_ready("False", "ChildMissing");
    world.assert_message(&[arm64.as_str(), &format!("{HOST}/{PATH}")]);
}

/// Two sources of two places, one of them the target's own repository.
#[tokio::test(start_paused = true)]
async fn only_what_is_elsewhere_is_copied() {
    let mut world = World::new(vec![source("amd64"), from(ELSEWHERE, "arm64")]);
    world.push("amd64", "linux/amd64");
    world.store.push_image(CI, "arm64", "linux/arm64");
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!((report.count("PUT blob"), report.count("PUT manifest")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_takes_too_long_says_how_far_it_is() {
    let mut world = pair_in(ELSEWHERE);
    world.spec.timeout = Duration::from_mins(1).into();
    let layer = image_of(&world, "arm64").1.layers[0].digest.clone();
    world
        .store
        .hang(move |request| request.method == "PUT" && request.of.ends_with(layer.as_str()));
    let report = world.run().await;
    world.assert_ready("False", "TimedOut");
    world.assert_reconciling("TimedOut");
    world.assert_message(&[
        "spec.timeout",
        "60s",
        "while copying",
        "3 of 4 blobs and 0 of 2 manifests",
    ]);
    assert_eq!((report.retry, report.count("PUT manifest")), (Some(Retry::Backoff), 0));
    world.store.mend();
    world.later(10);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(report.count("PUT blob"), 1, "it goes on where it was");
}

/// Where its bytes would be sent for ever, a person must act. A new generation starts anew.
#[tokio::test(start_paused = true)]
async fn a_copy_that_takes_too_long_in_the_same_blob_twice() {
    let mut world = pair_in(ELSEWHERE);
    world.spec.timeout = Duration::from_mins(1).into();
    let layer = image_of(&world, "arm64").1.layers[0].digest.clone();
    let slow = layer.to_string();
    world.store.hang(move |request| request.method == "PUT" && request.of.ends_with(&slow));
    world.run().await;
    world.assert_reconciling("TimedOut");
    for _ in 0..2 {
        world.later(10);
        world.run().await;
        world.assert_stalled("TimedOut");
        world.assert_message(&["raise spec.timeout", layer.as_str()]);
    }
    world.edit(|spec| spec.timeout = Duration::from_mins(2).into());
    world.run().await;
    world.assert_ready("False", "TimedOut");
    world.assert_reconciling("TimedOut");
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    BlobGone,
    RateLimited,
    Unavailable,
    ForeignLayer,
}

/// Neither its absence nor its failure holds the index back, not even in the middle of a copy. What
/// was published from it stays.
#[rstest]
#[case::gone(Trouble::BlobGone, SourceState::Incomplete)]
#[case::rate_limited(Trouble::RateLimited, SourceState::RateLimited)]
#[case::unavailable(Trouble::Unavailable, SourceState::Unreachable)]
#[case::foreign(Trouble::ForeignLayer, SourceState::Unsupported)]
#[tokio::test(start_paused = true)]
async fn an_optional_source_that_cannot_be_copied_holds_nothing_back(
    #[case] trouble: Trouble,
    #[case] state: SourceState,
    #[values(false, true)] published: bool,
) {
    let mut world = pair_in(ELSEWHERE);
    world.spec.sources[1].optional = true;
    let mut old = None;
    if published {
        world.run().await;
        world.later(10);
        old = Some(image_of(&world, "arm64").0);
        for (tag, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64")] {
            world.store.push(CI, Some(tag), &Image::of(platform).salted("2"));
        }
    }
    let layer = match trouble {
        Trouble::ForeignLayer => foreign(&world, "arm64", "linux/arm64").to_string(),
        _ => image_of(&world, "arm64").1.layers[0].digest.to_string(),
    };
    let image = image_of(&world, "arm64").0;
    let read = layer.clone();
    let reads = move |r: &Request| r.method == "GET" && r.of.ends_with(&read);
    let refuses = format!("PUT manifest {PATH}@{image}");
    match trouble {
        Trouble::BlobGone => world.store.delete_blob(CI, &layer.parse().unwrap()),
        Trouble::RateLimited => world.store.fail(reads, rate_limited),
        Trouble::Unavailable => world.store.fail(reads, unavailable),
        Trouble::ForeignLayer => {
            world.store.fail(move |request| request.to_string() == refuses, refused);
        }
    }
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let source = world.source("arm64");
    assert_eq!(source.state, state);
    assert!(source.message.as_ref().unwrap().contains(image.as_str()), "{source:?}");
    assert!(world.digests().contains(&image_of(&world, "amd64").0));
    assert_eq!(world.digests().len(), if published { 2 } else { 1 });
    assert!(old.is_none_or(|old| world.digests().contains(&old)));
    world.assert_fixpoint().await;
    // It is tried again each interval.
    world.store.mend();
    if let Trouble::BlobGone = trouble {
        return;
    }
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.source("arm64").state, SourceState::Resolved);
    assert!(world.digests().contains(&image));
}

/// A blob that one repository has lost may be in that of another source.
#[tokio::test(start_paused = true)]
async fn a_shared_blob_is_taken_from_where_it_is() {
    const OTHER: &str = "third/app";
    let mut world = World::new(vec![
        from(ELSEWHERE, "amd64"),
        from(&format!("third.example/{OTHER}"), "arm64"),
    ]);
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let mut base = None;
    for (path, tag) in [(CI, "amd64"), (OTHER, "arm64")] {
        let platform = format!("linux/{tag}");
        let config = Image::of(&platform).config();
        let config = world.store.push_blob(path, media_type::OCI_CONFIG, config);
        let shared = world.store.push_blob(path, layer, "base".into());
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": config, "layers": [shared],
        });
        let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
        world.store.push_manifest(path, Some(tag), &raw);
        base = Some(shared.digest);
    }
    let base = base.unwrap();
    world.store.delete_blob(CI, &base);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    // Lost by both, it is told of the first one.
    let mut again = World::new(world.spec.sources.clone());
    std::mem::swap(&mut again.store, &mut world.store);
    again.store.delete_tag(PATH, TAG);
    again.store.delete_blob(PATH, &base);
    again.store.delete_blob(OTHER, &base);
    again.run_unchecked().await;
    again.assert_ready("Unknown", "WaitingForPlatforms");
    assert_eq!(again.source("amd64").state, SourceState::Incomplete);
}

/// What no tag names yet may be collected while something else is copied for a long time.
#[rstest]
#[case::at_once(1, "True", "Succeeded")]
#[case::long_ago(11, "False", "ChildMissing")]
#[tokio::test(start_paused = true)]
async fn what_was_seen_long_ago_is_looked_for_again(
    #[case] minutes: u64,
    #[case] status: &str,
    #[case] reason: &str,
) {
    let mut world = World::new(vec![source("amd64"), from(ELSEWHERE, "arm64")]);
    let here = world.push("amd64", "linux/amd64");
    world.store.push_image(CI, "arm64", "linux/arm64");
    let asked = format!("HEAD manifest {PATH}@{}", here.digest);
    let store = world.store.clone();
    world.store.delay(Duration::from_mins(minutes), move |request| {
        let sends = request.to_string().starts_with("PUT blob");
        if sends && minutes > 10 {
            store.delete_manifest(PATH, &here.digest);
        }
        sends
    });
    let report = world.run_unchecked().await;
    world.assert_ready(status, reason);
    assert_eq!(report.requests.contains(&asked), minutes > 10, "{report:#?}");
    assert_eq!(world.tagged().is_some(), minutes < 10);
}

/// An index of images that are as large as one may be: what is kept of them has a bound.
#[tokio::test(start_paused = true)]
async fn manifests_that_are_large_in_sum_are_refused() {
    let mut world = World::new(vec![from(ELSEWHERE, "huge")]);
    let children = (0..8).map(|n| {
        let platform = format!("linux/arm64/v{n}");
        let config = Image::of(&platform).config();
        let config = world.store.push_blob(CI, media_type::OCI_CONFIG, config);
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config,
            "layers": [], "annotations": {"long": "x".repeat(4_000_000)},
        });
        let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
        let listed = world.store.push_manifest(CI, None, &raw);
        Descriptor { platform: Some(platform.parse().unwrap()), ..listed }
    });
    world.store.push_index(CI, Some("huge"), children.collect());
    let report = world.run().await;
    world.assert_stalled("UnsupportedContent");
    world.assert_message(&["ci/app:huge", "16777216 bytes together"]);
    assert!(report.count("GET manifest ci/app@") <= 5, "{:#?}", report.requests);
    assert_eq!(report.count("PUT"), 0);
}

/// What a digest names does not change, so only the images of the index are looked for: a registry
/// that is away or cleaned up takes nothing from what is published.
#[rstest]
#[tokio::test(start_paused = true)]
async fn a_pinned_source_is_not_asked_again(
    #[values("r.example/team/app", SAME, ELSEWHERE)] repository: &str,
) {
    let mut world = World::new(Vec::new());
    let path = repository.split_once('/').unwrap().1;
    for arch in ["amd64", "arm64"] {
        let digest = world.store.push_image(path, arch, &format!("linux/{arch}")).digest;
        let image = format!("{repository}@{digest}");
        world.spec.sources.push(Source { image, ..source(arch) });
    }
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.store.fail(|request| request.of.starts_with(CI), unavailable);
    for _ in 0..2 {
        world.later(10);
        let report = world.run().await;
        report.assert_idle(1);
        assert_eq!(report.children, 2);
        world.restart();
    }
}

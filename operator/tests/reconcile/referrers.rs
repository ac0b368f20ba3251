//! With referrers: Copy, signatures and SBOMs go along with images that move, before the tag, and hold nothing back.

use std::time::Duration;

use multiarch_crds::v1alpha1::{
    PlatformPolicy, Referrers, RemovalPolicy, SecretRef, Source, TagPolicy,
};
use multiarch_operator::{
    oci::{Descriptor, Digest, Manifest, TagOrDigest, referrer::fallback_tag},
    registry::{RegistryError, Request, memory::Image},
};
use rstest::rstest;
use tokio::time::Instant;

use crate::world::*;

/// A repository of the target's registry, and one of another registry. The store tells them apart
/// by path.
const SAME: &str = "r.example/ci/app";
const ELSEWHERE: &str = "other.example/ci/app";
const CI: &str = "ci/app";
const SKIPPED: &str = "ReferrerSkipped";

fn from(repository: &str, tag: &str) -> Source {
    Source { image: format!("{repository}:{tag}"), ..source(tag) }
}

/// The sources amd64 and arm64 in `repository`, and their images.
fn pair_in(repository: &str) -> (World, Descriptor, Descriptor) {
    let mut world = World::new(vec![from(repository, "amd64"), from(repository, "arm64")]);
    world.spec.referrers = Referrers::Copy;
    let amd64 = world.store.push_image(CI, "amd64", "linux/amd64");
    let arm64 = world.store.push_image(CI, "arm64", "linux/arm64");
    (world, amd64, arm64)
}

fn cosign(of: &Descriptor, suffix: &str) -> String {
    format!("{}.{suffix}", fallback_tag(&of.digest))
}

/// What cosign keeps under a tag about `of`.
fn sign(world: &World, path: &str, of: &Descriptor, salt: &str) -> Descriptor {
    let signature = Image::of("linux/amd64").salted(salt);
    world.store.push(path, Some(&cosign(of, "sig")), &signature)
}

/// Whether the target's repository has `digest`, and all its blobs.
fn has(world: &World, digest: &Digest) -> bool {
    let there = world.store.manifest(PATH, &TagOrDigest::Digest(digest.clone()));
    there.is_some_and(|raw| match raw.parse().unwrap() {
        Manifest::Image(image) => {
            let blobs = image.layers.into_iter().chain([image.config]);
            blobs.map(|blob| world.store.blob(PATH, &blob.digest)).all(|blob| blob.is_some())
        }
        Manifest::Index(_) => false,
    })
}

/// Those of the requests that look for something in the source's repository that refers to another
/// thing.
fn looks(report: &Report) -> Vec<&String> {
    let is_look = |request: &&String| {
        let list = format!("GET referrers {CI}@");
        let tag = format!("HEAD manifest {CI}:sha256-");
        request.starts_with(&list) || request.starts_with(&tag)
    };
    report.requests.iter().filter(is_look).collect()
}

/// What was told of referrers.
fn told(report: &Report) -> Option<&String> {
    let told = report.events.iter().zip(&report.notes);
    let mut notes = told.filter(|(reason, _)| *reason == SKIPPED).map(|(_, note)| note);
    let note = notes.next();
    assert_eq!(notes.next(), None, "one Event tells all");
    assert!(note.is_none_or(|note| note.len() <= 1024));
    note
}

#[track_caller]
fn assert_told(report: &Report, words: &[&str]) {
    let note = told(report).unwrap_or_else(|| panic!("nothing is told: {report:#?}"));
    for word in words {
        assert!(note.contains(word), "{word:?} is not in {note:?}");
    }
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn all_that_refers_comes_along_before_the_tag(
    #[values(SAME, ELSEWHERE)] repository: &str,
    #[values(false, true)] mounts: bool,
) {
    let (mut world, amd64, arm64) = pair_in(repository);
    if !mounts {
        world.store.refuse_mounts();
    }
    let sbom = world.store.push_referrer(CI, &arm64, "sbom");
    let of_sbom = world.store.push_referrer(CI, &sbom, "signature of the sbom");
    let provenance = world.store.push_referrer(CI, &amd64, "provenance");
    for suffix in ["sig", "att", "sbom"] {
        let image = Image::of("linux/amd64").salted(suffix);
        world.store.push(CI, Some(&cosign(&arm64, suffix)), &image);
    }
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(told(&report), None);
    for digest in [&sbom.digest, &of_sbom.digest, &provenance.digest] {
        assert!(has(&world, digest), "{digest}");
    }
    for subject in [&amd64, &arm64, &sbom] {
        let [here, there] = [CI, PATH].map(|path| world.store.referrers(path, &subject.digest));
        assert_eq!(here, there);
    }
    for suffix in ["sig", "att", "sbom"] {
        let tag = cosign(&arm64, suffix);
        assert_eq!(world.store.tagged(PATH, &tag), world.store.tagged(CI, &tag), "{tag}");
        assert!(has(&world, &world.named(&tag).unwrap()));
    }
    let log: Vec<_> = world.store.requests().iter().map(ToString::to_string).collect();
    let tag = log.iter().position(|r| *r == format!("PUT manifest {PATH}:{TAG}")).unwrap();
    assert!(log[tag + 1..].iter().all(|r| *r == format!("HEAD manifest {PATH}:{TAG}")), "{log:#?}");

    world.later(10);
    world.run().await.assert_idle(3);
    // At the next look all is there.
    world.later(360);
    let report = world.run().await;
    assert_eq!((report.count("PUT"), report.count("POST"), told(&report)), (0, 0, None));
    assert!(!report.changed);
}

#[rstest]
#[case::in_the_targets_repository("r.example/team/app", Referrers::Copy)]
#[case::not_told_to(ELSEWHERE, Referrers::Ignore)]
#[tokio::test(start_paused = true)]
async fn nothing_is_asked(#[case] repository: &str, #[case] referrers: Referrers) {
    let mut world = World::new(vec![from(repository, "amd64"), from(repository, "arm64")]);
    world.spec.referrers = referrers;
    for (path, tag) in [(CI, "amd64"), (CI, "arm64"), (PATH, "amd64"), (PATH, "arm64")] {
        let image = world.store.push_image(path, tag, &format!("linux/{tag}"));
        world.store.push_referrer(path, &image, "sbom");
    }
    for _ in 0..2 {
        let report = world.run().await;
        world.assert_ready("True", "Succeeded");
        let about = |r: &&String| r.contains(" referrers ") || r.contains(":sha256-");
        assert_eq!(report.requests.iter().find(about), None);
        world.later(360);
    }
}

/// REGISTRY.md's budget has five: the port's one for the list may be two at the wire.
#[tokio::test(start_paused = true)]
async fn four_requests_an_image_every_six_hours() {
    let (mut world, _, _) = pair_in(ELSEWHERE);
    let report = world.run().await;
    assert_eq!(looks(&report).len(), 8, "{:#?}", report.requests);
    world.later(359);
    world.run().await.assert_idle(3);
    world.later(1);
    let report = world.run().await;
    assert_eq!(looks(&report).len(), 8);
    report.assert_counts(2 + 1 + 2 + 6, 2, 0);
    assert!(!report.changed && report.events.is_empty());
    world.later(10);
    world.run().await.assert_idle(3);
    world.restart();
    assert_eq!(looks(&world.run().await).len(), 8);
    world.later(10);
    world.run().await.assert_idle(3);
    world.request();
    assert_eq!(looks(&world.run().await).len(), 8, "a person may have signed just now");
}

#[tokio::test(start_paused = true)]
async fn a_second_version_asks_for_its_new_images() {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    world.run().await;
    world.later(200);
    let arm64 = world.store.push(CI, Some("arm64"), &Image::of("linux/arm64").salted("2"));
    let sbom = world.store.push_referrer(CI, &arm64, "sbom");
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    // The image's, and its SBOM's.
    assert_eq!(looks(&report).len(), 4 + 1, "{:#?}", report.requests);
    assert!(has(&world, &sbom.digest));
    // That does not put off the look at the other one.
    world.later(160);
    let report = world.run().await;
    let looks = looks(&report);
    assert_eq!(looks.len(), 4);
    assert!(looks.iter().all(|r| r.contains(amd64.digest.encoded())), "{looks:?}");
}

/// Signed after it was published: the common order of a pipeline.
#[tokio::test(start_paused = true)]
async fn what_comes_later_is_found_at_the_next_look() {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    world.run().await;
    let signature = sign(&world, CI, &amd64, "late").digest;
    let sbom = world.store.push_referrer(CI, &amd64, "sbom").digest;
    world.later(360);
    let report = world.run().await;
    assert!(has(&world, &signature) && has(&world, &sbom));
    assert!(!report.changed && report.events.is_empty(), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn another_signature_at_the_target_stays_and_is_told_once_a_look() {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    sign(&world, CI, &amd64, "upstream's");
    let ours = sign(&world, PATH, &amd64, "ours").digest;
    let tag = cosign(&amd64, "sig");
    for look in 0..3 {
        let report = world.run().await;
        world.assert_ready("True", "Succeeded");
        assert_told(&report, &[&format!("{ELSEWHERE}:{tag} was not copied"), "another one"]);
        assert_eq!(report.count("GET blob"), if look == 0 { 6 } else { 0 }, "no blob of it moves");
        assert_eq!(world.named(&tag).as_ref(), Some(&ours));
        world.later(10);
        world.run().await.assert_idle(3);
        world.later(350);
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_is_made_at_the_target_meanwhile_stays() {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    sign(&world, CI, &amd64, "upstream's");
    let tag = cosign(&amd64, "sig");
    let (store, made) = (world.store.clone(), tag.clone());
    world.store.fail(
        move |request| {
            if request.to_string() == format!("GET manifest {CI}:{made}") {
                store.push(PATH, Some(&made), &Image::of("linux/amd64").salted("ours"));
            }
            false
        },
        |_| unreachable!("it only changes the store"),
    );
    assert_told(&world.run().await, &["another one"]);
    assert_ne!(world.store.tagged(PATH, &tag), world.store.tagged(CI, &tag));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_64_an_image() {
    let (mut world, amd64, arm64) = pair_in(ELSEWHERE);
    for n in 0..65 {
        world.store.push_referrer(CI, &amd64, &n.to_string());
    }
    // Each about the one before.
    let mut about = arm64.clone();
    for n in 0..65 {
        about = world.store.push_referrer(CI, &about, &format!("link {n}"));
    }
    let signature = sign(&world, CI, &amd64, "1").digest;
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_told(&report, &["more than 64", &about.digest.to_string()]);
    assert_eq!(world.store.referrers(PATH, &amd64.digest).len(), 64);
    assert!(!has(&world, &about.digest), "the 65th");
    assert!(has(&world, &signature), "tags are looked for all the same");
}

fn refused(request: &Request) -> RegistryError {
    RegistryError::Refused {
        host: HOST.into(),
        request: request.clone(),
        status: 400,
        codes: vec!["MANIFEST_INVALID".into()],
    }
}

fn unreachable(request: &Request) -> RegistryError {
    RegistryError::Unreachable {
        host: HOST.into(),
        request: request.clone(),
        why: "connection refused".into(),
        sent: false,
    }
}

fn too_slow(request: &Request) -> RegistryError {
    RegistryError::TooSlow {
        host: HOST.into(),
        request: request.clone(),
        limit: "no answer within 30s".into(),
    }
}

type Error = fn(&Request) -> RegistryError;

/// Whatever fails wherever: the index is published, one Event says it, and it is tried again.
#[rstest]
#[tokio::test(start_paused = true)]
async fn no_failure_holds_the_index(
    #[values(
        (unauthorized as Error, false, "401"),
        (denied as Error, false, "403"),
        (refused as Error, false, "400"),
        (rate_limited as Error, true, "429"),
        (unavailable as Error, true, "503"),
        (unreachable as Error, true, "connection refused"),
        (too_slow as Error, true, "no answer within 30s"),
    )]
    (error, may_pass, word): (Error, bool, &str),
    #[values(
        "GET referrers ci/app@AMD64",
        "GET referrers team/app@AMD64",
        "GET manifest ci/app@SBOM",
        "PUT manifest team/app@SBOM",
        "PUT blob team/app@LAYER",
        "HEAD manifest ci/app:TAG",
        "HEAD manifest team/app:TAG",
        "GET manifest ci/app:TAG",
        "PUT manifest team/app:TAG"
    )]
    what: &str,
) {
    let (mut world, amd64, arm64) = pair_in(ELSEWHERE);
    let sbom = world.store.push_referrer(CI, &amd64, "sbom").digest;
    let signature = sign(&world, CI, &amd64, "1").digest;
    let of_arm64 = world.store.push_referrer(CI, &arm64, "sbom of arm64").digest;
    let layer = Digest::of(&multiarch_operator::registry::memory::images::about("sbom")[1]);
    let what = what
        .replace("AMD64", amd64.digest.as_str())
        .replace("SBOM", sbom.as_str())
        .replace("LAYER", layer.as_str())
        .replace("TAG", &cosign(&amd64, "sig"));
    world.store.fail(move |request| request.to_string() == what, error);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(report.retry, None);
    assert_told(&report, &[word, "was not copied", ELSEWHERE, HOST]);
    assert!(has(&world, &of_arm64), "the other image's are copied");

    // Soon, and without a word, where it may pass; then less and less often.
    let mut tries = 0;
    for _ in 0..35 {
        world.later(10);
        let report = world.run().await;
        assert!(!report.changed && report.events.is_empty(), "{report:#?}");
        let looks = looks(&report);
        assert!(looks.iter().all(|r| !r.contains(arm64.digest.encoded())), "{looks:?}");
        tries += usize::from(!looks.is_empty());
    }
    assert_eq!(tries, if may_pass { 5 } else { 0 }, "after 10, 30, 70, 150 and 310 minutes");
    // It is told again as often as a look is due.
    world.later(360);
    assert_told(&world.run().await, &[word]);
    world.store.mend();
    world.later(360);
    assert_eq!(told(&world.run().await), None);
    assert!(has(&world, &sbom) && has(&world, &signature));
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_changes_is_told() {
    let (mut world, _, _) = pair_in(ELSEWHERE);
    let fail = |world: &World, error: Error| {
        world.store.mend();
        world.store.fail(|request| request.noun == "referrers", error);
    };
    fail(&world, unavailable);
    assert_told(&world.run().await, &["503", "what refers to"]);
    fail(&world, denied);
    world.later(10);
    assert_told(&world.run().await, &["403"]);
}

/// What mends a failure is often an edit of the spec, or a request after one of a Secret.
#[tokio::test(start_paused = true)]
async fn a_person_does_not_wait_six_hours() {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    let sbom = world.store.push_referrer(CI, &amd64, "sbom").digest;
    let of = amd64.digest.to_string();
    world.store.fail(move |r| r.noun == "referrers" && r.of.ends_with(&of), denied);
    assert_told(&world.run().await, &["403"]);
    world.later(10);
    world.request();
    assert_told(&world.run().await, &["403"]);
    world.store.mend();
    world.later(10);
    world.edit(|spec| spec.interval = Duration::from_mins(7).into());
    let report = world.run().await;
    assert!(has(&world, &sbom));
    let amd64 = amd64.digest.encoded().to_owned();
    let others = looks(&report).into_iter().filter(|r| !r.contains(&amd64)).count();
    assert_eq!(others, 1, "the SBOM's: what was not skipped is not asked for again");
}

/// Of both minutes, and of a quarter of the run's own time, the smaller one.
#[rstest]
#[case(Duration::from_hours(1), 120)]
#[case(Duration::from_mins(1), 15)]
#[tokio::test(start_paused = true)]
async fn it_takes_two_minutes_at_most(#[case] timeout: Duration, #[case] seconds: u64) {
    let (mut world, amd64, arm64) = pair_in(ELSEWHERE);
    world.spec.timeout = timeout.into();
    let sbom = world.store.push_referrer(CI, &arm64, "sbom").digest;
    let of = amd64.digest.to_string();
    world.store.hang(move |request| request.noun == "referrers" && request.of.ends_with(&of));
    let begun = Instant::now();
    let report = world.run().await;
    assert_eq!(begun.elapsed().as_secs(), seconds);
    world.assert_ready("True", "Succeeded");
    assert_told(&report, &["not time enough", ELSEWHERE, amd64.digest.as_str()]);
    assert!(has(&world, &sbom), "the other image's are copied");
    world.store.mend();
    world.later(10);
    let report = world.run().await;
    assert!(looks(&report).iter().all(|r| r.contains(amd64.digest.encoded())));
    assert_eq!(looks(&report).len(), 4);
}

/// However many there are, the note fits, and says that there are more.
#[tokio::test(start_paused = true)]
async fn many_failures_are_counted() {
    let (mut world, amd64, arm64) = pair_in(ELSEWHERE);
    for n in 0..20 {
        world.store.push_referrer(CI, &amd64, &n.to_string());
        world.store.push_referrer(CI, &arm64, &format!("of arm64 {n}"));
    }
    let images = [amd64.digest.to_string(), arm64.digest.to_string()];
    let is_referrer = move |of: &str| {
        let digest = of.strip_prefix("ci/app@");
        digest.is_some_and(|digest| !images.iter().any(|image| image == digest))
    };
    world.store.fail(move |r| r.noun == "manifest" && is_referrer(&r.of), denied);
    // Nine notes an image, of which some fit.
    assert_told(&world.run().await, &["403", "; 15 more"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_mirrored_comes_with_what_refers_to_its_index() {
    let mut world = World::new(vec![from(ELSEWHERE, "app")]);
    world.spec.referrers = Referrers::Copy;
    let images = ["linux/amd64", "linux/arm64"].map(|p| world.listed(CI, &Image::of(p)));
    let sbom = world.store.push_referrer(CI, &images[0], "sbom").digest;
    let index = world.store.push_index(CI, Some("app"), images.into());
    let of_index = world.store.push_referrer(CI, &index, "signature").digest;
    let signature = sign(&world, CI, &index, "1").digest;
    world.run().await;
    assert_eq!(world.named(TAG).as_ref(), Some(&index.digest));
    for digest in [&sbom, &of_index, &signature] {
        assert!(has(&world, digest));
    }
    world.later(10);
    world.run().await.assert_idle(2);
    let late = world.store.push_referrer(CI, &index, "another").digest;
    world.later(360);
    world.run().await;
    assert!(has(&world, &late), "also when it is looked for again");
    // What is made new has another digest, which nobody signed.
    world.edit(|spec| {
        spec.annotations.insert("a".into(), "b".into());
    });
    world.store.push_referrer(CI, &index, "a third");
    world.later(360);
    let report = world.run().await;
    assert!(looks(&report).iter().all(|r| !r.contains(index.digest.encoded())));
}

/// What was looked for is remembered and told although the push fails, again and again.
#[tokio::test(start_paused = true)]
async fn a_push_that_fails_does_not_ask_again() {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    sign(&world, CI, &amd64, "upstream's");
    sign(&world, PATH, &amd64, "ours");
    world.store.fail(|request| request.to_string() == format!("PUT manifest {PATH}:{TAG}"), denied);
    let report = world.run().await;
    world.assert_ready("False", "AccessDenied");
    assert_told(&report, &["another one"]);
    world.later(1);
    let report = world.run().await;
    assert_eq!((looks(&report).len(), told(&report)), (0, None));
}

/// The tag may move while all that is copied.
#[tokio::test(start_paused = true)]
async fn the_tag_is_looked_at_again_after_it() {
    let (mut world, _, _) = pair_in(ELSEWHERE);
    world.run().await;
    world.later(360);
    world.edit(|spec| {
        spec.annotations.insert("a".into(), "b".into());
    });
    let foreign = world.push_foreign_as("foreign", &["linux/s390x"]).digest;
    let store = world.store.clone();
    world.store.fail(
        move |request| {
            if request.noun == "referrers" {
                store.tag(PATH, TAG, &foreign);
            }
            false
        },
        |_| unreachable!("it only changes the store"),
    );
    let report = world.run().await;
    assert_eq!(report.count(&format!("PUT manifest {PATH}:{TAG}")), 0, "{:#?}", report.requests);
}

/// What is left to another one is not added to.
#[rstest]
#[case::yields(TagPolicy::Yield, "False")]
#[case::stands(TagPolicy::Immutable, "True")]
#[tokio::test(start_paused = true)]
async fn under_other_policies(#[case] policy: TagPolicy, #[case] ready: &str) {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    world.spec.target.tag_policy = policy;
    let sbom = world.store.push_referrer(CI, &amd64, "sbom").digest;
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(has(&world, &sbom));
    world.later(360);
    if policy == TagPolicy::Yield {
        world.push_foreign(&["linux/amd64"]);
    } else {
        let new = world.store.push(CI, Some("amd64"), &Image::of("linux/amd64").salted("2"));
        world.store.push_referrer(CI, &new, "sbom of what is not published");
    }
    let late = world.store.push_referrer(CI, &amd64, "late").digest;
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!(world.ready().0, ready, "{:?}", world.ready());
        assert!(looks(&report).iter().all(|_| policy == TagPolicy::Immutable), "{report:#?}");
        world.later(10);
    }
    assert_eq!(has(&world, &late), policy == TagPolicy::Immutable);
}

/// An image that stays without its source has nowhere to be followed to.
#[rstest]
#[case::retained(RemovalPolicy::Retain, 2)]
#[case::removed(RemovalPolicy::Remove, 1)]
#[tokio::test(start_paused = true)]
async fn a_source_that_is_taken_out(#[case] removal: RemovalPolicy, #[case] images: usize) {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    world.run().await;
    world.later(360);
    world.edit(|spec| {
        spec.removal_policy = removal;
        spec.sources.pop();
        // Else one source alone is mirrored.
        spec.annotations.insert("a".into(), "b".into());
    });
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests.len(), images);
    let looks = looks(&report);
    assert_eq!(looks.len(), 4);
    assert!(looks.iter().all(|r| r.contains(amd64.digest.encoded())), "{looks:?}");
}

/// A source that is cleaned up keeps its image, and what refers to it.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_gone() {
    let (mut world, amd64, _) = pair_in(ELSEWHERE);
    let sbom = world.store.push_referrer(CI, &amd64, "sbom").digest;
    world.run().await;
    for digest in [&amd64.digest, &sbom] {
        world.store.delete_manifest(CI, digest);
    }
    world.later(360);
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(told(&report), None);
    assert!(has(&world, &sbom));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_gone_is_named() {
    let (mut world, _, _) = pair_in(ELSEWHERE);
    world.spec.sources[1].optional = true;
    world.spec.sources[1].secret_ref = Some(SecretRef { name: "pull".into() });
    let auths = serde_json::json!({"auths": {"other.example": {"username": "u", "password": "p"}}});
    world.secrets.insert("pull".into(), auths.to_string());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world.secrets.clear();
    world.later(360);
    assert_told(&world.run().await, &["Secret pull", "was not looked for"]);
    world.assert_ready("True", "Succeeded");
}

/// An image of the index may itself refer to another one: what refers to it is looked for once.
#[tokio::test(start_paused = true)]
async fn images_that_refer_to_each_other() {
    let mut world = World::new(vec![from(ELSEWHERE, "amd64"), from(ELSEWHERE, "about")]);
    world.spec.referrers = Referrers::Copy;
    world.spec.sources[1].platform_policy = PlatformPolicy::Trust;
    world.spec.sources[1].platforms = vec!["linux/arm64".into()];
    let amd64 = world.store.push_image(CI, "amd64", "linux/amd64");
    let about = world.store.push_referrer(CI, &amd64, "also an image of the index");
    world.store.tag(CI, "about", &about.digest);
    let sbom = world.store.push_referrer(CI, &about, "sbom").digest;
    let report = world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests.len(), 2);
    assert!(has(&world, &sbom));
    assert_eq!(report.count(&format!("GET referrers {CI}@{}", about.digest)), 1);
}

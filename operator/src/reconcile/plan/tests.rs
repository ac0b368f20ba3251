//! The holding and removing rules, sentence by sentence, and coverage.

use std::collections::BTreeMap;

use multiarch_crds::{
    condition::{self, Reason, Status, Type},
    v1alpha1::{
        MultiArchImageSpec, MultiArchImageStatus, Source as Spec, SourceState, SourceStatus, Target,
    },
};
use proptest::{collection, prelude::*, sample::select};
use rstest::rstest;

use super::*;
use crate::{
    oci::{Label, descriptor::ZSTD, media_type},
    reconcile::{
        memory::Memory,
        resolve::{Answer, Found, Resolution, ResolveError},
    },
    registry::{RegistryError, Request},
};

const TARGET: &str = "r.example/app:1.0";

fn spec(names: &[&str]) -> MultiArchImageSpec {
    let source = |name: &&str| Spec {
        name: (*name).into(),
        image: format!("r.example/app:{name}"),
        ..Spec::default()
    };
    MultiArchImageSpec {
        target: Target { image: TARGET.into(), ..Target::default() },
        sources: names.iter().map(source).collect(),
        ..MultiArchImageSpec::default()
    }
}

fn sources(names: &[&str]) -> Sources {
    Sources::parse(&spec(names)).unwrap()
}

fn descriptor(platform: &str, content: &str) -> Descriptor {
    let bytes = format!("{platform} {content}").into();
    let platform = Some(platform).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
    Descriptor { platform, ..RawManifest::new(media_type::OCI_MANIFEST, bytes).descriptor() }
}

fn child(source: &str, platform: &str, content: &str) -> Child {
    let descriptor = descriptor(platform, content);
    let platform = descriptor.platform.clone().unwrap().normalized();
    let (attestations, contents) = (Vec::new(), Vec::new());
    let (config, labels, source) = (None, None, source.into());
    Child { descriptor, platform, config, labels, attestations, source, contents }
}

fn attested(mut child: Child) -> Child {
    let mut attestation = descriptor("unknown/unknown", child.descriptor.digest.as_str());
    attestation.annotations = BTreeMap::from([
        ("vnd.docker.reference.type".into(), "attestation-manifest".into()),
        ("vnd.docker.reference.digest".into(), child.descriptor.digest.to_string()),
    ]);
    child.attestations = vec![attestation];
    child
}

fn zstd(mut child: Child) -> Child {
    child.descriptor.annotations.insert(ZSTD.into(), "true".into());
    child
}

/// A source's answer. `known`: its reference answered before.
fn resolution(name: &str, known: bool, answer: Answer) -> Resolution {
    Resolution {
        name: name.into(),
        reference: format!("r.example/app:{name}").parse().unwrap(),
        known: known.then(|| Digest::of(b"before")),
        answer,
    }
}

fn gives(child: Child) -> Resolution {
    let name = child.source.clone();
    let named = child.descriptor.digest.clone();
    let found = Found { named, children: vec![child], lacking: Vec::new(), whole: None };
    resolution(&name, false, Answer::Found(found))
}

fn image(name: &str, platform: &str, content: &str) -> Resolution {
    gives(child(name, platform, content))
}

fn gone(name: &str) -> Resolution {
    resolution(name, true, Answer::Missing)
}

fn never_there(name: &str) -> Resolution {
    resolution(name, false, Answer::Missing)
}

fn failed(name: &str) -> Resolution {
    let request = Request { method: "GET", noun: "manifest", of: "app:x".into() };
    let source =
        RegistryError::RateLimited { host: "r.example".into(), request, retry_after: None };
    let error = ResolveError::Registry { reference: name.into(), source };
    resolution(name, true, Answer::Failed { named: None, error })
}

/// The memory of an index of `children` under the target's tag.
fn memory(sources: &Sources, children: &[Child]) -> Memory {
    let shown = |child: &Child| PublishedPlatform {
        platform: child.platform.to_string(),
        digest: child.descriptor.digest.to_string(),
        config_digest: None,
        attestations: Vec::new(),
        source: child.source.clone(),
    };
    let index = Index::new(descriptors(children), BTreeMap::new());
    let mut status = MultiArchImageStatus {
        observed_generation: Some(1),
        reference: Some(format!("{TARGET}@{}", index.to_raw().digest())),
        platforms: children.iter().map(shown).collect(),
        ..MultiArchImageStatus::default()
    };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let (kind, reason) = (Type::Ready, Reason::Succeeded);
    condition::set(&mut status.conditions, kind, Status::True, reason, "", 1, now);
    status.sources = vec![SourceStatus {
        name: "amd64".into(),
        state: SourceState::Resolved,
        digest: None,
        message: None,
        since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
    }];
    Memory::of(&status, Some(1), sources)
}

fn read(index: Index) -> Read {
    let raw = index.to_raw();
    Read { digest: raw.digest().clone(), raw: Some(raw), index }
}

/// Plans over a tag that names what memory says.
fn planned(
    sources: &Sources,
    resolutions: &[Resolution],
    published: &[Child],
) -> Result<Plan, Held> {
    let index = Index::new(descriptors(published), BTreeMap::new());
    let current = match published {
        [] => Current::Free,
        _ => Current::Read(read(index)),
    };
    over(sources, resolutions, &memory(sources, published), &current, None)
}

fn over(
    sources: &Sources,
    resolutions: &[Resolution],
    memory: &Memory,
    current: &Current,
    ours: Option<&Index>,
) -> Result<Plan, Held> {
    let ours = ours.cloned().map(read);
    plan(draft(sources, resolutions, memory)?, current, ours.as_ref(), sources)
}

/// `platform digest source` of each image, digest cut.
fn words(plan: &Plan) -> Vec<String> {
    assert_eq!(plan.index.as_ref().unwrap().to_raw(), plan.raw);
    plan.platforms.iter().map(|p| format!("{} {}", p.platform, p.source)).collect()
}

fn waiting(result: Result<Plan, Held>) -> String {
    match result {
        Err(Held::Waiting { waiting }) => waiting.join("; "),
        other => panic!("{other:?}"),
    }
}

fn pair() -> [Child; 2] {
    [child("a", "linux/amd64", "1"), child("b", "linux/arm64", "1")]
}

const BOTH: [&str; 2] = ["linux/amd64 a", "linux/arm64 b"];

// Holding.

#[test]
fn complete_is_published_when_all_is_there() {
    let [a, b] = pair();
    let plan = planned(&sources(&["a", "b"]), &[gives(a), gives(b)], &[]).unwrap();
    assert_eq!(words(&plan), BOTH);
}

#[test]
fn complete_waits_for_a_source() {
    let [a, _] = pair();
    let mut spec = spec(&["a", "b"]);
    spec.sources[1].platforms = vec!["linux/aarch64".into()];
    let result = planned(&Sources::parse(&spec).unwrap(), &[gives(a), never_there("b")], &[]);
    assert_eq!(waiting(result), "linux/aarch64 (source b, r.example/app:b)");
}

#[test]
fn complete_waits_for_a_required_platform_and_partial_does_not() {
    let [a, b] = pair();
    let mut sources = sources(&["a", "b"]);
    sources.required = vec!["linux/s390x".parse().unwrap(), "linux/amd64".parse().unwrap()];
    let answers = [gives(a), gives(b)];
    let why = waiting(planned(&sources, &answers, &[]));
    assert_eq!(why, "linux/s390x (no source provides it)");
    sources.publish_policy = PublishPolicy::Partial;
    assert_eq!(words(&planned(&sources, &answers, &[]).unwrap()), BOTH);
}

#[test]
fn partial_leaves_out_what_answers_404_but_needs_one_platform() {
    let [a, _] = pair();
    let mut sources = sources(&["a", "b"]);
    sources.publish_policy = PublishPolicy::Partial;
    let plan = planned(&sources, &[gives(a), never_there("b")], &[]).unwrap();
    assert_eq!(words(&plan), ["linux/amd64 a"]);
    let why = waiting(planned(&sources, &[never_there("a"), never_there("b")], &[]));
    assert!(why.contains("source a") && why.contains("source b"), "{why}");
}

#[rstest]
#[case(PublishPolicy::Complete)]
#[case(PublishPolicy::Partial)]
fn a_source_that_failed_otherwise_holds_in_both(#[case] policy: PublishPolicy) {
    let published = pair();
    let [a, _] = pair();
    let mut sources = sources(&["a", "b"]);
    sources.publish_policy = policy;
    for removal in [RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove] {
        sources.removal_policy = removal;
        let held = planned(&sources, &[gives(a.clone()), failed("b")], &published).unwrap_err();
        assert_eq!(held, Held::SourceFailed);
    }
}

#[rstest]
#[case::absent(never_there("b"))]
#[case::failed(failed("b"))]
fn optional_holds_nothing(#[case] answer: Resolution) {
    let [a, _] = pair();
    let mut sources = sources(&["a", "b"]);
    sources.sources[1].optional = true;
    let plan = planned(&sources, &[gives(a), answer], &[]).unwrap();
    assert_eq!(words(&plan), ["linux/amd64 a"]);
}

#[rstest]
#[case::absent(gone("b"))]
#[case::absent_under_another_reference(never_there("b"))]
#[case::failed(failed("b"))]
fn a_child_published_from_an_optional_source_stays(#[case] answer: Resolution) {
    let published = pair();
    let mut sources = sources(&["a", "b"]);
    sources.sources[1].optional = true;
    // Also beside what moved.
    let moved = image("a", "linux/amd64", "2");
    assert_eq!(words(&planned(&sources, &[moved, answer], &published).unwrap()), BOTH);
}

#[test]
fn gone_after_publication_keeps_the_child_while_nothing_else_changed() {
    let published = pair();
    let [a, _] = pair();
    for policy in [PublishPolicy::Complete, PublishPolicy::Partial] {
        let mut sources = sources(&["a", "b"]);
        sources.publish_policy = policy;
        let answers = [gives(a.clone()), gone("b")];
        assert_eq!(words(&planned(&sources, &answers, &published).unwrap()), BOTH);
        let moved = [image("a", "linux/amd64", "2"), gone("b")];
        let why = waiting(planned(&sources, &moved, &published));
        assert_eq!(why, "linux/arm64 (source b, r.example/app:b)");
        let raised = [gives(a.clone()), never_there("b")];
        assert!(waiting(planned(&sources, &raised, &published)).contains("source b"));
    }
}

#[test]
fn the_kept_child_is_found_in_the_index_that_status_remembers() {
    let published = pair();
    let [a, _] = pair();
    let sources = sources(&["a", "b"]);
    let memory = memory(&sources, &published);
    let ours = Index::new(descriptors(&published), BTreeMap::new());
    let answers = [gives(a), gone("b")];
    let whole = over(&sources, &answers, &memory, &Current::Free, Some(&ours)).unwrap();
    assert_eq!(whole.index.as_ref(), Some(&ours));
    let why = waiting(over(&sources, &answers, &memory, &Current::Free, None));
    assert_eq!(why, "linux/arm64 (source b, r.example/app:b)", "never without it");
    // A foreign image of the same platform is not it.
    let theirs = Index::new(vec![descriptor("linux/arm64", "theirs")], BTreeMap::new());
    let current = Current::Read(read(theirs));
    let whole = over(&sources, &answers, &memory, &current, Some(&ours)).unwrap();
    assert_eq!(whole.index.as_ref(), Some(&ours));
}

// Removing.

#[rstest]
#[case::refuse(RemovalPolicy::Refuse, Err(&["linux/arm64"][..]))]
#[case::retain(RemovalPolicy::Retain, Ok(&["linux/amd64 a", "linux/arm64 "][..]))]
#[case::remove(RemovalPolicy::Remove, Ok(&["linux/amd64 a"][..]))]
fn a_platform_that_no_source_provides_any_more(
    #[case] policy: RemovalPolicy,
    #[case] expected: Result<&[&str], &[&str]>,
    #[values(true, false)] ours: bool,
) {
    let [a, b] = pair();
    let mut sources = sources(&["a"]);
    sources.removal_policy = policy;
    let index = Index::new(descriptors(&[a.clone(), b.clone()]), BTreeMap::new());
    let both = [a.clone(), b];
    let memory = memory(&sources, if ours { &both } else { &[] });
    let current = Current::Read(read(index));
    match (over(&sources, &[gives(a)], &memory, &current, None), expected) {
        (Ok(plan), Ok(expected)) => assert_eq!(words(&plan), expected),
        (Err(Held::WouldShrink { platforms }), Err(expected)) => assert_eq!(platforms, expected),
        (other, _) => panic!("{other:?}"),
    }
}

#[rstest]
#[case::refuse(RemovalPolicy::Refuse, gone("b"), true)]
#[case::retain(RemovalPolicy::Retain, gone("b"), true)]
#[case::remove(RemovalPolicy::Remove, gone("b"), false)]
#[case::remove_what_failed(RemovalPolicy::Remove, failed("b"), true)]
fn an_absent_source_in_the_spec_keeps_its_child(
    #[case] policy: RemovalPolicy,
    #[case] answer: Resolution,
    #[case] stays: bool,
) {
    let published = pair();
    let [a, _] = pair();
    let mut sources = sources(&["a", "b"]);
    sources.removal_policy = policy;
    sources.sources[1].optional = true;
    let plan = planned(&sources, &[gives(a), answer], &published).unwrap();
    assert_eq!(words(&plan), if stays { &BOTH[..] } else { &BOTH[..1] });
}

#[test]
fn what_is_retained_follows_with_its_attestations_and_is_never_doubled() {
    let a = attested(child("a", "linux/amd64", "1"));
    let [stays, replaced] =
        [attested(child("", "linux/s390x", "old")), attested(child("", "linux/amd64", "old"))];
    let mut sources = sources(&["a"]);
    sources.removal_policy = RemovalPolicy::Retain;
    let tag = [stays.clone(), replaced];
    let plan = planned(&sources, &[gives(a.clone())], &tag).unwrap();
    assert_eq!(words(&plan), ["linux/amd64 a", "linux/s390x "]);
    let expected = Index::new(descriptors(&[a.clone(), stays]), BTreeMap::new());
    assert_eq!(plan.index.as_ref(), Some(&expected));
    assert_eq!(expected.manifests.len(), 4);
    // The same over its own result.
    let current = Current::Read(read(plan.index.clone().unwrap()));
    let again = over(&sources, &[gives(a)], &Memory::default(), &current, None).unwrap();
    assert_eq!(again.index, plan.index);
}

#[test]
fn what_was_retained_is_found_in_the_index_that_status_remembers() {
    let [a, _] = pair();
    let retained = child("", "linux/s390x", "old");
    let mut sources = sources(&["a"]);
    sources.removal_policy = RemovalPolicy::Retain;
    let published = [a.clone(), retained];
    let memory = memory(&sources, &published);
    let ours = Index::new(descriptors(&published), BTreeMap::new());
    let plan = over(&sources, &[gives(a.clone())], &memory, &Current::Free, Some(&ours)).unwrap();
    assert_eq!(plan.index.as_ref(), Some(&ours));
    // What the tag has now stays before it.
    let theirs = Index::new(vec![descriptor("linux/s390x", "new")], BTreeMap::new());
    let new = theirs.manifests[0].digest.clone();
    let current = Current::Read(read(theirs));
    let plan = over(&sources, &[gives(a)], &memory, &current, Some(&ours)).unwrap();
    assert_eq!(words(&plan), ["linux/amd64 a", "linux/s390x "]);
    assert_eq!(plan.index.unwrap().manifests[1].digest, new);
}

#[rstest]
#[case::nothing(vec![])]
#[case::no_platform(vec![descriptor("", "x")])]
#[case::one_without(vec![descriptor("linux/amd64", "x"), descriptor("", "x")])]
fn a_tag_that_tells_no_platform_is_replaced_under_remove_only(#[case] children: Vec<Descriptor>) {
    let [a, _] = pair();
    let current = Current::Read(read(Index::new(children, BTreeMap::new())));
    for policy in [RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove] {
        let mut sources = sources(&["a"]);
        sources.removal_policy = policy;
        let result = over(&sources, &[gives(a.clone())], &Memory::default(), &current, None);
        match policy {
            RemovalPolicy::Remove => assert_eq!(words(&result.unwrap()), ["linux/amd64 a"]),
            _ => assert_eq!(result.unwrap_err(), Held::NoImage),
        }
    }
}

/// Windows' revision changes with every update of the base image.
#[rstest]
#[case::refuse(RemovalPolicy::Refuse)]
#[case::retain(RemovalPolicy::Retain)]
fn a_new_revision_of_windows_takes_the_place_of_the_old_one(#[case] policy: RemovalPolicy) {
    let published = [child("a", "windows(10.0.17763.1)/amd64", "1")];
    let mut sources = sources(&["a"]);
    sources.removal_policy = policy;
    let moved = || [image("a", "windows(10.0.17763.2)/amd64", "2")];
    let plan = planned(&sources, &moved(), &published).unwrap();
    assert_eq!(words(&plan), ["windows(10.0.17763.2)/amd64 a"]);
    // Both stand where sources give both.
    let [new] = moved();
    let both = [new, image("b", "windows(10.0.17763.1)/amd64", "1")];
    let sources = Sources { sources: self::sources(&["a", "b"]).sources, ..sources };
    let plan = planned(&sources, &both, &published).unwrap();
    assert_eq!(words(&plan), ["windows(10.0.17763.1)/amd64 b", "windows(10.0.17763.2)/amd64 a"]);
}

// Labels.

fn labelled(mut child: Child, value: Option<&str>) -> Child {
    child.labels = Some(vec![Label::of(value)]);
    child
}

fn of_a_build() -> Sources {
    Sources { equal_labels: vec!["rev".into()], ..sources(&["a", "b"]) }
}

#[rstest]
#[case::equal(Some("1"), Some("1"), None)]
#[case::differ(Some("2"), Some("1"), Some("\"1\" in b; \"2\" in a"))]
#[case::absent(Some("2"), None, Some("no such label in b; \"2\" in a"))]
#[case::absent_everywhere(None, None, Some("no such label in a, b"))]
fn images_must_agree(
    #[case] first: Option<&str>,
    #[case] second: Option<&str>,
    #[case] why: Option<&str>,
) {
    let [a, b] = pair();
    let answers = [gives(labelled(a, first)), gives(labelled(b, second))];
    let result = planned(&of_a_build(), &answers, &[]);
    match why {
        None => assert_eq!(words(&result.unwrap()), BOTH),
        Some(why) => {
            let held = result.unwrap_err();
            assert!(matches!(held, Held::Differ { .. }));
            let expected = format!("waiting for images that agree in the label \"rev\": {why}");
            assert_eq!(held.to_string(), expected);
        }
    }
}

/// What is not read with the sources is told to be read.
#[test]
fn what_stays_is_compared_too() {
    let published = pair();
    let [a, _] = pair();
    let mut sources = of_a_build();
    sources.sources[1].optional = true;
    let answers = [gives(labelled(a, Some("1"))), gone("b")];
    let plan = planned(&sources, &answers, &published).unwrap();
    let unread: Vec<_> =
        plan.labelled.iter().map(|image| (image.name.as_str(), image.labels.is_some())).collect();
    assert_eq!(unread, [("a", true), ("b", false)]);
    assert_eq!(agree(&sources.equal_labels, &plan.labelled), Ok(()));
    let mut read = plan.labelled;
    read[1].labels = Some(vec![Label::of(Some("0"))]);
    assert!(matches!(agree(&sources.equal_labels, &read), Err(Held::Differ { .. })));
}

// Doubles and limits.

#[rstest]
#[case::same_words("linux/amd64", "linux/amd64")]
#[case::other_words("linux/arm64", "linux/arm64/v8")]
fn a_second_image_of_a_platform_names_both_sources(#[case] first: &str, #[case] second: &str) {
    let answers = [image("a", first, "1"), image("b", second, "2")];
    let held = planned(&sources(&["a", "b"]), &answers, &[]).unwrap_err();
    let platform: Platform = first.parse().unwrap();
    let expected =
        Held::Duplicate { platform: platform.normalized(), first: "a".into(), second: "b".into() };
    assert_eq!(held, expected);
    let message = held.to_string();
    assert!(message.contains("sources a and b"), "{message}");
}

#[test]
fn one_of_each_compression() {
    let gzip = child("b", "linux/amd64", "1");
    let answers = [gives(zstd(child("a", "linux/amd64", "2"))), gives(gzip.clone())];
    let plan = planned(&sources(&["a", "b"]), &answers, &[]).unwrap();
    assert_eq!(words(&plan), ["linux/amd64 b", "linux/amd64 a"], "gzip first");
    let required = required(&sources(&["a", "b"]), &answers, &Memory::default());
    let platforms = vec![gzip.platform; 2];
    let coverage = required.coverage(&platforms, &platforms);
    assert_eq!((coverage.summary.as_str(), coverage.published), ("1/1", 1), "counted once");
    let mut doubled = Vec::from(answers);
    doubled.push(gives(zstd(child("c", "linux/amd64", "3"))));
    let held = planned(&sources(&["a", "b", "c"]), &doubled, &[]).unwrap_err();
    assert!(matches!(held, Held::Duplicate { first, second, .. } if first == "a" && second == "c"));
}

#[test]
fn too_many_children() {
    let children: Vec<_> =
        (0..=MAX_CHILDREN).map(|n| child("", &format!("windows(10.0.{n})/amd64"), "x")).collect();
    let mut sources = sources(&["a"]);
    sources.removal_policy = RemovalPolicy::Retain;
    let answer = || [image("a", "windows(10.0.0)/amd64", "1")];
    let held = planned(&sources, &answer(), &children).unwrap_err();
    assert_eq!(held, Held::TooMany { children: MAX_CHILDREN + 1 });
    let plan = planned(&sources, &answer(), &children[1..]).unwrap_err();
    assert_eq!(plan, Held::TooMany { children: MAX_CHILDREN + 1 });
    assert!(planned(&sources, &answer(), &children[2..]).is_ok());
}

/// Two sources may name one image, with other words for it.
#[test]
fn an_attestation_is_listed_once() {
    let a = attested(child("a", "linux/amd64", "1"));
    let mut b = Child { source: "b".into(), ..a.clone() };
    b.descriptor.platform = Some("linux/s390x".parse().unwrap());
    b.platform = "linux/s390x".parse().unwrap();
    let plan = planned(&sources(&["a", "b"]), &[gives(a), gives(b)], &[]).unwrap();
    assert_eq!(words(&plan), ["linux/amd64 a", "linux/s390x b"]);
    assert_eq!(plan.index.unwrap().manifests.len(), 3);
}

// Coverage.

#[rstest]
#[case::declared(vec![never_there("a")], &[], "0/1", &["linux/arm64"])]
#[case::unknown(vec![never_there("b")], &[], "0/1", &[])]
#[case::found_before_declared(vec![image("a", "linux/arm64/v9", "1")], &["linux/arm64/v9"], "1/1", &[])]
#[case::of_two(vec![image("a", "linux/arm64", "1"), never_there("b")], &["linux/arm64"], "1/2", &[])]
fn counts(
    #[case] answers: Vec<Resolution>,
    #[case] planned: &[&str],
    #[case] summary: &str,
    #[case] missing: &[&str],
) {
    let names: Vec<_> = answers.iter().map(|answer| answer.name.clone()).collect();
    let mut spec = spec(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for source in spec.sources.iter_mut().filter(|source| source.name == "a") {
        source.platforms = vec!["linux/arm64".into()];
    }
    let sources = Sources::parse(&spec).unwrap();
    let planned: Vec<Platform> = planned.iter().map(|text| text.parse().unwrap()).collect();
    let coverage = required(&sources, &answers, &Memory::default()).coverage(&planned, &[]);
    assert_eq!(
        (coverage.summary.as_str(), coverage.missing),
        (summary, missing.iter().map(ToString::to_string).collect())
    );
}

#[test]
fn counts_required_platforms_and_sources_once_and_optional_ones_never() {
    let mut sources = sources(&["a", "b"]);
    sources.sources[1].optional = true;
    sources.required = ["linux/amd64", "linux/arm64/v8", "windows/amd64"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    let answers = [image("a", "linux/arm64", "1"), image("b", "linux/s390x", "1")];
    let required = required(&sources, &answers, &Memory::default());
    let texts: Vec<_> = required.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["linux/amd64", "linux/arm64", "windows/amd64"]);
    assert_eq!(required.unknown, 0);
    // A platform without os.version is met by any; 386 is no amd64.
    let has = ["linux/arm64/v8", "windows(10.0.17763)/amd64", "linux/386"]
        .map(|text| text.parse().unwrap());
    assert_eq!(required.lacking(&has), ["linux/amd64"]);
    assert_eq!(required.coverage(&has, &has).summary, "2/3");
}

#[test]
fn an_absent_source_counts_with_what_was_published_from_it() {
    let published = pair();
    let sources = sources(&["a", "b"]);
    let memory = memory(&sources, &published);
    for answer in [gone("b"), failed("b")] {
        let answers = [image("a", "linux/amd64", "1"), answer];
        let required = required(&sources, &answers, &memory);
        assert_eq!((required.platforms.len(), required.unknown), (2, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn neither_plan_nor_bytes_depend_on_the_order_of_sources(
        answers in collection::vec((0..6_usize, 0..3_u8, any::<bool>(), 0..6_u8), 1..6),
        order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
        publish in select(&[PublishPolicy::Complete, PublishPolicy::Partial][..]),
        removal in select(
            &[RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove][..]
        ),
        known in 0..4_usize,
    ) {
        const PLATFORMS: [&str; 6] =
            ["linux/amd64", "linux/arm64/v8", "linux/arm64", "windows(10.0.1.1)/amd64", "windows(10.0.1.2)/amd64", "linux/arm"];
        let names: Vec<_> = (0..answers.len()).map(|n| format!("s{n}")).collect();
        // No index that was published has a platform twice.
        let mut seen = std::collections::HashSet::new();
        let published: Vec<_> = names.iter().zip(&answers).take(known)
            .map(|(name, (platform, ..))| child(name, PLATFORMS[*platform], "0"))
            .filter(|child| seen.insert(child.platform.clone()))
            .collect();
        let tag = Index::new(
            vec![descriptor("linux/arm64", "0"), descriptor("linux/s390x", "0")], BTreeMap::new(),
        );
        let current = Current::Read(read(tag));
        let plan_in = |order: &[usize]| {
            let order: Vec<_> = order.iter().filter(|at| **at < answers.len()).collect();
            let mut spec = spec(&[]);
            let mut given = Vec::new();
            for at in order {
                let (platform, content, optional, kind) = &answers[*at];
                let name = names[*at].as_str();
                spec.sources.push(Spec {
                    name: name.into(),
                    image: format!("r.example/app:{name}"),
                    optional: *optional,
                    ..Spec::default()
                });
                let child = child(name, PLATFORMS[*platform], &content.to_string());
                given.push(match kind {
                    0 => gone(name),
                    1 if *optional => failed(name),
                    2 => gives(attested(child)),
                    3 => gives(zstd(child)),
                    _ => gives(child),
                });
            }
            spec.publish_policy = publish;
            spec.removal_policy = removal;
            let sources = Sources::parse(&spec).unwrap();
            let ours = Index::new(descriptors(&published), BTreeMap::new());
            let memory = memory(&sources, &published);
            let coverage = required(&sources, &given, &memory);
            (over(&sources, &given, &memory, &current, Some(&ours)), coverage)
        };
        let (one, one_required) = plan_in(&[0, 1, 2, 3, 4, 5]);
        let (other, other_required) = plan_in(&order);
        prop_assert_eq!(one_required, other_required);
        match (one, other) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.raw.bytes(), other.raw.bytes());
                prop_assert_eq!(one.platforms, other.platforms);
            }
            (Err(one), Err(other)) => {
                prop_assert_eq!(std::mem::discriminant(&one), std::mem::discriminant(&other));
            }
            (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
        }
    }
}

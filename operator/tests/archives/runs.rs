//! Whole runs of the pipeline over archives, as the command `load` makes them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use multiarch_crds::v1alpha1::{MultiArchImageSpec, RemovalPolicy, Target};
use multiarch_operator::{
    keychain::Keychain,
    oci::{Manifest, TagOrDigest, media_type},
    reconcile::{
        self, Job, Stage, adopt,
        claims::Claims,
        memory::Memory,
        referrers::Looks,
        since::Since,
        sources::{Declared, Source, Sources},
        status::{Outcome, Run},
        tags::Corrections,
        writer::Writer,
    },
    registry::{Access, Registry, archive::Archives, memory::Store},
};
use rstest::rstest;
use tokio::time::Instant;

use super::{
    archive::{
        images::{self, Image, Layout, digest},
        write::Tar,
    },
    archives, inside,
};

pub(super) const TARGET: &str = "r.example/mirror/app:1";
pub(super) const PATH: &str = "mirror/app";

pub(super) fn saved(image: &Image) -> Vec<u8> {
    Tar::of(&images::docker(&[(image, &["app:1"])])).end()
}

/// `app:1` of these archives, each for a platform, if one is said.
pub(super) fn sources(given: &[(&str, Option<&str>)], trust: bool) -> Sources {
    let spec = MultiArchImageSpec {
        target: Target { image: TARGET.into(), ..Target::default() },
        ..MultiArchImageSpec::default()
    };
    let source = |(archive, platform): &(&str, Option<&str>)| Source {
        name: (*archive).into(),
        reference: inside(archive, "app:1"),
        declared: platform.iter().map(|text| Declared::parse(text).unwrap()).collect(),
        trust,
        optional: false,
        annotations: std::collections::BTreeMap::new(),
        secret: None,
        provider: false,
    };
    let sources = given.iter().map(source).collect();
    Sources { sources, wraps: true, any_format: true, ..Sources::parse(&spec).unwrap() }
}

pub(super) async fn run<R: Registry>(registry: &R, sources: &Sources) -> Run {
    let now = Timestamp::constant(1_800_000_000, 0);
    run_at(now, registry, sources, &Memory::default(), true).await
}

pub(super) async fn run_at<R: Registry>(
    now: Timestamp,
    registry: &R,
    sources: &Sources,
    memory: &Memory,
    requested: bool,
) -> Run {
    let job = Job {
        registry,
        sources,
        keychain: &Keychain::default(),
        memory,
        requested,
        put_off: false,
        looks: &Looks::default(),
        claims: &Claims::default(),
        writer: &Writer::default(),
        corrections: &Corrections::default(),
        now,
        since: Since::anew(Instant::now()),
        stage: &Stage::default(),
    };
    Box::pin(reconcile::run(&job)).await
}

/// Takes what the target has for the images of the archives, as a command does before its runs.
async fn adopts(archives: &Archives<Store>, sources: &Sources) -> usize {
    let names = sources.sources.iter().map(|source| &source.reference);
    let saved: Vec<_> = names.filter_map(|it| Some((it, archives.config_of(it)?))).collect();
    let configs: BTreeSet<_> = saved.iter().map(|(_, config)| config.clone()).collect();
    let found = adopt::find(archives, &Access::default(), &sources.target, &configs).await.unwrap();
    for (name, config) in saved {
        if let Some(manifest) = found.get(&config) {
            archives.adopt(name.clone(), manifest.clone());
        }
    }
    found.len()
}

fn writes(store: &Store) -> Vec<String> {
    let log = store.requests().into_iter().map(|request| request.to_string());
    log.filter(|it| !it.starts_with("HEAD ") && !it.starts_with("GET ")).collect()
}

pub(super) fn platforms(store: &Store) -> Vec<String> {
    let raw = store.tagged(PATH, "1").expect("it is published");
    assert_eq!(raw.media_type(), media_type::OCI_INDEX);
    let Manifest::Index(index) = raw.parse().unwrap() else { panic!("no index") };
    let platforms = index.manifests.iter().map(|child| child.platform.clone().unwrap().to_string());
    platforms.collect()
}

/// Whether the run ended well, and if not, why.
pub(super) fn failed(run: &Run) -> Option<String> {
    let answers = run.resolutions.iter().filter_map(|it| match &it.answer {
        multiarch_operator::reconcile::resolve::Answer::Failed { error, .. } => {
            Some(error.to_string())
        }
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    let held = run.failure().map(|failure| failure.message.clone())?;
    Some(if answers.is_empty() { held } else { answers.join("; ") })
}

#[rstest]
#[case::declared(&[("amd.tar", Some("linux/amd64")), ("arm.tar", Some("linux/arm64"))])]
#[case::by_their_configs(&[("amd.tar", None), ("arm.tar", None)])]
#[tokio::test]
async fn two_archives_become_one_index_and_a_second_run_writes_and_packs_nothing(
    #[case] given: &[(&str, Option<&str>)],
) {
    let (amd, arm) = (Image::of("amd64"), Image::of("arm64"));
    let store = Store::new();
    let both = [("amd.tar", &saved(&amd)[..]), ("arm.tar", &saved(&arm)[..])];
    let sources = sources(given, false);
    let first = run(&archives(&store, &both), &sources).await;
    assert_eq!(failed(&first), None);
    assert!(matches!(first.outcome, Outcome::Served { .. }), "{first:?}");
    assert_eq!(platforms(&store), ["linux/amd64", "linux/arm64"]);
    let index = store.tagged(PATH, "1").unwrap();

    // With other layers under the same configs, so that whoever packs them is told.
    let broken = |mut image: Image| {
        image.layers[1] = Tar::new().file("other", b"x").end();
        saved(&image)
    };
    let both = [("amd.tar", &broken(amd)[..]), ("arm.tar", &broken(arm)[..])];
    let again = archives(&store, &both);
    store.forget();
    assert_eq!(adopts(&again, &sources).await, 2);
    let second = run(&again, &sources).await;
    assert_eq!(failed(&second), None);
    assert!(!second.pushed && !second.wrote_tag, "{second:?}");
    assert_eq!(writes(&store), [""; 0]);
    assert_eq!(store.tagged(PATH, "1"), Some(index));

    // The proof that they are told.
    let anew = run(&archives(&store, &both), &sources).await;
    assert!(failed(&anew).unwrap().contains("layer.tar"));
}

/// The same image, packed by another program: it stays, and what is new comes beside it.
#[tokio::test]
async fn what_another_program_has_pushed_of_the_same_image_stays() {
    let (amd, arm) = (Image::of("amd64"), Image::of("arm64"));
    let mut crane = Layout::default();
    let descriptor = crane.image(&amd, true);
    crane.list(&descriptor, &[("io.containerd.image.name", "docker.io/library/app:1")]);
    let store = Store::new();
    let theirs = Tar::of(&crane.end()).end();
    let one = sources(&[("theirs.tar", None)], false);
    run(&archives(&store, &[("theirs.tar", &theirs)]), &one).await;
    assert_eq!(platforms(&store), ["linux/amd64"], "an index, also of one image");

    let both = [("amd.tar", &saved(&amd)[..]), ("arm.tar", &saved(&arm)[..])];
    let archives = archives(&store, &both);
    let two = sources(&[("amd.tar", None), ("arm.tar", None)], false);
    store.forget();
    assert_eq!(adopts(&archives, &two).await, 1);
    assert_eq!(failed(&run(&archives, &two).await), None);
    assert_eq!(platforms(&store), ["linux/amd64", "linux/arm64"]);
    let kept = TagOrDigest::Digest(digest(&descriptor));
    assert!(store.manifest(PATH, &kept).is_some());
    let Manifest::Index(index) = store.tagged(PATH, "1").unwrap().parse().unwrap() else {
        panic!("no index")
    };
    assert_eq!(index.manifests[0].digest, digest(&descriptor));
}

#[rstest]
#[case::wrong_platform(
    &[("amd.tar", Some("linux/arm64"))], false,
    "amd.tar#docker.io/library/app:1 is declared as linux/arm64, but its config says linux/amd64"
)]
#[case::twice(
    &[("amd.tar", None), ("too.tar", None)], false,
    "sources amd.tar and too.tar both give linux/amd64"
)]
#[case::absent(&[("amd.tar", None), ("other.tar", None)], false, "other.tar#docker.io/library/app:1")]
#[tokio::test]
async fn what_cannot_be_is_told_by_the_names_of_archives(
    #[case] given: &[(&str, Option<&str>)],
    #[case] trust: bool,
    #[case] words: &str,
) {
    let (amd, other) = (saved(&Image::of("amd64")), Image::of("arm64"));
    let other = Tar::of(&images::docker(&[(&other, &["other:1"])])).end();
    let store = Store::new();
    let all = [("amd.tar", &amd[..]), ("too.tar", &amd[..]), ("other.tar", &other[..])];
    let run = run(&archives(&store, &all), &sources(given, trust)).await;
    let said = failed(&run).expect("it is refused");
    assert!(said.contains(words), "{said}");
    assert_eq!(store.tagged(PATH, "1"), None);
}

#[tokio::test]
async fn a_platform_that_is_trusted_is_not_looked_for() {
    let store = Store::new();
    let amd = saved(&Image::of("amd64"));
    let sources = sources(&[("amd.tar", Some("linux/riscv64"))], true);
    let archives = archives(&store, &[("amd.tar", &amd)]);
    assert_eq!(failed(&run(&archives, &sources).await), None);
    assert_eq!(platforms(&store), ["linux/riscv64"]);
}

/// What the tag has, and no archive, stays, goes, or keeps it from being published.
#[rstest]
#[case(RemovalPolicy::Refuse, Some("the tag would lose linux/amd64"), &["linux/amd64"])]
#[case(RemovalPolicy::Retain, None, &["linux/amd64", "linux/arm64"])]
#[case(RemovalPolicy::Remove, None, &["linux/arm64"])]
#[tokio::test]
async fn a_platform_that_was_there_before(
    #[case] removal: RemovalPolicy,
    #[case] words: Option<&str>,
    #[case] expected: &[&str],
) {
    let store = Store::new();
    let all =
        [("amd.tar", &saved(&Image::of("amd64"))[..]), ("arm.tar", &saved(&Image::of("arm64")))];
    let archives = archives(&store, &all);
    run(&archives, &sources(&[("amd.tar", None)], false)).await;
    let arm = Sources { removal_policy: removal, ..sources(&[("arm.tar", None)], false) };
    let said = failed(&run(&archives, &arm).await);
    assert_eq!(said.is_some(), words.is_some(), "{said:?}");
    assert!(said.unwrap_or_default().contains(words.unwrap_or_default()));
    assert_eq!(platforms(&store), expected);
}

/// An index of a layout that is whole keeps its digest, and so do its images.
#[tokio::test]
async fn a_whole_index_is_published_as_it_is() {
    let mut layout = Layout::default();
    let children: Vec<_> = ["amd64", "arm64"]
        .iter()
        .map(|architecture| {
            let mut image = layout.image(&Image::of(architecture), true);
            image["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
            image
        })
        .collect();
    let index = layout.index(&children);
    layout.list(&index, &[("io.containerd.image.name", "docker.io/library/app:1")]);
    let store = Store::new();
    let archives = archives(&store, &[("all.tar", &Tar::of(&layout.end()).end())]);
    assert_eq!(failed(&run(&archives, &sources(&[("all.tar", None)], false)).await), None);
    assert_eq!(*store.tagged(PATH, "1").unwrap().digest(), digest(&index));
}

//! Round trips: what was exported is run as the operator runs it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use multiarch_crds::v1alpha1::MultiArchImageStatus;
use multiarch_operator::{
    keychain::Keychain,
    oci::{Descriptor, Index, RawManifest, descriptor::ZSTD},
    reconcile::{
        self, Job, Stage,
        busy::{Busy, Who},
        claims::Claims,
        memory::Memory,
        referrers::Looks,
        resolve::inspect::{Asked, inspect},
        since::Since,
        sources::Sources,
        status::{Outcome, Run},
        tags::Corrections,
        writer::{Ask, Writer},
    },
    registry::{
        Access,
        memory::{Image as Pushed, Store},
    },
};
use rstest::rstest;
use tokio::time::Instant;

use super::*;
use crate::{output::Output, written::written};

const PATH: &str = "team/app";

fn reference(text: &str) -> Reference {
    format!("r.example/{text}").parse().unwrap()
}

/// Pushes `image`, as an index lists it by its config's words.
fn listed(store: &Store, image: &Pushed) -> Descriptor {
    let descriptor = store.push(PATH, None, image);
    Descriptor { platform: Some(image.platform.clone()), ..descriptor }
}

async fn export(store: &Store, target: &str, by: By) -> Exported {
    let reference = reference("team/app:1.0");
    let found = inspect(store, &Access::default(), &reference, &Asked::default()).await;
    object(&found.unwrap().unwrap(), &self::reference(target), by, &[])
}

/// Runs what was exported as the operator does for the first time.
async fn publish(store: &Store, spec: &MultiArchImageSpec) -> Run {
    // Through YAML, as people do.
    let text = written("app", None, spec, Output::Yaml).unwrap();
    let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let read: MultiArchImageSpec = serde_json::from_value(read["spec"].clone()).unwrap();
    assert_eq!(read, *spec);
    let sources = Sources::parse(&read).unwrap();
    let memory = Memory::of(&MultiArchImageStatus::default(), Some(1), &sources);
    let (writer, mut asks) = Writer::new(Busy::default(), Who::default());
    let job = Job {
        registry: store,
        sources: &sources,
        keychain: &Keychain::default(),
        memory: &memory,
        requested: false,
        put_off: false,
        looks: &Looks::default(),
        claims: &Claims::default(),
        writer: &writer,
        corrections: &Corrections::default(),
        now: Timestamp::constant(1_800_000_000, 0),
        since: Since::anew(Instant::now()),
        stage: &Stage::default(),
    };
    let mut run = Box::pin(reconcile::run(&job));
    loop {
        tokio::select! {
            run = &mut run => return run,
            Some(Ask { said, .. }) = asks.recv() => said.send(Claims::default()).unwrap(),
        }
    }
}

/// What an index may be, whose object finds nothing to write.
#[derive(Debug)]
enum Case {
    Plain,
    Annotated,
    Attested,
    OtherWords,
    Zstd,
    Windows,
    ListedAgain,
    WrongPlatform,
    Docker,
    Artifact,
    Image,
    DockerImage,
}

/// Pushes it, and the names of the sources that reproduce it.
fn pushed(store: &Store, case: &Case) -> Vec<&'static str> {
    let (amd64, arm64) = (Pushed::of("linux/amd64"), Pushed::of("linux/arm64"));
    let index = |children, annotations| {
        store.push_manifest(PATH, Some("1.0"), &Index::new(children, annotations).to_raw());
    };
    let both = || vec![listed(store, &amd64), listed(store, &arm64)];
    let said = || BTreeMap::from([("a".to_owned(), "b & <c>".to_owned())]);
    match case {
        Case::Plain => index(both(), BTreeMap::new()),
        Case::ListedAgain => index([both(), both()].concat(), BTreeMap::new()),
        Case::Annotated => {
            let mut children = both();
            children[1].annotations = said();
            index(children, said());
        }
        Case::Attested => {
            let attested = store.push_attested(PATH, "x", &amd64);
            let raw = store.tagged(PATH, "x").unwrap();
            assert_eq!(raw.digest(), &attested.digest);
            let multiarch_operator::oci::Manifest::Index(inner) = raw.parse().unwrap() else {
                panic!("no index")
            };
            index([inner.manifests, vec![listed(store, &arm64)]].concat(), BTreeMap::new());
        }
        Case::OtherWords => {
            let mut children = both();
            children[1].platform = "linux/arm64/v8".parse().ok();
            index(children, BTreeMap::new());
            return vec!["linux-amd64", "linux-arm64-v8"];
        }
        Case::Zstd => {
            let mut zstd = listed(store, &amd64.clone().salted("zstd"));
            zstd.annotations = BTreeMap::from([(ZSTD.to_owned(), "true".to_owned())]);
            index([both(), vec![zstd]].concat(), BTreeMap::new());
            return vec!["linux-amd64", "linux-amd64-2", "linux-arm64"];
        }
        Case::Windows => {
            let builds = ["windows(10.0.17763.5458)/amd64", "windows(10.0.20348.2322)/amd64"];
            index(builds.map(|build| listed(store, &Pushed::of(build))).to_vec(), BTreeMap::new());
            return vec!["windows-10-0-17763-5458-amd64", "windows-10-0-20348-2322-amd64"];
        }
        Case::WrongPlatform => {
            let mut children = both();
            children[1].platform = "linux/arm/v6".parse().ok();
            index(children, BTreeMap::new());
            return vec!["linux-amd64", "linux-arm-v6"];
        }
        Case::Docker => {
            let children = [amd64, arm64].map(|image| listed(store, &image.docker())).to_vec();
            let list = Index::new(children, BTreeMap::new());
            let list = Index { media_type: media_type::DOCKER_LIST.into(), ..list };
            store.push_manifest(PATH, Some("1.0"), &list.to_raw());
        }
        Case::Artifact => {
            let config = store.push_blob(PATH, "application/vnd.x.config", "{}".into());
            let document = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [],
                "mediaType": media_type::OCI_MANIFEST});
            let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
            let artifact = store.push_manifest(PATH, None, &raw);
            let platform = "linux/arm64".parse().ok();
            let artifact = Descriptor { platform, ..artifact };
            index(vec![listed(store, &amd64), artifact], BTreeMap::new());
        }
        Case::Image => {
            store.push(PATH, Some("1.0"), &amd64);
            return vec!["image"];
        }
        Case::DockerImage => {
            store.push(PATH, Some("1.0"), &amd64.docker());
            return vec!["image"];
        }
    }
    vec!["linux-amd64", "linux-arm64"]
}

/// What was exported, and is published where it was, finds it there; elsewhere it has the same content.
#[rstest]
#[case(Case::Plain)]
#[case(Case::Annotated)]
#[case(Case::Attested)]
#[case(Case::OtherWords)]
#[case(Case::Zstd)]
#[case(Case::Windows)]
#[case(Case::ListedAgain)]
#[case(Case::WrongPlatform)]
#[case(Case::Docker)]
#[case(Case::Artifact)]
#[case(Case::Image)]
#[case(Case::DockerImage)]
#[tokio::test]
async fn nothing_is_to_be_written(#[case] case: Case) {
    let store = Store::new();
    let names = pushed(&store, &case);
    let before = store.tagged(PATH, "1.0").unwrap();
    for by in [By::Image, By::Whole] {
        let Exported { spec, notes, lost } = export(&store, "team/app:1.0", by).await;
        let trusts = matches!(case, Case::WrongPlatform | Case::Artifact) && by == By::Image;
        assert_eq!(notes.len(), usize::from(trusts), "{notes:?}");
        if matches!(case, Case::ListedAgain) && by == By::Image {
            // Each of its two images, which the new index lists once.
            assert_eq!(lost.len(), 2, "{lost:?}");
            continue;
        }
        let wrong = matches!(case, Case::WrongPlatform | Case::Artifact) && by == By::Whole;
        assert_eq!(lost.len(), usize::from(wrong), "{lost:?}");
        store.forget();
        let run = publish(&store, &spec).await;
        let asked: Vec<_> = store.requests().iter().map(ToString::to_string).collect();
        if wrong {
            // What is wrong is not published by who asks for the config's word.
            assert!(!matches!(run.outcome, Outcome::Served { .. }), "{run:?}");
            continue;
        }
        assert!(run.failure().is_none(), "{run:?}");
        assert!(
            asked.iter().all(|it| it.starts_with("HEAD ") || it.starts_with("GET ")),
            "{asked:?}"
        );
        if by == By::Image {
            let all: Vec<_> = spec.sources.iter().map(|source| source.name.as_str()).collect();
            assert_eq!(all, names);
        }
        let elsewhere = export(&store, "elsewhere/app:2", by).await;
        let run = publish(&store, &elsewhere.spec).await;
        assert!(run.failure().is_none(), "{run:?}");
        let there = store.tagged("elsewhere/app", "2").unwrap();
        if by == By::Whole {
            assert_eq!(there.digest(), before.digest());
        }
        assert_eq!(store.tagged(PATH, "1.0").unwrap().digest(), before.digest());
    }
}

#[tokio::test]
async fn what_is_not_reproduced_is_told() {
    let store = Store::new();
    let (amd64, arm64) = (Pushed::of("linux/amd64"), Pushed::of("linux/arm64"));
    let gone = listed(&store, &Pushed::of("linux/s390x"));
    store.delete_manifest(PATH, &gone.digest);
    let inner = store.push_index(PATH, None, vec![listed(&store, &arm64)]);
    let long = BTreeMap::from([("a".repeat(300), String::new())]);
    let children = vec![listed(&store, &amd64), gone, inner];
    let index = Index {
        artifact_type: Some("application/vnd.example".into()),
        subject: Some(listed(&store, &amd64)),
        ..Index::new(children, long)
    };
    store.push_manifest(PATH, Some("1.0"), &index.to_raw());
    let Exported { spec, lost, .. } = export(&store, "team/app:1.0", By::Image).await;
    for word in ["annotations", "subject", "artifactType", "the index sha256:", "is gone"] {
        assert_eq!(lost.iter().filter(|lost| lost.contains(word)).count(), 1, "{word}: {lost:?}");
    }
    let names: Vec<_> = spec.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["linux-amd64", "linux-arm64"]);
}

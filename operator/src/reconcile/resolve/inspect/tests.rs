//! Indexes with all that may be wrong with them, and what is said of each.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::{
    oci::{Index, descriptor::ZSTD},
    registry::memory::{Image as Pushed, Store},
};

const PATH: &str = "team/app";

fn reference(tag: &str) -> Reference {
    format!("r.example/{PATH}:{tag}").parse().unwrap()
}

async fn look(store: &Store, tag: &str) -> Inspection {
    let asked = Asked { platforms: Vec::new(), referrers: true, blobs: true };
    look_for(store, tag, &asked).await
}

async fn look_for(store: &Store, tag: &str, asked: &Asked) -> Inspection {
    let found = inspect(store, &Access::default(), &reference(tag), asked).await;
    found.unwrap().unwrap()
}

/// Pushes an image of `platform`, as an index lists it.
fn listed(store: &Store, platform: &str) -> Descriptor {
    let image = Pushed::of(platform);
    Descriptor { platform: Some(image.platform.clone()), ..store.push(PATH, None, &image) }
}

fn kinds(of: &[Problem]) -> Vec<Kind> {
    of.iter().map(|problem| problem.kind).collect()
}

#[tokio::test]
async fn an_index_that_is_right() {
    let store = Store::new();
    let amd64 = store.push_attested(PATH, "amd64", &Pushed::of("linux/amd64"));
    let raw = store.manifest(PATH, &TagOrDigest::Digest(amd64.digest)).unwrap();
    let Manifest::Index(inner) = raw.parse().unwrap() else { panic!("no index") };
    let [image, attestation] = inner.manifests.try_into().unwrap();
    let arm64 = listed(&store, "linux/arm64");
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let children = vec![image.clone(), attestation.clone(), arm64.clone()];
    let index = Index::new(children, annotations.clone()).to_raw();
    store.push_manifest(PATH, Some("1.0"), &index);
    let signature = store.push_referrer(PATH, &index.descriptor(), "signature");
    let cosign = format!("{}.sig", crate::oci::referrer::fallback_tag(&image.digest));
    store.tag(PATH, &cosign, &signature.digest);

    let asked = Asked {
        platforms: ["linux/amd64", "linux/arm/v7"].map(|text| text.parse().unwrap()).to_vec(),
        referrers: true,
        blobs: true,
    };
    let found = look_for(&store, "1.0", &asked).await;
    assert_eq!((&found.digest, found.size), (index.digest(), index.bytes().len() as u64));
    assert_eq!(found.annotations, annotations);
    let said: Vec<_> = found.images.iter().map(|image| image.platform.clone().unwrap()).collect();
    assert_eq!(said, [image.platform.clone().unwrap(), arm64.platform.clone().unwrap()]);
    assert!(found.images.iter().all(|image| image.right && image.layers.len() == 1));
    assert_eq!(found.images[0].attestations, std::slice::from_ref(&attestation.digest));
    assert_eq!(found.attestations[0].about.as_ref(), Some(&image.digest));
    let about: Vec<_> = found.referrers.iter().map(|it| (&it.subject, it.tag.as_ref())).collect();
    assert_eq!(about, [(index.digest(), None), (&image.digest, Some(&cosign))]);
    assert_eq!(found.missing, ["linux/arm/v7"]);
    assert!(!found.is_right());
    assert_eq!((kinds(&found.problems), kinds(&found.notes)), (vec![], vec![]));
    assert_eq!(found.failures, [""; 0]);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let store = Store::new();
    let (amd64, arm64) = (listed(&store, "linux/amd64"), listed(&store, "linux/arm64"));
    let gone = listed(&store, "linux/s390x");
    store.delete_manifest(PATH, &gone.digest);
    let lies = Descriptor { platform: "linux/riscv64".parse().ok(), ..listed(&store, "linux/386") };
    let nameless = Descriptor { platform: None, ..listed(&store, "linux/arm/v6") };
    let salted = store.push(PATH, None, &Pushed::of("linux/amd64").salted("again"));
    let twice = Descriptor { platform: amd64.platform.clone(), ..salted };
    let large = Descriptor { size: 7, ..listed(&store, "linux/arm/v7") };
    let orphan = store.push_attested(PATH, "other", &Pushed::of("linux/mips64"));
    let raw = store.manifest(PATH, &TagOrDigest::Digest(orphan.digest)).unwrap();
    let Manifest::Index(inner) = raw.parse().unwrap() else { panic!("no index") };
    let [_, orphan] = inner.manifests.try_into().unwrap();
    let image = store.manifest(PATH, &TagOrDigest::Digest(arm64.digest.clone())).unwrap();
    let Manifest::Image(of_arm64) = image.parse().unwrap() else { panic!("no image") };
    store.delete_blob(PATH, &of_arm64.layers[0].digest);
    let children = [&amd64, &arm64, &gone, &lies, &nameless, &twice, &large, &orphan];
    store.push_index(PATH, Some("1.0"), children.into_iter().cloned().collect());

    let found = look(&store, "1.0").await;
    let mut told: Vec<_> = found.problems.iter().map(|it| (it.kind, it.digest.clone())).collect();
    told.sort();
    let second = found.images.iter().rfind(|image| image.listed == amd64.platform).unwrap();
    let mut expected: Vec<_> = [
        (Kind::WrongPlatform, &lies.digest),
        (Kind::WithoutPlatform, &nameless.digest),
        (Kind::DuplicatePlatform, &second.digest),
        (Kind::ChildMissing, &gone.digest),
        (Kind::BlobMissing, &arm64.digest),
        (Kind::OrphanAttestation, &orphan.digest),
        (Kind::WrongDescriptor, &large.digest),
    ]
    .map(|(kind, digest)| (kind, Some(digest.clone())))
    .into();
    expected.sort();
    assert_eq!(told, expected);
    let wrong = found.problems.iter().find(|it| it.kind == Kind::WrongPlatform).unwrap();
    let says = "as linux/riscv64, but its config says linux/386: build the index again";
    assert!(wrong.message.ends_with(says), "{}", wrong.message);
    // In what was asked for, an image that is wrong does not count.
    let platforms = ["linux/riscv64", "linux/386", "linux/arm64"];
    let platforms = platforms.map(|text| text.parse().unwrap()).to_vec();
    let asked = Asked { platforms, ..Asked::default() };
    let found = look_for(&store, "1.0", &asked).await;
    assert_eq!(found.missing, ["linux/riscv64", "linux/386"]);
}

#[tokio::test]
async fn gzip_and_zstd_of_one_platform_are_no_duplicates() {
    let store = Store::new();
    let gzip = listed(&store, "linux/amd64");
    let zstd = store.push(PATH, None, &Pushed::of("linux/amd64").salted("zstd"));
    let annotations = BTreeMap::from([(ZSTD.to_owned(), "true".to_owned())]);
    let zstd = Descriptor { platform: gzip.platform.clone(), annotations, ..zstd };
    // The same words once more are nothing more.
    store.push_index(PATH, Some("1.0"), vec![gzip.clone(), zstd, gzip]);
    let found = look(&store, "1.0").await;
    assert_eq!((found.images.len(), kinds(&found.problems)), (2, vec![]));
}

#[tokio::test]
async fn what_is_listed_again_is_one_image_and_is_told() {
    let store = Store::new();
    let (amd64, arm64) = (listed(&store, "linux/amd64"), listed(&store, "linux/arm64"));
    let children = [&amd64, &arm64, &amd64, &amd64];
    store.push_index(PATH, Some("1.0"), children.into_iter().cloned().collect());
    let found = look(&store, "1.0").await;
    assert_eq!(found.images.len(), 2);
    assert!(found.is_right(), "{:?}", found.problems);
    assert_eq!(kinds(&found.notes), [Kind::ListedAgain]);
    assert_eq!(found.notes[0].digest.as_ref(), Some(&amd64.digest));
    // Of indexes in it, too.
    let inner = Index::new(vec![arm64.clone()], BTreeMap::new()).to_raw();
    store.push_manifest(PATH, None, &inner);
    store.push_index(PATH, Some("2.0"), vec![amd64, arm64.clone(), inner.descriptor()]);
    let found = look(&store, "2.0").await;
    assert_eq!((kinds(&found.notes), found.images.len()), (vec![Kind::ListedAgain], 2));
    assert_eq!(found.notes[0].digest.as_ref(), Some(&arm64.digest));
}

#[tokio::test]
async fn indexes_in_an_index() {
    let store = Store::new();
    let deep = store.push_index(PATH, None, vec![listed(&store, "linux/s390x")]);
    let inner = store.push_index(PATH, None, vec![listed(&store, "linux/arm64"), deep.clone()]);
    let image = store.push_image(PATH, "amd64", "linux/amd64");
    let none = Descriptor { media_type: media_type::OCI_INDEX.into(), ..image };
    store.push_index(PATH, Some("1.0"), vec![listed(&store, "linux/amd64"), inner.clone(), none]);
    let found = look(&store, "1.0").await;
    let within: Vec<_> = found.images.iter().map(|image| image.within.clone()).collect();
    assert_eq!(within, [None, Some(inner.digest)]);
    let mut kinds = kinds(&found.problems);
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [Kind::WrongDescriptor, Kind::Unusable, Kind::Nested]);
}

#[tokio::test]
async fn an_image_alone_and_a_chart() {
    let store = Store::new();
    store.push_image(PATH, "arm64", "linux/arm64");
    let found = look(&store, "arm64").await;
    let [image] = found.images.as_slice() else { panic!("{found:?}") };
    assert_eq!(image.listed, None);
    assert_eq!(image.platform.as_ref().map(ToString::to_string).as_deref(), Some("linux/arm64"));
    assert!(found.is_right() && image.right);

    let config = store.push_blob(PATH, "application/vnd.cncf.helm.config.v1+json", "{}".into());
    let layer = store.push_blob(PATH, "application/octet-stream", "chart".into());
    let layer = json!({ "mediaType": layer.media_type, "digest": layer.digest, "size": 5,
        "urls": ["https://elsewhere.example/\u{1b}[2J"] });
    let chart = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": config, "layers": [layer] });
    let chart = RawManifest::new(media_type::OCI_MANIFEST, Bytes::from(chart.to_string()));
    store.push_manifest(PATH, Some("chart"), &chart);
    let found = look(&store, "chart").await;
    assert_eq!(kinds(&found.notes), [Kind::ForeignLayer, Kind::NotAnImage]);
    assert!(found.is_right() && !found.images[0].right);
    let told = found.notes.iter().map(|note| &note.message);
    assert!(told.into_iter().all(|told| !told.contains('\u{1b}')));
}

#[tokio::test]
async fn what_is_no_image_and_what_is_not_there() {
    let store = Store::new();
    let config = listed(&store, "linux/amd64");
    let raw = store.manifest(PATH, &TagOrDigest::Digest(config.digest.clone())).unwrap();
    let Manifest::Image(image) = raw.parse().unwrap() else { panic!("no image") };
    store.delete_blob(PATH, &image.config.digest);
    store.push_index(PATH, Some("1.0"), vec![config]);
    let found = look_for(&store, "1.0", &Asked::default()).await;
    assert_eq!(kinds(&found.problems), [Kind::ConfigMissing]);

    store.push_index(PATH, Some("empty"), Vec::new());
    let found = look(&store, "empty").await;
    assert_eq!(kinds(&found.problems), [Kind::NoImages]);

    let schema1 = json!({ "schemaVersion": 1, "fsLayers": [] }).to_string();
    let schema1 = RawManifest::new(media_type::OCI_MANIFEST, Bytes::from(schema1));
    store.push_manifest(PATH, Some("old"), &schema1);
    let found = look(&store, "old").await;
    assert_eq!(
        (kinds(&found.problems), found.digest),
        (vec![Kind::Unusable], schema1.digest().clone())
    );

    let nothing = inspect(&store, &Access::default(), &reference("none"), &Asked::default()).await;
    assert_eq!(nothing.unwrap(), None);
}

#[tokio::test]
async fn what_could_not_be_read_is_no_verdict() {
    let store = Store::new();
    let (amd64, arm64) = (listed(&store, "linux/amd64"), listed(&store, "linux/arm64"));
    store.push_index(PATH, Some("1.0"), vec![amd64, arm64.clone()]);
    let digest = arm64.digest.to_string();
    store.fail(
        move |request| request.noun == "manifest" && request.of.ends_with(&digest),
        |request| RegistryError::Unavailable {
            host: "r.example".into(),
            request: request.clone(),
            status: 503,
            codes: Vec::new(),
            retry_after: None,
        },
    );
    let found = look(&store, "1.0").await;
    assert!(found.is_right() && found.failures.len() == 1, "{found:?}");
    assert_eq!(found.images.iter().filter(|image| image.right).count(), 1);
    store.mend();
    store.require_login("a", "b");
    let refused = inspect(&store, &Access::default(), &reference("1.0"), &Asked::default()).await;
    assert!(matches!(refused, Err(ResolveError::Registry { .. })));
}

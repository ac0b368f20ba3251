//! Annotations of sources, and what else an index and its images say beside platforms.

use std::collections::BTreeMap;

use multiarch_crds::v1alpha1::Source;
use multiarch_operator::{
    oci::{Descriptor, Manifest, RawManifest, TagOrDigest, media_type},
    registry::memory::Image,
};
use serde_json::json;

use crate::world::*;

const OTHER: &str = "ci/app";
const ZSTD: &str = "io.github.containers.compression.zstd";

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn annotated(tag: &str, annotations: &[(&str, &str)]) -> Source {
    Source { annotations: pairs(annotations), ..source(tag) }
}

fn from(tag: &str, annotations: &[(&str, &str)]) -> Source {
    Source { image: format!("{HOST}/{OTHER}:{tag}"), ..annotated(tag, annotations) }
}

#[tokio::test(start_paused = true)]
async fn they_are_on_the_images_of_their_source() {
    let mut world = World::pair();
    world.spec.sources[1] = annotated("arm64", &[("com.example.build", "7")]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let said: Vec<_> = world.index().manifests.into_iter().map(|m| m.annotations).collect();
    assert_eq!(said, [pairs(&[]), pairs(&[("com.example.build", "7")])]);
    world.later(10);
    world.run().await.assert_idle(3);
    // Another value is another index, of the same images.
    let before = world.digests();
    world.edit(|spec| spec.sources[1].annotations = pairs(&[("com.example.build", "8")]));
    assert_eq!(world.run().await.count("PUT"), 1);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.digests(), before);
    assert_eq!(world.index().manifests[1].annotations["com.example.build"], "8");
    world.edit(|spec| spec.sources[1].annotations.clear());
    world.run().await;
    assert!(world.index().manifests.iter().all(|child| child.annotations.is_empty()));
}

/// They win over what the source's index says, and are not on attestations. An index of which
/// something is said is not published as it is.
#[tokio::test(start_paused = true)]
async fn over_those_of_an_index() {
    let mut world = World::new(vec![from("x", &[("a", "ours"), ("c", "ours")])]);
    let mut amd = world.listed(OTHER, &Image::of("linux/amd64"));
    let about = world.attestation(OTHER, &amd, "1");
    amd.annotations = pairs(&[("a", "theirs"), ("b", "theirs")]);
    amd.artifact_type = Some("application/vnd.example.app".into());
    let mut index =
        multiarch_operator::oci::Index::new(vec![amd.clone(), about.clone()], BTreeMap::new());
    index.annotations = pairs(&[("of", "the index")]);
    index.artifact_type = Some("application/vnd.example.index".into());
    index.subject = Some(amd.clone());
    world.store.push_manifest(OTHER, Some("x"), &index.to_raw());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let published = world.index();
    let annotations = pairs(&[("a", "ours"), ("b", "theirs"), ("c", "ours")]);
    assert_eq!(published.manifests, [Descriptor { annotations, ..amd }, about]);
    // What the index says of itself is of itself.
    assert!(published.annotations.is_empty() && published.subject.is_none());
    assert_eq!(published.artifact_type, None);

    // Mirrored, it keeps all of that.
    world.edit(|spec| spec.sources[0].annotations.clear());
    world.run().await;
    assert_eq!(world.tagged(), world.store.tagged(OTHER, "x"));
    assert_eq!(world.index(), index);
}

/// Two sources of one platform, told apart by what is said of one of them.
#[tokio::test(start_paused = true)]
async fn zstd_beside_gzip_of_two_sources() {
    let zstd = annotated("zstd", &[(ZSTD, "true")]);
    let mut world = World::new(vec![zstd, source("gzip")]);
    world.push("gzip", "linux/amd64");
    world.move_to("zstd", "linux/amd64", "zstd");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let from: Vec<_> = world.status.platforms.iter().map(|p| p.source.as_str()).collect();
    assert_eq!(from, ["gzip", "zstd"], "gzip first");
    let coverage = world.status.coverage.clone().unwrap();
    assert_eq!((coverage.summary.as_str(), coverage.published), ("1/1", 1));
    world.later(10);
    world.run().await.assert_idle(3);
    world.edit(|spec| spec.sources[0].annotations = pairs(&[("com.example.x", "1")]));
    world.run().await;
    world.assert_stalled("DuplicatePlatform");
}

/// A child's bytes are never written anew, whatever it is about. Nor is its type repeated in the
/// index, as regctl does not: two tools make one digest.
#[tokio::test(start_paused = true)]
async fn artifact_type_and_subject_survive_in_children() {
    let mut world = World::new(vec![from("x", &[]), source("arm64")]);
    world.push("arm64", "linux/arm64");
    let image = Image::of("linux/amd64");
    let subject = world.listed(OTHER, &image.clone().salted("subject"));
    let config = world.store.push_blob(OTHER, media_type::OCI_CONFIG, image.config());
    let layer = world.store.push_blob(OTHER, "application/x-layer", image.layer());
    let document = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "artifactType": "application/vnd.example.app", "config": config, "layers": [layer],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
        "annotations": {"of": "the image"}, "unknown": ["field"],
    });
    let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
    world.store.push_manifest(OTHER, Some("x"), &raw);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let child = world.index().manifests[0].clone();
    assert_eq!((child.artifact_type, child.annotations.len()), (None, 0));
    let copied = world.store.manifest(PATH, &TagOrDigest::Digest(child.digest)).unwrap();
    assert_eq!(copied.bytes(), raw.bytes());
    let Manifest::Image(image) = copied.parse().unwrap() else { panic!() };
    assert_eq!(image.subject.unwrap().digest, subject.digest);
}

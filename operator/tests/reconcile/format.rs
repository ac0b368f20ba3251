//! target.format: Docker manifest lists, of Docker images only, and what is refused for them.

use multiarch_crds::v1alpha1::{Attestations, Format, RemovalPolicy, Source, SourceState};
use multiarch_operator::{
    oci::{Descriptor, Index, media_type},
    registry::memory::Image,
};
use rstest::rstest;

use crate::world::*;

const OTHER: &str = "ci/app";
const ZSTD: &str = "io.github.containers.compression.zstd";

fn docker(world: &mut World) {
    world.spec.target.format = Format::Docker;
    world.spec.attestations = Attestations::Drop;
}

fn push_docker(world: &World, tag: &str, platform: &str) -> Descriptor {
    world.store.push(PATH, Some(tag), &Image::of(platform).docker())
}

/// The sources amd64 and win, each with a Docker image.
fn pair() -> World {
    let mut world = World::new(vec![source("amd64"), source("win")]);
    docker(&mut world);
    push_docker(&world, "amd64", "linux/amd64");
    push_docker(&world, "win", "windows(10.0.17763.5458+win32k)/amd64");
    world
}

fn from(tag: &str) -> Source {
    Source { image: format!("{HOST}/{OTHER}:{tag}"), ..source(tag) }
}

#[tokio::test(start_paused = true)]
async fn docker_images_make_a_manifest_list() {
    let mut world = pair();
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let raw = world.tagged().unwrap();
    assert_eq!(raw.media_type(), media_type::DOCKER_LIST);
    assert_eq!(world.status.media_type.as_deref(), Some(media_type::DOCKER_LIST));
    let [amd64, win] = world.index().manifests.try_into().unwrap();
    let child = |child: &Descriptor, platform: &str| {
        format!(
            concat!(
                r#"{{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","#,
                r#""digest":"{}","size":{},"platform":{{{}}}}}"#
            ),
            child.digest, child.size, platform
        )
    };
    let expected = format!(
        concat!(
            r#"{{"schemaVersion":2,"#,
            r#""mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","#,
            r#""manifests":[{},{}]}}"#
        ),
        child(&amd64, r#""architecture":"amd64","os":"linux""#),
        child(
            &win,
            concat!(
                r#""architecture":"amd64","os":"windows","os.version":"10.0.17763.5458","#,
                r#""os.features":["win32k"]"#
            )
        )
    );
    assert_eq!(std::str::from_utf8(raw.bytes()).unwrap(), expected);
    world.later(10);
    world.run().await.assert_idle(3);
}

/// A list that says the same in other bytes, as `docker manifest push` writes it, is adopted.
#[tokio::test(start_paused = true)]
async fn an_equal_list_is_adopted() {
    let mut world = pair();
    world.run().await;
    let bytes = serde_json::to_vec_pretty(&world.index()).unwrap();
    let raw = multiarch_operator::oci::RawManifest::new(media_type::DOCKER_LIST, bytes.into());
    let mut world = pair();
    world.store.push_manifest(PATH, Some(TAG), &raw);
    assert_eq!(world.run().await.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.digest, Some(raw.digest().to_string()));
}

#[tokio::test(start_paused = true)]
async fn an_oci_image_is_refused_and_named() {
    let mut world = pair();
    let oci = world.move_to("win", "windows/amd64", "oci");
    world.run().await;
    world.assert_stalled("FormatMismatch");
    world.assert_message(&[&image("win"), oci.digest.as_str(), "format: OCI"]);
    assert_eq!(world.source("win").state, SourceState::Unsupported);
    assert_eq!(world.tagged(), None);
    // One that is optional is left out.
    world.edit(|spec| spec.sources[1].optional = true);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64"]);
    // And in OCI's format both kinds stand side by side.
    world.edit(|spec| spec.target.format = Format::Oci);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "windows/amd64"]);
    let kinds: Vec<_> = world.index().manifests.into_iter().map(|m| m.media_type).collect();
    assert_eq!(kinds, [media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST]);
}

/// A published object that was turned to the wrong format goes on with HEADs alone.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered() {
    let mut world = World::published().await;
    let published = world.tagged();
    world.edit(|spec| {
        spec.target.format = Format::Docker;
        spec.attestations = Attestations::Drop;
    });
    world.run().await;
    world.assert_stalled("FormatMismatch");
    assert_eq!(world.tagged(), published);
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn an_oci_child_of_an_index_is_refused_and_named() {
    let mut world = World::new(vec![from("x")]);
    docker(&mut world);
    let amd = world.listed(OTHER, &Image::of("linux/amd64").docker());
    let arm = world.listed(OTHER, &Image::of("linux/arm64"));
    world.store.push_index(OTHER, Some("x"), vec![amd, arm.clone()]);
    world.run().await;
    world.assert_stalled("FormatMismatch");
    world.assert_message(&["ci/app:x", arm.digest.as_str()]);
    world.edit(|spec| spec.sources[0].platforms = vec!["linux/amd64".into()]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// What an OCI index says of its images beside the platform has no place in a Docker list.
#[tokio::test(start_paused = true)]
async fn an_index_of_docker_images_is_flattened_without_annotations() {
    let mut world = World::new(vec![from("x")]);
    docker(&mut world);
    let plain = world.listed(OTHER, &Image::of("linux/amd64").docker());
    let mut said = plain.clone();
    said.annotations.insert("com.example.build".into(), "7".into());
    said.urls = vec!["https://elsewhere.example/x".into()];
    said.data = Some("e30=".into());
    said.artifact_type = Some("application/vnd.example.x".into());
    let about = world.attestation(OTHER, &plain, "1");
    world.store.push_index(OTHER, Some("x"), vec![said, about]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged().unwrap().media_type(), media_type::DOCKER_LIST);
    assert_eq!(world.index().manifests, [plain]);
}

/// Without annotations nothing tells them apart.
#[tokio::test(start_paused = true)]
async fn zstd_beside_gzip_is_a_duplicate() {
    let mut world = World::new(vec![from("x")]);
    docker(&mut world);
    let gzip = world.listed(OTHER, &Image::of("linux/amd64").docker());
    let mut zstd = world.listed(OTHER, &Image::of("linux/amd64").docker().salted("zstd"));
    zstd.annotations.insert(ZSTD.into(), "true".into());
    world.store.push_index(OTHER, Some("x"), vec![gzip, zstd]);
    world.run().await;
    world.assert_stalled("DuplicatePlatform");
}

fn list(world: &World) -> Descriptor {
    let images = ["linux/arm64", "linux/amd64"]
        .map(|platform| world.listed(OTHER, &Image::of(platform).docker()));
    // In an order that is not ours.
    world.push_list(OTHER, "x", images.into())
}

fn single(world: &World) -> Descriptor {
    world.store.push(OTHER, Some("x"), &Image::of("linux/amd64").docker())
}

#[rstest]
#[case::list(list)]
#[case::single(single)]
#[tokio::test(start_paused = true)]
async fn one_docker_source_is_mirrored(#[case] push: fn(&World) -> Descriptor) {
    let mut world = World::new(vec![from("x")]);
    docker(&mut world);
    let source = push(&world);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.digest, Some(source.digest.to_string()));
    assert_eq!(world.status.media_type, Some(source.media_type.clone()));
    world.later(10);
    world.run().await.assert_idle(2);
    // It stays as it is when its source is gone.
    world.store.delete_tag(OTHER, "x");
    world.later(10);
    world.run().await;
    world.edit(|spec| spec.interval = std::time::Duration::from_mins(8).into());
    assert_eq!(world.run().await.count("PUT"), 0);
    world.assert_ready("True", "Succeeded");
    // As an OCI index it is another one, of the same images.
    world.edit(|spec| spec.target.format = Format::Oci);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.tagged().unwrap().media_type(), media_type::OCI_INDEX);
}

#[tokio::test(start_paused = true)]
async fn a_list_with_attestations_is_not_mirrored() {
    let mut world = World::new(vec![from("x")]);
    docker(&mut world);
    let amd = world.listed(OTHER, &Image::of("linux/amd64").docker());
    let about = world.attestation(OTHER, &amd, "1");
    let source = world.push_list(OTHER, "x", vec![amd.clone(), about]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_ne!(world.status.digest, Some(source.digest.to_string()));
    assert_eq!(world.index().manifests, [amd]);
}

/// An index of one image that is not Docker's cannot be an entry of a list either.
#[tokio::test(start_paused = true)]
async fn an_oci_index_in_a_list_is_not_mirrored() {
    let mut world = World::new(vec![from("x")]);
    docker(&mut world);
    let amd = world.listed(OTHER, &Image::of("linux/amd64").docker());
    let arm = world.listed(OTHER, &Image::of("linux/arm64").docker());
    let inner = world.store.push_index(OTHER, None, vec![arm.clone()]);
    world.push_list(OTHER, "x", vec![amd.clone(), inner]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.index().manifests, [amd, arm]);
}

#[rstest]
#[case::oci(false)]
#[case::docker(true)]
#[tokio::test(start_paused = true)]
async fn what_is_retained_is_docker_s_too(#[case] is_docker: bool) {
    let mut world = pair();
    world.spec.removal_policy = RemovalPolicy::Retain;
    let image = Image::of("linux/s390x");
    let image = if is_docker { image.docker() } else { image };
    let mut stays = world.listed(PATH, &image);
    stays.annotations.insert("com.example.build".into(), "7".into());
    world.store.push_index(PATH, Some(TAG), vec![stays.clone()]);
    let tagged = world.tagged();
    world.run().await;
    if is_docker {
        world.assert_ready("True", "Succeeded");
        stays.annotations.clear();
        assert_eq!(world.index().manifests[1], stays);
    } else {
        world.assert_stalled("FormatMismatch");
        world.assert_message(&["linux/s390x", stays.digest.as_str(), "format: OCI"]);
        assert_eq!(world.tagged(), tagged);
    }
}

/// Images that stay because their source is gone are held to the format as well.
#[tokio::test(start_paused = true)]
async fn what_is_kept_is_held_to_the_format() {
    let mut world = World::published().await;
    world.store.delete_tag(PATH, "amd64");
    world.store.delete_tag(PATH, "arm64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let published = world.tagged();
    world.edit(|spec| {
        spec.target.format = Format::Docker;
        spec.attestations = Attestations::Drop;
    });
    world.run().await;
    world.assert_stalled("FormatMismatch");
    assert_eq!(world.tagged(), published);
}

#[tokio::test(start_paused = true)]
async fn the_format_can_change() {
    let mut world = pair();
    for (format, media_type) in [
        (Format::Oci, media_type::OCI_INDEX),
        (Format::Docker, media_type::DOCKER_LIST),
        (Format::Oci, media_type::OCI_INDEX),
    ] {
        world.edit(|spec| spec.target.format = format);
        world.later(10);
        world.run().await;
        world.assert_ready("True", "Succeeded");
        let index: Index = world.index();
        assert_eq!((index.media_type.as_str(), index.manifests.len()), (media_type, 2));
        world.later(10);
        world.run().await.assert_idle(3);
    }
}

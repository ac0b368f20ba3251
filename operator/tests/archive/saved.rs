//! What `docker save`, podman and crane write: names, configs, and the manifests that are made.

use multiarch_operator::{
    archive::{Archive, Kind},
    oci::{Digest, ImageConfig, ImageManifest, Manifest, media_type},
};
use rstest::rstest;

use super::{
    images::{Files, Image, crane, docker, podman},
    write::{Tar, blob, gzip, open, parts, refused, zstd},
};

const NAMES: &[&str] = &["busybox:1", "registry.example.com/team/app:v1"];
const SPELLED_OUT: [&str; 2] = ["docker.io/library/busybox:1", "registry.example.com/team/app:v1"];

fn image(manifest: &multiarch_operator::oci::RawManifest) -> ImageManifest {
    match manifest.parse().unwrap() {
        Manifest::Image(image) => image,
        Manifest::Index(_) => panic!("no image"),
    }
}

/// Each way to write two images, in each way to pack what was written.
#[rstest]
fn reads(
    #[values("docker", "podman", "crane")] writer: &str,
    #[values("plain", "gzip", "gzip in parts", "zstd", "zstd in parts", "zstd --long")]
    packing: &str,
) {
    let (arm, amd) = (Image::of("arm64"), Image::of("amd64"));
    let images: &[(&Image, &[&str])] = &[(&arm, NAMES), (&amd, &[])];
    let tar = match writer {
        "docker" => Tar::of(&docker(images)).end(),
        "crane" => Tar::of(&crane(images)).end(),
        _ => podman(images).end(),
    };
    let bytes = match packing {
        "plain" => tar,
        "gzip" => gzip(&tar),
        "gzip in parts" => parts(&tar, gzip),
        "zstd" => zstd(&tar, 20),
        "zstd in parts" => parts(&tar, |part| zstd(part, 20)),
        _ => zstd(&tar, 26),
    };
    let archive = open(&bytes).unwrap();
    assert_eq!(archive.is_compressed(), packing != "plain");
    let read: Vec<_> = archive.images().iter().collect();
    let names: Vec<_> = read[0].names.iter().map(ToString::to_string).collect();
    assert_eq!(names, SPELLED_OUT);
    assert_eq!(archive.named(&"busybox:1".parse().unwrap()), Some(read[0]));
    assert_eq!(archive.named(&"busybox:2".parse().unwrap()), None);
    assert!(read[1].names.is_empty());
    for (read, written) in read.iter().zip([&arm, &amd]) {
        assert_eq!((&read.digest, read.kind), (&written.id(), Kind::Saved));
        assert!(read.absent.is_empty());
        holds(&archive, read, written);
    }
}

/// The manifest is of the image that was written, and its blobs are there.
fn holds(archive: &Archive, read: &multiarch_operator::archive::Image, written: &Image) {
    assert_eq!(blob(archive, &read.digest), written.config);
    let raw = archive.manifest_of(read).unwrap();
    assert_eq!(archive.manifest(raw.digest()).unwrap(), Some(raw.clone()));
    assert_eq!(raw.media_type(), media_type::DOCKER_MANIFEST);
    let manifest = image(&raw);
    assert_eq!(manifest.config.digest, written.id());
    assert_eq!(manifest.config.size, written.config.len() as u64);
    assert_eq!(manifest.config.media_type, media_type::DOCKER_CONFIG);
    let diff_ids = ImageConfig::diff_ids(&written.config).unwrap();
    assert_eq!(manifest.layers.len(), diff_ids.len());
    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
        assert_eq!(layer.media_type, media_type::DOCKER_LAYER);
        let bytes = blob(archive, &layer.digest);
        assert_eq!(layer.size, bytes.len() as u64);
        let mut unpacked = Vec::new();
        let mut gzip = flate2::read::GzDecoder::new(&bytes[..]);
        std::io::Read::read_to_end(&mut gzip, &mut unpacked).unwrap();
        assert_eq!(Digest::of(&unpacked), diff_id);
    }
}

#[test]
fn packed_layers_keep_their_bytes() {
    let written = Image::of("arm64");
    let archive = open(&Tar::of(&crane(&[(&written, NAMES)])).end()).unwrap();
    let manifest = image(&archive.manifest_of(&archive.images()[0]).unwrap());
    let expected: Vec<_> = written.layers.iter().map(|layer| Digest::of(&gzip(layer))).collect();
    assert_eq!(manifest.layers.into_iter().map(|l| l.digest).collect::<Vec<_>>(), expected);
}

/// Docker's manifests have no type for zstd.
#[test]
fn layers_of_zstd_make_an_oci_manifest() {
    let written = Image::of("arm64");
    let mut files = docker(&[(&written, NAMES)]);
    let mut packed = Vec::new();
    for (_, bytes) in files.iter_mut().filter(|(name, _)| name.ends_with("/layer.tar")) {
        *bytes = zstd(bytes, 20);
        packed.push(Digest::of(bytes));
    }
    let archive = open(&Tar::of(&files).end()).unwrap();
    let raw = archive.manifest_of(&archive.images()[0]).unwrap();
    assert_eq!(raw.media_type(), media_type::OCI_MANIFEST);
    let manifest = image(&raw);
    assert_eq!(manifest.config.media_type, media_type::OCI_CONFIG);
    let layers = manifest.layers.into_iter();
    let (types, digests): (Vec<_>, Vec<_>) = layers.map(|l| (l.media_type, l.digest)).unzip();
    assert_eq!((types, digests), (vec![media_type::OCI_LAYER_ZSTD.to_owned(); 3], packed));
}

/// The promise: what is made of an image is the same for one release on any machine.
#[test]
fn the_manifest_that_is_made() {
    let layer = Tar::new().file("hello", "hello, world\n".repeat(9_999).as_bytes()).end();
    let written = Image::with("arm64", vec![layer]);
    let archive = open(&Tar::of(&docker(&[(&written, NAMES)])).end()).unwrap();
    let raw = archive.manifest_of(&archive.images()[0]).unwrap();
    let golden = "sha256:27840eec9c1ab406d2e32a548de235e32f26bb5a9fe7a263c81c620b364af3e7";
    assert_eq!(raw.digest().as_str(), golden, "{}", String::from_utf8_lossy(raw.bytes()));
}

#[test]
fn an_image_that_is_there_twice_is_one() {
    let written = Image::of("arm64");
    let files = docker(&[(&written, &["busybox:1"]), (&written, &["busybox:2", "busybox:1"])]);
    let archive = open(&Tar::of(&files).end()).unwrap();
    let [image] = archive.images() else { panic!("not one") };
    let names: Vec<_> = image.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["docker.io/library/busybox:1", "docker.io/library/busybox:2"]);
    archive.manifest_of(image).unwrap();
}

#[test]
fn of_two_images_of_a_name_the_last_one_has_it() {
    let (arm, amd) = (Image::of("arm64"), Image::of("amd64"));
    let archive = open(&Tar::of(&docker(&[(&arm, NAMES), (&amd, NAMES)])).end()).unwrap();
    assert_eq!(archive.named(&"busybox:1".parse().unwrap()).unwrap().digest, amd.id());
}

#[test]
fn what_is_no_name_is_none() {
    let names = &["<none>:<none>", "busybox", "UPPER:1", "a:1"];
    let archive = open(&Tar::of(&docker(&[(&Image::of("arm"), names)])).end()).unwrap();
    assert_eq!(archive.images()[0].names, ["a:1".parse().unwrap()]);
}

/// The config's name says another digest than its bytes have: the bytes count.
#[test]
fn the_name_of_a_config_is_not_trusted() {
    let (written, other) = (Image::of("arm64"), Image::of("amd64"));
    let mut files = docker(&[(&written, NAMES)]);
    let name = format!("{}.json", written.id().encoded());
    let config = files.iter_mut().find(|(file, _)| *file == name).unwrap();
    config.1.push(b'\n');
    let changed = config.1.clone();
    let archive = open(&Tar::of(&files).end()).unwrap();
    let image = &archive.images()[0];
    assert_ne!(image.digest, other.id());
    assert_eq!(image.digest, Digest::of(&changed));
    assert_eq!(blob(&archive, &image.digest), changed);
    archive.manifest_of(image).unwrap();
}

fn without(mut files: Files, ending: &str) -> Vec<u8> {
    files.retain(|(name, _)| !name.ends_with(ending));
    Tar::of(&files).end()
}

#[test]
fn a_config_that_is_not_there() {
    let written = Image::of("arm64");
    let config = format!("{}.json", written.id().encoded());
    let bytes = without(docker(&[(&written, NAMES)]), &config);
    let why = format!(
        "{config:?} in \"images.tar\" is not in the archive, although its manifest.json names it as the config: \
         save the image again"
    );
    assert_eq!(refused(&bytes), why);
}

#[test]
fn a_config_that_is_not_there_stops_no_other_image() {
    let (arm, amd) = (Image::of("arm64"), Image::of("amd64"));
    let config = format!("{}.json", arm.id().encoded());
    let files = docker(&[(&arm, &["a:1", "a:2"]), (&amd, &["b:1"])]);
    let archive = open(&without(files, &config)).unwrap();
    let [image] = archive.images() else { panic!("not one") };
    assert_eq!(image.digest, amd.id());
    archive.manifest_of(image).unwrap();
    let [unusable] = archive.unusable() else { panic!("not one") };
    assert_eq!(unusable.names, ["a:1".parse().unwrap(), "a:2".parse().unwrap()]);
    assert!(unusable.why.to_string().contains("names it as the config"), "{}", unusable.why);
}

/// One image that cannot be had stops no other.
#[test]
fn a_layer_that_is_not_there() {
    let (arm, amd) = (Image::of("arm64"), Image::of("amd64"));
    let bytes = without(docker(&[(&arm, NAMES)]), "/layer.tar");
    let archive = open(&bytes).unwrap();
    let error = archive.manifest_of(&archive.images()[0]).unwrap_err().to_string();
    assert!(error.contains("names it as a layer: save the image again"), "{error}");

    let mut files = docker(&[(&arm, NAMES), (&amd, &[])]);
    let at = files.iter().position(|(name, _)| name.ends_with("/layer.tar")).unwrap();
    files.remove(at);
    let archive = open(&Tar::of(&files).end()).unwrap();
    let images: Vec<_> = archive.images().iter().collect();
    let made = archive.manifests_of(&images);
    assert!(made[0].is_err() && made[1].is_ok());
}

#[rstest]
#[case::no_json(
    "{",
    "failed to read \"manifest.json\" in \"images.tar\": not a valid manifest.json: EOF while parsing an object at line 1 column 1"
)]
#[case::absolute(
    r#"[{"Config":"/etc/passwd"}]"#,
    "the manifest.json of \"images.tar\" names \"/etc/passwd\", which has an absolute path"
)]
#[case::out(
    r#"[{"Config":"c","Layers":["a/../../b"]}]"#,
    "the manifest.json of \"images.tar\" names \"a/../../b\", which has a path with `..`"
)]
fn a_list_that_is_refused(#[case] list: &str, #[case] why: &str) {
    assert_eq!(refused(&Tar::new().file("manifest.json", list.as_bytes()).end()), why);
}

#[rstest]
#[case::nothing(&[], "")]
#[case::docker_1_9(&["repositories", "id/json"], ", as docker before 1.10 wrote it: load it, and save it again")]
#[case::unfinished(&["oci-layout"], ", although it begins as an OCI layout does: it was not written to its end")]
fn no_images(#[case] files: &[&str], #[case] hint: &str) {
    let tar = files.iter().fold(Tar::new(), |tar, name| tar.file(name, b"{}"));
    let why = format!(
        "\"images.tar\" has no images: it has neither an index.json nor a manifest.json{hint}"
    );
    assert_eq!(refused(&tar.end()), why);
}

//! OCI layouts, as an archive and as a folder: what they list, what of it is not there, and that nothing of it changes.

use std::{fs, os::unix::fs::symlink};

use multiarch_operator::{
    archive::{Archive, ArchiveError, Image as Read, Kind},
    oci::{Digest, Manifest, media_type},
};
use rstest::rstest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{
    images::{self, Files, Image, Layout, digest},
    write::{OnDisk, Tar, blob, gzip, open, refused, told, zstd},
};

const NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn names(image: &Read) -> Vec<String> {
    image.names.iter().map(ToString::to_string).collect()
}

fn written(files: &Files, packing: &str) -> OnDisk {
    let tar = || Tar::of(files).end();
    match packing {
        "folder" => OnDisk::folder(files),
        "gzip" => OnDisk::new(&gzip(&tar())),
        "zstd" => OnDisk::new(&zstd(&tar(), 26)),
        _ => OnDisk::new(&tar()),
    }
}

#[rstest]
fn keeps_digests(
    #[values("tar", "gzip", "zstd", "folder")] packing: &str,
    #[values(true, false)] packed: bool,
) {
    let (arm, amd) = (Image::of("arm64"), Image::of("amd64"));
    let mut layout = Layout::default();
    let children = [layout.image(&arm, packed), layout.image(&amd, packed)];
    let index = layout.index(&children);
    layout.list(&index, &[(NAME, "docker.io/library/busybox:1"), (REF_NAME, "1")]);
    layout.list(&children[0], &[]);
    let file = written(&layout.end(), packing);
    let archive = file.open().unwrap();
    let [all, one] = archive.images() else { panic!("not two") };
    assert_eq!((&all.digest, all.kind), (&digest(&index), Kind::Index));
    assert_eq!((&one.digest, one.kind), (&digest(&children[0]), Kind::Manifest));
    assert_eq!(names(all), ["docker.io/library/busybox:1"]);
    assert!(names(one).is_empty() && all.absent.is_empty() && one.absent.is_empty());
    let raw = archive.manifest_of(all).unwrap();
    assert_eq!((raw.digest(), raw.media_type()), (&all.digest, media_type::OCI_INDEX));
    for (child, image) in children.iter().zip([&arm, &amd]) {
        let raw = archive.manifest(&digest(child)).unwrap().unwrap();
        assert_eq!(raw.digest(), &digest(child));
        let Manifest::Image(manifest) = raw.parse().unwrap() else { panic!("no image") };
        assert_eq!(blob(&archive, &manifest.config.digest), image.config);
        for (layer, plain) in manifest.layers.iter().zip(&image.layers) {
            let bytes = blob(&archive, &layer.digest);
            assert_eq!(bytes, if packed { gzip(plain) } else { plain.clone() });
        }
    }
    let other = Digest::of(b"other");
    assert_eq!(archive.manifest(&other).unwrap(), None);
    assert_eq!((archive.blob(&other), archive.position(&other)), (None, None));
    assert!(archive.open_blob(&other).unwrap().is_none());
}

#[rstest]
#[case::containerd(&[(NAME, "docker.io/library/a:1")], &["docker.io/library/a:1"])]
#[case::short(&[(NAME, "a:1")], &["docker.io/library/a:1"])]
#[case::docker(&[(NAME, "docker.io/library/a:1"), (REF_NAME, "1")], &["docker.io/library/a:1"])]
#[case::whole(&[(REF_NAME, "docker.io/library/x:1")], &["docker.io/library/x:1"])]
#[case::two(&[(NAME, "a.b/c:1"), (REF_NAME, "a.b/c:2")], &["a.b/c:1", "a.b/c:2"])]
#[case::the_same(&[(NAME, "a.b/c:1"), (REF_NAME, "a.b/c:1")], &["a.b/c:1"])]
#[case::a_tag(&[(REF_NAME, "latest")], &[])]
#[case::like_a_host(&[(REF_NAME, "v1.2:3")], &[])]
#[case::no_tag(&[(NAME, "docker.io/library/a")], &[])]
#[case::odd(&[(NAME, "A B"), (REF_NAME, "/")], &[])]
fn calls_images(#[case] annotations: &[(&str, &str)], #[case] expected: &[&str]) {
    let mut layout = Layout::default();
    let image = layout.image(&Image::of("arm64"), true);
    layout.list(&image, annotations);
    let archive = open(&Tar::of(&layout.end()).end()).unwrap();
    assert_eq!(names(&archive.images()[0]), expected);
}

#[test]
fn a_digest_beside_a_tag_is_no_part_of_the_name() {
    let mut layout = Layout::default();
    let image = layout.image(&Image::of("arm64"), true);
    let pinned = format!("a.b/c:1@{}", Digest::of(b""));
    layout.list(&image, &[(NAME, &pinned), (REF_NAME, &pinned.replace(":1", ""))]);
    let archive = open(&Tar::of(&layout.end()).end()).unwrap();
    assert_eq!(names(&archive.images()[0]), ["a.b/c:1"]);
}

/// Docker lists an image once for each of its names.
#[test]
fn an_image_of_two_names_is_one() {
    let mut layout = Layout::default();
    let image = layout.image(&Image::of("arm64"), false);
    layout.list(&image, &[(NAME, "docker.io/library/a:1")]);
    layout.list(&image, &[(NAME, "docker.io/library/a:2")]);
    let archive = open(&Tar::of(&layout.end()).end()).unwrap();
    let [image] = archive.images() else { panic!("not one") };
    assert_eq!(names(image), ["docker.io/library/a:1", "docker.io/library/a:2"]);
}

/// Since docker 25 both are there, and index.json has what was pulled.
#[test]
fn index_json_comes_before_manifest_json() {
    let image = Image::of("arm64");
    let mut layout = Layout::default();
    let manifest = layout.image(&image, false);
    layout.list(&manifest, &[(NAME, "docker.io/library/a:1")]);
    layout.save(&image, &["b:1"]);
    let archive = open(&Tar::of(&layout.end()).end()).unwrap();
    let [read] = archive.images() else { panic!("not one") };
    assert_eq!((read.kind, &read.digest), (Kind::Manifest, &digest(&manifest)));
    assert_eq!(names(read), ["docker.io/library/a:1"]);
}

#[test]
fn manifest_json_names_what_index_json_does_not() {
    let (image, other) = (Image::of("arm64"), Image::of("amd64"));
    let mut layout = Layout::default();
    for (image, names) in [(&image, ["a:1"]), (&other, ["b:1"])] {
        let manifest = layout.image(image, false);
        layout.list(&manifest, &[(REF_NAME, "latest")]);
        layout.save(image, &names);
    }
    let archive = open(&Tar::of(&layout.end()).end()).unwrap();
    let read: Vec<_> = archive.images().iter().map(names).collect();
    assert_eq!(read, [["docker.io/library/a:1"], ["docker.io/library/b:1"]]);
}

#[test]
fn an_index_json_of_nothing_leaves_it_to_manifest_json() {
    let image = Image::of("arm64");
    let mut layout = Layout::default();
    layout.image(&image, false);
    layout.save(&image, &["a:1"]);
    let archive = open(&Tar::of(&layout.end()).end()).unwrap();
    assert_eq!((archive.images()[0].kind, archive.images().len()), (Kind::Saved, 1));
    archive.manifest_of(&archive.images()[0]).unwrap();
}

/// An image of which the archive has the manifest alone, and one whose layer is elsewhere, as those of Windows are.
fn hollow(layout: &mut Layout) -> [serde_json::Value; 2] {
    let mut layer = images::describe(media_type::OCI_LAYER, b"elsewhere");
    let manifest = |layer: &serde_json::Value| {
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": images::describe(media_type::OCI_CONFIG, b"{}"), "layers": [layer]})
    };
    let hollow = layout.blob(media_type::OCI_MANIFEST, manifest(&layer).to_string().as_bytes());
    layout.blob(media_type::OCI_CONFIG, b"{}");
    layer["urls"] = json!(["https://example.com/layer"]);
    let foreign = layout.blob(media_type::OCI_MANIFEST, manifest(&layer).to_string().as_bytes());
    [hollow, foreign]
}

/// containerd saves an index as it is, and of its images those that it has.
#[rstest]
fn what_is_absent_is_listed(#[values("tar", "gzip", "folder")] packing: &str) {
    let image = Image::of("arm64");
    let mut layout = Layout::default();
    let here = layout.image(&image, true);
    let gone = images::describe(media_type::OCI_MANIFEST, b"gone");
    let [hollow, foreign] = hollow(&mut layout);
    let inner = layout.index(&[gone.clone(), here.clone(), foreign]);
    let outer = layout.index(&[inner, gone.clone(), hollow.clone()]);
    layout.list(&outer, &[(NAME, "docker.io/library/a:1")]);
    layout.list(&gone, &[]);
    let file = written(&layout.end(), packing);
    let archive = file.open().unwrap();
    let expected = [(Kind::Index, vec![&gone, &hollow]), (Kind::Manifest, vec![&gone])];
    for (image, (kind, gone)) in archive.images().iter().zip(expected) {
        let absent: Vec<_> = image.absent.iter().map(|child| child.digest.clone()).collect();
        let gone: Vec<_> = gone.into_iter().map(digest).collect();
        assert_eq!((absent, image.kind), (gone, kind));
    }
    archive.manifest_of(&archive.images()[0]).unwrap();
    assert_eq!(archive.manifest(&digest(&gone)).unwrap(), None);
    let error = archive.manifest_of(&archive.images()[1]).unwrap_err();
    let why = format!(
        "\"images.tar\" does not have {}: save the image with the platform that it is for",
        digest(&gone)
    );
    assert_eq!(told(&error, &file.path()), why);
}

/// What an image is for, its config says; of an index, what it lists of the images that are there.
#[rstest]
fn what_an_image_is_for_is_known(#[values("tar", "gzip", "folder")] packing: &str) {
    let (arm, amd) = (Image::of("arm64"), Image::of("amd64"));
    let mut layout = Layout::default();
    let listed = |mut image: serde_json::Value, os: &str, architecture: &str| {
        image["platform"] = json!({"os": os, "architecture": architecture});
        image
    };
    let alone = layout.image(&arm, true);
    let here = listed(alone.clone(), "linux", "arm64");
    let inner = layout.index(&[listed(layout_of(&amd), "linux", "amd64"), here.clone()]);
    let mut attestation = listed(layout.image(&amd, false), "unknown", "unknown");
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let outer = layout.index(&[inner, attestation]);
    let unsaid = layout.index(&[here, alone.clone()]);
    let bare = layout.index(std::slice::from_ref(&alone));
    let nothing = layout.index(&[listed(layout_of(&amd), "linux", "amd64")]);
    let [hollow, _] = hollow(&mut layout);
    for (at, image) in [&alone, &outer, &unsaid, &bare, &nothing, &hollow].iter().enumerate() {
        layout.list(image, &[(NAME, &format!("docker.io/library/a:{at}"))]);
    }
    let archive = written(&layout.end(), packing).open().unwrap();
    let told = |image: &Read| {
        let platforms = image.platforms.as_ref()?.iter();
        Some(platforms.map(ToString::to_string).collect::<Vec<_>>())
    };
    let told: Vec<_> = archive.images().iter().map(told).collect();
    let arm64 = Some(vec!["linux/arm64".to_owned()]);
    // One that is listed twice is what it is listed as first.
    let expected = [arm64.clone(), arm64.clone(), arm64, None, Some(Vec::new()), None];
    assert_eq!(told, expected);
}

/// The descriptor of `image`, which is in no archive.
fn layout_of(image: &Image) -> serde_json::Value {
    Layout::default().image(image, true)
}

/// Of an image without a manifest its config says it as well.
#[test]
fn what_a_saved_image_is_for_is_known() {
    let (mut odd, arm) = (Image::of("amd64"), Image::of("arm64"));
    odd.config = br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    let files = images::docker(&[(&arm, &["a:1"]), (&odd, &["b:1"])]);
    let archive = open(&Tar::of(&files).end()).unwrap();
    let platforms: Vec<_> = archive.images().iter().map(|image| image.platforms.clone()).collect();
    assert_eq!(platforms, [Some(vec!["linux/arm64".parse().unwrap()]), None]);
}

/// OCI leaves `mediaType` out where it likes.
#[test]
fn a_document_need_not_say_its_type() {
    let image = Image::of("arm64");
    let mut layout = Layout::default();
    let config = layout.blob(media_type::OCI_CONFIG, &image.config);
    let bare = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    let child = layout.blob(media_type::OCI_MANIFEST, bare.as_bytes());
    let bare = json!({"schemaVersion": 2, "manifests": [child]}).to_string();
    let index = layout.blob(media_type::OCI_INDEX, bare.as_bytes());
    layout.list(&index, &[]);
    let archive = open(&Tar::of(&layout.end()).end()).unwrap();
    let raw = archive.manifest_of(&archive.images()[0]).unwrap();
    assert_eq!((raw.digest(), raw.media_type()), (&digest(&index), media_type::OCI_INDEX));
    let raw = archive.manifest(&digest(&child)).unwrap().unwrap();
    assert_eq!(raw.media_type(), media_type::OCI_MANIFEST);
}

/// Changes a byte of the file that has `descriptor`'s digest.
fn damaged(mut files: Files, descriptor: &serde_json::Value) -> Files {
    let name = format!("blobs/sha256/{}", digest(descriptor).encoded());
    let (_, bytes) = files.iter_mut().find(|(file, _)| *file == name).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    files
}

#[rstest]
fn a_blob_is_held_to_its_digest(#[values("tar", "gzip", "folder")] packing: &str) {
    let image = Image::of("arm64");
    let mut layout = Layout::default();
    let manifest = layout.image(&image, true);
    layout.list(&manifest, &[]);
    let layer = images::describe(media_type::OCI_LAYER, &gzip(&image.layers[1]));
    let file = written(&damaged(layout.end(), &layer), packing);
    let archive = file.open().unwrap();
    archive.manifest_of(&archive.images()[0]).unwrap();
    let mut bytes = Vec::new();
    let mut reader = archive.open_blob(&digest(&layer)).unwrap().unwrap();
    let error = std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap_err();
    let error = error.downcast::<ArchiveError>().unwrap();
    assert!(matches!(&error, ArchiveError::Digest { expected, .. } if *expected == digest(&layer)));
    assert!(told(&error, &file.path()).contains("in \"images.tar\" is damaged: its bytes are"));
    assert!((bytes.len() as u64) < archive.blob(&digest(&layer)).unwrap(), "the last is not given");
}

/// What is wrong with one image is told when that is asked for.
#[rstest]
fn a_document_is_held_to_its_digest(#[values("tar", "gzip", "folder")] packing: &str) {
    let mut layout = Layout::default();
    let child = layout.image(&Image::of("arm64"), true);
    let index = layout.index(&[child]);
    let other = layout.image(&Image::of("amd64"), true);
    layout.list(&index, &[]);
    layout.list(&other, &[]);
    let file = written(&damaged(layout.end(), &index), packing);
    let archive = file.open().unwrap();
    let error = archive.manifest_of(&archive.images()[0]).unwrap_err();
    assert!(matches!(error, ArchiveError::Digest { .. }), "{error}");
    archive.manifest_of(&archive.images()[1]).unwrap();
}

#[rstest]
#[case::no_json(
    "{",
    "failed to read \"index.json\" in \"images.tar\": not a valid manifest: EOF while parsing an object at line 1 column 1"
)]
#[case::a_manifest(
    r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
    "failed to read \"index.json\" in \"images.tar\": not a valid application/vnd.oci.image.index.v1+json: it has the config or layers of an image manifest"
)]
fn an_index_json_that_is_refused(#[case] index: &str, #[case] why: &str) {
    assert_eq!(refused(&Tar::new().file("index.json", index.as_bytes()).end()), why);
}

fn open_folder(files: &Files, change: impl FnOnce(&std::path::Path)) -> Result<Archive, String> {
    let folder = OnDisk::folder(files);
    change(&folder.path());
    folder.open().map_err(|error| told(&error, &folder.path()))
}

fn layout() -> (Files, Digest) {
    let mut layout = Layout::default();
    let image = layout.image(&Image::of("arm64"), true);
    layout.list(&image, &[]);
    (layout.end(), digest(&image))
}

#[test]
fn a_folder_of_something_else() {
    let why = "\"images.tar\" is no OCI layout: it has no index.json";
    let files = vec![("manifest.json".to_owned(), b"[]".to_vec())];
    assert_eq!(open_folder(&files, |_| ()).err().unwrap(), why);
}

#[rstest]
#[case::file("index.json", "\"index.json\"")]
#[case::folder("blobs/sha256", "\"blobs/sha256/{}\"")]
#[case::folders("blobs", "\"blobs/sha256/{}\"")]
fn no_link_is_followed_in_a_folder(#[case] moved: &str, #[case] entry: &str) {
    let (files, image) = layout();
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = open_folder(&files, |folder| {
        let to = elsewhere.path().join("moved");
        fs::rename(folder.join(moved), &to).unwrap();
        symlink(&to, folder.join(moved)).unwrap();
    });
    let entry = entry.replace("{}", image.encoded());
    let why = format!(
        "{entry} in \"images.tar\" is a link, or in a folder that is one: it is not read, because it could lead to \
         another file than the archive's own"
    );
    assert_eq!(refused.err().unwrap(), why);
}

#[rstest]
fn only_regular_files_are_read_in_a_folder(
    // Of devices one that nothing drives, which anybody may make.
    #[values(FileType::Fifo, FileType::Socket, FileType::CharacterDevice)] kind: FileType,
    #[values("blobs/sha256/{}", "index.json")] name: &str,
) {
    let (files, image) = layout();
    let refused = open_folder(&files, |folder| {
        let file = folder.join(name.replace("{}", image.encoded()));
        fs::remove_file(&file).unwrap();
        mknodat(CWD, &file, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
    });
    assert!(refused.err().unwrap().contains("is no regular file"));
}

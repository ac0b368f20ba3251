//! The port, where it leads to archives.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use multiarch_operator::{
    oci::{Descriptor, Digest, Manifest, RawManifest, Repository, TagOrDigest, media_type},
    registry::{
        Access, Copied, Credential, Place, Progress, Registry, RegistryError,
        archive::{Archives, Lacking, Turns},
        memory::Store,
    },
};
use rstest::rstest;
use serde_json::json;

use super::{
    archive::{
        images::{self, Image, Layout, digest},
        write::{OnDisk, Tar, gzip, zstd},
    },
    archives, inside,
};

const NAME: &str = "io.containerd.image.name";
const APP: &str = "app:1";

fn saved(image: &Image) -> Vec<u8> {
    Tar::of(&images::docker(&[(image, &[APP])])).end()
}

async fn get(archives: &Archives<Store>, name: &str) -> Result<Option<RawManifest>, RegistryError> {
    let name = inside("a.tar", name);
    archives.get_manifest(&Access::default(), name.repository(), &name.tag_or_digest()).await
}

fn repository(text: &str) -> Repository {
    text.parse::<multiarch_operator::oci::Reference>().unwrap().repository().clone()
}

fn blobs(raw: &RawManifest) -> Vec<Descriptor> {
    let Ok(Manifest::Image(image)) = raw.parse() else { panic!("no image") };
    image.blobs().cloned().collect()
}

async fn copy(
    archives: &Archives<Store>,
    to: &str,
    blob: &Descriptor,
) -> Result<Option<Copied>, RegistryError> {
    let (access, progress): (_, Progress) = (Access::default(), Arc::new(|_| {}));
    let (from, to) = (inside("a.tar", APP), repository(to));
    let from = Place { access: &access, repository: from.repository() };
    archives.copy_blob(from, Place { access: &access, repository: &to }, blob, &progress).await
}

#[tokio::test]
async fn what_is_in_an_archive_is_answered_from_there() {
    let (store, image) = (Store::new(), Image::of("arm64"));
    let archives = archives(&store, &[("a.tar", &saved(&image))]);
    let access = Access::default();
    let raw = get(&archives, APP).await.unwrap().unwrap();
    assert_eq!(raw.media_type(), media_type::DOCKER_MANIFEST);
    let app = inside("a.tar", APP);
    let (app, tag) = (app.repository().clone(), app.tag_or_digest());
    let by_digest = TagOrDigest::Digest(raw.digest().clone());
    // By its name it is told by its config, for which no manifest has to be made.
    let told = [(&tag, blobs(&raw)[0].clone()), (&by_digest, raw.descriptor())];
    for (of, told) in told {
        assert_eq!(archives.get_manifest(&access, &app, of).await.unwrap(), Some(raw.clone()));
        assert_eq!(archives.head_manifest(&access, &app, of).await.unwrap(), Some(told));
    }
    assert_eq!(get(&archives, "app:2").await.unwrap(), None);
    assert_eq!(get(&archives, "other:1").await.unwrap(), None);
    let other = TagOrDigest::Digest(Digest::of(b"other"));
    assert_eq!(archives.get_manifest(&access, &app, &other).await.unwrap(), None);
    let referrers = archives.list_referrers(&access, &app, raw.digest()).await.unwrap();
    assert_eq!(referrers, [], "an archive has none");

    let config = &blobs(&raw)[0];
    assert_eq!(config.digest, image.id());
    let read = archives.get_blob(&access, &app, config).await.unwrap().unwrap();
    assert_eq!(read, image.config);
    assert!(archives.blob_exists(&access, &app, config).await.unwrap());
    for (size, words) in [
        (config.size - 1, "a.tar answered GET blob library/app@sha256:"),
        (config.size + 1, "a.tar answered GET blob library/app@sha256:"),
        (100 << 20, "more than 8388608 bytes, the limit for a blob"),
    ] {
        let wrong = Descriptor { size, ..config.clone() };
        let error = archives.get_blob(&access, &app, &wrong).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(archives.blob_exists(&access, &app, &wrong).await.is_err());
    }
    let absent = Descriptor { digest: Digest::of(b"other"), ..config.clone() };
    assert_eq!(archives.get_blob(&access, &app, &absent).await.unwrap(), None);
    assert!(!archives.blob_exists(&access, &app, &absent).await.unwrap());
    assert_eq!(store.requests(), [], "no registry is asked");
}

#[tokio::test]
async fn nothing_is_written_to_an_archive() {
    let (store, image) = (Store::new(), Image::of("arm64"));
    let archives = archives(&store, &[("a.tar", &saved(&image))]);
    let access = Access::default();
    let raw = get(&archives, APP).await.unwrap().unwrap();
    let (app, tag) = (inside("a.tar", APP).repository().clone(), TagOrDigest::Tag("2".into()));
    let place = Place { access: &access, repository: &app };
    let (blob, progress): (_, Progress) = (blobs(&raw).remove(0), Arc::new(|_| {}));
    let put = archives.put_manifest(&access, &app, &tag, &raw).await.map(|_| ());
    let referrer = archives.put_referrer(&access, &app, &raw, raw.digest()).await;
    let deleted = archives.delete_tag(&access, &app, "1").await.map(|_| ());
    let copied = archives.copy_blob(place, place, &blob, &progress).await.map(|_| ());
    for written in [put, referrer, deleted, copied] {
        let error = written.unwrap_err();
        let words = "a.tar#docker.io/library/app is in an archive, and archives are only read";
        assert_eq!(error.to_string(), words);
    }
    let other = inside("other.tar", APP);
    let (other, tag) = (other.repository(), other.tag_or_digest());
    let error = archives.get_manifest(&access, other, &tag).await.unwrap_err();
    assert!(error.to_string().contains("an archive that was not opened"), "{error}");
    assert_eq!(store.requests(), []);
}

/// What is beside the archives goes to the registry as it is.
#[tokio::test]
async fn all_else_is_the_registrys() {
    let store = Store::new();
    let archives = archives(&store, &[]);
    let (access, app) = (Access::default(), repository("r.example/app:1"));
    let image = multiarch_operator::registry::memory::Image::of("linux/amd64");
    let pushed = store.push("app", Some("1"), &image);
    let tag = TagOrDigest::Tag("1".into());
    let raw = archives.get_manifest(&access, &app, &tag).await.unwrap().unwrap();
    assert_eq!(*raw.digest(), pushed.digest);
    assert_eq!(archives.head_manifest(&access, &app, &tag).await.unwrap(), Some(raw.descriptor()));
    let config = &blobs(&raw)[0];
    assert!(archives.get_blob(&access, &app, config).await.unwrap().is_some());
    assert!(archives.blob_exists(&access, &app, config).await.unwrap());
    archives.put_manifest(&access, &app, &TagOrDigest::Tag("2".into()), &raw).await.unwrap();
    assert!(archives.delete_tag(&access, &app, "2").await.unwrap());
    assert_eq!(archives.list_referrers(&access, &app, raw.digest()).await.unwrap(), []);
}

#[rstest]
#[tokio::test]
async fn a_blob_is_read_once_for_all_repositories_of_a_registry(
    #[values("plain", "gzip", "zstd")] packing: &str,
) {
    let (store, image) = (Store::new(), Image::of("arm64"));
    let tar = saved(&image);
    let bytes = match packing {
        "gzip" => gzip(&tar),
        "zstd" => zstd(&tar, 20),
        _ => tar,
    };
    let archives = archives(&store, &[("a.tar", &bytes)]);
    let raw = get(&archives, APP).await.unwrap().unwrap();
    store.forget();
    for blob in &blobs(&raw) {
        let first = copy(&archives, "r.example/one:1", blob).await.unwrap();
        assert!(matches!(first, Some(Copied::Uploaded | Copied::Present)), "{first:?}");
        assert_eq!(copy(&archives, "r.example/one:2", blob).await.unwrap(), Some(Copied::Present));
        let second = copy(&archives, "r.example/two:1", blob).await.unwrap();
        assert_eq!(second, Some(Copied::Mounted));
        assert!(store.blob("one", &blob.digest).is_some_and(|it| blob.digest.matches(&it)));
        assert!(store.blob("two", &blob.digest).is_some());
    }
    let puts = store.requests().into_iter().filter(|it| it.method == "PUT").count();
    assert_eq!(puts, 3, "a config and two layers, of which the image has one twice");
    // Where nothing is mounted, it is sent.
    store.refuse_mounts();
    let sent = copy(&archives, "r.example/three:1", &blobs(&raw)[0]).await.unwrap();
    assert_eq!(sent, Some(Copied::Uploaded));
    // Another registry has it from the archive.
    store.delete_blob("one", &image.id());
    let sent = copy(&archives, "s.example/one:1", &blobs(&raw)[0]).await.unwrap();
    assert_eq!(sent, Some(Copied::Uploaded));
    let absent = Descriptor { digest: Digest::of(b"other"), ..blobs(&raw)[0].clone() };
    assert_eq!(copy(&archives, "r.example/one:1", &absent).await.unwrap(), None);
}

/// Other runs with the same archive have it from where the first one has sent it, those of another credential apart.
#[tokio::test]
async fn what_one_run_has_sent_is_there_for_others() {
    let (store, image) = (Store::new(), Image::of("arm64"));
    let opened = Arc::new(OnDisk::new(&saved(&image)).open().unwrap());
    let (turns, name) = (Arc::<Turns>::default(), || "a.tar".to_owned());
    let run = || {
        let archives = Archives::new(store.clone(), [(name(), Arc::clone(&opened))]);
        archives.sharing([(name(), Arc::clone(&turns))])
    };
    let raw = get(&run(), APP).await.unwrap().unwrap();
    let blob = &blobs(&raw)[1];
    let sent = copy(&run(), "r.example/one:1", blob).await.unwrap();
    assert_eq!(sent, Some(Copied::Uploaded));
    assert_eq!(copy(&run(), "r.example/two:1", blob).await.unwrap(), Some(Copied::Mounted));
    // What is gone there is sent again.
    store.delete_blob("one", &blob.digest);
    let again = copy(&run(), "r.example/three:1", blob).await.unwrap();
    assert_eq!(again, Some(Copied::Uploaded));
    let other = Access {
        credential: Some(Credential::of_password("push", "other", "word")),
        ..Access::default()
    };
    let (from, to) = (inside("a.tar", APP), repository("r.example/four:1"));
    let from = Place { access: &other, repository: from.repository() };
    let to = Place { access: &other, repository: &to };
    let progress: Progress = Arc::new(|_| {});
    let sent = run().copy_blob(from, to, blob, &progress).await.unwrap();
    assert_eq!(sent, Some(Copied::Uploaded));
}

/// Two at once: the second one waits for the first, and has it from there.
#[tokio::test]
async fn what_is_on_its_way_is_not_read_again() {
    let (store, image) = (Store::new(), Image::of("arm64"));
    let archives = archives(&store, &[("a.tar", &saved(&image))]);
    let raw = get(&archives, APP).await.unwrap().unwrap();
    let blob = &blobs(&raw)[1];
    let (one, two) = tokio::join!(
        copy(&archives, "r.example/one:1", blob),
        copy(&archives, "r.example/two:1", blob)
    );
    assert_eq!((one.unwrap(), two.unwrap()), (Some(Copied::Uploaded), Some(Copied::Mounted)));
}

#[tokio::test]
async fn what_was_copied_ahead_is_told_to_the_run_that_needs_it() {
    let (store, image) = (Store::new(), Image::of("arm64"));
    let archives = archives(&store, &[("a.tar", &saved(&image))]);
    let raw = get(&archives, APP).await.unwrap().unwrap();
    let (access, blob) = (Access::default(), &blobs(&raw)[1]);
    let (from, to) = (inside("a.tar", APP), repository("r.example/one:1"));
    let lacking = Lacking {
        from: from.repository().clone(),
        to: to.clone(),
        writes: access.clone(),
        digest: blob.digest.clone(),
        size: blob.size,
    };
    let from = Place { access: &access, repository: from.repository() };
    let to = Place { access: &access, repository: &to };
    let told = Arc::new(AtomicU64::new(0));
    let last = Arc::clone(&told);
    let progress: Progress = Arc::new(move |sent| last.store(sent, Ordering::Relaxed));
    let ahead = archives.copy_ahead(&lacking, &progress).await.unwrap();
    assert_eq!(ahead, Some(Copied::Uploaded));
    told.store(0, Ordering::Relaxed);
    store.forget();
    let copied = archives.copy_blob(from, to, blob, &progress).await.unwrap();
    assert_eq!((copied, told.load(Ordering::Relaxed)), (Some(Copied::Uploaded), blob.size));
    assert_eq!(store.requests(), []);
    let again = archives.copy_blob(from, to, blob, &progress).await.unwrap();
    assert_eq!(again, Some(Copied::Present), "it is told once");
}

/// A layer that is not what its config says is told by name, and never sent.
#[tokio::test]
async fn what_is_wrong_with_an_image_is_told() {
    let (store, mut image) = (Store::new(), Image::of("arm64"));
    image.layers[1] = Tar::new().file("bin/other", b"x").end();
    let archives = archives(&store, &[("a.tar", &saved(&image))]);
    let name = inside("a.tar", APP);
    archives.make(std::slice::from_ref(&name)).await;
    for _ in 0..2 {
        let error = get(&archives, APP).await.unwrap_err();
        assert!(matches!(error, RegistryError::Archive { .. }), "{error:?}");
        assert!(error.to_string().contains("layer.tar"), "{error}");
    }
    assert_eq!(store.requests(), []);
}

/// As docker ≥ 25 writes what was pulled for one platform: an index of all, and the content of one.
#[tokio::test]
async fn an_index_is_what_of_it_is_there() {
    let (arm, amd) = (Image::of("arm64"), Image::of("amd64"));
    let mut layout = Layout::default();
    let mut there = layout.image(&arm, true);
    there["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let mut absent = Layout::default().image(&amd, true);
    absent["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let attests = |of: &serde_json::Value, bytes: &[u8]| {
        let mut attestation = images::describe(media_type::OCI_MANIFEST, bytes);
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        attestation["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": of["digest"],
        });
        attestation
    };
    let of_absent = attests(&absent, b"{}");
    layout.blob(media_type::OCI_MANIFEST, b"{}");
    let index =
        layout.index(&[absent.clone(), there.clone(), attests(&there, b"not there"), of_absent]);
    layout.list(&index, &[(NAME, "docker.io/library/app:1")]);
    let whole = layout.index(std::slice::from_ref(&there));
    layout.list(&whole, &[(NAME, "docker.io/library/whole:1")]);
    let nothing = layout.index(std::slice::from_ref(&absent));
    layout.list(&nothing, &[(NAME, "docker.io/library/nothing:1")]);
    let store = Store::new();
    let archives = archives(&store, &[("a.tar", &Tar::of(&layout.end()).end())]);

    let raw = get(&archives, APP).await.unwrap().unwrap();
    let Manifest::Index(part) = raw.parse().unwrap() else { panic!("no index") };
    let listed: Vec<_> = part.manifests.iter().map(|child| child.digest.clone()).collect();
    assert_eq!(listed, [digest(&there)], "what attests an image that is not there goes as well");
    assert_ne!(*raw.digest(), digest(&index));
    let by_digest = TagOrDigest::Digest(raw.digest().clone());
    let app = inside("a.tar", APP).repository().clone();
    let again = archives.get_manifest(&Access::default(), &app, &by_digest).await.unwrap();
    assert_eq!(again, Some(raw));

    let raw = get(&archives, "whole:1").await.unwrap().unwrap();
    assert_eq!(*raw.digest(), digest(&whole), "where all is there, it is what it was");
    let error = get(&archives, "nothing:1").await.unwrap_err();
    assert!(
        error.to_string().contains("none of the images that a.tar#docker.io/library/nothing:1")
    );
}

#[tokio::test]
async fn what_has_no_name_may_be_called_something() {
    let image = Image::of("arm64");
    let mut layout = Layout::default();
    let descriptor = layout.image(&image, true);
    layout.list(&descriptor, &[]);
    let archives = archives(&Store::new(), &[("a.tar", &Tar::of(&layout.end()).end())]);
    assert_eq!(get(&archives, APP).await.unwrap(), None);
    archives.call(inside("a.tar", APP), &digest(&descriptor));
    let raw = get(&archives, APP).await.unwrap().unwrap();
    assert_eq!(*raw.digest(), digest(&descriptor));
}

/// Images of an archive in another order than its own, of which two share a repository, and which is packed.
#[rstest]
#[case::saved(true, 3)]
#[case::layout(false, 2)]
#[tokio::test]
async fn a_packed_archive_is_read_once_to_send_all_of_it(
    #[case] is_saved: bool,
    #[case] readings: u64,
    #[values("gzip", "zstd")] packing: &str,
) {
    let noise = |seed: u64| -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes = (0..200 << 10).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        });
        Tar::new().file("noise", &bytes.collect::<Vec<_>>()).end()
    };
    let base = noise(1);
    let image =
        |at: u64| Image::with("arm64", vec![noise(10 * at + 1), base.clone(), noise(10 * at)]);
    let all: Vec<Image> = (1..5_u64).map(image).collect();
    let names = ["d:1", "c:1", "b:1", "b:2"];
    let named: Vec<[&str; 1]> = names.iter().map(|name| [*name]).collect();
    let files = if is_saved {
        let all: Vec<_> = all.iter().zip(&named).map(|(image, name)| (image, &name[..])).collect();
        images::docker(&all)
    } else {
        let mut layout = Layout::default();
        for (image, name) in all.iter().zip(names) {
            let descriptor = layout.image(image, true);
            layout.list(&descriptor, &[(NAME, name)]);
        }
        layout.end()
    };
    let tar = Tar::of(&files).end();
    let bytes = if packing == "gzip" { gzip(&tar) } else { zstd(&tar, 20) };
    let opened = Arc::new(super::archive::write::OnDisk::new(&bytes).open().unwrap());
    let store = Store::new();
    let archives = Archives::new(store.clone(), [("a.tar".to_owned(), Arc::clone(&opened))]);
    let inside: Vec<_> = names.iter().map(|name| inside("a.tar", name)).collect();
    archives.make(&inside).await;
    let mut lacking = Vec::new();
    for (name, image) in names.iter().zip(&inside) {
        let raw = get(&archives, name).await.unwrap().unwrap();
        let to = repository(&format!("r.example/{name}"));
        lacking.extend(blobs(&raw).into_iter().map(|blob| Lacking {
            from: image.repository().clone(),
            to: to.clone(),
            writes: Access::default(),
            digest: blob.digest,
            size: blob.size,
        }));
    }
    let silent: Progress = Arc::new(|_| {});
    let ordered = archives.in_order(lacking);
    let [(name, ordered)] = ordered.as_slice() else { panic!("{ordered:?}") };
    assert_eq!(name, "a.tar");
    for blob in ordered {
        let copied = archives.copy_ahead(blob, &silent).await.unwrap();
        assert!(copied.is_some_and(|it| it != Copied::Present), "{blob:?}");
    }
    // A config and two layers of each, and the one that they share.
    let puts = store.requests().into_iter().filter(|it| it.method == "PUT").count();
    assert_eq!(puts, 4 * 3 + 1);
    let (size, read) = (bytes.len() as u64, opened.bytes_read());
    // Beside the whole, the first bytes tell what it is, and what is read ahead.
    let slack = (readings + 1) * (300 << 10);
    assert!(read <= readings * size + slack, "{read} bytes were read of {size}");
    let plain = Archives::new(store, []);
    assert!(plain.in_order(ordered.clone()).is_empty(), "of an archive that is not there");
}

//! What is read below the folder, when, and how often; and what is not.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
};

use futures::{FutureExt, future::join_all, poll};
use rstest::rstest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::advance;

use super::*;
use crate::oci::{Digest, Reference};

const NOW: Duration = Duration::ZERO;

pub(super) fn options(dir: &TempDir) -> Options {
    Options { dir: Some(dir.path().to_owned()), shared: false, settles: NOW }
}

/// An OCI layout with the one image `name`, at `path`.
pub(super) fn layout(path: &Path, name: &str) {
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.as_str().rsplit(':').next().unwrap()), bytes).unwrap();
        json!({"digest": digest.to_string(), "size": bytes.len()})
    };
    let describe = |media_type: &str, mut blob: serde_json::Value| {
        blob["mediaType"] = media_type.into();
        blob
    };
    let config = json!({"os": "linux", "architecture": "arm64", "rootfs": {"type": "layers", "diff_ids": []}});
    let config = put(config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("application/vnd.oci.image.config.v1+json", config), "layers": [],
    });
    let manifest = put(manifest.to_string().as_bytes());
    let mut manifest = describe("application/vnd.oci.image.manifest.v1+json", manifest);
    manifest["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(path.join("index.json"), index.to_string()).unwrap();
}

fn has(archive: &Archive, name: &str) -> bool {
    archive.named(&name.parse::<Reference>().unwrap()).is_some()
}

#[tokio::test]
async fn an_archive_is_read_once_and_again_when_it_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("team/k3s");
    layout(&path, "docker.io/rancher/pause:3.1");
    let shelf = Shelf::new(options(&dir));
    let first = shelf.open("team", "k3s").await.unwrap();
    assert!(has(&first, "rancher/pause:3.1"));
    assert!(Arc::ptr_eq(&first, &shelf.open("team", "k3s").await.unwrap()));
    fs::remove_dir_all(&path).unwrap();
    let gone = shelf.open("team", "k3s").await.unwrap_err();
    assert!(matches!(gone, ShelfError::NotThere { .. }), "{gone}");
    layout(&path, "docker.io/rancher/pause:3.10");
    let second = shelf.open("team", "k3s").await.unwrap();
    assert!(has(&second, "rancher/pause:3.10") && !has(&second, "rancher/pause:3.1"));
}

#[tokio::test]
async fn many_who_ask_at_once_read_it_once() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("team/k3s"), "docker.io/rancher/pause:3.1");
    let shelf = Shelf::new(options(&dir));
    let all = join_all((0..100).map(|_| shelf.open("team", "k3s"))).await;
    let first = all[0].clone().unwrap();
    let once = first.bytes_read();
    assert!(all.into_iter().all(|other| Arc::ptr_eq(&other.unwrap(), &first)));
    assert_eq!(first.bytes_read(), once);
    // What another namespace has under that name is another one.
    layout(&dir.path().join("other/k3s"), "docker.io/rancher/pause:3.1");
    assert!(!Arc::ptr_eq(&shelf.open("other", "k3s").await.unwrap(), &first));
}

/// A copy that keeps the time of its original, too: no program sets the time of a change.
#[tokio::test]
async fn what_has_the_size_and_time_of_another_one_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("team/k3s");
    layout(&path, "docker.io/rancher/pause:3.1");
    let index = path.join("index.json");
    let then = fs::metadata(&index).unwrap();
    let shelf = Shelf::new(options(&dir));
    let first = shelf.open("team", "k3s").await.unwrap();
    let other = fs::read_to_string(&index).unwrap().replace("pause:3.1", "pause:3.2");
    let changed = |about: &fs::Metadata| (about.ctime(), about.ctime_nsec());
    // The clock of a file system ticks some hundred times a second, and no archive is read as young as these here.
    while changed(&fs::metadata(&index).unwrap()) == changed(&then) {
        fs::write(&index, &other).unwrap();
        fs::File::open(&index).unwrap().set_modified(then.modified().unwrap()).unwrap();
    }
    assert_eq!(fs::metadata(&index).unwrap().len(), then.len());
    let second = shelf.open("team", "k3s").await.unwrap();
    assert!(has(&first, "rancher/pause:3.1") && has(&second, "rancher/pause:3.2"));
}

#[tokio::test]
async fn what_was_changed_a_short_while_ago_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("team/k3s"), "docker.io/rancher/pause:3.1");
    let shelf = Shelf::new(Options { settles: Duration::from_hours(1), ..options(&dir) });
    let error = shelf.open("team", "k3s").await.unwrap_err();
    let ShelfError::Settles { after, .. } = &error else { panic!("{error}") };
    assert!(*after > Duration::from_mins(59), "{error}");
    assert!(error.to_string().contains("is read in 35"), "{error}");
}

/// What was read is of no file that there ever was: some of it was read before the change, and some after.
#[rstest]
#[case::read("docker.io/rancher/pause:3.1")]
#[case::broken("")]
fn what_is_changed_while_it_is_read_first_is_not_taken(#[case] name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("team/k3s");
    layout(&path, "docker.io/rancher/pause:3.1");
    let look = |before, reads: &dyn Fn(&Path, File) -> Result<Archive, ArchiveError>| {
        super::look(dir.path(), "team/k3s", "k3s", NOW, before, reads)
    };
    let changed = |said: &Path, file: File| {
        if name.is_empty() {
            fs::write(path.join("index.json"), "{").unwrap();
        }
        let read = Archive::of(said, file);
        layout(&path, "docker.io/rancher/pause:3.10");
        read
    };
    let (read, archive) = look(Read::default(), &changed);
    assert!(matches!(archive, Err(ShelfError::Changed { .. })), "{archive:?}");
    let (_, archive) = look(read, &Archive::of);
    assert!(has(&archive.unwrap(), "rancher/pause:3.10"), "it is not read again");
}

/// Why `waiting` ends when so much time has passed, and not before.
async fn gives_up(
    after: Duration,
    waiting: impl Future<Output = Result<Arc<Archive>, ShelfError>>,
) -> ShelfError {
    let mut waiting = std::pin::pin!(waiting);
    assert!(poll!(waiting.as_mut()).is_pending());
    advance(after.checked_sub(Duration::from_millis(2)).unwrap()).await;
    assert!(poll!(waiting.as_mut()).is_pending());
    advance(Duration::from_millis(3)).await;
    waiting.now_or_never().expect("it waits for longer").unwrap_err()
}

/// As on a volume that does not answer, or of one that takes minutes to be unpacked.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_long_and_what_takes_long_is_read_once_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("team/k3s"), "docker.io/rancher/pause:3.1");
    layout(&dir.path().join("team/other"), "docker.io/rancher/pause:3.1");
    let shelf = Shelf::new(options(&dir));
    let (answer, volume) = std::sync::mpsc::channel::<()>();
    let slow = move |said: &Path, file| {
        // Until the other end is dropped.
        let _ = volume.recv();
        Archive::of(said, file)
    };
    let never = |_: &Path, _| panic!("it is read twice");
    let error = gives_up(PATIENCE, shelf.open_by(slow, PATIENCE, "team", "k3s")).await;
    assert!(error.to_string().starts_with("archive k3s is still being read"), "{error}");
    assert_eq!(error.again(PATIENCE), Some(PATIENCE));
    for _ in 0..3 {
        let error = gives_up(SOON, shelf.open_by(never, PATIENCE, "team", "k3s")).await;
        assert!(matches!(error, ShelfError::Reading { .. }), "{error}");
    }
    // The place itself, who reads, and this one: whoever gave up is gone.
    let (turn, _) = shelf.places.at(dir.path().join("team/k3s"));
    assert_eq!(Arc::strong_count(&turn), 3);
    shelf.open("team", "other").await.unwrap();
    drop(answer);
    let archive = shelf.open_by(never, PATIENCE, "team", "k3s").await.unwrap();
    assert!(has(&archive, "rancher/pause:3.1"));
}

/// A disk or a server that fails once is no fault of the archive.
#[tokio::test]
async fn what_the_system_fails_to_read_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("team/k3s"), "docker.io/rancher/pause:3.1");
    let shelf = Shelf::new(options(&dir));
    let fails = |said: &Path, _| {
        let source = Arc::new(std::io::Error::from(rustix::io::Errno::IO));
        Err(ArchiveError::Read { file: said.into(), source })
    };
    let error = shelf.open_by(fails, PATIENCE, "team", "k3s").await.unwrap_err();
    let settles = Duration::from_secs(7);
    assert_eq!(error.again(settles), Some(settles), "{error}");
    shelf.open("team", "k3s").await.unwrap();
}

/// Whoever is told to look again at once must not do so all the time.
#[rstest]
#[case::rest(ShelfError::Settles { path: "a".into(), after: Duration::from_secs(3) }, Some(3))]
#[case::changed(ShelfError::Changed { path: "a".into() }, Some(1))]
#[case::absent(ShelfError::NotThere { path: "a".into() }, None)]
#[case::outside(ShelfError::Outside { path: "a".into(), why: "" }, None)]
#[case::off(ShelfError::Off, None)]
#[case::not_shared(ShelfError::NotShared, None)]
#[case::broken(
    ShelfError::Archive(Arc::new(ArchiveError::NotALayout { file: "a".into() })),
    None
)]
fn when_one_may_be_opened(#[case] error: ShelfError, #[case] seconds: Option<u64>) {
    assert_eq!(error.again(NOW), seconds.map(Duration::from_secs));
}

#[tokio::test]
async fn what_is_wrong_is_told_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("team/k3s.tar");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "no archive").unwrap();
    let shelf = Shelf::new(options(&dir));
    for _ in 0..2 {
        let error = shelf.open("team", "k3s.tar").await.unwrap_err().to_string();
        assert!(error.starts_with("\"k3s.tar\""), "by its name and not by where it is: {error}");
    }
    fs::remove_file(&path).unwrap();
    layout(&path, "docker.io/rancher/pause:3.1");
    assert!(shelf.open("team", "k3s.tar").await.is_ok());
}

#[rstest]
#[case::up("../other/k3s", "without . and ..")]
#[case::up_inside("a/../../other/k3s", "without . and ..")]
#[case::absolute("/etc/passwd", "without . and ..")]
#[case::nothing("", "without . and ..")]
#[case::link("link", "a link is on the way")]
#[case::behind_a_link("folder/k3s", "a link is on the way")]
#[case::shared("_shared/k3s", "--archive-dir-shared")]
#[tokio::test]
async fn nothing_outside_of_its_namespace_is_read(#[case] path: &str, #[case] why: &str) {
    let dir = tempfile::tempdir().unwrap();
    for namespace in ["other", "_shared"] {
        layout(&dir.path().join(namespace).join("k3s"), "docker.io/rancher/pause:3.1");
    }
    let team = dir.path().join("team");
    fs::create_dir_all(&team).unwrap();
    symlink("../other/k3s", team.join("link")).unwrap();
    symlink("../other", team.join("folder")).unwrap();
    let error = Shelf::new(options(&dir)).open("team", path).await.unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

#[tokio::test]
async fn a_namespace_that_is_a_link_has_nothing() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("other/k3s"), "docker.io/rancher/pause:3.1");
    symlink("other", dir.path().join("team")).unwrap();
    let error = Shelf::new(options(&dir)).open("team", "k3s").await.unwrap_err();
    assert!(matches!(error, ShelfError::Outside { .. }), "{error}");
}

#[tokio::test]
async fn what_is_shared_is_read_where_the_admin_says_so() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("_shared/k3s"), "docker.io/rancher/pause:3.1");
    let shelf = Shelf::new(Options { shared: true, ..options(&dir) });
    assert!(shelf.open("team", "_shared/k3s").await.is_ok());
    let off = Shelf::new(Options { dir: None, ..options(&dir) });
    let error = off.open("team", "k3s").await.unwrap_err();
    assert!(matches!(error, ShelfError::Off), "{error}");
}

#[rstest]
#[case::pipe(FileType::Fifo)]
#[case::socket(FileType::Socket)]
// One that nothing drives, which anybody may make.
#[case::device(FileType::CharacterDevice)]
fn a_pipe_holds_nobody_up(#[case] kind: FileType) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("team")).unwrap();
    let odd = dir.path().join("team/odd");
    mknodat(CWD, &odd, kind, Mode::RUSR, 0).unwrap();
    let error = beneath::open(dir.path(), "team/odd", "odd").unwrap_err().to_string();
    assert!(error.contains("neither a file nor a folder"), "{error}");
}

/// Names that begin alike, or differ in a capital letter, are others.
#[rstest]
#[case::shorter("team", "k3s")]
#[case::longer("team-a-b", "k3s")]
#[case::the_rest("team", "-a/k3s")]
#[case::capital("team", "_Shared/k3s")]
#[case::like_shared("team", "_shared-a/k3s")]
#[tokio::test]
async fn a_namespace_has_its_own_and_no_other_ones(#[case] namespace: &str, #[case] path: &str) {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["team-a", "_Shared", "_shared-a"] {
        layout(&dir.path().join(folder).join("k3s"), "docker.io/rancher/pause:3.1");
    }
    fs::create_dir(dir.path().join("team")).unwrap();
    let shelf = Shelf::new(Options { shared: true, ..options(&dir) });
    let error = shelf.open(namespace, path).await.unwrap_err();
    assert!(matches!(error, ShelfError::NotThere { .. }), "{error}");
    shelf.open("team-a", "k3s").await.unwrap();
}

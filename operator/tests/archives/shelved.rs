//! An object of an archive on the operator's shelf, run after run while the archive changes: what is noticed, and what that costs.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{MultiArchImageSpec, MultiArchImageStatus, SourceState, SourceStatus},
};
use multiarch_operator::{
    nodes::View,
    oci::media_type,
    reconcile::{
        memory::Memory,
        sources::Sources,
        status::{self, About, Outcome, Run},
    },
    registry::{archive::Archives, memory::Store},
    shelf::{Options, Shelf},
};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    archive::{
        images::{self, Files, Image, Layout, digest},
        write::Tar,
    },
    runs::{PATH, TARGET, failed, platforms, run_at, saved},
};

const NAME: &str = "io.containerd.image.name";

/// One object, and its archive.
struct World {
    store: Store,
    dir: TempDir,
    shelf: Shelf,
    spec: MultiArchImageSpec,
    status: MultiArchImageStatus,
    now: Timestamp,
}

impl World {
    /// An object of the image `app:1` in the archive, whose platforms are said or not.
    fn new(platforms: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("team")).unwrap();
        let options =
            Options { dir: Some(dir.path().to_owned()), shared: false, settles: Duration::ZERO };
        let spec = json!({
            "target": {"image": TARGET},
            "sources": [{"name": "app", "archive": {"path": "app", "image": "app:1"}, "platforms": platforms}],
        });
        Self {
            store: Store::new(),
            dir,
            shelf: Shelf::new(options),
            spec: serde_json::from_value(spec).unwrap(),
            status: MultiArchImageStatus::default(),
            now: Timestamp::constant(1_800_000_000, 0),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("team/app")
    }

    /// Puts an archive there, as one should: written beside, and moved.
    fn put(&self, bytes: &[u8]) {
        let beside = self.dir.path().join("beside");
        fs::write(&beside, bytes).unwrap();
        fs::rename(&beside, self.path()).unwrap();
    }

    /// Copies `files` into a folder, in their order, as `rsync` does: each beside, and moved.
    fn copy(&self, files: &[(String, Vec<u8>)]) {
        for (name, bytes) in files {
            let path = self.path().join(name);
            let folder = path.parent().unwrap();
            fs::create_dir_all(folder).unwrap();
            let changed = |folder| {
                let about = fs::metadata(folder).unwrap();
                (about.ctime(), about.ctime_nsec())
            };
            let then = changed(folder);
            // The clock of a file system ticks some hundred times a second, and no archive is read as young as this one.
            while changed(folder) == then {
                let beside = path.with_extension("part");
                fs::write(&beside, bytes).unwrap();
                fs::rename(&beside, &path).unwrap();
            }
        }
    }

    /// An interval later.
    async fn run(&mut self) -> Run {
        self.now += SignedDuration::from_mins(10);
        let opened = self.shelf.open("team", "app").await.unwrap();
        let archives = Archives::new(self.store.clone(), [("app".to_owned(), opened)]);
        let sources = Sources::parse(&self.spec).unwrap();
        let memory = Memory::of(&self.status, Some(1), &sources);
        self.store.forget();
        let run = run_at(self.now, &archives, &sources, &memory, false).await;
        let about = About {
            generation: Some(1),
            requested_at: None,
            failures: 0,
            repository: Some(sources.target.repository().clone()),
            nodes: View::Off,
            now: self.now,
        };
        self.status = status::next(&self.status, &about, &run);
        run
    }

    fn source(&self) -> &SourceStatus {
        &self.status.sources[0]
    }

    /// What the last run asked for, but for HEADs.
    fn others(&self) -> Vec<String> {
        let log = self.store.requests().into_iter().map(|request| request.to_string());
        log.filter(|request| !request.starts_with("HEAD ")).collect()
    }
}

/// An index of two images, as docker ≥ 25 saves one: with both of them, or with the first one alone. Its index comes before
/// its blobs, as `rsync -r` has it.
fn index(is_whole: bool) -> Files {
    let mut layout = Layout::default();
    let child = |layout: &mut Layout, architecture: &str| -> Value {
        let mut child = layout.image(&Image::of(architecture), true);
        child["platform"] = json!({"os": "linux", "architecture": architecture});
        child
    };
    let mut elsewhere = Layout::default();
    let other = if is_whole { &mut layout } else { &mut elsewhere };
    let arm = child(other, "arm64");
    let amd = child(&mut layout, "amd64");
    let index = layout.index(&[amd, arm]);
    layout.list(&index, &[(NAME, "docker.io/library/app:1")]);
    let mut files = layout.end();
    files.sort_by_key(|(name, _)| name.starts_with("blobs/"));
    files
}

/// By what `docker save` wrote of one platform, and then of both; and by a folder that is copied with its index first.
#[rstest]
#[tokio::test]
async fn an_index_that_becomes_whole_is_published_whole(#[values(false, true)] is_folder: bool) {
    let mut world = World::new(&[]);
    let put = |world: &World, files: &Files| {
        if is_folder { world.copy(files) } else { world.put(&Tar::of(files).end()) }
    };
    put(&world, &index(false));
    let run = world.run().await;
    assert_eq!(failed(&run), None);
    assert_eq!(platforms(&world.store), ["linux/amd64"]);
    let part = world.source().digest.clone();
    let run = world.run().await;
    assert!(matches!(run.outcome, Outcome::Unchanged), "{run:?}");
    assert_eq!(world.others(), [""; 0]);

    let there = index(false);
    let more: Files = index(true).into_iter().filter(|file| !there.contains(file)).collect();
    put(&world, &if is_folder { more } else { index(true) });
    let opened = world.shelf.open("team", "app").await.unwrap();
    assert_eq!(opened.images()[0].absent, []);
    let run = world.run().await;
    assert_eq!(failed(&run), None);
    assert_eq!(platforms(&world.store), ["linux/amd64", "linux/arm64"]);
    assert_ne!(world.source().digest, part);
    assert_eq!(world.source().digest, Some(opened.images()[0].digest.to_string()));
    let run = world.run().await;
    assert!(matches!(run.outcome, Outcome::Unchanged), "{run:?}");
    assert_eq!(world.others(), [""; 0]);
}

/// The wrong platform follows from the config, so nothing is read until that is another one.
#[rstest]
#[tokio::test]
async fn a_wrong_platform_costs_heads_alone_until_it_is_mended(
    #[values(false, true)] is_saved: bool,
) {
    let of = |architecture: &str| {
        let image = Image::of(architecture);
        if is_saved {
            return saved(&image);
        }
        let mut layout = Layout::default();
        let descriptor = layout.image(&image, true);
        layout.list(&descriptor, &[(NAME, "docker.io/library/app:1")]);
        Tar::of(&layout.end()).end()
    };
    let mut world = World::new(&["linux/arm64"]);
    world.put(&of("arm64"));
    assert_eq!(failed(&world.run().await), None);
    assert_eq!(world.source().digest, Some(Image::of("arm64").id().to_string()));
    let tagged = world.store.tagged(PATH, "1").unwrap();

    world.put(&of("amd64"));
    let run = world.run().await;
    let reason = run.failure().map(|failure| failure.consequence.reason);
    assert_eq!(reason, Some(Reason::PlatformMismatch));
    let config = Image::of("amd64").id().to_string();
    let expected = (SourceState::PlatformMismatch, Some(config));
    assert_eq!((world.source().state, world.source().digest.clone()), expected);
    let before = world.status.clone();
    let run = world.run().await;
    assert!(matches!(run.outcome, Outcome::Unchanged), "{run:?}");
    assert_eq!(world.others(), [""; 0]);
    assert!(!world.store.requests().is_empty(), "the tag is looked at");
    assert_eq!(world.status, before);
    assert_eq!(world.store.tagged(PATH, "1"), Some(tagged));

    world.put(&of("arm64"));
    assert_eq!(failed(&world.run().await), None);
    assert_eq!(world.source().state, SourceState::Resolved);
}

/// What is wrong beside the config is not told by that: the mended archive has the same one.
#[rstest]
#[case::of_the_config(media_type::OCI_CONFIG)]
#[case::of_the_manifest(media_type::OCI_MANIFEST)]
#[tokio::test]
async fn what_is_damaged_is_read_again_when_it_is_mended(#[case] of: &str) {
    let mut world = World::new(&["linux/arm64"]);
    world.put(&saved(&Image::of("arm64")));
    assert_eq!(failed(&world.run().await), None);
    let tagged = world.store.tagged(PATH, "1");

    let image = Image::with("arm64", vec![Tar::new().file("bin/hello", b"newer").end()]);
    let mut layout = Layout::default();
    let descriptor = layout.image(&image, true);
    layout.list(&descriptor, &[(NAME, "docker.io/library/app:1")]);
    let whole = layout.end();
    let damaged = if of == media_type::OCI_CONFIG {
        images::blob(&image.config)
    } else {
        format!("blobs/sha256/{}", digest(&descriptor).encoded())
    };
    let mut files = whole.clone();
    let (_, bytes) = files.iter_mut().find(|(name, _)| *name == damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    world.put(&Tar::of(&files).end());
    for _ in 0..2 {
        let run = world.run().await;
        let reason = run.failure().map(|failure| failure.consequence.reason);
        assert_eq!(reason, Some(Reason::UnsupportedContent));
        assert_eq!(world.source().state, SourceState::Invalid);
        assert_eq!(world.store.tagged(PATH, "1"), tagged);
    }
    world.put(&Tar::of(&whole).end());
    assert_eq!(failed(&world.run().await), None);
    let expected = (SourceState::Resolved, Some(image.id().to_string()));
    assert_eq!((world.source().state, world.source().digest.clone()), expected);
    assert_ne!(world.store.tagged(PATH, "1"), tagged);
}

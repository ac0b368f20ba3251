//! Sets whose images come out of archives.

use std::{fs, sync::Arc, time::Duration};

use multiarch_operator::{
    controller::Options,
    oci::{Digest, Manifest},
    registry::memory::Store,
    shelf::{self, Shelf},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    api::Api,
    archive::{
        images::{self, Files, Image, Layout, digest},
        write::Tar,
    },
    pass,
    process::{Process, Reign, options},
    set, shown, until,
};

const NAME: &str = "io.containerd.image.name";

/// A process that keeps sets and reads archives, and leads.
struct Stage {
    api: Api,
    store: Store,
    folder: TempDir,
    _process: Process,
    reign: Reign,
}

impl Stage {
    fn new() -> Self {
        let (api, store) = (Api::new(), Store::new());
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("team")).unwrap();
        let dir = Some(folder.path().to_owned());
        let shelf = Shelf::new(shelf::Options { dir, shared: false, settles: Duration::ZERO });
        let options = Options { sets: true, shelf: Arc::new(shelf), ..options() };
        let process = Process::start_with(&api, &store, options);
        let reign = process.lead();
        Self { api, store, folder, _process: process, reign }
    }

    fn write(&self, name: &str, files: &Files) {
        fs::write(self.folder.path().join("team").join(name), Tar::of(files).end()).unwrap();
    }

    /// The sources of the one object that there is.
    fn sources(&self) -> Vec<Value> {
        let [name] = self.api.names().try_into().unwrap();
        let object = self.api.object(&format!("team/{name}"));
        object["spec"]["sources"].as_array().unwrap().clone()
    }

    fn failing(&self) -> Value {
        self.api.set("team/all")["status"]["failing"][0].clone()
    }

    /// How many images the index of team/a:1 has.
    fn published(&self) -> Option<usize> {
        let raw = self.store.tagged("mirror/team/a", "1")?;
        let Ok(Manifest::Index(index)) = raw.parse() else { return Some(1) };
        Some(index.manifests.len())
    }
}

/// A set of `line` that has no registry but these archives.
fn of_archives(line: &str, archives: &Value, platforms: &[&str]) -> Value {
    let mut set = set(&[line], json!({"archives": archives, "platforms": platforms}));
    set["spec"].as_object_mut().unwrap().remove("from");
    set
}

fn saved(architecture: &str, names: &[&str]) -> Files {
    images::docker(&[(&Image::of(architecture), names)])
}

/// As docker ≥ 25 and containerd save what was pulled for one of two platforms: the index of both, and the image of the one; and the index's digest.
fn sparse(architecture: &str) -> (Files, Digest) {
    let (mut there, mut absent) = (Layout::default(), Layout::default());
    let children = ["amd64", "arm64"].map(|of| {
        let layout = if of == architecture { &mut there } else { &mut absent };
        let mut image = layout.image(&Image::of(of), true);
        image["platform"] = json!({"os": "linux", "architecture": of});
        image
    });
    let index = there.index(&children);
    there.list(&index, &[(NAME, "docker.io/team/a:1")]);
    (there.end(), digest(&index))
}

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

#[tokio::test(start_paused = true)]
async fn a_digest_decides_what_is_taken_of_archives() {
    let stage = Stage::new();
    let mut layout = Layout::default();
    let image = layout.image(&Image::of("amd64"), true);
    layout.list(&image, &[(NAME, "docker.io/team/a:1")]);
    stage.write("a.tar", &layout.end());
    stage.write("b.tar", &saved("amd64", &["team/a:1"]));
    let archives = json!([{"path": "a.tar"}, {"path": "b.tar"}]);
    let line = format!("team/a:1@{}", digest(&image));
    stage.api.apply_set(of_archives(&line, &archives, &[]));
    until(&stage.api, "True/Succeeded 1/1").await;
    let archive = json!({"path": "a.tar", "image": format!("docker.io/{line}")});
    assert_eq!(stage.sources(), [json!({"name": "a-tar", "archive": archive})]);
    let tagged = stage.store.tagged("mirror/team/a", "1").unwrap();
    assert_eq!(*tagged.digest(), digest(&image), "byte for byte");

    // With another one it is from nowhere, or from the registry that is named.
    let pushed = stage.store.push_image("team/a", "1", "linux/amd64");
    let line = format!("team/a:1@{}", pushed.digest);
    stage.api.apply_set(of_archives(&line, &archives, &[]));
    until(&stage.api, "Unknown/WaitingForImages 0/1").await;
    let failing = stage.failing();
    assert_eq!(failing["reason"], "WaitingForPlatforms");
    let message = failing["message"].as_str().unwrap();
    assert!(message.starts_with("in a.tar, b.tar it has another digest"), "{message}");
    stage.api.apply_set(set(&[&line], json!({"archives": archives})));
    until(&stage.api, "True/Succeeded 1/1").await;
    assert_eq!(stage.sources(), [json!({"name": "image", "image": format!("r.example/{line}")})]);
    stage.reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_platform_whose_archive_lacks_the_image_is_waited_for() {
    let stage = Stage::new();
    stage.write("amd64.tar", &saved("amd64", &["team/a:1"]));
    stage.write("arm64.tar", &saved("arm64", &["team/b:1"]));
    let archives = json!([
        {"path": "amd64.tar", "platform": "linux/amd64"},
        {"path": "arm64.tar", "platform": "linux/arm64"},
    ]);
    let mut of_both = of_archives("team/a:1", &archives, &BOTH);
    stage.api.apply_set(of_both.clone());
    pass(Duration::from_mins(5)).await;
    assert_eq!(shown(&stage.api), "Unknown/WaitingForImages 0/1");
    assert_eq!(stage.failing()["reason"], "WaitingForPlatforms");
    assert_eq!((stage.sources().len(), stage.published()), (1, None));
    stage.write("arm64.tar", &saved("arm64", &["team/a:1"]));
    of_both["metadata"]["annotations"] = json!({"multiarch.dev/requestedAt": "now"});
    stage.api.apply_set(of_both);
    until(&stage.api, "True/Succeeded 1/1").await;
    assert_eq!((stage.sources().len(), stage.published()), (2, Some(2)));
    stage.reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_archives_have_for_other_platforms_is_left() {
    let stage = Stage::new();
    stage.write("amd64.tar", &saved("amd64", &["team/a:1"]));
    stage.write("arm64.tar", &saved("arm64", &["team/a:1"]));
    let archives = json!([{"path": "amd64.tar"}, {"path": "arm64.tar"}]);
    stage.api.apply_set(of_archives("team/a:1", &archives, &BOTH[..1]));
    until(&stage.api, "True/Succeeded 1/1").await;
    let [source] = stage.sources().try_into().unwrap();
    assert_eq!(source["archive"]["path"], "amd64.tar");
    let archives = json!([{"path": "arm64.tar"}]);
    stage.api.apply_set(of_archives("team/a:1", &archives, &BOTH[..1]));
    until(&stage.api, "Unknown/WaitingForImages 0/1").await;
    let message = stage.failing()["message"].clone();
    let message = message.as_str().unwrap();
    assert!(message.starts_with("in arm64.tar it is only for other platforms"), "{message}");
    stage.reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_indexes_that_have_a_platform_each_each_gives_what_it_has() {
    let stage = Stage::new();
    let [(amd64, index), (arm64, _)] = ["amd64", "arm64"].map(sparse);
    stage.write("amd64.tar", &amd64);
    stage.write("arm64.tar", &arm64);
    let archives = json!([{"path": "amd64.tar"}, {"path": "arm64.tar"}]);
    let platforms = |stage: &Stage| {
        let each = stage.sources().into_iter();
        each.map(|source| source["platforms"].clone()).collect::<Vec<_>>()
    };
    let one_each = [json!(["linux/amd64"]), json!(["linux/arm64"])];
    stage.api.apply_set(of_archives("team/a:1", &archives, &BOTH));
    until(&stage.api, "True/Succeeded 1/1").await;
    assert_eq!(stage.published(), Some(2));
    assert_eq!(platforms(&stage), one_each);
    // By its digest it has them all, and the archives still one each.
    stage.store.delete_tag("mirror/team/a", "1");
    stage.api.apply_set(of_archives(&format!("team/a:1@{index}"), &archives, &[]));
    until(&stage.api, "True/Succeeded 1/1").await;
    assert_eq!(stage.published(), Some(2));
    assert_eq!(platforms(&stage), one_each);
    stage.reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_an_archive_has_in_part_holds_the_others_back() {
    let stage = Stage::new();
    stage.write("amd64.tar", &saved("amd64", &["team/a:1"]));
    let (broken, whole) = (Image::of("arm64"), Image::of("s390x"));
    let mut files = images::docker(&[(&broken, &["team/a:1"]), (&whole, &["team/b:1"])]);
    files.retain(|(name, _)| *name != format!("{}.json", broken.id().encoded()));
    stage.write("arm64.tar", &files);
    let archives = json!([{"path": "amd64.tar"}, {"path": "arm64.tar"}]);
    stage.api.apply_set(of_archives("team/a:1", &archives, &[]));
    until(&stage.api, "False/ImagesFailing 0/1").await;
    let failing = stage.failing();
    assert_eq!(failing["reason"], "UnsupportedContent", "{failing}");
    assert!(failing["message"].as_str().unwrap().contains("arm64.tar"), "{failing}");
    assert_eq!(stage.published(), None);
    stage.reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_archive_knows_an_image_by_its_source_before_it_does_as_docker_hubs() {
    let stage = Stage::new();
    stage.write("own.tar", &saved("amd64", &["r.example/team/a:1"]));
    stage.write("hub.tar", &saved("arm64", &["team/a:1"]));
    let archives = json!([{"path": "own.tar"}, {"path": "hub.tar"}]);
    stage.api.apply_set(set(&["team/a:1"], json!({"archives": archives})));
    until(&stage.api, "True/Succeeded 1/1").await;
    // Two images of two registries never become one index.
    let archive = json!({"path": "own.tar", "image": "r.example/team/a:1"});
    assert_eq!(stage.sources(), [json!({"name": "own-tar", "archive": archive})]);
    let archives = json!([{"path": "hub.tar"}]);
    let more = json!({"archives": archives, "template": {"removalPolicy": "Remove"}});
    stage.api.apply_set(set(&["team/a:1"], more));
    until(&stage.api, "True/Succeeded 1/1").await;
    let archive = json!({"path": "hub.tar", "image": "docker.io/team/a:1"});
    assert_eq!(stage.sources(), [json!({"name": "hub-tar", "archive": archive})]);
    stage.reign.stop().await;
}

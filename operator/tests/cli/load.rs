//! `load`: archives of several platforms → an index a name, what is wrong told by its file, and nothing sent twice.

use std::fs;

use multiarch_e2e::registry::{Registry, Setup, Storage};
use multiarch_operator::{
    oci::{Manifest, media_type},
    registry::memory::Lie,
};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    archive::{
        images::{self, Image, Layout, digest},
        write::{Tar, gzip, zstd},
    },
    bench::{Bench, Ended, outcomes},
};

const NAMES: [&str; 3] = ["rancher/pause:3.1", "rancher/metrics-server:v0.3.6", "busybox:1"];

/// The images of an archive: all that `NAMES` has, each with a layer of its own beside one that they share. `says` has the
/// architecture in the config of each.
fn saved(architecture: &str, says: impl Fn(&str) -> &'static str) -> Vec<u8> {
    let layer = |text: String| Tar::new().file("file", text.as_bytes()).end();
    let base = layer(format!("base of {architecture}"));
    let made = NAMES.map(|name| {
        let own = layer(format!("{name} for {architecture}").repeat(5_000));
        Image::with(says(name), vec![base.clone(), own])
    });
    let names = NAMES.map(|name| [name]);
    let all: Vec<_> = made.iter().zip(&names).map(|(image, name)| (image, &name[..])).collect();
    Tar::of(&images::docker(&all)).end()
}

/// Two of these archives in a home.
async fn scene() -> Bench {
    let bench = Bench::new().await;
    put(&bench, "amd64.tar", &saved("amd64", |_| "amd64"));
    put(&bench, "arm64.tar", &saved("arm64", |_| "arm64"));
    bench
}

fn put(bench: &Bench, name: &str, bytes: &[u8]) {
    fs::write(bench.home.path().join(name), bytes).unwrap();
}

/// `load` of `archives` to the registry, and JSON.
async fn load(bench: &Bench, archives: &[&str], more: &[&str]) -> (i32, Value) {
    bench.json(&args(&bench.at("k3s"), archives, more)).await
}

fn args<'a>(to: &'a str, archives: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let archives = archives.iter().flat_map(|archive| ["--archive", archive]);
    ["load", "--to", to].into_iter().chain(archives).chain(more.iter().copied()).collect()
}

/// The platforms of the index under `tag`.
fn platforms(bench: &Bench, path: &str, tag: &str) -> Vec<String> {
    let Some(raw) = bench.store().tagged(path, tag) else { return Vec::new() };
    assert_eq!(raw.media_type(), media_type::OCI_INDEX);
    let Manifest::Index(index) = raw.parse().unwrap() else { panic!("no index") };
    let platforms = index.manifests.iter().map(|child| child.platform.clone().unwrap().to_string());
    platforms.collect()
}

/// What the registry was asked beside reads.
fn writes(bench: &Bench) -> Vec<String> {
    let all = bench.server.requests();
    all.into_iter().filter(|it| !it.starts_with("GET ") && !it.starts_with("HEAD ")).collect()
}

const BOTH: [&str; 2] = ["linux/amd64=amd64.tar", "linux/arm64=arm64.tar"];

#[rstest]
#[case::said(&BOTH)]
#[case::by_their_configs(&["amd64.tar", "arm64.tar"])]
#[tokio::test]
async fn archives_become_an_index_a_name_and_a_second_run_sends_nothing(
    #[case] archives: &[&str],
    #[values("plain", "gzip", "zstd")] packing: &str,
) {
    let bench = scene().await;
    for name in ["amd64.tar", "arm64.tar"] {
        let plain = fs::read(bench.home.path().join(name)).unwrap();
        match packing {
            "gzip" => put(&bench, name, &gzip(&plain)),
            "zstd" => put(&bench, name, &zstd(&plain, 26)),
            _ => {}
        }
    }
    let (code, results) = load(&bench, archives, &[]).await;
    assert_eq!((code, outcomes(&results)), (0, vec!["Published Succeeded".into(); 3]));
    for (path, tag) in [
        ("k3s/rancher/pause", "3.1"),
        ("k3s/rancher/metrics-server", "v0.3.6"),
        ("k3s/library/busybox", "1"),
    ] {
        assert_eq!(platforms(&bench, path, tag), ["linux/amd64", "linux/arm64"]);
    }
    // Three images of two platforms, a config and a layer each; and the base of a platform once for all of them.
    let sent: u64 = results["images"].as_array().unwrap().iter().map(sent).sum();
    assert_eq!(sent, 3 * 2 * 2 + 2, "{results:#}");
    assert_eq!(bench.server.open_uploads(), 0);

    bench.server.forget();
    let (code, results) = load(&bench, archives, &[]).await;
    assert_eq!((code, outcomes(&results)), (0, vec!["Unchanged Succeeded".into(); 3]));
    assert_eq!(writes(&bench), [""; 0]);
}

fn sent(image: &Value) -> u64 {
    image["sent"]["blobs"].as_u64().unwrap()
}

#[tokio::test]
async fn what_is_wrong_is_told_by_its_file_and_stops_no_other_one() {
    let bench = scene().await;
    let says = |name: &str| if name == NAMES[0] { "amd64" } else { "arm64" };
    put(&bench, "arm64.tar", &saved("arm64", says));
    let (code, results) = load(&bench, &BOTH, &[]).await;
    assert_eq!(code, 1);
    let said: Vec<_> = results["images"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|image| image["outcome"] == "Failed")
        .map(|image| image["message"].as_str().unwrap())
        .collect();
    let [said] = said.as_slice() else { panic!("{results:#}") };
    let words = "arm64.tar#docker.io/rancher/pause:3.1 is declared as linux/arm64, but its config says linux/amd64";
    assert!(said.contains(words), "{said}");
    assert!(said.ends_with("(here: correct --archive, or --trust)"), "{said}");
    assert_eq!(platforms(&bench, "k3s/rancher/pause", "3.1"), [""; 0]);
    assert_eq!(platforms(&bench, "k3s/library/busybox", "1"), ["linux/amd64", "linux/arm64"]);

    let (code, results) = load(&bench, &BOTH, &["--trust"]).await;
    assert_eq!(code, 0, "{results:#}");
    assert_eq!(platforms(&bench, "k3s/rancher/pause", "3.1"), ["linux/amd64", "linux/arm64"]);
    let unchanged = outcomes(&results).iter().filter(|it| it.starts_with("Unchanged")).count();
    assert_eq!(unchanged, 2, "{results:#}");

    // Who trusts nobody is told so, also where it is published.
    let (code, results) = load(&bench, &BOTH, &[]).await;
    assert_eq!(code, 1, "{results:#}");

    // Without a word of ours, the configs decide, and one platform is there twice.
    let (code, results) = load(&bench, &["amd64.tar", "arm64.tar"], &["--images", NAMES[0]]).await;
    assert_eq!((code, outcomes(&results)), (1, vec!["Failed DuplicatePlatform".into()]));
    let said = results["images"][0]["message"].as_str().unwrap();
    assert!(said.contains("sources amd64.tar and arm64.tar both give linux/amd64"), "{said}");
}

/// One of which the archive has no config, and two of one name.
#[tokio::test]
async fn what_an_archive_does_not_have_or_has_twice_stops_no_other_one() {
    let bench = Bench::new().await;
    let [lacking, fine, one, other] = ["arm64", "amd64", "s390x", "ppc64le"].map(Image::of);
    let mut files = images::docker(&[
        (&lacking, &["a:1"]),
        (&fine, &["b:1"]),
        (&one, &["c:1"]),
        (&other, &["c:1"]),
    ]);
    files.retain(|(name, _)| *name != format!("{}.json", lacking.id().encoded()));
    put(&bench, "all.tar", &Tar::of(&files).end());
    let (code, results) = load(&bench, &["all.tar"], &[]).await;
    let expected =
        ["Failed UnsupportedContent", "Published Succeeded", "Failed UnsupportedContent"];
    assert_eq!((code, outcomes(&results)), (1, expected.map(String::from).to_vec()));
    let said = |at: usize| results["images"][at]["message"].as_str().unwrap();
    assert!(said(0).contains("names it as the config"), "{}", said(0));
    let words = "all.tar#docker.io/library/c:1 is there more than once";
    assert!(said(2).contains(words), "{}", said(2));
    assert_eq!(platforms(&bench, "k3s/library/b", "1"), ["linux/amd64"]);
}

#[rstest]
#[case::trust(&["--archive", "amd64.tar", "--trust"], "--trust takes your word")]
#[case::no_archive(&["--archive", "none.tar"], "none.tar")]
#[case::not_an_archive(&["--archive", "text.tar"], "is no tar archive")]
#[case::stdin(&["--archive", "linux/amd64=-"], "give --spool")]
#[case::twice(&["--archive", "amd64.tar", "--archive", "amd64.tar"], "given twice")]
#[case::name(&["--archive", "amd64.tar", "--images", "A b"], "--images")]
#[case::called(&["--archive", "amd64.tar", "--name", "a/b"], "--name")]
#[case::never(&["--archive", "amd64.tar", "--registry-qps", "0"], "it is from 0.001")]
#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_asked(
    #[case] more: &[&str],
    #[case] words: &str,
) {
    let bench = scene().await;
    put(&bench, "text.tar", &[b'x'; 2000]);
    let to = bench.at("k3s");
    let ended = bench.run(&[&["load", "--to", &to], more].concat()).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains(words), "{}", ended.err);
    assert_eq!(bench.server.requests(), [""; 0]);
}

#[tokio::test]
async fn some_images_may_be_chosen() {
    let bench = scene().await;
    let more = ["--images", "busybox", "--images", "rancher/pause:3.1,rancher/none:1"];
    let (code, results) = load(&bench, &BOTH, &more).await;
    assert_eq!(code, 1);
    let outcomes = outcomes(&results);
    assert_eq!(
        outcomes.iter().filter(|it| *it == "Published Succeeded").count(),
        2,
        "{outcomes:?}"
    );
    let refused = &results["images"][0];
    assert_eq!(refused["name"], "rancher/none:1");
    let said = refused["message"].as_str().unwrap();
    assert!(said.starts_with("no archive has rancher/none:1: they have docker.io/"), "{said}");
    assert_eq!(platforms(&bench, "k3s/rancher/metrics-server", "v0.3.6"), [""; 0]);
}

#[tokio::test]
async fn nothing_is_written_to_see_what_would_be() {
    let bench = scene().await;
    let (code, results) = load(&bench, &BOTH, &["--dry-run"]).await;
    assert_eq!(code, 2, "{results:#}");
    assert!(outcomes(&results).iter().all(|it| it.starts_with("WouldPublish")), "{results:#}");
    assert_eq!(writes(&bench), [""; 0]);
}

#[tokio::test]
async fn standard_input_is_written_to_a_file_that_does_not_stay() {
    let bench = scene().await;
    fs::create_dir(bench.home.path().join("spool")).unwrap();
    let to = bench.at("k3s");
    let args = args(&to, &["linux/amd64=-", BOTH[1]], &["--spool=spool"]);
    let mut child = bench.command(&args).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&gzip(&saved("amd64", |_| "amd64"))).await.unwrap();
    drop(input);
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(platforms(&bench, "k3s/library/busybox", "1"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(fs::read_dir(bench.home.path().join("spool")).unwrap().count(), 0);
}

/// As crane and skopeo write layouts: without a whole name.
#[tokio::test]
async fn an_image_without_a_name_is_left_or_called_something() {
    let bench = Bench::new().await;
    let mut layout = Layout::default();
    let image = layout.image(&Image::of("arm64"), true);
    layout.list(&image, &[("org.opencontainers.image.ref.name", "latest")]);
    for (name, bytes) in layout.end() {
        let path = bench.home.path().join("layout").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let to = bench.at("k3s");
    let ended = bench.run(&args(&to, &["layout"], &[])).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("call it by --name"), "{}", ended.err);
    let (code, results) = load(&bench, &["layout"], &["--name", "team/app:1"]).await;
    assert_eq!(code, 0, "{results:#}");
    assert_eq!(platforms(&bench, "k3s/team/app", "1"), ["linux/arm64"]);
    assert_eq!(results["images"][0]["platforms"][0]["digest"], json!(digest(&image)));
}

/// As a build on each machine saves what it has made.
#[tokio::test]
async fn images_of_several_names_are_called_by_one() {
    let bench = Bench::new().await;
    for architecture in ["amd64", "arm64"] {
        let name = format!("app:1.0-{architecture}");
        let image = Image::of(architecture);
        let saved = images::docker(&[(&image, &[name.as_str()])]);
        put(&bench, &format!("{architecture}.tar"), &Tar::of(&saved).end());
    }
    let both = ["amd64.tar", "arm64.tar"];
    for expected in ["Published Succeeded", "Unchanged Succeeded"] {
        let (code, results) = load(&bench, &both, &["--name", "app:1.0"]).await;
        assert_eq!((code, outcomes(&results)), (0, vec![expected.into()]), "{results:#}");
    }
    assert_eq!(platforms(&bench, "k3s/library/app", "1.0"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(bench.store().tags("k3s/library/app"), ["1.0"]);
    // Which of several is meant, nobody knows.
    put(&bench, "many.tar", &saved("amd64", |_| "amd64"));
    let to = bench.at("k3s");
    let ended = bench.run(&args(&to, &["many.tar", "arm64.tar"], &["--name", "app:2"])).await;
    let words = "--name is for archives with one image, and --archive many.tar has 3";
    assert!(ended.code == 1 && ended.err.contains(words), "{ended:?}");
    assert_eq!(bench.store().tags("k3s/library/app"), ["1.0"]);
}

/// What an index was written without is told, and the rest of it is published.
#[tokio::test]
async fn what_is_not_in_an_archive_is_listed_and_no_error() {
    let bench = Bench::new().await;
    let mut layout = Layout::default();
    let mut there = layout.image(&Image::of("arm64"), true);
    there["platform"] = json!({ "os": "linux", "architecture": "arm64" });
    let mut absent = images::describe(media_type::OCI_MANIFEST, b"not there");
    absent["platform"] = json!({ "os": "linux", "architecture": "s390x" });
    let index = layout.index(&[there, absent]);
    layout.list(&index, &[("io.containerd.image.name", "docker.io/library/busybox:1")]);
    put(&bench, "sparse.tar", &Tar::of(&layout.end()).end());
    let to = bench.at("k3s");
    let ended = bench.run(&args(&to, &["sparse.tar"], &[])).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let words = "sparse.tar#docker.io/library/busybox:1: is in it without linux/s390x";
    assert!(ended.err.contains(words), "{}", ended.err);
    assert_eq!(platforms(&bench, "k3s/library/busybox", "1"), ["linux/arm64"]);
}

/// Cut off at any time, a second run completes it, and sends nothing that is there again.
#[rstest]
#[tokio::test]
async fn a_run_that_is_killed_is_gone_on_with(#[values("plain", "zstd")] packing: &str) {
    let bench = scene().await;
    if packing == "zstd" {
        for name in ["amd64.tar", "arm64.tar"] {
            let plain = fs::read(bench.home.path().join(name)).unwrap();
            put(&bench, name, &zstd(&plain, 26));
        }
    }
    let to = bench.at("k3s");
    let args = args(&to, &BOTH, &[]);
    // Blobs come in, and no tag is written.
    bench.server.lie([Lie::SilentTo("HEAD")]);
    let mut child = bench.command(&args).spawn().unwrap();
    bench.server.until(|server| server.requests().iter().any(|it| it.starts_with("HEAD "))).await;
    child.kill().await.unwrap();
    for path in ["k3s/rancher/pause", "k3s/rancher/metrics-server", "k3s/library/busybox"] {
        assert_eq!(bench.store().tags(path), [""; 0]);
    }
    bench.server.lie([]);
    let ended = bench.run(&args).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(platforms(&bench, "k3s/rancher/pause", "3.1"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(bench.server.open_uploads(), 0);
}

/// The same at distribution's own registry, where layers that images share are mounted.
#[tokio::test]
async fn a_real_registry_has_what_is_loaded() {
    let (bench, folder) = (scene().await, tempfile::tempdir().unwrap());
    let setup = Setup { storage: Storage::Files, ..Setup::default() };
    let registry = Registry::start_as(folder.path(), &setup).await.unwrap();
    let plain = fs::read(bench.home.path().join("arm64.tar")).unwrap();
    put(&bench, "arm64.tar", &zstd(&plain, 26));
    let to = format!("{}/k3s", registry.host());
    let args = [&args(&to, &BOTH, &[])[..], &["-o", "json"]].concat();
    let run = async || {
        let ended = bench.run(&args).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        serde_json::from_str::<Value>(&ended.out).unwrap()
    };
    let results = run().await;
    assert_eq!(outcomes(&results), ["Published Succeeded"; 3]);
    let mounted = results["images"].as_array().unwrap().iter();
    let mounted: u64 = mounted.map(|image| image["sent"]["mounted"].as_u64().unwrap()).sum();
    assert_eq!(mounted, 2 * 2, "the base of each platform, for two images of three");
    for path in ["k3s/rancher/pause", "k3s/rancher/metrics-server", "k3s/library/busybox"] {
        assert_eq!(registry.open_uploads(path), 0);
    }
    registry.proxy.forget();
    assert_eq!(outcomes(&run().await), ["Unchanged Succeeded"; 3]);
    let seen = registry.proxy.seen();
    let writes = seen.iter().filter(|it| !matches!(it.method.as_str(), "GET" | "HEAD")).count();
    assert_eq!(writes, 0, "{seen:?}");
}

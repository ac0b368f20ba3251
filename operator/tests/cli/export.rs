//! `export`: an object of an index, which `publish` finds published already.

use std::collections::BTreeMap;

use multiarch_operator::{
    oci::{Descriptor, Index},
    registry::memory::Image,
};

use super::bench::{Bench, outcomes};

const APP: &str = "team/app";

/// An image of `platform`, as an index lists it.
fn listed(bench: &Bench, platform: &str) -> Descriptor {
    let image = Image::of(platform);
    Descriptor { platform: Some(image.platform.clone()), ..bench.store().push(APP, None, &image) }
}

fn push(bench: &Bench, children: Vec<Descriptor>) -> Descriptor {
    let said = BTreeMap::from([("com.example.build".to_owned(), "7".to_owned())]);
    bench.store().push_manifest(APP, Some("1.0"), &Index::new(children, said).to_raw())
}

#[tokio::test]
async fn what_was_exported_is_published_already() {
    let bench = Bench::new().await;
    let index = push(&bench, vec![listed(&bench, "linux/amd64"), listed(&bench, "linux/arm64")]);
    let reference = bench.at("team/app:1.0");
    for whole in [&[][..], &["--whole"]] {
        let ended = bench.run(&[&["export", &reference], whole].concat()).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        bench.file("app.yaml", &ended.out);
        bench.server.forget();
        let (code, results) = bench.json(&["publish", "-f", "app.yaml"]).await;
        assert_eq!((code, outcomes(&results)), (0, vec!["Unchanged Succeeded".into()]));
        let asked = bench.server.requests();
        let reads = |it: &String| it.starts_with("GET ") || it.starts_with("HEAD ");
        assert!(asked.iter().all(reads), "{asked:?}");
    }
    // Elsewhere, the one source keeps the digest.
    let target = format!("--target={}", bench.at("mirror/app:2"));
    let ended = bench.run(&["export", "--whole", &reference, &target, "--name", "mirrored"]).await;
    assert!(ended.out.contains("name: mirrored") && ended.out.contains("plainHTTP: true"));
    bench.file("app.yaml", &ended.out);
    assert_eq!(bench.run(&["publish", "-f", "app.yaml"]).await.code, 0);
    assert_eq!(bench.store().tagged("mirror/app", "2").unwrap().digest(), &index.digest);
}

#[tokio::test]
async fn what_is_not_reproduced_is_told_and_ends_with_2() {
    let bench = Bench::new().await;
    let gone = listed(&bench, "linux/s390x");
    bench.store().delete_manifest(APP, &gone.digest);
    push(&bench, vec![listed(&bench, "linux/amd64"), gone.clone()]);
    let ended = bench.run(&["export", &bench.at("team/app:1.0"), "-n", "team-a"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.err.starts_with("Not reproduced: ") && ended.err.contains(gone.digest.as_str()));
    let object: serde_json::Value = serde_saphyr::from_str(&ended.out).unwrap();
    assert_eq!(object["metadata"]["namespace"], "team-a");
    assert_eq!(object["spec"]["sources"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_digest_is_no_target() {
    let bench = Bench::new().await;
    let index = push(&bench, vec![listed(&bench, "linux/amd64")]);
    let reference = bench.at(&format!("team/app@{}", index.digest));
    let ended = bench.run(&["export", &reference]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("is no tag to publish: name one by --target"), "{ended:?}");
    let ended = bench.run(&["export", &reference, "--target", &bench.at("team/app:2")]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

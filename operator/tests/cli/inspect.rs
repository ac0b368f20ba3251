//! `inspect`: all that a reference names, and what is wrong with it.

use std::collections::BTreeMap;

use multiarch_operator::{
    oci::{Descriptor, Index},
    registry::memory::{Image, Login, server::User},
};
use serde_json::{Value, json};

use super::bench::Bench;

const APP: &str = "team/app";

/// An image of `platform`, as an index lists it.
fn listed(bench: &Bench, platform: &str) -> Descriptor {
    let image = Image::of(platform);
    Descriptor { platform: Some(image.platform.clone()), ..bench.store().push(APP, None, &image) }
}

/// An index of two platforms, one of which it lists as `arm`.
async fn scene(arm: &str) -> Bench {
    let bench = Bench::new().await;
    let arm64 = Descriptor { platform: arm.parse().ok(), ..listed(&bench, "linux/arm64") };
    let children = vec![listed(&bench, "linux/amd64"), arm64];
    let said = BTreeMap::from([("who".to_owned(), "\u{1b}]0;evil\u{7}".to_owned())]);
    let index = Index::new(children, said).to_raw();
    bench.store().push_manifest(APP, Some("1.0"), &index);
    bench
}

#[tokio::test]
async fn an_index_that_is_right() {
    let bench = scene("linux/arm64").await;
    let reference = bench.at("team/app:1.0");
    let index = bench.store().tagged(APP, "1.0").unwrap();
    let signature = bench.store().push_referrer(APP, &index.descriptor(), "signature");
    let platforms = "--platform=linux/amd64,linux/aarch64";
    let (code, found) = bench.json(&["inspect", &reference, platforms, "--blobs"]).await;
    assert_eq!(code, 0, "{found}");
    let item = &found["items"][0];
    assert_eq!(item["digest"], index.digest().to_string());
    let images = item["images"].as_array().unwrap();
    let said: Vec<_> = images.iter().map(|it| (&it["listed"], &it["platform"])).collect();
    let (amd64, arm64) = (json!("linux/amd64"), json!("linux/arm64"));
    assert_eq!(said, [(&amd64, &amd64), (&arm64, &arm64)]);
    assert_eq!(images[0]["layers"].as_array().unwrap().len(), 1);
    assert_eq!(item["referrers"][0]["digest"], signature.digest.to_string());
    assert_eq!(item["referrers"][0]["artifactType"], "application/vnd.example.about");

    let ended = bench.run(&["inspect", &reference, "--layers"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert!(!ended.out.contains('\u{1b}') && ended.out.contains("who=\\u{1b}]0;evil"), "{ended:?}");
    for words in [
        "PLATFORM      CONFIG SAYS   LAYERS",
        "LAYERS OF linux/arm64",
        "the index   application/vnd",
    ] {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
    // Nothing was written, and nothing but what is needed was asked for.
    bench.server.forget();
    assert_eq!(bench.run(&["inspect", &reference, "--no-referrers"]).await.code, 0);
    let asked = bench.server.requests();
    assert_eq!(asked.iter().filter(|it| it.contains("/manifests/")).count(), 3, "{asked:?}");
    assert_eq!(asked.iter().filter(|it| it.contains("/blobs/")).count(), 2, "{asked:?}");
}

#[tokio::test]
async fn what_is_wrong_is_told_and_ends_with_2() {
    let bench = scene("linux/riscv64").await;
    let reference = bench.at("team/app:1.0");
    let (code, found) = bench.json(&["inspect", &reference, "--platform", "linux/arm64"]).await;
    assert_eq!(code, 2);
    let item = &found["items"][0];
    assert_eq!(item["problems"][0]["kind"], "WrongPlatform");
    assert_eq!(item["missing"], json!(["linux/arm64"]));
    let ended = bench.run(&["inspect", &reference]).await;
    let says = "as linux/riscv64, but its config says linux/arm64: build the index again";
    assert!(ended.code == 2 && ended.out.contains(says), "{ended:?}");
    // Right as it is, and not enough.
    let bench = scene("linux/arm64").await;
    let ended = bench.run(&["inspect", &bench.at("team/app:1.0"), "--platform=linux/s390x"]).await;
    assert!(ended.code == 2 && ended.out.contains("MISSING\n  linux/s390x\n"), "{ended:?}");
}

#[tokio::test]
async fn one_that_is_not_there_stops_no_other() {
    let bench = scene("linux/arm64").await;
    let (none, there) = (bench.at("team/app:none"), bench.at("team/app:1.0"));
    let ended = bench.run(&["inspect", &none, &there]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(ended.err, format!("Error: {none} is not there (HTTP 404)\n"));
    assert!(ended.out.starts_with(&there), "{ended:?}");
    // A program gets a document, also where none is there.
    let (code, found) = bench.json(&["inspect", &none]).await;
    let error = format!("{none} is not there (HTTP 404)");
    assert_eq!((code, &found["items"]), (1, &json!([{"reference": none, "error": error}])));
}

#[tokio::test]
async fn by_the_login_of_who_asks() {
    let bench = scene("linux/arm64").await;
    let paths = vec![APP.to_owned()];
    let user = User { name: "me".into(), password: "hunter2".into(), paths };
    bench.server.login(Login::Basic(vec![user]));
    let reference = bench.at("team/app:1.0");
    let ended = bench.run(&["inspect", &reference]).await;
    assert!(ended.code == 1 && ended.err.contains("without credential"), "{ended:?}");
    let auths = json!({ bench.server.addr.to_string(): {"username": "me", "password": "hunter2"} });
    bench.file(".docker/config.json", &json!({ "auths": auths }).to_string());
    let ended = bench.run(&["inspect", &reference]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[tokio::test]
async fn as_yaml_it_is_the_same() {
    let bench = scene("linux/arm64").await;
    let reference = bench.at("team/app:1.0");
    let (_, json) = bench.json(&["inspect", &reference]).await;
    let ended = bench.run(&["inspect", &reference, "-o", "yaml"]).await;
    let yaml: Value = serde_saphyr::from_str(&ended.out).unwrap();
    assert_eq!(yaml, json);
}

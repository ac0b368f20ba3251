//! `publish` and `plan`: files in, tags out, or what they would be.

use multiarch_operator::{
    oci::Manifest,
    registry::memory::{Image, Lie},
};
use serde_json::{Value, json};

use super::bench::{Bench, object, outcomes};

/// Images of two platforms as CI has pushed them, and the object of both.
async fn scene() -> (Bench, Value) {
    let bench = Bench::new().await;
    for platform in ["amd64", "arm64"] {
        bench.store().push_image(
            "team/app",
            &format!("1.0-{platform}"),
            &format!("linux/{platform}"),
        );
    }
    let (amd64, arm64) = (bench.at("team/app:1.0-amd64"), bench.at("team/app:1.0-arm64"));
    let object = object("app", &bench.at("team/app:1.0"), &[("amd64", &amd64), ("arm64", &arm64)]);
    (bench, object)
}

#[tokio::test]
async fn an_object_is_published_and_a_second_run_writes_nothing() {
    let (bench, object) = scene().await;
    bench.file("app.json", &object.to_string());
    let (code, results) = bench.json(&["publish", "-f", "app.json"]).await;
    assert_eq!((code, outcomes(&results)), (0, vec!["Published Succeeded".into()]));
    let image = &results["images"][0];
    let published = bench.store().tagged("team/app", "1.0").unwrap();
    assert_eq!(image["digest"], published.digest().to_string());
    assert_eq!(image["name"], "app.json: team-a/app");
    let platforms = [&image["platforms"][0]["platform"], &image["platforms"][1]["platform"]];
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    bench.server.forget();
    let (code, results) = bench.json(&["publish", "-f", "app.json"]).await;
    assert_eq!((code, outcomes(&results)), (0, vec!["Unchanged Succeeded".into()]));
    let writes: Vec<_> = bench.server.requests();
    assert!(
        writes.iter().all(|it| it.starts_with("GET ") || it.starts_with("HEAD ")),
        "{writes:?}"
    );
}

/// What a plan says is what is done then, and until then nothing is.
#[tokio::test]
async fn a_plan_tells_what_is_published_then() {
    let (bench, mut object) = scene().await;
    object["spec"]["target"]["image"] = bench.at("mirror/app:1.0").into();
    object["spec"]["target"]["additionalTags"] = json!(["latest"]);
    bench.file("app.json", &object.to_string());
    let (code, planned) = bench.json(&["plan", "-f", "app.json"]).await;
    assert_eq!((code, outcomes(&planned)), (2, vec!["WouldPublish Succeeded".into()]));
    assert_eq!(bench.store().tags("mirror/app"), [""; 0]);
    let writes: Vec<_> = bench.server.requests();
    assert!(
        writes.iter().all(|it| it.starts_with("GET ") || it.starts_with("HEAD ")),
        "{writes:?}"
    );
    let plan = &planned["images"][0]["plan"];
    // Two images, the index, and its other tag.
    assert_eq!(plan["manifests"].as_array().unwrap().len(), 4);
    let blobs = plan["blobs"].as_array().unwrap();
    assert!(!blobs.is_empty() && blobs.iter().all(|blob| blob["how"] == "Mount"), "{plan}");
    assert_eq!(plan["bytes"], 0);
    let (code, results) = bench.json(&["publish", "-f", "app.json"]).await;
    assert_eq!((code, outcomes(&results)), (0, vec!["Published Succeeded".into()]));
    let [then, now] = [&planned, &results].map(|of| {
        let image = &of["images"][0];
        (image["digest"].clone(), image["tags"].clone(), image["platforms"].clone())
    });
    assert_eq!(then, now);
    let (code, again) = bench.json(&["plan", "-f", "app.json"]).await;
    assert_eq!((code, outcomes(&again)), (0, vec!["Unchanged Succeeded".into()]));
    let same = bench.run(&["publish", "--dry-run", "-f", "app.json"]).await;
    assert_eq!(same.code, 0, "{same:?}");
}

/// Blobs of another registry would be sent.
#[tokio::test]
async fn a_plan_tells_bytes_and_a_table_has_it_all() {
    let (bench, mut object) = scene().await;
    let other = Bench::new().await;
    object["spec"]["target"]["image"] = other.at("team/app:1.0").into();
    bench.file("app.json", &object.to_string());
    let (_, planned) = bench.json(&["plan", "-f", "app.json"]).await;
    let blobs = planned["images"][0]["plan"]["blobs"].as_array().unwrap().clone();
    let sum: u64 = blobs.iter().map(|blob| blob["size"].as_u64().unwrap()).sum();
    assert_eq!(planned["images"][0]["plan"]["bytes"], sum);
    assert!(sum > 0 && blobs.iter().all(|blob| blob["how"] == "Send"));
    let ended = bench.run(&["plan", "-f", "app.json"]).await;
    let digest = planned["images"][0]["digest"].as_str().unwrap();
    for words in [
        &other.at("team/app:1.0"),
        "would be published",
        digest,
        "application/vnd.oci.image.index.v1+json",
        "linux/amd64,linux/arm64",
        "3 manifests",
        "4 blobs to send",
    ] {
        assert!(ended.out.contains(words), "{words} in {}", ended.out);
    }
    let (code, _) =
        other.json(&["plan", "-f", bench.home.path().join("app.json").to_str().unwrap()]).await;
    assert_eq!(code, 2);
    assert_eq!(other.store().tags("team/app"), [""; 0]);
}

/// Each is told of by itself, and the good ones are published.
#[tokio::test]
async fn one_that_fails_stops_no_other() {
    let (bench, good) = scene().await;
    let app = bench.at("team/app:1.0-amd64");
    let mut wrong = object("wrong", &bench.at("team/wrong:1"), &[("x", &app)]);
    wrong["spec"]["sources"][0]["platforms"] = json!(["linux/s390x"]);
    let gone = object("gone", &bench.at("team/gone:1"), &[("x", &bench.at("team/none:1"))]);
    let mut late = good.clone();
    late["metadata"]["name"] = "late".into();
    late["spec"]["target"]["image"] = bench.at("team/late:1").into();
    late["spec"]["requiredPlatforms"] = json!(["linux/riscv64"]);
    let mut asleep = good.clone();
    asleep["spec"]["suspend"] = true.into();
    asleep["spec"]["target"]["image"] = bench.at("team/asleep:1").into();
    let mut odd = good.clone();
    odd["spec"]["sorces"] = json!([]);
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x" } });
    let all = [&wrong, &gone, &late, &asleep, &odd, &secret, &good];
    let text: Vec<_> = all.iter().map(ToString::to_string).collect();
    bench.file("objects/all.yaml", &text.join("\n---\n"));
    bench.file("objects/readme.md", "no object");
    let (code, results) = bench.json(&["publish", "-f", "objects"]).await;
    let expected = [
        "Failed PlatformMismatch",
        "Failed WaitingForPlatforms",
        "NotCovered WaitingForPlatforms",
        "Skipped Suspended",
        "Failed InvalidSpec",
        "Published Succeeded",
    ];
    assert_eq!((code, outcomes(&results)), (1, expected.map(Into::into).into()));
    let message = |at: usize| results["images"][at]["message"].as_str().unwrap().to_owned();
    assert!(message(0).contains("linux/s390x") && message(0).contains("linux/amd64"), "{results}");
    assert_eq!(message(1), format!("{} is not there (HTTP 404)", bench.at("team/none:1")));
    assert!(!message(2).contains("waiting") && message(2).contains("linux/riscv64"), "{results}");
    assert!(message(4).contains("spec.sorces: there is no such field"), "{results}");
    let ended = bench.run(&["publish", "-f", "objects"]).await;
    assert!(ended.err.contains("Secret is no MultiArchImage"), "{}", ended.err);
    for tag in ["wrong", "gone", "late", "asleep"] {
        assert_eq!(bench.store().tags(&format!("team/{tag}")), [""; 0]);
    }
}

/// Nothing failed: it is not covered.
#[tokio::test]
async fn exit_codes_tell_what_is_missing_from_what_failed() {
    let (bench, mut object) = scene().await;
    object["spec"]["requiredPlatforms"] = json!(["linux/riscv64"]);
    bench.file("app.json", &object.to_string());
    let (code, results) = bench.json(&["publish", "-f", "app.json"]).await;
    assert_eq!((code, outcomes(&results)), (2, vec!["NotCovered WaitingForPlatforms".into()]));
    object["spec"]["publishPolicy"] = "Partial".into();
    bench.file("app.json", &object.to_string());
    let (code, results) = bench.json(&["publish", "-f", "app.json"]).await;
    assert_eq!((code, outcomes(&results)), (2, vec!["NotCovered PublishedPartial".into()]));
    assert!(bench.store().tagged("team/app", "1.0").is_some());
    bench.server.lie([Lie::Html(500)]);
    let (code, _) = bench.json(&["publish", "-f", "app.json"]).await;
    assert_eq!(code, 1);
    // Nothing could be done at all.
    let ended = bench.run(&["publish", "-f", "none.json"]).await;
    assert!(ended.code == 1 && ended.err.contains("none.json"), "{ended:?}");
}

#[tokio::test]
async fn a_spec_of_manifest_tool_is_published() {
    let (bench, _) = scene().await;
    let spec = format!(
        "image: {target}\ntags: ['1']\nmanifests:\n\
         - image: {amd64}\n  platform: {{os: linux, architecture: amd64}}\n\
         - image: {arm64}\n  platform: {{os: linux, architecture: arm64}}\n",
        target = bench.at("team/app:1.0"),
        amd64 = bench.at("team/app:1.0-amd64"),
        arm64 = bench.at("team/app:1.0-arm64"),
    );
    let ended = bench.told(&["publish", "-f", "-"], &spec).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let published = bench.store().tagged("team/app", "1.0").unwrap();
    assert!(
        matches!(published.parse().unwrap(), Manifest::Index(index) if index.manifests.len() == 2)
    );
    assert_eq!(bench.store().tagged("team/app", "1").unwrap(), published);
    // What it says of a platform is checked.
    bench.store().push("team/app", Some("1.0-arm64"), &Image::of("linux/arm/v7"));
    let ended = bench.told(&["publish", "-f", "-"], &spec).await;
    assert!(ended.code == 1 && ended.out.contains("PlatformMismatch"), "{ended:?}");
}

#[tokio::test]
async fn a_template_writes_its_sources_out() {
    let (bench, _) = scene().await;
    let (template, target) = (bench.at("team/app:1.0-{arch}"), bench.at("team/app:1.0"));
    let made = [
        "publish",
        "--template",
        &template,
        "--platforms",
        "linux/amd64,linux/arm64",
        "--target",
        &target,
    ];
    let written = bench.run(&[&made[..], &["--print-object"]].concat()).await;
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(bench.store().tags("team/app"), ["1.0-amd64", "1.0-arm64"]);
    let (code, results) = bench.json(&made).await;
    assert_eq!((code, outcomes(&results)), (0, vec!["Published Succeeded".into()]));
    // What was written out asks for the same.
    let ended = bench.told(&["plan", "-f", "-"], &written.out).await;
    assert!(ended.code == 0 && ended.out.contains("unchanged"), "{ended:?}");
    assert!(written.out.contains(&bench.at("team/app:1.0-arm64")), "{}", written.out);
}

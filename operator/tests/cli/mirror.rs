//! `mirror`: a list of images from one registry to another.

use multiarch_operator::{
    oci::{Descriptor, Manifest},
    registry::memory::Image,
};

use super::bench::{Bench, outcomes};

/// Eight images of two platforms each, one of them a single one.
fn fill(bench: &Bench) -> Vec<String> {
    let names: Vec<_> = (1..=8).map(|at| format!("rancher/image-{at}:v{at}")).collect();
    for name in &names {
        let (path, tag) = name.split_once(':').unwrap();
        let push = |platform: &str| {
            let image = Image::of(platform).salted(name);
            let pushed = bench.store().push(path, None, &image);
            Descriptor { platform: Some(image.platform), ..pushed }
        };
        let images = ["linux/amd64", "linux/arm64"].map(push);
        bench.store().push_index(path, Some(tag), images.into());
    }
    bench.store().push("rancher/image-8", Some("v8"), &Image::of("linux/amd64").docker());
    names
}

#[tokio::test]
async fn a_list_keeps_every_digest_and_shows_how_far_it_is() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    let names = fill(&from);
    let list: Vec<_> = names.iter().map(|name| format!("{name}  # of k3s")).collect();
    from.file("images.txt", &format!("# k3s\n\n{}\n", list.join("\r\n")));
    let (at, target) = (from.server.addr.to_string(), to.at("mirror"));
    let args = ["mirror", "--images", "images.txt", "--from", &at, "--to", &target];
    let ended = from.run(&args).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for name in &names {
        let (path, tag) = name.split_once(':').unwrap();
        let [then, now] = [(&from, path.to_owned()), (&to, format!("mirror/{path}"))]
            .map(|(bench, path)| bench.store().tagged(&path, tag).unwrap());
        assert_eq!(then, now, "{name}");
    }
    for at in 1..=8 {
        assert!(ended.err.contains(&format!("{at}/8 ")), "{}", ended.err);
    }
    assert!(!ended.err.contains('\u{1b}') && !ended.out.contains('\u{1b}'), "no terminal");
    // What is there is not sent again.
    to.server.forget();
    let (code, results) = from.json(&args).await;
    assert_eq!((code, outcomes(&results)), (0, vec!["Unchanged Succeeded".to_owned(); 8]));
    let asked = to.server.requests();
    assert!(asked.iter().all(|it| it.starts_with("GET ") || it.starts_with("HEAD ")), "{asked:?}");
    let quiet = from.run(&[&args[..], &["--quiet"]].concat()).await;
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""));
}

#[tokio::test]
async fn platforms_can_be_chosen() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    let names = fill(&from);
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    let mut args = vec!["mirror", "--from", &at, "--to", &target, "--platform", "linux/arm64"];
    args.extend(names.iter().map(String::as_str));
    let (code, results) = from.json(&args).await;
    let mut expected = vec!["Published Succeeded".to_owned(); 7];
    expected.push("Failed PlatformMismatch".into());
    assert_eq!((code, outcomes(&results)), (1, expected));
    let mirrored = to.store().tagged("rancher/image-1", "v1").unwrap();
    assert!(
        matches!(mirrored.parse().unwrap(), Manifest::Index(index) if index.manifests.len() == 1)
    );
}

/// A bad line is named with its file, and is nobody else's.
#[tokio::test]
async fn a_bad_line_hurts_only_itself() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    fill(&from);
    let list = "rancher/image-1:v1\nrancher/Image:1\nrancher/none:1\nrancher/image-2\n\
                rancher/image-3:v3\nrancher/image-3:v3 # twice\n";
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    let list = format!("{list}{at}/rancher/image-3:v3\nr.example/a:1\nr2.example/a:1\n");
    let ended = from
        .told(&["mirror", "-f", "-", "--from", &at, "--to", &target, "-o", "json"], &list)
        .await;
    let results = serde_json::from_str(&ended.out).unwrap();
    let expected = [
        "Published Succeeded",
        "Failed InvalidSpec",
        "Failed WaitingForPlatforms",
        "Failed InvalidSpec",
        "Published Succeeded",
        "Failed TargetConflict",
        "Failed TargetConflict",
    ];
    assert_eq!((ended.code, outcomes(&results)), (1, expected.map(Into::into).into()));
    let names: Vec<_> =
        results["images"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["-:1", "-:2", "-:3", "-:4", "-:5", "-:8", "-:9"]);
    let said = results["images"][2]["message"].as_str().unwrap();
    assert_eq!(said, format!("{at}/rancher/none:1 is not there (HTTP 404)"));
    let said = results["images"][3]["message"].as_str().unwrap();
    assert!(said.ends_with("write rancher/image-2:latest if that is meant"), "{said}");
    let said = results["images"][5]["message"].as_str().unwrap();
    assert!(said.ends_with("is written by -:9, too: take one of the lines out"), "{said}");
    assert!(
        ended.err.contains("note: -:5 is given again by -:6, -:7: it is run once"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_would_be_mirrored_is_told() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    fill(&from);
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    let args = ["mirror", "--from", &at, "--to", &target, "--dry-run", "rancher/image-1:v1"];
    let (code, results) = from.json(&args).await;
    assert_eq!((code, outcomes(&results)), (2, vec!["WouldPublish Succeeded".into()]));
    assert_eq!(to.store().tags("rancher/image-1"), [""; 0]);
    let digest = from.store().tagged("rancher/image-1", "v1").unwrap().digest().to_string();
    assert_eq!(results["images"][0]["digest"], digest);
}

#[tokio::test]
async fn referrers_and_attestations_are_as_the_flags_say() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    let image = from.store().push("a/b", Some("1"), &Image::of("linux/amd64"));
    from.store().push_referrer("a/b", &image, "sbom");
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    let args = ["mirror", "--from", &at, "--to", &target, "a/b:1"];
    assert_eq!(from.run(&args).await.code, 0);
    assert_eq!(to.store().referrers("a/b", &image.digest).len(), 0);
    assert_eq!(from.run(&[&args[..], &["--referrers", "copy"]].concat()).await.code, 0);
    assert_eq!(to.store().referrers("a/b", &image.digest).len(), 1);
    from.store().push_attested("a/c", "1", &Image::of("linux/amd64"));
    let args = ["mirror", "--from", &at, "--to", &target, "--attestations", "drop", "a/c:1"];
    assert_eq!(from.run(&args).await.code, 0);
    let mirrored = to.store().tagged("a/c", "1").unwrap();
    let Manifest::Index(index) = mirrored.parse().unwrap() else { panic!("it is an index") };
    assert!(index.manifests.iter().all(|image| !image.is_attestation()));
}

/// What advice names is a flag, and no field.
#[tokio::test]
async fn a_tag_that_would_lose_a_platform_names_the_flag() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    fill(&from);
    to.store().push_index("rancher/image-1", Some("v1"), {
        let image = Image::of("linux/s390x");
        let pushed = to.store().push("rancher/image-1", None, &image);
        vec![Descriptor { platform: Some(image.platform), ..pushed }]
    });
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    let args = ["mirror", "--from", &at, "--to", &target, "rancher/image-1:v1"];
    let (code, results) = from.json(&args).await;
    assert_eq!((code, outcomes(&results)), (1, vec!["Failed WouldShrink".into()]));
    let said = results["images"][0]["message"].as_str().unwrap();
    assert!(said.ends_with("(here: --removal-policy retain or remove)"), "{said}");
    let ended = from.run(&[&args[..], &["--removal-policy", "remove"]].concat()).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn says_what_it_wants() {
    let bench = Bench::new().await;
    for (to, platform, words) in [
        ("http://r.example", "linux/amd64", "leave out http://"),
        ("r.example", "amd64", "\"amd64\" is not a platform"),
    ] {
        let args = ["mirror", "--to", to, "--platform", platform, "a:1", "b:1"];
        let ended = bench.run(&args).await;
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
        assert_eq!(ended.err.matches(words).count(), 1, "{}", ended.err);
    }
    let ended = bench.run(&["mirror", "--to", "r.example"]).await;
    assert!(ended.code == 1 && ended.err.contains("--images FILE"), "{ended:?}");
    let ended = bench.run(&["mirror", "--to", "r.example", "-f", "none.txt"]).await;
    assert!(ended.code == 1 && ended.err.contains("none.txt"), "{ended:?}");
}

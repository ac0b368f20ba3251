//! Platforms in full: variants, Windows' versions and features, WebAssembly, and words that are misspelt.

use multiarch_crds::v1alpha1::{PublishPolicy, RemovalPolicy, Source};
use multiarch_operator::{
    oci::{Descriptor, Platform, RawManifest, media_type},
    registry::memory::Image,
};
use rstest::rstest;
use serde_json::json;

use crate::world::*;

const LTSC2019: &str = "windows(10.0.17763.5458)/amd64";
const LTSC2019_UPDATED: &str = "windows(10.0.17763.5576)/amd64";
const LTSC2022: &str = "windows(10.0.20348.2340)/amd64";

/// What the tag's index says, in its words.
fn words(world: &World) -> Vec<String> {
    let platforms = world.index().manifests.into_iter().map(|child| child.platform.unwrap());
    platforms.map(|platform| platform.to_string()).collect()
}

/// What `wasm-to-oci` and containerd's runwasi push: a config of its own type, with the two fields.
fn push_wasm(world: &World, tag: &str) {
    let config = json!({
        "created": "2026-11-21T00:00:00Z", "architecture": "wasm", "os": "wasip1",
        "layerDigests": [], "component": null,
    });
    let config = world.store.push_blob(PATH, media_type::WASM_CONFIG, config.to_string().into());
    let layer = world.store.push_blob(PATH, "application/wasm", "\0asm".into());
    let document = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": config, "layers": [layer],
    });
    let raw = RawManifest::new(media_type::OCI_MANIFEST, document.to_string().into());
    world.store.push_manifest(PATH, Some(tag), &raw);
}

/// Each is a platform of its own, and its config's words are published.
#[tokio::test(start_paused = true)]
async fn all_kinds_side_by_side() {
    let platforms = [
        "linux/386",
        "linux/amd64",
        "linux/amd64/v2",
        "linux/amd64/v3",
        "linux/arm/v5",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm64",
        "linux/arm64/v9",
        "linux/loong64",
        "linux/ppc64le",
        "linux/riscv64",
        "linux/riscv64/rva22u64",
        "linux/s390x",
        "wasip1/wasm",
        LTSC2019,
        LTSC2022,
        "windows(10.0.20348.2340+win32k)/amd64",
    ];
    let mut world = World::new(Vec::new());
    for (at, platform) in platforms.iter().enumerate() {
        let tag = format!("p{at}");
        if *platform == "wasip1/wasm" {
            push_wasm(&world, &tag);
        } else {
            world.push(&tag, platform);
        }
        world.spec.sources.push(declared(&tag, platform));
    }
    world.spec.required_platforms = ["linux/riscv64", "windows/amd64", "wasip1/wasm"]
        .iter()
        .map(|platform| (*platform).to_owned())
        .collect();
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(words(&world), platforms);
    world.later(10);
    world.run().await.assert_idle(platforms.len() + 1);
}

/// What was declared against the config. The words of the config are published.
#[rstest]
#[case::the_build("windows(10.0.17763)/amd64", true)]
#[case::the_revision(LTSC2019, true)]
#[case::no_version("windows/amd64", true)]
#[case::another_revision("windows(10.0.17763.1)/amd64", false)]
#[case::another_build("windows(10.0.20348)/amd64", false)]
#[case::not_half_a_number("windows(10.0.1776)/amd64", false)]
#[case::a_feature_that_it_lacks("windows(10.0.17763+win32k)/amd64", false)]
#[tokio::test(start_paused = true)]
async fn a_declared_build_of_windows(#[case] platform: &str, #[case] agrees: bool) {
    let mut world = World::new(vec![source("amd64"), declared("win", platform)]);
    world.push("amd64", "linux/amd64");
    world.push("win", LTSC2019);
    world.run().await;
    if agrees {
        world.assert_ready("True", "Succeeded");
        assert_eq!(words(&world), ["linux/amd64", LTSC2019]);
        assert_eq!(world.status.platforms[1].platform, LTSC2019);
    } else {
        world.assert_stalled("PlatformMismatch");
        world.assert_message(&[platform, LTSC2019]);
    }
}

/// What is required, and chosen from an index, against what is listed.
#[rstest]
#[case::the_build(&["windows(10.0.17763)/amd64"], &[LTSC2019])]
#[case::any(&["windows/amd64"], &[LTSC2019, "windows(10.0.20348.2340+win32k)/amd64"])]
#[case::two(&["windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64"], &[LTSC2019, "windows(10.0.20348.2340+win32k)/amd64"])]
#[case::the_feature(&["windows(+win32k)/amd64"], &["windows(10.0.20348.2340+win32k)/amd64"])]
#[tokio::test(start_paused = true)]
async fn builds_of_windows_are_chosen(#[case] platforms: &[&str], #[case] chosen: &[&str]) {
    let platforms: Vec<_> = platforms.iter().map(|platform| (*platform).to_owned()).collect();
    let mut world = World::new(vec![Source { platforms: platforms.clone(), ..source("x") }]);
    world.spec.required_platforms = platforms;
    let all = ["linux/amd64", LTSC2019, "windows(10.0.20348.2340+win32k)/amd64"];
    let all = all.map(|platform| world.foreign(platform)).into();
    world.store.push_index(PATH, Some("x"), all);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(words(&world), chosen);
}

#[tokio::test(start_paused = true)]
async fn a_required_revision_is_met_by_itself_alone() {
    let mut world = World::new(vec![source("win")]);
    world.push("win", LTSC2019);
    world.spec.required_platforms = vec![LTSC2019_UPDATED.into()];
    world.run().await;
    world.assert_reconciling("WaitingForPlatforms");
    world.assert_message(&[LTSC2019_UPDATED]);
    world.push("win", LTSC2019_UPDATED);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

/// An update of the base image is no platform that is lost, and none beside the old one.
#[rstest]
#[tokio::test(start_paused = true)]
async fn a_new_revision_takes_the_place_of_the_old_one(
    #[values(RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove)]
    policy: RemovalPolicy,
    #[values(None, Some("{tag}-{os}-{arch}"))] template: Option<&str>,
) {
    let mut world = World::new(vec![source("2019"), source("amd64")]);
    world.spec.removal_policy = policy;
    world.spec.target.platform_tags = template.map(ToOwned::to_owned);
    world.push("2019", LTSC2019);
    world.push("amd64", "linux/amd64");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let updated = world.push("2019", LTSC2019_UPDATED);
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(words(&world), ["linux/amd64", LTSC2019_UPDATED]);
    // Its tag is the object's own.
    let tagged = world.store.tagged(PATH, "1.0-windows-amd64").map(|raw| raw.digest().clone());
    assert_eq!(tagged, template.map(|_| updated.digest));
}

#[tokio::test(start_paused = true)]
async fn another_build_does_not() {
    let mut world = World::new(vec![source("win"), source("amd64")]);
    world.push("win", LTSC2019);
    world.push("amd64", "linux/amd64");
    world.run().await;
    world.push("win", LTSC2022);
    world.later(10);
    world.run().await;
    world.assert_stalled("WouldShrink");
    world.assert_message(&[LTSC2019]);
}

/// `docker manifest annotate --os-version` is often given the build alone.
#[rstest]
#[case::the_build("windows(10.0.17763)/amd64", true)]
#[case::another_build("windows(10.0.20348)/amd64", false)]
#[tokio::test(start_paused = true)]
async fn what_an_index_lists_against_the_config(#[case] platform: &str, #[case] agrees: bool) {
    let mut world = World::new(vec![source("x"), source("amd64")]);
    world.push("amd64", "linux/amd64");
    let listed: Platform = platform.parse().unwrap();
    let child = Descriptor { platform: Some(listed), ..world.foreign(LTSC2019) };
    world.store.push_index(PATH, Some("x"), vec![child]);
    world.run().await;
    if agrees {
        world.assert_ready("True", "Succeeded");
        assert_eq!(words(&world)[1], platform, "the index's words");
    } else {
        world.assert_stalled("PlatformMismatch");
    }
}

#[tokio::test(start_paused = true)]
async fn a_misspelt_platform_is_told() {
    let mut world = World::pair();
    world.spec.required_platforms = vec!["linux/amd46".into()];
    world.run().await;
    world.assert_reconciling("WaitingForPlatforms");
    world.assert_message(&["linux/amd46 (no source provides it; no such architecture is known)"]);
    world.edit(|spec| {
        spec.required_platforms.clear();
        spec.sources[0].platforms = vec!["linux/amd64".into(), "linx/arm64".into()];
    });
    let all = ["linux/amd64", "linux/s390x"].map(|platform| world.foreign(platform)).into();
    world.store.push_index(PATH, Some("amd64"), all);
    world.run().await;
    world.assert_reconciling("WaitingForPlatforms");
    world.assert_message(&["linx/arm64 (in source amd64", "; no such operating system is known)"]);
    world.edit(|spec| spec.publish_policy = PublishPolicy::Partial);
    world.run().await;
    world.assert_ready("True", "PublishedPartial");
}

/// What Go does not know yet may still be published.
#[tokio::test(start_paused = true)]
async fn an_architecture_that_is_not_known_is_published() {
    let mut world = World::new(vec![declared("x", "linux/openrisc")]);
    world.push("x", "linux/openrisc");
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/openrisc"]);
    assert_eq!(Image::of("linux/openrisc").platform.oddity().map(|_| ()), Some(()));
}

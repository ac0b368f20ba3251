//! What a copy costs at the wire: a mount for each blob in one registry, four requests for each between two, and nothing for what is there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use multiarch_e2e::{
    Scenario,
    images::Image,
    peers,
    proxy::Seen,
    registry::Registry,
    scenario,
    scenario::{scenario_of_two_registries, tag_of},
    spec::Spec,
};
use serde_json::json;

const PLATFORMS: [&str; 7] = [
    "linux/386",
    "linux/amd64",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/s390x",
];

#[tokio::test(flavor = "multi_thread")]
async fn of_three_platforms_in_one_registry() -> Result<()> {
    scenario(async |s| in_one_registry(s, 3).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_seven_platforms_in_one_registry() -> Result<()> {
    scenario(async |s| in_one_registry(s, 7).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_platforms_between_registries() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| between_registries(s, elsewhere, 3).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_seven_platforms_between_registries() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| between_registries(s, elsewhere, 7).await).await
}

/// Over the same images in the target's own repository: a mount for each blob, and a PUT for each image.
async fn in_one_registry(s: &Scenario, n: usize) -> Result<()> {
    let blobs = push(&s.registry, "1", n).await?;
    s.apply_until(&spec(s, &s.registry, "1", n), "True/Succeeded").await?;
    let seen = since(&s.registry);
    costs("one registry", 2 * n + 3 + blobs.len() + n, &seen);
    let mounts: Vec<_> = seen.iter().filter(|seen| seen.is_mount()).collect();
    assert_eq!(mounts.len(), blobs.len(), "{mounts:#?}");
    assert!(mounts.iter().all(|mount| mount.status == 201), "{mounts:#?}");
    in_order(&seen, n);
    peers::validate(&s.registry, "team/app:1").await?;
    unchanged(s, &s.registry, n).await
}

/// Over the same: a look, a GET, a POST and a PUT for each blob, a PUT for each image, and that look at the tag.
async fn between_registries(s: &Scenario, elsewhere: &Registry, n: usize) -> Result<()> {
    let first = push(elsewhere, "1", n).await?;
    s.apply_until(&spec(s, elsewhere, "1", n), "True/Succeeded").await?;
    let (read, written) = (since(elsewhere), since(&s.registry));
    costs("the source's registry", 2 * n + first.len(), &read);
    costs("the target's registry", 4 + n + 3 * first.len(), &written);
    assert_eq!(sent(&written), first);
    in_order(&written, n);
    unchanged(s, elsewhere, n).await?;

    // The next build has the same four layers but one.
    let second = push(elsewhere, "2", n).await?;
    let new: BTreeMap<_, _> =
        second.iter().filter(|(digest, _)| !first.contains_key(*digest)).collect();
    assert_eq!(new.len(), 2 * n, "a config and a layer for each platform");
    s.apply_until(&spec(s, elsewhere, "2", n), "True/Succeeded").await?;
    let (read, written) = (since(elsewhere), since(&s.registry));
    costs("the source's registry, for the next build", 2 * n + new.len(), &read);
    costs(
        "the target's registry, for the next build",
        4 + n + second.len() + 2 * new.len(),
        &written,
    );
    assert_eq!(sent(&written).iter().collect::<BTreeMap<_, _>>(), new, "only the new bytes move");
    let fetched: BTreeSet<_> =
        read.iter().map(Seen::blob).filter(|blob| !blob.is_empty()).collect();
    assert_eq!(fetched.iter().collect::<Vec<_>>(), new.into_keys().collect::<Vec<_>>());
    in_order(&written, n);
    peers::validate(&s.registry, "team/app:1").await?;
    unchanged(s, elsewhere, n).await
}

/// Nothing but HEADs: of each source, of the tag, and of each image, which its source's answer does not show.
async fn unchanged(s: &Scenario, sources: &Registry, n: usize) -> Result<()> {
    s.objects().age("app").await?;
    s.request("app").await?;
    let mut seen = since(&s.registry);
    if sources.host() != s.registry.host() {
        seen.extend(since(sources));
    }
    costs("nothing changed", 2 * n + 1, &seen);
    assert!(seen.iter().all(|seen| seen.method == "HEAD"), "{seen:#?}");
    let images = seen.iter().filter(|seen| seen.path.contains("/manifests/sha256:"));
    assert_eq!(images.count(), n, "{seen:#?}");
    Ok(())
}

/// Every blob before every image, and every image before the tag.
fn in_order(seen: &[Seen], n: usize) {
    let of = |is: fn(&Seen) -> bool| seen.iter().enumerate().filter(move |(_, seen)| is(seen));
    let blobs = of(|seen| seen.is_mount() || seen.is_upload()).map(|(at, _)| at).max();
    let manifests: Vec<_> = of(Seen::is_manifest_put).collect();
    assert_eq!(manifests.len(), n + 1, "{manifests:#?}");
    assert!(manifests.iter().all(|(at, _)| Some(*at) > blobs), "{seen:#?}");
    let by_digest = manifests.iter().filter(|(_, seen)| seen.path.contains("/sha256:"));
    assert_eq!(by_digest.count(), n, "{manifests:#?}");
    assert!(manifests.last().is_some_and(|(_, seen)| seen.path.ends_with("/manifests/1")));
}

/// The blobs that were sent, and how many bytes each time.
fn sent(seen: &[Seen]) -> BTreeMap<String, u64> {
    let uploads = seen.iter().filter(|seen| seen.is_upload());
    uploads.map(|upload| (upload.blob(), upload.length)).collect()
}

/// Pushes `n` images of four layers each, of which `version` changes one, and tells all blobs with their sizes.
async fn push(registry: &Registry, version: &str, n: usize) -> Result<BTreeMap<String, u64>> {
    let mut blobs = BTreeMap::new();
    for platform in &PLATFORMS[..n] {
        let of_platform =
            ["runtime", "libraries"].map(|layer| format!("the {layer} for {platform}"));
        let app = format!("version {version} for {platform}");
        let layers = ["certificates for all", &of_platform[0], &of_platform[1], &app];
        let image = Image::layered(platform, &layers)?;
        registry.push(&tag_of(&format!("build/app:{version}"), platform), &image).await?;
        blobs.extend(image.blobs.into_iter().map(|blob| (blob.digest, blob.bytes.len() as u64)));
    }
    Ok(blobs)
}

fn spec(s: &Scenario, sources: &Registry, version: &str, n: usize) -> Spec {
    PLATFORMS[..n].iter().fold(Spec::new(&s.registry, "app", "team/app:1"), |spec, platform| {
        let image = tag_of(&format!("build/app:{version}"), platform);
        let name = platform.split('/').skip(1).collect::<String>();
        spec.source_in(sources, &name, &image, &[platform], json!({}))
    })
}

fn since(registry: &Registry) -> Vec<Seen> {
    let seen = registry.proxy.seen();
    registry.proxy.forget();
    seen
}

fn costs(what: &str, limit: usize, seen: &[Seen]) {
    assert!(seen.len() <= limit, "{what}: {} requests, more than {limit}: {seen:#?}", seen.len());
}

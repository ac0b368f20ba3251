//! What N platforms that are named by tag cost at the wire, counted by a proxy: 2N+3 requests, one more over a foreign tag, N+1 HEADs when nothing changed.

use anyhow::Result;
use multiarch_e2e::{images::Image, proxy::Seen, scenario, scenario::tag_of, spec::Report};
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
async fn of_one_platform() -> Result<()> {
    costs(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_platforms() -> Result<()> {
    costs(3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_seven_platforms() -> Result<()> {
    costs(7).await
}

async fn costs(n: usize) -> Result<()> {
    let platforms = &PLATFORMS[..n];
    scenario(async |s| {
        s.push("team/app:1", platforms).await?;
        let spec = s.spec("app", "team/app:1", platforms);
        let since = || -> Vec<Seen> {
            let seen = s.registry.proxy.seen();
            s.registry.proxy.forget();
            seen
        };

        s.apply_until(&spec, "True/Succeeded").await?;
        at_most(2 * n + 3, "a free tag", &since());

        s.request("app").await?;
        let seen = since();
        at_most(n + 1, "nothing changed", &seen);
        assert!(seen.iter().all(|seen| seen.method == "HEAD"), "{seen:?}");

        // The next build under the same tag, as a release job applies it.
        for platform in platforms {
            let image = Image::oci(platform, "the next build")?;
            s.registry.push(&tag_of("team/app:2", platform), &image).await?;
        }
        let mut next = s.spec("app", "team/app:2", platforms);
        next.spec["target"] = spec.spec["target"].clone();
        s.apply_until(&next, "True/Succeeded").await?;
        let seen = since();
        at_most(2 * n + 3, "a tag of ours", &seen);
        assert_eq!(puts(&seen), 1, "{seen:?}");

        next.spec["annotations"] = json!({"com.example.build": "3"});
        s.apply_until(&next, "True/Succeeded").await?;
        let seen = since();
        at_most(2 * n + 3, "the same images with an annotation", &seen);
        assert_eq!(puts(&seen), 1, "{seen:?}");

        let made = [Image::buildx(platforms[0], "by hand")?, Image::oci(platforms[0], "by hand")?];
        for (name, image) in ["index", "image"].into_iter().zip(made) {
            s.registry.push(&format!("team/app:foreign-{name}"), &image).await?;
            since();
            let mut foreign = spec.clone();
            foreign.name = format!("foreign-{name}");
            let target = s.registry.reference(&format!("team/app:foreign-{name}"));
            foreign.spec["target"]["image"] = json!(target);
            let object = s.apply_until(&foreign, "True/Succeeded").await?;
            let seen = since();
            at_most(2 * n + 4, &format!("a foreign tag of an {name}"), &seen);
            assert_eq!(puts(&seen), 1, "{seen:?}");
            assert_eq!(object.platforms(), platforms);
        }
        Ok(())
    })
    .await
}

fn at_most(limit: usize, what: &str, seen: &[Seen]) {
    assert!(seen.len() <= limit, "{what}: {} requests, more than {limit}: {seen:#?}", seen.len());
}

fn puts(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.method == "PUT").count()
}

//! A release of the operator is published by the operator: of one commit, for each platform, under a tag that is written once.

use anyhow::Result;
use multiarch_e2e::{
    images::Image, peers, registry::CI, release::Release, scenario::scenario_with_password,
};
use serde_json::json;

const PLATFORMS: [&str; 6] =
    ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/riscv64", "linux/s390x"];

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_of_one_commit_for_every_platform() -> Result<()> {
    scenario_with_password(async |s| {
        let mut words = vec![s.registry.reference("operator:0.1.0")];
        let push = async |platform: &str, revision: &str| {
            let tag = format!("operator:0.1.0-{}", platform.replace('/', "-"));
            let labels = json!({
                "org.opencontainers.image.revision": revision,
                "org.opencontainers.image.version": "0.1.0",
            });
            s.registry.push(&tag, &Image::labelled(platform, labels)?).await?;
            anyhow::Ok(format!("{platform}={}", s.registry.reference(&tag)))
        };
        for platform in PLATFORMS {
            words.push(push(platform, "new").await?);
        }
        // What a job leaves that built the commit before.
        push("linux/s390x", "old").await?;
        let auths =
            json!({"auths": {(s.registry.host()): {"username": CI.user, "password": CI.password}}});
        let mut release = Release::parse(words, Some(auths.to_string()))?;
        release.registries = json!([{"host": s.registry.host(), "plainHTTP": true}]);
        let refused = release.publish(&s.client, &s.namespace.name).await;
        let refused = format!("{:#}", refused.expect_err("two commits were released as one"));
        assert!(refused.contains("WaitingForMatch") && refused.contains("old"), "{refused}");
        assert_eq!(s.registry.digest("operator:0.1.0").await?, None);

        push("linux/s390x", "new").await?;
        s.request("release").await?;
        let published = release.publish(&s.client, &s.namespace.name).await?;
        let read = peers::is_whole(&s.registry, "operator:0.1.0").await?;
        assert!(published.ends_with(&format!("@{}", read.digest)), "{published}");
        assert_eq!(read.listed()?.len(), PLATFORMS.len());
        Ok(())
    })
    .await
}

#[test]
fn words_that_name_no_release_are_refused() {
    let refused = |words: &[&str]| {
        let words = words.iter().map(ToString::to_string);
        Release::parse(words, None).expect_err("a release").to_string()
    };
    assert!(refused(&[]).contains("usage"));
    assert!(refused(&["host/app:1"]).contains("no image is named"));
    assert!(refused(&["host/app:1", "host/app:1-amd64"]).contains("is not PLATFORM=IMAGE"));
}

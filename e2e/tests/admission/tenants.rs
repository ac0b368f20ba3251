//! What an object that has not proven that it may push says of an image binds the Pods of its own namespace, and no others.

use anyhow::Result;
use serde_json::json;

use crate::{
    ask::{Ask, Verdict, pod},
    entries::{Entry, key, key_within},
    stage::Stage,
};

const NGINX: &str = "docker.io/library/nginx:1";
const APP: &str = "registry.example.com/team/app:1";
const SERVED: &str = "registry.example.com/team/served:1";

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_tenant_gives_itself_binds_itself() -> Result<()> {
    let stage = Stage::new().await?;
    let other = stage.another().await?;
    let team = stage.team.name.as_str();
    let entries = [
        // A tenant names what is not its own.
        (key_within(NGINX, team), Entry::awaited("tenant/nginx", "linux/arm64")),
        // What is known for all decides, both ways.
        (key(APP), Entry::published("owner/app")),
        (key_within(APP, team), Entry::awaited("tenant/app", "linux/arm64")),
        (key(SERVED), Entry::awaited("owner/served", "linux/amd64")),
        (key_within(SERVED, team), Entry::published("tenant/served")),
    ];
    let entries = entries.into_iter().map(|(key, entry)| (key, entry.value())).collect();
    stage.map("0", &entries).await?;
    stage.install(&json!({"pods": "Deny"})).await?;
    stage.until_at_work(&["pods"]).await?;
    let of = async |namespace: &str, image: &str| {
        Ask::create(namespace, &pod("tried", image)).try_out(&stage.client).await
    };
    let words = |verdict: Verdict, words: &str| matches!(verdict, Verdict::Refused(said) if said.contains(words));
    assert!(words(of(team, "nginx:1").await?, "MultiArchImage tenant/nginx waits for linux/arm64"));
    assert_eq!(of(&other.name, "nginx:1").await?, Verdict::Passed);
    for namespace in [team, &other.name] {
        assert_eq!(of(namespace, APP).await?, Verdict::Passed);
        assert!(words(
            of(namespace, SERVED).await?,
            "MultiArchImage owner/served waits for linux/amd64"
        ));
    }
    other.delete().await?;
    stage.end().await
}

/// Nor is anybody else's image managed by that.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_says_manages_nobody_elses_image() -> Result<()> {
    let stage = Stage::new().await?;
    let other = stage.another().await?;
    let team = stage.team.name.as_str();
    let entries = [(key_within(NGINX, team), Entry::published("tenant/nginx").value())].into();
    stage.map("0", &entries).await?;
    stage.install(&json!({"pods": "Deny", "requireManaged": true})).await?;
    stage.until_pod("unmanaged:1", "is refused", |it| matches!(it, Verdict::Refused(_))).await?;
    assert_eq!(stage.pod("nginx:1").await?, Verdict::Passed);
    let refused = Ask::create(&other.name, &pod("tried", "nginx:1")).try_out(&stage.client).await?;
    let words = "image nginx:1 is of no MultiArchImage";
    assert!(matches!(&refused, Verdict::Refused(said) if said.contains(words)), "{refused:?}");
    other.delete().await?;
    stage.end().await
}

//! Of as many images as docs/admission.md says, all are judged, within what the API server lets an expression cost.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    ask::{Ask, Verdict, deployment, pod},
    entries::{Entries, Entry, key},
    stage::Stage,
};

const MANY: usize = 500;

fn image(number: usize) -> String {
    format!("registry.example.com/a-team-of-ours/of-many/application-{number}:1.0.{number}")
}

fn containers(images: impl Iterator<Item = usize>) -> Vec<Value> {
    images.map(|of| json!({"name": format!("of-{of}"), "image": image(of)})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_images_is_judged() -> Result<()> {
    let stage = Stage::new().await?;
    let team = stage.team.name.as_str();
    // The last one is not published.
    let mut entries: Entries =
        (1..MANY).map(|of| (key(&image(of)), Entry::published("team-a/of-many").value())).collect();
    entries.insert(key(&image(0)), Entry::awaited("team-a/late", "linux/arm64").value());
    stage.map("0", &entries).await?;
    stage.install(&json!({"pods": "Deny", "workloads": "Deny"})).await?;
    stage.until_at_work(&["pods", "workloads"]).await?;
    let words = format!("image {} is not published: MultiArchImage team-a/late", image(0));
    let refused = |verdict: Verdict| match &verdict {
        Verdict::Refused(said) if said.contains(&words) => {}
        _ => panic!("{verdict:?}"),
    };

    let mut many = pod("many", "");
    many["spec"]["containers"] = json!(containers((0..MANY).rev()));
    many["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": "arm64"});
    refused(Ask::create(team, &many).try_out(&stage.client).await?);
    // As many others before.
    let others = MANY..2 * MANY;
    let mut before = deployment("many", "");
    before["spec"]["template"]["spec"]["containers"] = json!(containers(others.clone()));
    assert_eq!(Ask::create(team, &before).done(&stage.client).await?, Verdict::Passed);
    let gone = others.map(|of| json!({"name": format!("of-{of}"), "$patch": "delete"}));
    let changed: Vec<_> = gone.chain(containers((0..MANY).rev())).collect();
    let change = json!({"spec": {"template": {"spec": {"containers": changed}}}});
    refused(Ask::patch(team, "Deployment", "many", change).try_out(&stage.client).await?);
    assert!(stage.checks("allow", None).await? < 0.5, "a policy failed open");
    stage.end().await
}

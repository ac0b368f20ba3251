//! The sample that pins tags, as it is; and that samples spell images as the chart does.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::workspace,
    namespace::Namespace,
    operator::NAMESPACE,
};
use serde_json::{Value, json};

use crate::{
    ask::{Ask, pod},
    entries::{Entries, Entry, NOW, key, key_within},
    stage::{Stage, map},
};

/// The text of a sample.
pub(crate) fn sample(name: &str) -> Result<String> {
    let path = workspace().join("examples").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
}

/// The variables of the first policy in `text` that are called as one of `names`.
fn variables(text: &str, names: &[&str]) -> Result<BTreeMap<String, String>> {
    for document in text.split("\n---") {
        let of: Value = serde_saphyr::from_str(document).unwrap_or_default();
        if let Some(all) = of["spec"]["variables"].as_array() {
            let word = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
            let all = all.iter().map(|of| (word(of, "name"), word(of, "expression")));
            return Ok(all.filter(|(name, _)| names.contains(&name.as_str())).collect());
        }
    }
    anyhow::bail!("no policy has variables")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_pinned_to_the_digest_that_it_names() -> Result<()> {
    let stage = Stage::new().await?;
    let text = sample("admission/pin-digest.yaml")?;
    // What it finds an image by is the chart's.
    let names = ["named", "hosted", "asked", "data"];
    let ours = variables(&stage.render(&json!({})).await?, &names)?;
    assert_eq!(ours.len(), names.len());
    assert_eq!(variables(&text, &names)?, ours);

    let team = Namespace::for_pods(&stage.client, &[("multiarch.dev/pin", "true")]).await?;
    let app = "registry.example.com/pin/app:1";
    let own = "registry.example.com/pin/own:1";
    let entries: Entries = [
        (key(app), Entry::published("team-a/app").value()),
        (key("docker.io/library/pinned:latest"), Entry::published("team-a/pinned").value()),
        (key("registry.example.com/pin/late:1"), Entry::awaited("team-a/late", "").value()),
        (key_within(own, &team.name), Entry::published("tenant/own").value()),
    ]
    .into();
    let map = map(NAMESPACE, "pin", ["", ""], &entries);
    stage.cluster.apply_text(&map.to_string()).await?;
    stage.cluster.apply_text(&text).await?;
    let images = async |namespace: &str, images: &[&str]| {
        let mut of = pod("tried", images[0]);
        let container = |(number, image): (usize, &&str)| json!({"name": format!("of-{number}"), "image": image});
        of["spec"]["containers"] = images.iter().enumerate().map(container).collect();
        of["spec"]["initContainers"] = json!([{"name": "first", "image": images[0]}, {"name": "second", "image": "unmanaged:1"}]);
        let stored = Ask::create(namespace, &of).would_be(&stage.client).await?;
        let of = |field: &str| {
            let all = stored["spec"][field].as_array().into_iter().flatten();
            all.map(|of| of["image"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        anyhow::Ok([of("initContainers"), of("containers")].concat())
    };
    let at_work = async || {
        let pinned = images(&team.name, &[app]).await?;
        Ok((pinned[0] != app).then_some(()))
    };
    await_some("the policy pins", SOON, at_work).await?;
    let pinned = |image: &str| format!("{image}@{NOW}");
    let late = "registry.example.com/pin/late:1";
    let already = format!("{app}@{}", crate::entries::BEFORE);
    let odd = "Registry.example.com:443/pin/app:1";
    let said =
        images(&team.name, &[app, "pinned", odd, late, "unmanaged:1", &already, app, own]).await?;
    let expected = [
        &pinned(app),
        "unmanaged:1",
        &pinned(app),
        &pinned("pinned"),
        &pinned(odd),
        late,
        "unmanaged:1",
        &already,
        &pinned(app),
        &pinned(own),
    ];
    assert_eq!(said, expected);
    // Elsewhere nothing is touched.
    assert_eq!(images(&stage.team.name, &[app]).await?, [app, "unmanaged:1", app]);
    // The policy stays: with the last of its kind the API server might end its watch of ConfigMaps, for all others as well.
    let delete = ["delete", "configmap", "multiarch-coverage-pin", "--namespace", NAMESPACE];
    stage.cluster.kubectl(delete).await?;
    team.delete().await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_for_kyverno_spells_images_as_the_chart_does() -> Result<()> {
    let stage = Stage::new().await?;
    let ours = variables(&stage.render(&json!({})).await?, &["hosted"])?;
    assert_eq!(ours.len(), 1);
    assert_eq!(variables(&sample("kyverno/policy.yaml")?, &["hosted"])?, ours);
    stage.home.delete().await?;
    stage.team.delete().await
}

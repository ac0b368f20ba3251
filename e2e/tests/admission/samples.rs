//! The samples of examples/admission, as they are.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::workspace,
    operator::NAMESPACE,
};
use serde_json::{Value, json};

use crate::{
    ask::{Ask, Verdict, pod},
    entries::{Entries, Entry, NOW, key, key_within},
    stage::{Stage, map, namespace},
};

fn sample(name: &str) -> Result<String> {
    let path = workspace().join("examples/admission").join(name);
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
    let text = sample("pin-digest.yaml")?;
    // What it finds an image by is the chart's.
    let names = ["named", "hosted", "asked", "data"];
    let ours = variables(&stage.render(&json!({})).await?, &names)?;
    assert_eq!(ours.len(), names.len());
    assert_eq!(variables(&text, &names)?, ours);

    let team = namespace(&stage.cluster, &stage.client, &[("multiarch.dev/pin", "true")]).await?;
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
async fn pods_are_held_to_the_objects_of_their_namespace() -> Result<()> {
    let stage = Stage::new().await?;
    let gate = [("multiarch.dev/gate", "true")];
    let team = namespace(&stage.cluster, &stage.client, &gate).await?;
    let other = namespace(&stage.cluster, &stage.client, &gate).await?;
    let objects: Api<MultiArchImage> = Api::namespaced(stage.client.clone(), &team.name);
    for (name, conditions, missing) in [
        ("published", ["True", "True"], json!([])),
        ("incomplete", ["True", "False"], json!(["linux/arm64"])),
        ("late", ["False", "False"], json!(["linux/amd64", "linux/arm64"])),
    ] {
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage", "metadata": {"name": name},
            "spec": {
                "target": {"image": format!("registry.example.com/cr/{name}:1"), "additionalTags": ["latest"]},
                "sources": [{"name": "amd64", "image": format!("registry.example.com/cr/{name}:1-amd64")}],
            },
        });
        objects.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        let condition = |kind: &str, status: &str| {
            json!({
                "type": kind, "status": status, "reason": "Tried", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let status = json!({"status": {
            "conditions": [condition("Published", conditions[0]), condition("PlatformsComplete", conditions[1])],
            "coverage": {"required": 2, "covered": 1, "published": 1, "missing": missing, "summary": "1/2"},
        }});
        objects.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    }
    stage.cluster.apply_text(&sample("cr-param.yaml")?).await?;
    let of = async |namespace: &str, image: &str| {
        Ask::create(namespace, &pod("tried", image)).try_out(&stage.client).await
    };
    let late = "registry.example.com/cr/late:1";
    let refused =
        async || Ok(matches!(of(&team.name, late).await?, Verdict::Refused(_)).then_some(()));
    await_some("the policy refuses", SOON, refused).await?;
    let owner = |name: &str| format!("MultiArchImage {}/{name} lacks", team.name);
    for (image, words) in [
        (
            late,
            ["is not Published, not PlatformsComplete", &owner("late"), "linux/amd64,linux/arm64"],
        ),
        (
            "REGISTRY.example.com:443/cr/late",
            ["is not Published", &owner("late"), "linux/amd64,linux/arm64"],
        ),
        (
            "registry.example.com/cr/incomplete:1",
            ["is not PlatformsComplete", &owner("incomplete"), "linux/arm64"],
        ),
    ] {
        let verdict = of(&team.name, image).await?;
        let Verdict::Refused(said) = &verdict else { panic!("{image}: {verdict:?}") };
        assert!(said.contains(&format!("image {image} ")), "{said}");
        assert!(words.iter().all(|words| said.contains(words)), "{said}");
    }
    for image in
        ["registry.example.com/cr/published:1", "registry.example.com/cr/late:2", "unmanaged:1"]
    {
        assert_eq!(of(&team.name, image).await?, Verdict::Passed, "{image}");
    }
    // Another namespace has no say, and is not bound.
    assert_eq!(of(&other.name, late).await?, Verdict::Passed);
    let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
    stage.cluster.kubectl(["delete", kinds, "cr-param.multiarch.dev"]).await?;
    team.delete().await?;
    other.delete().await?;
    stage.end().await
}

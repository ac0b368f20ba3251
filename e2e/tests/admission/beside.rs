//! The sample that reads no maps, as it is: Pods and the MultiArchImages beside them.

use anyhow::Result;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    namespace::Namespace,
};
use serde_json::{Value, json};

use crate::{
    ask::{Ask, Verdict, pod},
    entries::NOW,
    samples::sample,
    stage::Stage,
};

const LATE: &str = "registry.example.com/cr/late:1";

/// The repository `name` of the objects.
fn at(name: &str) -> String {
    format!("registry.example.com/cr/{name}")
}

/// An object that asks for `spec` and `latest`, and what was published last: its repository and its tag, and the two conditions.
struct Object {
    name: &'static str,
    spec: &'static str,
    published: Option<[&'static str; 2]>,
    complete: bool,
    missing: &'static [&'static str],
}

fn objects() -> Vec<Object> {
    let of = |name, spec, published, complete, missing| Object {
        name,
        spec,
        published,
        complete,
        missing,
    };
    let both: &[&str] = &["linux/amd64", "linux/arm64"];
    vec![
        of("published", "published:1", Some(["published", "1"]), true, &[]),
        of("incomplete", "incomplete:1", Some(["incomplete", "1"]), false, &["linux/arm64"]),
        of("late", "late:1", None, false, both),
        // Edited since: its conditions speak of what was published before.
        of("raised", "raised:2", Some(["raised", "1"]), true, &["linux/arm64"]),
        of("part", "part:2", Some(["part", "1"]), false, &["linux/arm64"]),
        of("moved", "moved-here:1", Some(["moved", "1"]), true, &[]),
    ]
}

impl Object {
    async fn create(&self, api: &Api<MultiArchImage>) -> Result<()> {
        let object = json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage", "metadata": {"name": self.name},
            "spec": {
                "target": {"image": at(self.spec), "additionalTags": ["latest"]},
                "sources": [{"name": "amd64", "image": format!("{}-amd64", at(self.spec))}],
            },
        });
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        let condition = |kind: &str, is: bool| {
            json!({
                "type": kind, "status": if is { "True" } else { "False" }, "reason": "Tried", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let mut status = json!({
            "conditions": [
                condition("Published", self.published.is_some()),
                condition("PlatformsComplete", self.complete),
            ],
            "coverage": {"required": 2, "covered": 1, "published": 1, "missing": self.missing, "summary": "1/2"},
        });
        if let Some([repository, tag]) = self.published {
            status["repository"] = json!(at(repository));
            status["reference"] = json!(format!("{}:{tag}@{NOW}", at(repository)));
            status["tags"] = json!([tag, "latest", "1-amd64"]);
        }
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_held_to_the_objects_of_their_namespace() -> Result<()> {
    let stage = Stage::new().await?;
    let gate = [("multiarch.dev/gate", "true")];
    let team = Namespace::for_pods(&stage.client, &gate).await?;
    let other = Namespace::for_pods(&stage.client, &gate).await?;
    let api: Api<MultiArchImage> = Api::namespaced(stage.client.clone(), &team.name);
    for object in objects() {
        object.create(&api).await?;
    }
    // What is there before the policy.
    let mut going = pod("going", LATE);
    going["metadata"]["finalizers"] = json!(["e2e.multiarch.dev/stays"]);
    for object in [pod("plain", "unmanaged:1"), pod("running", LATE), going] {
        Ask::create(&team.name, &object).done(&stage.client).await?;
    }
    Ask::delete(&team.name, "Pod", "going").done(&stage.client).await?;
    stage.cluster.apply_text(&sample("admission/cr-param.yaml")?).await?;
    let of = async |namespace: &str, image: &str| {
        Ask::create(namespace, &pod("tried", image)).try_out(&stage.client).await
    };
    let refused =
        async || Ok(matches!(of(&team.name, LATE).await?, Verdict::Refused(_)).then_some(()));
    await_some("the policy refuses", SOON, refused).await?;

    let both = "linux/amd64,linux/arm64";
    for (image, name, words) in [
        ("late:1", "late", ["is not Published: ", both]),
        ("late", "late", ["is not Published: ", both]),
        ("incomplete:1", "incomplete", ["is not PlatformsComplete: ", "linux/arm64"]),
        ("incomplete", "incomplete", ["is not PlatformsComplete: ", "linux/arm64"]),
        ("raised:2", "raised", ["is not Published: ", "linux/arm64"]),
        ("part:1", "part", ["is not PlatformsComplete: ", "linux/arm64"]),
        ("part:2", "part", ["is not Published: ", "linux/arm64"]),
        ("moved-here:1", "moved", ["is not Published: ", ""]),
        ("moved-here", "moved", ["is not Published: ", ""]),
    ] {
        let odd = at(image).replace("registry.example.com", "REGISTRY.example.com:443");
        for image in [at(image), odd] {
            let verdict = of(&team.name, &image).await?;
            let Verdict::Refused(said) = &verdict else { panic!("{image}: {verdict:?}") };
            assert!(said.contains(&format!("image {image} ")), "{said}");
            assert!(said.contains(&format!("MultiArchImage {}/{name} lacks", team.name)), "{said}");
            assert!(words.iter().all(|words| said.contains(words)), "{image}: {said}");
        }
    }
    for image in [
        "published:1",
        "published",
        "raised:1",
        "raised",
        "moved:1",
        "late:2",
        "incomplete:1-amd64",
        "unmanaged:1",
    ] {
        assert_eq!(of(&team.name, &at(image)).await?, Verdict::Passed, "{image}");
    }
    // Another namespace has no say, and is not bound.
    assert_eq!(of(&other.name, LATE).await?, Verdict::Passed);
    brought(&stage, &team.name).await?;
    let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
    stage.cluster.kubectl(["delete", kinds, "cr-param.multiarch.dev"]).await?;
    team.delete().await?;
    other.delete().await?;
    stage.end().await
}

/// Whatever brings an image in is refused, and nothing else is.
async fn brought(stage: &Stage, team: &str) -> Result<()> {
    let with = |field: &str, value: Value| {
        let mut of = pod("tried", "unmanaged:1");
        of["spec"][field] = value;
        Ask::create(team, &of)
    };
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": LATE}]}});
    let image = json!({"spec": {"containers": [{"name": "main", "image": LATE}]}});
    for (what, ask) in [
        ("initContainer", with("initContainers", json!([{"name": "first", "image": LATE}]))),
        ("volume", with("volumes", json!([{"name": "files", "image": {"reference": LATE}}]))),
        ("ephemeral", Ask::patch(team, "Pod", "plain/ephemeralcontainers", debug)),
        ("set image", Ask::patch(team, "Pod", "plain", image)),
    ] {
        let verdict = ask.try_out(&stage.client).await?;
        assert!(matches!(verdict, Verdict::Refused(_)), "{what}: {verdict:?}");
    }
    let mut mirror = pod("tried", LATE);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = json!("node");
    let label = json!({"metadata": {"labels": {"new": "label"}}});
    let none = json!({"metadata": {"finalizers": null}});
    for (what, ask) in [
        ("mirror", Ask::create(team, &mirror)),
        ("label", Ask::patch(team, "Pod", "running", label)),
        ("finalizer", Ask::patch(team, "Pod", "going", none)),
    ] {
        assert_eq!(ask.try_out(&stage.client).await?, Verdict::Passed, "{what}");
    }
    Ok(())
}

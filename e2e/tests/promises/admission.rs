//! A spec that cannot be right is refused at apply, by a sentence that says what to write instead.

use anyhow::{Context, Result};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{cluster::Cluster, namespace::Namespace};
use serde_json::{Value, json};

fn good() -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1",
        "kind": "MultiArchImage",
        "metadata": {"name": "app"},
        "spec": {
            "target": {"image": "registry.example.com/team/app:1.0"},
            "sources": [
                {"name": "amd64", "image": "registry.example.com/team/app:1.0-amd64", "platforms": ["linux/amd64"]},
                {"name": "arm64", "image": "registry.example.com/team/app:1.0-arm64", "platforms": ["linux/arm64"]},
            ],
        },
    })
}

/// Where it is wrong, what stands there, and words of the sentence.
fn bad() -> Vec<(&'static str, Value, &'static [&'static str])> {
    let digest = format!("registry.example.com/team/app@sha256:{}", "0".repeat(64));
    let many: Vec<_> =
        (0..65).map(|n| json!({"name": format!("s{n}"), "image": "r.example.com/a:b"})).collect();
    vec![
        (
            "/spec/target/image",
            json!("nginx:1.27"),
            &["registry's host", "docker.io/library/nginx:1.27"],
        ),
        ("/spec/target/image", json!("https://registry.example.com/app:1"), &["scheme"]),
        ("/spec/target/image", json!("index.docker.io/library/nginx:1"), &["docker.io/"]),
        ("/spec/target/image", json!("registry.example.com:443/app:1"), &[":443", "default port"]),
        ("/spec/target/image", json!("registry.example.com/Team/app:1"), &["lower case"]),
        ("/spec/target/image", json!("registry.example.com/team/app"), &["tag"]),
        ("/spec/target/image", json!(digest), &["without digest"]),
        // A user and a password are for a Secret.
        (
            "/spec/target/image",
            json!("user:hunter2@registry.example.com/team/app:1"),
            &["without digest"],
        ),
        (
            "/spec/sources/0/image",
            json!("user:hunter2@registry.example.com/team/app:1"),
            &["64 hex digits"],
        ),
        (
            "/spec/target/image",
            json!("registry.example.com/team/app:{tag}"),
            &["not an image reference"],
        ),
        (
            "/spec/target/image",
            json!(format!("registry.example.com/{}:1", "a".repeat(200))),
            &["180"],
        ),
        ("/spec/sources", json!([]), &["at least 1"]),
        ("/spec/sources", json!(many), &["64"]),
        ("/spec/sources/0/name", json!("AMD64"), &["a-z"]),
        ("/spec/sources/0/name", json!("arm64"), &["Duplicate value"]),
        ("/spec/sources/0/image", json!("registry.example.com/team/app"), &["tag or a digest"]),
        (
            "/spec/sources/0/image",
            json!("registry.example.com/team/app@sha256:abc"),
            &["64 hex digits"],
        ),
        (
            "/spec/sources/0/image",
            json!("registry.example.com/team/app:1.0"),
            &["amd64", "removalPolicy: Retain"],
        ),
        (
            "/spec/sources/0/platforms",
            json!(["amd64"]),
            &["\"amd64\": not a platform", "linux/amd64"],
        ),
        (
            "/spec/sources/0/platforms",
            json!(["linux/arm64"]),
            &["sources amd64 and arm64 both declare linux/arm64"],
        ),
        ("/spec/sources/0/platforms", json!(["linux/amd64", "linux/amd64"]), &["Duplicate value"]),
        ("/spec/sources/0/platformPolicy", json!("Believe"), &["Verify", "Trust"]),
        (
            "/spec/sources/0",
            json!({"name": "a", "image": "r.example.com/a:b", "platformPolicy": "Trust"}),
            &["Trust", "exactly one"],
        ),
        (
            "/spec/sources",
            json!([{"name": "a", "image": "r.example.com/a:b", "optional": true}]),
            &["at least one source must not be optional"],
        ),
        ("/spec/sources/0/secretRef", json!({"name": "other/push"}), &["same namespace"]),
        ("/spec/target/provider", json!("ECR"), &["Kubelet"]),
        (
            "/spec/sources/0",
            json!({"name": "a", "image": "r.example.com/a:b", "provider": "Kubelet", "secretRef": {"name": "pull"}}),
            &["leave out provider or secretRef"],
        ),
        (
            "/spec/target/secretRef",
            json!({"name": "../../other/secrets/push"}),
            &["same namespace"],
        ),
        ("/spec/serviceAccountName", json!("../../other/serviceaccounts/x"), &["same namespace"]),
        ("/spec/requiredPlatforms", json!(["linux"]), &["\"linux\": not a platform"]),
        ("/spec/publishPolicy", json!("Sometimes"), &["Complete", "Partial"]),
        ("/spec/removalPolicy", json!("Maybe"), &["Refuse", "Retain", "Remove"]),
        (
            "/spec/registries",
            json!([{"host": "http://registry.local:5000/v2"}]),
            &["write the host", "registry.local:5000"],
        ),
        ("/spec/interval", json!("5s"), &["at least 30s", "multiarch.dev/requestedAt"]),
        ("/spec/interval", json!("soon"), &["duration"]),
        ("/spec/timeout", json!("5s"), &["between 10s and 24h"]),
        ("/spec/timeout", json!("25h"), &["between 10s and 24h"]),
        ("/spec/annotations", json!({"": "x"}), &["1 to 256 characters"]),
    ]
}

/// Sets what `field` (a JSON pointer) points to.
fn set(object: &mut Value, field: &str, value: Value) -> Result<()> {
    let (parent, key) = field.rsplit_once('/').context("no pointer")?;
    let parent = object.pointer_mut(parent).with_context(|| format!("there is no {parent}"))?;
    match key.parse::<usize>() {
        Ok(number) => parent[number] = value,
        Err(_) => parent[key] = value,
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_spec_gets_a_useful_sentence() -> Result<()> {
    let client = Cluster::shared().await?.client().await?;
    let namespace = Namespace::create(&client).await?;
    let kind = ApiResource::erase::<MultiArchImage>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace.name, &kind);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &serde_json::from_value(good())?).await.context("the good one was refused")?;
    let mut wrong = Vec::new();
    for (field, value, words) in bad() {
        let mut object = good();
        set(&mut object, field, value.clone())?;
        match api.create(&dry, &serde_json::from_value(object)?).await {
            Ok(_) => wrong.push(format!("{field}: {value} was taken")),
            Err(error) => {
                let said = error.to_string();
                wrong.extend(
                    words
                        .iter()
                        .filter(|word| !said.contains(*word))
                        .map(|word| format!("{field}: {value}: no \"{word}\" in: {said}")),
                );
            }
        }
    }
    namespace.delete().await?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_change_its_tag_and_not_its_repository() -> Result<()> {
    let client = Cluster::shared().await?.client().await?;
    let namespace = Namespace::create(&client).await?;
    let api: Api<MultiArchImage> = Api::namespaced(client, &namespace.name);
    let created = api.create(&PostParams::default(), &serde_json::from_value(good())?).await?;
    // Nobody may take a new object for a finished one.
    assert_eq!(created.status.and_then(|status| status.observed_generation), Some(-1));
    let by_target =
        ListParams::default().fields("spec.target.image=registry.example.com/team/app:1.0");
    assert_eq!(api.list(&by_target).await?.items.len(), 1, "found by its target");

    let to = |image: &str| Patch::Merge(json!({"spec": {"target": {"image": image}}}));
    let same = PatchParams::default();
    api.patch("app", &same, &to("registry.example.com/team/app:1.1"))
        .await
        .context("another tag")?;
    for other in ["registry.example.com/team/app2:1.1", "other.example.com/team/app:1.1"] {
        let refused = api
            .patch("app", &same, &to(other))
            .await
            .err()
            .context("another repository was taken")?;
        assert!(refused.to_string().contains("create another MultiArchImage"), "{refused}");
    }
    namespace.delete().await
}

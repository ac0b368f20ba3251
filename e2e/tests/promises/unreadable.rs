//! An object that does not deserialise (its CRD is another version's) is told so in its own status, and never stops the others.

use anyhow::{Context, Result};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_condition, await_some},
    scenario::scenario_on_a_cluster_of_its_own,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_and_the_others_go_on() -> Result<()> {
    scenario_on_a_cluster_of_its_own(async |s| {
        take_anything(s).await?;
        // One that nobody can read is there before the operator looks for the first time.
        apply_broken(s, "broken-before").await?;
        s.operator.kill_and_restart().await?;
        apply_broken(s, "broken-after").await?;
        s.push("app:1", &["linux/amd64"]).await?;
        s.apply(&s.spec("app", "app:1", &["linux/amd64"])).await?;

        ready_is(s, "app", "True", "Succeeded").await?;
        for name in ["broken-before", "broken-after"] {
            let told = ready_is(s, name, "False", "InvalidSpec").await?;
            let stalled = condition(&told, "Stalled").context("not stalled")?;
            assert_eq!(stalled["status"], "True");
            let message = condition(&told, "Ready")
                .map(|ready| ready["message"].to_string())
                .unwrap_or_default();
            assert!(message.contains("all of them"), "{message}");
        }

        // Mended, it is worked on at once.
        s.push("mended:1", &["linux/amd64"]).await?;
        let mut mended = s.spec("broken-after", "mended:1", &["linux/amd64"]);
        mended.name = "broken-after".into();
        s.apply(&mended).await?;
        let mended = ready_is(s, "broken-after", "True", "Succeeded").await?;
        assert!(condition(&mended, "Stalled").is_none());
        Ok(())
    })
    .await
}

/// Takes the schema out of the CRD, and waits until the API server goes by that.
async fn take_anything(s: &Scenario) -> Result<()> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([
        {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema},
        {"op": "remove", "path": "/spec/versions/0/selectableFields"},
    ]);
    let crd = "crd/multiarchimages.multiarch.dev";
    s.cluster.kubectl(["patch", crd, "--type=json", "--patch", &patch.to_string()]).await?;
    let taken = async || {
        let parameters = PatchParams { dry_run: true, ..PatchParams::apply("e2e") };
        let probe = objects(s).patch("probe", &parameters, &Patch::Apply(broken("probe"))).await;
        // Refused means: not yet.
        Ok(probe.ok())
    };
    await_some("the API server takes anything", SOON, taken).await.map(drop)
}

async fn apply_broken(s: &Scenario, name: &str) -> Result<()> {
    let applied = objects(s)
        .patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(broken(name)))
        .await;
    applied.with_context(|| format!("failed to apply {name}")).map(drop)
}

fn broken(name: &str) -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1",
        "kind": "MultiArchImage",
        "metadata": {"name": name},
        "spec": {"target": {"image": "registry.example.com/app:1"}, "sources": "all of them"},
    })
}

fn objects(s: &Scenario) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<MultiArchImage>(&());
    Api::namespaced_with(s.client.clone(), &s.namespace.name, &kind)
}

async fn ready_is(s: &Scenario, name: &str, status: &str, reason: &str) -> Result<DynamicObject> {
    let is = |object: &DynamicObject| {
        let ready = condition(object, "Ready");
        ready.is_some_and(|ready| ready["status"] == *status && ready["reason"] == *reason)
    };
    await_condition(&objects(s), name, &format!("Ready is {status}/{reason}"), SOON, is).await
}

fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    let conditions = object.data.get("status")?.get("conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == *kind)
}

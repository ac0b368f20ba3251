//! When an object with deletionPolicy Delete is deleted, its tags go with it; images, and tags that something else has moved, stay.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::DeleteParams};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    images::Image,
    proxy::Answer,
    registry::CI,
    scenario,
    scenario::{Scenario, scenario_of_two_registries, scenario_with_password},
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const SKIPPED: &str = "DeleteSkipped";

fn spec(s: &Scenario, policy: &str) -> Spec {
    let mut spec = s.spec("app", "app:1", &BOTH).with("deletionPolicy", policy);
    spec.spec["target"]["additionalTags"] = json!(["latest"]);
    spec.spec["target"]["platformTags"] = json!("{tag}.{arch}");
    spec
}

async fn delete(s: &Scenario) -> Result<()> {
    s.images().delete("app", &DeleteParams::default()).await?;
    await_gone(s).await
}

async fn await_gone(s: &Scenario) -> Result<()> {
    await_some("app to be gone", SOON, async || {
        Ok(s.images().get_opt("app").await?.is_none().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_tags_go_and_nothing_else() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let app = s.apply_until(&spec(s, "Delete"), "True/Succeeded").await?;
        assert_eq!(app.metadata.finalizers, Some(vec!["multiarch.dev/tags".into()]));
        let status = app.status.as_ref().context("a status")?;
        assert_eq!(status.tags, ["1", "latest", "1.amd64", "1.arm64"]);
        // Somebody else takes one of the tags.
        s.registry
            .push("app:latest", &multiarch_e2e::images::Image::oci("linux/amd64", "foreign")?)
            .await?;
        let foreign = s.registry.digest("app:latest").await?;

        delete(s).await?;
        for tag in ["1", "1.amd64", "1.arm64"] {
            assert_eq!(s.registry.digest(&format!("app:{tag}")).await?, None, "{tag}");
        }
        assert_eq!(s.registry.digest("app:latest").await?, foreign);
        assert!(s.registry.digest("app:1-amd64").await?.is_some(), "a source");
        let by_digest = s.registry.digest(&format!("app@{}", app.digest())).await?;
        assert_eq!(by_digest.as_deref(), Some(app.digest()), "the index itself stays");
        assert_eq!(s.told(SKIPPED).await?, None);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_orphan_they_stay() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.apply_until(&spec(s, "Delete"), "True/Succeeded").await?;
        let app = s.apply_until(&spec(s, "Orphan"), "True/Succeeded").await?;
        assert_eq!(app.metadata.finalizers, None, "the finalizer goes with the policy");
        delete(s).await?;
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(app.digest()));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_object_s_tags_go_too() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.apply_until(&spec(s, "Delete"), "True/Succeeded").await?;
        s.apply_until(&spec(s, "Delete").with("suspend", true), "True/Suspended").await?;
        delete(s).await?;
        assert_eq!(s.registry.digest("app:1").await?, None);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_deletes_nothing_holds_nobody() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.apply_until(&spec(s, "Delete"), "True/Succeeded").await?;
        s.registry.proxy.answer("DELETE", "/app/manifests/", Answer::Status(405, vec![]));
        delete(s).await?;
        let note = await_some("an Event", SOON, async || s.told(SKIPPED).await).await?;
        assert!(note.contains(&s.registry.reference("app:1")), "{note}");
        assert!(note.contains("405") && note.contains("3 more tags stay"), "{note}");
        let asked = s.registry.proxy.seen_of("/app/manifests/");
        let tries = asked.iter().filter(|seen| seen.method == "DELETE").count();
        assert_eq!(tries, 4, "each tag once: {asked:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_gets_three_tries() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        let mut spec = spec(s, "Delete");
        spec.spec["target"]["additionalTags"] = json!([]);
        spec.spec["target"]["platformTags"] = json!(null);
        s.apply_until(&spec, "True/Succeeded").await?;
        s.registry.proxy.answer("DELETE", "/app/manifests/1", Answer::Status(503, vec![]));
        s.registry.proxy.forget();
        s.images().delete("app", &DeleteParams::default()).await?;
        let note = await_some("an Event", 2 * SOON, async || s.told(SKIPPED).await).await?;
        assert!(note.contains("503"), "{note}");
        let tries = s.registry.proxy.seen().iter().filter(|seen| seen.method == "DELETE").count();
        assert_eq!(tries, 3);
        await_gone(s).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_goes_waits_for_no_registry() -> Result<()> {
    scenario(async |s| {
        s.push("app:1", &BOTH).await?;
        s.apply_until(&spec(s, "Delete"), "True/Succeeded").await?;
        s.registry.proxy.answer("DELETE", "/app/manifests/", Answer::Status(503, vec![]));
        s.registry.proxy.forget();
        s.namespace.delete().await?;
        await_gone(s).await?;
        let tries = s.registry.proxy.seen().iter().filter(|seen| seen.method == "DELETE").count();
        assert_eq!(tries, 4, "each tag once");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_gone_holds_nobody() -> Result<()> {
    scenario_with_password(async |s| {
        s.push("app:1", &BOTH).await?;
        s.apply_secret("push", CI.password).await?;
        let mut spec = spec(s, "Delete");
        spec.spec["target"]["secretRef"] = json!({"name": "push"});
        let app = s.apply_until(&spec, "True/Succeeded").await?;
        let secrets: Api<Secret> = Api::namespaced(s.client.clone(), &s.namespace.name);
        secrets.delete("push", &DeleteParams::default()).await?;
        s.images().delete("app", &DeleteParams::default()).await?;
        let note = await_some("an Event", 2 * SOON, async || s.told(SKIPPED).await).await?;
        assert!(note.contains("Secret push"), "{note}");
        await_gone(s).await?;
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(app.digest()));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_copy_of_what_is_deleted() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        elsewhere.push("ci/app:1", &Image::oci("linux/amd64", "app")?).await?;
        // Its registry takes no blob, and does not say so.
        s.registry.proxy.answer("POST", "/team/app/blobs/uploads/", Answer::Never);
        let spec = Spec::new(&s.registry, "app", "team/app:1").with("deletionPolicy", "Delete");
        let spec = spec.source_in(elsewhere, "amd64", "ci/app:1", &["linux/amd64"], json!({}));
        s.apply(&spec).await?;
        await_some("an upload", SOON, async || {
            Ok(s.registry.proxy.seen_of("/blobs/uploads/").first().map(drop))
        })
        .await?;
        delete(s).await?;
        assert_eq!(s.registry.digest("team/app:1").await?, None);
        Ok(())
    })
    .await
}

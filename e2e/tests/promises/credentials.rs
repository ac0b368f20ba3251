//! A credential that is refused is told by Secret and host, and a mended Secret is found at once by annotation or within one interval.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, api::PostParams};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    await_condition::await_condition,
    registry::CI,
    scenario::scenario_with_password,
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// The shortest interval, and what a busy machine may take to work on it.
const ONE_INTERVAL: Duration = Duration::from_secs(30 + 10);

fn spec(s: &Scenario) -> Spec {
    let mut spec = s.spec("app", "team/app:1", &BOTH).with("interval", "30s");
    spec.spec["target"]["secretRef"] = json!({"name": "push"});
    spec
}

async fn refused(s: &Scenario) -> Result<()> {
    s.push("team/app:1", &BOTH).await?;
    s.apply_secret("push", "wrong password").await?;
    let image = s.apply_until(&spec(s), "False/AuthenticationFailed").await?;
    for word in ["push", s.registry.host()] {
        assert!(image.message().contains(word), "{}", image.message());
    }
    assert!(!image.message().contains("wrong password"), "{}", image.message());
    assert!(!s.operator.logs()?.contains("wrong password"), "the log has the password");
    s.apply_secret("push", CI.password).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_secret_is_found_at_once_by_annotation() -> Result<()> {
    scenario_with_password(async |s| {
        refused(s).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "True/Succeeded");
        assert!(image.condition("Stalled").is_none());
        assert_eq!(s.registry.digest("team/app:1").await?.as_deref(), Some(image.digest()));
        assert!(!s.operator.logs()?.contains(CI.password), "the log has the password");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_secret_is_found_within_one_interval() -> Result<()> {
    scenario_with_password(async |s| {
        refused(s).await?;
        let ready = |image: &MultiArchImage| image.ready() == "True/Succeeded";
        await_condition(&s.images(), "app", "Ready is True", ONE_INTERVAL, ready).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_named() -> Result<()> {
    scenario_with_password(async |s| {
        s.push("team/app:1", &BOTH).await?;
        let image = s.apply_until(&spec(s), "False/SecretNotFound").await?;
        assert!(image.message().contains("push"), "{}", image.message());
        s.apply_secret("push", CI.password).await?;
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_secrets_read_and_never_push() -> Result<()> {
    scenario_with_password(async |s| {
        s.push("team/app:1", &BOTH).await?;
        s.apply_secret("pull", CI.password).await?;
        let spec =
            s.spec("app", "team/app:1", &BOTH).with("imagePullSecrets", json!([{"name": "pull"}]));
        let image = s.apply_until(&spec, "False/AuthenticationFailed").await?;
        assert!(image.is_true("SourcesResolved"), "{image:?}");
        assert!(image.message().contains(s.registry.host()), "{}", image.message());
        assert_eq!(s.registry.digest("team/app:1").await?, None);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_accounts_secrets_read_where_the_object_names_it() -> Result<()> {
    scenario_with_password(async |s| {
        s.push("team/app:1", &BOTH).await?;
        s.apply_secret("push", CI.password).await?;
        let account: ServiceAccount = serde_json::from_value(json!({
            "metadata": {"name": "builder"}, "imagePullSecrets": [{"name": "pull"}],
        }))?;
        let spec = spec(s).with("serviceAccountName", "builder");
        let image = s.apply_until(&spec, "False/SecretNotFound").await?;
        assert!(image.message().contains("ServiceAccount builder"), "{}", image.message());
        let accounts: Api<ServiceAccount> = Api::namespaced(s.client.clone(), &s.namespace.name);
        accounts.create(&PostParams::default(), &account).await?;
        let image = s.request("app").await?;
        assert_eq!(image.ready(), "False/SecretNotFound");
        assert!(image.message().contains("Secret pull"), "{}", image.message());
        s.apply_secret("pull", CI.password).await?;
        assert_eq!(s.request("app").await?.ready(), "True/Succeeded");
        Ok(())
    })
    .await
}

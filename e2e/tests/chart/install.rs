//! The life of a release on a real API server: what users have made outlives it.

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    charts::next_version,
    cluster::Cluster,
    helm::{Helm, Release},
};
use serde_json::{Value, json};

const NAME: &str = "multiarch-operator";
const SYSTEM: &str = "multiarch-system";

/// A cluster without anything of ours, and helm for it.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) helm: Helm,
}

pub(crate) async fn stage() -> Result<Stage> {
    let cluster = Cluster::start_bare().await?;
    let (client, helm) = (cluster.client().await?, Helm::of(cluster.kubeconfig())?);
    Ok(Stage { cluster, client, helm })
}

pub(crate) fn release(values: &Value) -> Release<'_> {
    Release { name: NAME, namespace: SYSTEM, values }
}

/// An object that a user has in `namespace`, which has been reported about.
pub(crate) async fn used(stage: &Stage, namespace: &str) -> Result<MultiArchImage> {
    stage.cluster.kubectl(["create", "namespace", namespace]).await?;
    let object = json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage", "metadata": {"name": "app"},
        "spec": {
            "target": {"image": "registry.example.com/team/app:1.0"},
            "sources": [{"name": "amd64", "image": "registry.example.com/team/app:1.0-amd64"}],
        },
    });
    let images: Api<MultiArchImage> = Api::namespaced(stage.client.clone(), namespace);
    let user = PatchParams::apply("user");
    let applied = async || Ok(images.patch("app", &user, &Patch::Apply(&object)).await.ok());
    // The kind has just been made.
    await_some("the API server takes the object", SOON, applied).await?;
    let status = json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "status": {"observedGeneration": 1},
    });
    let operator = PatchParams::apply("multiarch-operator");
    images.patch_status("app", &operator, &Patch::Apply(&status)).await.context("no status")
}

/// Nothing of it has changed, not even by a write that changes nothing.
pub(crate) async fn untouched(
    stage: &Stage,
    namespace: &str,
    before: &MultiArchImage,
) -> Result<()> {
    let images: Api<MultiArchImage> = Api::namespaced(stage.client.clone(), namespace);
    assert_eq!(&images.get("app").await.context("the object is gone")?, before);
    Ok(())
}

/// Whether the API server keeps the next version's field.
async fn knows_new(stage: &Stage) -> Result<bool> {
    let path =
        "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.new.type}";
    let crd = ["get", "crd", "multiarchimages.multiarch.dev", "--output", path];
    Ok(stage.cluster.kubectl(crd).await? == "string")
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_rollback_uninstall_and_reinstall_keep_what_users_have() -> Result<()> {
    let stage = stage().await?;
    let helm = &stage.helm;
    // A MultiArchImage cannot be of the release that brings its kind; nothing is left of the try.
    let own = json!({"extraObjects": [{
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage", "metadata": {"name": "own"}, "spec": {},
    }]});
    let said = helm.apply("install", release(&own), &["--create-namespace"]).await;
    let said = said.unwrap_err().to_string();
    assert!(said.contains("no matches for kind \"MultiArchImage\""), "{said}");

    let values = json!({"replicaCount": null});
    let notes = helm.apply("install", release(&values), &["--create-namespace"]).await?;
    assert!(notes.contains("helm test multiarch-operator --namespace multiarch-system"), "{notes}");
    let before = used(&stage, "team-a").await?;

    // Others write what the chart leaves to them: that is no conflict.
    let scale = ["scale", "deployment", NAME, "--namespace", SYSTEM, "--replicas=3"];
    stage.cluster.kubectl(scale).await?;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": NAME, "namespace": SYSTEM}, "spec": {"holderIdentity": "one"},
    });
    stage.cluster.apply_text(&lease.to_string()).await?;
    let values = json!({"replicaCount": null, "logLevel": "debug"});
    helm.apply("upgrade", release(&values), &[]).await?;
    untouched(&stage, "team-a", &before).await?;
    let path = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].args}";
    let get = ["get", "deployment", NAME, "--namespace", SYSTEM, "--output", path];
    let deployed = stage.cluster.kubectl(get).await?;
    assert!(deployed.starts_with("3 ") && deployed.contains("--log-level=debug"), "{deployed}");
    let lease = ["get", "lease", NAME, "--namespace", SYSTEM, "--output=name"];
    stage.cluster.kubectl(lease).await?;

    // A CRD that has changed comes with the upgrade, and goes with the rollback.
    let folder = tempfile::tempdir()?;
    let next = next_version(folder.path())?;
    used(&stage, "team-b").await?;
    helm.apply_of(&next, "upgrade", release(&values), &[]).await?;
    assert!(knows_new(&stage).await?);
    untouched(&stage, "team-a", &before).await?;
    let new = async |change: &str| {
        let how =
            ["--namespace", "team-b", "--type=merge", "--output=jsonpath={.spec.new}", "--patch"];
        let write = ["patch", "multiarchimage", "app"].into_iter().chain(how).chain([change]);
        stage.cluster.kubectl(write).await
    };
    let kept = async || Ok((new(r#"{"spec": {"new": "word"}}"#).await? == "word").then_some(()));
    await_some("the API server keeps the new field", SOON, kept).await?;
    helm.run(["rollback", NAME, "1", "--namespace", SYSTEM]).await?;
    assert!(!knows_new(&stage).await?);
    untouched(&stage, "team-a", &before).await?;
    // What the old one does not know goes with the next write, whatever that is for.
    let mut writes = 0..;
    let lost = async || {
        let number = writes.next().unwrap_or(0).to_string();
        let change = json!({"metadata": {"annotations": {"write": number}}});
        Ok(new(&change.to_string()).await?.is_empty().then_some(()))
    };
    await_some("the new field is lost", SOON, lost).await?;

    // The release goes, and what users have stays.
    let said = helm.run(["uninstall", NAME, "--namespace", SYSTEM]).await?;
    assert!(said.contains("CustomResourceDefinition") && said.contains("kept"), "{said}");
    untouched(&stage, "team-a", &before).await?;
    let left = [
        "get",
        "deployments,serviceaccounts,roles,services",
        "--namespace",
        SYSTEM,
        "--output=name",
    ];
    let left = stage.cluster.kubectl(left).await?;
    assert!(!left.contains(NAME), "{left}");
    // Its Lease is the operator's own.
    stage.cluster.kubectl(lease).await?;

    // A namespace with objects can be deleted while no operator runs.
    stage.cluster.kubectl(["delete", "namespace", "team-b", "--timeout=60s"]).await?;

    // The kept CRDs are this release's, by name and namespace; another one says so, and may take them.
    let other = Release { name: "other", namespace: SYSTEM, values: &json!({}) };
    let said = helm.apply("install", other, &[]).await.unwrap_err().to_string();
    assert!(
        said.contains("multiarchimages.multiarch.dev") && said.contains("release-name"),
        "{said}"
    );
    helm.apply("install", release(&json!({})), &[]).await?;
    untouched(&stage, "team-a", &before).await?;
    helm.run(["uninstall", NAME, "--namespace", SYSTEM]).await?;
    helm.apply("install", other, &["--take-ownership"]).await?;
    untouched(&stage, "team-a", &before).await
}

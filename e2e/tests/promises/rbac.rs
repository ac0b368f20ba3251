//! The role that users install lets the operator do what it must, and nothing more.

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use multiarch_e2e::{
    bin,
    cluster::Cluster,
    operator::{NAMESPACE, SERVICE_ACCOUNT},
};
use tokio::process::Command;

/// group, resource, subresource, and the verbs that are allowed.
const ALLOWED: [(&str, &str, &str, &[&str]); 9] = [
    // patch: for finalizers.
    ("multiarch.dev", "multiarchimages", "", &["get", "list", "watch", "patch"]),
    ("multiarch.dev", "multiarchimages", "status", &["patch"]),
    ("", "secrets", "", &["get"]),
    ("events.k8s.io", "events", "", &["create", "patch"]),
    ("", "namespaces", "", &["get"]),
    ("", "configmaps", "", &[]),
    ("", "pods", "", &[]),
    ("", "serviceaccounts", "token", &[]),
    ("rbac.authorization.k8s.io", "clusterroles", "", &[]),
];
const VERBS: [&str; 8] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_do_what_it_must_and_nothing_more() -> Result<()> {
    let client = Cluster::shared().await?.client().await?;
    for (group, resource, subresource, allowed) in ALLOWED {
        for verb in VERBS {
            let may = may(&client, group, resource, subresource, verb).await?;
            assert_eq!(may, allowed.contains(&verb), "{verb} {group}/{resource}/{subresource}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubeconfig_that_the_readme_makes_is_the_operators() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let made = Command::new(bin::workspace().join("hack/kubeconfig.sh"))
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("KUBECTL", bin::tool("kubectl")?)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{told}");
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("operator.kubeconfig");
    std::fs::write(&kubeconfig, made.stdout)?;
    let asked = Command::new(bin::tool("kubectl")?)
        .env("HOME", folder.path())
        .env("KUBECONFIG", &kubeconfig)
        .args(["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"])
        .output()
        .await?;
    let who = String::from_utf8(asked.stdout)?;
    assert_eq!(who, format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"));
    Ok(())
}

async fn may(
    client: &Client,
    group: &str,
    resource: &str,
    subresource: &str,
    verb: &str,
) -> Result<bool> {
    let attributes = ResourceAttributes {
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: (!subresource.is_empty()).then(|| subresource.into()),
        verb: Some(verb.into()),
        namespace: Some("default".into()),
        ..ResourceAttributes::default()
    };
    let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    let groups = [
        "system:authenticated",
        "system:serviceaccounts",
        &format!("system:serviceaccounts:{NAMESPACE}"),
    ];
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        user: Some(user),
        groups: Some(groups.map(ToOwned::to_owned).to_vec()),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.context("failed to ask")?;
    Ok(answer.status.context("a review without status")?.allowed)
}

//! The role that users install lets the operator do what it must, and nothing more.

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use multiarch_e2e::{
    cluster::Cluster,
    operator::{NAMESPACE, SERVICE_ACCOUNT},
};

/// group, resource, subresource, and the verbs that are allowed.
const ALLOWED: [(&str, &str, &str, &[&str]); 8] = [
    ("multiarch.dev", "multiarchimages", "", &["get", "list", "watch"]),
    ("multiarch.dev", "multiarchimages", "status", &["patch"]),
    ("", "secrets", "", &["get"]),
    ("events.k8s.io", "events", "", &["create", "patch"]),
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

//! The role that users install lets the operator do what it must, and nothing more.

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use multiarch_e2e::{
    bin::{self, workspace},
    cluster::Cluster,
    helm::{Helm, Release},
    namespace::Namespace,
    operator::{NAMESPACE, SERVICE_ACCOUNT},
};
use serde_json::json;
use tokio::process::Command;

/// group, resource, subresource, and the verbs that are allowed.
pub(crate) type Right = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// What it needs wherever objects are.
pub(crate) const EVERYWHERE: [Right; 8] = [
    // patch: for finalizers; create and delete: for what sets own.
    (
        "multiarch.dev",
        "multiarchimages",
        "",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    ("multiarch.dev", "multiarchimagesets", "", &["get", "list", "watch"]),
    ("multiarch.dev", "multiarchimagesets", "status", &["patch"]),
    ("", "configmaps", "", &["get"]),
    ("multiarch.dev", "multiarchimages", "status", &["patch"]),
    ("", "serviceaccounts", "", &["get"]),
    ("", "namespaces", "", &["get"]),
    ("events.k8s.io", "events", "", &["create"]),
];
/// What it needs beside, where Secrets are the cluster's, and what it never needs.
const MORE: [Right; 5] = [
    ("", "secrets", "", &["get"]),
    ("coordination.k8s.io", "leases", "", &[]),
    ("", "pods", "", &[]),
    ("", "serviceaccounts", "token", &[]),
    ("rbac.authorization.k8s.io", "clusterroles", "", &[]),
];
const VERBS: [&str; 8] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

fn allowed() -> Vec<Right> {
    [&EVERYWHERE[..], &MORE].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_do_what_it_must_and_nothing_more() -> Result<()> {
    let client = Cluster::shared().await?.client().await?;
    let operator = Who::account(NAMESPACE);
    for at in ["default", "kube-system"] {
        operator.may_exactly(&client, at, &allowed()).await?;
    }
    Ok(())
}

/// Its own Lease, in its own namespace, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_have_its_lease() -> Result<()> {
    let client = Cluster::shared().await?.client().await?;
    let operator = Who::account(NAMESPACE);
    for (name, allowed) in [
        (SERVICE_ACCOUNT, &["create", "get", "update"][..]),
        // Create cannot be limited to a name.
        ("kube-controller-manager", &["create"]),
    ] {
        for verb in VERBS {
            let attributes = ResourceAttributes {
                group: Some("coordination.k8s.io".into()),
                resource: Some("leases".into()),
                name: Some(name.into()),
                verb: Some(verb.into()),
                namespace: Some(NAMESPACE.into()),
                ..ResourceAttributes::default()
            };
            let may = operator.may(&client, attributes).await?;
            assert_eq!(may, allowed.contains(&verb), "{verb} {name}");
        }
    }
    Ok(())
}

/// Without sets it makes no object and deletes none, and reads no ConfigMap.
#[tokio::test(flavor = "multi_thread")]
async fn without_sets_the_operator_may_less() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = Namespace::create(&client).await?;
    let values = json!({
        "rbac": {"scope": "Namespaced"}, "watchNamespaces": [namespace.name],
        "sets": {"enabled": false},
    });
    let release = Release { name: SERVICE_ACCOUNT, namespace: &namespace.name, values: &values };
    let rights = Helm::new()?.template(release, &["serviceaccount.yaml", "rbac.yaml"]).await?;
    cluster.apply_text(&rights).await?;
    let less = allowed().into_iter().map(|(group, resource, subresource, verbs)| -> Right {
        let verbs: &[&str] = match (resource, subresource) {
            ("multiarchimages", "") => &["get", "list", "watch", "patch"],
            ("multiarchimagesets" | "configmaps", _) => &[],
            _ => verbs,
        };
        (group, resource, subresource, verbs)
    });
    let less: Vec<_> = less.collect();
    Who::account(&namespace.name).may_exactly(&client, &namespace.name, &less).await?;
    namespace.delete().await
}

/// The Role for one namespace has what the ClusterRole has, and nothing in another one.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_of_a_namespace_may_do_the_same_there_and_nothing_elsewhere() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = Namespace::create(&client).await?;
    // The ServiceAccount of multiarch-system has the ClusterRole in this cluster.
    let values = json!({"rbac": {"scope": "Namespaced"}, "watchNamespaces": [namespace.name]});
    let release = Release { name: SERVICE_ACCOUNT, namespace: &namespace.name, values: &values };
    let rights = Helm::new()?.template(release, &["serviceaccount.yaml", "rbac.yaml"]).await?;
    assert!(!rights.contains("Cluster"), "{rights}");
    cluster.apply_text(&rights).await?;
    let operator = Who::account(&namespace.name);
    operator.may_exactly(&client, &namespace.name, &allowed()).await?;
    let nothing: Vec<Right> = allowed()
        .into_iter()
        .map(|(group, resource, subresource, _)| -> Right { (group, resource, subresource, &[]) })
        .collect();
    operator.may_exactly(&client, "default", &nothing).await?;
    namespace.delete().await
}

/// Who has the cluster's own roles in a namespace has MultiArchImages there, and never their status.
#[tokio::test(flavor = "multi_thread")]
async fn users_have_the_objects_and_not_their_status() -> Result<()> {
    const READ: &[&str] = &["get", "list", "watch"];
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = Namespace::create(&client).await?;
    let users = [("view", READ), ("edit", &VERBS), ("admin", &VERBS)];
    for (role, objects) in users {
        let who = Who { user: format!("{role}-of-{}", namespace.name), groups: Vec::new() };
        let bind = format!("--clusterrole={role}");
        let to = format!("--user={}", who.user);
        let arguments = ["create", "rolebinding", role, "--namespace", &namespace.name, &bind, &to];
        cluster.kubectl(arguments).await?;
        let rights: [Right; 4] = [
            ("multiarch.dev", "multiarchimages", "", objects),
            ("multiarch.dev", "multiarchimages", "status", &[]),
            ("multiarch.dev", "multiarchimagesets", "", objects),
            ("multiarch.dev", "multiarchimagesets", "status", &[]),
        ];
        who.may_exactly(&client, &namespace.name, &rights).await?;
    }
    namespace.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubeconfig_that_the_readme_makes_is_the_operators() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let made = Command::new(workspace().join("hack/kubeconfig.sh"))
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

/// Of whom it is asked what they may do.
pub(crate) struct Who {
    pub(crate) user: String,
    groups: Vec<String>,
}

impl Who {
    /// The operator's ServiceAccount in `namespace`.
    pub(crate) fn account(namespace: &str) -> Self {
        let groups = ["system:authenticated", "system:serviceaccounts"].map(ToOwned::to_owned);
        let own = format!("system:serviceaccounts:{namespace}");
        Self {
            user: format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}"),
            groups: groups.into_iter().chain([own]).collect(),
        }
    }

    /// Checks that in `namespace` each verb is allowed that `rights` has, and no other.
    pub(crate) async fn may_exactly(
        &self,
        client: &Client,
        namespace: &str,
        rights: &[Right],
    ) -> Result<()> {
        for (group, resource, subresource, allowed) in rights {
            for verb in VERBS {
                let attributes = attributes((group, resource, subresource), verb, namespace);
                let may = self.may(client, attributes).await?;
                let what = format!("{verb} {group}/{resource}/{subresource} in {namespace}");
                assert_eq!(may, allowed.contains(&verb), "{}: {what}", self.user);
            }
        }
        Ok(())
    }

    /// Whether it is so now: roles reach the authorizer by a watch.
    pub(crate) async fn may_exactly_now(
        &self,
        client: &Client,
        namespace: &str,
        rights: &[Right],
    ) -> Result<bool> {
        for &(group, resource, subresource, allowed) in rights {
            for verb in VERBS {
                let attributes = attributes((group, resource, subresource), verb, namespace);
                if self.may(client, attributes).await? != allowed.contains(&verb) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn may(&self, client: &Client, attributes: ResourceAttributes) -> Result<bool> {
        let spec = SubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            user: Some(self.user.clone()),
            groups: Some(self.groups.clone()),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.context("failed to ask")?;
        Ok(answer.status.context("a review without status")?.allowed)
    }
}

fn attributes(
    (group, resource, subresource): (&str, &str, &str),
    verb: &str,
    namespace: &str,
) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: (!subresource.is_empty()).then(|| subresource.into()),
        verb: Some(verb.into()),
        namespace: Some(namespace.into()),
        ..ResourceAttributes::default()
    }
}

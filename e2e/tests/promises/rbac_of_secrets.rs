//! The operator's right to Secrets, bound namespace by namespace: where it is not bound, objects are told so, and the others are served; and no log has one.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Config,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::{SOON, await_condition},
    cluster::Cluster,
    helm::{Helm, Release},
    images::Image,
    namespace::Namespace,
    operator::{NAMESPACE, Operator, SERVICE_ACCOUNT},
    registry::{CI, Registry, Storage},
    spec::{Report, Spec},
};
use serde_json::{Value, json};

use crate::rbac::{EVERYWHERE, Right, Who};

/// What it needs where an object names a Secret.
const SECRETS: Right = ("", "secrets", "", &["get"]);
/// What it never needs.
const NEVER: [Right; 5] = [
    ("multiarch.dev", "multiarchimages", "finalizers", &[]),
    ("", "pods", "", &[]),
    ("", "serviceaccounts", "token", &[]),
    ("rbac.authorization.k8s.io", "roles", "", &[]),
    ("rbac.authorization.k8s.io", "rolebindings", "", &[]),
];

/// An object, with a Secret that lets it push.
async fn apply(client: &Client, namespace: &str, registry: &Registry, name: &str) -> Result<()> {
    let auths =
        json!({"auths": {(registry.host()): {"username": CI.user, "password": CI.password}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "push"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": auths.to_string()},
    });
    let parameters = PatchParams::apply("e2e").force();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.patch("push", &parameters, &Patch::Apply(secret)).await.context("no Secret")?;
    let mut spec = Spec::new(registry, name, &format!("{name}:1"));
    spec.spec["target"]["secretRef"] = json!({"name": "push"});
    let spec = spec.source("amd64", "app:1-amd64", &["linux/amd64"]);
    let images: Api<MultiArchImage> = Api::namespaced(client.clone(), namespace);
    let applied = images.patch(name, &parameters, &Patch::Apply(spec.object())).await;
    applied.context("no object").map(drop)
}

async fn until(
    client: &Client,
    namespace: &str,
    name: &str,
    ready: &str,
) -> Result<MultiArchImage> {
    let images: Api<MultiArchImage> = Api::namespaced(client.clone(), namespace);
    let is = |image: &MultiArchImage| image.is_current() && image.ready() == ready;
    await_condition(&images, name, &format!("Ready is {ready}"), SOON, is).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_it_is_told_and_the_others_are_served() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let (with, without) = (Namespace::create(&client).await?, Namespace::create(&client).await?);
    let folder = tempfile::tempdir()?;
    let home = with.name.as_str();
    let role = format!("multiarch-{home}");
    let values = json!({
        "fullnameOverride": role, "serviceAccount": {"name": SERVICE_ACCOUNT},
        "rbac": {"secrets": "PerNamespace", "secretNamespaces": [home]},
    });
    let release = Release { name: SERVICE_ACCOUNT, namespace: home, values: &values };
    let templates = ["serviceaccount.yaml", "rbac.yaml", "rbac-secrets.yaml"];
    cluster.apply_text(&Helm::new()?.template(release, &templates).await?).await?;

    // Exactly that, by the API server's own word.
    let operator = Who::account(home);
    let nothing = [(SECRETS.0, SECRETS.1, SECRETS.2, &[] as &[_])];
    for (namespace, secrets) in [(home, [SECRETS]), (&without.name, nothing), ("default", nothing)]
    {
        for rights in [EVERYWHERE.as_slice(), &secrets, &NEVER] {
            operator.may_exactly(&client, namespace, rights).await?;
        }
    }

    let registry = Registry::start(folder.path(), Some(CI), Storage::Memory).await?;
    registry.push("app:1-amd64", &Image::oci("linux/amd64", "app")?).await?;
    let watched = format!("{home},{}", without.name);
    let started =
        Operator::start_as(&cluster, folder.path(), Some(&watched), home, &[""; 0]).await?;
    apply(&client, &without.name, &registry, "blind").await?;
    apply(&client, home, &registry, "served").await?;
    until(&client, home, "served", "True/Succeeded").await?;
    let blind = until(&client, &without.name, "blind", "False/SecretNotFound").await?;
    for words in ["no right to read Secret push", "RoleBinding"] {
        assert!(blind.message().contains(words), "{}", blind.message());
    }
    assert_eq!(registry.digest("blind:1").await?, None, "{}", started.logs()?);

    // Once it is bound there too, nothing else has to be done.
    let secrets = format!("{role}-secrets");
    let (role_flag, account) =
        (format!("--clusterrole={secrets}"), format!("--serviceaccount={home}:{SERVICE_ACCOUNT}"));
    let command = ["create", "rolebinding", &secrets, "--namespace", &without.name];
    cluster.kubectl(command.into_iter().chain([role_flag.as_str(), &account])).await?;
    until(&client, &without.name, "blind", "True/Succeeded").await?;
    for of_cluster in ["clusterrolebinding", "clusterrole"].map(|kind| format!("{kind}/{role}")) {
        cluster.kubectl(["delete", of_cluster.as_str()]).await?;
    }
    cluster.kubectl(["delete", "clusterrole", secrets.as_str()]).await?;
    with.delete().await?;
    without.delete().await
}

/// Tried, and not only asked: by impersonation, as the API server does for kubectl's `--as`.
#[tokio::test(flavor = "multi_thread")]
async fn what_neither_the_operator_nor_its_users_may_do_is_refused() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = Namespace::create(&client).await?;
    let registry = tempfile::tempdir()?;
    let registry = Registry::start(registry.path(), None, Storage::Memory).await?;
    apply(&client, &namespace.name, &registry, "app").await?;
    let operator = Who::account(NAMESPACE);
    let operator = impersonating(&cluster, &operator.user).await?;
    let editor = format!("editor-of-{}", namespace.name);
    let to = format!("--user={editor}");
    let bind = ["create", "rolebinding", "editor", "--namespace", &namespace.name];
    cluster.kubectl(bind.into_iter().chain(["--clusterrole=edit", &to])).await?;
    let editor = impersonating(&cluster, &editor).await?;

    let of = |client: &Client| Api::<MultiArchImage>::namespaced(client.clone(), &namespace.name);
    let secrets = Api::<Secret>::namespaced(operator.clone(), &namespace.name);
    secrets.get("push").await.context("the operator reads a Secret by its name")?;
    refused(secrets.list(&ListParams::default()).await, "lists Secrets");
    let all = (kube::api::DeleteParams::default(), ListParams::default());
    refused(of(&operator).delete_collection(&all.0, &all.1).await, "deletes all at once");
    let patch = Patch::Merge(json!({"status": {"observedGeneration": 1}}));
    let parameters = PatchParams::default();
    of(&operator).patch_status("app", &parameters, &patch).await.context("the operator reports")?;
    refused(of(&editor).patch_status("app", &parameters, &patch).await, "reports");
    // An edit of the whole object leaves the status as it is.
    of(&editor)
        .patch("app", &parameters, &Patch::Merge(json!({"status": {"observedGeneration": 7}})))
        .await?;
    let status = of(&client).get("app").await?.status.context("no status")?;
    assert_eq!(status.observed_generation, Some(1));
    namespace.delete().await
}

/// Whoever logs, and however much: neither a registry's password nor the operator's own token.
#[tokio::test(flavor = "multi_thread")]
async fn the_finest_log_has_none() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = Namespace::create(&client).await?;
    let folder = tempfile::tempdir()?;
    let registry = Registry::start(folder.path(), Some(CI), Storage::Memory).await?;
    registry.push("app:1-amd64", &Image::oci("linux/amd64", "app")?).await?;
    let watched = Some(namespace.name.as_str());
    let operator =
        Operator::start_with(&cluster, folder.path(), watched, &["--log-level=trace"]).await?;
    apply(&client, &namespace.name, &registry, "app").await?;
    until(&client, &namespace.name, "app", "True/Succeeded").await?;
    let logs = operator.logs()?;
    for target in ["kube_client::", "hyper_util::", "rustls::", "multiarch_operator::"] {
        assert!(logs.contains(target), "{target} logs nothing");
    }
    let kubeconfig = std::fs::read(folder.path().join("operator.kubeconfig"))?;
    let kubeconfig: Value = serde_json::from_slice(&kubeconfig)?;
    let token = kubeconfig["users"][0]["user"]["token"].as_str().context("no token")?;
    let pair = STANDARD.encode(format!("{}:{}", CI.user, CI.password));
    for secret in [token, CI.password, &pair] {
        let found = logs.lines().find(|line| line.contains(secret));
        assert_eq!(found, None);
    }
    namespace.delete().await
}

async fn impersonating(cluster: &Cluster, user: &str) -> Result<Client> {
    let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    for named in &mut kubeconfig.auth_infos {
        if let Some(auth) = &mut named.auth_info {
            auth.impersonate = Some(user.into());
        }
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

#[track_caller]
fn refused<T>(tried: kube::Result<T>, what: &str) {
    let is = matches!(&tried, Err(kube::Error::Api(status)) if status.is_forbidden());
    assert!(is, "who {what} is not refused: {:?}", tried.err());
}

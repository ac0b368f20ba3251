//! A namespaced release needs nobody who may do everything: `admin` of its namespaces, and what docs/install.md adds to it.

use anyhow::{Context, Result};
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    bin::workspace,
    helm::{Helm, Release},
    namespace::Namespace,
};
use serde_json::{Value, json};

use crate::{
    own::cluster,
    yaml::{parse, read},
};

const USER: &str = "tess";

/// The ClusterRole that the docs give to who installs.
fn installer() -> Value {
    let docs = read(&workspace().join("docs/install.md"));
    let blocks = docs.split("```yaml\n").skip(1).filter_map(|text| text.split("```").next());
    let mut roles = blocks.map(parse).filter(|of| of["kind"] == "ClusterRole");
    let first = roles.find(|of| of["metadata"]["name"] == "multiarch-installer");
    first.unwrap_or_else(|| panic!("docs/install.md has no ClusterRole multiarch-installer"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_of_its_namespaces_installs_it() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client().await?;
    let helm = Helm::of(cluster.kubeconfig())?;
    let (home, other) = (Namespace::create(&client).await?, Namespace::create(&client).await?);
    let may = async |role: &str| {
        for namespace in [&home.name, &other.name] {
            let user = format!("--user={USER}");
            let bind = [
                "create",
                "rolebinding",
                role,
                "--namespace",
                namespace,
                "--clusterrole",
                role,
                &user,
            ];
            cluster.kubectl(bind).await?;
        }
        anyhow::Ok(())
    };
    may("admin").await?;
    let namespaced =
        json!({"rbac": {"scope": "Namespaced"}, "watchNamespaces": [home.name, other.name]});
    let install = async |more: Value| {
        let values = crate::yaml::merged(&namespaced, &more);
        let release =
            Release { name: "multiarch-operator", namespace: &home.name, values: &values };
        let user = format!("--kube-as-user={USER}");
        helm.apply("upgrade", release, &["--install", &user]).await
    };
    // The CRD is of the cluster.
    let refused = async || {
        let said = install(json!({})).await.unwrap_err().to_string();
        // Roles reach the authorizer by a watch.
        Ok(said.contains("customresourcedefinitions").then_some(said))
    };
    let said = await_some("the admin may all but the CRD", SOON, refused).await?;
    assert!(said.contains("cannot") && said.contains("forbidden"), "{said}");
    // A right that one does not have cannot be given.
    let apart = json!({"crds": {"enabled": false}});
    let said = install(apart.clone()).await.unwrap_err().to_string();
    assert!(said.contains("attempting to grant RBAC permissions not currently held"), "{said}");
    cluster.apply_text(&installer().to_string()).await?;
    may("multiarch-installer").await?;
    let installed = async || Ok(install(apart.clone()).await.ok());
    await_some("the admin installs it", SOON, installed).await?;
    let made = ["get", "deployments,roles", "--namespace", &home.name, "--output=name"];
    let made = cluster.kubectl(made).await?;
    for name in ["deployment.apps/", "role.rbac.authorization.k8s.io/"] {
        assert!(made.contains(&format!("{name}multiarch-operator")), "{made}");
    }
    let uninstall = ["uninstall", "multiarch-operator", "--namespace", &home.name];
    helm.run(uninstall).await.context("failed to uninstall")?;
    cluster.kubectl(["delete", "clusterrole", "multiarch-installer"]).await?;
    home.delete().await?;
    other.delete().await
}

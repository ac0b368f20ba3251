//! Whoever installs the policies must be allowed to read what they read.

use anyhow::Result;
use multiarch_e2e::await_condition::{SOON, await_some};
use serde_json::{Value, json};

use crate::stage::Stage;

fn role(name: &str, more: &[Value]) -> String {
    let mut rules = vec![json!({
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
        "verbs": ["get", "list", "create", "patch", "update"],
    })];
    rules.extend_from_slice(more);
    let head = |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}});
    let (mut role, mut binding) = (head("ClusterRole"), head("ClusterRoleBinding"));
    role["rules"] = json!(rules);
    binding["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    binding["subjects"] =
        json!([{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]);
    json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_read_config_maps_may_not_install_them() -> Result<()> {
    let stage = Stage::new().await?;
    let name = format!("installer-{}", stage.home.name);
    let text = stage.render(&json!({})).await?;
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    std::fs::write(file.path(), text)?;
    let file = file.path().display().to_string();
    let user = format!("--as={name}");
    let apply = async || {
        stage.cluster.kubectl(["apply", "--server-side", &user, "--filename", &file]).await
    };
    // Each by itself, in the order in which they are asked for.
    let read =
        |verbs: &[&str]| json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs});
    for (given, words) in [
        (vec![], "must have \"get\" permission on all objects of the referenced paramKind"),
        (
            vec![read(&["get"])],
            "does not have \"list\" permission on the object referenced by paramRef",
        ),
    ] {
        stage.cluster.apply_text(&role(&name, &given)).await?;
        // Roles reach the authorizer by a watch.
        let told = async || {
            let said = apply().await.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(!said.is_empty(), "it was installed");
            Ok(said.contains(words).then_some(()))
        };
        await_some(words, SOON, told).await?;
    }
    stage.cluster.apply_text(&role(&name, &[read(&["get", "list"])])).await?;
    let installed = async || Ok(apply().await.ok().map(drop));
    await_some("it is installed", SOON, installed).await?;
    stage.cluster.kubectl(["delete", "clusterrole,clusterrolebinding", &name]).await?;
    stage.end().await
}

//! The chart's rights are enough to publish by, and no more: in all namespaces or in some, with Secrets everywhere or by namespace, by itself or as a
//! part of another chart.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use multiarch_e2e::{
    await_condition::await_some,
    charts::parent,
    helm::Release,
    node::{NodeCluster, NodeRegistry},
    registry::{Auth, CI, Setup},
    spec::{Report, Spec},
};
use serde_json::{Value, json};

use crate::{
    guest::namespace,
    stage::{PATIENCE, Stage, WAIT, spec_in},
};

const PLATFORM: &str = "platform";
const TEAMS: &str = "teams";

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_publishes_where_it_should_and_nowhere_else() -> Result<()> {
    let test = "rights::each_scope_publishes_where_it_should_and_nowhere_else";
    let Some(node) = NodeCluster::shared(test).await? else { return Ok(()) };
    let stage = Stage::on(node, &["1"]).await?;
    // What objects name asks for a password.
    let setup = Setup { auth: Auth::Password(&[CI]), ..Setup::default() };
    let locked = stage.node.registry(&stage.folder.path().join("locked"), &setup).await?;
    stage.play(Box::pin(play(&Rights { stage: &stage, locked: &locked }))).await
}

struct Rights<'a> {
    stage: &'a Stage,
    locked: &'a NodeRegistry,
}

async fn play(s: &Rights<'_>) -> Result<()> {
    for name in [PLATFORM, TEAMS, "a", "b", "c"] {
        namespace(&s.stage.node.cluster, name).await?;
    }
    s.all_namespaces().await.context("scope Cluster, secrets PerNamespace, as a subchart")?;
    s.some_namespaces().await.context("scope Namespaced")?;
    s.some_secrets().await.context("scope Namespaced, secrets PerNamespace")
}

impl Rights<'_> {
    /// A part of another chart, with a ClusterRole, and Secrets of one namespace.
    async fn all_namespaces(&self) -> Result<()> {
        let s = self.stage;
        let folder = s.folder.path().join(PLATFORM);
        parent(&folder)?;
        let mut ours = s.registry.values("1");
        // The parent's, which it shares with all of its charts, is the one that can be pulled from.
        ours["image"]["registry"] = json!("nowhere.example.com");
        ours["rbac"] = json!({"secrets": "PerNamespace", "secretNamespaces": ["a"]});
        let values =
            json!({"global": {"imageRegistry": s.registry.host}, "multiarch-operator": ours});
        let release = Release { name: PLATFORM, namespace: PLATFORM, values: &values };
        s.helm.apply_of(&folder, "install", release, &WAIT).await?;
        s.passes(PLATFORM, PLATFORM).await?;

        self.apply("a", "first", "True/Succeeded").await?;
        let told = self.apply("b", "first", "False/SecretNotFound").await?;
        ensure!(told.contains("has no right to read Secret push"), "{told}");
        // As docs/install.md says.
        let name = "platform-multiarch-operator";
        let (role, who) = (
            format!("--clusterrole={name}-secrets"),
            format!("--serviceaccount={PLATFORM}:{name}"),
        );
        let bind = ["create", "rolebinding", "secrets", &role, &who, "--namespace", "b"];
        s.node.cluster.kubectl(bind).await?;
        self.asked("b", "first").await?;
        s.helm.run(["uninstall", PLATFORM, "--namespace", PLATFORM, "--wait"]).await.map(drop)
    }

    /// Beside the CRDs, which are not its own, with a Role in each of its namespaces, and no right beyond.
    async fn some_namespaces(&self) -> Result<()> {
        let s = self.stage;
        let values = self.namespaced(&json!({"scope": "Namespaced"}));
        let release = Release { name: TEAMS, namespace: TEAMS, values: &values };
        s.helm.apply("install", release, &WAIT).await?;
        s.passes(TEAMS, TEAMS).await?;

        // Nobody looks at this one. The others are applied after it, and published.
        let spec = self.spec("c", "second").await?;
        s.objects("c").apply(&spec).await?;
        for team in ["a", "b"] {
            self.apply(team, "second", "True/Succeeded").await?;
        }
        let ignored = s.objects("c").api.get("second").await?;
        assert!(!ignored.is_current() && ignored.ready() == "Unknown/", "{ignored:?}");
        let as_it = format!("--as=system:serviceaccount:{TEAMS}:{TEAMS}-multiarch-operator");
        for (namespace, may) in [("a", true), ("c", false)] {
            let ask = ["auth", "can-i", "get", "secrets", &as_it, "--namespace", namespace];
            let answer = s.node.cluster.kubectl(ask).await;
            assert_eq!(answer.is_ok(), may, "{answer:?}");
        }
        Ok(())
    }

    /// The same release, with Secrets of one of its namespaces from now on.
    async fn some_secrets(&self) -> Result<()> {
        let s = self.stage;
        let rights =
            json!({"scope": "Namespaced", "secrets": "PerNamespace", "secretNamespaces": ["a"]});
        let values = self.namespaced(&rights);
        let release = Release { name: TEAMS, namespace: TEAMS, values: &values };
        s.helm.apply("upgrade", release, &WAIT).await?;
        s.passes(TEAMS, TEAMS).await?;
        self.apply("a", "third", "True/Succeeded").await?;
        let told = self.apply("b", "third", "False/SecretNotFound").await?;
        ensure!(told.contains("has no right to read Secret push"), "{told}");
        s.helm.run(["uninstall", TEAMS, "--namespace", TEAMS, "--wait"]).await.map(drop)
    }

    fn namespaced(&self, rights: &Value) -> Value {
        let mut values = self.stage.registry.values("1");
        values["crds"] = json!({"enabled": false});
        values["rbac"] = rights.clone();
        values["watchNamespaces"] = json!(["a", "b"]);
        values
    }

    /// An object of `team`, whose images are pushed, with a Secret that lets it push there.
    async fn spec(&self, team: &str, name: &str) -> Result<Spec> {
        let host = &self.locked.host;
        let auths =
            json!({"auths": {(host.as_str()): {"username": CI.user, "password": CI.password}}});
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "push"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": auths.to_string()},
        });
        let secrets: Api<Secret> = Api::namespaced(self.stage.client.clone(), team);
        let by = PatchParams::apply("e2e").force();
        secrets.patch("push", &by, &Patch::Apply(secret)).await.context("no Secret")?;
        let target = format!("{team}/{name}:1.0");
        let mut spec = spec_in(&self.locked.registry, host, name, &target).await?;
        spec.spec["target"]["secretRef"] = json!({"name": "push"});
        Ok(spec)
    }

    /// Applies it, and waits until Ready is `ready`; the message of that.
    async fn apply(&self, team: &str, name: &str, ready: &str) -> Result<String> {
        let spec = self.spec(team, name).await?;
        let image = self.stage.objects(team).apply_until(&spec, ready).await?;
        let published = self.locked.registry.digest(&format!("{team}/{name}:1.0")).await?;
        assert_eq!(published.unwrap_or_default(), image.digest());
        Ok(image.message().to_owned())
    }

    /// Asks for a look until it is published: rights reach the API server's authorizer by a watch.
    async fn asked(&self, team: &str, name: &str) -> Result<()> {
        let objects = self.stage.objects(team);
        let published = async || {
            let image = objects.request(name).await?;
            Ok((image.ready() == "True/Succeeded").then_some(()))
        };
        await_some("the right is enough", PATIENCE, published).await
    }
}

//! The life of a release whose Pods run: installed, upgraded, broken, killed, uninstalled and installed again, it serves users all the while, and
//! writes nothing twice.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, Result, ensure};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    await_condition::await_some,
    charts::next_version,
    node::{NodeCluster, can_run},
    peers::is_whole,
    proxy::client,
    spec::Report,
};
use serde_json::{Value, json};

use crate::{
    operator_process::OperatorProcess,
    stage::{NAME, PATIENCE, SYSTEM, Stage, WAIT, is_the_same, release},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_serves_users_all_its_life() -> Result<()> {
    if !can_run("life::a_release_serves_users_all_its_life").await? {
        return Ok(());
    }
    // Of its own: the release works on all objects of the cluster.
    let node = Arc::new(NodeCluster::start().await?);
    let stage = Stage::on(node, &["1", "2"]).await?;
    stage.play(Box::pin(live(&stage))).await
}

async fn live(s: &Stage) -> Result<()> {
    let mut life = installed(s).await.context("helm install")?;
    s.passes(NAME, SYSTEM).await.context("helm test")?;
    measured(s).await.context("metrics")?;
    idle(s, &life).await.context("memory")?;
    life.upgraded_by_a_value(s).await.context("helm upgrade with a changed value")?;
    life.upgraded_by_a_crd(s).await.context("helm upgrade with a changed CRD")?;
    life.rolled_back(s).await.context("helm upgrade with an image that is not there")?;
    life.killed(s).await.context("the leader is killed")?;
    life.uninstalled(s).await.context("helm uninstall")?;
    life.reinstalled(s).await.context("helm install again")
}

/// What there is of it.
struct Life {
    values: Value,
    pods: BTreeSet<String>,
    leader: String,
    /// As it was seen last.
    app: MultiArchImage,
}

/// `helm install --wait` in a namespace that enforces restricted Pods, with a NetworkPolicy; an object is published, and its tag runs.
async fn installed(s: &Stage) -> Result<Life> {
    s.restricted(SYSTEM).await?;
    let mut values = s.registry.values("1");
    let (_, port) = s.registry.host.rsplit_once(':').context("a registry without port")?;
    let ports = [port.parse::<u16>().context("a port that is no number")?];
    values["networkPolicy"] =
        json!({"enabled": true, "egress": "Restricted", "registryPorts": ports});
    let notes = s.helm.apply("install", release(&values), &WAIT).await?;
    ensure!(notes.contains("It works on MultiArchImages of all namespaces"), "{notes}");
    // It is enforced.
    let kubectl = async |arguments: &[&str]| {
        s.node.cluster.kubectl(["--namespace", SYSTEM].iter().chain(arguments)).await
    };
    let refused = kubectl(&["run", "root", "--image=example.com/root:1"]).await;
    let refused = refused.err().context("a Pod that is root was admitted")?.to_string();
    ensure!(refused.contains("violates PodSecurity"), "{refused}");
    kubectl(&["get", "networkpolicy", NAME]).await?;
    // They waited.
    let pods = s.pods(SYSTEM).await?;
    assert_eq!(pods.len(), 2, "{pods:?}");
    kubectl(&["rollout", "status", &format!("deployment/{NAME}"), "--timeout=1s"]).await?;

    s.restricted("team-a").await?;
    let spec = s.spec("app", "team-a/app:1.0").await?;
    let app = s.objects("team-a").apply_until(&spec, "True/Succeeded").await?;
    is_whole(&s.registry.registry, "team-a/app:1.0").await?;
    s.runs("team-a", "app", &s.registry.reference("team-a/app:1.0")).await?;
    let leader = s.leader(&BTreeSet::new()).await?;
    Ok(Life { values, pods, leader, app })
}

/// The Service leads to the replicas; the one that leads tells of the object.
async fn measured(s: &Stage) -> Result<()> {
    let name = format!("{NAME}-metrics");
    let path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
    let get = ["get", "service", &name, "--namespace", SYSTEM, "--output", path];
    let url = format!("http://{}/metrics", s.node.cluster.kubectl(get).await?);
    let told = async || {
        // A connection of its own each time: one that is kept leads to one replica.
        let answer = client()?.get(&url).send().await.context("nobody answers")?;
        let text = answer.text().await.context("half an answer")?;
        let ready = r#"multiarch_resource_ready{namespace="team-a",name="app"} 1"#;
        Ok(text.contains(ready).then_some(()))
    };
    await_some("the leader's metrics", PATIENCE, told).await
}

/// What each replica holds when nothing happens is less than the chart requests for it.
async fn idle(s: &Stage, life: &Life) -> Result<()> {
    let path = "jsonpath={.spec.template.spec.containers[0].resources.requests.memory}";
    let get = ["get", "deployment", NAME, "--namespace", SYSTEM, "--output", path];
    let requested = s.node.cluster.kubectl(get).await?;
    let requested = requested.strip_suffix("Mi").context("a request in another unit")?;
    let requested: u64 = requested.parse().context("a request that is no number")?;
    for pod in &life.pods {
        let holds = OperatorProcess::of(s, pod).await?.working_set()?;
        ensure!(holds < requested << 20, "{pod} holds {holds} bytes");
    }
    Ok(())
}

impl Life {
    async fn upgraded_by_a_value(&mut self, s: &Stage) -> Result<()> {
        s.registry.registry.proxy.forget();
        self.values["logLevel"] = json!("debug");
        s.helm.apply("upgrade", release(&self.values), &WAIT).await?;
        self.other_pods_lead(s).await
    }

    async fn upgraded_by_a_crd(&mut self, s: &Stage) -> Result<()> {
        s.registry.registry.proxy.forget();
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let next = next_version(folder.path())?;
        self.values["image"]["tag"] = json!("2");
        s.helm.apply_of(&next, "upgrade", release(&self.values), &WAIT).await?;
        let new = "{.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.new.type}";
        let crd =
            ["get", "crd", "multiarchimages.multiarch.dev", "--output", &format!("jsonpath={new}")];
        assert_eq!(s.node.cluster.kubectl(crd).await?, "string");
        self.other_pods_lead(s).await
    }

    /// The new version cannot start: the old one stays, works meanwhile, and is what the release is again.
    async fn rolled_back(&mut self, s: &Stage) -> Result<()> {
        let mut bad = self.values.clone();
        bad["image"]["tag"] = json!("not-there");
        let flags = ["--rollback-on-failure", "--timeout=15s"];
        let meanwhile = async {
            let others = async || Ok((s.pods(SYSTEM).await?.len() > 2).then_some(()));
            await_some("a Pod of the bad image is there", PATIENCE, others).await?;
            let spec = s.spec("meanwhile", "team-a/meanwhile:1.0").await?;
            s.objects("team-a").apply_until(&spec, "True/Succeeded").await
        };
        let (upgraded, meanwhile) =
            tokio::join!(s.helm.apply("upgrade", release(&bad), &flags), meanwhile);
        meanwhile?;
        let said = upgraded.err().context("it was upgraded")?.to_string();
        ensure!(said.contains("rolled back"), "{said}");
        let history = ["history", NAME, "--namespace", SYSTEM, "--max=1", "--output=json"];
        let history: Value = serde_json::from_str(&s.helm.run(history).await?)?;
        assert_eq!(history[0]["status"], "deployed", "{history}");
        let only_ours = async || Ok((s.pods(SYSTEM).await? == self.pods).then_some(()));
        await_some("its Pods are those of before", PATIENCE, only_ours).await?;
        assert_eq!(s.leader(&BTreeSet::new()).await?, self.leader);
        s.registry.registry.proxy.forget();
        self.serves(s).await
    }

    /// The leader is held up, so that it cannot let go of its Lease, and killed; nothing but the other replica can follow it.
    async fn killed(&mut self, s: &Stage) -> Result<()> {
        s.registry.registry.proxy.forget();
        let node = s.node.cluster.kubectl(["get", "nodes", "--output=name"]).await?;
        let node = node.trim().trim_start_matches("node/");
        s.node.cluster.kubectl(["cordon", node]).await?;
        let process = OperatorProcess::of(s, &self.leader).await?;
        process.signal("STOP").await?;
        let delete =
            ["delete", "pod", &self.leader, "--namespace", SYSTEM, "--grace-period=0", "--force"];
        s.node.cluster.kubectl(delete).await?;
        let dead = BTreeSet::from([self.leader.clone()]);
        let standby: BTreeSet<_> = self.pods.difference(&dead).cloned().collect();
        self.leader = s.leader(&dead).await?;
        ensure!(standby.contains(&self.leader), "{} leads", self.leader);
        let gone = async || Ok((!process.runs()).then_some(()));
        await_some("the process is gone", PATIENCE, gone).await?;
        self.serves(s).await?;

        s.node.cluster.kubectl(["uncordon", node]).await?;
        let rollout = ["rollout", "status", "deployment", NAME, "--namespace", SYSTEM];
        s.node.cluster.kubectl(rollout.into_iter().chain(["--timeout=90s"])).await?;
        self.pods = s.pods(SYSTEM).await?;
        Ok(())
    }

    /// The CRDs stay with all objects, and namespaces that have some can go.
    async fn uninstalled(&mut self, s: &Stage) -> Result<()> {
        s.restricted("team-b").await?;
        let spec = s.spec("app", "team-b/app:1.0").await?;
        let orphan = s.objects("team-b").apply_until(&spec, "True/Succeeded").await?;
        // No probe and no limit has ended one.
        let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
        let ours = "--selector=app.kubernetes.io/name=multiarch-operator";
        let get = ["get", "pods", ours, "--namespace", SYSTEM, "--output", path];
        assert_eq!(s.node.cluster.kubectl(get).await?, "0 0");
        let said = s.helm.run(["uninstall", NAME, "--namespace", SYSTEM, "--wait"]).await?;
        ensure!(said.contains("CustomResourceDefinition") && said.contains("kept"), "{said}");
        let gone = async || Ok(s.pods(SYSTEM).await?.is_empty().then_some(()));
        await_some("its Pods are gone", PATIENCE, gone).await?;
        self.is_untouched(s).await?;
        s.node.cluster.kubectl(["delete", "namespace", "team-b", "--timeout=90s"]).await?;
        let left = s.registry.registry.digest("team-b/app:1.0").await?;
        assert_eq!(left.as_deref(), Some(orphan.digest()));
        Ok(())
    }

    /// It follows itself once the Lease has run out, which nobody had the right to let go of any more.
    async fn reinstalled(&mut self, s: &Stage) -> Result<()> {
        s.registry.registry.proxy.forget();
        s.helm.apply("install", release(&self.values), &WAIT).await?;
        self.other_pods_lead(s).await
    }

    /// One of the new Pods leads, and nothing has changed.
    async fn other_pods_lead(&mut self, s: &Stage) -> Result<()> {
        self.leader = s.leader(&self.pods).await?;
        self.is_untouched(s).await?;
        self.serves(s).await?;
        self.pods = s.pods(SYSTEM).await?;
        Ok(())
    }

    /// Nobody has written to the object.
    async fn is_untouched(&self, s: &Stage) -> Result<()> {
        let now = s.objects("team-a").api.get("app").await.context("the object is gone")?;
        assert_eq!(now, self.app);
        Ok(())
    }

    /// Asked, the leader looks at the object and finds everything as it is; nothing was written since the registry's book is empty.
    async fn serves(&mut self, s: &Stage) -> Result<()> {
        let now = s.objects("team-a").request("app").await?;
        is_the_same(&now, &self.app);
        self.app = now;
        let registry = &s.registry.registry;
        ensure!(!registry.proxy.seen_of("/team-a/app/manifests/").is_empty(), "nobody looked");
        let writes = s.writes();
        ensure!(writes.is_empty(), "{writes:?}");
        assert_eq!(registry.digest("team-a/app:1.0").await?.as_deref(), Some(self.app.digest()));
        Ok(())
    }
}

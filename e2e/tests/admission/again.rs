//! A release that is uninstalled and installed once more: the API server goes on to see what the maps say.

use anyhow::Result;
use multiarch_e2e::{
    await_condition::{SOON, await_some},
    cluster::Cluster,
    helm::{Helm, Release},
    namespace::Namespace,
};
use serde_json::json;

use crate::{
    ask::{Ask, Verdict, pod},
    entries::{Entries, Entry, key},
    stage::map,
};

const FIRST: &str = "registry.example.com/again/first:1";
const SECOND: &str = "registry.example.com/again/second:1";
const NAME: &str = "multiarch-operator";
const HOME: &str = "multiarch-system";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_again_sees_what_the_maps_say_then() -> Result<()> {
    let cluster = Cluster::start_bare().await?;
    let client = cluster.client().await?;
    let helm = Helm::of(cluster.kubeconfig())?;
    let values = json!({"replicaCount": 0, "admission": {"enabled": true, "pods": "Deny"}});
    let release = Release { name: NAME, namespace: HOME, values: &values };
    let notes = helm.apply("install", release, &["--create-namespace"]).await?;
    assert!(notes.contains("Pods are refused, workloads are warned about"), "{notes}");
    assert!(notes.contains("docs/admission.md"), "{notes}");
    let team = Namespace::for_pods(&client, &[]).await?;
    let write = async |image: &str| {
        let entries: Entries = [(key(image), Entry::awaited("team-a/again", "").value())].into();
        cluster.apply_text(&map(HOME, "0", ["", ""], &entries).to_string()).await
    };
    let until = async |image: &str, is: fn(&Verdict) -> bool| {
        let ask = Ask::create(&team.name, &pod("tried", image));
        let settled = async || Ok(is(&ask.try_out(&client).await?).then_some(()));
        await_some(image, SOON, settled).await
    };
    let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
    let passes = |verdict: &Verdict| *verdict == Verdict::Passed;
    write(FIRST).await?;
    until(FIRST, refused).await?;

    let said = helm.run(["uninstall", NAME, "--namespace", HOME]).await?;
    assert!(said.contains("kept"), "{said}");
    // Where no policy were left, its watch of ConfigMaps would have ended by now.
    until(FIRST, passes).await?;
    helm.apply("install", release, &[]).await?;
    until(FIRST, refused).await?;
    write(SECOND).await?;
    until(SECOND, refused).await?;
    until(FIRST, passes).await
}

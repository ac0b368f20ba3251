//! An API server that is away, and a kind that is removed: the operator waits, never ends, and goes on where it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_condition, await_some},
    bin::workspace,
    images::Image,
    operator::Operator,
    scenario::{
        scenario_on_a_cluster_of_its_own, scenario_with_election_on_a_cluster_of_its_own, tag_of,
    },
    spec::Report,
};

const ONE: [&str; 1] = ["linux/amd64"];
const SHORT: &[&str] = &[
    "--leader-election-lease-duration=6s",
    "--leader-election-renew-deadline=4s",
    "--leader-election-retry-period=500ms",
];
/// What could not be watched is tried again less and less often, each half a minute at last.
const LATER: Duration = Duration::from_secs(90);

/// Without it nothing new can be known, so the leader stops; when it is back, all that changed meanwhile is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_was_away_is_followed_again() -> Result<()> {
    scenario_with_election_on_a_cluster_of_its_own(SHORT, async |s| {
        s.operator.await_lead(SOON).await?;
        let mut second = s.replica("second").await?;
        s.push("app:1", &ONE).await?;
        // So soon is it looked at after a start, where all was well.
        let mut spec = s.spec("app", "app:1", &ONE);
        spec.spec["interval"] = "30s".into();
        let before = s.apply_until(&spec, "True/Succeeded").await?;
        second.kill().await?;

        s.cluster.stop_api_server().await?;
        let stops = async || Ok((!s.operator.leads().await?).then_some(()));
        await_some("the leader stops", SOON, stops).await?;
        second.relaunch().await?;
        is_alive(&second, 503).await?;
        is_alive(&s.operator, 200).await?;
        s.registry.push(&tag_of("app:1", ONE[0]), &Image::oci(ONE[0], "news")?).await?;

        s.cluster.start_api_server().await?;
        second.ready(LATER).await?;
        s.push("new:1", &ONE).await?;
        s.apply(&s.spec("new", "new:1", &ONE)).await?;
        until(s, "new", |image| image.ready() == "True/Succeeded").await?;
        // Whoever leads now has looked at everything.
        let news =
            |image: &MultiArchImage| image.is_true("Ready") && image.digest() != before.digest();
        let after = until(s, "app", news).await?;
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(after.digest()));
        let one = async || {
            let (first, other) = (s.operator.leads().await?, second.leads().await?);
            // Asked one after the other.
            ensure!(!(first && other && s.operator.leads().await?), "both lead");
            Ok((first || other).then_some(()))
        };
        await_some("one of them leads", SOON, one).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_removed_and_comes_back_is_worked_on() -> Result<()> {
    scenario_on_a_cluster_of_its_own(async |s| {
        s.push("app:1", &ONE).await?;
        let before = s.apply_until(&s.spec("app", "app:1", &ONE), "True/Succeeded").await?;
        let mut second = s.replica_with("second", &["--watch-label-selector=nobody"]).await?;
        second.kill().await?;

        let crds = workspace().join("crds");
        let crds = crds.to_string_lossy();
        s.cluster.kubectl(["delete", "--wait", "--filename", &crds]).await?;
        s.operator.await_log("kubectl apply -f crds/", LATER).await?;
        second.relaunch().await?;
        second.await_log("kubectl apply -f crds/", SOON).await?;
        is_alive(&second, 503).await?;
        is_alive(&s.operator, 200).await?;

        s.cluster.kubectl(["apply", "--server-side", "--filename", &crds]).await?;
        let established = ["wait", "--for=condition=Established", "--timeout=30s", "crd"];
        s.cluster.kubectl(established.into_iter().chain(["multiarchimages.multiarch.dev"])).await?;
        s.apply(&s.spec("app", "app:1", &ONE)).await?;
        let again = until(s, "app", |image| image.ready() == "True/Succeeded").await?;
        assert_ne!(again.metadata.uid, before.metadata.uid);
        assert_eq!(again.digest(), before.digest(), "the tag is as it was");
        second.ready(LATER).await?;
        Ok(())
    })
    .await
}

/// Whether it lives; `ready` is what it answers who asks whether it has listed its objects.
async fn is_alive(operator: &Operator, ready: u16) -> Result<()> {
    for (path, status) in [("/livez", 200), ("/readyz", ready)] {
        assert_eq!(operator.get(path, "*/*").await?.status(), status, "{path}");
    }
    Ok(())
}

async fn until(
    s: &Scenario,
    name: &str,
    holds: impl Fn(&MultiArchImage) -> bool,
) -> Result<MultiArchImage> {
    let holds = |image: &MultiArchImage| image.is_current() && holds(image);
    await_condition(&s.images(), name, "it is worked on again", LATER, holds).await
}

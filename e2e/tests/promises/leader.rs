//! Of two replicas one works. The other one takes over at once when the first is told to stop, and within the lease when it is not heard of.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_condition, await_some},
    proxy::Answer,
    scenario::scenario_with_election,
    spec::Report,
};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// Times that a test can wait for.
const SHORT: &[&str] = &[
    "--leader-election-lease-duration=6s",
    "--leader-election-renew-deadline=4s",
    "--leader-election-retry-period=500ms",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_is_followed_at_once() -> Result<()> {
    scenario_with_election(&[], async |s| {
        s.operator.await_lead(SOON).await?;
        let second = s.replica("second").await?;
        s.push("app:1", &BOTH).await?;
        s.apply_until(&s.spec("app", "app:1", &BOTH), "True/Succeeded").await?;

        // Both are ready, and one has something to show.
        for (operator, leads) in [(&s.operator, true), (&second, false)] {
            for path in ["/livez", "/readyz"] {
                assert_eq!(operator.get(path, "*/*").await?.status(), 200, "{path}");
            }
            assert_eq!(operator.leads().await?, leads);
            let text = operator.get("/metrics", "*/*").await?.text().await?;
            assert!(text.contains("multiarch_leader{lease=\"multiarch-operator\"}"), "{text}");
            assert_eq!(text.contains("multiarch_resource_ready{"), leads, "{text}");
            assert_eq!(operator.runs().await? > 0.0, leads);
        }

        assert!(s.operator.terminate(SOON).await?.success());
        // Long before the lease would have run out.
        second.await_lead(Duration::from_secs(10)).await?;
        s.push("second:1", &BOTH).await?;
        s.apply_until(&s.spec("second", "second:1", &BOTH), "True/Succeeded").await?;
        let lease = lease(s).await?.spec.context("a Lease without spec")?;
        assert_eq!(lease.lease_transitions, Some(1));
        assert_eq!(lease.lease_duration_seconds, Some(15));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_held_up_is_followed_and_writes_nothing_when_it_wakes() -> Result<()> {
    held_up("GET", "/app/manifests/1-amd64", Answer::Never).await
}

/// When it wakes the pause before its next try is over, and so is its lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_held_up_in_a_pause_writes_nothing_when_it_wakes() -> Result<()> {
    held_up("PUT", "/app/manifests/1", Answer::Later(429, 4)).await
}

/// Holds up the first of two replicas when it was given `answer` once.
async fn held_up(method: &'static str, path: &'static str, answer: Answer) -> Result<()> {
    scenario_with_election(SHORT, async |s| {
        s.operator.await_lead(SOON).await?;
        let second = s.replica("second").await?;
        s.push("app:1", &BOTH).await?;
        // The first is in the middle of a run.
        s.registry.proxy.answer_times(1, method, path, answer.clone());
        let spec = s.spec("app", "app:1", &BOTH);
        s.apply(&spec).await?;
        let answered = async || {
            let seen = s.registry.proxy.seen();
            Ok(seen.iter().any(|seen| seen.disturbed).then_some(()))
        };
        await_some("it is answered", SOON, answered).await?;
        s.operator.signal("STOP").await?;
        let published = s.until_ready("app", "True/Succeeded").await?;
        second.await_lead(SOON).await?;

        s.registry.proxy.forget();
        s.operator.signal("CONT").await?;
        s.operator.await_log("lost the lease", SOON).await?;
        s.operator.await_log("standing by", SOON).await?;
        second.await_lead(SOON).await?;
        assert!(!s.operator.leads().await?);
        let seen = s.registry.proxy.seen();
        assert!(seen.iter().all(|seen| !seen.is_manifest_put()), "{seen:?}");
        assert_eq!(s.registry.digest("app:1").await?.as_deref(), Some(published.digest()));
        let now = s.images().get("app").await?;
        assert_eq!(now.status, published.status);

        // In the same process it leads again when it is its turn.
        drop(second);
        s.operator.await_lead(SOON).await
    })
    .await
}

/// Nobody's rights are taken for granted: it waits, and says what it lacks.
#[tokio::test(flavor = "multi_thread")]
async fn without_rights_on_the_lease_it_waits_and_says_so() -> Result<()> {
    scenario_with_election(&[], async |s| {
        let flags = ["--leader-elect", "--leader-election-namespace=default"];
        let second = s.replica_with("second", &flags).await?;
        second.await_log("--leader-election-namespace", SOON).await?;
        assert!(second.logs()?.contains("rbac.create"));
        assert!(!second.leads().await?);
        Ok(())
    })
    .await
}

async fn lease(s: &Scenario) -> Result<Lease> {
    let leases: Api<Lease> = Api::namespaced(s.client.clone(), &s.namespace.name);
    let holds = |lease: &Lease| {
        let spec = lease.spec.as_ref();
        spec.and_then(|spec| spec.holder_identity.as_ref()).is_some_and(|holder| !holder.is_empty())
    };
    await_condition(&leases, "multiarch-operator", "somebody holds it", SOON, holds).await
}

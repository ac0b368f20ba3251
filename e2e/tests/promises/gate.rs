//! The chart's policies act on what the operator writes: from an object that waits, to the Pod that may start.

use anyhow::{Context, Result};
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    helm::{Helm, Release},
    namespace::Namespace,
    objects::Objects,
    operator::{NAMESPACE, Operator, SERVICE_ACCOUNT},
    scenario::scenario,
    spec::Report,
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const LABEL: &str = "e2e.multiarch.dev/gated";

/// What the API server says of a Pod of `image` with more arguments of `kubectl run`: nothing where it may start.
async fn refusal(s: &Scenario, team: &Namespace, image: &str, more: &[&str]) -> Option<String> {
    let image = format!("--image={image}");
    let run = ["run", "tried", "--dry-run=server", "--namespace", &team.name, &image];
    let run = run.iter().chain(more);
    s.cluster.kubectl(run).await.err().map(|error| error.to_string())
}

/// Waits until a Pod of `image` is refused with all of `words`, or may start where there are none.
async fn until(
    s: &Scenario,
    team: &Namespace,
    image: &str,
    more: &[&str],
    words: &[&str],
) -> Result<()> {
    let is = async || {
        let said = refusal(s, team, image, more).await;
        let as_expected = match &said {
            None => words.is_empty(),
            Some(said) => !words.is_empty() && words.iter().all(|word| said.contains(word)),
        };
        Ok(as_expected.then_some(()))
    };
    let waited = await_some(&format!("a Pod of {image}: {words:?}"), SOON, is).await;
    match waited {
        Ok(()) => Ok(()),
        Err(error) => {
            let said = refusal(s, team, image, more).await;
            let maps = [
                "get",
                "configmaps",
                "--all-namespaces",
                "--output=yaml",
                "--selector=multiarch.dev/coverage=true",
            ];
            let maps = s.cluster.kubectl(maps).await?;
            Err(error).context(format!("it says {said:?}; the maps: {maps}"))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_starts_when_its_image_is_published_and_not_before() -> Result<()> {
    scenario(async |s| {
        let home = Namespace::create(&s.client).await?;
        home.grant_leases(&s.client, NAMESPACE, SERVICE_ACCOUNT).await?;
        home.grant_maps(&s.client, NAMESPACE, SERVICE_ACCOUNT).await?;
        let team = Namespace::for_pods(&s.client, &[(LABEL, &home.name)]).await?;
        let chosen = json!({"matchLabels": {LABEL: home.name}});
        let values = json!({
            "fullnameOverride": home.name,
            "admission": {"enabled": true, "pods": "Deny", "namespaceSelector": chosen},
        });
        let release = Release { name: &home.name, namespace: &home.name, values: &values };
        let policies = ["admission-watch.yaml", "admission.yaml"];
        let policies = Helm::new()?.template(release, &policies).await?;
        s.cluster.apply_text(&policies).await?;

        let folder = tempfile::tempdir()?;
        let of_maps = format!("--leader-election-namespace={}", home.name);
        let flags = ["--coverage-maps", &of_maps];
        let watched = Some(team.name.as_str());
        let operator = Operator::start_with(&s.cluster, folder.path(), watched, &flags).await?;

        let objects = Objects::of(&s.client, &team.name);
        s.push("app:1", &["linux/amd64"]).await?;
        objects.apply_until(&s.spec("app", "app:1", &BOTH), "Unknown/WaitingForPlatforms").await?;
        let (image, object) = (s.registry.reference("app:1"), format!("{}/app", team.name));
        let waits = [image.as_str(), "is not published", "waits for linux/arm64", &object];
        until(s, &team, &image, &[], &waits).await?;

        s.push("app:1", &["linux/arm64"]).await?;
        let published = objects.request("app").await?;
        assert_eq!(published.ready(), "True/Succeeded");
        until(s, &team, &image, &[], &[]).await?;
        let on = |arch: &str| {
            let spec = json!({"spec": {"nodeSelector": {"kubernetes.io/arch": arch}}});
            format!("--overrides={spec}")
        };
        assert_eq!(refusal(s, &team, &image, &[&on("arm64")]).await, None);
        until(s, &team, &image, &[&on("s390x")], &[&image, "s390x", &object]).await?;
        let by = |digest: &str| format!("{image}@{digest}");
        assert_eq!(refusal(s, &team, &by(published.digest()), &[]).await, None);
        let other = format!("sha256:{}", "0".repeat(64));
        until(s, &team, &by(&other), &[], &[&other, published.digest(), &object]).await?;

        // A platform more under the same tag makes it incomplete, and is told; a tag that is raised leaves the old one as it was.
        let mut more = s.spec("app", "app:1", &BOTH);
        more.spec["requiredPlatforms"] = json!(["linux/riscv64"]);
        objects.apply_until(&more, "Unknown/WaitingForPlatforms").await?;
        until(s, &team, &image, &[], &[&image, "lacks linux/riscv64", &object]).await?;
        let mut raised = s.spec("app", "app:2", &BOTH);
        objects.apply_until(&raised, "Unknown/WaitingForPlatforms").await?;
        until(s, &team, &image, &[], &[]).await?;
        let second = s.registry.reference("app:2");
        until(s, &team, &second, &[], &[&second, "is not published", &object]).await?;
        s.push("app:2", &BOTH).await?;
        raised.spec["interval"] = json!("11m");
        objects.apply_until(&raised, "True/Succeeded").await?;
        until(s, &team, &second, &[], &[]).await?;
        assert_eq!(refusal(s, &team, &image, &[]).await, None, "the one before, for a rollback");

        // With nobody to write maps what was published may start.
        drop(operator);
        assert_eq!(refusal(s, &team, &image, &[]).await, None);

        s.cluster.delete_policies(&home.name).await?;
        home.delete().await?;
        team.delete().await
    })
    .await
}

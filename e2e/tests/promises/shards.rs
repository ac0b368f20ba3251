//! Several operators share the objects by their labels: each works on its own, and on no tag of another one's.

use anyhow::{Context, Result};
use kube::api::{ListParams, Patch, PatchParams};
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    operator::{Operator, samples},
    scenario::scenario_with,
    spec::{Report, Spec},
};
use serde_json::{Value, json};

const ONE: [&str; 1] = ["linux/amd64"];
const MAIN: &[&str] = &["--watch-label-selector=multiarch.dev/shard notin (a, b)"];
const SHARD: &str = "--watch-label-selector=multiarch.dev/shard=a";

#[tokio::test(flavor = "multi_thread")]
async fn each_works_on_its_own() -> Result<()> {
    scenario_with(MAIN, async |s| {
        let a = s.replica_with("a", &[SHARD]).await?;
        for (name, shard) in [("none", None), ("mistyped", Some("A")), ("mine", Some("a"))] {
            s.push(&format!("{name}:1"), &ONE).await?;
            apply(s, &s.spec(name, &format!("{name}:1"), &ONE), shard).await?;
            s.until_ready(name, "True/Succeeded").await?;
        }
        assert_eq!(shown(&s.operator).await?, ["mistyped", "none"]);
        assert_eq!(shown(&a).await?, ["mine"]);
        // Nobody's.
        s.push("other:1", &ONE).await?;
        apply(s, &s.spec("other", "other:1", &ONE), Some("b")).await?;

        // One moves, and its series with it.
        label(s, "none", "a").await?;
        shows(&s.operator, &["mistyped"]).await?;
        shows(&a, &["mine", "none"]).await?;
        let runs = s.operator.runs().await?;
        s.request("none").await?;
        assert!((s.operator.runs().await? - runs).abs() < f64::EPSILON, "it is not its own");
        assert_eq!(s.images().get("other").await?.ready(), "Unknown/");
        Ok(())
    })
    .await
}

/// Also where the target's tag of the one is beside the target's of the other.
#[tokio::test(flavor = "multi_thread")]
async fn none_takes_a_tag_of_another_one() -> Result<()> {
    scenario_with(MAIN, async |s| {
        let _a = s.replica_with("a", &[SHARD]).await?;
        s.push("app:1", &ONE).await?;
        s.push("app:2", &ONE).await?;
        let mut first = s.spec("first", "app:1", &ONE);
        first.spec["target"]["additionalTags"] = json!(["latest"]);
        apply(s, &first, None).await?;
        let first = s.until_ready("first", "True/Succeeded").await?;

        let mut second = s.spec("second", "app:2", &ONE);
        second.spec["target"]["additionalTags"] = json!(["latest"]);
        apply(s, &second, Some("a")).await?;
        let second = s.until_ready("second", "False/TargetConflict").await?;
        assert!(second.message().contains("the MultiArchImage first"), "{}", second.message());
        let spec = s.spec("third", "app:1", &ONE);
        apply(s, &spec, Some("a")).await?;
        s.until_ready("third", "False/TargetConflict").await?;
        for tag in ["app:1", "app:latest"] {
            assert_eq!(s.registry.digest(tag).await?.as_deref(), Some(first.digest()), "{tag}");
        }
        assert_eq!(s.registry.digest("app:2").await?.as_deref(), Some(second.digest()));

        // By this they find each other; people can, too.
        let repository = format!("status.repository={}", s.registry.reference("app"));
        let found = s.images().list(&ListParams::default().fields(&repository)).await?;
        let mut found: Vec<_> = found.items.into_iter().filter_map(|o| o.metadata.name).collect();
        found.sort();
        assert_eq!(found, ["first", "second"]);
        Ok(())
    })
    .await
}

/// Applies `spec` with the label of `shard`.
async fn apply(s: &Scenario, spec: &Spec, shard: Option<&str>) -> Result<()> {
    let mut object = spec.object();
    if let Some(shard) = shard {
        object["metadata"]["labels"] = json!({"multiarch.dev/shard": shard});
    }
    let parameters = PatchParams::apply("e2e").force();
    let applied = s.images().patch(&spec.name, &parameters, &Patch::Apply(object)).await;
    applied.with_context(|| format!("failed to apply {}", spec.name)).map(drop)
}

async fn label(s: &Scenario, name: &str, shard: &str) -> Result<()> {
    let patch: Value = json!({"metadata": {"labels": {"multiarch.dev/shard": shard}}});
    let patched = s.images().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.context("failed to label").map(drop)
}

/// The objects that its gauges show.
async fn shown(operator: &Operator) -> Result<Vec<String>> {
    let text = operator.get("/metrics", "text/plain").await?.text().await?;
    let of = samples(&text)?.into_iter().filter(|sample| sample.name == "multiarch_resource_ready");
    let mut names: Vec<_> = of.filter_map(|mut sample| sample.labels.remove("name")).collect();
    names.sort();
    Ok(names)
}

async fn shows(operator: &Operator, names: &[&str]) -> Result<()> {
    let are = async || Ok((shown(operator).await? == names).then_some(()));
    await_some(&format!("it shows {names:?}"), SOON, are).await
}

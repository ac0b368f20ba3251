//! A set of many images between two registries: it converges, costs what it says, and is silent then.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use axum::http::Request;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use multiarch_crds::{
    condition::{Type, get},
    v1alpha1::MultiArchImageSet,
};
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_condition, await_some},
    images::Image,
    operator::samples,
    registry::Registry,
    scale::{scale, tell},
    scenario::scenario_of_two_registries_on_a_cluster_of_its_own,
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How many pushes are on their way to a registry at once.
const AT_ONCE: usize = 16;
/// Registries on the same machine have no limits to be kept.
const FLAGS: &[&str] = &["--sets", "--registry-qps=1000"];
/// How far apart writes of a set's status are at the least.
const PACE: f64 = 3.0;

/// How long so many lines may take on a machine that has a lot to do.
fn patience(lines: usize) -> Duration {
    SOON + Duration::from_millis(1200).mul_f64(f64::from(u32::try_from(lines).unwrap_or(u32::MAX)))
}

/// The requests for our kinds that the API server has counted, by what they ask: `APPLY multiarchimagesets/status`.
async fn requests(s: &Scenario) -> Result<BTreeMap<String, u64>> {
    let request = Request::get("/metrics").body(Vec::new())?;
    let text = s.client.request_text(request).await.context("no metrics of the API server")?;
    let ours: Vec<_> = text
        .lines()
        .filter(|line| {
            line.starts_with("apiserver_request_total{") && line.contains("multiarch.dev")
        })
        .collect();
    let mut counts = BTreeMap::new();
    for sample in samples(&ours.join("\n"))? {
        let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let status = if label("subresource") == "status" { "/status" } else { "" };
        let of = format!("{} {}{status}", label("verb"), label("resource"));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a count"
        )]
        let count = sample.value as u64;
        *counts.entry(of).or_default() += count;
    }
    Ok(counts)
}

/// What `after` has more than `before`, of what this test does not ask itself.
fn more(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = after.iter().map(|(of, count)| (of.clone(), count - before.get(of).unwrap_or(&0)));
    more.filter(|(of, count)| {
        *count > 0 && !["WATCH", "LIST", "GET"].iter().any(|verb| of.starts_with(verb))
    })
    .collect()
}

async fn apply(sets: &Api<MultiArchImageSet>, spec: &Value) -> Result<()> {
    let object = json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
        "metadata": {"name": "all"}, "spec": spec,
    });
    let params = PatchParams::apply("e2e").force();
    sets.patch("all", &params, &Patch::Apply(object)).await.context("failed to apply")?;
    Ok(())
}

async fn until_ready(sets: &Api<MultiArchImageSet>, lines: usize) -> Result<()> {
    let all = format!("{lines}/{lines}");
    let is_ready = |set: &MultiArchImageSet| {
        let Some(status) = &set.status else { return false };
        let ready = get(&status.conditions, Type::Ready);
        status.observed_generation == set.metadata.generation
            && status.summary.as_ref() == Some(&all)
            && ready.is_some_and(|ready| ready.status == "True")
    };
    await_condition(sets, "all", "all are ready", patience(lines), is_ready).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_a_thousand_lines_converges() -> Result<()> {
    let lines = scale(1000, 100);
    scenario_of_two_registries_on_a_cluster_of_its_own(FLAGS, async |s, elsewhere| {
        Box::pin(converges(s, elsewhere, lines)).await
    })
    .await
}

async fn converges(s: &Scenario, elsewhere: &Registry, lines: usize) -> Result<()> {
    let interval = scale(Duration::from_mins(2), Duration::from_mins(1));
    let image = Image::index(&[
        Image::oci("linux/amd64", "one of many")?,
        Image::oci("linux/arm64", "one of many")?,
    ])?;
    let names: Vec<_> = (0..lines).map(|n| format!("team/app{n}:1")).collect();
    let pushes: Vec<_> = names.iter().map(|name| elsewhere.push(name, &image)).collect();
    stream::iter(pushes).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let plain = [elsewhere, &s.registry].map(|it| json!({"host": it.host(), "plainHTTP": true}));
    let spec = |names: &[String]| {
        json!({
            "images": names,
            "from": {"registry": elsewhere.host()},
            "to": {"registry": s.registry.host(), "prefix": "mirror"},
            "interval": "30s",
            "template": {"registries": plain, "interval": format!("{}s", interval.as_secs())},
        })
    };
    let sets: Api<MultiArchImageSet> = Api::namespaced(s.client.clone(), &s.namespace.name);
    elsewhere.proxy.forget();
    s.registry.proxy.forget();
    let (before, resting) = (requests(s).await?, s.operator.resident()?.0);
    let begun = Instant::now();
    apply(&sets, &spec(&names)).await?;
    until_ready(&sets, lines).await?;
    let took = begun.elapsed();
    let asked = more(&before, &requests(s).await?);
    let (source, target) = (elsewhere.proxy.count(), s.registry.proxy.count());
    let (resident, most) = s.operator.resident()?;
    tell(&format!(
        "a set of {lines} lines between two registries: all ready after {took:.0?}; API requests {asked:?}; {source} requests to the source's registry, {target} to the target's; \
         the operator has {} MiB of memory ({} at most, {} before)",
        resident >> 20,
        most >> 20,
        resting >> 20
    ));
    // Each object is applied once, and the counts are written at a pace.
    assert_eq!(asked.get("APPLY multiarchimages"), Some(&(lines as u64)), "{asked:?}");
    let reports = asked.get("APPLY multiarchimagesets/status").copied().unwrap_or_default();
    let at_most = took.as_secs_f64() / PACE + 3.0;
    assert!(reports >= 1 && f64::from(u32::try_from(reports)?) <= at_most, "{reports} > {at_most}");

    // Unchanged, it is HEADs of the images and nothing else.
    elsewhere.proxy.forget();
    s.registry.proxy.forget();
    let before = requests(s).await?;
    let (runs, all) = (s.operator.runs().await?, f64::from(u32::try_from(lines)?));
    s.operator.await_runs(runs + all, 2 * interval + patience(lines)).await?;
    for registry in [elsewhere, &s.registry] {
        let seen = registry.proxy.seen();
        let other: Vec<_> = seen.iter().filter(|seen| seen.method != "HEAD").collect();
        assert!(!seen.is_empty() && other.is_empty(), "{other:#?}");
    }
    let idle = more(&before, &requests(s).await?);
    assert_eq!(idle, BTreeMap::new(), "nothing is written");

    // A line less is an object less, and its tag is left.
    let before = requests(s).await?;
    apply(&sets, &spec(&names[1..])).await?;
    until_ready(&sets, lines - 1).await?;
    let asked = more(&before, &requests(s).await?);
    assert_eq!(asked.get("DELETE multiarchimages"), Some(&1), "{asked:?}");
    assert_eq!(asked.get("APPLY multiarchimages"), None, "{asked:?}");
    assert!(s.registry.digest(&format!("mirror/{}", names[0])).await?.is_some());

    // With the set all go.
    let begun = Instant::now();
    sets.delete("all", &DeleteParams::background()).await?;
    let gone = async || {
        let left = s.images().list(&ListParams::default().limit(1)).await?;
        Ok(left.items.is_empty().then_some(()))
    };
    await_some("its objects are gone", patience(lines), gone).await?;
    tell(&format!("… and all objects are gone {:.0?} after the set", begun.elapsed()));
    ensure!(s.registry.digest(&format!("mirror/{}", names[1])).await?.is_some(), "a tag is gone");
    Ok(())
}

//! Thousands of objects that are published at once, and the coverage maps that say so.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Patch, PatchParams};
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    scale::{scale, tell},
    scenario::scenario_with_maps,
    spec::Spec,
};
use multiarch_operator::{
    coverage::{Key, Value},
    oci::{Digest, Reference},
};
use serde_json::json;
use tokio::time::Instant;

/// Objects that this operator has in its maps, and does not work on.
const NONE: &[&str] = &["--watch-label-selector=multiarch.dev/shard=another-operators"];
/// How many requests are on their way to the API server at once.
const AT_ONCE: usize = 32;
/// How large a map may be as it is stored.
const LARGEST: usize = 256 * 1024;

fn reference(s: &Scenario, n: usize) -> String {
    s.registry.reference(&format!("team-{}/application-{n}:1.0.{n}", n % 40))
}

async fn create(s: &Scenario, n: usize) -> Result<()> {
    let target = format!("team-{}/application-{n}:1.0.{n}", n % 40);
    let spec = Spec::new(&s.registry, &format!("application-{n}"), &target);
    let spec = spec.source("base", &format!("{target}-amd64"), &["linux/amd64"]);
    s.apply(&spec).await.map(drop)
}

/// As the operator of its shard reports what it has published.
async fn publish(s: &Scenario, n: usize, round: u8) -> Result<()> {
    let (reference, digest) = (reference(s, n), Digest::of(format!("{n} {round}").as_bytes()));
    let repository = reference.rsplit_once(':').map(|(repository, _)| repository);
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let platform = |platform: &str| json!({"platform": platform, "digest": digest.as_str()});
    let status = json!({
        "observedGeneration": 1,
        "reference": format!("{reference}@{digest}"),
        "repository": repository,
        "digest": digest.as_str(),
        "tags": [format!("1.0.{n}")],
        "pushedTo": repository,
        "platforms": [platform("linux/amd64"), platform("linux/arm64")],
        "conditions": [condition("Published"), condition("PlatformsComplete")],
    });
    let (name, patch) = (format!("application-{n}"), Patch::Merge(json!({"status": status})));
    s.images().patch_status(&name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn each<F: Future<Output = Result<()>>>(
    objects: usize,
    of: impl Fn(usize) -> F,
) -> Result<()> {
    let all: Vec<_> = (0..objects).map(of).collect();
    stream::iter(all).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// Waits until the maps have what `is` says of each object.
async fn until(
    s: &Scenario,
    objects: usize,
    what: &str,
    is: impl Fn(&BTreeMap<String, String>, usize) -> bool,
) -> Result<Duration> {
    let begun = Instant::now();
    let all = async || {
        // All of them are megabytes, so they are read where there is nothing to wait for.
        if s.operator.metric("multiarch_coverage_pending_seconds").await? > 0.0 {
            return Ok(None);
        }
        // In the middle of a split a key is in two of them.
        let Ok(entries) = s.maps().entries().await else { return Ok(None) };
        Ok((0..objects).all(|n| is(&entries, n)).then_some(()))
    };
    // A write a second, of some maps, on a machine that has a lot to do.
    let patience =
        SOON * 4 + Duration::from_millis(100).mul_f64(f64::from(u32::try_from(objects)?));
    await_some(what, patience, all).await?;
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_that_are_published_at_once_are_few_writes() -> Result<()> {
    let objects = scale(5000, 500);
    scenario_with_maps(NONE, async |s| {
        let key = |n: usize| {
            let reference: Reference = reference(s, n).parse().unwrap();
            Key::of_tag(reference.repository(), reference.tag().unwrap())
        };
        let keys: Vec<_> = (0..objects).map(key).collect();
        let namespace = s.namespace.name.clone();
        s.maps().holder().await?;
        let writes = s.maps().writes().await?;
        each(objects, |n| create(s, n)).await?;
        let waits = |entries: &BTreeMap<String, String>, n: usize| {
            entries.contains_key(&keys[n].within(&namespace).to_string())
        };
        until(s, objects, "all are waited for", waits).await?;
        for round in [1, 2] {
            let (begun, before) = (Instant::now(), writes.seen().len());
            each(objects, |n| publish(s, n, round)).await?;
            let published = begun.elapsed();
            let says = |entries: &BTreeMap<String, String>, n: usize| {
                let value: Option<Value> = entries.get(&keys[n].to_string()).and_then(|it| it.parse().ok());
                value.is_some_and(|value| {
                    let digest = Digest::of(format!("{n} {round}").as_bytes());
                    value.published && value.digest == Some(digest) && value.former.len() + 1 == usize::from(round)
                })
            };
            let lag = until(s, objects, "all are published", says).await?;
            let (took, count) = (begun.elapsed(), writes.seen().len() - before);
            let maps = s.maps().stored().await?;
            let sizes = maps.iter().map(|map| serde_json::to_vec(map).map(|bytes| bytes.len()));
            let sizes: Vec<_> = sizes.collect::<Result<_, _>>()?;
            let (resident, most) = s.operator.resident()?;
            tell(&format!(
                "{objects} objects published in {published:.1?} (round {round}): {count} map writes in {took:.1?}, {} in the busiest second; all told {lag:.1?} after the last; {} maps of {} KiB at most; the operator has {} MiB, {} at most",
                writes.busiest(),
                maps.len(),
                sizes.iter().max().unwrap_or(&0) >> 10,
                resident >> 20,
                most >> 20,
            ));
            assert!(writes.busiest() <= 2, "{:?}", writes.seen());
            assert!(u64::try_from(count)? <= took.as_secs() + 2, "{count} writes in {took:?}");
            assert!(sizes.iter().all(|size| *size <= LARGEST), "{sizes:?}");
            let all: usize = sizes.iter().sum();
            assert!(maps.len() <= 2 + all / (80 << 10), "{sizes:?}");
        }
        assert_eq!(s.operator.metric("multiarch_coverage_left_out").await?.to_string(), "0");
        Ok(())
    })
    .await
}

//! Many objects at once: one source that all of them name is asked for once an interval, and a restart asks for nothing all at once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use multiarch_e2e::{
    Scenario,
    await_condition::{SOON, await_some},
    images::Image,
    proxy::{Seen, peak},
    scale::{scale, tell},
    scenario,
    spec::Spec,
};

const PLATFORM: &str = "linux/amd64";
/// How many pushes and objects are on their way to a server at once.
const AT_ONCE: usize = 16;

/// How long `objects` may take to be published, or looked at, on a machine that has a lot to do.
fn patience(objects: usize) -> Duration {
    SOON + Duration::from_millis(600).mul_f64(f64::from(u32::try_from(objects).unwrap_or(u32::MAX)))
}

/// Publishes `objects` tags, each of an object of its own that names the tag of `source`, and waits until all are there.
async fn publish(
    s: &Scenario,
    objects: usize,
    interval: Duration,
    source: impl Fn(usize) -> String,
) -> Result<()> {
    let apply = |n: usize| {
        let spec = Spec::new(&s.registry, &format!("app-{n}"), &format!("team/app:t{n}"));
        let spec = spec.source("base", &format!("team/app:{}", source(n)), &[PLATFORM]);
        let spec = spec.with("interval", format!("{}s", interval.as_secs()));
        async move { s.apply(&spec).await.map(drop) }
    };
    let applied: Vec<_> = (0..objects).map(apply).collect();
    stream::iter(applied).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let all = f64::from(u32::try_from(objects)?);
    let ready =
        async || Ok((s.operator.metric("multiarch_resource_ready").await? >= all).then_some(()));
    await_some("all are published", patience(objects), ready).await
}

/// When each path was asked for first.
fn firsts(seen: &[Seen]) -> HashMap<String, Instant> {
    let mut firsts = HashMap::new();
    for seen in seen {
        let first = firsts.entry(seen.path.clone()).or_insert(seen.at);
        *first = seen.at.min(*first);
    }
    firsts
}

fn of<'a>(seen: &'a [Seen], method: &'a str, reference: &'a str) -> impl Iterator<Item = &'a Seen> {
    let path = format!("/v2/team/app/manifests/{reference}");
    seen.iter().filter(move |seen| seen.method == method && seen.path == path)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_of_many_objects_is_asked_for_once_an_interval() -> Result<()> {
    let objects = scale(500, 50);
    let interval = scale(Duration::from_mins(2), Duration::from_secs(30));
    scenario(async |s| {
        s.registry.push("team/app:base", &Image::oci(PLATFORM, "base")?).await?;
        publish(s, objects, interval, |_| "base".into()).await?;
        let seen = s.registry.proxy.seen();
        let read = of(&seen, "GET", "base").count();
        assert_eq!(read, 1, "all have read it together");

        let runs = s.operator.runs().await?;
        s.registry.proxy.forget();
        let begun = Instant::now();
        let two_each = f64::from(u32::try_from(2 * objects)?);
        s.operator.await_runs(runs + two_each, 3 * interval + patience(objects)).await?;
        let (seen, elapsed) = (s.registry.proxy.seen(), begun.elapsed());

        let heads = of(&seen, "HEAD", "base").count();
        let intervals = elapsed.as_secs_f64() / interval.as_secs_f64();
        tell(&format!(
            "{objects} objects that name one source: {heads} HEADs of it in {intervals:.1} intervals, and {} of the objects' own tags",
            seen.len() - heads
        ));
        assert!(seen.iter().all(|seen| seen.method == "HEAD"), "{seen:#?}");
        // One at the beginning, and one each time that an interval is over, which jitter makes a tenth shorter at most.
        let at_most = intervals / 0.9 + 1.0;
        assert!(heads >= 1 && f64::from(u32::try_from(heads)?) <= at_most, "{heads} > {at_most}");
        for n in 0..objects {
            assert!(of(&seen, "HEAD", &format!("t{n}")).count() >= 1, "t{n} was not looked at");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_looks_at_what_is_published_little_by_little() -> Result<()> {
    let objects = scale(2000, 200);
    let interval = scale(Duration::from_mins(5), Duration::from_secs(30));
    scenario(async |s| {
        let image = Image::oci(PLATFORM, "base")?;
        let tags: Vec<_> = (0..objects).map(|n| format!("team/app:s{n}")).collect();
        let pushes: Vec<_> = tags.iter().map(|tag| s.registry.push(tag, &image)).collect();
        stream::iter(pushes).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        publish(s, objects, interval, |n| format!("s{n}")).await?;

        s.registry.proxy.forget();
        s.operator.kill_and_restart().await?;
        // Something new comes in between, and does not wait.
        s.push("new:1", &[PLATFORM]).await?;
        s.apply_until(&s.spec("new", "new:1", &[PLATFORM]), "True/Succeeded").await?;
        let looked_at = async || {
            let seen = s.registry.proxy.seen_of("/v2/team/app/manifests/t");
            let firsts = firsts(&seen);
            Ok((firsts.len() == objects).then_some(firsts))
        };
        let deadline = interval + patience(objects);
        let firsts = await_some("each one is looked at", deadline, looked_at).await?;
        let seen = s.registry.proxy.seen_of("/v2/team/app/");
        let begin = firsts.values().min().context("nothing was looked at")?;
        let end = firsts.values().max().context("nothing was looked at")?;
        let (took, peak) = (*end - *begin, peak(&seen));
        tell(&format!(
            "a restart with {objects} published objects and an interval of {interval:?}: {} HEADs, {peak} in the busiest second, first looks over {took:?}",
            seen.len()
        ));
        assert!(seen.iter().all(|seen| seen.method == "HEAD"), "{seen:#?}");
        // Not all at once: a machine that stands still for a while makes up for it, so it is a generous share.
        assert!(took >= interval / 2, "all were looked at within {took:?}");
        assert!(peak <= seen.len() / 4, "{peak} of {} in one second", seen.len());
        Ok(())
    })
    .await
}

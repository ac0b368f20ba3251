//! What the policies cost: how long the API server takes for a Pod, without them, and with 1,000 and 5,000 entries. `make bench` runs it.
#![expect(clippy::unwrap_used, reason = "in a bench, a panic is the report")]
#![expect(dead_code, reason = "what tests have beside")]

#[path = "../tests/admission/ask.rs"]
mod ask;
#[path = "../tests/admission/entries.rs"]
mod entries;
#[path = "../tests/admission/stage.rs"]
mod stage;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use multiarch_e2e::{cluster::Cluster, scale::tell};
use multiarch_operator::coverage::ranges::{self, Begins};
use serde_json::json;

use self::{
    ask::{Ask, Verdict, pod},
    entries::{Entries, Entry, NOW, key},
    stage::Stage,
};

/// How many Pods are asked for, one by one.
const PODS: usize = 400;

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Arc::new(Cluster::start_with(&[]).await?);
    stage::keep_watching(&cluster).await?;
    tell("a Pod of two images (dry run)          p50 ms   p95 ms");
    let none = Stage::on(Arc::clone(&cluster)).await?;
    measure(&none, "no policy").await?;
    for (count, require_managed) in [(1_000, false), (5_000, false), (1_000, true), (5_000, true)] {
        let stage = Stage::on(Arc::clone(&cluster)).await?;
        let maps = write(&stage, count).await?;
        let values = json!({"pods": "Deny", "requireManaged": require_managed});
        stage.install(&values).await?;
        stage
            .until_pod(&image("late", 0), "is refused", |it| matches!(it, Verdict::Refused(_)))
            .await?;
        let managed = if require_managed { ", requireManaged" } else { "" };
        measure(&stage, &format!("{count} entries in {maps} maps{managed}")).await?;
        stage.end().await?;
    }
    measure(&none, "no policy, again").await
}

fn image(name: &str, number: usize) -> String {
    format!("registry.example.com/some-team/{name}-{number:05}:2026.11.28-1")
}

/// Writes maps of `count` entries, parted as the operator does, and says how many maps.
async fn write(stage: &Stage, count: usize) -> Result<usize> {
    let mut all: Entries = (0..count)
        .map(|number| {
            let object = format!("some-team/app-{number:05}");
            let former = [NOW; 2].join(",");
            let entry = Entry { former: &former, ..Entry::published(&object) };
            (key(&image("app", number)), entry.value())
        })
        .collect();
    all.insert(key(&image("late", 0)), Entry::awaited("some-team/late", "linux/arm64").value());
    let parsed = all.iter().map(|(key, value)| Ok((key.parse()?, value.parse()?)));
    let parsed = parsed.collect::<Result<_>>()?;
    let begins = ranges::begins(&Begins::from([String::new()]), &parsed);
    let ends = begins.iter().skip(1).map(String::as_str).chain([""]);
    for (number, (from, to)) in begins.iter().zip(ends).enumerate() {
        let is_in = |key: &str| key >= from.as_str() && (to.is_empty() || key < to);
        let map = all.iter().filter(|(key, _)| is_in(key));
        let map = map.map(|(key, value)| (key.clone(), value.clone())).collect();
        stage.map_of(&number.to_string(), [from, to], &map).await?;
    }
    Ok(begins.len())
}

async fn measure(stage: &Stage, what: &str) -> Result<()> {
    let mut of = pod("tried", &image("app", 500));
    of["spec"]["initContainers"] = json!([{"name": "first", "image": image("app", 700)}]);
    let ask = Ask::create(&stage.team.name, &of);
    let mut times = Vec::new();
    for number in 0..PODS + PODS / 10 {
        let began = Instant::now();
        ensure!(
            ask.try_out(&stage.client).await? == Verdict::Passed,
            "{what}: the Pod did not pass"
        );
        if number >= PODS / 10 {
            times.push(began.elapsed());
        }
    }
    times.sort_unstable();
    let at = |part: usize| milliseconds(times[times.len() * part / 100]);
    tell(&format!("{what:38} {:6.2}   {:6.2}", at(50), at(95)));
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

//! Two replicas, of which the one that leads is killed again and again while sources move: no object is lost, no index is wrong, and it is told how long each takeover took.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Patch, PatchParams};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    await_condition::{await_condition, await_some},
    images::Image,
    operator::Operator,
    proxy::client,
    scale::{scale, tell},
    scenario::{REQUESTED_AT, scenario_with_election, tag_of},
    spec::Report,
};
use serde_json::{Value, json};
use tokio::time::Instant;

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// A lease, and a few tries of the one that stands by.
const TAKEOVER: Duration = Duration::from_secs(15 + 15);
/// Until all objects are as they should be, on a busy machine.
const SETTLED: Duration = Duration::from_mins(5);
/// How many images are pushed between two kills.
const MOVES: usize = 20;

/// The digests of all images that were ever pushed for a platform of an object, in order.
#[derive(Default)]
struct Pushed(Mutex<HashMap<(usize, &'static str), Vec<String>>>);

impl Pushed {
    fn add(&self, object: usize, platform: &'static str, digest: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((object, platform)).or_default().push(digest);
    }

    fn of(&self, object: usize, platform: &'static str) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(object, platform)).cloned().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_again_and_again() -> Result<()> {
    let (kills, objects) = scale((20, 200), (2, 20));
    scenario_with_election(&[], async |s| {
        s.operator.await_lead(TAKEOVER).await?;
        let mut second = s.replica("second").await?;
        let pushed = Pushed::default();
        for object in 0..objects {
            for platform in PLATFORMS {
                push(s, &pushed, object, platform, 0).await?;
            }
        }
        let apply = async |object: usize| {
            let (name, target) = names(object);
            s.apply(&s.spec(&name, &target, &PLATFORMS).with("interval", "30s")).await.map(drop)
        };
        stream::iter(0..objects).map(apply).buffer_unordered(8).try_collect::<Vec<_>>().await?;

        let mut takeovers = Vec::new();
        let mut looked = 0;
        for kill in 0..kills {
            // In the middle of things: the next news are on their way, and not all of the last ones are published.
            for step in 0..MOVES {
                let object = (kill * MOVES + step * 7) % objects;
                push(s, &pushed, object, PLATFORMS[step % 2], kill + 1).await?;
                if step % 3 == 0 {
                    ask(s, object).await?;
                }
                looked += usize::from(look(s, &pushed, (object + step) % objects).await?);
            }
            let (leader, other) = if first_leads(&s.operator, &second).await? {
                (&mut s.operator, &second)
            } else {
                (&mut second, &s.operator)
            };
            leader.kill().await?;
            let killed = Instant::now();
            let begun = other.runs().await?;
            other.await_lead(TAKEOVER).await?;
            let leads = killed.elapsed();
            let works = async || Ok((other.runs().await? > begun).then_some(()));
            await_some("it works", TAKEOVER, works).await?;
            takeovers.push((leads, killed.elapsed()));
            leader.restart().await?;
            looked += look_at_all(s, &pushed, objects).await?;
        }

        for object in 0..objects {
            settled(s, &pushed, object).await?;
        }
        report(&takeovers, objects, looked);
        no_panic(&s.operator)?;
        no_panic(&second)
    })
    .await
}

/// Waits until one of the two leads, and tells whether that is the first.
async fn first_leads(first: &Operator, second: &Operator) -> Result<bool> {
    let one = async || match (first.leads().await?, second.leads().await?) {
        // Asked one after the other.
        (true, true) => {
            ensure!(!first.leads().await?, "both lead");
            Ok(None)
        }
        (false, false) => Ok(None),
        (first, _) => Ok(Some(first)),
    };
    await_some("one of the two leads", TAKEOVER, one).await
}

/// The name of an object, and what it publishes to.
fn names(object: usize) -> (String, String) {
    (format!("app-{object}"), format!("app-{object}:1"))
}

/// Moves a source.
async fn push(
    s: &Scenario,
    pushed: &Pushed,
    object: usize,
    platform: &'static str,
    version: usize,
) -> Result<()> {
    let (name, target) = names(object);
    let image = Image::oci(platform, &format!("{name} {version}"))?;
    // Before it is there, since it may be published at once.
    pushed.add(object, platform, image.manifest.digest());
    let tag = tag_of(&target, platform);
    s.registry.push(&tag, &image).await
}

/// Asks for a run at once, and waits for nothing.
async fn ask(s: &Scenario, object: usize) -> Result<()> {
    let asked = format!("{:?}", Instant::now());
    let patch = json!({"metadata": {"annotations": {REQUESTED_AT: asked}}});
    let (images, (name, _)) = (s.images(), names(object));
    let patched = images.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.context("failed to annotate").map(drop)
}

/// Looks at what the tag of an object names, past the proxy: nothing, or all platforms, each an image that was pushed for it and is
/// there. Whether there was something.
async fn look(s: &Scenario, pushed: &Pushed, object: usize) -> Result<bool> {
    let (_, target) = names(object);
    let Some(index) = manifest(s, &target).await? else { return Ok(false) };
    let children = index["manifests"].as_array().context("no index")?;
    let mut found = HashSet::new();
    for child in children {
        let of = &child["platform"];
        let platform = format!("{}/{}", text(&of["os"]), text(&of["architecture"]));
        let platform = PLATFORMS.into_iter().find(|known| *known == platform);
        let platform = platform.with_context(|| format!("{target}: another platform: {child}"))?;
        let digest = text(&child["digest"]).to_owned();
        ensure!(
            pushed.of(object, platform).contains(&digest),
            "{target}: {platform} is {digest}, which was never pushed for it"
        );
        let (repository, _) = target.split_once(':').context("no tag")?;
        let there = manifest(s, &format!("{repository}@{digest}")).await?;
        ensure!(there.is_some(), "{target}: {platform} is {digest}, which is not there");
        found.insert(platform);
    }
    ensure!(found.len() == PLATFORMS.len() && children.len() == found.len(), "{target}: {index}");
    Ok(true)
}

async fn look_at_all(s: &Scenario, pushed: &Pushed, objects: usize) -> Result<usize> {
    let looks = stream::iter(0..objects).map(|object| look(s, pushed, object));
    let looks: Vec<bool> = looks.buffer_unordered(8).try_collect().await?;
    Ok(looks.into_iter().filter(|there| *there).count())
}

/// The manifest that `of` names.
async fn manifest(s: &Scenario, of: &str) -> Result<Option<Value>> {
    let of = s.registry.uncounted(of);
    let (host, path) = of.split_once('/').context("no host")?;
    let split = path.split_once('@').or_else(|| path.rsplit_once(':'));
    let (repository, reference) = split.context("no reference")?;
    let url = format!("http://{host}/v2/{repository}/manifests/{reference}");
    let accept =
        "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    let answer = client()?.get(&url).header("accept", accept).send().await?;
    match answer.status().as_u16() {
        200 => {
            let body = answer.bytes().await.with_context(|| format!("GET {url}"))?;
            serde_json::from_slice(&body).map(Some).with_context(|| format!("GET {url}: no JSON"))
        }
        404 => Ok(None),
        status => bail!("GET {url}: {status}"),
    }
}

/// Waits until the object has what its sources have now, and its tag has it, too.
async fn settled(s: &Scenario, pushed: &Pushed, object: usize) -> Result<()> {
    let (name, target) = names(object);
    let last = |platform| pushed.of(object, platform).pop().unwrap_or_default();
    let news = PLATFORMS.map(last);
    let has_them = |image: &MultiArchImage| {
        let platforms = image.status.iter().flat_map(|status| &status.platforms);
        let mut digests: Vec<_> = platforms.map(|platform| &platform.digest).collect();
        digests.sort();
        let mut news: Vec<_> = news.iter().collect();
        news.sort();
        image.ready() == "True/Succeeded" && image.is_current() && digests == news
    };
    let image = await_condition(&s.images(), &name, "it has the news", SETTLED, has_them).await?;
    let named = s.registry.digest(&target).await?;
    ensure!(named.as_deref() == Some(image.digest()), "{target} names {named:?}");
    look(s, pushed, object).await.map(drop)
}

fn report(takeovers: &[(Duration, Duration)], objects: usize, looked: usize) {
    let mut leads: Vec<_> = takeovers.iter().map(|(leads, _)| leads.as_secs_f64()).collect();
    leads.sort_by(f64::total_cmp);
    tell(&format!(
        "{} leaders killed under {objects} objects; {looked} looks at their tags, each nothing or whole",
        takeovers.len()
    ));
    for (kill, (leads, works)) in takeovers.iter().enumerate() {
        let (leads, works) = (leads.as_secs_f64(), works.as_secs_f64());
        tell(&format!(
            "  kill {:>2}: the other one led after {leads:.1} s, and had run an object after {works:.1} s",
            kill + 1
        ));
    }
    if let (Some(least), Some(most)) = (leads.first(), leads.last()) {
        tell(&format!(
            "  takeover: {least:.1} s to {most:.1} s, {:.1} s in the middle",
            leads[leads.len() / 2]
        ));
    }
}

/// What it has logged since its last start.
fn no_panic(operator: &Operator) -> Result<()> {
    let logs = operator.logs()?;
    ensure!(!logs.contains("panicked"), "it panicked:\n{logs}");
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

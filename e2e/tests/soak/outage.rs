//! A registry that is down for ten minutes takes nothing from status, is told of, and is not overrun when it is back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::ListParams;
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_e2e::{
    Scenario,
    await_condition::await_some,
    images::Image,
    proxy::{counts, peak},
    registry::Registry,
    scale::{scale, tell},
    scenario::{scenario_of_two_registries, tag_of},
    spec::{Report, Spec},
};
use serde_json::json;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// The shortest that the API allows, and so what a backoff ends at.
const INTERVAL: &str = "30s";

/// The requests of any second when all come back at once: twice what one host is asked a second, since its second and this one are
/// not the same.
const MOST: usize = 40;

const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn of_a_registry_withdraws_nothing_and_ends_gently() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let objects = scale(200, 20);
        // After the first failure 2, 4, 8 and 16 seconds pass, and then the interval each time: ten minutes, or half of one.
        let failures = scale(4 + 19, 3);
        for platform in BOTH {
            let tag = tag_of("build/app:1", platform);
            elsewhere.push(&tag, &Image::oci(platform, "app")?).await?;
        }
        let names: Vec<_> = (0..objects).map(|n| format!("app-{n}")).collect();
        for name in &names {
            s.apply(&spec(s, elsewhere, name)).await?;
        }
        until_all(s, |image| image.ready() == "True/Succeeded").await?;
        let published = all(s).await?;

        s.registry.proxy.forget();
        s.registry.proxy.go_down();
        let down = Instant::now();
        let asks = stream::iter(&names).map(async |name| s.objects().ask(name).await);
        asks.buffer_unordered(16).try_collect::<Vec<_>>().await?;
        until_all(s, |image| image.ready() == "False/RegistryUnreachable").await?;
        let runs = s.operator.runs().await? + f64::from(objects * failures);
        s.operator.await_runs(runs, scale(4 * PATIENCE, PATIENCE)).await?;
        for (before, now) in published.iter().zip(all(s).await?) {
            ensure!(now.digest() == before.digest(), "the published digest is gone: {now:?}");
            ensure!(now.is_true("Published"), "Published was withdrawn: {now:?}");
            ensure!(now.ready() == "False/RegistryUnreachable", "{}", now.message());
            ensure!(now.message().contains(s.registry.host()), "{}", now.message());
        }
        let down = down.elapsed();

        ensure!(s.registry.proxy.count() == 0, "it was not down");
        s.registry.proxy.come_back()?;
        let back = Instant::now();
        until_all(s, |image| image.ready() == "True/Succeeded").await?;
        let (seen, back) = (s.registry.proxy.seen(), back.elapsed());
        let peak = peak(&seen);
        tell(&format!(
            "outage: {objects} objects, down for {:.0} s, all well {:.0} s later; {} requests to the registry by then, at most {peak} a second: {:?}",
            down.as_secs_f64(),
            back.as_secs_f64(),
            seen.len(),
            counts(&seen)
        ));
        for (before, now) in published.iter().zip(all(s).await?) {
            ensure!(now.digest() == before.digest(), "another digest: {now:?}");
        }
        ensure!(peak <= MOST, "{peak} requests within one second");
        ensure!(seen.iter().all(|seen| seen.method != "PUT"), "what is there was written again");
        Ok(())
    })
    .await
}

fn spec(s: &Scenario, elsewhere: &Registry, name: &str) -> Spec {
    let spec = Spec::new(&s.registry, name, &format!("team/{name}:1")).with("interval", INTERVAL);
    BOTH.into_iter().fold(spec, |spec, platform| {
        let (source, tag) = (platform.replace('/', "-"), tag_of("build/app:1", platform));
        spec.source_in(elsewhere, &source, &tag, &[platform], json!({}))
    })
}

/// All objects, in the order of their names.
async fn all(s: &Scenario) -> Result<Vec<MultiArchImage>> {
    Ok(s.images().list(&ListParams::default()).await?.items)
}

async fn until_all(s: &Scenario, holds: impl Fn(&MultiArchImage) -> bool) -> Result<()> {
    let hold = async || Ok(all(s).await?.iter().all(&holds).then_some(()));
    await_some("all objects are as they are to be", PATIENCE, hold).await
}

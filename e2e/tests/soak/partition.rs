//! A registry that swallows what is sent to it, as behind a broken network, holds up its own objects and no others.

use anyhow::{Context, Result, ensure};
use kube::api::ListParams;
use multiarch_e2e::{
    await_condition::await_some,
    images::Image,
    proxy::{Answer, Rule},
    scale::tell,
    scenario::{scenario_of_two_registries, tag_of},
    spec::{Report, Spec},
};
use serde_json::json;
use std::time::{Duration, Instant};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// More than are worked on at once.
const LOST: usize = 20;
const OTHERS: usize = 5;

/// Longer than a request waits for its answer.
const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread")]
async fn of_one_registry_leaves_the_others_alone() -> Result<()> {
    scenario_of_two_registries(async |s, elsewhere| {
        let lost = s.registry.another_host().await?;
        for platform in BOTH {
            let tag = tag_of("build/app:1", platform);
            elsewhere.push(&tag, &Image::oci(platform, "app")?).await?;
        }
        let spec = |target, name: &str| {
            let spec = Spec::new(target, name, &format!("team/{name}:1"));
            BOTH.into_iter().fold(spec, |spec, platform| {
                let (source, tag) = (platform.replace('/', "-"), tag_of("build/app:1", platform));
                spec.source_in(elsewhere, &source, &tag, &[platform], json!({}))
            })
        };
        lost.proxy.follow(Rule::of_all(Answer::Never));
        for n in 0..LOST {
            s.apply(&spec(&lost, &format!("lost-{n}"))).await?;
        }
        let asked = async || Ok((lost.proxy.count() > 0).then_some(()));
        await_some("the lost registry is asked", PATIENCE, asked).await?;

        let begun = Instant::now();
        for n in 0..OTHERS {
            s.apply(&spec(&s.registry, &format!("app-{n}"))).await?;
        }
        for n in 0..OTHERS {
            let name = format!("app-{n}");
            s.until_ready(&name, "True/Succeeded").await?;
            let whole = s.registry.whole(&format!("team/{name}:1")).await?;
            ensure!(whole.is_some(), "{name} is not there");
        }
        let others = begun.elapsed();
        let swallowed = lost.proxy.count();
        ensure!(lost.proxy.seen().iter().all(|seen| seen.status == 0), "it was answered");

        lost.proxy.be_honest();
        let begun = Instant::now();
        let healed = async || {
            let all = s.images().list(&ListParams::default()).await?.items;
            Ok(all.iter().all(|image| image.ready() == "True/Succeeded").then_some(()))
        };
        await_some("all are published", PATIENCE, healed).await?;
        for n in 0..LOST {
            let whole = lost.whole(&format!("team/lost-{n}:1")).await?;
            whole.with_context(|| format!("lost-{n} is not there"))?;
        }
        tell(&format!(
            "partition: {LOST} objects of a registry that swallows {swallowed} requests; {OTHERS} others done after {:.1} s; all {:.0} s after it healed",
            others.as_secs_f64(),
            begun.elapsed().as_secs_f64()
        ));
        Ok(())
    })
    .await
}

//! A load that is killed anywhere leaves nothing half done under a tag, and the same command completes it.

use std::process::Stdio;

use anyhow::{Context, Result};
use multiarch_e2e::{
    archives::{Compression, Layer, Saved, Writer, save},
    await_condition::{SOON, await_some},
    registry::Storage,
    scale::{scale, tell},
};
use tokio::time::timeout;

use crate::stage::{Stage, images, outcomes};

/// How many requests into a run it is killed: anywhere in the first that there are, and then anywhere in what is left of them.
fn points() -> Vec<usize> {
    let mut points: Vec<_> = (0..scale(60, 6)).map(|_| fastrand::usize(0..24)).collect();
    points.sort_unstable();
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_killed_is_completed_by_the_next_one() -> Result<()> {
    let stage = Stage::with(Storage::Files).await?;
    let image = |name: &str, seed| {
        let layers = vec![Layer::large(seed, 1, 1)?, Layer::large(9, 1, 2)?];
        Saved::made("linux/arm64", &[name], layers)
    };
    let names = ["team/one:1", "team/two:1", "team/three:1"];
    let saved = names.iter().enumerate();
    let saved = saved.map(|(number, name)| image(&format!("docker.io/{name}"), number as u64));
    let (saved, file) = (saved.collect::<Result<Vec<_>>>()?, stage.file("saved.tar"));
    save(Writer::Docker20, &saved, &file, Compression::Gzip)?;
    let archive = file.display().to_string();
    let load = ["load", "--archive", &archive, "--to", stage.target.host(), "-o", "json"];
    let points = points();
    let mut killed = 0;
    for &point in &points {
        let proxy = &stage.target.proxy;
        proxy.forget();
        let mut command = stage.cli.command(&load)?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let reached = await_some("it has asked so often, or has ended", 4 * SOON, async || {
            let ended = child.try_wait().context("failed to look")?.is_some();
            Ok((ended || proxy.count() > point).then_some(ended))
        });
        if !reached.await? {
            child.kill().await.context("failed to kill")?;
            killed += 1;
        }
        // Whatever a tag names is whole: `images` has crane look for all of it.
        for (name, saved) in names.iter().zip(&saved) {
            if stage.target.digest(name).await?.is_some() {
                let (_, there) = images(&stage.target, name).await?;
                assert_eq!(there[0].1.config, saved.id(), "{name}, killed at request {point}");
            }
        }
    }
    tell(&format!("load: killed {killed} times of {}, at requests {points:?}", points.len()));
    assert!(killed > 0, "it was never killed");
    let last = timeout(6 * SOON, stage.cli.run(&load)).await.context("it does not end")??;
    assert_eq!(outcomes(&last.ended(0)?)?.len(), names.len());
    for (name, saved) in names.iter().zip(&saved) {
        let (_, there) = images(&stage.target, name).await?;
        assert_eq!(there[0].1.config, saved.id(), "{name}");
    }
    Ok(())
}

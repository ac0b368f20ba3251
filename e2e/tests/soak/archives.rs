//! A set of many images out of one packed archive: no layer is read twice, and memory stays within its bound.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use multiarch_crds::{
    condition::{Type, get},
    v1alpha1::MultiArchImageSet,
};
use multiarch_e2e::{
    archives::{Compression, Layer, Saved, Writer, save},
    await_condition::{SOON, await_condition},
    scale::{scale, tell},
    scenario::{Scenario, scenario},
};
use serde_json::json;
use tokio::time::Instant;

/// The window that k3s packs for has 32 MiB; this is the largest that is unpacked, of 64.
const WINDOW: u32 = 26;
/// What the operator may have in memory: what the chart gives it is 512 MiB.
const MOST: u64 = 256 << 20;

/// Packs images of a layer of their own and one that all have, and gives the bytes that they have unpacked.
fn write(names: &[String], file: &Path) -> Result<u64> {
    let base = Layer::large(0, 1, 8)?;
    let mut bytes = base.size();
    let mut all = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let own = Layer::large(at as u64 + 1, 1, 2)?;
        bytes += own.size();
        all.push(Saved::made("linux/amd64", &[name], vec![base.clone(), own])?);
    }
    save(Writer::Docker20, &all, file, Compression::Zstd(WINDOW))?;
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_many_images_of_one_packed_archive_converges() -> Result<()> {
    let lines = scale(100, 16);
    scenario(async |s| Box::pin(converges(s, lines)).await).await
}

async fn converges(s: &mut Scenario, lines: usize) -> Result<()> {
    s.operator.kill().await?;
    let folder = tempfile::tempdir()?;
    let namespace = s.namespace.name.clone();
    std::fs::create_dir(folder.path().join(&namespace))?;
    let names: Vec<_> = (0..lines).map(|at| format!("docker.io/team/app{at}:1")).collect();
    let file = folder.path().join(&namespace).join("all.tar.zst");
    let unpacked = write(&names, &file)?;
    let packed = file.metadata()?.len();
    let dir = format!("--archive-dir={}", folder.path().display());
    let flags = ["--sets", &dir, "--archive-settle=1s", "--registry-qps=1000"];
    let operator = s.replica_with("with-archives", &flags).await?;
    let resting = operator.resident()?.0;
    let plain = json!([{"host": s.registry.host(), "plainHTTP": true}]);
    let object = json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
        "metadata": {"name": "all"},
        "spec": {
            "images": names, "archives": [{"path": "all.tar.zst", "platform": "linux/amd64"}],
            "to": {"registry": s.registry.host(), "prefix": "mirror"},
            "template": {"registries": plain},
        },
    });
    let sets: Api<MultiArchImageSet> = Api::namespaced(s.client.clone(), &namespace);
    let begun = Instant::now();
    let before = operator.bytes_read()?;
    sets.patch("all", &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await?;
    let all = format!("{lines}/{lines}");
    let is_ready = |set: &MultiArchImageSet| {
        let Some(status) = &set.status else { return false };
        let ready = get(&status.conditions, Type::Ready);
        status.summary.as_ref() == Some(&all) && ready.is_some_and(|ready| ready.status == "True")
    };
    let patience = SOON + Duration::from_secs(4) * u32::try_from(lines)?;
    await_condition(&sets, "all", "all are ready", patience, is_ready).await?;
    let took = begun.elapsed();
    let read = operator.bytes_read()?.checked_sub(before).context("it was started anew")?;
    let (resident, most) = operator.resident()?;
    let readings = read / packed;
    tell(&format!(
        "a set of {lines} images of one archive of {} MiB (packed by zstd --long={WINDOW}: {} MiB): all ready after {took:.0?}; the archive was read {readings} times; \
         the operator has {} MiB of memory ({} at most, {} before)",
        unpacked >> 20,
        packed >> 20,
        resident >> 20,
        most >> 20,
        resting >> 20
    ));
    // For the names, for all manifests, for the layer that all have, and for each other layer at the most.
    assert!(readings <= lines as u64 + 3, "{readings} readings for {lines} images");
    assert!(most < MOST, "{most} bytes of memory");
    drop(operator);
    Ok(())
}

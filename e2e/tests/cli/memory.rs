//! A large archive is loaded in little memory, however it is compressed, and a second run sends nothing.

use std::{env, path::Path};

use anyhow::Result;
use multiarch_e2e::{
    archives::{Compression, Layer, Saved, Writer, save},
    registry::Storage,
    scale::tell,
};

use crate::stage::{Stage, outcomes};

/// In MiB, where `MULTIARCH_LAYER_MIB` does not say another size (`make large`).
const ARCHIVE: u64 = 256;
/// The whole process.
const MOST: u64 = 64 << 20;
/// The same, where 64 MiB of them are zstd's window.
const MOST_LONG: u64 = 96 << 20;
/// zstd's window as `--long=26` makes it: 64 MiB.
const LONG: Compression = Compression::Zstd(26);

/// An image of four large layers, of which some can be compressed.
fn image() -> Result<Saved> {
    let size = env::var("MULTIARCH_LAYER_MIB").ok().and_then(|mib| mib.parse().ok());
    let each = size.unwrap_or(ARCHIVE) / 4;
    let layers = (0..4).map(|seed| Layer::large(seed, each / 16, each));
    Saved::made("linux/arm64", &["docker.io/team/large:1"], layers.collect::<Result<_>>()?)
}

async fn loads(what: &str, writer: Writer, compression: Compression, most: u64) -> Result<()> {
    let stage = Stage::with(Storage::Files).await?;
    let (image, file) = (image()?, stage.file("large.tar"));
    save(writer, std::slice::from_ref(&image), &file, compression)?;
    let archive = file.display().to_string();
    let load = ["load", "--archive", &archive, "--to", stage.target.host(), "-o", "json"];
    let (ran, first) = stage.cli.run_measured(&load).await?;
    assert_eq!(outcomes(&ran.ended(0)?)?, ["Published"]);
    let (_, there) = stage.images("team/large:1").await?;
    assert_eq!(there[0].1.config, image.id());

    stage.target.proxy.forget();
    let (ran, second) = stage.cli.run_measured(&load).await?;
    assert_eq!(outcomes(&ran.ended(0)?)?, ["Unchanged"]);
    assert_eq!(stage.writes(), 0, "{:?}", stage.target.proxy.seen());
    let mib = |bytes: u64| bytes >> 20;
    tell(&format!(
        "load of {} MiB, {what}: {} MiB of memory at most, {} MiB when nothing has changed",
        mib(size(&file)),
        mib(first.resident),
        mib(second.resident)
    ));
    assert!(first.resident > 0 && second.resident > 0, "nothing was measured");
    assert!(first.released().max(second.released()) < most, "{first:?}, {second:?}");
    Ok(())
}

fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |about| about.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_archive_takes_little_memory() -> Result<()> {
    loads("docker save", Writer::Docker20, Compression::None, MOST).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layout_takes_little_memory() -> Result<()> {
    loads("docker save, a layout in gzip", Writer::Docker26, Compression::Gzip, MOST).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_archive_of_a_long_window_takes_the_window_and_little_more() -> Result<()> {
    loads("docker save in zstd --long=26", Writer::Docker20, LONG, MOST_LONG).await
}

//! Publishes the index of a release, by the operator itself on a control plane that lasts as long as it takes.

#![expect(clippy::print_stdout, reason = "the digest is for the next step of the release")]

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use multiarch_e2e::{
    await_condition::SOON, bin::workspace, cluster::Cluster, operator::Operator, release::Release,
};

const NAMESPACE: &str = "release";

/// usage: release TARGET PLATFORM=IMAGE...
///
/// The password is that of `$DOCKER_CONFIG/config.json`, the operator `$MULTIARCH_OPERATOR`. Prints `repository@digest`.
#[tokio::main]
async fn main() -> Result<()> {
    let login = match env::var_os("DOCKER_CONFIG") {
        Some(folder) => {
            let file = PathBuf::from(folder).join("config.json");
            let read = fs::read_to_string(&file);
            Some(read.with_context(|| format!("failed to read {}", file.display()))?)
        }
        None => None,
    };
    let release = Release::parse(env::args().skip(1), login)?;
    let cluster = Cluster::start(&workspace().join("crds")).await?;
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    cluster.kubectl(["create", "namespace", NAMESPACE]).await?;
    let mut operator = Operator::start(&cluster, folder.path(), Some(NAMESPACE)).await?;
    let published = release.publish(&cluster.client().await?, NAMESPACE).await;
    let published = published.with_context(|| operator.logs().unwrap_or_default())?;
    operator.terminate(SOON).await?;
    println!("{published}");
    Ok(())
}

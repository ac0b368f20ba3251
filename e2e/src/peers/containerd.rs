//! containerd, which nodes pull with: the image of an index that it takes for each platform.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use super::{run, text};
use crate::{
    await_condition::{SOON, await_some},
    bin::tool,
    process::Process,
    registry::Registry,
};

/// The label of a config whose layers are prepared to run, and that of the manifest which names a config.
const PREPARED: &str = "containerd.io/gc.ref.snapshot.native";
const CONFIG: &str = "containerd.io/gc.ref.content.config";

/// The digest of the image that `ctr images pull --platform` prepares to run, for each of `platforms`.
pub async fn containerd_for(
    registry: &Registry,
    of: &str,
    platforms: &[&str],
) -> Result<Vec<String>> {
    let folder = tempfile::tempdir().context("failed to make a folder for containerd")?;
    let (_daemon, socket) = start(folder.path()).await?;
    let reference = registry.uncounted(of);
    let login = registry.login().map(|login| format!("{}:{}", login.user, login.password));
    let login = login.iter().flat_map(|login| ["--user", login]).collect::<Vec<_>>();
    let mut digests = Vec::new();
    for (number, platform) in platforms.iter().enumerate() {
        // What one has pulled, another does not see.
        let namespace = format!("node-{number}");
        let ctr = async |arguments: &[&str]| {
            let to = ["--address", &socket, "--namespace", &namespace];
            run(registry, "ctr", &[&to, arguments].concat()).await.map(|printed| text(&printed))
        };
        let pull = ["images", "pull", "--local", "--plain-http", "--snapshotter", "native"];
        ctr(&[&pull[..], &login, &["--platform", platform, &reference]].concat()).await?;
        let config = ctr(&["content", "ls", "--quiet", &format!("labels.\"{PREPARED}\"")]).await?;
        let named = format!("labels.\"{CONFIG}\"==\"{config}\"");
        let digest = ctr(&["content", "ls", "--quiet", &named]).await?;
        ensure!(digest.lines().count() == 1, "for {platform} containerd prepares {digest:?}");
        digests.push(digest);
    }
    Ok(digests)
}

/// Starts a daemon that lies in `folder`; its socket.
async fn start(folder: &Path) -> Result<(Process, String)> {
    let socket = folder.join("containerd.sock");
    // TOML quotes as JSON does.
    let [root, state, address] =
        [&folder.join("root"), &folder.join("state"), &socket].map(|path| json!(path));
    let config = format!(
        "version = 3\nroot = {root}\nstate = {state}\n\
         [plugins.\"io.containerd.server.v1.grpc\"]\naddress = {address}\n\
         [plugins.\"io.containerd.service.v1.diff-service\"]\ndefault = [\"reading\"]\n",
    );
    let file = folder.join("config.toml");
    fs::write(&file, config).context("failed to write containerd's configuration")?;
    let mut command = Command::new(tool("containerd")?);
    command.arg("--config").arg(&file).env_clear().env("HOME", folder);
    let mut process = Process::start(command, &folder.join("containerd.log"))?;
    let booted = |line: &str| line.contains("containerd successfully booted").then_some(());
    await_some("containerd listens", SOON, async || process.find_in_logs(booted)).await?;
    Ok((process, socket.display().to_string()))
}

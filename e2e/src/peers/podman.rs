//! podman, which saves as skopeo and buildah do, and many images in one archive.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use crate::{bin::tool, registry::Registry};

/// Whether there is a podman: the one that hack/build-tools.sh has fetched, or one on the PATH.
#[must_use]
pub fn has_podman() -> bool {
    program("podman").is_some() && program("conmon").is_some()
}

/// Has podman pull the images of `platform` that `images` name in the registry, and save them under their other names, all in one archive.
pub async fn podman_save(
    registry: &Registry,
    platform: &str,
    images: &[(&str, &str)],
    to: &Path,
) -> Result<()> {
    let home = tempfile::tempdir().context("failed to make a home")?;
    let folder = home.path().join(".config/containers");
    fs::create_dir_all(&folder).context("failed to make a folder")?;
    let policy = json!({"default": [{"type": "insecureAcceptAnything"}]});
    fs::write(folder.join("policy.json"), policy.to_string()).context("failed to write")?;
    let podman = async |arguments: &[&str]| run(home.path(), arguments).await;
    for (of, name) in images {
        let reference = registry.uncounted(of);
        podman(&["pull", "--quiet", "--tls-verify=false", "--platform", platform, &reference])
            .await?;
        podman(&["tag", &reference, name]).await?;
    }
    let to = to.to_string_lossy();
    let names = images.iter().map(|(_, name)| *name);
    podman(&["save", "--quiet", "-m", "-o", &to].into_iter().chain(names).collect::<Vec<_>>()).await
}

async fn run(home: &Path, arguments: &[&str]) -> Result<()> {
    let podman = program("podman").context("there is no podman: `hack/build-tools.sh podman`")?;
    let conmon = program("conmon").context("there is no conmon")?;
    // Root in a namespace of its own, where the user is not root: what it unpacks belongs to root.
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    let mut command = if is_root {
        Command::new(podman)
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount"]).arg(podman);
        unshare
    };
    command.arg("--conmon").arg(conmon);
    // It asks for one, and runs nothing.
    if let Some(runtime) = program("crun").or_else(|| program("runc")) {
        command.arg("--runtime").arg(runtime);
    }
    for (option, folder) in [("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        command.arg(option).arg(home.join(folder));
    }
    command
        .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend"])
        .arg("none")
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("TMPDIR", home)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LD_LIBRARY_PATH", libraries())
        .stdin(Stdio::null());
    let output = command.output().await.context("failed to run podman")?;
    ensure!(
        output.status.success(),
        "podman {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn program(name: &str) -> Option<PathBuf> {
    let fetched = tool(&format!("podman/usr/bin/{name}")).ok();
    let path = env::var_os("PATH").unwrap_or_default();
    let places = ["/usr/libexec/podman", "/usr/lib/podman"].map(PathBuf::from);
    let mut installed = env::split_paths(&path).chain(places).map(|folder| folder.join(name));
    fetched.or_else(|| installed.find(|file| file.is_file()))
}

/// The folders of the libraries that were fetched with it.
fn libraries() -> std::ffi::OsString {
    let Some(usr) =
        tool("podman/usr/bin/podman").ok().and_then(|it| Some(it.parent()?.parent()?.join("lib")))
    else {
        return std::ffi::OsString::new();
    };
    let folders = fs::read_dir(&usr).into_iter().flatten().filter_map(Result::ok);
    let folders = folders.map(|folder| folder.path()).filter(|path| path.is_dir());
    env::join_paths(folders.chain([usr])).unwrap_or_default()
}

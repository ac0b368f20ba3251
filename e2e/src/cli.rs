//! kubectl-multiarch as somebody runs it: with a home of its own, and nothing else of this process' environment.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time::sleep};

use crate::{bin, cluster::Cluster, registry::Registry};

/// Somebody at a shell: a home, and who is logged in there.
#[derive(Debug)]
pub struct Cli {
    home: TempDir,
}

/// The most memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// All that was resident at a time (VmHWM).
    pub resident: u64,
    /// What was last resident of the program and its libraries themselves.
    pub program: u64,
}

impl Peak {
    /// What it would be of the program that is released: without optimisation its own pages are three times as many. What
    /// `MULTIARCH_CLI` names is taken as it is.
    #[must_use]
    pub fn released(self) -> u64 {
        if std::env::var_os("MULTIARCH_CLI").is_some() {
            return self.resident;
        }
        self.resident - self.program.saturating_sub(RELEASED)
    }
}

/// The pages of the released program itself, at most.
const RELEASED: u64 = 12 << 20;

/// What one run has printed, and how it has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code; none where a signal has ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// Fails unless it has ended so.
    pub fn ended(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "it ended with {:?}, not {code}:\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Its standard output, which is one JSON document.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("not JSON: {}\n{}", self.stdout, self.stderr))
    }
}

impl Cli {
    /// Somebody with an empty home.
    pub fn new() -> Result<Self> {
        Ok(Self { home: tempfile::tempdir().context("failed to make a home")? })
    }

    /// The home, which is also the folder that commands are run in.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Logs in to `registry`, as it is reached by the proxy, where that asks for it.
    pub fn log_in(&self, registry: &Registry) -> Result<()> {
        let Some(mut config) = registry.docker_config() else { return Ok(()) };
        let auth = config["auths"][registry.address()].take();
        config["auths"] = serde_json::json!({ registry.host(): auth });
        let folder = self.home().join(".docker");
        fs::create_dir_all(&folder).context("failed to make a folder")?;
        fs::write(folder.join("config.json"), config.to_string()).context("failed to log in")
    }

    /// Administers `cluster`.
    pub fn administer(&self, cluster: &Cluster) -> Result<()> {
        let folder = self.home().join(".kube");
        fs::create_dir_all(&folder).context("failed to make a folder")?;
        fs::copy(cluster.kubeconfig(), folder.join("config"))
            .context("failed to copy a kubeconfig")
            .map(drop)
    }

    /// The command, to be started.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(bin::cli()?);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs the command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let output = self.command(arguments)?.output().await;
        Ok(ran(&output.with_context(|| format!("failed to run {arguments:?}"))?))
    }

    /// The same, and the most memory that it had resident.
    pub async fn run_measured(&self, arguments: &[&str]) -> Result<(Ran, Peak)> {
        let child = self.command(arguments)?.spawn().context("failed to start the CLI")?;
        let status = format!("/proc/{}/status", child.id().context("it has ended at once")?);
        let ends = child.wait_with_output();
        tokio::pin!(ends);
        let mut most = Peak::default();
        loop {
            tokio::select! {
                output = &mut ends => return Ok((ran(&output.context("failed to wait")?), most)),
                // The kernel keeps the peak, so that only what comes in the last of these moments may be missed.
                () = sleep(Duration::from_millis(5)) => most = peak(&status).unwrap_or(most),
            }
        }
    }
}

fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// What /proc says of a process, which says nothing any more when that has ended.
fn peak(status: &str) -> Option<Peak> {
    let status = fs::read_to_string(status).ok()?;
    let of = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib << 10)
    };
    Some(Peak { resident: of("VmHWM")?, program: of("RssFile")? })
}

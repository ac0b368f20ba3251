//! Child processes that log to a file and never outlive the program that started them, however it ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, time::timeout};

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: tokio::process::Child,
    pid: u32,
    leash: Leash,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, both of its outputs appended to the file `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let what = command.as_std().get_program().display().to_string();
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("failed to open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(file.try_clone().context("failed to share the log")?)
            .stdout(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {what}"))?;
        let pid = child.id().context("the process has ended at once")?;
        Ok(Self { child, pid, leash: Leash::of(pid)?, log: log.to_owned() })
    }

    /// What it has logged.
    pub fn logs(&self) -> Result<String> {
        let bytes = fs::read(&self.log)
            .with_context(|| format!("failed to read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Looks for something in its log; an error when it has ended.
    pub fn find_in_logs<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let logs = self.logs()?;
        let found = logs.lines().rev().find_map(find);
        if found.is_none()
            && let Some(status) = self.child.try_wait().context("failed to look at the process")?
        {
            bail!("it has ended ({status}):\n{logs}");
        }
        Ok(found)
    }

    /// Sends the signal `name` (TERM, KILL).
    pub async fn signal(&self, name: &str) -> Result<()> {
        let kill = Command::new("kill").args(["-s", name]).arg(self.pid.to_string()).status().await;
        let status = kill.context("failed to run kill")?;
        if !status.success() {
            bail!("kill -s {name} {}: {status}", self.pid);
        }
        Ok(())
    }

    /// Kills it as `kill -9` does, without a moment in between, and waits for its end.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.start_kill().context("failed to kill the process")?;
        self.child.wait().await.context("failed to wait for the process")?;
        self.leash.cut();
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let ended = timeout(deadline, self.child.wait()).await;
        let status = ended.with_context(|| format!("it still runs after {deadline:?}"))?;
        self.leash.cut();
        status.context("failed to wait for the process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // In this order: the leash must not be left holding a pid that is free to be another's.
        self.leash.cut();
    }
}

/// Kills a process when this one ends: a shell that waits for the end of its input, which the kernel closes.
#[derive(Debug)]
struct Leash(Child);

impl Leash {
    fn of(pid: u32) -> Result<Self> {
        let script = r#"trap "" INT TERM HUP; read -r _; kill -KILL "$0" 2>/dev/null"#;
        let shell = std::process::Command::new("sh")
            .args(["-c", script, &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ok(Self(shell.context("failed to start sh")?))
    }

    fn cut(&mut self) {
        // It may have gone already; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

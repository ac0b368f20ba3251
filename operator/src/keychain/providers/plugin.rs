//! Runs a plugin: the request on its standard input, its answer from its standard output, and nothing of what it says to anybody else.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdout, Command},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::oci::Repository;

/// How long a plugin may take, and how much it may print.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From its start to its end: a kubelet's.
    pub time: Duration,
    /// In bytes.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_mins(1), output: 1 << 20 }
    }
}

/// What is run, and how.
#[derive(Clone)]
pub(in crate::keychain) struct Program {
    pub(in crate::keychain) path: PathBuf,
    pub(in crate::keychain) args: Vec<String>,
    /// Beside the operator's own variables, and over them.
    pub(in crate::keychain) env: Vec<(String, String)>,
    /// The version of what it is asked, and of what it answers.
    pub(in crate::keychain) version: String,
}

/// Why a plugin gave no answer. What it printed is no part of it: that may be a credential, or what it was made of.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PluginError {
    /// It did not start, or could not be read.
    #[error("it could not be run: {why}")]
    NotRun {
        /// The system's words.
        why: String,
    },
    /// It said by its exit code that it has none.
    #[error("it ended with exit code {code}")]
    Exited {
        /// The exit code.
        code: i32,
    },
    /// It was killed.
    #[error("it was ended by signal {signal}")]
    Killed {
        /// The number of the signal.
        signal: i32,
    },
    /// It took too long.
    #[error("it took longer than {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// It printed too much.
    #[error("it printed more than {limit} bytes")]
    TooMuch {
        /// The limit, in bytes.
        limit: u64,
    },
    /// What it printed is no answer.
    #[error("what it printed {why}")]
    Unusable {
        /// Completes the sentence.
        why: &'static str,
    },
}

impl PluginError {
    /// In one word, for a metric.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotRun { .. } => "not_run",
            Self::Exited { .. } => "exited",
            Self::Killed { .. } => "killed",
            Self::TimedOut { .. } => "timed_out",
            Self::TooMuch { .. } | Self::Unusable { .. } => "unusable",
        }
    }
}

/// What `program` prints when it is asked for `repository`. It is killed when that takes too long, and when nobody waits for it any
/// more; and all that it started with it, also where it ends by itself.
pub(super) async fn run(
    program: &Program,
    repository: &Repository,
    limits: Limits,
) -> Result<Vec<u8>, PluginError> {
    let request = json!({
        "kind": "CredentialProviderRequest",
        "apiVersion": program.version,
        "image": repository.to_string(),
    });
    let (printed, ended) = talk(program, format!("{request}\n"), limits).await?;
    ended.map(|()| printed)
}

/// What `program` prints when it is told `request`, and whether it ended well.
pub(in crate::keychain) async fn talk(
    program: &Program,
    request: String,
    limits: Limits,
) -> Result<(Vec<u8>, Result<(), PluginError>), PluginError> {
    let mut running = Running::start(program)?;
    let ended = timeout(limits.time, running.talk(request, limits.output)).await;
    let (printed, status) = ended.unwrap_or(Err(PluginError::TimedOut { limit: limits.time }))?;
    let ended = match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(PluginError::Exited { code }),
        (None, signal) => Err(PluginError::Killed { signal: signal.unwrap_or_default() }),
    };
    Ok((printed, ended))
}

/// A process and those that it started.
struct Running(Child);

impl Running {
    fn start(program: &Program) -> Result<Self, PluginError> {
        let mut command = Command::new(&program.path);
        command
            .args(&program.args)
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It may hold secrets, and nobody is to read it.
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().map(Self).map_err(|error| not_run(&error))
    }

    /// Says `request`, hears all, and waits for the end.
    async fn talk(
        &mut self,
        request: String,
        limit: u64,
    ) -> Result<(Vec<u8>, ExitStatus), PluginError> {
        let (input, output) = (self.0.stdin.take(), self.0.stdout.take());
        let say = async {
            if let Some(mut input) = input {
                // One that does not listen may know all the same.
                let _ = input.write_all(request.as_bytes()).await;
            }
        };
        let ((), printed) = tokio::join!(say, hear(output, limit));
        let printed = printed?;
        let ended = async {
            self.ended().await?;
            self.kill();
            self.0.wait().await
        };
        let status = ended.await.map_err(|error| not_run(&error))?;
        Ok((printed, status))
    }

    /// Comes back when it has ended, and does not wait for it as a parent does: until then its number is nobody else's, and that of
    /// its group, which may go on.
    async fn ended(&self) -> io::Result<()> {
        // From here on, also what ends before it is awaited.
        let mut ends = signal(SignalKind::child())?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Some(process) = self.process()
            && waitid(WaitId::Pid(process), options)?.is_none()
        {
            ends.recv().await;
        }
        Ok(())
    }

    /// Kills it, where it has not ended, and all that it started.
    fn kill(&self) {
        if let Some(group) = self.process() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Its number, until it was waited for.
    fn process(&self) -> Option<Pid> {
        self.0.id().and_then(|number| i32::try_from(number).ok()).and_then(Pid::from_raw)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn hear(output: Option<ChildStdout>, limit: u64) -> Result<Vec<u8>, PluginError> {
    let mut printed = Vec::new();
    if let Some(output) = output {
        let read = output.take(limit + 1).read_to_end(&mut printed).await;
        read.map_err(|error| not_run(&error))?;
    }
    if printed.len() as u64 > limit { Err(PluginError::TooMuch { limit }) } else { Ok(printed) }
}

fn not_run(error: &io::Error) -> PluginError {
    PluginError::NotRun { why: error.to_string() }
}

/// Why there is nothing to run at `path`: a sentence for people.
pub(super) fn check(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let file = path.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    match file.permissions().mode() & 0o111 {
        _ if !file.is_file() => Err(format!("{} is no file", path.display())),
        0 => Err(format!("{} may not be executed: chmod +x", path.display())),
        _ => Ok(()),
    }
}

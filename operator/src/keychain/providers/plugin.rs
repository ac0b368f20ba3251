//! Runs a plugin: the request on its standard input, its answer from its standard output, and nothing of what it says to anybody else.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdout, Command},
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
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) args: Vec<String>,
    /// Beside the operator's own variables, and over them.
    pub(super) env: Vec<(String, String)>,
    /// The version of what it is asked, and of what it answers.
    pub(super) version: String,
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
/// more; and all that it started with it.
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
    let mut running = Running::start(program)?;
    let end = talk(&mut running.0, format!("{request}\n"), limits.output);
    let ended = timeout(limits.time, end).await;
    let (printed, status) = ended.unwrap_or(Err(PluginError::TimedOut { limit: limits.time }))?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(printed),
        (Some(code), _) => Err(PluginError::Exited { code }),
        (None, signal) => Err(PluginError::Killed { signal: signal.unwrap_or_default() }),
    }
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
}

impl Drop for Running {
    fn drop(&mut self) {
        // Until it was waited for, its number is nobody else's.
        let number = self.0.id().and_then(|number| i32::try_from(number).ok());
        if let Some(group) = number.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Says `request`, hears all, and only then waits for the end, so that the number of the process stays its own for as long as something
/// of it may have to be killed.
async fn talk(
    child: &mut Child,
    request: String,
    limit: u64,
) -> Result<(Vec<u8>, ExitStatus), PluginError> {
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let say = async {
        if let Some(mut input) = input {
            // One that does not listen may know all the same.
            let _ = input.write_all(request.as_bytes()).await;
        }
    };
    let ((), printed) = tokio::join!(say, hear(output, limit));
    let printed = printed?;
    let status = child.wait().await.map_err(|error| not_run(&error))?;
    Ok((printed, status))
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

//! A terminal that a test looks at.

use std::{num::NonZeroU16, process::ExitStatus};

use anyhow::{Context, Result, bail};
use multiarch_e2e::{await_condition::SOON, bin, cli::Cli};
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    time::timeout,
};

/// How many rows it has.
const ROWS: u16 = 30;

/// A command in a terminal. Its results go to standard output, which is the terminal, too.
pub(crate) struct Terminal {
    child: Child,
    reads: OwnedReadPty,
    writes: OwnedWritePty,
    shown: Vec<u8>,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts the command in a terminal of so many columns.
    pub(crate) fn start(
        cli: &Cli,
        columns: u16,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Self> {
        let (pty, pts) = pty_process::open().context("failed to open a terminal")?;
        pty.resize(Size::new(ROWS, columns)).context("failed to size a terminal")?;
        let child = pty_process::Command::new(bin::cli()?)
            .args(arguments)
            .env_clear()
            .env("HOME", cli.home())
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .current_dir(cli.home())
            .kill_on_drop(true)
            .spawn(pts)
            .context("failed to start the CLI in a terminal")?;
        let (reads, writes) = pty.into_split();
        let screen = vt100::Parser::new(nonzero(ROWS)?, nonzero(columns)?, 0);
        Ok(Self { child, reads, writes, shown: Vec::new(), screen })
    }

    /// All that was written to it.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits until what was written to it after the first `from` bytes has something.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        from: usize,
        has: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let reads = async {
            loop {
                if has(&String::from_utf8_lossy(&self.shown[from..])) {
                    return Ok(());
                }
                if !self.read().await? {
                    bail!("it has ended");
                }
            }
        };
        let read = timeout(SOON, reads).await;
        read.map_err(Into::into).flatten().with_context(|| format!("{what}: {}", self.shown()))
    }

    /// How many bytes were written to it.
    pub(crate) fn written(&self) -> usize {
        self.shown.len()
    }

    /// The rows of the screen that are not empty, as somebody sees them.
    pub(crate) fn rows(&self) -> Vec<String> {
        let screen = self.screen.screen();
        let (_, columns) = screen.size();
        let rows = screen.rows(0, columns.get()).map(|row| row.trim_end().to_owned());
        rows.filter(|row| !row.is_empty()).collect()
    }

    /// Has so many columns from now on, which the kernel tells the command.
    pub(crate) fn resize(&mut self, columns: u16) -> Result<()> {
        self.screen.screen_mut().set_size(nonzero(ROWS)?, nonzero(columns)?);
        self.writes.resize(Size::new(ROWS, columns)).context("failed to resize")
    }

    /// Types these bytes.
    pub(crate) async fn types(&mut self, bytes: &[u8]) -> Result<()> {
        self.writes.write_all(bytes).await.context("failed to type")
    }

    /// Waits until the command has ended.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        let reads = async {
            while self.read().await? {}
            self.child.wait().await.context("failed to wait")
        };
        let read = timeout(SOON, reads).await;
        read.map_err(Into::into).flatten().with_context(|| format!("no end: {}", self.shown()))
    }

    /// Reads on; false where nobody has the terminal any more.
    async fn read(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        // Linux says EIO when the last of those that had it has ended.
        let read = self.reads.read(&mut buffer).await.unwrap_or(0);
        self.shown.extend(&buffer[..read]);
        self.screen.process(&buffer[..read]);
        Ok(read > 0)
    }
}

fn nonzero(size: u16) -> Result<NonZeroU16> {
    NonZeroU16::new(size).context("a terminal of nothing")
}

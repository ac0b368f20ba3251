//! How a command ends.

use std::{io::Write, process::ExitCode};

use multiarch_operator::error::causes;

/// How a command ends, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All is as it should be.
    Fine,
    /// Nothing failed, and something is not covered, not published, or not what it should be.
    Differs,
    /// Something failed.
    Failed,
    /// Who runs it wanted it to stop.
    Interrupted,
}

impl Exit {
    /// What a shell makes of a process that SIGINT ended.
    pub(crate) const INTERRUPTED: u8 = 130;
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fine => Self::SUCCESS,
            Exit::Failed => Self::FAILURE,
            Exit::Differs => Self::from(2),
            Exit::Interrupted => Self::from(Exit::INTERRUPTED),
        }
    }
}

/// Says why nothing could be done at all.
pub(crate) fn failed(error: &anyhow::Error) -> Exit {
    // Where nobody listens any more, nobody is to be told.
    let _ = writeln!(std::io::stderr(), "Error: {}", causes(error.as_ref()));
    Exit::Failed
}

/// Prints what was asked for about the command line, or what is wrong with it: 2 means something else here than to clap.
pub(crate) fn said(of: &clap::Error) -> Exit {
    // Where nobody listens any more, nobody is to be told.
    let _ = of.print();
    if of.use_stderr() { Exit::Failed } else { Exit::Fine }
}

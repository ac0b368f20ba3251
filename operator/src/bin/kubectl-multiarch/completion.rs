//! `kubectl multiarch completion`: a script for a shell.

use anyhow::{Result, bail};

use crate::exit::Exit;

/// Print a script that completes commands and flags in a shell.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<Exit> {
    bail!("not built yet")
}

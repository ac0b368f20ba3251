//! `kubectl multiarch export`: an object that reproduces an existing index.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Write a MultiArchImage that reproduces an existing index.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

//! `kubectl multiarch publish`: what objects ask for, without a cluster.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Publish what MultiArchImage objects or manifest-tool specs ask for, from this machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

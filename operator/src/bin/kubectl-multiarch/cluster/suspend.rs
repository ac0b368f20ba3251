//! `kubectl multiarch suspend`: no runs until it is resumed.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Suspend, or resume, objects.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _suspend: bool, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

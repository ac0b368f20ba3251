//! `kubectl multiarch wait`: until objects are what one waits for.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Wait until objects are ready, or a condition or a platform is there.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

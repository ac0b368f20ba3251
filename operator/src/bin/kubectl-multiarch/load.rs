//! `kubectl multiarch load`: images in archives → indexes in a registry.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Load image archives of one or several platforms into a registry, one index an image.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

//! `kubectl multiarch tree`: an object with its sources, index and images.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Show an object with its sources, its index and the images in it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

//! `kubectl multiarch mirror`: a list of images from one registry to another.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Copy a list of images with all their platforms, or some, to another registry.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

//! `kubectl multiarch status`: objects and what became of them.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Show MultiArchImage objects: ready, covered, published, and what is missing.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

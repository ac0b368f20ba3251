//! `kubectl multiarch inspect`: an index, its images, and what is wrong with it.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Show an index: platforms as listed and as configured, layers, attestations, referrers, and what is wrong with it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

//! `kubectl multiarch plan`: what would be published, and nothing is.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Show what `publish` would do: digests, bytes, mounts, refusals.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

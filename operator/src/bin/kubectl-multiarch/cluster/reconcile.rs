//! `kubectl multiarch reconcile`: a run now.

use anyhow::{Result, bail};

use crate::{Common, exit::Exit};

/// Have the operator run an object now, and wait for the result.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _common: &Common) -> Result<Exit> {
    bail!("not built yet")
}

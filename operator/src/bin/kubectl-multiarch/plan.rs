//! `kubectl multiarch plan`: what would be published, and nothing is.

use std::sync::Arc;

use anyhow::Result;

use crate::{
    Common,
    exit::Exit,
    publish::What,
    registries::Registries,
    run::{self, Asks, Mode},
};

/// Show what `publish` would do: digests, bytes, mounts, refusals.
///
/// Ends with 0 where there is nothing to do, with 2 where something would be pushed or is not covered, and with 1 where
/// something failed or is refused. Registries are only read, so that what they refuse to take is not told.
///
/// Example: kubectl multiarch plan -f app.yaml
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    run: run::Flags,
}

/// Runs the command.
pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let tasks = args.what.tasks(common)?;
    let registries = Registries::open(&common.registries)?;
    let registry = Arc::new(registries.remote.clone());
    run::run(registry, &registries, tasks, (Mode::Plan, Asks::Objects, &args.run), common).await
}

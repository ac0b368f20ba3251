//! `kubectl-multiarch`: the operator's steps on a workstation, and what the operator does in a cluster, for people.

mod cluster;
mod columns;
mod completion;
#[cfg(test)]
mod docs;
mod exit;
mod export;
mod inspect;
mod load;
mod mirror;
mod output;
mod plan;
mod publish;
mod registries;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::{output::Output, registries::Flags};

/// Publishes, mirrors, loads and inspects multi-arch images by the operator's own steps, without a cluster; and shows
/// and steers MultiArchImage objects in one.
///
/// Ends with 0 where all is as it should be, 1 where something failed, and 2 where nothing failed but something is not
/// covered, not published, or is not what it should be.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-multiarch", bin_name = "kubectl multiarch", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// How results are printed.
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registries: Flags,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Publish(publish::Args),
    Plan(plan::Args),
    Load(load::Args),
    Mirror(mirror::Args),
    Inspect(inspect::Args),
    Export(export::Args),
    Status(cluster::status::Args),
    Tree(cluster::tree::Args),
    Reconcile(cluster::reconcile::Args),
    /// Have the operator leave objects alone, until they are resumed.
    ///
    /// It sets spec.suspend. What is published stays as it is, and registries are not asked.
    Suspend(cluster::suspend::Args),
    /// Have the operator look after suspended objects again.
    ///
    /// It takes spec.suspend back. The next run is at once.
    Resume(cluster::suspend::Args),
    Wait(cluster::wait::Args),
    Completion(completion::Args),
    /// Answers kubectl, which completes `kubectl multiarch`.
    #[command(name = "__complete", hide = true)]
    Complete(completion::Words),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { command, common } = match Args::try_parse() {
        Ok(args) => args,
        Err(said) => return exit::said(&said).into(),
    };
    let ended = match command {
        Command::Publish(args) => publish::run(args, &common).await,
        Command::Plan(args) => plan::run(args, &common).await,
        Command::Load(args) => load::run(args, &common).await,
        Command::Mirror(args) => mirror::run(args, &common).await,
        Command::Inspect(args) => inspect::run(args, &common).await,
        Command::Export(args) => export::run(args, &common).await,
        Command::Status(args) => cluster::status::run(args, &common).await,
        Command::Tree(args) => cluster::tree::run(args, &common).await,
        Command::Reconcile(args) => cluster::reconcile::run(args, &common).await,
        Command::Suspend(args) => cluster::suspend::run(args, true, &common).await,
        Command::Resume(args) => cluster::suspend::run(args, false, &common).await,
        Command::Wait(args) => cluster::wait::run(args, &common).await,
        Command::Completion(args) => completion::run(&args),
        Command::Complete(words) => completion::complete(&words),
    };
    ended.unwrap_or_else(|error| exit::failed(&error)).into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }
}

//! `kubectl-multiarch`: the operator's steps on a workstation, and what the operator does in a cluster, for people.

mod cluster;
mod completion;
#[cfg(test)]
mod docs;
mod exit;
mod export;
mod inspect;
mod interrupt;
mod load;
mod mirror;
mod objects;
mod output;
mod plan;
mod publish;
mod registries;
mod run;
mod schema;
mod written;

use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgAction, Parser, Subcommand};
use tokio::runtime::Runtime;
use tracing_subscriber::filter::LevelFilter;

use self::{exit::Exit, output::Output, registries::Flags};

/// Publishes, mirrors, loads and inspects multi-arch images by the operator's own steps, without a cluster; and shows
/// and steers MultiArchImage objects in one.
///
/// Ends with 0 where all is as it should be, 1 where something failed, 2 where nothing failed but something is not
/// covered, not published, or is not what it should be, and 130 where it was told to stop.
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
    /// Print results only, and neither progress nor notes.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print warnings to standard error; -vv what changes, -vvv every request. There are no bars then.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(flatten)]
    pub(crate) registries: Flags,
}

impl Common {
    /// Tells people something beside the result.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            output::note(text);
        }
    }
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
    #[command(hide = true)]
    Schema,
}

fn main() -> ExitCode {
    let Args { command, common } = match Args::try_parse() {
        Ok(args) => args,
        Err(said) => return exit::said(&said).into(),
    };
    log(common.verbose);
    // One provider for kube and for registries, before either makes a connection; nothing else installs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match Runtime::new().context("failed to start") {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&error).into(),
    };
    let ended = runtime.block_on(run(command, common));
    // A thread that still reads an archive is not waited for: nobody wants what it reads.
    runtime.shutdown_background();
    ended.into()
}

async fn run(command: Command, common: Common) -> Exit {
    let ended = match command {
        Command::Publish(args) => publish::run(args, &common).await,
        Command::Plan(args) => plan::run(args, &common).await,
        Command::Load(args) => load::run(args, &common).await,
        Command::Mirror(args) => mirror::run(args, &common).await,
        Command::Inspect(args) => inspect::run(args, &common).await,
        Command::Export(args) => Box::pin(export::run(args, &common)).await,
        Command::Status(args) => cluster::status::run(args, &common).await,
        Command::Tree(args) => cluster::tree::run(args, &common).await,
        Command::Reconcile(args) => cluster::reconcile::run(args, &common).await,
        Command::Suspend(args) => cluster::suspend::run(args, true, &common).await,
        Command::Resume(args) => cluster::suspend::run(args, false, &common).await,
        Command::Wait(args) => cluster::wait::run(args, &common).await,
        Command::Completion(args) => completion::run(&args),
        Command::Complete(words) => completion::complete(&words),
        Command::Schema => schema::run(),
    };
    ended.unwrap_or_else(|error| exit::failed(&error))
}

/// What the operator's steps log goes to standard error, as far as it is wanted: what must be known is in the results.
fn log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::WARN,
        2 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
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

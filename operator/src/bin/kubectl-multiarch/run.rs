//! Runs of the operator's pipeline over what a command asks for: several at once, and one that fails stops no other.

mod one;
mod progress;
pub(crate) mod results;
mod tasks;
mod words;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use anyhow::Result;
use futures::{StreamExt, stream};
use multiarch_operator::registry::Registry;
use tokio::time::timeout;

pub(crate) use self::{
    one::Runner,
    tasks::{Asked, Task},
    words::Asks,
};
use self::{
    progress::Progress,
    results::{ImageResult, Results},
};
use crate::{Common, exit::Exit, interrupt, registries::Registries};

/// How long it is waited for that uploads which were cut off are cancelled at their registry.
const SETTLE: Duration = Duration::from_secs(10);

/// What every command takes that runs something.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flags {
    /// How many images are worked on at once.
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) at_once: NonZeroUsize,
}

/// Whether something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All that is lacking.
    Publish,
    /// Nothing: it is told what would be.
    Plan,
}

/// What is done for all images before each of them is worked on.
pub(crate) trait First<R> {
    /// Does it, until the command is told to stop. What it finds to be wrong with one of `tasks` refuses that one.
    fn prepare(&self, runner: &Runner<'_, R>, tasks: &mut [Task]) -> impl Future<Output = ()>;
}

/// Nothing.
impl<R: Registry> First<R> for () {
    async fn prepare(&self, _runner: &Runner<'_, R>, _tasks: &mut [Task]) {}
}

/// Runs `tasks` against `registry`, which `registries` lead to, prints what became of each, and tells how the command ends.
pub(crate) async fn run<R: Registry>(
    registry: Arc<R>,
    registries: &Registries,
    tasks: Vec<Task>,
    how: (Mode, Asks, &Flags),
    common: &Common,
) -> Result<Exit> {
    run_after(&(), registry, registries, tasks, how, common).await
}

/// The same, after `first`.
pub(crate) async fn run_after<R: Registry>(
    first: &impl First<R>,
    registry: Arc<R>,
    registries: &Registries,
    mut tasks: Vec<Task>,
    (mode, asks, flags): (Mode, Asks, &Flags),
    common: &Common,
) -> Result<Exit> {
    tasks::refuse_doubles(&mut tasks);
    let stop = interrupt::token()?;
    let progress = Progress::new(tasks.len(), common);
    let runner = Runner { registry, registries, progress: &progress, stop: &stop, mode, asks };
    first.prepare(&runner, &mut tasks).await;
    let all = tasks.into_iter().enumerate().map(|(at, task)| {
        let runner = &runner;
        async move { (at, runner.run(task).await) }
    });
    let mut all = std::pin::pin!(stream::iter(all).buffer_unordered(flags.at_once.get()));
    let mut images: Vec<(usize, ImageResult)> = Vec::new();
    let mut told = false;
    loop {
        tokio::select! {
            ended = all.next() => match ended {
                Some(ended) => images.push(ended),
                None => break,
            },
            () = stop.cancelled(), if !told => {
                told = true;
                progress.say("stopping: what writes tags already is seen through (again to end at once)");
            }
        }
    }
    // What was cut off cancels its uploads by itself.
    let _ = timeout(SETTLE, registries.remote.settle()).await;
    progress.end();
    images.sort_by_key(|(at, _)| *at);
    let results = Results { images: images.into_iter().map(|(_, image)| image).collect() };
    let exit = if stop.is_cancelled() { Exit::Interrupted } else { results.exit() };
    common.output.print(&results)?;
    if stop.is_cancelled() {
        progress.say("stopped: run the same command again, and it goes on from what is there");
    }
    Ok(exit)
}

//! Told to stop: nothing new begins, then nothing goes on; told twice, it ends at once.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How far the end of the process has come.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Nothing new begins.
    pub stop: CancellationToken,
    /// Nothing goes on.
    pub cut: CancellationToken,
}

/// SIGTERM and SIGINT, as they come.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// One that begins with the first SIGTERM or SIGINT. What goes on then may do so for `grace`. The second signal ends
    /// the process, whatever it is at.
    pub fn on_signals(grace: Duration) -> io::Result<Self> {
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let shutdown = Self::default();
        let told = shutdown.clone();
        tokio::spawn(async move {
            signals.next().await;
            info!(?grace, "stopping: no run begins any more, and those at hand end first");
            told.stop.cancel();
            tokio::select! {
                () = tokio::time::sleep(grace) => told.cut.cancel(),
                () = signals.next() => signals.end(),
            }
            signals.next().await;
            signals.end();
        });
        Ok(shutdown)
    }
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// What was pushed stays, and the next start goes on from there; the Lease runs out by itself.
    #[allow(clippy::unused_self, reason = "there is no end without signals")]
    fn end(&self) {
        warn!("told to stop twice: ending at once");
        std::process::exit(1);
    }
}

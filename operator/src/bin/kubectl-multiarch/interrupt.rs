//! Ctrl-C and SIGTERM: once, nothing new begins and what may be cut off is; twice, it ends at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Cancelled by the first signal. The second one ends the process.
pub(crate) fn token() -> Result<CancellationToken> {
    let words = "failed to listen for signals";
    let mut terminate = signal(SignalKind::terminate()).context(words)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(words)?;
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(Exit::INTERRUPTED.into());
            }
            told.cancel();
        }
    });
    Ok(token)
}

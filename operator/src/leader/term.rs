//! The time during which this process may work.

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{registry::Fence, shutdown::Shutdown};

/// The time during which this process may work: as long as it holds the Lease, or for ever where there is none.
#[derive(Clone, Debug)]
pub struct Term {
    stop: CancellationToken,
    cut: CancellationToken,
    fence: Fence,
}

impl Term {
    /// Of a process that is the only one.
    #[must_use]
    pub fn alone(shutdown: &Shutdown) -> Self {
        let (stop, cut) = (shutdown.stop.clone(), shutdown.cut.clone());
        Self { stop, cut, fence: Fence::default() }
    }

    /// Of a process that may work until the time in `until`, which moves; `None` in it, and its end, are the end.
    #[must_use]
    pub fn of_lease(shutdown: &Shutdown, until: watch::Receiver<Option<Instant>>) -> Self {
        let (stop, cut) = (shutdown.stop.clone(), shutdown.cut.child_token());
        Self { stop, cut, fence: Fence::until(until) }
    }

    /// From then on nothing new begins; what was begun may end.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// From then on nothing goes on.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Whether the Lease may have been another process's before.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        self.fence.may_shut()
    }

    /// Whether this process may write now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.fence.is_open()
    }

    /// What its writes to registries wait for: at once open, or with a renewal that is late. A term that is over never
    /// comes back, and what waits for it is cut off.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_works_for_ever() {
        let shutdown = Shutdown::default();
        let term = Term::alone(&shutdown);
        assert!(term.holds() && !term.is_leased());
        shutdown.cut.cancel();
        assert!(term.cut().is_cancelled() && term.holds(), "what was begun may still be reported");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_lease_writes_until_its_deadline() {
        let second = Duration::from_secs(1);
        let (renew, until) = watch::channel(Some(Instant::now() + second));
        let term = Term::of_lease(&Shutdown::default(), until);
        assert!(term.holds() && term.is_leased());
        tokio::time::advance(second).await;
        assert!(!term.holds());
        renew.send_replace(Some(Instant::now() + second));
        assert!(term.holds());
        renew.send_replace(None);
        assert!(!term.holds());
    }
}

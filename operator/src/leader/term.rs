//! The time during which this process may work.

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

/// The time during which this process may work: as long as it holds the Lease, or for ever where there is none.
#[derive(Clone, Debug)]
pub struct Term {
    stop: CancellationToken,
    cut: CancellationToken,
    until: Until,
}

#[derive(Clone, Debug)]
enum Until {
    /// Nobody else works.
    Shutdown,
    /// The deadline moves with each renewal; `None` where the Lease is lost.
    Lease(watch::Receiver<Option<Instant>>),
}

impl Term {
    /// Of a process that is the only one.
    #[must_use]
    pub fn alone(shutdown: &Shutdown) -> Self {
        let (stop, cut) = (shutdown.stop.clone(), shutdown.cut.clone());
        Self { stop, cut, until: Until::Shutdown }
    }

    /// Of a process that may work until the time in `until`, which moves; `None` in it, and its end, are the end.
    #[must_use]
    pub fn of_lease(shutdown: &Shutdown, until: watch::Receiver<Option<Instant>>) -> Self {
        let (stop, cut) = (shutdown.stop.clone(), shutdown.cut.child_token());
        Self { stop, cut, until: Until::Lease(until) }
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
        matches!(self.until, Until::Lease(_))
    }

    /// Whether this process may write now.
    #[must_use]
    pub fn holds(&self) -> bool {
        match &self.until {
            Until::Shutdown => true,
            Until::Lease(until) => until.borrow().is_some_and(|until| Instant::now() < until),
        }
    }

    /// Waits until this process may write: at once, or until a renewal that is late. A term that is over never
    /// comes back, and what waits for it is cut off.
    pub async fn held(&self) {
        let Until::Lease(until) = &self.until else { return };
        let holds = |until: &Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        if until.clone().wait_for(holds).await.is_err() {
            std::future::pending::<()>().await;
        }
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
        term.held().await;
        assert!(term.holds() && !term.is_leased());
        shutdown.cut.cancel();
        assert!(term.cut().is_cancelled() && term.holds(), "what was begun may still be reported");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_waits_for_a_renewal_that_is_late() {
        let second = Duration::from_secs(1);
        let (renew, until) = watch::channel(Some(Instant::now() + second));
        let term = Term::of_lease(&Shutdown::default(), until);
        term.held().await;
        tokio::time::advance(second).await;
        assert!(!term.holds());
        let (writes, waits) = (tokio::time::timeout(second, term.held()).await, term.held());
        assert!(writes.is_err());
        let renewed = async { renew.send_replace(Some(Instant::now() + second)) };
        tokio::join!(waits, renewed);
        assert!(term.holds());
        drop(renew);
        term.held().await;
        tokio::time::advance(second).await;
        assert!(tokio::time::timeout(second, term.held()).await.is_err(), "it never comes back");
    }
}

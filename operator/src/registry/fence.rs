//! When writes may begin.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{sync::watch, time::Instant};

/// When writes to registries may begin: always, or until a time that moves, by this process's own clock.
///
/// Whoever sends a write asks for it last, when there is nothing left to wait for: a process that was held up in any
/// wait does not know that its time is over before it looks at its clock.
#[derive(Clone, Debug, Default)]
pub struct Fence(Option<watch::Receiver<Option<Instant>>>);

impl Fence {
    /// Open until the time in `until`, which moves; `None` in it, and its end, are the end.
    #[must_use]
    pub fn until(until: watch::Receiver<Option<Instant>>) -> Self {
        Self(Some(until))
    }

    /// Whether it may ever shut.
    #[must_use]
    pub fn may_shut(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a write may begin now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.as_ref().is_none_or(|until| is_later(*until.borrow()))
    }

    /// Waits until a write may begin: not at all, or until the time moves. Where it never does again, what waits for it
    /// is dropped.
    pub async fn open(&self) {
        let Some(until) = &self.0 else { return };
        if until.clone().wait_for(|until| is_later(*until)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// `future`, which goes on only while this is open: whatever it waits for itself, it does nothing after the end.
    pub async fn during<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut shut: Option<BoxFuture<'_, ()>> = None;
        poll_fn(|context| {
            if !self.is_open() {
                let opens = shut.get_or_insert_with(|| self.open().boxed());
                if opens.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            shut = None;
            future.as_mut().poll(context)
        })
        .await
    }
}

fn is_later(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, sleep_until, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_without_an_end_is_always_open() {
        let fence = Fence::default();
        fence.open().await;
        assert!(fence.is_open() && !fence.may_shut());
        assert_eq!(fence.during(async { 1 }).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_waits_for_a_renewal_that_is_late() {
        let (renew, until) = watch::channel(Some(Instant::now() + SECOND));
        let fence = Fence::until(until);
        fence.open().await;
        advance(SECOND).await;
        assert!(!fence.is_open());
        let (writes, waits) = (timeout(SECOND, fence.open()).await, fence.open());
        assert!(writes.is_err());
        let renewed = async { renew.send_replace(Some(Instant::now() + SECOND)) };
        tokio::join!(waits, renewed);
        assert!(fence.is_open());
        drop(renew);
        fence.open().await;
        advance(SECOND).await;
        assert!(timeout(SECOND, fence.open()).await.is_err(), "it never comes back");
    }

    /// What was begun waits as well, at whatever it waited for.
    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_while_it_is_shut() {
        let (renew, until) = watch::channel(Some(Instant::now() + SECOND));
        let fence = Fence::until(until);
        let (tell, mut told) = watch::channel(0);
        let mut goes = pin!(fence.during(async {
            for step in 1..=3 {
                tell.send_replace(step);
                sleep_until(Instant::now() + SECOND / 2).await;
            }
        }));
        assert!(timeout(SECOND * 10, &mut goes).await.is_err());
        assert_eq!(*told.borrow_and_update(), 2, "the third step was due when it was shut");
        renew.send_replace(Some(Instant::now() + SECOND));
        goes.await;
        assert_eq!(*told.borrow_and_update(), 3);
    }
}

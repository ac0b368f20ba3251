//! What registries say of how much they take and when; and a gate, at which tests count what comes at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

use super::{
    super::{Seen, Server, Shared, error, login},
    Lie,
};

/// One thing that the server says or does about limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitLie {
    /// This method is answered 429 with this `Retry-After`.
    To(&'static str, String),
    /// Who logs in so is answered 429 with this `Retry-After`.
    Who(&'static str, String),
    /// Everything is answered 503 with this `Retry-After`.
    Unavailable(String),
    /// Answers wait until this lie is taken back.
    Gate,
    /// The same, of this method alone.
    GateTo(&'static str),
}

/// Requests that wait for an answer at a gate.
#[derive(Default)]
pub(in super::super) struct Gate {
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// One that waits, until this is dropped.
struct Waiting<'a>(&'a Gate);

impl Server {
    /// How many requests wait for an answer at a [`LimitLie::Gate`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.gate.now.load(Ordering::Relaxed)
    }

    /// How many waited there at once at most.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.shared.gate.peak.load(Ordering::Relaxed)
    }
}

impl Gate {
    fn enter(&self) -> Waiting<'_> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
        Waiting(self)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for as long as nothing is to be said to `seen`.
pub(in super::super) async fn wait(shared: &Shared, seen: &Seen) {
    let mut waiting = None;
    loop {
        let changed = shared.answered.notified();
        let lies = shared.lies().lies.clone();
        let silent = |lie: &Lie| match lie {
            Lie::Silence => true,
            Lie::SilentTo(method) => *method == seen.method,
            _ => false,
        };
        let gate = |lie: &Lie| match lie {
            Lie::Limit(LimitLie::Gate) => true,
            Lie::Limit(LimitLie::GateTo(method)) => *method == seen.method,
            _ => false,
        };
        if lies.iter().any(silent) {
            return std::future::pending().await;
        }
        if !lies.iter().any(gate) {
            return;
        }
        if waiting.is_none() {
            waiting = Some(shared.gate.enter());
            shared.answered.notify_waiters();
        } else {
            changed.await;
        }
    }
}

/// What is answered in place of the store's answer.
pub(super) fn refused(seen: &Seen, lie: &LimitLie) -> Option<Response> {
    match lie {
        LimitLie::To(method, wait) => (*method == seen.method).then(|| later(429, wait)),
        LimitLie::Who(who, wait) => {
            let name = login::username(seen.header("authorization"));
            (name.as_deref() == Some(*who)).then(|| later(429, wait))
        }
        LimitLie::Unavailable(wait) => Some(later(503, wait)),
        LimitLie::Gate | LimitLie::GateTo(_) => None,
    }
}

/// An answer that asks to come back later.
pub(super) fn later(status: u16, wait: &str) -> Response {
    let mut response = error(status, "TOOMANYREQUESTS");
    if let Ok(wait) = HeaderValue::from_str(wait) {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

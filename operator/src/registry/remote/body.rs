//! What a request carries, and how much of it the connection has taken.

use std::{
    convert::Infallible,
    error::Error,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use reqwest::Body;
use tokio::{sync::Notify, time::Instant};

use crate::registry::Fence;

/// The body of a request.
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// `total` bytes that come from elsewhere, once.
    Stream {
        total: u64,
        chunks: BoxStream<'static, Result<Bytes, Stopped>>,
    },
}

/// Why a stream ends early is known to whoever made it; the connection only has to break.
#[derive(Debug, thiserror::Error)]
#[error("the bytes to be sent ended early")]
pub(super) struct Stopped;

/// How much of a body was handed to the connection, and for how long it had to wait for more.
#[derive(Default)]
pub(super) struct Handed {
    bytes: AtomicU64,
    starved: Mutex<Starved>,
    pub(super) moved: Notify,
}

#[derive(Default)]
struct Starved {
    total: Duration,
    since: Option<Instant>,
}

/// What is handed to the connection at once.
const CHUNK: usize = 64 << 10;

impl Payload {
    /// Its size and its bytes, which are counted as the connection takes them.
    /// None is taken while `fence` is shut.
    pub(super) fn watched(
        self,
        handed: &Arc<Handed>,
        fence: Option<&Fence>,
    ) -> Option<(u64, Body)> {
        match self {
            Self::Nothing => None,
            Self::Bytes(body) => {
                let total = body.len() as u64;
                let starts = (0..body.len()).step_by(CHUNK);
                let chunks = starts.map(move |at| body.slice(at..body.len().min(at + CHUNK)));
                let chunks = stream::iter(chunks.map(Ok::<_, Infallible>));
                Some((total, handed.watch(chunks, fence)))
            }
            Self::Stream { total, chunks } => Some((total, handed.watch(chunks, fence))),
        }
    }
}

impl Handed {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long the connection was ready for bytes that were not there yet.
    pub(super) fn starved(&self, now: Instant) -> Duration {
        let starved = self.state();
        starved.total + starved.since.map_or(Duration::ZERO, |since| now - since)
    }

    fn watch<S, E>(self: &Arc<Self>, chunks: S, fence: Option<&Fence>) -> Body
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        E: Error + Send + Sync + 'static,
    {
        let state = (chunks, Arc::clone(self), fence.cloned().unwrap_or_default());
        Body::wrap_stream(stream::unfold(state, |(mut chunks, handed, fence)| async {
            handed.state().since = Some(Instant::now());
            let next = chunks.next().await;
            fence.open().await;
            handed.fed(next.as_ref().and_then(|next| next.as_ref().ok()).map_or(0, Bytes::len));
            next.map(|next| (next, (chunks, handed, fence)))
        }))
    }

    fn fed(&self, bytes: usize) {
        let mut starved = self.state();
        if let Some(since) = starved.since.take() {
            starved.total += since.elapsed();
        }
        drop(starved);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, Starved> {
        self.starved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

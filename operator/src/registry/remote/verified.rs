//! The bytes of a blob on their way, held to size and digest before the last one is handed on.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use super::body::Stopped;
use crate::{
    oci::{Descriptor, Digest, digest::Hasher},
    registry::{Chunks, Progress, RegistryError, Request},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};

/// A source's bytes, checked as they pass.
pub(super) struct Verified {
    chunks: Chunks,
    /// Whose bytes they are, for messages.
    host: String,
    request: Request,
    expected: Digest,
    size: u64,
    hash: Hasher,
    received: u64,
    handed: u64,
    /// What may be handed on.
    ready: Bytes,
    /// The last bytes, until the source's end is seen.
    held: Option<Bytes>,
    /// What an earlier stream of the same blob had come to.
    earlier: Option<Mark>,
}

/// How far a stream came, and what it was until there.
#[derive(Clone)]
pub(super) struct Mark {
    pub(super) received: u64,
    hash: Hasher,
}

impl Verified {
    /// `earlier`: a part of an earlier stream was taken, so this one has to begin with it.
    pub(super) fn new(
        (host, request): (String, Request),
        blob: &Descriptor,
        chunks: Chunks,
        earlier: Option<Mark>,
    ) -> Self {
        Self {
            chunks,
            host,
            request,
            expected: blob.digest.clone(),
            size: blob.size,
            hash: Hasher::new(&blob.digest),
            received: 0,
            handed: 0,
            ready: Bytes::new(),
            held: None,
            earlier,
        }
    }

    /// Drops the first `bytes`.
    pub(super) async fn skip(&mut self, bytes: u64) -> Result<(), RegistryError> {
        while self.handed < bytes {
            let most = bytes - self.handed;
            if std::future::poll_fn(|cx| self.poll(cx, most)).await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The next bytes, `most` at once. `None` after the last one.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        most: u64,
    ) -> Poll<Result<Option<Bytes>, RegistryError>> {
        loop {
            if !self.ready.is_empty() {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let part = self.ready.split_to(self.ready.len().min(most));
                self.handed += part.len() as u64;
                return Poll::Ready(Ok(Some(part)));
            }
            if self.handed == self.size && self.size > 0 {
                return Poll::Ready(Ok(None));
            }
            let Some(chunk) = ready!(self.chunks.poll_next_unpin(cx)).transpose()? else {
                self.end()?;
                let Some(last) = self.held.take() else { return Poll::Ready(Ok(None)) };
                self.ready = last;
                continue;
            };
            self.take(chunk)?;
        }
    }

    fn take(&mut self, chunk: Bytes) -> Result<(), RegistryError> {
        let before = self.received;
        self.received += chunk.len() as u64;
        if self.received > self.size {
            return Err(self.wrong_size());
        }
        let mut rest = &chunk[..];
        if let Some(earlier) = &self.earlier
            && earlier.received <= self.received
        {
            let upto = usize::try_from(earlier.received - before).unwrap_or(0);
            self.hash.update(&rest[..upto]);
            rest = &rest[upto..];
            if earlier.hash.clone().finish() != self.hash.clone().finish() {
                let (host, request) = (self.host.clone(), self.request.clone());
                let why = "other bytes than a moment before".into();
                return Err(RegistryError::Protocol { host, request, why });
            }
            self.earlier = None;
        }
        self.hash.update(rest);
        if self.received == self.size && !chunk.is_empty() {
            self.held = Some(chunk);
        } else {
            self.ready = chunk;
        }
        Ok(())
    }

    /// The source has no more.
    fn end(&self) -> Result<(), RegistryError> {
        if self.received < self.size {
            return Err(self.wrong_size());
        }
        let computed = self.hash.clone().finish();
        if computed == self.expected {
            return Ok(());
        }
        let (host, request, expected) =
            (self.host.clone(), self.request.clone(), self.expected.clone());
        Err(RegistryError::WrongDigest { host, request, expected, computed })
    }

    fn wrong_size(&self) -> RegistryError {
        let (host, request) = (self.host.clone(), self.request.clone());
        RegistryError::WrongSize { host, request, expected: self.size, received: self.received }
    }
}

/// One stream, sent by one request after another. It can be taken back from a connection that does
/// not let go of its body, and with it the connection to the source ends.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Lent>>);

#[derive(Default)]
struct Lent {
    stream: Option<Verified>,
    failed: Option<RegistryError>,
}

/// A part of the stream, as the body of one request.
struct Window {
    shared: Shared,
    left: u64,
    progress: Progress,
}

impl Shared {
    pub(super) fn new(stream: Verified) -> Self {
        Self(Arc::new(Mutex::new(Lent { stream: Some(stream), failed: None })))
    }

    /// The next `bytes` of it.
    pub(super) fn window(
        &self,
        bytes: u64,
        progress: &Progress,
    ) -> BoxStream<'static, Result<Bytes, Stopped>> {
        let (shared, progress) = (self.clone(), Arc::clone(progress));
        Window { shared, left: bytes, progress }.boxed()
    }

    /// How many bytes were handed on so far.
    pub(super) fn handed(&self) -> u64 {
        self.lent().stream.as_ref().map_or(0, |stream| stream.handed)
    }

    /// Ends it: how far it came, and why it broke where it was the source's doing.
    pub(super) fn end(&self) -> (Option<Mark>, Option<RegistryError>) {
        let mut lent = self.lent();
        let mark = |stream: Verified| {
            let Verified { received, hash, earlier, .. } = stream;
            // What it was not compared with yet still counts.
            earlier.unwrap_or(Mark { received, hash })
        };
        (lent.stream.take().map(mark), lent.failed.take())
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for Window {
    type Item = Result<Bytes, Stopped>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let window = self.get_mut();
        if window.left == 0 {
            return Poll::Ready(None);
        }
        let mut lent = window.shared.lent();
        let polled =
            lent.stream.as_mut().map(|stream| (stream.poll(cx, window.left), stream.handed));
        match polled {
            Some((Poll::Pending, _)) => return Poll::Pending,
            Some((Poll::Ready(Ok(Some(bytes))), handed)) => {
                drop(lent);
                window.left -= bytes.len() as u64;
                (window.progress)(handed);
                return Poll::Ready(Some(Ok(bytes)));
            }
            Some((Poll::Ready(Err(error)), _)) => lent.failed = Some(error),
            Some((Poll::Ready(Ok(None)), _)) | None => {}
        }
        window.left = 0;
        Poll::Ready(Some(Err(Stopped)))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use rstest::rstest;

    use super::*;

    fn blob(content: &'static str) -> Descriptor {
        let raw = crate::oci::RawManifest::new("text/x", Bytes::from_static(content.as_bytes()));
        raw.descriptor()
    }

    fn verified(of: &'static str, chunks: &'static [&str], earlier: Option<Mark>) -> Verified {
        let chunks = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
        let request = Request { method: "GET", noun: "blob", of: "a".into() };
        let named = ("r.example.com".into(), request);
        Verified::new(named, &blob(of), stream::iter(chunks).boxed(), earlier)
    }

    /// What is handed on, and the error's variant.
    async fn passed(shared: &Shared, bytes: u64) -> (String, String) {
        let progress: Progress = Arc::new(|_| {});
        let passed: Vec<_> = shared.window(bytes, &progress).collect().await;
        let text = passed.into_iter().filter_map(Result::ok).flatten().collect();
        let failed = shared.lent().failed.as_ref().map(|error| format!("{error:?}"));
        let variant = failed.unwrap_or_default().split(' ').next().unwrap_or_default().into();
        (String::from_utf8(text).unwrap(), variant)
    }

    #[rstest]
    #[case::right(&["ab", "cd", "ef"], "abcdef", "")]
    #[case::at_once(&["abcdef"], "abcdef", "")]
    #[case::empty_chunks(&["", "abc", "", "def", ""], "abcdef", "")]
    #[case::wrong_at_once(&["abcdeX"], "", "WrongDigest")]
    #[case::wrong_end(&["abc", "deX"], "abc", "WrongDigest")]
    #[case::wrong_begin(&["Xbc", "def"], "Xbc", "WrongDigest")]
    #[case::short(&["abc", "de"], "abcde", "WrongSize")]
    #[case::nothing(&[], "", "WrongSize")]
    #[case::long(&["abc", "def", "g"], "abc", "WrongSize")]
    #[case::long_chunk(&["abc", "defg"], "abc", "WrongSize")]
    #[tokio::test]
    async fn the_last_byte_is_handed_on_only_when_all_are_right(
        #[case] chunks: &'static [&str],
        #[case] handed: &str,
        #[case] variant: &str,
    ) {
        let shared = Shared::new(verified("abcdef", chunks, None));
        assert_eq!(passed(&shared, 6).await, (handed.into(), variant.into()));
    }

    #[tokio::test]
    async fn an_empty_blob_is_checked_too() {
        verified("", &[], None).skip(1).await.unwrap();
        assert!(verified("", &["x"], None).skip(1).await.is_err());
    }

    #[tokio::test]
    async fn windows_go_on_where_the_last_one_ended() {
        let shared = Shared::new(verified("abcdef", &["abcd", "ef"], None));
        let mut windows = Vec::new();
        for bytes in [1, 4, 1] {
            windows.push(passed(&shared, bytes).await.0);
        }
        assert_eq!(windows, ["a", "bcde", "f"]);
        assert_eq!(shared.handed(), 6);
    }

    #[rstest]
    #[case::the_same(&["ab", "cd", "ef"], "ef", "")]
    #[case::other_chunks(&["abc", "def"], "ef", "")]
    #[case::other_bytes(&["Xb", "cd", "ef"], "", "Protocol")]
    #[tokio::test]
    async fn a_second_reading_begins_as_the_first_one(
        #[case] chunks: &'static [&str],
        #[case] handed: &str,
        #[case] variant: &str,
    ) {
        let first = Shared::new(verified("abcdef", &["abcd", "ef"], None));
        passed(&first, 4).await;
        let (mark, failed) = first.end();
        assert!(failed.is_none());
        let mut second = verified("abcdef", chunks, mark);
        let skipped = second.skip(4).await;
        if let Err(error) = skipped {
            assert!(format!("{error:?}").starts_with(variant) && !variant.is_empty(), "{error:?}");
            return;
        }
        assert_eq!(passed(&Shared::new(second), 2).await, (handed.into(), variant.into()));
    }

    #[tokio::test]
    async fn what_was_taken_back_ends_the_body() {
        let shared = Shared::new(verified("abcdef", &["abc", "def"], None));
        let progress: Progress = Arc::new(|_| {});
        let mut window = shared.window(6, &progress);
        assert!(matches!(window.next().await, Some(Ok(_))));
        shared.end();
        assert!(matches!(window.next().await, Some(Err(Stopped))));
    }
}

//! A blob's bytes to a registry: in one request, in chunks where it wants them, and resumed where it can.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{
    Remote,
    body::Payload,
    call::{Answer, Call},
    failure::{Failure, NO_ANSWER},
    limits::Limits,
    session::{Session, Started, taken},
    verified::{Mark, Shared, Verified},
};
use crate::{
    oci::Descriptor,
    registry::{BlobSource, Copied, Place, Progress, RegistryError},
};

/// What is sent, from where, to where.
pub(super) struct Upload<'a> {
    pub(super) remote: &'a Remote,
    pub(super) to: Place<'a>,
    pub(super) blob: &'a Descriptor,
    pub(super) source: &'a dyn BlobSource,
    pub(super) progress: &'a Progress,
}

/// An upload that did not come to its end.
struct Broken {
    error: RegistryError,
    then: Then,
    /// How far the source was read.
    mark: Option<Mark>,
    /// All bytes went out, so that it may have succeeded though nobody said so.
    whole: bool,
    /// For how long the registry wants to be left alone before.
    wait: Duration,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Fail,
    /// It is a success if the blob is there.
    Look,
    /// As much as the registry has is kept.
    Resume,
    /// Nothing of it is kept.
    Anew,
    /// Less at once.
    Chunk,
}

impl<'a> Upload<'a> {
    /// Sends the blob. `None` where the source does not have it.
    pub(super) async fn run(
        &self,
        mut session: Option<Session<'a>>,
    ) -> Result<Option<Copied>, RegistryError> {
        let limits = self.remote.transport.limits();
        let (mut failures, mut chunk) = (0, None);
        let (mut offset, mut mark) = (0, None);
        loop {
            let mut open = match session.take() {
                Some(session) => session,
                None => match self.remote.start(self.to, self.blob).await? {
                    Started::Session(session) => session,
                    Started::Done => return Ok(Some(Copied::Present)),
                },
            };
            let broken = match self.attempt(&mut open, offset, mark.take(), chunk).await {
                Ok(Some(())) => {
                    open.done();
                    return Ok(Some(Copied::Uploaded));
                }
                Ok(None) => {
                    open.cancel().await;
                    return Ok(None);
                }
                Err(broken) => broken,
            };
            failures += 1;
            let looks = broken.then == Then::Look
                || (broken.then == Then::Resume && broken.whole && !broken.is_limited());
            if looks && self.there().await {
                // A refusal may have left it open, a lost answer has not.
                if broken.then == Then::Look {
                    open.cancel().await;
                } else {
                    open.done();
                }
                return Ok(Some(Copied::Uploaded));
            }
            offset = 0;
            match broken.then {
                Then::Resume if failures < limits.tries => {
                    self.remote.pause(failures, broken.wait).await;
                    let read = broken.mark.as_ref().map_or(0, |mark| mark.received);
                    match open.status().await {
                        Some(taken) if taken <= read => {
                            (offset, mark, session) = (taken, broken.mark, Some(open));
                        }
                        _ => open.cancel().await,
                    }
                }
                Then::Anew if failures < limits.tries => open.cancel().await,
                Then::Chunk if let Some(less) = smaller(chunk, self.to, limits) => {
                    open.cancel().await;
                    // That it wants less is no failure.
                    (chunk, failures) = (Some(less), failures - 1);
                }
                _ => {
                    open.cancel().await;
                    return Err(broken.error);
                }
            }
        }
    }

    async fn there(&self) -> bool {
        let Place { access, repository } = self.to;
        self.remote.look(access, repository, self.blob).await.unwrap_or(false)
    }

    /// Sends everything from `offset` on. `None` where the source does not have it.
    async fn attempt(
        &self,
        session: &mut Session<'_>,
        offset: u64,
        earlier: Option<Mark>,
        chunk: Option<u64>,
    ) -> Result<Option<()>, Broken> {
        let size = self.blob.size;
        // Before its source is asked: what is read waits for nothing but this upload.
        let _place = session.place().await.map_err(Broken::fails)?;
        if offset == size && size > 0 {
            return self.finish(session, offset).await.map(Some);
        }
        // Which was tried often enough.
        let Some(chunks) = self.source.open().await.map_err(Broken::fails)? else {
            return Ok(None);
        };
        let mut stream = Verified::new(self.source.named(), self.blob, chunks, earlier);
        stream.skip(offset).await.map_err(|error| self.by_source(error))?;
        if size == 0 {
            // Nothing to send, and still to be checked.
            stream.skip(1).await.map_err(|error| self.by_source(error))?;
            return self.finish(session, 0).await.map(Some);
        }
        let stream = Shared::new(stream);
        let sent = match chunk {
            None => self.put(session, Some(&stream), offset).await,
            Some(chunk) => self.patches(session, &stream, offset, chunk).await,
        };
        let whole = stream.handed() == size;
        // Whatever still holds the body lets go of the source now.
        let (mark, failed) = stream.end();
        match (sent, failed) {
            (Ok(()), _) => Ok(Some(())),
            (Err(_), Some(error)) => Err(Broken { mark, ..self.by_source(error) }),
            (Err(broken), None) => Err(Broken { mark, whole, ..broken }),
        }
    }

    /// In chunks, and a PUT without a body at the end.
    async fn patches(
        &self,
        session: &mut Session<'_>,
        stream: &Shared,
        mut offset: u64,
        chunk: u64,
    ) -> Result<(), Broken> {
        while offset < self.blob.size {
            let total = chunk.min(self.blob.size - offset);
            let call = session.call("PATCH");
            let headers = headers(Some((offset, total)));
            let body = Payload::Stream { total, chunks: stream.window(total, self.progress) };
            let answer = self.remote.exchange_once(&call, headers, body, 0).await;
            let answer = answer.map_err(|error| self.by_target(error))?;
            if !answer.response.status().is_success() {
                return Err(self.refused(&call, answer).await);
            }
            session.follow(&call, &answer).map_err(|error| self.by_target(error))?;
            let sent = offset + total;
            // Where it says nothing, the PUT at the end will.
            let taken = taken(&answer).unwrap_or(sent);
            if taken <= offset || taken > sent {
                let why = format!("{taken} bytes taken of {sent}, of which {offset} were before");
                return Err(self.by_target(call.told(Failure::Protocol(why))));
            }
            if taken < sent {
                let why = format!("{taken} bytes taken of {sent}");
                let error = call.told(Failure::Protocol(why));
                return Err(Broken { then: Then::Resume, ..self.by_target(error) });
            }
            offset = sent;
        }
        self.finish(session, offset).await
    }

    /// PUT without a body, when the registry has it all.
    async fn finish(&self, session: &Session<'_>, offset: u64) -> Result<(), Broken> {
        let put = self.put(session, None, offset).await;
        put.map_err(|broken| Broken { whole: true, ..broken })
    }

    /// PUT with what is left of `stream`, which ends the upload.
    async fn put(
        &self,
        session: &Session<'_>,
        stream: Option<&Shared>,
        offset: u64,
    ) -> Result<(), Broken> {
        let total = self.blob.size - offset;
        let (range, body) = match stream {
            Some(stream) => {
                let chunks = stream.window(total, self.progress);
                let range = (offset > 0).then_some((offset, total));
                (range, Payload::Stream { total, chunks })
            }
            None => (None, Payload::Bytes(Bytes::new())),
        };
        let call = session.call("PUT");
        let answer = self.remote.exchange_once(&call, headers(range), body, offset).await;
        let answer = answer.map_err(|error| self.by_target(error))?;
        match answer.response.status().as_u16() {
            // Any other success is not about a blob that is there.
            200 | 201 | 204 => Ok(()),
            // GHCR bounds what says its range, and takes any length that comes as a whole
            // (https://github.com/oras-project/rust-oci-client/issues/35).
            416 if offset > 0 && stream.is_some() => {
                Err(Broken { then: Then::Anew, ..self.refused(&call, answer).await })
            }
            _ => Err(self.refused(&call, answer).await),
        }
    }

    async fn refused(&self, call: &Call<'_>, answer: Answer) -> Broken {
        let status = answer.response.status().as_u16();
        let error = self.remote.refused(call, answer).await;
        let passing = self.remote.passing(&error);
        let then = match status {
            // A stale token is renewed, and a lost session begun anew, by looking at the session.
            401 | 404 | 416 => Then::Resume,
            413 => Then::Chunk,
            _ if passing.is_some() => Then::Resume,
            429 | 503 => Then::Fail,
            _ => Then::Look,
        };
        Broken { then, wait: passing.unwrap_or_default(), ..Broken::fails(error) }
    }

    fn by_source(&self, error: RegistryError) -> Broken {
        match self.remote.passing(&error) {
            Some(wait) => Broken { then: Then::Resume, wait, ..Broken::fails(error) },
            None => Broken::fails(error),
        }
    }

    fn by_target(&self, error: RegistryError) -> Broken {
        match &error {
            RegistryError::TooSlow { limit, .. } if limit.starts_with(NO_ANSWER) => {
                Broken { then: Then::Look, ..Broken::fails(error) }
            }
            _ => self.by_source(error),
        }
    }
}

impl Broken {
    /// The registry takes nothing now, so that it has not taken this.
    fn is_limited(&self) -> bool {
        matches!(self.error.status(), Some(429 | 503))
    }

    /// Nothing is done about it.
    fn fails(error: RegistryError) -> Self {
        Self { error, then: Then::Fail, mark: None, whole: false, wait: Duration::ZERO }
    }
}

fn headers(range: Option<(u64, u64)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some((offset, total)) = range {
        // Digits and a dash always are a header's value.
        if let Ok(range) = HeaderValue::from_str(&format!("{offset}-{}", offset + total - 1)) {
            headers.insert(CONTENT_RANGE, range);
        }
    }
    headers
}

/// What is sent at once after a 413 to `chunk`, or to everything (REGISTRY.md rule 8).
fn smaller(chunk: Option<u64>, to: Place<'_>, limits: &Limits) -> Option<u64> {
    /// What GHCR takes.
    const GHCR: u64 = 4 << 20;
    match chunk {
        None if to.repository.host() == "ghcr.io" => Some(GHCR),
        None => Some(limits.chunk),
        Some(chunk) if chunk <= limits.chunk_least => None,
        Some(chunk) => Some((chunk / 2).max(limits.chunk_least)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::registry::Access;

    const MIB: u64 = 1 << 20;

    #[rstest]
    #[case("ghcr.io/a/b:1", &[4])]
    #[case("r.example.com/a/b:1", &[64, 32, 16, 8, 5])]
    fn chunks_shrink_to_an_end(#[case] to: &str, #[case] expected: &[u64]) {
        let reference: crate::oci::Reference = to.parse().unwrap();
        let to = Place { access: &Access::default(), repository: reference.repository() };
        let limits = Limits::default();
        let next = |chunk: &Option<u64>| Some(smaller(*chunk, to, &limits));
        let chunks = std::iter::successors(Some(None), next).skip(1).map_while(|chunk| chunk);
        assert_eq!(chunks.map(|bytes| bytes / MIB).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_resumed_upload_says_which_bytes_it_sends() {
        assert_eq!(headers(Some((50, 50)))[CONTENT_RANGE], "50-99");
        assert!(!headers(None).contains_key(CONTENT_RANGE));
    }
}

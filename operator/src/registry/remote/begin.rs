//! The begin of an upload, seen through also when nobody waits for it any more: a session that nobody knows nobody ends.

use std::sync::Arc;

use reqwest::{
    Method,
    header::{HeaderMap, LOCATION},
};
use tokio::{runtime::Handle, sync::oneshot};
use url::Url;

use super::{
    Remote,
    body::Payload,
    budget::{Asker, Kind},
    call::Call,
    failure::Failure,
    redirect,
    transport::{Hop, Reply, Turn},
};
use crate::{
    oci::Repository,
    registry::{Access, Place, tls::Tls},
};

/// An upload that is being begun.
struct Begin {
    remote: Remote,
    access: Access,
    repository: Repository,
    /// What it is of, for messages.
    of: String,
    kind: Kind,
    url: Url,
    tls: Option<Arc<Tls>>,
    headers: HeaderMap,
}

/// The answer to it. Whoever drops it ends what it has begun.
struct Begun {
    of: Arc<Begin>,
    answer: Option<Reply>,
}

impl Remote {
    /// POST to `url`. Where its future is dropped, the session that comes of it is ended.
    pub(super) async fn begin(
        &self,
        call: &Call<'_>,
        url: &Url,
        tls: Option<Arc<Tls>>,
        headers: HeaderMap,
    ) -> Result<Reply, Failure> {
        let of = Arc::new(Begin {
            remote: self.clone(),
            access: call.access.clone(),
            repository: call.repository.clone(),
            of: call.request.of.clone(),
            kind: call.kind(),
            url: url.clone(),
            tls,
            headers,
        });
        let (mut tell, told) = oneshot::channel();
        self.cancelled.spawn(async move {
            let turn = tokio::select! {
                biased;
                // While it waits for its turn nothing was begun that had to be ended.
                () = tell.closed() => return,
                turn = of.turn() => turn,
            };
            let sent = match turn {
                Ok(turn) => of.remote.transport.send_now(turn).await,
                Err(failure) => Err(failure),
            };
            // Nobody may wait for it any more: then it is dropped here.
            let _ = tell.send(sent.map(|answer| Begun { of, answer: Some(answer) }));
        });
        // It is told and has an answer, unless the process is about to end.
        let nothing = || Failure::protocol("nothing: the operator ends");
        told.await.map_err(|_| nothing())??.taken().ok_or_else(nothing)
    }
}

impl Begin {
    async fn turn(&self) -> Result<Turn<'_>, Failure> {
        let hop = Hop {
            registry: self.repository.host(),
            asker: Asker::of(&self.access),
            kind: self.kind,
            method: &Method::POST,
            url: &self.url,
            tls: self.tls.as_deref(),
            headers: self.headers.clone(),
            body: Payload::Nothing,
            behind: 0,
            fence: Some(&self.access.fence),
        };
        self.remote.transport.turn(hop).await
    }

    async fn end(&self, session: &Url) {
        let to = Place { access: &self.access, repository: &self.repository };
        self.remote.end(to, &self.of, session).await;
    }
}

impl Begun {
    fn taken(mut self) -> Option<Reply> {
        self.answer.take()
    }

    /// Where the session is, if one was begun where the credential may go.
    fn session(&self) -> Option<Url> {
        let answer = self.answer.as_ref().filter(|answer| answer.status() == 202)?;
        let location = answer.headers().get(LOCATION)?.to_str().ok()?;
        let trusted = (self.of.repository.host(), self.of.remote.upload_hosts.as_slice());
        let session = redirect::upload(&self.of.url, location, trusted).ok()?;
        (session.origin() == self.of.url.origin()).then_some(session)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(session) = self.session()
            && let Ok(runtime) = Handle::try_current()
        {
            let of = Arc::clone(&self.of);
            let cancelled = self.of.remote.cancelled.clone();
            cancelled.spawn_on(async move { of.end(&session).await }, &runtime);
        }
    }
}

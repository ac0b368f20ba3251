//! The begin of an upload, seen through also when nobody waits for it any more: a session that nobody knows nobody ends.

use std::sync::Arc;

use reqwest::{
    Method,
    header::{HeaderMap, LOCATION},
};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::TaskTracker;
use url::Url;

use super::{
    Remote,
    body::Payload,
    budget::{Asker, Kind},
    call::Asked,
    failure::Failure,
    redirect,
    transport::{Hop, Reply, Transport},
};
use crate::registry::tls::Tls;

/// An upload that is being begun.
struct Begin {
    transport: Arc<Transport>,
    /// What goes on although nobody waits for it.
    cancelled: TaskTracker,
    upload_hosts: Vec<(String, String)>,
    registry: String,
    asker: Asker,
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
        asked: &Asked<'_>,
        url: &Url,
        tls: Option<Arc<Tls>>,
        headers: HeaderMap,
    ) -> Result<Reply, Failure> {
        let of = Arc::new(Begin {
            transport: Arc::clone(&self.transport),
            cancelled: self.cancelled.clone(),
            upload_hosts: self.upload_hosts.clone(),
            registry: asked.registry.into(),
            asker: Asker::of(asked.access),
            kind: asked.kind,
            url: url.clone(),
            tls,
            headers,
        });
        let (tell, told) = oneshot::channel();
        self.cancelled.spawn(async move {
            let sent = of.send(of.kind, &Method::POST, &of.url).await;
            // Nobody may wait for it any more: then it is dropped here.
            let _ = tell.send(sent.map(|answer| Begun { of, answer: Some(answer) }));
        });
        // It is told and has an answer, unless the process is about to end.
        let nothing = || Failure::protocol("nothing: the operator ends");
        told.await.map_err(|_| nothing())??.taken().ok_or_else(nothing)
    }
}

impl Begin {
    async fn send(&self, kind: Kind, method: &Method, url: &Url) -> Result<Reply, Failure> {
        let (registry, asker, tls) = (self.registry.as_str(), self.asker, self.tls.as_deref());
        let (headers, body) = (self.headers.clone(), Payload::Nothing);
        let hop = Hop { registry, asker, kind, method, url, tls, headers, body, behind: 0 };
        self.transport.send(hop).await
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
        let trusted = (self.of.registry.as_str(), self.of.upload_hosts.as_slice());
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
            let ending = async move {
                // Whether it could is of no consequence: the registry forgets the session by itself in time.
                let _ = of.send(Kind::Cleanup, &Method::DELETE, &session).await;
            };
            self.of.cancelled.spawn_on(ending, &runtime);
        }
    }
}

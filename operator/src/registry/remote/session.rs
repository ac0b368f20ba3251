//! An upload session: begun, looked at, and ended by whoever drops it.

use std::time::Duration;

use reqwest::header::{LOCATION, RANGE};
use tokio::runtime::Handle;
use url::Url;

use super::{
    Remote,
    budget::{Asker, Slot},
    call::{Answer, Call},
    failure::{self, Failure},
    redirect,
    transport::tls_for,
};
use crate::{
    oci::{Descriptor, Digest, Repository},
    registry::{Place, RegistryError, Request},
};

/// A session that a registry holds open for us. Unless it is [`Session::done`] it is cancelled,
/// also when a run is dropped in the middle: nothing lists sessions, so nobody else would.
pub(super) struct Session<'a> {
    remote: &'a Remote,
    to: Place<'a>,
    digest: Digest,
    url: Url,
    open: bool,
}

/// What came of asking for a session.
pub(super) enum Started<'a> {
    /// The blob is there without one.
    Done,
    Session(Session<'a>),
}

/// What came of asking for a mount.
pub(super) enum Mount<'a> {
    Done,
    /// It was refused; some registries open a session instead.
    Refused(Option<Session<'a>>),
}

/// So many cut connections stand for a 404: ECR answers nothing where there is no repository.
const CUTS: u32 = 3;

impl Remote {
    /// Asks for a mount from `from`. Errors are what any other request would meet, too.
    pub(super) async fn mount<'a>(
        &'a self,
        to: Place<'a>,
        from: &Repository,
        blob: &Descriptor,
    ) -> Result<Mount<'a>, RegistryError> {
        use RegistryError as E;
        let call = Call::mount(to, from, &blob.digest);
        if self.are_apart(&call) {
            return Ok(Mount::Refused(None));
        }
        let answered = self.persist(async || {
            let answer = self.exchange(&call).await?;
            let status = answer.response.status();
            if status.is_success() { Ok(answer) } else { Err(self.refused(&call, answer).await) }
        });
        let answer = match answered.await {
            Ok(answer) => answer,
            // The registry's word on this mount, and on nothing else.
            Err(
                E::Denied { .. }
                | E::Unauthorized { .. }
                | E::Refused { .. }
                | E::RepositoryNotFound { .. }
                | E::Protocol { .. },
            ) => return Ok(Mount::Refused(None)),
            Err(error @ (E::Unavailable { .. } | E::Unreachable { .. }))
                if self.passing(&error).is_some() =>
            {
                return Ok(Mount::Refused(None));
            }
            Err(error) => return Err(error),
        };
        match answer.response.status().as_u16() {
            201 => Ok(Mount::Done),
            // A Location that is refused, or missing, is as good as none here.
            202 => Ok(Mount::Refused(self.session(&call, to, blob, &answer).ok())),
            _ => Ok(Mount::Refused(None)),
        }
    }

    /// Begins an upload.
    pub(super) async fn start<'a>(
        &'a self,
        to: Place<'a>,
        blob: &Descriptor,
    ) -> Result<Started<'a>, RegistryError> {
        let call = Call::upload("POST", to, &blob.digest);
        let mut cuts = 0;
        for failures in 1.. {
            let error = match self.start_once(&call, to, blob).await {
                Ok(started) => return Ok(started),
                Err(error) => error,
            };
            let cut = failure::cut_after_sending(&error);
            cuts = if cut { cuts + 1 } else { 0 };
            if cuts == CUTS {
                let (host, request) = (call.host().into(), call.request);
                let answer = "a cut connection, three times";
                return Err(RegistryError::RepositoryNotFound { host, request, answer });
            }
            let tries = self.transport.limits().tries;
            let Some(wait) = self.passing(&error).filter(|_| failures < tries || cut) else {
                return Err(error);
            };
            self.pause(failures, wait).await;
        }
        unreachable!("a count without end ended")
    }

    async fn start_once<'a>(
        &'a self,
        call: &Call<'_>,
        to: Place<'a>,
        blob: &Descriptor,
    ) -> Result<Started<'a>, RegistryError> {
        let answer = self.exchange(call).await?;
        match answer.response.status().as_u16() {
            202 => self.session(call, to, blob, &answer).map(Started::Session),
            201 => Ok(Started::Done),
            _ => Err(self.refused(call, answer).await),
        }
    }

    /// Ends the session at `url`. Where there are tokens this takes another one: to distribution, and so
    /// to GitLab and Harbor, a DELETE of an upload is a DELETE.
    pub(super) async fn end(&self, to: Place<'_>, of: &str, url: &Url) {
        let mut url = url.clone();
        for failures in 1..=self.transport.limits().tries {
            // Whether it could is of no consequence: the registry forgets the session by itself in time.
            let ended = self.exchange(&Call::end(to, of, url.clone())).await;
            // Distribution ends none (since v3) at an address from before it took more bytes.
            let is_past = ended.is_ok_and(|answer| answer.response.status() == 416);
            if !is_past {
                return;
            }
            self.pause(failures, Duration::ZERO).await;
            let call = Call::status(to, of, url.clone());
            let Ok(answer) = self.exchange(&call).await else { return };
            let Ok(Some(next)) = self.location(&call, &answer) else { return };
            url = next;
        }
    }

    /// The session that an answer opened.
    fn session<'a>(
        &'a self,
        call: &Call<'_>,
        to: Place<'a>,
        blob: &Descriptor,
        answer: &Answer,
    ) -> Result<Session<'a>, RegistryError> {
        let Some(url) = self.location(call, answer)? else {
            return Err(call.told(Failure::protocol("an upload without Location")));
        };
        Ok(Session { remote: self, to, digest: blob.digest.clone(), url, open: true })
    }

    /// Where an upload goes on, if the answer says so.
    fn location(&self, call: &Call<'_>, answer: &Answer) -> Result<Option<Url>, RegistryError> {
        let location =
            answer.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let trusted = (call.host(), self.upload_hosts.as_slice());
        let url = location.map(|location| redirect::upload(&answer.url, location, trusted));
        url.transpose().map_err(|why| call.told(Failure::Protocol(why)))
    }
}

impl<'a> Session<'a> {
    /// The same session, on whose behalf `to` says.
    pub(super) fn handed_to(mut self, to: Place<'a>) -> Self {
        self.to = to;
        self
    }

    /// A place for its requests with bytes.
    pub(super) async fn place(&self) -> Result<Slot, RegistryError> {
        let (access, tls) = (self.to.access, tls_for(self.to.access, &self.url));
        let at = (&self.url, tls.map(AsRef::as_ref));
        let place = self.remote.transport.place(Asker::of(access), at).await;
        place.map_err(|failure| self.call("PUT").told(failure))
    }

    /// PATCH or PUT of it, where it goes on now; a PUT ends the upload.
    pub(super) fn call(&self, method: &'static str) -> Call<'a> {
        let mut url = self.url.clone();
        if method == "PUT" {
            url.query_pairs_mut().append_pair("digest", self.digest.as_str());
        }
        Call::blob(method, self.to.access, self.to.repository, &self.digest).at(url)
    }

    /// Goes on where `answer` says, from now on; where it says nothing, where it was.
    pub(super) fn follow(&mut self, call: &Call<'_>, answer: &Answer) -> Result<(), RegistryError> {
        if let Some(url) = self.remote.location(call, answer)? {
            self.url = url;
        }
        Ok(())
    }

    /// How many bytes the registry has of it; `None` where it does not know it, or does not say so
    /// clearly: `0-0` is one byte or none.
    pub(super) async fn status(&mut self) -> Option<u64> {
        let call = Call::status(self.to, &self.of(), self.url.clone());
        let answer = self.remote.exchange(&call).await.ok()?;
        if !answer.response.status().is_success() || answer.elsewhere {
            return None;
        }
        self.follow(&call, &answer).ok()?;
        taken(&answer).filter(|bytes| *bytes > 1)
    }

    /// The registry has what it was for.
    pub(super) fn done(mut self) {
        self.open = false;
    }

    /// What it is of, for messages.
    fn of(&self) -> String {
        Request::upload("DELETE", self.to.repository, &self.digest).of
    }

    /// Ends it, as far as the registry can.
    pub(super) async fn cancel(mut self) {
        self.remote.end(self.to, &self.of(), &self.url).await;
        self.open = false;
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.open
            && let Ok(runtime) = Handle::try_current()
        {
            let (remote, Place { access, repository }) = (self.remote.clone(), self.to);
            let (access, repository) = (access.clone(), repository.clone());
            let (of, url) = (self.of(), self.url.clone());
            let ending = async move {
                let to = Place { access: &access, repository: &repository };
                remote.end(to, &of, &url).await;
            };
            self.remote.cancelled.spawn_on(ending, &runtime);
        }
    }
}

/// How many bytes a `Range` of `0-END` says the registry has.
pub(super) fn taken(answer: &Answer) -> Option<u64> {
    range(answer.response.headers().get(RANGE)?.to_str().ok()?)
}

pub(super) fn range(range: &str) -> Option<u64> {
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    range.strip_prefix("0-")?.parse::<u64>().ok()?.checked_add(1)
}

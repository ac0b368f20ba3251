//! Proving who asks: driven by the registry's challenges, with no request spent on asking for one.

use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use url::Url;

use super::{
    Remote,
    body::Payload,
    budget::{Asker, Kind},
    call::{Answer, Call},
    challenge::{self, Challenge, Offer},
    failure::Failure,
    hosts::Site,
    scopes::Issued,
    token::{self, Key, Token},
    transport::{Hop, tls_for},
};
use crate::registry::RegistryError;

/// A challenge, a changed challenge and a stale token, each answered once.
const TRIES: usize = 4;

/// What a request says of who asks.
pub(super) enum Sent {
    Nothing,
    /// What the credential itself says: a password, or a token for the registry.
    Own(HeaderValue),
    Token(Box<Issued>),
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It is the answer.
    Done,
    /// Ask again by this challenge.
    Take(Challenge),
    /// Ask again with a new token.
    Renew,
    /// A credential may be wanted without a word of it.
    Ping,
    /// The credential is wrong, or there is none.
    Unauthorized,
    /// The credential is right and does not suffice.
    Denied,
}

impl Remote {
    /// The answer to `call`, after what the registry wants to know of who asks. It is a redirected
    /// one, a success, or anything that is not about credentials.
    pub(super) async fn exchange(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        let url = call.url(self.allow_http)?;
        let site = Site::of(&url, call.access);
        let mut turn = self.hosts.first(&site).await;
        let mut known = self.hosts.get(&site);
        let mut refused = None;
        // A token of the whole run that did not suffice, though one of this repository alone may.
        let mut together: Option<Box<Issued>> = None;
        let credential = call.credential();
        let mut tries_left = TRIES;
        while let Some(left) = tries_left.checked_sub(1) {
            tries_left = left;
            let alone = together.is_some();
            let proved = self.prove(call, &url, known.challenge.as_ref(), refused.as_ref(), alone);
            let sent = proved.await?;
            let answer = self.follow(call, &url, sent.header()).await;
            let mut answer = answer.map_err(|failure| call.told(failure))?;
            if answer.elsewhere {
                self.hosts.met(&site);
                drop(turn);
                self.set_apart(together);
                return self.elsewhere(call, answer).await;
            }
            let status = answer.response.status().as_u16();
            let offer = offer(&answer).map_err(|why| call.told(Failure::Protocol(why)))?;
            let offer = offer.map(|offer| offer.challenge);
            let held = credential.is_some();
            let mut next = sent.next(status, offer, known.challenge.as_ref(), held, known.open);
            if next == Next::Ping {
                // Whoever waits for a place must have none.
                answer.response.release();
                next = if let Some(offer) = self.ping(call, &url).await? {
                    Next::Take(offer.challenge)
                } else {
                    known.open = true;
                    sent.next(status, None, None, held, true)
                };
            }
            if let Next::Take(challenge) = &next {
                known.challenge = Some(challenge.clone());
            }
            self.learn(&site, known.challenge.as_ref(), known.open);
            match (next, sent) {
                (Next::Take(_) | Next::Renew, sent) if tries_left > 0 => refused = sent.token(),
                (Next::Denied, Sent::Token(issued)) if issued.together => {
                    if call.is_mount() {
                        self.set_apart(Some(issued));
                        return Err(self.refused(call, answer).await);
                    }
                    (together, refused, tries_left) = (Some(issued), None, TRIES);
                }
                (Next::Unauthorized, _) => return Err(unauthorized(call, status)),
                (Next::Done, _) => {
                    self.set_apart(together);
                    return Ok(answer);
                }
                (Next::Denied | Next::Take(_) | Next::Renew | Next::Ping, sent) => {
                    for issued in together.into_iter().chain(sent.issued()) {
                        self.tokens.forget(issued.key, &issued.token).await;
                    }
                    return Err(self.refused(call, answer).await);
                }
            }
            drop(turn.take());
        }
        Err(call.told(Failure::protocol("a new challenge each time")))
    }

    /// The answer to `call`, of an upload that has its place, with a body that is there only once:
    /// whatever it is, nothing is repeated. A 401 is answered by asking for anything else, which renews what is stale.
    pub(super) async fn exchange_once(
        &self,
        call: &Call<'_>,
        mut headers: HeaderMap,
        body: Payload,
        behind: u64,
    ) -> Result<Answer, RegistryError> {
        let url = call.url(self.allow_http)?;
        let known = self.hosts.get(&Site::of(&url, call.access));
        let sent = self.prove(call, &url, known.challenge.as_ref(), None, false).await?;
        headers.extend(sent.header().map(|value| (AUTHORIZATION, value.clone())));
        let method = call.method();
        let (registry, tls) = (call.host(), tls_for(call.access, &url).map(AsRef::as_ref));
        let (asker, kind, fence) = (Asker::of(call.access), Kind::Within, call.fence());
        let hop = {
            let (method, url) = (&method, &url);
            Hop { registry, asker, kind, method, url, tls, headers, body, behind, fence }
        };
        let response = self.transport.send(hop).await.map_err(|failure| call.told(failure))?;
        if response.status().is_redirection() {
            let why = format!("a redirect of a {method}, whose body is there only once");
            return Err(call.told(Failure::Protocol(why)));
        }
        Ok(Answer { response, url, elsewhere: false })
    }

    /// What is known of `site` now, for everyone.
    fn learn(&self, site: &Site, challenge: Option<&Challenge>, open: bool) {
        self.hosts.learn(site, |host| {
            // A slow first request must not undo what a later one has learnt.
            if challenge.is_some() {
                host.challenge = challenge.cloned();
            }
            host.open |= open;
        });
        self.hosts.met(site);
    }

    /// What to say of who asks, by what the host is known to want.
    async fn prove(
        &self,
        call: &Call<'_>,
        at: &Url,
        challenge: Option<&Challenge>,
        refused: Option<&Token>,
        alone: bool,
    ) -> Result<Sent, RegistryError> {
        let credential = call.credential();
        match (challenge, credential) {
            (None, _) | (Some(Challenge::Basic), None) => Ok(Sent::Nothing),
            (Some(Challenge::Basic), Some(credential)) => {
                // A registry token is no password, so there is nothing to say.
                let basic = token::basic(&credential.proof);
                basic.map(Sent::Own).ok_or_else(|| unauthorized(call, 401))
            }
            (Some(Challenge::Bearer { .. }), Some(credential))
                if let Some(bearer) = token::bearer(&credential.proof) =>
            {
                Ok(Sent::Own(bearer))
            }
            (Some(Challenge::Bearer { realm, service }), _) => {
                let endpoint = (realm, service.as_deref());
                let issued = Box::pin(self.issue(call, at, endpoint, refused, alone)).await;
                issued.map(|issued| Sent::Token(Box::new(issued)))
            }
        }
    }

    /// The answer of a host that the registry redirected to. It never sees the credential; where
    /// it asks for a token, an anonymous one is all that it gets.
    async fn elsewhere(&self, call: &Call<'_>, answer: Answer) -> Result<Answer, RegistryError> {
        let offer = offer(&answer).map_err(|why| call.told(Failure::Protocol(why)))?;
        let Some(Offer { challenge: Challenge::Bearer { realm, service }, scopes }) = offer else {
            return Ok(answer);
        };
        let at = answer.url;
        drop(answer.response);
        let key = Key {
            registry: Site::of(&at, call.access),
            identity: None,
            challenge: (realm, service),
            scopes,
        };
        let (token, _) = self.token(call, &at, &key, None, None).await?;
        let followed = self.follow(call, &at, Some(token.header())).await;
        let answer = followed.map_err(|failure| call.told(failure))?;
        Ok(Answer { elsewhere: true, ..answer })
    }

    /// The one exception to "no pings": some registries hide what needs a credential behind a 404,
    /// or a 403 without challenge. `None` where the registry asks nobody.
    async fn ping(&self, call: &Call<'_>, url: &Url) -> Result<Option<Offer>, RegistryError> {
        let mut url = url.clone();
        url.set_path("/v2/");
        url.set_query(None);
        let hop = Hop {
            registry: call.host(),
            asker: Asker::of(call.access),
            kind: Kind::Request,
            method: &Method::GET,
            url: &url,
            tls: tls_for(call.access, &url).map(AsRef::as_ref),
            headers: HeaderMap::new(),
            body: Payload::Nothing,
            behind: 0,
            fence: None,
        };
        let response = self.transport.send(hop).await.map_err(|failure| call.told(failure))?;
        let answer = Answer { response, url, elsewhere: false };
        match answer.response.status().as_u16() {
            401 | 403 => offer(&answer).map_err(|why| call.told(Failure::Protocol(why))),
            408 | 429 | 500.. => Err(self.refused(call, answer).await),
            _ => Ok(None),
        }
    }
}

impl Sent {
    fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Own(header) => Some(header),
            Self::Token(issued) => Some(issued.token.header()),
        }
    }

    fn issued(self) -> Option<Box<Issued>> {
        match self {
            Self::Token(issued) => Some(issued),
            Self::Nothing | Self::Own(_) => None,
        }
    }

    fn token(self) -> Option<Token> {
        self.issued().map(|issued| issued.token)
    }

    /// What follows from an answer with `status` that offers a challenge, where the request was
    /// made by the challenge `known`, a credential is `held`, and the host is known to be `open`.
    fn next(
        &self,
        status: u16,
        offer: Option<Challenge>,
        known: Option<&Challenge>,
        held: bool,
        open: bool,
    ) -> Next {
        match (self, status, offer) {
            (Self::Nothing, 401, Some(Challenge::Basic)) if !held => Next::Unauthorized,
            (Self::Nothing, 403, Some(Challenge::Basic)) if !held => Next::Denied,
            (Self::Nothing, 401 | 403, Some(offer)) => Next::Take(offer),
            (Self::Nothing, 401 | 403 | 404, None) if held && !open => Next::Ping,
            // The registry changed its mind on how it wants to be asked.
            (Self::Own(_) | Self::Token(_), 401, Some(offer)) if Some(&offer) != known => {
                Next::Take(offer)
            }
            (Self::Nothing | Self::Own(_), 401, _) => Next::Unauthorized,
            (Self::Token(issued), 401, _) if !issued.fresh => Next::Renew,
            (_, 401 | 403, _) => Next::Denied,
            _ => Next::Done,
        }
    }
}

/// The challenge of an answer, where it is about credentials.
fn offer(answer: &Answer) -> Result<Option<Offer>, String> {
    match answer.response.status().as_u16() {
        401 | 403 => challenge::offer(answer.response.headers()),
        _ => Ok(None),
    }
}

pub(super) fn unauthorized(call: &Call<'_>, status: u16) -> RegistryError {
    let (host, credential) = (call.host().into(), call.access.who());
    RegistryError::Unauthorized { host, credential, status }
}

//! The token endpoint: which one may be asked, what it is asked, and what its refusal means.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Instant, SystemTime},
};

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::SecretString;
use url::Url;

use super::{
    Remote,
    auth::unauthorized,
    budget::Kind,
    call::{Asked, Call},
    failure::Failure,
    refusal::Told,
    token::{self, Key, Refusal, Token},
    trust,
};
use crate::registry::{Credential, Proof, RegistryError, Request};

impl Remote {
    /// A token for `key`, kept or fetched.
    pub(super) async fn token(
        &self,
        call: &Call<'_>,
        at: &Url,
        key: &Key,
        credential: Option<&Credential>,
        refused: Option<&Token>,
    ) -> Result<(Token, bool), RegistryError> {
        let (realm, _) = &key.challenge;
        let request = Request::token(call.repository);
        let told =
            |failure: Failure| failure.told(call.host(), &request, &call.access.certificates);
        if let Some(credential) = credential
            && !trust::with_credential(
                (call.host(), at),
                realm,
                &self.token_realms,
                credential.token_realm.as_deref(),
            )
        {
            return Err(RegistryError::RealmNotTrusted {
                host: call.host().into(),
                realm: trust::shown(realm),
                credential: credential.origin.clone(),
            });
        }
        if at.scheme() == "https" && realm.scheme() == "http" {
            let why = "a token realm on http, though it is on https itself".into();
            return Err(told(Failure::Protocol(why)));
        }
        let asks = AtomicBool::new(false);
        let fetch = || {
            asks.store(true, Ordering::Relaxed);
            self.fetch(call, key, credential)
        };
        let fetched = self.tokens.get(key.clone(), refused, fetch).await;
        self.transport.observe_token(!asks.load(Ordering::Relaxed));
        fetched.map_err(|refusal| match refusal {
            Refusal::Failed(failure) => told(failure),
            // Who is nobody is denied, and has no wrong credential: GHCR's token endpoint answers so
            // for what is private or not there (https://github.com/coollabsio/coolify/issues/5575).
            Refusal::Answered { status: 403, codes, retry_after } if credential.is_none() => {
                let told = Told { status: 403, codes, retry_after };
                told.error(call.host(), &call.request, call.access.who())
            }
            Refusal::Answered { status: status @ (401 | 403), .. } => unauthorized(call, status),
            // RFC 6749, 5.2: 400 is `invalid_grant`, too.
            Refusal::Answered { status: 400, .. } if refresh(credential).is_some() => {
                unauthorized(call, 400)
            }
            Refusal::Answered { status, codes, retry_after } => {
                let told = Told { status, codes, retry_after };
                told.error(call.host(), &request, call.access.who())
            }
        })
    }

    /// Asks a token endpoint: by POST where there is an identity token, else by GET. An endpoint that knows
    /// no POST says so with 404 by the spec, and with 405 in fact.
    async fn fetch(
        &self,
        call: &Call<'_>,
        key: &Key,
        credential: Option<&Credential>,
    ) -> Result<Token, Refusal> {
        let (realm, service) = &key.challenge;
        let mut asked = Asked {
            registry: call.host(),
            access: call.access,
            // A token without which nothing is cleaned up, cleans up.
            kind: if call.kind() == Kind::Cleanup { Kind::Cleanup } else { Kind::Request },
            method: Method::GET,
            headers: HeaderMap::new(),
            body: None,
            see_other: true,
            begins: None,
            fence: None,
        };
        if let Some(token) = refresh(credential) {
            let form = token::refresh_form(token, service.as_deref(), &key.scopes);
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            asked.method = Method::POST;
            asked.headers.insert(CONTENT_TYPE, form_type);
            asked.body = Some(form.into());
            match self.ask(&asked, realm, None).await {
                Err(Refusal::Answered { status: 404 | 405, .. }) => {}
                answered => return answered,
            }
            asked = Asked { method: Method::GET, headers: HeaderMap::new(), body: None, ..asked };
        }
        let mut url = realm.clone();
        url.query_pairs_mut()
            .extend_pairs(service.iter().map(|service| ("service", service)))
            .extend_pairs(key.scopes.iter().map(|scope| ("scope", scope)));
        let basic = credential.and_then(|credential| token::basic(&credential.proof));
        self.ask(&asked, &url, basic.as_ref()).await
    }

    async fn ask(
        &self,
        asked: &Asked<'_>,
        url: &Url,
        basic: Option<&HeaderValue>,
    ) -> Result<Token, Refusal> {
        let followed = self.follow_with(asked, url, basic).await;
        let answer = followed.map_err(Refusal::Failed)?;
        if !answer.response.status().is_success() {
            let Told { status, codes, retry_after } =
                Told::of(&self.transport, answer.response).await;
            return Err(Refusal::Answered { status, codes, retry_after });
        }
        let limit = self.transport.limits().token;
        let body = self.body(answer, limit).await.map_err(Refusal::Failed)?;
        Token::parse(&body, (SystemTime::now(), Instant::now()))
            .map_err(|why| Refusal::Failed(Failure::Protocol(why)))
    }
}

/// The identity token, where that is what proves who asks.
fn refresh(credential: Option<&Credential>) -> Option<&SecretString> {
    match &credential?.proof {
        Proof::IdentityToken { token, .. } => Some(token),
        Proof::Password { .. } | Proof::RegistryToken(_) => None,
    }
}

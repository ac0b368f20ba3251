//! Bearer tokens: fetched once for everyone who waits, kept by registry, identity and exact scopes.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{failure::Failure, hosts::Site};
pub(super) use crate::registry::Identity;
use crate::registry::Proof;

/// What a token answer that names no lifetime is good for.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// A token is not used when it is this close to its end: the request still has to arrive.
const MARGIN: Duration = Duration::from_secs(10);
/// A longer token no server takes as a header; they are kept, so there is a bound.
const LONGEST: usize = 16 << 10;
/// Identities and scopes come from users, so there is a bound.
const MOST: usize = 4096;

/// What a token was issued for. Tokens are never shared between two of these.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) registry: Site,
    pub(super) identity: Option<Identity>,
    pub(super) challenge: (Url, Option<String>),
    pub(super) scopes: Vec<String>,
}

/// A token as the value of `Authorization`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    header: HeaderValue,
    pub(super) ends: Instant,
}

/// Why there is no token; cloned to everyone who waited for it.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// No answer.
    Failed(Failure),
    /// An answer that is none of 200.
    Answered { status: u16, codes: Vec<String>, retry_after: Option<Duration> },
}

#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Key, Arc<Slot>>>);

/// The token of one key, and the flight that fetches it.
#[derive(Default)]
struct Slot {
    flights: AtomicU64,
    landed: tokio::sync::Mutex<Option<Result<Token, Refusal>>>,
}

impl Tokens {
    /// The token of `key`, and whether it is fresh from `fetch`. A token equal to `refused` is
    /// dropped. Callers that wait while another one fetches share its token, or its failure.
    pub(super) async fn get<F>(
        &self,
        key: Key,
        refused: Option<&Token>,
        fetch: impl FnOnce() -> F,
    ) -> Result<(Token, bool), Refusal>
    where
        F: Future<Output = Result<Token, Refusal>>,
    {
        let slot = self.slot(key);
        let flights = slot.flights.load(Ordering::Acquire);
        let mut landed = slot.landed.lock().await;
        let waited = slot.flights.load(Ordering::Acquire) != flights;
        match &*landed {
            Some(Ok(token)) if Some(token) != refused && (waited || !token.ended()) => {
                return Ok((token.clone(), waited));
            }
            Some(Err(refusal)) if waited => return Err(refusal.clone()),
            _ => {}
        }
        *landed = None;
        let outcome = fetch().await;
        slot.flights.fetch_add(1, Ordering::Release);
        *landed = Some(outcome.clone());
        outcome.map(|token| (token, true))
    }

    /// Forgets `token`: its rights were not enough, and a later run should see new ones.
    pub(super) async fn forget(&self, key: Key, token: &Token) {
        let slot = self.slot(key);
        let mut landed = slot.landed.lock().await;
        if matches!(&*landed, Some(Ok(kept)) if kept == token) {
            *landed = None;
        }
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST && !slots.contains_key(&key) {
            slots.retain(|_, slot| slot.in_use());
            if slots.len() >= MOST {
                slots.clear();
            }
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

impl Slot {
    fn in_use(&self) -> bool {
        match self.landed.try_lock() {
            Ok(landed) => matches!(&*landed, Some(Ok(token)) if !token.ended()),
            Err(_) => true,
        }
    }
}

impl Token {
    /// From the body of a token endpoint's answer.
    /// Of the two clocks one is for the token's own `exp`, the other one for its life here.
    pub(super) fn parse(body: &[u8], (date, now): (SystemTime, Instant)) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<f64>,
        }
        let no_token = || "a token answer that holds no token".to_owned();
        let answer: Answer = serde_json::from_slice(body).map_err(|_| no_token())?;
        let filled = |token: &String| !token.is_empty();
        let token = answer.token.filter(filled).or(answer.access_token.filter(filled));
        let token = token.ok_or_else(no_token)?;
        if token.len() > LONGEST {
            return Err(format!("a token of more than {LONGEST} bytes"));
        }
        let header = authorization("Bearer", &token).ok_or_else(no_token)?;

        let told = answer.expires_in.and_then(|s| Duration::try_from_secs_f64(s.max(0.0)).ok());
        let mut life = told.unwrap_or(DEFAULT_LIFE);
        if let Some(exp) = expiry(&token) {
            let end = SystemTime::UNIX_EPOCH + Duration::from_secs(exp);
            // One that was just issued has not ended: then a clock is wrong, and a token for each request would not put it right.
            let left = end.duration_since(date).ok().filter(|left| !left.is_zero());
            life = life.min(left.unwrap_or(life));
        }
        // A day at most, for the sake of arithmetic; half of a short life stays.
        let life = life.min(Duration::from_hours(24));
        let ends = now + life.saturating_sub(MARGIN.min(life / 2));
        Ok(Self { header, ends })
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }

    fn ended(&self) -> bool {
        Instant::now() >= self.ends
    }
}

/// `exp` of a token that is a JWT; it is read for its time and believed for nothing else.
fn expiry(token: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: u32,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&payload).ok().map(|claims| claims.exp.into())
}

/// The value of `Authorization` for a Basic challenge, and for a GET of a token; `None` of what is
/// for Bearer alone.
pub(super) fn basic(proof: &Proof) -> Option<HeaderValue> {
    let (username, password) = match proof {
        Proof::Password { username, password } => (username, password),
        Proof::IdentityToken { username, token } => (username, token),
        Proof::RegistryToken(_) => return None,
    };
    let pair = format!("{username}:{}", password.expose_secret());
    authorization("Basic", &STANDARD.encode(pair))
}

/// The value of `Authorization` for a Bearer challenge, of what needs no token endpoint.
pub(super) fn bearer(proof: &Proof) -> Option<HeaderValue> {
    match proof {
        Proof::RegistryToken(token) => authorization("Bearer", token.expose_secret()),
        Proof::Password { .. } | Proof::IdentityToken { .. } => None,
    }
}

/// What a POST to a token endpoint says for an identity token
/// (<https://distribution.github.io/distribution/spec/auth/oauth/>).
pub(super) fn refresh_form(
    token: &SecretString,
    service: Option<&str>,
    scopes: &[String],
) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("client_id", "multiarch-operator");
    form.extend_pairs(service.map(|service| ("service", service)));
    form.append_pair("scope", &scopes.join(" "));
    form.append_pair("refresh_token", token.expose_secret());
    form.finish()
}

fn authorization(scheme: &str, value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rstest::rstest;

    use super::*;
    use crate::registry::{Access, Credential};

    fn key(scope: &str) -> Key {
        let url: Url = "https://r.example.com".parse().unwrap();
        Key {
            registry: Site::of(&url, &Access::default()),
            identity: None,
            challenge: (url, None),
            scopes: vec![scope.into()],
        }
    }

    fn token(text: &str) -> Token {
        let body = format!(r#"{{"token":"{text}"}}"#);
        Token::parse(body.as_bytes(), (SystemTime::now(), Instant::now())).unwrap()
    }

    fn credential(username: &str, password: &str) -> Credential {
        Credential::of_password("s", username, password)
    }

    /// A JWT that ends 30 s after the epoch.
    const JWT: &str = "e30.eyJleHAiOjMwfQ.sig";

    #[rstest]
    #[case(r#"{"token":"a"}"#, "Bearer a", 50)]
    #[case(r#"{"token":"","access_token":"b","expires_in":300}"#, "Bearer b", 290)]
    #[case(r#"{"token":"a","access_token":"b","expires_in":0}"#, "Bearer a", 0)]
    #[case(r#"{"token":"a","expires_in":-1}"#, "Bearer a", 0)]
    #[case(r#"{"token":"a","expires_in":10}"#, "Bearer a", 5)]
    #[case(
        r#"{"token":"e30.eyJleHAiOjMwfQ.sig","expires_in":300}"#,
        "Bearer e30.eyJleHAiOjMwfQ.sig",
        20
    )]
    fn lifetimes(#[case] body: &str, #[case] header: &str, #[case] seconds: u64) {
        let now = Instant::now();
        let token = Token::parse(body.as_bytes(), (SystemTime::UNIX_EPOCH, now)).unwrap();
        assert_eq!(token.header, header);
        assert_eq!(token.ends - now, Duration::from_secs(seconds));
        assert_eq!(expiry(JWT), Some(30));
    }

    /// On a clock that is an hour fast.
    #[rstest]
    #[case(r#"{"token":"e30.eyJleHAiOjMwfQ.sig","expires_in":300}"#, 290)]
    #[case(r#"{"token":"e30.eyJleHAiOjMwfQ.sig"}"#, 50)]
    fn a_clock_that_jumped_ends_no_token(#[case] body: &str, #[case] seconds: u64) {
        let times = (SystemTime::UNIX_EPOCH + Duration::from_hours(1), Instant::now());
        let token = Token::parse(body.as_bytes(), times).unwrap();
        assert_eq!(token.ends - times.1, Duration::from_secs(seconds));
    }

    #[rstest]
    #[case("")]
    #[case("{}")]
    #[case("<html>")]
    #[case(r#"{"token":""}"#)]
    #[case(r#"{"token":"a\r\nb"}"#)]
    fn no_token(#[case] body: &str) {
        let why = Token::parse(body.as_bytes(), (SystemTime::now(), Instant::now())).unwrap_err();
        assert_eq!(why, "a token answer that holds no token");
    }

    #[test]
    fn a_token_that_no_server_takes_is_not_kept() {
        let body = format!(r#"{{"token":"{}"}}"#, "a".repeat(LONGEST + 1));
        let why = Token::parse(body.as_bytes(), (SystemTime::now(), Instant::now())).unwrap_err();
        assert_eq!(why, "a token of more than 16384 bytes");
    }

    #[tokio::test]
    async fn everyone_who_waits_shares_one_flight() {
        let (tokens, flights) = (Tokens::default(), Cell::new(0));
        let fetch = || async {
            tokio::task::yield_now().await;
            flights.set(flights.get() + 1);
            Ok(token("a"))
        };
        let all = (0..8).map(|_| tokens.get(key("x"), None, fetch));
        for got in futures::future::join_all(all).await {
            assert_eq!(got.unwrap().0, token_like("a", &tokens).await);
        }
        assert_eq!(flights.get(), 1);
        assert!(!tokens.get(key("x"), None, fetch).await.unwrap().1, "kept");
        tokens.get(key("y"), None, fetch).await.unwrap();
        assert_eq!(flights.get(), 2, "other scopes are another token");
    }

    async fn token_like(text: &str, tokens: &Tokens) -> Token {
        let kept = tokens.get(key("x"), None, || async { unreachable!() }).await.unwrap().0;
        assert_eq!(kept.header, format!("Bearer {text}"));
        kept
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_not_kept() {
        let (tokens, flights) = (Tokens::default(), Cell::new(0));
        let fetch = || async {
            tokio::task::yield_now().await;
            flights.set(flights.get() + 1);
            Err(Refusal::Answered { status: 401, codes: Vec::new(), retry_after: None })
        };
        let all = (0..8).map(|_| tokens.get(key("x"), None, fetch));
        assert!(futures::future::join_all(all).await.iter().all(Result::is_err));
        assert_eq!(flights.get(), 1, "a wrong password is not tried eight times");
        assert!(tokens.get(key("x"), None, fetch).await.is_err());
        assert_eq!(flights.get(), 2, "and it is tried again when asked again");
    }

    #[tokio::test]
    async fn only_the_refused_token_is_dropped() {
        let tokens = Tokens::default();
        let (old, _) = tokens.get(key("x"), None, || async { Ok(token("old")) }).await.unwrap();
        let renew = || async { Ok(token("new")) };
        let (new, fresh) = tokens.get(key("x"), Some(&old), renew).await.unwrap();
        assert!(fresh && new != old);
        let never = || async { unreachable!("someone else already renewed it") };
        assert_eq!(tokens.get(key("x"), Some(&old), never).await.unwrap().0, new);
        tokens.forget(key("x"), &old).await;
        assert_eq!(tokens.get(key("x"), None, never).await.unwrap().0, new);
    }

    #[test]
    fn nothing_shows_a_token() {
        assert_eq!(format!("{:?}", token("secret")), "Token(..)");
        assert!(!format!("{:?}", token("secret").header).contains("secret"));
        assert!(!format!("{:?}", basic(&credential("u", "p").proof)).contains("dTpw"));
        assert!(
            !format!("{:?}", bearer(&Proof::RegistryToken("secret".into()))).contains("secret")
        );
    }
}

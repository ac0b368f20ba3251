//! What a registry says in headers and to who wants a token, for [`crate::fuzzing`].

#![allow(clippy::expect_used, reason = "a target's panic is its report")]

use std::time::{Duration, Instant, SystemTime};

use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use url::{Host, Url};

use super::{
    address::Policy,
    challenge::{Challenge, Offer, offer},
    redirect, referrers,
    refusal::codes,
    retry_after, session,
    token::Token,
    trust,
};
use crate::{
    fuzzing::is_shown,
    oci::{media_type, reference::canonical_host},
};

/// A day in 2027, in the time since 1970: laws do not depend on the day that they are tried.
const TODAY: Duration = Duration::from_hours(500_000);

/// Values of `WWW-Authenticate`, a line each.
pub(crate) fn challenge(bytes: &[u8]) {
    let Some(offered) = offered(bytes.split(|byte| *byte == b'\n')) else { return };
    let Challenge::Bearer { realm, service } = &offered.challenge else {
        return assert!(offered.scopes.is_empty());
    };
    assert!(matches!(realm.scheme(), "http" | "https") && realm.host().is_some());
    assert_eq!((realm.username(), realm.password(), realm.fragment()), ("", None, None));
    assert!(service.as_ref().is_none_or(|service| !service.is_empty() && service.len() <= 1024));
    assert!(offered.scopes.iter().map(String::len).sum::<usize>() <= 1024);
    // What is kept and sent is what is read of it again.
    if realm.as_str().len() <= 1024 {
        let again = offered_by(&written(realm, service.as_deref(), &offered.scopes));
        assert_eq!(again.as_ref(), Some(&offered));
    }
    // Whoever's realm it is, the credential of another registry does not go there.
    for at in ["https://r.example.com", "http://r.example.com:5000"] {
        let at: Url = at.parse().expect("a URL");
        let trusted = trust::with_credential(("r.example.com", &at), realm, &[], None);
        assert_eq!(trusted, realm.origin() == at.origin(), "{realm} for {at}");
    }
    let shown = trust::shown(realm);
    assert!(
        !shown.contains(['?', '#', '@']) || !realm.path().is_ascii() || realm.path().contains('@')
    );
    is_shown(&shown, 4096);
}

fn offered<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Offer> {
    let values: Vec<_> = values.filter_map(|value| HeaderValue::from_bytes(value).ok()).collect();
    let mut all = HeaderMap::new();
    for value in values {
        all.append(WWW_AUTHENTICATE, value);
    }
    match offer(&all) {
        Ok(offered) => offered,
        Err(why) => {
            // Words of ours alone.
            is_shown(&why, 96);
            assert!(why.starts_with("a Bearer challenge "), "{why}");
            None
        }
    }
}

fn offered_by(value: &str) -> Option<Offer> {
    offered([value.as_bytes()].into_iter())
}

fn written(realm: &Url, service: Option<&str>, scopes: &[String]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let service = service.map(|service| format!(",service={}", quoted(service)));
    let (realm, scopes) = (quoted(realm.as_str()), quoted(&scopes.join(" ")));
    format!("Bearer realm={realm}{},scope={scopes}", service.unwrap_or_default())
}

/// The answer of a token endpoint, good or bad.
pub(crate) fn token(bytes: &[u8]) {
    let now = Instant::now();
    match Token::parse(bytes, (SystemTime::UNIX_EPOCH + TODAY, now)) {
        Ok(token) => {
            assert!(token.ends >= now && token.ends <= now + Duration::from_hours(24));
            let header = token.header();
            assert!(header.is_sensitive() && header.len() <= "Bearer ".len() + (16 << 10));
            assert!(header.as_bytes().starts_with(b"Bearer "));
            assert!(!header.as_bytes().iter().any(u8::is_ascii_control), "{header:?}");
            assert_eq!(format!("{token:?}"), "Token(..)");
        }
        Err(why) => is_shown(&why, 64),
    }
    let codes = codes(bytes);
    assert!(codes.len() <= 20);
    for (at, code) in codes.iter().enumerate() {
        assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{code}");
        assert!(!codes[..at].contains(code), "{code} twice");
    }
}

/// The value of a header, as each of those that are read.
pub(crate) fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let Ok(text) = value.to_str() else { return };
    let now = SystemTime::UNIX_EPOCH + TODAY;
    assert!(retry_after::parse(text, now).is_none_or(|wait| wait <= retry_after::CAP));
    if let Some(taken) = session::range(text) {
        assert!(taken > 0 && text.contains(&(taken - 1).to_string()), "{taken} of {text}");
    }
    if let Some(named) = media_type::from_header(text) {
        assert!(!named.contains([';', ' ']) || named.trim() == named);
        assert_eq!(media_type::from_header(&named).as_ref(), Some(&named));
        let shown = media_type::shown(&named);
        assert!(shown == named || shown == "malformed");
    }
    if let Ok(host) = canonical_host(text) {
        assert_eq!(canonical_host(&host).as_ref(), Ok(&host));
    }
    if let Some(target) = referrers::next(text) {
        assert!(text.contains(&format!("<{target}>")));
        location(target);
    }
    location(text);
}

/// Where redirects, uploads and lists of a registry may go on.
fn location(text: &str) {
    for from in ["https://r.example.com/v2/a/blobs/x?s=1", "http://r.example.com:5000/v2/a"] {
        let from: Url = from.parse().expect("a URL");
        for (method, status) in [
            (Method::GET, 307),
            (Method::HEAD, 302),
            (Method::PUT, 308),
            (Method::PUT, 301),
            (Method::POST, 307),
            (Method::DELETE, 303),
        ] {
            let read = matches!(method, Method::GET | Method::HEAD);
            let status = StatusCode::from_u16(status).expect("a status");
            let to = redirect::next(&from, &method, status, Some(text));
            if let Some(to) = refused(to).flatten() {
                may_go(&from, &to);
                assert!(read || to.origin() == from.origin(), "a {method} to {to}");
            }
        }
        let trusted = [("r.example.com".to_owned(), "up.example.com".to_owned())];
        let to = refused(redirect::upload(&from, text, ("r.example.com", &trusted)));
        if let Some(to) = to {
            may_go(&from, &to);
            let trusted = redirect::authority(&to) == "up.example.com";
            assert!(trusted || to.origin() == from.origin(), "an upload to {to}");
        }
        if let Some(to) = refused(redirect::next_page(&from, text)) {
            may_go(&from, &to);
        }
    }
}

fn refused<T>(to: Result<T, String>) -> Option<T> {
    to.map_err(|why| {
        // No query, whatever was in it.
        assert!(!why.contains('?') && !why.contains('#'), "{why}");
        assert!(!why.chars().any(char::is_control), "{why:?}");
    })
    .ok()
}

fn may_go(from: &Url, to: &Url) {
    assert!(matches!(to.scheme(), "http" | "https") && to.host().is_some(), "{to}");
    assert_eq!((to.username(), to.password()), ("", None), "{to}");
    assert!(from.scheme() == "http" || to.scheme() == "https", "{from} to {to}");
    let metadata = match to.host() {
        Some(Host::Ipv4(v4)) => v4.is_link_local(),
        Some(Host::Ipv6(v6)) => {
            v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_link_local())
        }
        Some(Host::Domain(name)) => name == "metadata.google.internal",
        None => true,
    };
    for allow_loopback in [true, false] {
        let verdict = Policy { allow_loopback }.check_url(to);
        assert!(!metadata || verdict.is_err(), "{to}");
    }
}

//! References, prefixes and platforms.

use url::{Host, Url};

use super::is_shown;
use crate::oci::{
    Platform, Prefix, Reference,
    reference::{canonical_host, is_tag},
};

/// What repeats 200 bytes of a text, each of which may be escaped.
const QUOTED: usize = 2048;

pub(super) fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    prefix(text);
    let reference = match text.parse::<Reference>() {
        Ok(reference) => reference,
        Err(error) => return is_shown(&error.to_string(), QUOTED),
    };
    let canonical = reference.to_string();
    is_shown(&canonical, 2048);
    assert!(canonical.is_ascii(), "{canonical}");
    assert_eq!(canonical.parse().as_ref(), Ok(&reference), "{canonical} is another reference");
    assert!(reference.tag().is_some() || reference.digest().is_some(), "{canonical}");
    assert!(reference.tag().is_none_or(is_tag), "{canonical}");
    let repository = reference.repository();
    let (host, path) = (repository.host(), repository.path());
    assert!(!path.is_empty() && path.len() <= 255, "{canonical}");
    assert_eq!(canonical_host(host).as_deref(), Ok(host));

    let own = Prefix::new(host, path).expect("a repository is a prefix of itself");
    assert!(own.covers(repository), "{own} covers {canonical}");
    // Look-alikes: a name that begins or ends with the host's is another host.
    for other in [format!("x{host}"), format!("{host}.evil.tld"), format!("{host}x")] {
        let other = Prefix::new(&other, "");
        assert!(!other.is_ok_and(|other| other.covers(repository)), "{canonical}");
    }
    assert!(!Prefix::new(host, &format!("{path}x")).is_ok_and(|other| other.covers(repository)));

    // As it is asked for: nothing of the text moves into another part of the URL.
    let at = reference.tag_or_digest();
    let asked = format!("https://{}/v2/{path}/manifests/{at}", repository.api_host());
    let Ok(url) = asked.parse::<Url>() else { return };
    assert_eq!(
        (url.username(), url.password(), url.query(), url.fragment()),
        ("", None, None, None)
    );
    assert_eq!(url.path(), format!("/v2/{path}/manifests/{at}"));
    if let Some(Host::Domain(name)) = url.host() {
        let whole = url.port().map_or_else(|| name.into(), |port| format!("{name}:{port}"));
        // Of a name without a dot, the port stays, also where it is the scheme's.
        assert_eq!(whole, repository.api_host().trim_end_matches(":443"));
    }
}

fn prefix(text: &str) {
    match text.parse::<Prefix>() {
        Ok(prefix) => {
            let canonical = prefix.to_string();
            is_shown(&canonical, text.len() + 16);
            assert_eq!(canonical.parse(), Ok(prefix), "{canonical} is another prefix");
        }
        Err(why) => assert!(!why.chars().any(char::is_control), "{why:?}"),
    }
}

/// Two platforms, a line each; the second may be absent.
pub(super) fn platform(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, "linux/amd64"));
    let mut parsed = Vec::new();
    for text in [first, second] {
        match text.parse::<Platform>() {
            Ok(platform) => {
                alone(text, &platform);
                parsed.push((text, platform));
            }
            Err(error) => {
                assert_eq!(Platform::default().agrees_with(text).as_ref(), Err(&error));
                is_shown(&error.to_string(), QUOTED);
            }
        }
    }
    let [(_, a), (declared, b)] = parsed.as_slice() else { return };
    assert_eq!(a.same_as(b), b.same_as(a));
    assert_eq!(a.same_as(b), a.normalized() == b.normalized());
    assert_eq!(a.same_as(b), a.normalized().to_string() == b.normalized().to_string());
    if a.same_as(b) {
        assert!(a.covers(b) && b.covers(a) && a.replaces(b), "{a} and {b}");
    }
    let agrees = a.agrees_with(declared) == Ok(true);
    if agrees || a.covers(b) || a.replaces(b) {
        let (a, b) = (a.normalized(), b.normalized());
        assert_eq!((&a.os, &a.architecture), (&b.os, &b.architecture));
    }
}

fn alone(text: &str, platform: &Platform) {
    let formatted = platform.to_string();
    is_shown(&formatted, 512);
    let again: Platform = formatted.parse().expect("what is written is read again");
    assert!(again.same_as(platform), "{formatted} is not {text:?}");
    assert_eq!(again.to_string(), formatted);
    let normalized = platform.normalized();
    assert_eq!(normalized.normalized(), normalized);
    assert_eq!(normalized.to_string().parse().as_ref(), Ok(&normalized));
    assert!(platform.is_well_formed() && platform.covers(platform) && platform.replaces(platform));
    assert_eq!(platform.agrees_with(text), Ok(true), "{text:?}");
    let json = serde_json::to_vec(platform).expect("a platform is JSON");
    assert_eq!(serde_json::from_slice::<Platform>(&json).ok().as_ref(), Some(platform));
}

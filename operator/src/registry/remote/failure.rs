//! What goes wrong on one hop, before anyone knows on whose behalf: turned into words for people at the top.

use std::{error::Error, io, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{address::Forbidden, limits::Limits};
use crate::registry::{Pause, RegistryError, Request, tls::Tls};

/// A hop that gave no answer, or a body that was not read to its end. Cloned to everyone who waited
/// for the same token.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// DNS, TCP, TLS, or a cut.
    Unreachable {
        /// Where it is not the registry itself.
        host: Option<String>,
        why: String,
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A limit of time.
    TooSlow(String),
    /// A limit of bytes, and how many had come by then.
    TooLarge { limit: u64, received: u64 },
    /// An address where the operator does not go.
    Forbidden(Forbidden),
    /// A redirect, challenge or header that is refused.
    Protocol(String),
    /// Nothing was asked: the registry had answered others with this status, and wants a pause; for how long, where it
    /// said so.
    Paused { status: u16, wait: Option<Duration> },
    /// Nothing was asked: the registry had said that it will give nothing before that.
    NoneLeft { wait: Duration },
    /// Nothing was asked: the host has failed others in this way since then.
    Away { since: Option<Timestamp>, why: Box<Failure> },
}

/// How a host was to be reached.
#[derive(Clone, Copy, Default)]
pub(super) struct Way<'a> {
    /// What the object has for it.
    pub(super) tls: Option<&'a Tls>,
    /// There is a proxy, unless `NO_PROXY` names the host.
    pub(super) proxied: bool,
}

/// How the words of a limit begin that ran out before there was a connection.
const NO_CONNECTION: &str = "no connection";
/// And before there was an answer.
pub(super) const NO_ANSWER: &str = "no answer";

/// What is told of a host that no admin has named, whatever it was: what tells a closed port from an open one, or a
/// name that is there from one that is not, would make the operator a port scanner.
const NO_DETAIL: &str = "no usable connection (the operator's log says more)";

impl Failure {
    pub(super) fn protocol(why: impl Into<String>) -> Self {
        Self::Protocol(why.into())
    }

    /// From the HTTP client's error, without its URL.
    pub(super) fn of(error: reqwest::Error, limits: &Limits, way: Way<'_>) -> Self {
        let error = error.without_url();
        if let Some(forbidden) = cause::<Forbidden>(&error) {
            return Self::Forbidden(forbidden.clone());
        }
        if error.is_connect() && error.is_timeout() {
            let via = if way.proxied { PROXIED } else { "" };
            return Self::TooSlow(format!("{NO_CONNECTION} within {:?}{via}", limits.connect));
        }
        Self::Unreachable { host: None, why: words(&error, way), source: Arc::new(error) }
    }

    /// For the log.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Unreachable { why, .. } | Self::TooSlow(why) | Self::Protocol(why) => why.clone(),
            Self::TooLarge { limit, .. } => format!("more than {limit} bytes"),
            Self::Forbidden(forbidden) => forbidden.to_string(),
            Self::Paused { status, .. } => format!("a pause after HTTP {status}"),
            Self::NoneLeft { .. } => "nothing left".into(),
            Self::Away { since, why } => {
                // To the second, so that it is the same each time.
                let since = since.map(|since| format!(", since {since:.0}")).unwrap_or_default();
                format!("{}{since}; it is asked again within a minute", why.words())
            }
        }
    }

    /// Whether there was no connection: the host is not there, or not from here. What TLS fails at is there.
    pub(super) fn is_of_connecting(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => {
                let connecting = cause::<reqwest::Error>(source.as_ref());
                connecting.is_some_and(reqwest::Error::is_connect)
                    && cause::<rustls::Error>(source.as_ref()).is_none()
            }
            Self::TooSlow(limit) => limit.starts_with(NO_CONNECTION),
            _ => false,
        }
    }

    /// Whether a request was sent and nothing came.
    pub(super) fn is_of_silence(&self) -> bool {
        matches!(self, Self::TooSlow(limit) if limit.starts_with(NO_ANSWER))
    }

    /// Whether somebody was there.
    pub(super) fn was_connected(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TooSlow(_)) && !self.is_of_connecting()
    }

    /// The same, without what tells of the host's network.
    pub(super) fn without_detail(self) -> Self {
        let why = NO_DETAIL.into();
        match self {
            Self::Unreachable { host, source, .. } => Self::Unreachable { host, why, source },
            Self::TooSlow(_) => {
                let source = Arc::new(io::Error::from(io::ErrorKind::TimedOut));
                Self::Unreachable { host: None, why, source }
            }
            // Since when tells of others who have asked.
            Self::Away { why, .. } => {
                Self::Away { since: None, why: Box::new(why.without_detail()) }
            }
            other => other,
        }
    }

    /// The same, of a host that the registry led to.
    pub(super) fn at(self, elsewhere: &str) -> Self {
        match self {
            Self::Unreachable { why, source, .. } => {
                Self::Unreachable { host: Some(elsewhere.into()), why, source }
            }
            other => other,
        }
    }

    /// What `host` did to `request`.
    pub(super) fn told(self, host: &str, request: &Request) -> RegistryError {
        let (registry, request) = (host.to_owned(), request.clone());
        match self {
            Self::Unreachable { host, why, source } => RegistryError::Unreachable {
                host: host.unwrap_or(registry),
                request,
                why,
                source: Some(source),
            },
            Self::TooSlow(limit) => RegistryError::TooSlow { host: registry, request, limit },
            Self::TooLarge { limit, .. } => {
                RegistryError::TooLarge { host: registry, request, limit }
            }
            Self::Forbidden(Forbidden { host, address, why }) => {
                RegistryError::ForbiddenAddress { host, address, why: why.into() }
            }
            Self::Protocol(why) => RegistryError::Protocol { host: registry, request, why },
            Self::Paused { status, wait } => {
                let pause = Pause::Asked { status };
                RegistryError::Paused { host: registry, request, pause, retry_after: wait }
            }
            Self::NoneLeft { wait } => {
                let pause = Pause::NoneLeft;
                RegistryError::Paused { host: registry, request, pause, retry_after: Some(wait) }
            }
            Self::Away { .. } => {
                let why = self.words();
                RegistryError::Unreachable { host: registry, request, why, source: None }
            }
        }
    }
}

/// Whether a request may have reached the registry although no answer came back. A handshake that
/// failed would fail again, also where TLS 1.3 tells of it only after the request was sent.
pub(super) fn cut_after_sending(error: &RegistryError) -> bool {
    let RegistryError::Unreachable { source: Some(source), .. } = error else { return false };
    let was_sent =
        cause::<reqwest::Error>(source.as_ref()).is_some_and(|error| !error.is_connect());
    was_sent && tls_error(source.as_ref()).is_none()
}

const PROXIED: &str = " (through the proxy, unless NO_PROXY names the host)";

/// A sentence without anything remote in it.
fn words(error: &reqwest::Error, way: Way<'_>) -> String {
    if let Some(tls) = tls_error(error) {
        return tls_words(&tls, way.tls);
    }
    let via = if way.proxied { PROXIED } else { "" };
    let why = if tunnel(error) {
        "the proxy did not let it through".into()
    } else if error.is_dns() {
        "its name was not resolved".into()
    } else if let Some(io) = cause::<io::Error>(error) {
        // The kind and not the error, which may quote what came.
        io.kind().to_string()
    } else if error.is_connect() {
        "no connection".into()
    } else {
        "the connection broke before the whole answer came".to_owned()
    };
    // TLS 1.3 may end so what lacks a certificate: the alert is lost where it comes before the request
    // has gone out.
    let shows_nothing = way.tls.is_some_and(|tls| tls.identity().is_none());
    let may_want_one = shows_nothing && error.is_request() && !error.is_connect();
    let hint = if may_want_one { ": does it want a client certificate?" } else { "" };
    format!("{why}{via}{hint}")
}

/// Whether a proxy answered, and not with a tunnel. The error's type is the HTTP client's own.
fn tunnel(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        let said = error.to_string();
        if said.starts_with("tunnel error: unsuccessful")
            || said.ends_with("authorization required")
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// What TLS failed at, and what to do; a certificate's own text, such as its names, is left out.
fn tls_words(error: &rustls::Error, tls: Option<&Tls>) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    match error {
        Tls::InvalidMessage(_) => "it does not speak TLS (is plainHTTP missing?)".into(),
        Tls::InvalidCertificate(why) => match why {
            // The latter where a CA of the same name has another key: it was made anew.
            Certificate::UnknownIssuer | Certificate::BadSignature => match tls {
                Some(tls) if !tls.authorities().is_empty() => format!(
                    "its certificate is by an unknown issuer: that CA is not in ca.crt of Secret {}",
                    tls.secret
                ),
                _ => "its certificate is by an unknown issuer: name a Secret with that CA as \
                      spec.registries[].certSecretRef, or ask the operator's admin for --ca-bundle"
                    .into(),
            },
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has expired: the registry needs a new one".into()
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet: is a clock wrong?".into()
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name: the registry needs one with this host in its \
                 subjectAltName"
                    .into()
            }
            Certificate::Revoked => "its certificate is revoked".into(),
            // The name of a variant of webpki, whose type is not within reach.
            Certificate::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "its certificate is a CA's own: the registry needs one that the CA has issued, or \
                 that says basicConstraints CA:FALSE"
                    .into()
            }
            _ => "its certificate is not valid".into(),
        },
        Tls::AlertReceived(alert) => match (alert, tls.filter(|tls| tls.identity().is_some())) {
            (
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::UnsupportedCertificate
                | Alert::AccessDenied
                | Alert::DecryptError,
                Some(tls),
            ) => format!("it refused the client certificate of Secret {}", tls.secret),
            (Alert::CertificateRequired | Alert::BadCertificate, None) => {
                "it wants a client certificate: name a Secret with tls.crt and tls.key as \
                 spec.registries[].certSecretRef"
                    .into()
            }
            (Alert::HandshakeFailure | Alert::ProtocolVersion, _) => {
                "it ended the TLS handshake: it must speak TLS 1.2 or 1.3".into()
            }
            _ => "it ended the TLS handshake".into(),
        },
        _ => "the TLS handshake failed".into(),
    }
}

/// What TLS failed at. Of an alert that ends a connection by HTTP/2 there is only the text.
fn tls_error(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    use rustls::AlertDescription as Alert;
    if let Some(tls) = cause::<rustls::Error>(error) {
        return Some(tls.clone());
    }
    let text = cause::<io::Error>(error)?.to_string();
    let alert = match text.strip_prefix("received fatal alert: ")? {
        "CertificateRequired" => Alert::CertificateRequired,
        "BadCertificate" => Alert::BadCertificate,
        "UnknownCA" => Alert::UnknownCA,
        "CertificateUnknown" => Alert::CertificateUnknown,
        "CertificateExpired" => Alert::CertificateExpired,
        "CertificateRevoked" => Alert::CertificateRevoked,
        "UnsupportedCertificate" => Alert::UnsupportedCertificate,
        "AccessDenied" => Alert::AccessDenied,
        "DecryptError" => Alert::DecryptError,
        _ => Alert::InternalError,
    };
    Some(rustls::Error::AlertReceived(alert))
}

/// The first `E` in the chain of causes.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // Both hide what they hold: their `source` is that one's source.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let shared = error.downcast_ref::<Arc<dyn Error + Send + Sync>>();
        next = match (held, shared) {
            (Some(held), _) => Some(held),
            (None, Some(shared)) => Some(&**shared),
            (None, None) => error.source(),
        };
    }
    None
}

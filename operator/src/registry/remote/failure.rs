//! What goes wrong on one hop, before anyone knows on whose behalf: turned into words for people at the top.

use std::{error::Error, io, time::Duration};

use jiff::Timestamp;

use super::{address::Forbidden, limits::Limits};
use crate::registry::{Certificates, Pause, RegistryError, Request, tls::Tls};

/// A hop that gave no answer, or a body that was not read to its end. Cloned to everyone who waited
/// for the same token.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// DNS, TCP, TLS, or a cut.
    Unreachable {
        /// Where it is not the registry itself.
        host: Option<String>,
        why: Why,
        came: Came,
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

/// How far a request came. The HTTP client's error is not kept: it quotes what a registry says as it ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// To nobody: the host is not there, or not from here.
    Nowhere,
    /// To somebody who has not taken it, such as one that TLS fails at.
    There,
    /// Perhaps all the way, although no answer came back.
    In,
}

/// Why a host was not reached: a sentence without anything remote in it.
#[derive(Clone, Debug)]
pub(super) enum Why {
    Said(String),
    /// TLS with the host `at` failed at the Secret that an object has for it. Others with the same certificates may be told of
    /// it, and theirs has another name.
    OfSecret {
        at: String,
        /// Completed by the Secret.
        said: &'static str,
    },
}

/// How a host was to be reached.
#[derive(Clone, Copy, Default)]
pub(super) struct Way<'a> {
    /// What the object has for it.
    pub(super) tls: Option<&'a Tls>,
    /// `host[:port]`, by which the object has that.
    pub(super) at: &'a str,
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
        // A handshake that failed would fail again, also where TLS 1.3 tells of it only after the request was sent.
        let came = match (tls_error(&error), error.is_connect()) {
            (Some(_), _) => Came::There,
            (None, true) => Came::Nowhere,
            (None, false) => Came::In,
        };
        Self::Unreachable { host: None, why: words(&error, way), came }
    }

    /// For the log: `tls` is what was for the host.
    pub(super) fn words(&self, tls: Option<&Tls>) -> String {
        match self {
            Self::Unreachable { why, .. } => why.words(|_| tls),
            Self::TooSlow(why) | Self::Protocol(why) => why.clone(),
            Self::TooLarge { limit, .. } => format!("more than {limit} bytes"),
            Self::Forbidden(forbidden) => forbidden.to_string(),
            Self::Paused { status, .. } => format!("a pause after HTTP {status}"),
            Self::NoneLeft { .. } => "nothing left".into(),
            Self::Away { since, why } => {
                // To the second, so that it is the same each time.
                let since = since.map(|since| format!(", since {since:.0}")).unwrap_or_default();
                format!("{}{since}; it is asked again within a minute", why.words(tls))
            }
        }
    }

    /// Whether there was no connection: the host is not there, or not from here. What TLS fails at is there.
    pub(super) fn is_of_connecting(&self) -> bool {
        match self {
            Self::Unreachable { came, .. } => *came == Came::Nowhere,
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
        let why = Why::Said(NO_DETAIL.into());
        match self {
            Self::Unreachable { host, came, .. } => Self::Unreachable { host, why, came },
            Self::TooSlow(_) => Self::Unreachable { host: None, why, came: Came::There },
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
            Self::Unreachable { why, came, .. } => {
                Self::Unreachable { host: Some(elsewhere.into()), why, came }
            }
            other => other,
        }
    }

    /// What `host` did to `request` of an object that has `certificates`.
    pub(super) fn told(
        self,
        host: &str,
        request: &Request,
        certificates: &Certificates,
    ) -> RegistryError {
        let (registry, request) = (host.to_owned(), request.clone());
        match self {
            Self::Unreachable { host, why, came } => RegistryError::Unreachable {
                host: host.unwrap_or(registry),
                request,
                why: why.words(|at| certificates.for_host(at).map(AsRef::as_ref)),
                sent: came == Came::In,
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
                // That nobody could be connected to, or kept silent.
                let why = self.words(None);
                RegistryError::Unreachable { host: registry, request, why, sent: false }
            }
        }
    }
}

impl Why {
    /// As it is told to who has this for the host.
    fn words<'a>(&self, tls: impl FnOnce(&str) -> Option<&'a Tls>) -> String {
        match self {
            Self::Said(why) => why.clone(),
            Self::OfSecret { at, said } => {
                let secret = tls(at).map_or("for it", |tls| tls.secret.as_str());
                format!("{said} Secret {secret}")
            }
        }
    }
}

/// Whether a request may have reached the registry although no answer came back.
pub(super) fn cut_after_sending(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unreachable { sent: true, .. })
}

const PROXIED: &str = " (through the proxy, unless NO_PROXY names the host)";

fn words(error: &reqwest::Error, way: Way<'_>) -> Why {
    if let Some(tls) = tls_error(error) {
        return tls_words(&tls, way);
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
    Why::Said(format!("{why}{via}{hint}"))
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
fn tls_words(error: &rustls::Error, way: Way<'_>) -> Why {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    let of_secret = |said| Why::OfSecret { at: way.at.into(), said };
    let said = match error {
        Tls::InvalidMessage(_) => "it does not speak TLS (is plainHTTP missing?)",
        Tls::InvalidCertificate(why) => match why {
            // The latter where a CA of the same name has another key: it was made anew.
            Certificate::UnknownIssuer | Certificate::BadSignature => match way.tls {
                Some(tls) if !tls.authorities().is_empty() => {
                    return of_secret(
                        "its certificate is by an unknown issuer: that CA is not in ca.crt of",
                    );
                }
                _ => {
                    "its certificate is by an unknown issuer: name a Secret with that CA as \
                     spec.registries[].certSecretRef, or ask the operator's admin for --ca-bundle"
                }
            },
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has expired: the registry needs a new one"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet: is a clock wrong?"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name: the registry needs one with this host in its \
                 subjectAltName"
            }
            Certificate::Revoked => "its certificate is revoked",
            // The name of a variant of webpki, whose type is not within reach.
            Certificate::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "its certificate is a CA's own: the registry needs one that the CA has issued, or \
                 that says basicConstraints CA:FALSE"
            }
            _ => "its certificate is not valid",
        },
        Tls::AlertReceived(alert) => {
            match (alert, way.tls.filter(|tls| tls.identity().is_some())) {
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
                    Some(_),
                ) => return of_secret("it refused the client certificate of"),
                (Alert::CertificateRequired | Alert::BadCertificate, None) => {
                    "it wants a client certificate: name a Secret with tls.crt and tls.key as \
                     spec.registries[].certSecretRef"
                }
                (Alert::HandshakeFailure | Alert::ProtocolVersion, _) => {
                    "it ended the TLS handshake: it must speak TLS 1.2 or 1.3"
                }
                _ => "it ended the TLS handshake",
            }
        }
        _ => "the TLS handshake failed",
    };
    Why::Said(said.into())
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
        // It hides what it holds: its `source` is that one's source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

//! What goes wrong on one hop, before anyone knows on whose behalf: turned into words for people at the top.

use std::{error::Error, io, sync::Arc};

use super::{address::Forbidden, limits::Limits};
use crate::registry::{RegistryError, Request};

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
}

/// What is told of a host that no admin has named, whatever it was: what tells a closed port from an open one, or a
/// name that is there from one that is not, would make the operator a port scanner.
const NO_DETAIL: &str = "no usable connection (the operator's log says more)";

impl Failure {
    pub(super) fn protocol(why: impl Into<String>) -> Self {
        Self::Protocol(why.into())
    }

    /// From the HTTP client's error, without its URL.
    pub(super) fn of(error: reqwest::Error, limits: &Limits) -> Self {
        let error = error.without_url();
        if let Some(forbidden) = cause::<Forbidden>(&error) {
            return Self::Forbidden(forbidden.clone());
        }
        if error.is_connect() && error.is_timeout() {
            return Self::TooSlow(format!("no connection within {:?}", limits.connect));
        }
        Self::Unreachable { host: None, why: words(&error), source: Arc::new(error) }
    }

    /// For the log.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Unreachable { why, .. } | Self::TooSlow(why) | Self::Protocol(why) => why.clone(),
            Self::TooLarge { limit, .. } => format!("more than {limit} bytes"),
            Self::Forbidden(forbidden) => forbidden.to_string(),
        }
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
                source: Some(Box::new(source)),
            },
            Self::TooSlow(limit) => RegistryError::TooSlow { host: registry, request, limit },
            Self::TooLarge { limit, .. } => {
                RegistryError::TooLarge { host: registry, request, limit }
            }
            Self::Forbidden(Forbidden { host, address, why }) => {
                RegistryError::ForbiddenAddress { host, address, why: why.into() }
            }
            Self::Protocol(why) => RegistryError::Protocol { host: registry, request, why },
        }
    }
}

/// Whether a request may have reached the registry although no answer came back.
pub(super) fn cut_after_sending(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unreachable { source: Some(source), .. } => {
            cause::<reqwest::Error>(source.as_ref()).is_some_and(|error| !error.is_connect())
        }
        _ => false,
    }
}

/// A sentence without anything remote in it.
fn words(error: &reqwest::Error) -> String {
    if let Some(tls) = cause::<rustls::Error>(error) {
        return tls_words(tls).into();
    }
    if error.is_dns() {
        return "its name was not resolved".into();
    }
    if let Some(io) = cause::<io::Error>(error) {
        // The kind and not the error, which may quote what came.
        return io.kind().to_string();
    }
    if error.is_connect() {
        return "no connection".into();
    }
    "the connection broke before the whole answer came".into()
}

/// What TLS failed at; a certificate's own text, such as its names, is left out.
fn tls_words(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError as Certificate, Error as Tls};
    match error {
        Tls::InvalidMessage(_) => "it does not speak TLS (is plainHTTP missing?)",
        Tls::InvalidCertificate(why) => match why {
            Certificate::UnknownIssuer => "its certificate is by an unknown issuer",
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            Certificate::Revoked => "its certificate is revoked",
            _ => "its certificate is not valid",
        },
        Tls::AlertReceived(_) => "it ended the TLS handshake",
        _ => "the TLS handshake failed",
    }
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

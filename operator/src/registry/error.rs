//! Why a registry did not do what it was asked, in words that name things and hold nothing remote.

use std::time::Duration;

use super::{Origin, Request};
use crate::oci::{Digest, manifest::ManifestError};

/// Why a registry did not do what it was asked.
///
/// No variant holds a remote body, a query string or a token; the codes are from the distribution
/// spec's list (REGISTRY.md rule 7). Hosts are as the user names them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The credential is wrong, or there is none where one is needed: told by the token endpoint
    /// (401, 403), or by a 401 to Basic.
    #[error("{host} refused {credential} with HTTP {status}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// `the credential of Secret push`, or `a request without credential`.
        credential: String,
        /// HTTP status.
        status: u16,
    },
    /// A 401 or 403 although the credential was accepted (or a token issued): denied, or not there.
    #[error(
        "{host} denied {request} to {credential} with HTTP {status}{}{}",
        listed(.codes), hint(*.status, .request)
    )]
    Denied {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// As in `Unauthorized`.
        credential: String,
        /// HTTP status.
        status: u16,
        /// The spec's error codes that the answer held.
        codes: Vec<String>,
    },
    /// HTTP 429.
    #[error("{host} limits the rate of requests (HTTP 429 to {request})")]
    RateLimited {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// How long it asks to wait, at most 15 minutes.
        retry_after: Option<Duration>,
    },
    /// It was not asked, since it has asked for a pause, or had said that there is nothing left.
    #[error("{host} {pause}, so {request} was not sent")]
    Paused {
        /// The registry.
        host: String,
        /// What would have been asked.
        request: Request,
        /// What it said before.
        pause: Pause,
        /// How long it is still to be, where the registry said so.
        retry_after: Option<Duration>,
    },
    /// HTTP 408 or 5xx.
    #[error("{host} answered {request} with HTTP {status}{}", listed(.codes))]
    Unavailable {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// HTTP status.
        status: u16,
        /// The spec's error codes that the answer held.
        codes: Vec<String>,
        /// How long it asks to wait, at most 15 minutes.
        retry_after: Option<Duration>,
    },
    /// DNS, connection, TLS, or a connection that was cut.
    #[error("failed to reach {host} for {request}: {why}")]
    Unreachable {
        /// The registry, or the host that it redirected to.
        host: String,
        /// What was asked.
        request: Request,
        /// What failed, in words that are safe to show.
        why: String,
        /// Whether the registry may have got the request all the same.
        sent: bool,
    },
    /// A limit of time or of rate ran out (REGISTRY.md rule 13).
    #[error("{host} was too slow for {request}: {limit}")]
    TooSlow {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// Which limit: `no connection within 10s`.
        limit: String,
    },
    /// A 4xx that has no variant of its own.
    #[error("{host} refused {request} with HTTP {status}{}{}", listed(.codes), hint(*.status, .request))]
    Refused {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// HTTP status.
        status: u16,
        /// The spec's error codes that the answer held.
        codes: Vec<String>,
    },
    /// A tag that may not name anything else than it does: its PUT was refused, and the same bytes
    /// were taken by their digest.
    #[error(
        "{host} refused {request} with HTTP {status}{}, and took the same by digest: this tag may not change there, \
         publish under another tag",
        listed(.codes)
    )]
    TagImmutable {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// HTTP status.
        status: u16,
        /// The spec's error codes that the answer held.
        codes: Vec<String>,
    },
    /// A 404 to a write, or what stands for it: the registry does not make repositories by itself,
    /// or hides this one.
    #[error(
        "{host} answered {request} with {answer}: the repository does not exist, create it first"
    )]
    RepositoryNotFound {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// `HTTP 404`, or what this registry does instead.
        answer: &'static str,
    },
    /// A body that is not what its digest says.
    #[error("{host} answered {request} with content of digest {computed}, not {expected}")]
    WrongDigest {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// What was asked for, or promised in a header.
        expected: Digest,
        /// What came.
        computed: Digest,
    },
    /// A body that is not as long as its descriptor or its header says.
    #[error("{host} answered {request} with {received} bytes where {expected} were promised")]
    WrongSize {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// Promised, in bytes.
        expected: u64,
        /// Received, in bytes.
        received: u64,
    },
    /// A body past the limit for its kind.
    #[error("{host} answered {request} with more than {limit} bytes, the limit for {}", kind(.request))]
    TooLarge {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// In bytes.
        limit: u64,
    },
    /// A manifest that is refused as such.
    #[error("{host} has no usable content for {request}: {source}")]
    Unusable {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A redirect, challenge or header that is refused (REGISTRY.md rules 1, 4 and 6).
    #[error("{host} answered {request} with {why}")]
    Protocol {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
        /// Complete the sentence: `a redirect from https to http …`.
        why: String,
    },
    /// The registry sends credentials to a host that is not trusted with them (REGISTRY.md rule 3).
    #[error(
        "{host} asks for its tokens to be fetched from {realm}, which is not trusted with its \
         credentials: {} --token-realm {host}={realm}",
        trust(.credential, .realm)
    )]
    RealmNotTrusted {
        /// The registry.
        host: String,
        /// The realm's origin and path, without query.
        realm: String,
        /// Whose credential would have gone there.
        credential: Origin,
    },
    /// The name resolves to an address that registries may not have (REGISTRY.md rule 5).
    #[error("{host} is at {address}, where the operator does not go: {why}")]
    ForbiddenAddress {
        /// The host that was to be connected to.
        host: String,
        /// The address.
        address: String,
        /// Why, and the flag that allows it where there is one.
        why: String,
    },
    /// An archive that cannot be read, or in which something is not as it is to be.
    #[error("{why}")]
    Archive {
        /// Which one, what is wrong, and where; names of the archive's own escaped.
        why: String,
    },
    /// An archive that is not to be read yet, or cannot be now.
    #[error("{why}")]
    ArchiveAwaited {
        /// Which one, and what it waits for.
        why: String,
        /// When it may be read.
        after: Duration,
    },
    /// An archive that nobody may read.
    #[error("{why}")]
    ArchiveNotAllowed {
        /// Which one, and who may allow it.
        why: String,
    },
    /// `plainHTTP` without `--insecure-allow-http`.
    #[error("plainHTTP for {host} is not allowed: the operator runs without --insecure-allow-http")]
    InsecureNotAllowed {
        /// The registry.
        host: String,
    },
}

/// Why a registry is not asked for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pause {
    /// It answered another request so: 429 to the same credential, or 503 to anybody.
    #[error("asked for a pause (HTTP {status} to another request)")]
    Asked {
        /// HTTP status.
        status: u16,
    },
    /// By its `RateLimit` headers it would refuse.
    #[error("said that no pulls are left for now (its RateLimit headers)")]
    NoneLeft,
}

impl RegistryError {
    /// Whether a registry refused to write something, which it may well go on to do.
    #[must_use]
    pub fn is_refused_write(&self) -> bool {
        match self {
            Self::Denied { request, .. }
            | Self::Refused { request, .. }
            | Self::RepositoryNotFound { request, .. }
            | Self::TagImmutable { request, .. } => {
                matches!(request.method, "PUT" | "POST" | "PATCH")
            }
            _ => false,
        }
    }

    /// The HTTP status of a refusal, or of an answer that asks to come later; `None` of what has a
    /// name of its own, such as a repository that is not there.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Unauthorized { status, .. }
            | Self::Denied { status, .. }
            | Self::Unavailable { status, .. }
            | Self::Refused { status, .. }
            | Self::Paused { pause: Pause::Asked { status }, .. } => Some(*status),
            Self::RateLimited { .. } | Self::Paused { pause: Pause::NoneLeft, .. } => Some(429),
            _ => None,
        }
    }
}

fn kind(request: &Request) -> String {
    match request.noun {
        "referrers" => "a page of referrers".into(),
        noun => format!("a {noun}"),
    }
}

/// What the owner of a credential can do; the operator's own is its admin's.
fn trust(credential: &Origin, realm: &str) -> String {
    match credential {
        Origin::Secret(secret) => format!(
            "annotate the Secret {secret} with multiarch.dev/token-realm: {realm}, or ask the operator's admin for"
        ),
        Origin::Provider(_) => "ask the operator's admin for".into(),
        Origin::File(_) | Origin::Helper(_) => "if that is right, say".into(),
    }
}

fn listed(codes: &[String]) -> String {
    if codes.is_empty() { String::new() } else { format!(" {}", codes.join(", ")) }
}

/// What a status means beside the obvious: registries answer 403 to a write when a quota is full,
/// and Harbor 412 to a read where its scanner found something.
fn hint(status: u16, request: &Request) -> &'static str {
    match (status, request.method) {
        (403, "POST" | "PUT" | "PATCH") => ": no push right, or quota full",
        (412, "GET" | "HEAD") => {
            ": a policy of the registry, such as a scanner's, does not let it be read"
        }
        _ => "",
    }
}

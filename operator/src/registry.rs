//! The port to registries, in the verbs of the OCI distribution spec: as few as the steps need.

#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod remote;

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use secrecy::SecretString;

use crate::oci::{
    Descriptor, Digest, RawManifest, Repository, TagOrDigest, manifest::ManifestError,
};

/// A registry, as the steps see it.
///
/// Who asks is an argument of every call and never state of the implementation: a client that
/// remembers the first credential of a host hands one tenant's password to another. Absence (404)
/// is `Ok(None)`; everything else that is not the content itself is an error, so that "missing" and
/// "unknown" cannot be mixed up. Manifests cross as raw bytes, checked against their digest.
pub trait Registry: Send + Sync + 'static {
    /// What `reference` names now: media type, digest and size. Where the registry's HEAD has no
    /// digest, the manifest is read and its digest computed.
    fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> impl Future<Output = Result<Option<Descriptor>, RegistryError>> + Send;

    /// The manifest that `reference` names now. Asked by digest, the bytes have that digest.
    fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> impl Future<Output = Result<Option<RawManifest>, RegistryError>> + Send;

    /// A small blob (an image config) as a whole: its bytes have the size and digest of `blob`,
    /// and a blob that claims to be larger than the limit for configs is never asked for.
    fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> impl Future<Output = Result<Option<Bytes>, RegistryError>> + Send;

    /// Stores `manifest` under `reference`. The registry's word for it is not trusted: read back.
    fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// Who asks, for what, and how: an argument of every call.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The credential, where the object has one for this repository.
    pub credential: Option<Credential>,
    /// What one token is asked for, where the registry wants tokens: every scope of the run that
    /// this identity needs, so that one token serves them all.
    pub scopes: Vec<Scope>,
    /// The object says `plainHTTP` for this registry, and the operator's flags allow it.
    pub plain_http: bool,
}

/// A credential, and where it came from.
#[derive(Clone)]
pub struct Credential {
    /// Name of the Secret that it was read from, for messages.
    pub secret: String,
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// Origin and path of the token realm that the Secret itself trusts with it, beside those that
    /// are trusted for everyone.
    pub token_realm: Option<String>,
}

/// Rights on a repository: `repository:PATH:pull` or `repository:PATH:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The repository's path, without the host.
    pub path: String,
    /// With the right to push.
    pub push: bool,
}

/// What was asked of a registry, for messages: `GET manifest team/app:1.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `HEAD`, `GET`, `PUT`.
    pub method: &'static str,
    /// `manifest`, `blob`, `token`.
    pub noun: &'static str,
    /// `team/app:1.0` or `team/app@sha256:…`.
    pub of: String,
}

/// Why a registry did not do what it was asked.
///
/// No variant holds a remote body, a query string or a token; the codes are from the distribution
/// spec's list (REGISTRY.md rule 7). Hosts are as the user names them.
#[derive(Debug, thiserror::Error)]
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
    #[error("{host} denied {request} to {credential} with HTTP {status}{}", listed(.codes))]
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
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
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
    #[error("{host} refused {request} with HTTP {status}{}", listed(.codes))]
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
    /// A 404 to a write: the registry does not make repositories by itself, or hides this one.
    #[error(
        "{host} answered {request} with HTTP 404: the repository does not exist, create it first"
    )]
    RepositoryNotFound {
        /// The registry.
        host: String,
        /// What was asked.
        request: Request,
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
    #[error("{host} answered {request} with more than {limit} bytes, the limit for a {}", .request.noun)]
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
         credentials: annotate the Secret {secret} with multiarch.dev/token-realm: {realm}, or \
         ask the operator's admin for --token-realm {host}={realm}"
    )]
    RealmNotTrusted {
        /// The registry.
        host: String,
        /// The realm's origin and path, without query.
        realm: String,
        /// The Secret whose credential would have gone there.
        secret: String,
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
    /// `plainHTTP` without `--insecure-allow-http`.
    #[error("plainHTTP for {host} is not allowed: the operator runs without --insecure-allow-http")]
    InsecureNotAllowed {
        /// The registry.
        host: String,
    },
}

impl Access {
    /// The scopes of this access with another one, once.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        if !self.scopes.contains(&scope) {
            self.scopes.push(scope);
        }
        self
    }

    /// The credential in words, for messages.
    #[must_use]
    pub fn who(&self) -> String {
        match &self.credential {
            Some(credential) => format!("the credential of Secret {}", credential.secret),
            None => "a request without credential".into(),
        }
    }
}

impl Request {
    /// About a manifest: `GET manifest team/app:1.0`.
    #[must_use]
    pub fn manifest(
        method: &'static str,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Self {
        let of = match reference {
            TagOrDigest::Tag(tag) => format!("{}:{tag}", repository.path()),
            TagOrDigest::Digest(digest) => format!("{}@{digest}", repository.path()),
        };
        Self { method, noun: "manifest", of }
    }

    /// About a blob: `GET blob team/app@sha256:…`.
    #[must_use]
    pub fn blob(method: &'static str, repository: &Repository, digest: &Digest) -> Self {
        Self { method, noun: "blob", of: format!("{}@{digest}", repository.path()) }
    }

    /// For a token: `GET token team/app`.
    #[must_use]
    pub fn token(repository: &Repository) -> Self {
        Self { method: "GET", noun: "token", of: repository.path().into() }
    }
}

impl Scope {
    /// The right to read `repository`.
    #[must_use]
    pub fn pull(repository: &Repository) -> Self {
        Self { path: repository.path().into(), push: false }
    }

    /// The right to read and write `repository`.
    #[must_use]
    pub fn push(repository: &Repository) -> Self {
        Self { path: repository.path().into(), push: true }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = if self.push { "pull,push" } else { "pull" };
        write!(f, "repository:{}:{actions}", self.path)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.noun, self.of)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("secret", &self.secret).finish_non_exhaustive()
    }
}

fn listed(codes: &[String]) -> String {
    if codes.is_empty() { String::new() } else { format!(" {}", codes.join(", ")) }
}

//! A registry over HTTP.

mod address;
mod again;
mod auth;
mod begin;
mod blobs;
mod body;
mod budget;
mod call;
mod challenge;
mod clients;
mod copy;
mod endpoint;
mod failure;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod hosts;
mod lately;
mod limits;
mod manifests;
mod mounts;
mod proxy;
mod redirect;
mod referrers;
mod refusal;
mod retry_after;
mod scopes;
mod session;
mod source;
mod token;
mod transport;
mod trust;
mod upload;
mod verified;

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;

use super::{Access, Copied, Place, Progress, Put, Registry, RegistryError};
use crate::oci::{Descriptor, Digest, Prefix, RawManifest, Repository, TagOrDigest};

pub use limits::Limits;
pub use proxy::Proxies;

/// Registries over HTTP, for every tenant: it remembers of a host how to ask it, and tokens by who
/// asked for them, but no credential.
///
/// A clone is the same client: what outlives a call, such as the end of an upload, has one.
#[derive(Clone, Debug)]
pub struct Remote {
    transport: Arc<transport::Transport>,
    hosts: Arc<hosts::Hosts>,
    tokens: Arc<token::Tokens>,
    /// Scopes that were not given by one token.
    apart: Arc<lately::Lately<token::Key>>,
    /// Mounts that were refused.
    mounts: Arc<lately::Lately<mounts::Key>>,
    /// Uploads that nobody waits for any more, while they are cancelled.
    cancelled: TaskTracker,
    allow_http: bool,
    token_realms: Vec<(String, String)>,
    upload_hosts: Vec<(String, String)>,
}

/// What the operator's flags say about registries.
#[derive(Clone)]
pub struct Options {
    /// `--allow-loopback-registries`
    pub allow_loopback: bool,
    /// `--insecure-allow-http`
    pub allow_http: bool,
    /// `--allowed-registries`: of these hosts it is told how a connection failed. What objects may name is not decided
    /// here.
    pub allowed: Vec<Prefix>,
    /// Of other hosts it is not told: who made an object is not to learn what there is near the operator.
    pub reticent: bool,
    /// `--upload-host`: pairs of a registry's host and another one that its uploads may go on at, without
    /// credentials.
    pub upload_hosts: Vec<(String, String)>,
    /// `--token-realm`: pairs of a registry's host and a token realm (origin and path) that may see
    /// its credentials.
    pub token_realms: Vec<(String, String)>,
    /// `--ca-bundle`: a PEM file of CAs that are trusted like the system's, read again when it changes.
    pub ca_bundle: Option<PathBuf>,
    /// Those of the environment.
    pub proxies: Proxies,
    /// Of time and of bytes.
    pub limits: Limits,
    /// Called once for each request on the wire.
    pub observe: Arc<dyn Fn(&Observation) + Send + Sync>,
    /// Called once for each request that needs a token, with whether one was kept.
    pub observe_token: Arc<dyn Fn(bool) + Send + Sync>,
    /// `User-Agent`
    pub user_agent: String,
    /// From a host's name to its addresses.
    pub resolve: Resolve,
}

/// From a host's name to its addresses; the policy on addresses is applied to what it says.
pub type Resolve =
    Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// One request on the wire, for metrics.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The registry on whose behalf it was, as the user names it.
    pub registry: String,
    /// `host[:port]` that was asked: the registry, its token endpoint, or where it redirected to.
    pub host: String,
    /// HTTP method.
    pub method: &'static str,
    /// HTTP status; `None` where no answer came.
    pub status: Option<u16>,
    /// Until the answer's headers, or the failure.
    pub elapsed: Duration,
    /// What is left of a quota, where the answer says so.
    pub left: Option<u64>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is nothing to check a registry's certificate by.
    #[error(
        "there are no CA certificates on this system: install ca-certificates, or give --ca-bundle"
    )]
    NoAuthorities,
    /// The bundle cannot be used.
    #[error("--ca-bundle {path}: {why}")]
    Bundle {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else.
    #[error("failed to set up the HTTP client")]
    Client {
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
}

impl Remote {
    /// A client without a connection yet.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let allow_http = options.allow_http;
        let (token_realms, upload_hosts) =
            (options.token_realms.clone(), options.upload_hosts.clone());
        let transport = transport::Transport::new(options)?;
        Ok(Self {
            transport: Arc::new(transport),
            hosts: Arc::default(),
            tokens: Arc::default(),
            apart: Arc::default(),
            mounts: Arc::default(),
            cancelled: TaskTracker::new(),
            allow_http,
            token_realms,
            upload_hosts,
        })
    }

    /// Waits until every upload that was begun is done with, once nobody asks any more.
    pub async fn settle(&self) {
        self.cancelled.close();
        self.cancelled.wait().await;
    }
}

impl Registry for Remote {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.head(access, repository, reference).await
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.get(access, repository, reference).await
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.read_blob(access, repository, blob).await
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        self.put(access, repository, reference, manifest).await
    }

    async fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        self.persist(|| self.look(access, repository, blob)).await
    }

    async fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        self.copy(from, to, blob, progress).await
    }

    async fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        self.untag(access, repository, tag).await
    }

    async fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.referrers(access, repository, subject).await
    }

    async fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        self.refer(access, repository, manifest, subject).await
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allow_loopback: false,
            allow_http: false,
            allowed: Vec::new(),
            reticent: true,
            upload_hosts: Vec::new(),
            token_realms: Vec::new(),
            ca_bundle: None,
            proxies: Proxies::default(),
            limits: Limits::default(),
            observe: Arc::new(|_| {}),
            observe_token: Arc::new(|_| {}),
            user_agent: concat!("multiarch-operator/", env!("CARGO_PKG_VERSION")).into(),
            resolve: Arc::new(|host| Box::pin(address::system(host))),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("allow_loopback", &self.allow_loopback)
            .field("allow_http", &self.allow_http)
            .field("allowed", &self.allowed)
            .field("reticent", &self.reticent)
            .field("upload_hosts", &self.upload_hosts)
            .field("token_realms", &self.token_realms)
            .field("ca_bundle", &self.ca_bundle)
            .field("proxies", &self.proxies)
            .field("limits", &self.limits)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

//! The registries that one suite of promises is run over, and how tests put content into them.

#![allow(dead_code, reason = "each suite uses its own part")]

#[path = "real.rs"]
pub(crate) mod real;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use multiarch_operator::{
    oci::{Descriptor, Digest, RawManifest, Reference, Repository, TagOrDigest, media_type},
    registry::{
        Access, BlobSource, Chunks, Copied, Credential, Place, Progress, Put, Registry,
        RegistryError, Request, Scope,
        memory::{Image, Lie, Lies, Login, Server, Store, images, serve, server::User},
        remote::{Limits, Options, Remote},
        shared::{Observe, Shared},
    },
};
use tokio::time::Instant;

pub(crate) use self::real::{Asks, PASSWORD, Real, Speaks, USER};

/// The repositories that promises are tried in.
pub(crate) const PATHS: [&str; 2] = ["team/app", "team/other"];

const APP: &str = PATHS[0];

/// A registry, and who it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    MemoryLogin,
    Http,
    HttpBasic,
    HttpBearer,
    /// Distribution's own.
    Real(Asks, Speaks),
    /// Another one, as many see it at once.
    Shared(&'static Kind),
}

/// A running registry, and a client for it.
pub(crate) struct Face {
    pub(crate) client: Client,
    pub(crate) host: String,
    prefix: Option<String>,
    who: Access,
    content: Content,
    /// Since when it is here. Those who share believe all that others were told since.
    since: Option<Instant>,
}

enum Content {
    Store(Store, Option<Server>),
    Real(Box<Real>),
    /// Everything goes there through the port, from this registry of our own.
    Elsewhere(Server),
}

pub(crate) enum Client {
    Store(Store),
    Remote(Box<Remote>),
    SharedStore(Box<Shared<Store>>),
    SharedRemote(Box<Shared<Remote>>),
}

impl Kind {
    pub(crate) fn asks(self) -> bool {
        match self {
            Self::Memory | Self::Http => false,
            Self::MemoryLogin | Self::HttpBasic | Self::HttpBearer => true,
            Self::Real(asks, _) => asks != Asks::Nobody,
            Self::Shared(kind) => kind.asks(),
        }
    }
}

impl Face {
    pub(crate) async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Shared(kind) => Self::alone(*kind).await.shared(),
            alone => Self::alone(alone).await,
        }
    }

    fn shared(self) -> Self {
        let observe: Observe = Arc::new(|_| {});
        let client = match self.client {
            Client::Store(store) => {
                Client::SharedStore(Box::new(Shared::new(store, 1 << 20, observe)))
            }
            Client::Remote(remote) => {
                Client::SharedRemote(Box::new(Shared::new(*remote, 1 << 20, observe)))
            }
            shared => shared,
        };
        Self { client, since: Some(Instant::now()), ..self }
    }

    async fn alone(kind: Kind) -> Self {
        let login = kind.asks();
        let who = access(login.then_some((USER, PASSWORD)));
        let users = vec![User::new(USER, PASSWORD, &PATHS)];
        let server = match kind {
            Kind::Memory | Kind::MemoryLogin => {
                let store = Store::new();
                if login {
                    store.require_login(USER, PASSWORD);
                }
                return Self {
                    client: Client::Store(store.clone()),
                    host: "memory.test".into(),
                    prefix: None,
                    who,
                    content: Content::Store(store, None),
                    since: None,
                };
            }
            Kind::Real(asks, speaks) => {
                let real = Real::start(asks, speaks).await;
                return Self {
                    client: Client::Remote(Box::new(real.remote())),
                    host: real.host().into(),
                    prefix: None,
                    who: real.who(),
                    content: Content::Real(Box::new(real)),
                    since: None,
                };
            }
            Kind::Http => serve(Store::new(), Lies::default()).await,
            Kind::HttpBasic => with_login(Login::Basic(users)).await,
            Kind::HttpBearer => with_login(Login::bearer(users)).await,
            Kind::Shared(kind) => unreachable!("{kind:?} is not alone"),
        };
        Self {
            client: Client::Remote(Box::new(remote(Limits::default()))),
            host: server.addr.to_string(),
            prefix: None,
            who,
            content: Content::Store(server.store().clone(), Some(server)),
            since: None,
        }
    }

    /// A registry of which only the address is known. What the names of repositories begin with is
    /// `prefix`, where there is one, instead of the paths that tests give them.
    pub(crate) async fn elsewhere(
        remote: Remote,
        host: &str,
        prefix: Option<String>,
        who: Access,
    ) -> Self {
        let content = Content::Elsewhere(serve(Store::new(), Lies::default()).await);
        let client = Client::Remote(Box::new(remote));
        Self { client, host: host.into(), prefix, who, content, since: None }
    }

    /// The image that tests call `path:tag`.
    pub(crate) fn image(&self, path: &str, tag: &str) -> String {
        let host = &self.host;
        match &self.prefix {
            None => format!("{host}/{path}:{tag}"),
            // Docker Hub has names of two parts and no more.
            Some(prefix) => format!("{host}/{prefix}-{}:{tag}", path.replace('/', "-")),
        }
    }

    /// What it does wrong from now on, where it can be told to.
    pub(crate) fn lie(&self, lies: impl IntoIterator<Item = Lie>) {
        if let Content::Store(_, Some(server)) = &self.content {
            server.lie(lies);
        }
    }

    pub(crate) fn repository(&self, path: &str) -> Repository {
        let reference: Reference = self.image(path, "any").parse().unwrap();
        reference.repository().clone()
    }

    /// Who may push here.
    pub(crate) fn access(&self) -> Access {
        // As little at once as in the operator's own runs: GitLab's tokens have one scope.
        if let Content::Elsewhere(_) = self.content {
            return self.who.clone();
        }
        let who = Access { since: self.since, ..self.who.clone() };
        PATHS
            .iter()
            .fold(who, |access, path| access.with_scope(Scope::push(&self.repository(path))))
    }

    /// Who has another login, or none, and is as far as that goes heard like who may push.
    pub(crate) fn who_else(&self, login: Option<(&str, &str)>) -> Access {
        let credential = login.map(|(name, word)| Credential::of_password("push", name, word));
        Access { credential, ..self.who.clone() }
    }

    /// Whether who is nobody gets a token, which is good for nothing here: as from Docker Hub, where it is
    /// good for what is public.
    pub(crate) fn gives_tokens_to_nobody(&self) -> bool {
        matches!(&self.content, Content::Real(real) if real.tokens.is_some())
    }

    /// A client for both of these.
    pub(crate) fn client_of(faces: [&Self; 2]) -> Remote {
        let mut options = Options { allow_loopback: true, allow_http: true, ..Options::default() };
        for face in faces {
            if let Content::Real(real) = &face.content {
                options.token_realms.extend(real.token_realms());
            }
        }
        Remote::new(options).unwrap()
    }

    /// Uploads that were begun in a repository and neither finished nor cancelled.
    pub(crate) fn open_uploads(&self, path: &str) -> usize {
        match &self.content {
            Content::Store(_, server) => server.as_ref().map_or(0, Server::open_uploads),
            Content::Real(real) => real.registry.open_uploads(path),
            Content::Elsewhere(_) => 0,
        }
    }

    pub(crate) async fn push_blob(&self, path: &str, media_type: &str, bytes: Bytes) -> Descriptor {
        match &self.content {
            Content::Store(store, _) => store.push_blob(path, media_type, bytes),
            Content::Real(real) => {
                real.registry.push_blob(path, &bytes).await.unwrap();
                // A store of its own, for the descriptor alone.
                Store::new().push_blob(path, media_type, bytes)
            }
            Content::Elsewhere(ours) => {
                let blob = ours.store().push_blob(APP, media_type, bytes);
                let (reads, writes) = (access(None), self.access());
                let (from, to) = (ours.repository(APP), self.repository(path));
                let from = Place { access: &reads, repository: &from };
                let to = Place { access: &writes, repository: &to };
                let silent: Progress = Arc::new(|_| {});
                let copied = self.client.copy_blob(from, to, &blob, &silent).await.unwrap();
                assert!(copied.is_some());
                blob
            }
        }
    }

    /// Pushes the blobs of an image, and gives the manifest to put.
    pub(crate) async fn prepare(&self, path: &str, image: &Image) -> RawManifest {
        let made = Store::new();
        let descriptor = made.push(path, None, image);
        self.push_blob(path, "config", image.config()).await;
        self.push_blob(path, "layer", image.layer()).await;
        made.manifest(path, &TagOrDigest::Digest(descriptor.digest)).unwrap()
    }

    /// Pushes the blobs of an artifact about `subject`, and gives the manifest to put.
    pub(crate) async fn prepare_referrer(
        &self,
        path: &str,
        subject: &Descriptor,
        name: &str,
    ) -> RawManifest {
        let made = Store::new();
        let descriptor = made.push_referrer(path, subject, name);
        for blob in images::about(name) {
            self.push_blob(path, "about", blob).await;
        }
        made.manifest(path, &TagOrDigest::Digest(descriptor.digest)).unwrap()
    }

    /// Pushes an image by digest through the port.
    pub(crate) async fn push(&self, path: &str, image: &Image) -> RawManifest {
        let manifest = self.prepare(path, image).await;
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        let (access, repository) = (self.access(), self.repository(path));
        self.client.put_manifest(&access, &repository, &by_digest, &manifest).await.unwrap();
        manifest
    }
}

async fn with_login(login: Login) -> Server {
    serve(Store::new(), Lies { login, lies: Vec::new() }).await
}

/// How many requests a second there may be is tried in `budgets.rs`, and slows down all else.
pub(crate) fn unhurried(mut limits: Limits) -> Limits {
    limits.a_second = 1000.0;
    limits
}

/// A client that goes to the loopback by plain HTTP.
pub(crate) fn remote(limits: Limits) -> Remote {
    let limits = unhurried(limits);
    let options = Options { allow_loopback: true, allow_http: true, limits, ..Options::default() };
    Remote::new(options).unwrap()
}

/// The same, of an admin who has named `host`.
pub(crate) fn remote_naming(host: &str, limits: Limits) -> Remote {
    let limits = unhurried(limits);
    let allowed = vec![host.parse().unwrap()];
    let options =
        Options { allow_loopback: true, allow_http: true, limits, allowed, ..Options::default() };
    Remote::new(options).unwrap()
}

pub(crate) fn access(login: Option<(&str, &str)>) -> Access {
    Access {
        credential: login.map(|(name, password)| Credential::of_password("push", name, password)),
        scopes: Vec::new(),
        plain_http: true,
        ..Access::default()
    }
}

pub(crate) fn tag(tag: &str) -> TagOrDigest {
    TagOrDigest::Tag(tag.into())
}

pub(crate) fn by(digest: &Digest) -> TagOrDigest {
    TagOrDigest::Digest(digest.clone())
}

pub(crate) fn index(children: &[&RawManifest]) -> RawManifest {
    let children: Vec<_> = children
        .iter()
        .enumerate()
        .map(|(at, child)| {
            let mut child = child.descriptor();
            child.platform = Some(["linux/amd64", "linux/arm64"][at].parse().unwrap());
            child
        })
        .collect();
    let document = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": children,
    });
    RawManifest::new(media_type::OCI_INDEX, Bytes::from(document.to_string()))
}

/// Bytes that a test gives to be sent, each time that they are asked for.
pub(crate) struct Given {
    /// `None`: it does not have them.
    pub(crate) chunks: Option<Vec<Bytes>>,
    /// They never end.
    pub(crate) hangs: bool,
    /// How often they were asked for.
    pub(crate) opened: AtomicUsize,
}

impl Given {
    pub(crate) fn new(content: &Bytes) -> Self {
        let starts = (0..content.len()).step_by(64 << 10);
        let chunks = starts.map(|at| content.slice(at..content.len().min(at + (64 << 10))));
        Self { chunks: Some(chunks.collect()), hangs: false, opened: AtomicUsize::new(0) }
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl BlobSource for Given {
    fn named(&self) -> (String, Request) {
        ("given.tar".into(), Request { method: "GET", noun: "blob", of: "it".into() })
    }

    fn open(&self) -> BoxFuture<'_, Result<Option<Chunks>, RegistryError>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let hangs = stream::iter(self.hangs.then_some(())).then(|()| std::future::pending());
        let chunks = self.chunks.clone();
        let chunks = chunks.map(|chunks| stream::iter(chunks).map(Ok).chain(hangs).boxed());
        std::future::ready(Ok(chunks)).boxed()
    }
}

/// The call to whichever registry it is.
macro_rules! through {
    ($self:ident, $client:ident => $call:expr) => {
        match $self {
            Client::Store($client) => $call.await,
            Client::Remote($client) => $call.await,
            Client::SharedStore($client) => $call.await,
            Client::SharedRemote($client) => $call.await,
        }
    };
}

impl Registry for Client {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        through!(self, client => client.head_manifest(access, repository, reference))
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        through!(self, client => client.get_manifest(access, repository, reference))
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        through!(self, client => client.get_blob(access, repository, blob))
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        through!(self, client => client.put_manifest(access, repository, reference, manifest))
    }

    async fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        through!(self, client => client.blob_exists(access, repository, blob))
    }

    async fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        through!(self, client => client.copy_blob(from, to, blob, progress))
    }

    async fn push_blob(
        &self,
        to: Place<'_>,
        blob: &Descriptor,
        source: &dyn BlobSource,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        match self {
            Self::Store(store) => Registry::push_blob(store, to, blob, source, progress).await,
            Self::Remote(remote) => remote.push_blob(to, blob, source, progress).await,
            Self::SharedStore(shared) => shared.push_blob(to, blob, source, progress).await,
            Self::SharedRemote(shared) => shared.push_blob(to, blob, source, progress).await,
        }
    }

    async fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        match self {
            Self::Store(store) => Registry::delete_tag(store, access, repository, tag).await,
            Self::Remote(remote) => remote.delete_tag(access, repository, tag).await,
            Self::SharedStore(shared) => shared.delete_tag(access, repository, tag).await,
            Self::SharedRemote(shared) => shared.delete_tag(access, repository, tag).await,
        }
    }

    async fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        through!(self, client => client.list_referrers(access, repository, subject))
    }

    async fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        through!(self, client => client.put_referrer(access, repository, manifest, subject))
    }
}

//! The store's second face: HTTP on a free port of the loopback, and as dishonest as a test wants.

pub mod families;
pub mod lies;
pub mod login;
mod referrers;
mod uploads;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use super::Store;
use crate::oci::{Digest, RawManifest, Repository, TagOrDigest};

pub use families::Family;
pub use lies::{Lie, limits::LimitLie, tokens::TokenLie};
pub use login::{Login, Realm, User};

/// What the server does beside serving the store.
#[derive(Clone, Debug, Default)]
pub struct Lies {
    /// Whom it asks for what.
    pub login: Login,
    /// What it does wrong.
    pub lies: Vec<Lie>,
}

/// A running server; it stops when dropped.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// A request as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`
    pub method: String,
    /// `/v2/team/app/manifests/1.0`
    pub path: String,
    /// The query, undecoded; empty without one.
    pub query: String,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// The body; empty where it is a blob's.
    pub body: Bytes,
}

struct Shared {
    store: Store,
    lies: Mutex<Lies>,
    seen: Mutex<Vec<Seen>>,
    answered: Notify,
    gate: lies::limits::Gate,
    sessions: Mutex<BTreeMap<String, uploads::Session>>,
    serial: AtomicU64,
    sent: Arc<AtomicU64>,
    tokens: AtomicU64,
    origin: String,
}

/// Serves `store` on a free port of the loopback.
///
/// # Panics
///
/// Where there is no free port.
#[expect(clippy::expect_used, reason = "a loopback without a free port is no place for tests")]
pub async fn serve(store: Store, lies: Lies) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let shared = Arc::new(Shared {
        store,
        lies: Mutex::new(lies),
        seen: Mutex::default(),
        answered: Notify::new(),
        gate: lies::limits::Gate::default(),
        sessions: Mutex::default(),
        serial: AtomicU64::new(0),
        sent: Arc::default(),
        tokens: AtomicU64::new(0),
        origin: format!("http://{addr}"),
    });
    let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
    let task = tokio::spawn(async move {
        // Only ever ends by being aborted.
        let _ = axum::serve(listener, app).await;
    });
    Server { addr, shared, task }
}

impl Server {
    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn origin(&self) -> String {
        self.shared.origin.clone()
    }

    /// The repository of it at `path`, as a reference names it.
    ///
    /// # Panics
    ///
    /// Where `path` is none.
    #[must_use]
    #[expect(clippy::panic, reason = "a bad path is a mistake in the test that gives it")]
    pub fn repository(&self, path: &str) -> Repository {
        let reference = format!("{}/{path}:any", self.addr);
        let Ok(parsed) = reference.parse::<crate::oci::Reference>() else {
            panic!("{reference} is no reference")
        };
        parsed.repository().clone()
    }

    /// What it does wrong from now on, instead of what it did so far.
    pub fn lie(&self, lies: impl IntoIterator<Item = Lie>) {
        self.shared.lies().lies = lies.into_iter().collect();
        self.shared.answered.notify_waiters();
    }

    /// Whom it asks for what from now on.
    pub fn login(&self, login: Login) {
        self.shared.lies().login = login;
    }

    /// The requests since the start, or the last [`Server::forget`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen().clone()
    }

    /// The same as `METHOD /path`, for comparison.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    /// Empties the log.
    pub fn forget(&self) {
        self.shared.seen().clear();
    }

    /// Uploads that were begun and neither finished nor cancelled.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.shared.sessions().len()
    }

    /// Waits until `enough` is true of the server, which is looked at when a request has come, after each answer and at a gate.
    pub async fn until(&self, enough: impl Fn(&Self) -> bool) {
        loop {
            let answered = self.shared.answered.notified();
            if enough(self) {
                return;
            }
            answered.await;
        }
    }

    /// Bytes of streamed bodies that the network took so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Seen {
    /// The value of a header, empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body's fields, where it is a form.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    fn length(&self) -> u64 {
        self.header("content-length").parse().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lies(&self) -> MutexGuard<'_, Lies> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request is about.
pub(super) enum Target<'a> {
    Base,
    Token,
    Manifest(&'a str, TagOrDigest),
    Blob(&'a str, TagOrDigest),
    Referrers(&'a str, Digest),
    /// An upload by its id, which is empty where one is to begin.
    Upload(&'a str, &'a str),
    Unknown,
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Self {
        match path {
            "/v2/" => return Self::Base,
            "/token" => return Self::Token,
            _ => {}
        }
        // Uploads go on below another prefix at some.
        let path = path.strip_prefix(families::GAR_UPLOADS).unwrap_or(path);
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::Unknown };
        let reference = |text: &str| {
            text.parse().map_or_else(|_| TagOrDigest::Tag(text.into()), TagOrDigest::Digest)
        };
        if let Some((path, name)) = rest.rsplit_once("/manifests/") {
            Self::Manifest(path, reference(name))
        } else if let Some((path, subject)) = rest.rsplit_once("/referrers/") {
            subject.parse().map_or(Self::Unknown, |subject| Self::Referrers(path, subject))
        } else if let Some((path, id)) = rest.rsplit_once("/blobs/uploads/") {
            Self::Upload(path, id)
        } else if let Some((path, name)) = rest.rsplit_once("/blobs/") {
            Self::Blob(path, reference(name))
        } else {
            Self::Unknown
        }
    }

    /// The repository that it is in.
    pub(super) fn path(&self) -> Option<&'a str> {
        match self {
            Self::Manifest(path, _)
            | Self::Blob(path, _)
            | Self::Referrers(path, _)
            | Self::Upload(path, _) => Some(path),
            Self::Base | Self::Token | Self::Unknown => None,
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().into(),
        query: parts.uri.query().unwrap_or_default().into(),
        headers: parts.headers,
        body: Bytes::new(),
    };
    let path = seen.path.clone();
    let target = lies::manifests::taken(&shared, &seen, Target::of(&path));
    // What is written is read to its end before anything is said, as most registries do.
    let received = if let Target::Upload(..) = target {
        uploads::receive(&shared, &seen, body).await
    } else {
        seen.body = to_bytes(body, 16 << 20).await.unwrap_or_default();
        uploads::Received::Whole(seen.body.clone())
    };
    shared.seen().push(seen.clone());
    shared.answered.notify_waiters();
    lies::limits::wait(&shared, &seen).await;
    let answer = respond_to(&shared, &seen, &target, received);
    shared.answered.notify_waiters();
    loop {
        let released = shared.answered.notified();
        let held = |lie: &Lie| matches!(lie, Lie::HeldBack(method) if *method == seen.method);
        if !shared.lies().lies.iter().any(held) {
            return answer;
        }
        released.await;
    }
}

fn respond_to(
    shared: &Arc<Shared>,
    seen: &Seen,
    target: &Target<'_>,
    received: uploads::Received,
) -> Response {
    if let Target::Token = target {
        return login::token(shared, seen);
    }
    if let Some(refused) = login::check(shared, seen, target) {
        return refused;
    }
    if let Some(lie) = lies::instead(shared, seen, target, received.bytes()) {
        return lie;
    }
    let body = match (target, received) {
        (Target::Upload(path, id), received) => {
            let honest = uploads::answer(shared, seen, (path, id), received);
            return lies::distort(shared, seen, target, honest);
        }
        (_, uploads::Received::Whole(body) | uploads::Received::Part(body)) => body,
    };
    let honest = match (&*seen.method, target) {
        ("GET", Target::Base) => respond(StatusCode::OK).body("{}".into()),
        ("GET" | "HEAD", Target::Manifest(path, reference)) => {
            match shared.store.manifest(path, reference) {
                Some(found) => manifest(&found),
                None => return error(404, "MANIFEST_UNKNOWN"),
            }
        }
        ("PUT", Target::Manifest(path, reference)) => {
            let content_type = seen.header("content-type");
            let Ok(manifest) = RawManifest::from_response(Some(content_type), body) else {
                return error(400, "MANIFEST_INVALID");
            };
            if let Err(rejected) = shared.store.accept(path, reference, &manifest) {
                return error(rejected.status, rejected.code);
            }
            let subject = referrers::subject(shared, &manifest);
            referrers::overwrite(shared, path, reference);
            let response = respond(StatusCode::CREATED)
                .header("docker-content-digest", manifest.digest().as_str());
            match subject {
                Some(subject) => response.header("oci-subject", subject),
                None => response,
            }
            .body(Body::empty())
        }
        ("DELETE", Target::Manifest(path, TagOrDigest::Tag(tag))) => {
            let ignored = shared.lies().lies.contains(&Lie::DeleteIgnored);
            if !ignored && !shared.store.untag(path, tag) {
                return error(404, "MANIFEST_UNKNOWN");
            }
            respond(StatusCode::ACCEPTED).body(Body::empty())
        }
        ("GET", Target::Referrers(path, subject)) => {
            Ok(referrers::answer(shared, seen, path, subject))
        }
        ("GET" | "HEAD", Target::Blob(path, TagOrDigest::Digest(digest))) => {
            match shared.store.blob(path, digest) {
                Some(bytes) => respond(StatusCode::OK)
                    .header("content-type", "application/octet-stream")
                    .header("content-length", bytes.len())
                    .body(Body::from(bytes)),
                None => return error(404, "BLOB_UNKNOWN"),
            }
        }
        _ => return error(404, "UNSUPPORTED"),
    };
    lies::distort(shared, seen, target, built(honest))
}

fn manifest(found: &RawManifest) -> Result<Response, axum::http::Error> {
    respond(StatusCode::OK)
        .header(header::CONTENT_TYPE, found.media_type())
        .header(header::CONTENT_LENGTH, found.bytes().len())
        .header("docker-content-digest", found.digest().as_str())
        .body(Body::from(found.bytes().clone()))
}

fn respond(status: StatusCode) -> axum::http::response::Builder {
    Response::builder().status(status)
}

/// An error in the spec's form.
fn error(status: u16, code: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": "as told" }] });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let response = respond(status).header(header::CONTENT_TYPE, "application/json");
    built(response.body(Body::from(body.to_string())))
}

/// A response that could not be built is a mistake in this server.
fn built(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

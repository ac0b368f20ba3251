//! A reverse proxy before a registry that writes down every request, and that a test can tell to answer by itself.

mod answer;
mod rule;
mod seen;
mod tokens;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, header},
    response::Response,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Notify, futures::Notified},
    task::JoinHandle,
};

pub use self::{
    answer::Answer,
    rule::Rule,
    seen::{Operation, Seen, counts, open_uploads, peak},
};
use self::{
    answer::{bad_gateway, end_the_connection},
    tokens::Tokens,
};

/// A port of the kernel's.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, Default)]
struct Book {
    seen: Vec<Seen>,
    /// What has succeeded since the start, or since they were forgotten.
    done: BTreeSet<Operation>,
    rules: Vec<Rule>,
    configs: BTreeSet<String>,
    tokens: Option<Tokens>,
    /// host:port of the registry.
    upstream: String,
    is_down: bool,
}

/// The proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    upstream: Upstream,
    address: SocketAddr,
    host: String,
    server: Mutex<JoinHandle<()>>,
    /// Bound and deaf, so that the port is nobody else's while nobody listens.
    _port: TcpSocket,
}

#[derive(Clone, Debug)]
struct Upstream {
    client: reqwest::Client,
    book: Arc<Mutex<Book>>,
    at_work: Arc<AtomicUsize>,
    asked: Arc<Notify>,
    host: String,
}

/// Counts a request as long as it is at work, however it ends.
struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Proxy {
    /// Starts one before `upstream` (host:port).
    #[allow(clippy::unused_async, reason = "it belongs to a runtime, which an async caller has")]
    pub async fn start(upstream: &str) -> Result<Self> {
        Self::with_configs(LOOPBACK, upstream, BTreeSet::new())
    }

    /// The same at an address of this machine.
    #[allow(clippy::unused_async, reason = "it belongs to a runtime, which an async caller has")]
    pub async fn start_at(at: SocketAddr, upstream: &str) -> Result<Self> {
        Self::with_configs(at, upstream, BTreeSet::new())
    }

    /// The same where the digests of blobs that are configs are known.
    fn with_configs(at: SocketAddr, upstream: &str, configs: BTreeSet<String>) -> Result<Self> {
        let port = socket(at)?;
        let address = port.local_addr().context("failed to read the address")?;
        let host = address.to_string();
        let book = Book { upstream: upstream.into(), configs, ..Book::default() };
        let upstream = Upstream {
            client: client()?,
            book: Arc::new(Mutex::new(book)),
            at_work: Arc::default(),
            asked: Arc::default(),
            host: host.clone(),
        };
        let server = Mutex::new(serve(address, upstream.clone())?);
        Ok(Self { upstream, address, host, server, _port: port })
    }

    /// One more before the same registry, honest, and with nothing written down: another host to whoever asks.
    #[allow(clippy::unused_async, reason = "it belongs to a runtime, which an async caller has")]
    pub async fn another(&self) -> Result<Self> {
        let (upstream, configs) = {
            let book = self.book();
            (book.upstream.clone(), book.configs.clone())
        };
        Self::with_configs(LOOPBACK, &upstream, configs)
    }

    /// Its host:port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.host
    }

    /// The requests since the start, or since the last [`Proxy::forget`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.book().seen.clone()
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.book().seen.len()
    }

    /// Those of them whose path contains `part`.
    #[must_use]
    pub fn seen_of(&self, part: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path.contains(part)).collect()
    }

    /// Those of them that ask for `operation`.
    #[must_use]
    pub fn asked(&self, operation: Operation) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.operation == operation).collect()
    }

    /// Counts from nothing again.
    pub fn forget(&self) {
        let mut book = self.book();
        book.seen.clear();
        book.done.clear();
    }

    /// Waits for the first request after this call.
    pub fn next_request(&self) -> Notified<'_> {
        self.upstream.asked.notified()
    }

    /// How many requests are at work.
    #[must_use]
    pub fn at_work(&self) -> usize {
        self.upstream.at_work.load(Ordering::SeqCst)
    }

    /// Answers requests of `method` whose path contains `path` in the registry's stead. The latest rule that matches wins.
    pub fn answer(&self, method: &str, path: &str, answer: Answer) {
        self.answer_times(usize::MAX, method, path, answer);
    }

    /// The same for so many requests, and not for those after them.
    pub fn answer_times(&self, times: usize, method: &str, path: &str, answer: Answer) {
        self.follow(Rule::of_method(method, answer).path(path).first(times));
    }

    /// Follows `rule` from now on, before all that were there.
    pub fn follow(&self, rule: Rule) {
        self.book().rules.push(rule);
    }

    /// Forwards everything again.
    pub fn be_honest(&self) {
        self.book().rules.clear();
    }

    /// Takes the blob with this digest for a config from now on.
    pub fn know_config(&self, digest: &str) {
        self.book().configs.insert(digest.into());
    }

    /// Asks for bearer tokens from now on, and gives them out.
    pub fn ask_for_tokens(&self) {
        self.book().tokens = Some(Tokens::default());
    }

    /// Takes no token any more that it has given out.
    pub fn revoke_tokens(&self) {
        if let Some(tokens) = &mut self.book().tokens {
            tokens.revoke();
        }
    }

    /// Leads to another registry from now on (host:port).
    pub fn lead_to(&self, upstream: &str) {
        self.book().upstream = upstream.into();
    }

    /// Refuses connections, and cuts those that there are, until [`Proxy::come_back`].
    pub fn go_down(&self) {
        self.book().is_down = true;
        lock(&self.server).abort();
    }

    /// Listens again, at the same port.
    pub fn come_back(&self) -> Result<()> {
        self.book().is_down = false;
        *lock(&self.server) = serve(self.address, self.upstream.clone())?;
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.upstream.book)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.server).abort();
    }
}

/// One that is bound to `address` beside another one that is.
fn socket(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4().context("failed to make a socket")?;
    socket.set_reuseport(true).context("failed to share a port")?;
    socket.bind(address).with_context(|| format!("failed to bind {address}"))?;
    Ok(socket)
}

fn serve(address: SocketAddr, upstream: Upstream) -> Result<JoinHandle<()>> {
    let listener: TcpListener = socket(address)?.listen(1024).context("failed to listen")?;
    let app = Router::new().fallback(forward).with_state(upstream);
    Ok(tokio::spawn(async {
        // It ends with its task only.
        let _ = axum::serve(listener, app).await;
    }))
}

/// The client of the proxy and of the tests: no redirects, plain HTTP.
pub fn client() -> Result<reqwest::Client> {
    // reqwest asks for a provider even where no TLS is spoken; a second installation is refused, and the first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    client.context("failed to make an HTTP client")
}

async fn forward(State(upstream): State<Upstream>, request: Request) -> Response {
    upstream.at_work.fetch_add(1, Ordering::SeqCst);
    let _at_work = AtWork(Arc::clone(&upstream.at_work));
    let (number, answer, refused) = {
        let mut guard = lock(&upstream.book);
        let book = &mut *guard;
        if book.is_down {
            drop(guard);
            end_the_connection()
        }
        let mut seen = Seen::of(&request, &book.configs);
        let mut rules = book.rules.iter_mut().rev();
        let answer = rules.find_map(|rule| rule.answer(&seen, &book.done));
        let refused = match (&answer, &mut book.tokens) {
            (None, Some(tokens)) => tokens.answer(&seen, &upstream.host),
            _ => None,
        };
        seen.disturbed = answer.is_some();
        book.seen.push(seen);
        (book.seen.len() - 1, answer, refused)
    };
    upstream.asked.notify_waiters();
    let response = match (answer, refused) {
        (Some(answer), _) => answer.give(&upstream, request).await,
        (None, Some(refused)) => refused,
        (None, None) => upstream.answer(request).await,
    };
    let mut guard = lock(&upstream.book);
    let book = &mut *guard;
    // Forgotten in between, it is nobody's.
    if let Some(seen) = book.seen.get_mut(number) {
        seen.status = response.status().as_u16();
        let begun = seen.is_start() && seen.status == 202;
        let location = begun.then(|| seen::text(response.headers(), &header::LOCATION)).flatten();
        let path = location.as_deref().map(|location| location.split('?').next());
        path.flatten().unwrap_or_default().clone_into(&mut seen.upload);
        if response.status().is_success() {
            book.done.insert(seen.operation);
        }
    }
    drop(guard);
    response
}

impl Upstream {
    /// The registry's own answer.
    async fn answer(&self, request: Request) -> Response {
        self.pass_on(request).await.unwrap_or_else(|_| bad_gateway())
    }

    async fn pass_on(&self, request: Request) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let registry = lock(&self.book).upstream.clone();
        let answer = self
            .client
            .request(parts.method, format!("http://{registry}{target}"))
            .headers(end_to_end(&parts.headers))
            .body(reqwest::Body::wrap_stream(body.into_data_stream()))
            .send()
            .await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = end_to_end(answer.headers());
        }
        Ok(response.body(Body::from_stream(answer.bytes_stream()))?)
    }
}

/// Without the headers that speak of one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];
    headers
        .iter()
        .filter(|(name, _)| !HOP.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// A test that failed while it held the lock says so by itself.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

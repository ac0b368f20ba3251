//! A reverse proxy before a registry that writes down every request, and that a test can tell to answer by itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Response,
};
use futures::StreamExt;
use tokio::{net::TcpListener, task::JoinHandle};

/// A request as it went over the wire, and the status that it was answered with (0 while there is no answer).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What follows the path after `?`, empty where nothing does.
    pub query: String,
    /// Its Authorization header.
    pub authorization: Option<String>,
    /// The length that it gives of its body.
    pub length: u64,
    /// When it came.
    pub at: Instant,
    /// The status of the answer.
    pub status: u16,
}

impl Seen {
    /// Whether it asks for an upload, which a mount is when it is refused.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.method == "POST" && self.path.ends_with("/blobs/uploads/")
    }

    /// Whether it asks for a mount.
    #[must_use]
    pub fn is_mount(&self) -> bool {
        self.is_start() && self.query.contains("mount=")
    }

    /// The digest of the blob that it reads, looks for, or sends to its end; empty for anything else.
    #[must_use]
    pub fn blob(&self) -> String {
        let of_upload = self.query.split('&').find_map(|pair| pair.strip_prefix("digest="));
        let of_blob = self.path.split_once("/blobs/sha256:").map(|(_, encoded)| encoded);
        match (of_upload, of_blob) {
            (Some(digest), _) => digest.replace("%3A", ":"),
            (None, Some(encoded)) => format!("sha256:{encoded}"),
            (None, None) => String::new(),
        }
    }

    /// Whether it sends a blob.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        self.method == "PUT" && self.path.contains("/blobs/uploads/")
    }

    /// Whether it writes a manifest, by digest or under a tag.
    #[must_use]
    pub fn is_manifest_put(&self) -> bool {
        self.method == "PUT" && self.path.contains("/manifests/")
    }
}

/// What is answered in the registry's stead.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status and headers, without a body.
    Status(u16, Vec<(&'static str, &'static str)>),
    /// Nothing, for as long as the client waits.
    Never,
    /// What the registry answers to the same request without its query: to a mount, with an upload session.
    WithoutQuery,
    /// Nothing but the end of the connection, after the registry has done what it was asked.
    Lost,
    /// The registry's answer, and after so many bytes of its body the end of the connection.
    CutAfter(usize),
    /// So many bytes of the request's body to the registry, and the end of both connections.
    CutUploadAfter(usize),
}

#[derive(Clone, Debug)]
struct Rule {
    method: String,
    path: String,
    answer: Answer,
    /// How often it is followed.
    times: usize,
}

#[derive(Debug, Default)]
struct Book {
    seen: Vec<Seen>,
    rules: Vec<Rule>,
}

/// The proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    book: Arc<Mutex<Book>>,
    server: JoinHandle<std::io::Result<()>>,
}

#[derive(Clone)]
struct Upstream {
    base: String,
    client: reqwest::Client,
    book: Arc<Mutex<Book>>,
}

impl Proxy {
    /// Starts one before `upstream` (host:port).
    pub async fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("failed to listen")?;
        let address = listener.local_addr().context("failed to read the address")?.to_string();
        let book = Arc::default();
        let state = Upstream {
            base: format!("http://{upstream}"),
            client: client()?,
            book: Arc::clone(&book),
        };
        let app = Router::new().fallback(forward).with_state(state);
        let server = tokio::spawn(async { axum::serve(listener, app).await });
        Ok(Self { address, book, server })
    }

    /// Its host:port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests since the start, or since the last [`Proxy::forget`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.book).seen.clone()
    }

    /// Those of them whose path contains `part`.
    #[must_use]
    pub fn seen_of(&self, part: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path.contains(part)).collect()
    }

    /// Counts from nothing again.
    pub fn forget(&self) {
        lock(&self.book).seen.clear();
    }

    /// Answers requests of `method` whose path contains `path` in the registry's stead. The latest rule that matches wins.
    pub fn answer(&self, method: &str, path: &str, answer: Answer) {
        self.answer_times(usize::MAX, method, path, answer);
    }

    /// The same for so many requests, and not for those after them.
    pub fn answer_times(&self, times: usize, method: &str, path: &str, answer: Answer) {
        let (method, path) = (method.into(), path.into());
        lock(&self.book).rules.push(Rule { method, path, answer, times });
    }

    /// Forwards everything again.
    pub fn be_honest(&self) {
        lock(&self.book).rules.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
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
    let seen = seen(&request);
    let (number, answer) = {
        let mut book = lock(&upstream.book);
        let mut rules = book.rules.iter_mut().rev();
        let rule = rules.find(|rule| {
            rule.times > 0 && rule.method == seen.method && seen.path.contains(&rule.path)
        });
        let answer = rule.map(|rule| {
            rule.times = rule.times.saturating_sub(1);
            rule.answer.clone()
        });
        book.seen.push(seen);
        (book.seen.len() - 1, answer)
    };
    let response = match answer {
        Some(Answer::Never) => std::future::pending().await,
        Some(Answer::Status(status, headers)) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::empty()).unwrap_or_default()
        }
        Some(Answer::WithoutQuery) => {
            let (mut parts, body) = request.into_parts();
            parts.uri = parts.uri.path().parse().unwrap_or_default();
            or_bad_gateway(pass_on(&upstream, Request::from_parts(parts, body)).await)
        }
        Some(Answer::Lost) => {
            let _ = pass_on(&upstream, request).await;
            end_the_connection()
        }
        Some(Answer::CutAfter(bytes)) => {
            let answer = or_bad_gateway(pass_on(&upstream, request).await);
            answer.map(|body| cut(body, bytes))
        }
        Some(Answer::CutUploadAfter(bytes)) => {
            let _ = pass_on(&upstream, request.map(|body| cut(body, bytes))).await;
            end_the_connection()
        }
        None => or_bad_gateway(pass_on(&upstream, request).await),
    };
    // Forgotten in between, it is nobody's.
    if let Some(seen) = lock(&upstream.book).seen.get_mut(number) {
        seen.status = response.status().as_u16();
    }
    response
}

fn seen(request: &Request) -> Seen {
    let text = |name| request.headers().get(name)?.to_str().ok().map(ToOwned::to_owned);
    Seen {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        authorization: text(header::AUTHORIZATION),
        length: text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0),
        at: Instant::now(),
        status: 0,
    }
}

/// The most requests of any second.
#[must_use]
pub fn peak(seen: &[Seen]) -> usize {
    let mut times: Vec<_> = seen.iter().map(|seen| seen.at).collect();
    times.sort();
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while *at - times[first] >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

fn or_bad_gateway(answer: Result<Response>) -> Response {
    answer.unwrap_or_else(|_| {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

/// Ends the task that serves this connection, and the connection with it. A handler has no other way to give no answer.
fn end_the_connection() -> ! {
    std::panic::resume_unwind(Box::new("a test cuts this connection"))
}

/// The first `bytes` of `body`, and an error after them.
fn cut(body: Body, bytes: usize) -> Body {
    let parts = body.into_data_stream().scan(bytes, |left, part| {
        let end = match part {
            Ok(part) if *left > 0 => {
                let part = part.slice(..part.len().min(*left));
                *left -= part.len();
                Ok(part)
            }
            Ok(_) => Err(std::io::Error::other("cut")),
            Err(error) => Err(std::io::Error::other(error)),
        };
        std::future::ready(Some(end))
    });
    // What is shorter is cut at its end.
    let end = futures::stream::once(std::future::ready(Err(std::io::Error::other("cut"))));
    Body::from_stream(parts.chain(end))
}

async fn pass_on(upstream: &Upstream, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let answer = upstream
        .client
        .request(parts.method, format!("{}{target}", upstream.base))
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
fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A reverse proxy before a registry that writes down every request, and that a test can tell to answer by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Response,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// A request as it went over the wire, and the status that it was answered with (0 while there is no answer).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
}

/// What is answered in the registry's stead.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status and headers, without a body.
    Status(u16, Vec<(&'static str, &'static str)>),
    /// Nothing, for as long as the client waits.
    Never,
}

#[derive(Clone, Debug)]
struct Rule {
    method: String,
    path: String,
    answer: Answer,
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
        lock(&self.book).rules.push(Rule { method: method.into(), path: path.into(), answer });
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
    let seen = Seen {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        status: 0,
    };
    let (number, answer) = {
        let mut book = lock(&upstream.book);
        let rule = book
            .rules
            .iter()
            .rev()
            .find(|rule| rule.method == seen.method && seen.path.contains(&rule.path));
        let answer = rule.map(|rule| rule.answer.clone());
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
        None => pass_on(&upstream, request).await.unwrap_or_else(|_| {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }),
    };
    // Forgotten in between, it is nobody's.
    if let Some(seen) = lock(&upstream.book).seen.get_mut(number) {
        seen.status = response.status().as_u16();
    }
    response
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

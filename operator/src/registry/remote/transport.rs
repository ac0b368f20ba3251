//! One request on the wire: the policy on addresses, the limits of time and bytes, and nothing of auth.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use reqwest::{
    Body, Client, Method, RequestBuilder, Response,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue},
    redirect,
};
use rustls::crypto::{CryptoProvider, ring};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use url::Url;

use super::{
    Observation, Options,
    address::{Guarded, Policy},
    failure::Failure,
    limits::{Limits, Pace},
    redirect::authority,
};

/// The HTTP client: connections are kept and shared, nothing else is.
pub(super) struct Transport {
    client: Client,
    policy: Policy,
    limits: Limits,
    observe: Arc<dyn Fn(&Observation) + Send + Sync>,
}

/// One request to one host.
pub(super) struct Hop<'a> {
    /// On whose behalf, as the user names it.
    pub(super) registry: &'a str,
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// How much of a body was handed to the connection.
#[derive(Default)]
struct Progress {
    handed: AtomicU64,
    moved: Notify,
}

/// What is handed to the connection at once.
const CHUNK: usize = 64 << 10;

impl Transport {
    pub(super) fn new(options: Options) -> reqwest::Result<Self> {
        // main installs the provider; without one reqwest panics, so other callers get the same.
        if CryptoProvider::get_default().is_none() {
            let _ = ring::default_provider().install_default();
        }
        let Options { allow_loopback, limits, observe, user_agent, resolve, .. } = options;
        let policy = Policy { allow_loopback };
        let headers =
            HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(user_agent)
            .connect_timeout(limits.connect)
            .redirect(redirect::Policy::none())
            .referer(false)
            // Through a proxy the policy on addresses would see the proxy's alone.
            .no_proxy()
            .dns_resolver(Guarded { policy, resolve })
            .http2_max_header_list_size(u32::try_from(limits.headers).unwrap_or(u32::MAX))
            .build()?;
        Ok(Self { client, policy, limits, observe })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sends one request and waits for the headers of its answer.
    pub(super) async fn send(&self, hop: Hop<'_>) -> Result<Response, Failure> {
        self.policy.check_url(hop.url).map_err(Failure::Forbidden)?;
        let mut request =
            self.client.request(hop.method.clone(), hop.url.clone()).headers(hop.headers);
        let (mut total, progress) = (0, Arc::<Progress>::default());
        if let Some(body) = hop.body {
            total = body.len() as u64;
            request = request.header(CONTENT_LENGTH, total).body(progress.watch(body));
        }
        let started = Instant::now();
        let outcome = self.answer(request, total, &progress).await;
        let elapsed = started.elapsed();
        let status = outcome.as_ref().ok().map(|response| response.status().as_u16());
        let (registry, host, method) = (hop.registry, authority(hop.url), name(hop.method));
        tracing::debug!(registry, host, method, status, ?elapsed, "asked a registry");
        (self.observe)(&Observation { registry: registry.into(), host, method, status, elapsed });

        let response = outcome?;
        let headers = response.headers();
        let size: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size as u64 > self.limits.headers {
            return Err(Failure::protocol(format!(
                "more than {} bytes of headers",
                self.limits.headers
            )));
        }
        Ok(response)
    }

    /// The body of an answer, if it has at most `limit` bytes.
    pub(super) async fn read(&self, mut response: Response, limit: u64) -> Result<Bytes, Failure> {
        if let Some(received) = response.content_length().filter(|length| *length > limit) {
            return Err(Failure::TooLarge { limit, received });
        }
        let mut body = BytesMut::new();
        let mut pace = Pace::new(&self.limits, Instant::now());
        loop {
            if let Some(limit) = pace.stalled(Instant::now()) {
                return Err(Failure::TooSlow(limit));
            }
            let Ok(chunk) = timeout_at(pace.deadline(), response.chunk()).await else { continue };
            let Some(chunk) = chunk.map_err(|error| Failure::of(error, &self.limits))? else {
                return Ok(body.freeze());
            };
            let received = (body.len() + chunk.len()) as u64;
            if received > limit {
                return Err(Failure::TooLarge { limit, received });
            }
            body.extend_from_slice(&chunk);
            pace.moved(chunk.len() as u64, Instant::now());
        }
    }

    /// Waits for the answer: for as long as the request's body moves, and then for the first byte.
    async fn answer(
        &self,
        request: RequestBuilder,
        total: u64,
        progress: &Progress,
    ) -> Result<Response, Failure> {
        let mut sending = std::pin::pin!(request.send());
        let mut pace = Pace::new(&self.limits, Instant::now());
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let writing = seen < total;
            let deadline = if writing { pace.deadline() } else { since + self.limits.first_byte };
            tokio::select! {
                biased;
                outcome = &mut sending => {
                    return outcome.map_err(|error| Failure::of(error, &self.limits));
                }
                () = progress.moved.notified(), if writing => {
                    let handed = progress.handed.load(Ordering::Relaxed);
                    since = Instant::now();
                    pace.moved(handed - seen, since);
                    seen = handed;
                }
                () = sleep_until(deadline) => {
                    if !writing {
                        let limit = format!("no answer within {:?}", self.limits.first_byte);
                        return Err(Failure::TooSlow(limit));
                    }
                }
            }
            if writing && let Some(limit) = pace.stalled(Instant::now()) {
                return Err(Failure::TooSlow(limit));
            }
        }
    }
}

impl Progress {
    /// `body` in chunks, counted as the connection takes them.
    fn watch(self: &Arc<Self>, body: Bytes) -> Body {
        let progress = Arc::clone(self);
        let starts = (0..body.len()).step_by(CHUNK);
        let chunks = starts.map(move |start| body.slice(start..body.len().min(start + CHUNK)));
        Body::wrap_stream(stream::iter(chunks).map(move |chunk| {
            progress.handed.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            progress.moved.notify_one();
            Ok::<_, Infallible>(chunk)
        }))
    }
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        _ => "GET",
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

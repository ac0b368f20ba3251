//! One request on the wire: the policy on addresses, the limits of time and bytes, and nothing of auth.

use std::{
    collections::HashSet,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use reqwest::{
    Client, Method, Response,
    header::{CONTENT_LENGTH, HeaderMap},
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, warn};
use url::Url;

use super::{
    Observation, Options, Proxies, SetupError,
    address::{Guarded, Policy},
    body::{Handed, Payload},
    budget::{Asker, Budgets, Kind, Slot},
    clients::Clients,
    failure::{Failure, NO_ANSWER, Way},
    limits::{Limits, Pace},
    redirect::authority,
};
use crate::{
    oci::reference::canonical_host,
    registry::{Access, Fence, tls::Tls},
};

/// The HTTP clients: connections are kept, and shared among those who trust and show the same
/// certificates; nothing else is.
pub(super) struct Transport {
    clients: Clients,
    budgets: Arc<Budgets>,
    proxies: Proxies,
    policy: Policy,
    /// Hosts that the admin has named.
    named: HashSet<String>,
    /// Whether of those alone it is told how they failed.
    reticent: bool,
    limits: Limits,
    observe: Arc<dyn Fn(&Observation) + Send + Sync>,
    observe_token: Arc<dyn Fn(bool) + Send + Sync>,
}

/// One request to one host.
pub(super) struct Hop<'a> {
    /// On whose behalf, as the user names it.
    pub(super) registry: &'a str,
    /// Whose budget it is.
    pub(super) asker: Asker,
    pub(super) kind: Kind,
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    /// What the object has for the host of `url`.
    pub(super) tls: Option<&'a Tls>,
    pub(super) headers: HeaderMap,
    pub(super) body: Payload,
    /// Bytes that the registry has to check before it answers, beside those of the body.
    pub(super) behind: u64,
    /// It is sent only while this is open.
    pub(super) fence: Option<&'a Fence>,
}

/// A request that may be sent now.
pub(super) struct Turn<'a> {
    hop: Hop<'a>,
    slot: Slot,
    client: Client,
}

/// An answer, and the place among the requests to its host that it keeps until its body was read.
pub(super) struct Reply {
    response: Response,
    slot: Option<Slot>,
}

impl Reply {
    /// Lets others ask while this is kept.
    pub(super) fn release(&mut self) {
        self.slot = None;
    }
}

impl Deref for Reply {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

impl DerefMut for Reply {
    fn deref_mut(&mut self) -> &mut Response {
        &mut self.response
    }
}

impl Transport {
    pub(super) fn new(options: Options) -> Result<Self, SetupError> {
        let policy = Policy { allow_loopback: options.allow_loopback };
        let resolve = Arc::clone(&options.resolve);
        let resolver = Guarded { policy, resolve, proxies: options.proxies.clone() };
        let clients = Clients::new(&options, resolver)?;
        let Options { allowed, reticent, limits, observe, observe_token, proxies, .. } = options;
        let named = allowed.iter().map(|prefix| prefix.host().to_owned()).collect();
        let budgets = Arc::new(Budgets::new(&limits));
        Ok(Self {
            clients,
            budgets,
            proxies,
            policy,
            named,
            reticent,
            limits,
            observe,
            observe_token,
        })
    }

    /// A place for all that the upload of one blob to the host of `url` takes.
    pub(super) async fn place(
        &self,
        asker: Asker,
        (url, tls): (&Url, Option<&Tls>),
    ) -> Result<Slot, Failure> {
        let entered = self.budgets.enter(asker, (url, tls), Kind::Upload).await;
        entered.map_err(|failure| self.withheld(url, failure))
    }

    /// A token was kept, or is to be fetched.
    pub(super) fn observe_token(&self, kept: bool) {
        (self.observe_token)(kept);
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sends one request, when its turn has come, and waits for the headers of its answer.
    pub(super) async fn send(&self, hop: Hop<'_>) -> Result<Reply, Failure> {
        let turn = self.turn(hop).await?;
        self.send_now(turn).await
    }

    /// Waits until `hop` may be sent. Until then nothing was.
    pub(super) async fn turn<'a>(&self, hop: Hop<'a>) -> Result<Turn<'a>, Failure> {
        self.policy.check_url(hop.url).map_err(Failure::Forbidden)?;
        let entered = self.budgets.enter(hop.asker, (hop.url, hop.tls), hop.kind).await;
        let slot = entered.map_err(|failure| self.withheld(hop.url, failure))?;
        let client = self.clients.get(hop.tls).await.map_err(|error| {
            Failure::of(error, &self.limits, self.way(&hop, &authority(hop.url)))
        })?;
        // Last: what it was before a wait, it may not be after it.
        if let Some(fence) = hop.fence {
            fence.open().await;
        }
        Ok(Turn { hop, slot, client })
    }

    fn way<'a>(&self, hop: &Hop<'a>, at: &'a str) -> Way<'a> {
        Way { tls: hop.tls, at, proxied: self.proxies.has_one_for(hop.url) }
    }

    /// Sends the request whose turn it is, and waits for the headers of its answer.
    pub(super) async fn send_now(&self, turn: Turn<'_>) -> Result<Reply, Failure> {
        let Turn { hop, mut slot, client } = turn;
        let host = authority(hop.url);
        let way = self.way(&hop, &host);
        let mut request = client.request(hop.method.clone(), hop.url.clone()).headers(hop.headers);
        let (mut total, handed) = (0, Arc::<Handed>::default());
        if let Some((length, body)) = hop.body.watched(&handed, hop.fence) {
            total = length;
            request = request.header(CONTENT_LENGTH, total).body(body);
        }
        let started = Instant::now();
        let patience = self.limits.answer(total + hop.behind);
        let sending = request.send();
        let outcome = match hop.fence {
            // A connection may have to be made first, which takes its time.
            Some(fence) => self.answer(fence.during(sending), total, patience, &handed, way).await,
            None => self.answer(sending, total, patience, &handed, way).await,
        };
        let elapsed = started.elapsed();
        let status = outcome.as_ref().ok().map(|response| response.status().as_u16());
        let left = match &outcome {
            Ok(response) => slot.answered(response.status().as_u16(), response.headers()),
            Err(failure) => {
                slot.failed(failure);
                None
            }
        };
        let (registry, method) = (hop.registry, name(hop.method));
        debug!(registry, host, method, status, ?elapsed, "asked a registry");
        let (registry, host) = (registry.into(), host.clone());
        (self.observe)(&Observation { registry, host, method, status, elapsed, left });

        let response =
            outcome.map_err(|failure| self.reticent(hop.registry, hop.url, way, total, failure))?;
        let headers = response.headers();
        let size: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size as u64 > self.limits.headers {
            return Err(Failure::protocol(format!(
                "more than {} bytes of headers",
                self.limits.headers
            )));
        }
        Ok(Reply { response, slot: Some(slot) })
    }

    /// What is told of a failure: everything of a host that the admin has named, and of others that it failed. Who was
    /// let write `sent` bytes is known to be there.
    fn reticent(
        &self,
        registry: &str,
        url: &Url,
        way: Way<'_>,
        sent: u64,
        failure: Failure,
    ) -> Failure {
        if self.is_named(url) || matches!((&failure, sent), (Failure::TooSlow(_), 1..)) {
            return failure;
        }
        warn!(registry, host = way.at, why = failure.words(way.tls), "failed to reach a host");
        failure.without_detail()
    }

    /// The same of what was not sent, which the log need not have each time.
    fn withheld(&self, url: &Url, failure: Failure) -> Failure {
        if self.is_named(url) { failure } else { failure.without_detail() }
    }

    fn is_named(&self, url: &Url) -> bool {
        !self.reticent
            || canonical_host(&authority(url)).is_ok_and(|host| self.named.contains(&host))
    }

    /// The body of an answer, if it has at most `limit` bytes.
    pub(super) async fn read(&self, mut response: Reply, limit: u64) -> Result<Bytes, Failure> {
        if let Some(received) = response.content_length().filter(|length| *length > limit) {
            return Err(Failure::TooLarge { limit, received });
        }
        let mut body = BytesMut::new();
        let mut pace = Pace::new(&self.limits, Instant::now());
        while let Some(chunk) = next(&mut response, &mut pace, &self.limits).await? {
            let received = (body.len() + chunk.len()) as u64;
            if received > limit {
                return Err(Failure::TooLarge { limit, received });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The body of an answer as it comes, without a place: how many come at once is bounded by the uploads that take
    /// them. Only the time in which somebody waits for it counts.
    pub(super) fn chunks(
        &self,
        Reply { response, .. }: Reply,
    ) -> impl Stream<Item = Result<Bytes, Failure>> + Send + 'static {
        let limits = self.limits.clone();
        let now = Instant::now();
        let state = (response, Pace::new(&limits, now), now, limits);
        stream::try_unfold(state, |(mut response, mut pace, parked, limits)| async move {
            pace.paused(parked.elapsed());
            let chunk = next(&mut response, &mut pace, &limits).await?;
            Ok(chunk.map(|chunk| (chunk, (response, pace, Instant::now(), limits))))
        })
    }

    /// Waits for the answer: for as long as the request's body moves, and then for the first byte.
    async fn answer(
        &self,
        sending: impl Future<Output = reqwest::Result<Response>>,
        total: u64,
        patience: Duration,
        handed: &Handed,
        way: Way<'_>,
    ) -> Result<Response, Failure> {
        let mut sending = std::pin::pin!(sending);
        let mut pace = Pace::new(&self.limits, Instant::now());
        let (mut seen, mut starved, mut since) = (0, Duration::ZERO, Instant::now());
        loop {
            let writing = seen < total;
            let deadline = if writing { pace.deadline() } else { since + patience };
            tokio::select! {
                biased;
                outcome = &mut sending => {
                    return outcome.map_err(|error| Failure::of(error, &self.limits, way));
                }
                () = handed.moved.notified(), if writing => {
                    since = Instant::now();
                    pace.moved(handed.bytes() - seen, since);
                    seen = handed.bytes();
                }
                () = sleep_until(deadline) => {
                    if !writing {
                        return Err(Failure::TooSlow(format!("{NO_ANSWER} within {patience:?}")));
                    }
                }
            }
            if writing {
                // That there was nothing to take is not the connection's fault.
                let now = Instant::now();
                let waited = handed.starved(now);
                pace.paused(waited.saturating_sub(starved));
                starved = waited;
                if let Some(limit) = pace.stalled(now) {
                    return Err(Failure::TooSlow(limit));
                }
            }
        }
    }
}

/// The next bytes of a body, `None` after the last ones.
async fn next(
    response: &mut Response,
    pace: &mut Pace,
    limits: &Limits,
) -> Result<Option<Bytes>, Failure> {
    loop {
        if let Some(limit) = pace.stalled(Instant::now()) {
            return Err(Failure::TooSlow(limit));
        }
        let Ok(chunk) = timeout_at(pace.deadline(), response.chunk()).await else { continue };
        let chunk = chunk.map_err(|error| Failure::of(error, limits, Way::default()))?;
        if let Some(chunk) = &chunk {
            pace.moved(chunk.len() as u64, Instant::now());
        }
        return Ok(chunk);
    }
}

/// What `access` has for the host of `url`.
pub(super) fn tls_for<'a>(access: &'a Access, url: &Url) -> Option<&'a Arc<Tls>> {
    let is_tls = url.scheme() == "https";
    is_tls.then(|| access.certificates.for_host(&authority(url))).flatten()
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
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

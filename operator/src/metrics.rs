//! The metrics: counted where things happen, gauged from the watched objects when they are scraped.

mod coverage;
mod gauges;
mod text;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use multiarch_crds::condition::Reason;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use self::gauges::Lists;
pub use self::{
    coverage::{CoverageGauges, MapWrite},
    gauges::{ObjectGauges, SetGauges},
};
use crate::registry::shared::{Of, Use};

/// How many registries have label values of their own: a host is tenant input, so its values are
/// bounded, and later ones are counted together.
const REGISTRIES: usize = 64;
/// What those are counted under.
const OTHER: &str = "other";

/// What was known, or kept.
const HIT: &str = "hit";
/// What was not.
const MISS: &str = "miss";

/// The metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runs: Histogram,
    pushes: Family<ResultLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_durations: Family<HostLabels, Histogram, fn() -> Histogram>,
    bytes: Counter,
    tokens: Family<ResultLabels, Counter>,
    provider_requests: Family<ProviderLabels, Counter>,
    leader: Family<LeaseLabels, Gauge>,
    waiting: Gauge,
    left: Family<HostLabels, Gauge>,
    shared: Family<SharedLabels, Counter>,
    cache: Gauge,
    hosts: Mutex<HashSet<String>>,
    coverage: coverage::Shown,
    lists: Arc<Lists>,
}

/// How the metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4, for scrapers that do not ask for `OpenMetrics`.
    Text,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    registry: String,
    method: String,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HostLabels {
    registry: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LeaseLabels {
    lease: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SharedLabels {
    of: &'static str,
    result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics with nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("multiarch");
        let runs = Histogram::new(exponential_buckets(0.01, 2.0, 16));
        let help = "Time of one run over one object, from its start to its status";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, runs.clone());
        let pushes = Family::<ResultLabels, Counter>::default();
        registry.register("index_pushes", "Indexes pushed, by result", pushes.clone());
        let requests = Family::<RequestLabels, Counter>::default();
        let help = "Requests to registries, by answer; code 0 is no answer";
        registry.register("registry_requests", help, requests.clone());
        let request_durations =
            Family::<HostLabels, Histogram, fn() -> Histogram>::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.005, 2.0, 14))
            });
        let help = "Time of requests to registries, to the head of the answer";
        registry.register_with_unit(
            "registry_request_duration",
            help,
            Unit::Seconds,
            request_durations.clone(),
        );
        let bytes = Counter::default();
        let help = "Bytes of blobs sent to targets";
        registry.register_with_unit("copied", help, Unit::Bytes, bytes.clone());
        let tokens = Family::<ResultLabels, Counter>::default();
        let help = "Tokens of registries, by whether one was kept (hit) or was fetched (miss)";
        registry.register("token_cache_requests", help, tokens.clone());
        let provider_requests = Family::<ProviderLabels, Counter>::default();
        let help = "Runs of credential provider plugins, by result";
        registry.register("credential_provider_requests", help, provider_requests.clone());
        let leader = Family::<LeaseLabels, Gauge>::default();
        let help = "Whether this process holds the Lease, and works: 1 or 0";
        registry.register("leader", help, leader.clone());
        let waiting = Gauge::default();
        let help = "Objects that are due, and wait for one of --concurrent workers";
        registry.register("workqueue_depth", help, waiting.clone());
        let left = Family::<HostLabels, Gauge>::default();
        let help = "What registries last said is left of a limit on requests, whoever asked";
        registry.register("registry_ratelimit_remaining", help, left.clone());
        let shared = Family::<SharedLabels, Counter>::default();
        let help = "Questions to registries, by whether their answer was known (hit) or not (miss)";
        registry.register("shared_requests", help, shared.clone());
        let cache = Gauge::default();
        let help = "Bytes of manifests and configs that are kept, of --cache-mib";
        registry.register_with_unit("shared_cache", help, Unit::Bytes, cache.clone());
        // From the start, since nobody sees the rate of a series that begins with what it counts.
        for result in ["success", Reason::PushFailed.as_str(), Reason::ReadBackMismatch.as_str()] {
            drop(pushes.get_or_create(&ResultLabels { result }));
        }
        for result in [HIT, MISS] {
            drop(tokens.get_or_create(&ResultLabels { result }));
            for of in [Of::Reference, Of::Manifest, Of::Config].map(name) {
                drop(shared.get_or_create(&SharedLabels { of, result }));
            }
        }
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", build);
        let lists = Arc::new(Lists::default());
        registry.register_collector(Box::new(gauges::AtScrape(Arc::clone(&lists))));
        let coverage = coverage::Shown::default();
        registry.register_collector(Box::new(coverage.clone()));
        Self {
            registry,
            runs,
            pushes,
            requests,
            request_durations,
            bytes,
            tokens,
            provider_requests,
            leader,
            waiting,
            left,
            shared,
            cache,
            hosts: Mutex::default(),
            coverage,
            lists,
        }
    }

    /// From now on, the per-object gauges show what `list` gives: a deleted object's vanish.
    pub fn gauge_objects(&self, list: impl Fn() -> Vec<ObjectGauges> + Send + Sync + 'static) {
        // A second call has no effect: there is one watch in the process.
        let _ = self.lists.objects.set(Box::new(list));
    }

    /// From now on, a gauge shows how many nodes each platform has, as `list` gives them.
    pub fn gauge_nodes(&self, list: impl Fn() -> Vec<(String, usize)> + Send + Sync + 'static) {
        // The same.
        let _ = self.lists.nodes.set(Box::new(list));
    }

    /// From now on, gauges show how many images of each set are what, as `list` gives them.
    pub fn gauge_sets(&self, list: impl Fn() -> Vec<SetGauges> + Send + Sync + 'static) {
        // The same.
        let _ = self.lists.sets.set(Box::new(list));
    }

    /// This process holds the Lease called `lease`, or does not.
    pub fn leads(&self, lease: &str, leads: bool) {
        let labels = LeaseLabels { lease: lease.to_owned() };
        self.leader.get_or_create(&labels).set(i64::from(leads));
    }

    /// The coverage maps are so, where this process writes them; `None` where it does not, and shows nothing of them.
    pub fn show_coverage(&self, gauges: Option<CoverageGauges>) {
        self.coverage.show(gauges);
    }

    /// A coverage map was written, or was not.
    pub fn wrote_map(&self, result: MapWrite) {
        self.coverage.wrote(result);
    }

    /// So many objects wait for a worker.
    pub fn wait(&self, objects: usize) {
        self.waiting.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// A run over an object took `elapsed`.
    pub fn ran(&self, elapsed: Duration) {
        self.runs.observe(elapsed.as_secs_f64());
    }

    /// An index was pushed: `success`, or the reason why not.
    pub fn pushed(&self, result: &'static str) {
        self.pushes.get_or_create(&ResultLabels { result }).inc();
    }

    /// A registry was asked; `code` is `None` where no answer came.
    pub fn requested(&self, host: &str, method: &str, code: Option<u16>, elapsed: Duration) {
        let registry = self.bounded(host);
        let (method, code) = (method.to_owned(), code.map_or_else(|| "0".into(), bounded_code));
        let labels = RequestLabels { registry: registry.clone(), method, code };
        self.requests.get_or_create(&labels).inc();
        let durations = self.request_durations.get_or_create(&HostLabels { registry });
        durations.observe(elapsed.as_secs_f64());
    }

    /// So many bytes more of blobs were sent.
    pub fn sent(&self, bytes: u64) {
        self.bytes.inc_by(bytes);
    }

    /// A token was kept, or not.
    pub fn token(&self, kept: bool) {
        self.tokens.get_or_create(&ResultLabels { result: result(kept) }).inc();
    }

    /// A registry said that so much is left of a limit on requests.
    pub fn left(&self, host: &str, remaining: u64) {
        let registry = self.bounded(host);
        // Of several the last word would be nobody's.
        if registry != OTHER {
            let remaining = i64::try_from(remaining).unwrap_or(i64::MAX);
            self.left.get_or_create(&HostLabels { registry }).set(remaining);
        }
    }

    /// A registry was to be asked for what may have been known.
    pub fn shared(&self, asked: &Use) {
        let labels = SharedLabels { of: name(asked.of), result: result(asked.hit) };
        self.shared.get_or_create(&labels).inc();
        self.cache.set(i64::try_from(asked.kept).unwrap_or(i64::MAX));
    }

    /// A credential provider of the admin's config was asked: `success`, or why it gave none.
    pub fn asked_provider(&self, provider: &str, result: &'static str) {
        let labels = ProviderLabels { provider: provider.into(), result };
        self.provider_requests.get_or_create(&labels).inc();
    }

    /// All metrics, in `format`.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("failed to write the metrics into a string");
        }
        match format {
            Format::OpenMetrics => text,
            Format::Text => text::of_open(&text),
        }
    }

    fn bounded(&self, host: &str) -> String {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.contains(host) || (hosts.len() < REGISTRIES && hosts.insert(host.to_owned())) {
            host.to_owned()
        } else {
            OTHER.to_owned()
        }
    }
}

fn result(hit: bool) -> &'static str {
    if hit { HIT } else { MISS }
}

fn name(of: Of) -> &'static str {
    match of {
        Of::Reference => "reference",
        Of::Manifest => "manifest",
        Of::Config => "config",
    }
}

/// A status is a registry's to choose: one that has no name is counted by its class.
fn bounded_code(code: u16) -> String {
    let named = StatusCode::from_u16(code).is_ok_and(|code| code.canonical_reason().is_some());
    if named { code.to_string() } else { format!("{}xx", code / 100) }
}

impl Format {
    /// The format that a request with this `Accept` gets.
    #[must_use]
    pub fn accepted_by(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// Its `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectGauges {
        let (namespace, name) = ("team-a".into(), name.into());
        ObjectGauges { namespace, name, ready: 1, published: -1, missing: 2, nodes_missing: None }
    }

    #[test]
    fn shows_the_objects_that_there_are_now() {
        let metrics = Metrics::new();
        let objects = Arc::new(Mutex::new(vec![object("app"), object("gone")]));
        let listed = Arc::clone(&objects);
        metrics.gauge_objects(move || listed.lock().unwrap().clone());
        let line = r#"multiarch_resource_published{namespace="team-a",name="gone"} -1"#;
        assert!(metrics.render(Format::OpenMetrics).contains(line));
        objects.lock().unwrap().pop();
        let text = metrics.render(Format::OpenMetrics);
        assert!(
            !text.contains(line) && text.contains(r#"_ready{namespace="team-a",name="app"} 1"#)
        );
    }

    #[test]
    fn tells_who_leads() {
        let metrics = Metrics::new();
        let has = |line: &str| metrics.render(Format::Text).contains(line);
        assert!(!has("multiarch_leader{"), "without an election there is no leader");
        for leads in [false, true, false] {
            metrics.leads("multiarch-operator", leads);
            let value = u8::from(leads);
            assert!(has(&format!("multiarch_leader{{lease=\"multiarch-operator\"}} {value}\n")));
        }
    }

    #[test]
    fn writes_text_for_scrapers_that_ask_for_nothing_else() {
        let metrics = Metrics::new();
        metrics.pushed("success");
        metrics.ran(Duration::from_millis(20));
        let text = metrics.render(Format::accepted_by("*/*"));
        assert!(text.contains("# TYPE multiarch_index_pushes_total counter\n"), "{text}");
        assert!(text.contains("multiarch_index_pushes_total{result=\"success\"} 1\n"), "{text}");
        assert!(text.contains("# TYPE multiarch_build_info gauge\n"), "{text}");
        assert!(text.contains("# TYPE multiarch_reconcile_duration_seconds histogram\n"), "{text}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        let open =
            metrics.render(Format::accepted_by("application/openmetrics-text;version=1.0.0"));
        assert!(open.ends_with("# EOF\n"), "{open}");
    }

    #[test]
    fn bounds_the_codes_that_a_registry_can_answer_with() {
        let metrics = Metrics::new();
        for code in 100..1000 {
            metrics.requested("r.example.com", "HEAD", Some(code), Duration::ZERO);
        }
        metrics.requested("r.example.com", "HEAD", None, Duration::ZERO);
        let text = metrics.render(Format::OpenMetrics);
        let series = text.lines().filter(|line| line.contains("registry_requests_total{")).count();
        assert!(series < 80, "{series} series of one registry and method");
        for code in ["0", "200", "429", "503", "5xx", "9xx"] {
            assert!(text.contains(&format!(r#"code="{code}"}}"#)), "{text}");
        }
    }

    #[test]
    fn counts_bytes_and_tokens() {
        let metrics = Metrics::new();
        for bytes in [0, 700, 300] {
            metrics.sent(bytes);
        }
        for kept in [false, true, true] {
            metrics.token(kept);
        }
        let text = metrics.render(Format::Text);
        for line in [
            "multiarch_copied_bytes_total 1000\n",
            "multiarch_token_cache_requests_total{result=\"hit\"} 2\n",
            "multiarch_token_cache_requests_total{result=\"miss\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    /// `rate` and `increase` need a value before the first one that counts.
    #[test]
    fn counts_from_zero() {
        let text = Metrics::new().render(Format::Text);
        for line in [
            r#"multiarch_index_pushes_total{result="success"} 0"#,
            r#"multiarch_index_pushes_total{result="PushFailed"} 0"#,
            r#"multiarch_index_pushes_total{result="ReadBackMismatch"} 0"#,
            r#"multiarch_token_cache_requests_total{result="hit"} 0"#,
            r#"multiarch_shared_requests_total{of="config",result="hit"} 0"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn counts_what_was_known() {
        let metrics = Metrics::new();
        metrics.shared(&Use { of: Of::Manifest, hit: false, kept: 0 });
        metrics.shared(&Use { of: Of::Manifest, hit: true, kept: 700 });
        let text = metrics.render(Format::Text);
        for line in [
            r#"multiarch_shared_requests_total{of="manifest",result="hit"} 1"#,
            r#"multiarch_shared_requests_total{of="manifest",result="miss"} 1"#,
            "multiarch_shared_cache_bytes 700",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn bounds_the_registries_that_tenants_can_name() {
        let metrics = Metrics::new();
        for n in 0..100 {
            metrics.requested(&format!("r{n}.example.com"), "HEAD", Some(200), Duration::ZERO);
        }
        let text = metrics.render(Format::OpenMetrics);
        let other =
            r#"multiarch_registry_requests_total{registry="other",method="HEAD",code="200"} 36"#;
        assert!(text.contains(other), "{text}");
    }

    #[test]
    fn shows_what_is_left_of_a_limit() {
        let metrics = Metrics::new();
        metrics.left("docker.io", 76);
        metrics.left("docker.io", 75);
        for n in 0..100 {
            metrics.left(&format!("r{n}.example.com"), u64::MAX);
        }
        let text = metrics.render(Format::Text);
        let line = r#"multiarch_registry_ratelimit_remaining{registry="docker.io"} 75"#;
        assert!(text.contains(line) && !text.contains(OTHER), "{text}");
    }
}

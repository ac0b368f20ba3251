//! The controller with a real plugin and a registry that lets in whom that gives: two namespaces, of which one is listed; what ends,
//! changes and fails; and nothing of it in any output.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "controller/api.rs"]
mod api;
#[path = "providers/plugin.rs"]
mod plugin;

use std::{
    io,
    num::NonZeroU16,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use kube::Client;
use multiarch_operator::{
    admin::Admin,
    controller::{self, Options},
    keychain::providers::Providers,
    leader::Term,
    metrics::{Format, Metrics},
    registry::memory::Store,
    shutdown::Shutdown,
};
use plugin::{Plugin, answer, answer_for};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tracing_subscriber::fmt::MakeWriter;

use crate::api::Api;

const USER: &str = "AWS";
const PASSWORD: &str = "hunter2-of-the-cloud";

/// What all tests of this file have logged, at its finest.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    log
});

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The controller at work, over a registry for who has the plugin's password.
struct Running {
    api: Api,
    store: Store,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    done: JoinHandle<()>,
}

impl Running {
    async fn start(plugin: &Plugin, allow: &[(&str, &str)]) -> Self {
        let api = Api::new();
        let client = api.client().await;
        Self::start_by(api, client, plugin, allow)
    }

    fn start_by(api: Api, client: Client, plugin: &Plugin, allow: &[(&str, &str)]) -> Self {
        LazyLock::force(&LOG);
        let store = Store::new();
        store.require_login(USER, PASSWORD);
        let allow = allow.iter().map(|(to, prefix)| ((*to).to_owned(), prefix.parse().unwrap()));
        let images = json!({"matchImages": ["*.example", "*.*.*"]});
        let metrics = Arc::new(Metrics::new());
        let observed = Arc::clone(&metrics);
        let providers = Providers::new(vec![plugin.provider(&images)], allow.collect());
        let providers = providers
            .observed_by(Arc::new(move |name, result| observed.asked_provider(name, result)));
        let options = Options {
            namespaces: Vec::new(),
            selector: None,
            spread: Duration::ZERO,
            node_platforms: false,
            sets: false,
            shelf: Arc::default(),
            allowed: Vec::new(),
            providers: Arc::new(providers),
            concurrent: NonZeroU16::MIN,
        };
        let shutdown = Shutdown::default();
        let admin = Admin::new(Arc::clone(&metrics));
        let observed = Arc::clone(&metrics);
        let term = Term::alone(&shutdown);
        let run = controller::run(client, store.clone(), options, observed, admin, term);
        Self { api, store, metrics, shutdown, done: tokio::spawn(run) }
    }

    /// Applies an object and waits until it has a status; then its Ready, as `True/Succeeded`, and the message.
    async fn apply(&self, object: Value) -> (String, String) {
        let meta = &object["metadata"];
        let (namespace, name) =
            (meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap());
        let (key, generation) = (format!("{namespace}/{name}"), meta["generation"].clone());
        self.api.apply(object);
        let at = key.clone();
        let reported =
            move |api: &Api| api.object(&at)["status"]["observedGeneration"] == generation;
        self.api.until("a status", reported).await;
        let object = self.api.object(&key);
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
        let word = |field: &str| ready[field].as_str().unwrap().to_owned();
        (format!("{}/{}", word("status"), word("reason")), word("message"))
    }

    fn is_stalled(&self, key: &str) -> bool {
        self.api.object(key)["status"]["conditions"].to_string().contains("Stalled")
    }

    /// Ends it, and shows all that anybody may see of it.
    async fn stop(self) -> String {
        self.shutdown.stop.cancel();
        self.done.await.unwrap();
        let asked = self.api.asked();
        let asked = asked.iter().map(|seen| format!("{} {} {}", seen.path, seen.query, seen.body));
        let asked: Vec<_> = asked.collect();
        format!("{}\n{}", asked.join("\n"), self.metrics.render(Format::accepted_by("")))
    }
}

/// An object that publishes `repository`:1.0 of its own images.
fn object(namespace: &str, name: &str, repository: &str) -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {"namespace": namespace, "name": name, "uid": name, "generation": 1},
        "spec": {
            "target": {"image": format!("{repository}:1.0"), "provider": "Kubelet"},
            "sources": [
                {"name": "amd64", "image": format!("{repository}:amd64")},
                {"name": "arm64", "image": format!("{repository}:arm64")},
            ],
        },
        "status": {"observedGeneration": -1},
    })
}

fn push(store: &Store, path: &str) {
    for platform in ["amd64", "arm64"] {
        store.push_image(path, platform, &format!("linux/{platform}"));
    }
}

/// The promise: not every tenant has the operator's cloud role.
#[tokio::test]
async fn of_two_namespaces_the_one_that_is_listed_has_the_operators_credential() {
    let plugin = Plugin::new("ecr", &answer("Registry", None, PASSWORD));
    let running = Running::start(&plugin, &[("team-a", "r.example/team")]).await;
    for path in ["team/app", "team/other", "team-b/app"] {
        push(&running.store, path);
    }
    // Before, and after there is a credential that could be shared.
    for round in ["first", "then"] {
        let name = |of: &str| format!("{round}-{of}");
        let refused = [
            ("team-b", name("other"), "r.example/team/other"),
            ("team-a", name("look-alike"), "r.example/team-b/app"),
            ("team-a", name("evil"), "r.example.evil.tld/team/app"),
            ("team-a-b", name("namespace"), "r.example/team/other"),
        ];
        for (namespace, name, repository) in refused {
            let (ready, message) = running.apply(object(namespace, &name, repository)).await;
            assert_eq!(ready, "False/RegistryNotAllowed", "{name}: {message}");
            let flag = format!("--credential-provider-allow {namespace}={repository}");
            assert!(message.contains(&flag), "{message}");
            assert!(running.is_stalled(&format!("{namespace}/{name}")), "{name}");
        }
        if round == "first" {
            assert!(plugin.requests().is_empty(), "nobody who is listed has asked");
            assert!(running.store.requests().is_empty(), "nothing is asked without it");
            let (ready, message) =
                running.apply(object("team-a", "app", "r.example/team/app")).await;
            assert_eq!(ready, "True/Succeeded", "{message}");
        }
    }
    assert_eq!(plugin.images(), ["r.example/team/app"]);
    assert!(running.store.requests().iter().all(|request| request.of.starts_with("team/app")));
    let shown = running.stop().await;
    let counted =
        "multiarch_credential_provider_requests_total{provider=\"ecr\",result=\"success\"} 1";
    assert!(shown.contains(counted), "{shown}");
}

/// A source that says `provider` itself, beside a target that has another credential, is told by itself.
#[tokio::test]
async fn a_source_has_a_provider_of_its_own() {
    let plugin = Plugin::new("ecr", &answer("Registry", None, PASSWORD));
    let running = Running::start(&plugin, &[("team-a", "r.example/base")]).await;
    push(&running.store, "base/app");
    let mut app = object("team-a", "app", "r.example/base/app");
    app["spec"]["target"] = json!({"image": "r.example/team/app:1.0"});
    app["spec"]["sources"][0]["provider"] = json!("Kubelet");
    let (ready, message) = running.apply(app.clone()).await;
    // The target is pushed by nobody, and the other source read by nobody.
    assert_eq!(ready, "False/AuthenticationFailed", "{message}");
    let states = |running: &Running, key: &str| {
        let object = running.api.object(key);
        let sources = object["status"]["sources"].as_array().unwrap().clone();
        sources
            .iter()
            .map(|source| source["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&running, "team-a/app"), ["Resolved", "Unauthorized"]);
    app["metadata"] = json!({"namespace": "team-b", "name": "app", "uid": "b", "generation": 1});
    app["spec"]["sources"][1]["optional"] = json!(true);
    let (ready, message) = running.apply(app).await;
    assert_eq!(ready, "False/RegistryNotAllowed", "{message}");
    assert_eq!(states(&running, "team-b/app"), ["Unauthorized", "Unauthorized"]);
    assert_eq!(plugin.images(), ["r.example/base/app"]);
    running.stop().await;
}

/// Beside a deleted object's target nothing is asked for.
#[tokio::test]
async fn what_deletes_the_tags_is_given_too() {
    let plugin = Plugin::new("ecr", &answer("Image", None, PASSWORD));
    let running = Running::start(&plugin, &[("team-a", "r.example")]).await;
    push(&running.store, "team/app");
    running.store.push_image("ci/app", "s390x", "linux/s390x");
    let mut deleted = object("team-a", "app", "r.example/team/app");
    deleted["spec"]["deletionPolicy"] = json!("Delete");
    let source = json!({"name": "s390x", "image": "r.example/ci/app:s390x", "provider": "Kubelet"});
    deleted["spec"]["sources"].as_array_mut().unwrap().push(source);
    assert_eq!(running.apply(deleted.clone()).await.0, "True/Succeeded");
    let both = ["r.example/ci/app", "r.example/team/app"];
    let mut images = plugin.images();
    images.sort();
    assert_eq!(images, both);
    running.stop().await;

    // The next start has nothing kept.
    let again = Running::start(&plugin, &[("team-a", "r.example")]).await;
    deleted["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    deleted["metadata"]["finalizers"] = json!(["multiarch.dev/tags"]);
    deleted["status"] = json!({"observedGeneration": 1, "tags": ["1.0"], "digest": "sha256:0"});
    again.api.apply(deleted);
    again
        .api
        .until("the end of the object", |api| {
            api.asked().iter().any(|seen| seen.method == "PATCH" && seen.path.ends_with("/app"))
        })
        .await;
    again.stop().await;
    assert_eq!(plugin.images()[2..], ["r.example/team/app"]);
}

/// A credential that ends is fetched anew, without a restart and without a word.
#[tokio::test]
async fn a_credential_that_ends_is_fetched_anew() {
    let plugin = Plugin::new("ecr", &answer("Registry", Some("0s"), PASSWORD));
    let running = Running::start(&plugin, &[("team-a", "r.example")]).await;
    push(&running.store, "team/app");
    let mut app = object("team-a", "app", "r.example/team/app");
    assert_eq!(running.apply(app.clone()).await.0, "True/Succeeded");
    running.store.require_login(USER, "the next password");
    plugin.answers(&answer("Registry", Some("0s"), "the next password"));
    app["metadata"]["generation"] = json!(2);
    app["spec"]["annotations"] = json!({"a": "b"});
    assert_eq!(running.apply(app).await.0, "True/Succeeded");
    assert_eq!(plugin.requests().len(), 2);
    running.stop().await;
}

/// A plugin that hangs may do so for a minute, and an object says for how long it is worked on.
#[tokio::test]
async fn a_plugin_has_no_longer_than_the_objects_timeout() {
    let plugin = Plugin::new("ecr", &answer("Registry", None, PASSWORD));
    plugin.does("kill -STOP $$\n");
    let api = Api::new();
    let client = api.near();
    let running = Running::start_by(api, client, &plugin, &[("team-a", "r.example")]);
    let mut app = object("team-a", "app", "r.example/team/app");
    app["spec"]["timeout"] = json!("10s");
    let started = async {
        while plugin.written("pid").is_none() {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
    };
    let ((ready, message), ()) = tokio::join!(running.apply(app), started);
    tokio::time::resume();
    assert_eq!(ready, "False/TimedOut", "{message}");
    assert!(message.ends_with("while the operator's credential providers were asked"), "{message}");
    running.stop().await;
}

#[rstest]
#[case::success("", &answer("Registry", None, PASSWORD).to_string(), "True/Succeeded", "success")]
#[case::wrong_password("", &answer("Registry", None, "hunter2-of-before").to_string(), "False/AuthenticationFailed", "success")]
#[case::another_host("", &answer_for("hunter2.example", "Registry", None, PASSWORD).to_string(), "False/AuthenticationFailed", "success")]
#[case::exits("exit 1", "", "False/AuthenticationFailed", "exited")]
#[case::garbage("", PASSWORD, "False/AuthenticationFailed", "unusable")]
#[case::too_much("while :; do echo hunter2; done", "", "False/AuthenticationFailed", "unusable")]
#[case::is_killed("kill -9 $$", "", "False/AuthenticationFailed", "killed")]
#[tokio::test]
async fn nothing_that_a_plugin_prints_is_shown(
    #[case] does: &str,
    #[case] prints: &str,
    #[case] expected: &str,
    #[case] counted: &str,
) {
    let plugin = Plugin::new("ecr", &json!({}));
    plugin.does(&format!("echo '{PASSWORD}' >&2\n{does}\n"));
    plugin.prints(prints);
    let running = Running::start(&plugin, &[("team-a", "r.example")]).await;
    push(&running.store, "team/app");
    let (ready, message) = running.apply(object("team-a", "app", "r.example/team/app")).await;
    assert_eq!(ready, expected, "{message}");
    if expected.starts_with("False") {
        assert!(message.contains("provider ecr"), "{message}");
    }
    let shown = running.stop().await;
    let metric = format!("provider=\"ecr\",result=\"{counted}\"");
    assert!(shown.contains(&metric), "no {metric} in {shown}");
    let log = LOG.text();
    assert!(
        log.contains("asked a credential provider") || log.contains("a credential provider failed")
    );
    for line in shown.lines().chain(log.lines()) {
        assert!(!line.contains("hunter2"), "{line}");
    }
}

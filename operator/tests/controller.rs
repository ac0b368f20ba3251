//! The controller between an API server of one page and a registry in memory: what it asks, what it writes, and when it is silent.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "controller/api.rs"]
mod api;

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use axum::http::StatusCode;
use multiarch_operator::{
    admin::Admin,
    controller::{self, Options, SPREAD},
    leader::Term,
    metrics::Metrics,
    registry::{memory::Store, shared::Shared},
    shutdown::Shutdown,
};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::api::Api;

/// The controller at work.
struct Running {
    shutdown: Shutdown,
    done: JoinHandle<()>,
}

/// What came of an object, as the API server sees it.
#[derive(Debug)]
enum Scenario {
    /// Nothing was written and no Event told.
    RadioSilence,
    /// One status was applied, with this status and reason of Ready.
    Applied(&'static str, &'static str),
}

async fn start(api: &Api, store: &Store) -> Running {
    start_with(api, store, &[], &[]).await
}

/// With these namespaces and registries, where there are any.
async fn start_with(api: &Api, store: &Store, namespaces: &[&str], allowed: &[&str]) -> Running {
    start_as(api, store, options(namespaces, allowed)).await
}

fn options(namespaces: &[&str], allowed: &[&str]) -> Options {
    Options {
        namespaces: namespaces.iter().map(|&namespace| namespace.into()).collect(),
        selector: None,
        allowed: allowed.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        providers: Arc::default(),
        concurrent: NonZeroU16::MIN,
        spread: Duration::ZERO,
        node_platforms: false,
        sets: false,
        shelf: Arc::default(),
    }
}

async fn start_as(api: &Api, store: &Store, options: Options) -> Running {
    let metrics = Arc::new(Metrics::new());
    let shutdown = Shutdown::default();
    let ticker = api.clone();
    store.fail(
        move |_| {
            ticker.tick();
            false
        },
        |_| unreachable!("it only ticks"),
    );
    let admin = Admin::new(metrics.clone());
    let client = api.client().await;
    let term = Term::alone(&shutdown);
    let registry = Shared::new(store.clone(), 1 << 20, Arc::new(|_| {}));
    let run = controller::run(client, registry, options, metrics, admin, term);
    Running { shutdown, done: tokio::spawn(run) }
}

impl Running {
    /// Ends it, once the runs at hand have ended.
    async fn stop(self) {
        self.shutdown.stop.cancel();
        self.done.await.unwrap();
    }
}

impl Scenario {
    #[track_caller]
    fn check(&self, api: &Api, name: &str) {
        let path = format!("/multiarchimages/{name}/status");
        let patches: Vec<_> =
            api.patches().into_iter().filter(|seen| seen.path.ends_with(&path)).collect();
        match self {
            Self::RadioSilence => {
                assert!(patches.is_empty(), "{patches:#?}");
                assert!(api.events().is_empty(), "{:?}", api.events());
            }
            Self::Applied(status, reason) => {
                let [applied] = patches.as_slice() else { panic!("{patches:#?}") };
                let ready = ready(&applied.body);
                assert_eq!(
                    (ready["status"].as_str(), ready["reason"].as_str()),
                    (Some(*status), Some(*reason)),
                    "{ready}"
                );
            }
        }
    }
}

fn ready(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == "Ready").unwrap().clone()
}

fn object(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {"namespace": namespace, "name": name, "uid": name, "generation": 1},
        "spec": {
            "target": {"image": format!("r.example/{name}:1.0")},
            "sources": [
                {"name": "amd64", "image": format!("r.example/{name}:amd64")},
                {"name": "arm64", "image": format!("r.example/{name}:arm64")},
            ],
        },
        "status": {"observedGeneration": -1},
    })
}

fn push(store: &Store, name: &str) {
    store.push_image(name, "amd64", "linux/amd64");
    store.push_image(name, "arm64", "linux/arm64");
}

/// An object with its images, run until it was reported.
async fn reported(api: &Api, store: &Store) {
    push(store, "app");
    api.apply(object("team", "app"));
    let running = start(api, store).await;
    api.until("an Event", |api| !api.events().is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn status_is_applied_by_the_one_field_manager() {
    let (api, store) = (Api::new(), Store::new());
    reported(&api, &store).await;
    Scenario::Applied("True", "Succeeded").check(&api, "app");
    let patch = &api.patches()[0];
    assert_eq!(
        patch.path,
        "/apis/multiarch.dev/v1alpha1/namespaces/team/multiarchimages/app/status"
    );
    assert_eq!(patch.content_type, "application/apply-patch+yaml");
    assert!(patch.query.contains("fieldManager=multiarch-operator"), "{}", patch.query);
    assert!(patch.query.contains("force=true"), "{}", patch.query);
    let fields: Vec<_> = patch.body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["apiVersion", "kind", "metadata", "status"]);
    // What it is at, and nothing that is applied.
    let this_one = json!({"name": "app", "uid": "app", "resourceVersion": "2"});
    assert_eq!(patch.body["metadata"], this_one);
    assert_eq!(api.events(), ["IndexPublished"]);
    // What it was about to write, one status and one Event, and nothing was asked beside them.
    assert_eq!(api.asked().len(), 3, "{:#?}", api.asked());
    let intended = api.asked()[0].body["status"].clone();
    let index = store.tagged("app", "1.0").unwrap().digest().to_string();
    let pending = json!([{"name": "1.0", "intended": format!("r.example/app@{index}")}]);
    assert_eq!(intended, json!({"observedGeneration": -1, "pendingTags": pending}));
    assert_eq!(patch.body["status"]["pendingTags"], Value::Null);
    assert_eq!(store.requests().len(), 2 * 2 + 3);
}

#[tokio::test]
async fn nothing_is_written_after_a_restart() {
    let (api, store) = (Api::new(), Store::new());
    reported(&api, &store).await;
    api.forget();
    store.forget();
    let running = start(&api, &store).await;
    let requests = store.clone();
    api.until("a look", move |_| requests.requests().len() == 3).await;
    running.stop().await;
    Scenario::RadioSilence.check(&api, "app");
    assert!(store.requests().iter().all(|request| request.method == "HEAD"));
    assert_eq!(store.requests().len(), 3);
    assert!(api.asked().is_empty(), "{:#?}", api.asked());
}

#[tokio::test]
async fn after_a_start_what_was_well_waits_for_its_turn_and_news_do_not() {
    let (api, store) = (Api::new(), Store::new());
    reported(&api, &store).await;
    api.forget();
    store.forget();
    let options = Options { spread: SPREAD, ..options(&[], &[]) };
    push(&store, "second");
    api.apply(object("team", "second"));
    let running = start_as(&api, &store, options).await;
    api.until("an Event", |api| !api.events().is_empty()).await;
    let of_app = |store: &Store| store.requests().iter().any(|r| r.of.starts_with("app"));
    assert!(!of_app(&store), "{:?}", store.requests());
    let mut asked = object("team", "app");
    asked["metadata"]["annotations"] = json!({"multiarch.dev/requestedAt": "now"});
    api.apply(asked);
    let is_answered =
        |api: &Api| api.object("team/app")["status"]["lastHandledReconcileAt"] == "now";
    api.until("an echo", is_answered).await;
    running.stop().await;
    assert!(of_app(&store));
}

#[tokio::test]
async fn who_is_asked_to_look_believes_nobody() {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    let mut second = object("team", "second");
    second["spec"]["sources"] = object("team", "app")["spec"]["sources"].clone();
    second["spec"]["target"]["image"] = json!("r.example/app:2.0");
    api.apply(object("team", "app"));
    api.apply(second.clone());
    let running = start(&api, &store).await;
    api.until("two Events", |api| api.events().len() == 2).await;
    let reads = store.requests().iter().filter(|request| request.method == "GET").count();
    assert_eq!(reads, 2 * 2 + 2, "the images and their configs once, and each tag");
    store.forget();
    second["metadata"]["annotations"] = json!({"multiarch.dev/requestedAt": "now"});
    api.apply(second);
    let is_answered =
        |api: &Api| api.object("team/second")["status"]["lastHandledReconcileAt"] == "now";
    api.until("an echo", is_answered).await;
    running.stop().await;
    let requests: Vec<_> = store.requests().iter().map(ToString::to_string).collect();
    let heads = ["amd64", "arm64", "2.0"].map(|tag| format!("HEAD manifest app:{tag}"));
    assert_eq!(requests, heads);
}

#[tokio::test]
async fn its_own_status_writes_wake_nobody() {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    push(&store, "second");
    api.apply(object("team", "app"));
    let running = start(&api, &store).await;
    api.until("an Event", |api| api.events().len() == 1).await;
    // The watch has told of the write before it tells of this one.
    api.apply(object("team", "second"));
    api.until("an Event", |api| api.events().len() == 2).await;
    // A label is no reason either; a request is.
    let mut labelled = object("team", "app");
    labelled["metadata"]["labels"] = json!({"a": "b"});
    api.apply(labelled);
    let mut asked = object("team", "second");
    asked["metadata"]["annotations"] = json!({"multiarch.dev/requestedAt": "now"});
    api.apply(asked);
    api.until("an echo", |api| {
        api.object("team/second")["status"]["lastHandledReconcileAt"] == "now"
    })
    .await;
    running.stop().await;
    Scenario::Applied("True", "Succeeded").check(&api, "app");
    let of = |name: &str| store.requests().iter().filter(|r| r.of.starts_with(name)).count();
    assert_eq!((of("app"), of("second")), (7, 7 + 3));
}

#[tokio::test]
async fn a_new_generation_is_worked_on() {
    let (api, store) = (Api::new(), Store::new());
    reported(&api, &store).await;
    api.forget();
    let mut edited = object("team", "app");
    edited["metadata"]["generation"] = json!(2);
    edited["spec"]["annotations"] = json!({"a": "b"});
    let running = start(&api, &store).await;
    api.apply(edited);
    api.until("an Event", |api| !api.events().is_empty()).await;
    running.stop().await;
    Scenario::Applied("True", "Succeeded").check(&api, "app");
    assert_eq!(api.object("team/app")["status"]["observedGeneration"], 2);
}

/// The process remembers from run to run what was looked for.
#[tokio::test]
async fn referrers_are_not_looked_for_in_every_run() {
    let (api, store) = (Api::new(), Store::new());
    store.push_image("ci", "app", "linux/amd64");
    let mut object = object("team", "app");
    object["spec"]["sources"] = json!([{"name": "ci", "image": "r.example/ci:app"}]);
    object["spec"]["referrers"] = json!("Copy");
    api.apply(object.clone());
    let running = start(&api, &store).await;
    api.until("an Event", |api| api.events().len() == 1).await;
    object["metadata"]["generation"] = json!(2);
    object["spec"]["annotations"] = json!({"a": "b"});
    api.apply(object);
    api.until("two Events", |api| api.events().len() == 2).await;
    running.stop().await;
    let lists = store.requests().into_iter().filter(|request| request.noun == "referrers");
    assert_eq!(lists.count(), 1);
}

#[rstest]
#[case::wrong_type(json!({"target": 5, "sources": []}))]
#[case::unknown_word(json!({"target": {"image": "r.example/a:1"}, "sources": [], "publishPolicy": "Sometimes"}))]
#[case::no_spec(Value::Null)]
#[case::a_word_for_terminals(json!({"target": {"image": "r.example/a:1"}, "sources": [], "publishPolicy": "\u{1b}[31m\n"}))]
#[tokio::test]
async fn an_object_that_does_not_deserialise_stops_no_other(#[case] spec: Value) {
    let (api, store) = (Api::new(), Store::new());
    let mut invalid = object("team", "aaa");
    invalid["spec"] = spec;
    api.apply(invalid);
    push(&store, "app");
    api.apply(object("team", "app"));
    let running = start(&api, &store).await;
    api.until("two Events", |api| api.events().len() == 2).await;
    // Also one that comes later.
    push(&store, "later");
    api.apply(object("team", "later"));
    api.until("three Events", |api| api.events().len() == 3).await;
    running.stop().await;
    Scenario::Applied("False", "InvalidSpec").check(&api, "aaa");
    Scenario::Applied("True", "Succeeded").check(&api, "app");
    Scenario::Applied("True", "Succeeded").check(&api, "later");
    let mut events = api.events();
    events.sort();
    assert_eq!(events, ["IndexPublished", "IndexPublished", "Stalled"]);
    let status = &api.object("team/aaa")["status"];
    assert_eq!(status["observedGeneration"], 1);
    assert!(status["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Stalled"));
    for condition in status["conditions"].as_array().unwrap() {
        let message = condition["message"].as_str().unwrap();
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }

    // It is not told again.
    api.forget();
    let running = start(&api, &store).await;
    api.until("a look", |api| api.asked().iter().any(|seen| seen.path.ends_with("/aaa"))).await;
    running.stop().await;
    Scenario::RadioSilence.check(&api, "aaa");
}

/// A spec that the types can read, and that makes no sense.
#[tokio::test]
async fn a_spec_that_cannot_be_served_is_invalid_too() {
    let (api, store) = (Api::new(), Store::new());
    let mut invalid = object("team", "app");
    invalid["spec"]["sources"][0]["platforms"] = json!(["linux"]);
    api.apply(invalid);
    let running = start(&api, &store).await;
    api.until("an Event", |api| !api.events().is_empty()).await;
    running.stop().await;
    Scenario::Applied("False", "InvalidSpec").check(&api, "app");
    let message = ready(&api.object("team/app"))["message"].as_str().unwrap().to_owned();
    assert!(message.contains("spec.sources[amd64].platforms"), "{message}");
    assert!(store.requests().is_empty());
}

fn secret(username: &str) -> Value {
    let config = json!({"auths": {"r.example": {"username": username, "password": "hunter2"}}});
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64(&config.to_string())},
    })
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

#[rstest]
#[case::right("u", "True", "Succeeded")]
#[case::wrong("someone", "False", "AuthenticationFailed")]
#[tokio::test]
async fn secrets_are_read_one_by_one_in_the_objects_namespace(
    #[case] username: &str,
    #[case] status: &'static str,
    #[case] reason: &'static str,
) {
    let (api, store) = (Api::new(), Store::new());
    store.require_login("u", "hunter2");
    push(&store, "app");
    let mut object = object("team", "app");
    object["spec"]["target"]["secretRef"] = json!({"name": "login"});
    object["spec"]["imagePullSecrets"] = json!([{"name": "login"}]);
    api.apply(object);
    api.secret("team/login", secret(username));
    api.secret("other/login", secret("u"));
    let running = start(&api, &store).await;
    api.until("an Event", |api| !api.events().is_empty()).await;
    running.stop().await;
    Scenario::Applied(status, reason).check(&api, "app");
    let reads: Vec<_> = api.asked().into_iter().filter(|seen| seen.method == "GET").collect();
    let paths: Vec<_> =
        reads.iter().map(|seen| (seen.path.as_str(), seen.query.as_str())).collect();
    assert_eq!(paths, [("/api/v1/namespaces/team/secrets/login", "")]);
    // The password is nowhere.
    assert!(!format!("{:?}", api.patches()).contains("hunter2"));
}

#[rstest]
#[case::named(Some("builder"), "True", "Succeeded", &["serviceaccounts/builder", "secrets/login"])]
#[case::default_is_not_meant(None, "False", "AuthenticationFailed", &[])]
#[case::absent(Some("gone"), "False", "SecretNotFound", &["serviceaccounts/gone"])]
#[tokio::test]
async fn a_service_account_is_read_where_it_is_named(
    #[case] name: Option<&str>,
    #[case] status: &'static str,
    #[case] reason: &'static str,
    #[case] read: &[&str],
) {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    let mut object = object("team", "app");
    object["spec"]["serviceAccountName"] = json!(name);
    api.apply(object);
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder"},
        "imagePullSecrets": [{"name": "login"}],
    });
    for named in ["team/builder", "team/default", "other/gone"] {
        api.account(named, account.clone());
    }
    api.secret("team/login", secret("u"));
    if status == "False" {
        store.require_login("u", "hunter2");
    }
    let running = start(&api, &store).await;
    api.until("a status", |api| !api.patches().is_empty()).await;
    running.stop().await;
    Scenario::Applied(status, reason).check(&api, "app");
    let gets = api.asked().into_iter().filter(|seen| seen.method == "GET");
    let paths: Vec<_> = gets.map(|seen| seen.path).collect();
    let expected = read.iter().map(|path| format!("/api/v1/namespaces/team/{path}"));
    assert_eq!(paths, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named() {
    let (api, store) = (Api::new(), Store::new());
    let mut object = object("team", "app");
    object["spec"]["target"]["secretRef"] = json!({"name": "login"});
    api.apply(object);
    api.secret("other/login", secret("u"));
    let running = start(&api, &store).await;
    api.until("a status", |api| !api.patches().is_empty()).await;
    running.stop().await;
    Scenario::Applied("False", "SecretNotFound").check(&api, "app");
    assert!(store.requests().is_empty(), "nothing is asked without it");
}

/// CVE-2025-29781 and CVE-2026-39961: operators that read for one tenant what is in another one's namespace. A
/// ServiceAccount's `imagePullSecrets` are of any text, which must not become a path.
#[rstest]
#[case::of_the_object("login", &[])]
#[case::of_an_account("builder", &["../../other/secrets/login"])]
#[case::of_an_account_encoded("builder", &["..%2f..%2fother%2fsecrets%2flogin"])]
#[case::with_a_query("builder", &["login?x=/other/"])]
#[case::of_an_account_by_slash("builder", &["other/login"])]
#[tokio::test]
async fn cve_2025_29781_nothing_of_another_namespace_is_read(
    #[case] account: &str,
    #[case] secrets: &[&str],
) {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    let mut object = object("team", "app");
    let other = json!({"name": "login", "namespace": "other"});
    if secrets.is_empty() {
        object["spec"]["target"]["secretRef"] = other.clone();
        object["spec"]["imagePullSecrets"] = json!([other]);
    } else {
        object["spec"]["serviceAccountName"] = json!(account);
    }
    api.apply(object);
    api.secret("other/login", secret("u"));
    let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder"},
        "imagePullSecrets": secrets,
    });
    api.account("team/builder", account);
    let running = start(&api, &store).await;
    api.until("a status", |api| !api.patches().is_empty()).await;
    running.stop().await;
    for seen in api.asked() {
        let path = format!("{}?{}", seen.path, seen.query);
        assert!(!path.contains("other") && !path.contains(".."), "{path}");
    }
    let ready = ready(&api.object("team/app"));
    assert_eq!(ready["status"], "False", "{ready}");
    let reason = ready["reason"].as_str().unwrap();
    assert!(["SecretNotFound", "SecretInvalid"].contains(&reason), "{ready}");
    assert!(store.requests().is_empty(), "nothing is asked without it");
}

/// Where the operator's right to Secrets is bound namespace by namespace, and here it is not.
#[rstest]
#[case::secret("/secrets/", ("imagePullSecrets", json!([{"name": "login"}])), "Secret login")]
#[case::account("/serviceaccounts/", ("serviceAccountName", json!("builder")), "ServiceAccount builder")]
#[tokio::test]
async fn a_namespace_without_the_right_to_secrets_is_told_so(
    #[case] part: &'static str,
    #[case] (field, value): (&str, Value),
    #[case] what: &str,
) {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    let mut object = object("team", "app");
    object["spec"][field] = value;
    api.apply(object);
    api.secret("team/login", secret("u"));
    api.refuse(part, StatusCode::FORBIDDEN);
    let running = start(&api, &store).await;
    api.until("a status", |api| !api.patches().is_empty()).await;
    running.stop().await;
    Scenario::Applied("False", "SecretNotFound").check(&api, "app");
    let message = ready(&api.object("team/app"))["message"].as_str().unwrap().to_owned();
    let told = format!("the operator has no right to read {what} of this namespace");
    assert!(message.contains(&told), "{message}");
    assert!(message.contains("RoleBinding"), "{message}");
    assert!(store.requests().is_empty(), "nothing is asked without it");
}

/// An API server that does not do its part is no news about the object.
#[tokio::test]
async fn a_run_without_its_secrets_has_no_outcome() {
    let (api, store) = (Api::new(), Store::new());
    let mut object = object("team", "app");
    object["spec"]["target"]["secretRef"] = json!({"name": "login"});
    api.apply(object);
    api.break_path("/secrets/");
    let running = start(&api, &store).await;
    api.until("a read", |api| api.asked().iter().any(|seen| seen.path.contains("secrets"))).await;
    running.stop().await;
    Scenario::RadioSilence.check(&api, "app");
    assert!(store.requests().is_empty());
}

#[tokio::test]
async fn suspended_does_nothing() {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    let mut object = object("team", "app");
    object["spec"]["suspend"] = json!(true);
    object["spec"]["target"]["secretRef"] = json!({"name": "login"});
    api.apply(object.clone());
    let running = start(&api, &store).await;
    api.until("a status", |api| !api.patches().is_empty()).await;
    Scenario::Applied("Unknown", "Suspended").check(&api, "app");
    // A request is echoed, and that is all.
    object["metadata"]["annotations"] = json!({"multiarch.dev/requestedAt": "now"});
    api.apply(object);
    api.until("an echo", |api| api.patches().len() == 2).await;
    running.stop().await;
    assert!(store.requests().is_empty());
    assert_eq!(api.asked().len(), 2, "{:#?}", api.asked());
}

#[tokio::test]
async fn an_object_that_is_deleted_is_left_alone() {
    let (api, store) = (Api::new(), Store::new());
    let mut gone = object("team", "aaa");
    gone["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    gone["metadata"]["finalizers"] = json!(["example.com/theirs"]);
    push(&store, "aaa");
    api.apply(gone);
    let mut invalid = object("team", "aab");
    invalid["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    invalid["spec"] = json!(1);
    api.apply(invalid);
    push(&store, "app");
    api.apply(object("team", "app"));
    let running = start(&api, &store).await;
    api.until("an Event", |api| !api.events().is_empty()).await;
    running.stop().await;
    assert!(store.requests().iter().all(|request| request.of.starts_with("app")));
    assert!(api.asked().iter().all(|seen| !seen.path.contains("/aa")), "{:#?}", api.asked());
}

#[tokio::test]
async fn conditions_of_others_are_not_applied_and_stay() {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    let mut object = object("team", "app");
    let foreign = json!({
        "type": "example.com/Scanned", "status": "True", "reason": "Clean", "message": "",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    });
    object["status"]["conditions"] = json!([foreign]);
    api.apply(object);
    let running = start(&api, &store).await;
    api.until("an Event", |api| !api.events().is_empty()).await;
    running.stop().await;
    let applied = api.patches()[0].body["status"]["conditions"].as_array().unwrap().clone();
    assert!(applied.iter().all(|condition| condition["type"] != foreign["type"]));
    let kept = api.object("team/app")["status"]["conditions"].as_array().unwrap().clone();
    assert!(kept.contains(&foreign));

    api.forget();
    store.forget();
    let running = start(&api, &store).await;
    let requests = store.clone();
    api.until("a look", move |_| requests.requests().len() == 3).await;
    running.stop().await;
    Scenario::RadioSilence.check(&api, "app");
}

#[tokio::test]
async fn of_several_namespaces_each_is_watched_and_no_other() {
    let (api, store) = (Api::new(), Store::new());
    for name in ["app", "second", "third"] {
        push(&store, name);
    }
    api.apply(object("team-a", "app"));
    api.apply(object("team-b", "second"));
    api.apply(object("team-c", "third"));
    let running = start_with(&api, &store, &["team-a", "team-b"], &[]).await;
    api.until("two Events", |api| api.events().len() == 2).await;
    // Later ones, too.
    push(&store, "fourth");
    api.apply(object("team-c", "fourth"));
    api.apply(object("team-b", "fourth"));
    api.until("a third Event", |api| api.events().len() == 3).await;
    running.stop().await;
    for name in ["app", "second", "fourth"] {
        Scenario::Applied("True", "Succeeded").check(&api, name);
    }
    let seen = api.seen();
    assert!(seen.iter().all(|seen| !seen.path.contains("team-c")), "{seen:#?}");
    let all = "/apis/multiarch.dev/v1alpha1/multiarchimages";
    assert!(seen.iter().all(|seen| seen.path != all), "nothing is listed across the cluster");
}

#[rstest]
#[case::all_listed(&["r.example"], "True", "Succeeded")]
#[case::by_path(&["s.example", "r.example/app"], "True", "Succeeded")]
#[case::other_host(&["r.example.com"], "False", "RegistryNotAllowed")]
#[case::other_path(&["r.example/ap"], "False", "RegistryNotAllowed")]
#[tokio::test]
async fn only_allowed_registries_are_asked(
    #[case] allowed: &[&str],
    #[case] status: &'static str,
    #[case] reason: &'static str,
) {
    let (api, store) = (Api::new(), Store::new());
    push(&store, "app");
    api.apply(object("team", "app"));
    let running = start_with(&api, &store, &[], allowed).await;
    api.until("an Event", |api| !api.events().is_empty()).await;
    running.stop().await;
    Scenario::Applied(status, reason).check(&api, "app");
    if status == "False" {
        assert!(store.requests().is_empty(), "nothing is asked before");
        let object = api.object("team/app");
        let message = ready(&object)["message"].as_str().unwrap().to_owned();
        for word in ["spec.target.image", "r.example/app:1.0", "--allowed-registries"] {
            assert!(message.contains(word), "{message}");
        }
        assert!(object["status"]["conditions"].to_string().contains("Stalled"), "{object}");
    }
}

//! The controller from term to term, and through what becomes of an API server: nothing is lost, and nothing old is written over what is new.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "controller/api.rs"]
mod api;
#[path = "terms/nodes.rs"]
mod nodes;
#[path = "controller/process.rs"]
mod process;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::http::StatusCode;
use multiarch_operator::{
    controller::Options,
    metrics::Format,
    registry::memory::{Image, Store},
};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    api::Api,
    process::{Process, Reign, options},
};

fn start(api: &Api, store: &Store) -> Process {
    Process::start_with(api, store, options())
}

fn start_shard(api: &Api, store: &Store, selector: &str) -> Process {
    let selector = Some(selector.parse().unwrap());
    Process::start_with(api, store, Options { selector, ..options() })
}

/// How many objects the gauges of `process` show.
fn gauged(process: &Process) -> usize {
    process.gauged("multiarch_resource_ready").len()
}

fn object(name: &str) -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {"namespace": "team", "name": name, "uid": name, "generation": 1},
        "spec": {
            "target": {"image": format!("r.example/{name}:1.0")},
            "sources": [{"name": "amd64", "image": format!("r.example/{name}:amd64")}],
        },
        "status": {"observedGeneration": -1},
    })
}

/// An object with its image.
fn apply(api: &Api, store: &Store, name: &str) {
    store.push_image(name, "amd64", "linux/amd64");
    api.apply(object(name));
}

/// An API server that has the object "app", whose image is pushed, and a process that watches it.
fn with_app() -> (Api, Store, Process) {
    let (api, store) = (Api::new(), Store::new());
    apply(&api, &store, "app");
    let process = start(&api, &store);
    (api, store, process)
}

fn ready(api: &Api, name: &str) -> String {
    condition(api, name, "Ready")["reason"].as_str().unwrap_or_default().to_owned()
}

fn condition(api: &Api, name: &str, kind: &str) -> Value {
    let object = api.object(&format!("team/{name}"));
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

async fn until_ready(api: &Api, name: &'static str) {
    api.until_later(name, move |api| ready(api, name) == "Succeeded").await;
}

/// The status of an object that another operator has published.
fn published(digest: &str) -> Value {
    json!({
        "observedGeneration": 1,
        "reference": format!("r.example/app:1.0@{digest}"),
        "repository": "r.example/app",
        "digest": digest,
        "tags": ["1.0"],
        "lastPublishTime": "2030-01-01T00:00:00Z",
        "pushedTo": "r.example/app",
    })
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test(start_paused = true)]
async fn who_stands_by_is_ready_and_does_nothing() {
    let (api, store, process) = with_app();
    let ready = process.admin.clone();
    api.until_later("a list", move |_| ready.is_ready()).await;
    apply(&api, &store, "later");
    tokio::time::advance(Duration::from_hours(1)).await;
    assert!(store.requests().is_empty() && api.patches().is_empty() && api.events().is_empty());
    assert_eq!(gauged(&process), 0, "they are the leader's to show");

    let reign = process.lead();
    until_ready(&api, "app").await;
    until_ready(&api, "later").await;
    assert_eq!(gauged(&process), 2);
    reign.lose().await;
    assert_eq!(gauged(&process), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_on_after_the_lease_is_lost() {
    let (api, store, process) = with_app();
    // The tag is written when the lease is lost, and the registry is slow.
    store.delay(Duration::from_secs(5), |request| request.method == "PUT");
    let reign = process.lead();
    let requests = store.clone();
    let puts = move |_: &Api| requests.requests().iter().any(|request| request.method == "PUT");
    api.until_later("a push", puts).await;
    reign.lose().await;
    let so_far = store.requests().len();
    api.apply(object("app"));
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(store.requests().len(), so_far);
    assert!(api.patches().is_empty() && api.events().is_empty(), "{:#?}", api.patches());
}

/// A process that was held up, and goes on before anybody tells it that its time is over.
#[tokio::test(start_paused = true)]
async fn no_write_begins_after_the_deadline() {
    let (api, store, process) = with_app();
    store.delay(Duration::from_secs(5), |request| request.method == "GET");
    let reign = process.lead();
    let requests = store.clone();
    let reads = move |_: &Api| requests.requests().iter().any(|request| request.method == "GET");
    api.until_later("a read", reads).await;
    reign.until.send_replace(Some(Instant::now()));
    tokio::time::advance(Duration::from_mins(1)).await;
    let writes = || store.requests().iter().filter(|request| request.method == "PUT").count();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(writes(), 0);
    // A renewal that was late lets it go on.
    reign.until.send_replace(Some(Instant::now() + Duration::from_hours(1)));
    until_ready(&api, "app").await;
    assert_eq!(writes(), 1);
    reign.stop().await;
}

/// What the leader before has written is seen, though the watch has not brought it.
#[tokio::test(start_paused = true)]
async fn a_term_begins_with_what_is_true_now() {
    let (api, store, process) = with_app();
    let ready = process.admin.clone();
    api.until_later("a list", move |_| ready.is_ready()).await;
    api.be_silent(true);
    let mut edited = object("app");
    edited["metadata"]["generation"] = json!(2);
    edited["spec"]["target"]["additionalTags"] = json!(["latest"]);
    api.apply(edited);
    let reign = process.lead();
    until_ready(&api, "app").await;
    assert!(store.tagged("app", "latest").is_some(), "the spec as it was");
    let generations: Vec<_> =
        api.patches().iter().map(|p| p.body["status"]["observedGeneration"].clone()).collect();
    assert_eq!(generations, [json!(2)]);
    reign.stop().await;
}

/// Who asks for a list does not cut off the one that is under way, or a long one would never end; nor is it one for each who asks.
#[rstest]
#[case::of_many_objects(Duration::from_secs(20), Duration::from_secs(1), 4)]
#[case::of_few(Duration::ZERO, Duration::from_millis(100), 13)]
#[tokio::test(start_paused = true)]
async fn terms_that_begin_again_and_again_let_a_list_end(
    #[case] takes: Duration,
    #[case] term: Duration,
    #[case] lists: usize,
) {
    let (api, store) = (Api::new(), Store::new());
    apply(&api, &store, "app");
    api.take_to_list(takes);
    let process = start(&api, &store);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(1) {
        let reign = process.lead();
        let _ = tokio::time::timeout(term, std::future::pending::<()>()).await;
        reign.lose().await;
    }
    assert!(process.admin.is_ready(), "none was there after a minute");
    assert!((2..=lists).contains(&api.lists()), "{}", api.lists());
    let reign = process.lead();
    until_ready(&api, "app").await;
    reign.stop().await;
}

/// Two leaders at once, for a moment: the status of the one is never written over what the other has.
#[tokio::test(start_paused = true)]
async fn a_status_is_written_over_no_other_one() {
    let (api, store, process) = with_app();
    let (other, told) = (api.clone(), AtomicBool::new(false));
    // While the run pushes, the other leader reports.
    let reports = move |request: &multiarch_operator::registry::Request| {
        if request.method == "PUT" && !told.swap(true, SeqCst) {
            other.report("team/app", published(DIGEST));
        }
        false
    };
    store.fail(reports, |_| unreachable!("it only reports"));
    let reign = process.lead();
    until_ready(&api, "app").await;
    reign.stop().await;
    let patches = api.patches();
    let versions: Vec<_> =
        patches.iter().map(|patch| patch.body["metadata"]["resourceVersion"].clone()).collect();
    assert_eq!(versions, [json!("2"), json!("3")], "the first one was refused");
    // The second run followed from what the other leader said.
    let pushes = store.requests().iter().filter(|request| request.method == "PUT").count();
    assert_eq!(pushes, 1, "the second run found what the first one pushed");
    let named = store.tagged("app", "1.0").unwrap().digest().to_string();
    assert_eq!(api.object("team/app")["status"]["digest"], named);
}

/// The API server is away when the tag is there: it is the object's own all the same.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_reported_is_its_own() {
    let (api, store, process) = with_app();
    let other = api.clone();
    let breaks = move |request: &multiarch_operator::registry::Request| {
        if request.method == "PUT" {
            other.break_path("/status");
        }
        false
    };
    store.fail(breaks, |_| unreachable!("it only breaks the API server"));
    let reign = process.lead();
    api.until_later("a report", |api| !api.patches().is_empty()).await;
    assert!(store.tagged("app", "1.0").is_some() && ready(&api, "app").is_empty());
    store.mend();
    reign.lose().await;
    api.mend();

    let process = start(&api, &store);
    let mut second = object("second");
    second["metadata"]["namespace"] = json!("elsewhere");
    second["spec"]["target"]["image"] = json!("r.example/app:1.0");
    let reign = process.lead();
    until_ready(&api, "app").await;
    assert_eq!(api.object("team/app")["status"]["pushedTo"], "r.example/app");
    store.push_image("second", "amd64", "linux/amd64");
    api.apply(second);
    let conflict = |api: &Api| {
        let object = api.object("elsewhere/second");
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["reason"] == "TargetConflict")
    };
    api.until_later("a conflict", conflict).await;
    reign.stop().await;
}

/// Nothing is written to the registry where the API server does not take what is intended.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_said_is_not_written() {
    let (api, store, process) = with_app();
    api.break_path("/status");
    let reign = process.lead();
    let tries = |api: &Api| api.seen().iter().filter(|seen| seen.method == "PATCH").count();
    api.until_later("some tries", |api| tries(api) >= 3).await;
    assert!(store.requests().iter().all(|request| request.method != "PUT"));
    api.mend();
    until_ready(&api, "app").await;
    reign.stop().await;
}

/// The same on a watch that is dead: what it does not bring is listed.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_dead_is_noticed_by_what_it_did_not_tell() {
    let (api, store) = (Api::new(), Store::new());
    store.push_image("app", "amd64", "linux/amd64");
    let mut app = object("app");
    app["spec"]["removalPolicy"] = json!("Remove");
    api.apply(app);
    let process = start(&api, &store);
    let reign = process.lead();
    until_ready(&api, "app").await;
    api.be_silent(true);
    api.report("team/app", published(DIGEST));
    store.push_image("app", "amd64", "linux/amd64/v3");
    // At the next interval it is looked at, in vain at first.
    let began = Instant::now();
    api.until_later("the news", |api| {
        api.object("team/app")["status"]["platforms"][0]["platform"] == "linux/amd64/v3"
    })
    .await;
    assert!(began.elapsed() < Duration::from_mins(11), "{:?}", began.elapsed());
    reign.stop().await;
}

#[rstest]
#[case::label(json!({"labels": {"a": "b"}}))]
#[case::another_condition(json!({}))]
#[tokio::test(start_paused = true)]
async fn what_others_may_change_takes_no_outcome_away(#[case] metadata: Value) {
    let (api, store, process) = with_app();
    let (other, told) = (api.clone(), AtomicBool::new(false));
    let changes = move |_: &_| {
        if !told.swap(true, SeqCst) {
            if metadata["labels"].is_object() {
                let mut labelled = object("app");
                labelled["metadata"]["labels"] = metadata["labels"].clone();
                other.apply(labelled);
            } else {
                let foreign = json!({
                    "type": "example.com/Scanned", "status": "True", "reason": "Clean", "message": "",
                    "lastTransitionTime": "2030-01-01T00:00:00Z",
                });
                other
                    .report("team/app", json!({"observedGeneration": -1, "conditions": [foreign]}));
            }
        }
        false
    };
    store.fail(changes, |_| unreachable!("it only changes the object"));
    let reign = process.lead();
    until_ready(&api, "app").await;
    reign.stop().await;
    let asked: Vec<_> = api.asked().iter().map(|seen| seen.method.clone()).collect();
    let expected = ["PATCH", "GET", "PATCH", "PATCH", "POST"];
    assert_eq!(asked, expected, "refused, looked at, written, published and written, told");
    assert_eq!(store.requests().len(), 2 + 3, "in one run");
}

/// The message of a copy that was cut off says so, and the next one goes on.
#[rstest]
#[case::by_a_shutdown(true)]
#[case::by_a_loss(false)]
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_cut_off_is_not_shown_for_ever(#[case] shutdown: bool) {
    let (api, store) = (Api::new(), Store::new());
    store.push_image("ci", "amd64", "linux/amd64");
    let mut copy = object("app");
    copy["spec"]["sources"][0]["image"] = json!("r.example/ci:amd64");
    let message =
        "at work while copying (1 of 2 blobs and 0 of 1 manifests are there, 5 MiB were sent)";
    // As an operator left it that was killed.
    copy["status"]["conditions"] = json!([{
        "type": "Reconciling", "status": "True", "reason": "Progressing", "message": message,
        "lastTransitionTime": "2030-01-01T00:00:00Z", "observedGeneration": 1,
    }]);
    api.apply(copy);
    let process = start(&api, &store);
    store.hang(|request| request.method == "PUT" && request.of.contains('@'));
    let reign = process.lead();
    let requests = store.clone();
    let copies = move |_: &Api| requests.requests().iter().any(|request| request.method == "PUT");
    api.until_later("a copy", copies).await;
    if shutdown {
        reign.cut().await;
    } else {
        reign.lose().await;
    }
    let shown = condition(&api, "app", "Reconciling")["message"].as_str().unwrap().to_owned();
    assert_eq!(shown.starts_with("the operator was stopped while"), shutdown, "{shown}");
    assert_eq!(api.patches().len(), usize::from(shutdown), "who has lost the lease writes nothing");

    store.mend();
    let reign = process.lead();
    until_ready(&api, "app").await;
    assert_eq!(condition(&api, "app", "Reconciling"), Value::Null);
    reign.stop().await;
}

/// Copies that take long keep nobody who names the same registries from being looked at, and come to their end one after the other.
#[tokio::test(start_paused = true)]
async fn copies_that_take_long_hold_up_nobody() {
    const BIG: [&str; 6] = ["big0", "big1", "big2", "big3", "big4", "big5"];
    let (api, store) = (Api::new(), Store::new());
    store.refuse_mounts();
    for name in BIG {
        let source = format!("ci-{name}");
        store.push_image(&source, "amd64", "linux/amd64");
        let mut big = object(name);
        big["spec"]["sources"][0]["image"] = json!(format!("r.example/{source}:amd64"));
        api.apply(big);
    }
    let process = start(&api, &store);
    store.delay(Duration::from_mins(10), |request| {
        request.method == "PUT" && request.noun == "blob"
    });
    let reign = process.lead();
    let requests = store.clone();
    let copying = move |_: &Api| {
        let requests = requests.requests();
        requests.iter().filter(|r| r.method == "PUT" && r.noun == "blob").count() >= 4
    };
    api.until_later("two copies", copying).await;
    let since = Instant::now();
    apply(&api, &store, "small");
    until_ready(&api, "small").await;
    // It comes after all of them, two at a time, and each is known to take long after a minute.
    assert!(since.elapsed() <= Duration::from_mins(4), "{:?}", since.elapsed());
    let waits = |api: &Api| {
        let shown = BIG.iter().map(|name| condition(api, name, "Reconciling"));
        shown.filter(|shown| shown["message"].to_string().contains("waits for others")).count()
    };
    api.until_later("some that wait", move |api| waits(api) >= 2).await;
    for name in BIG {
        until_ready(&api, name).await;
        assert_eq!(condition(&api, name, "Reconciling"), Value::Null);
    }
    reign.stop().await;
}

/// Told to stop, no run begins, and the one at hand comes to its end.
#[tokio::test(start_paused = true)]
async fn what_was_begun_ends_and_nothing_begins() {
    let (api, store) = (Api::new(), Store::new());
    for name in ["a", "b", "c", "d", "e", "f"] {
        apply(&api, &store, name);
    }
    let process = start(&api, &store);
    store.delay(Duration::from_secs(1), |_| true);
    let reign = process.lead();
    let begun = |store: &Store| -> BTreeSet<String> {
        let of = store.requests().into_iter().map(|request| request.of);
        of.filter_map(|of| Some(of.split_once([':', '@'])?.0.to_owned())).collect()
    };
    let requests = store.clone();
    api.until_later("two runs", move |_| begun(&requests).len() >= 2).await;
    let at_hand = begun(&store);
    reign.stop().await;
    let done = ["a", "b", "c", "d", "e", "f"].into_iter();
    let done = done.filter(|name| ready(&api, name) == "Succeeded").map(ToOwned::to_owned);
    assert_eq!(done.collect::<BTreeSet<_>>(), at_hand);
    assert!(at_hand.len() < 6, "{at_hand:?}");
}

/// A watch that has missed too much begins anew: what came meanwhile is run, and who waited for what went has it.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_where_the_watch_has_expired() {
    let (api, store, process) = with_app();
    let reign = process.lead();
    until_ready(&api, "app").await;
    let mut second = object("second");
    second["spec"]["target"]["image"] = json!("r.example/app:1.0");
    second["spec"]["sources"][0]["image"] = json!("r.example/app:amd64");
    api.apply(second);
    api.until_later("a conflict", |api| ready(api, "second") == "TargetConflict").await;

    api.be_silent(true);
    api.delete("team/app");
    apply(&api, &store, "new");
    let mut edited = api.object("team/second");
    edited["metadata"]["generation"] = json!(2);
    edited["spec"]["target"]["additionalTags"] = json!(["latest"]);
    api.apply(edited);
    api.be_silent(false);
    api.expire();
    until_ready(&api, "new").await;
    api.until_later("the edit", |api| {
        let second = api.object("team/second");
        second["status"]["observedGeneration"] == 2 && ready(api, "second") == "Succeeded"
    })
    .await;
    assert!(store.tagged("app", "latest").is_some());
    reign.stop().await;
}

/// A status that cannot be written for an hour: what the registry answers is not thrown away every two seconds, and it is told when
/// it can be.
#[tokio::test(start_paused = true)]
async fn who_cannot_report_runs_ever_more_rarely() {
    let (api, store, process) = with_app();
    let reign = process.lead();
    until_ready(&api, "app").await;
    api.forget();
    store.forget();
    api.refuse("/status", StatusCode::INTERNAL_SERVER_ERROR);
    let mut edited = object("app");
    edited["spec"]["annotations"] = json!({"n": "2"});
    edited["metadata"]["generation"] = json!(2);
    api.apply(edited);
    let told = |api: &Api| api.patches().len();
    api.until_later("a status", move |api| told(api) > 0).await;
    let mut dates = Vec::new();
    let hour = Instant::now() + Duration::from_hours(1);
    while Instant::now() < hour {
        let before = told(&api);
        api.until_later("another one", move |api| told(api) > before).await;
        dates.push(Instant::now());
    }
    // From two seconds on, twice as long each time, up to a minute, less by chance.
    assert!((60..=75).contains(&dates.len()), "{}", dates.len());
    let requests = store.requests().len();
    assert!(requests <= 5 * (dates.len() + 1), "{requests} for {}", dates.len());

    // What was not reported is no failure of the registry's.
    store.require_login("somebody", "else");
    api.mend();
    api.until_later("a status", |api| ready(api, "app") == "AuthenticationFailed").await;
    assert_eq!(condition(&api, "app", "Stalled"), Value::Null, "that was the first time");
    reign.stop().await;
}

/// The data of the API server are restored from a backup: its versions are lower than those that were seen.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_went_back_in_time_is_followed() {
    let (api, store, process) = with_app();
    let reign = process.lead();
    until_ready(&api, "app").await;
    for round in 0..50 {
        let mut labelled = object("app");
        labelled["metadata"]["labels"] = json!({"round": round.to_string()});
        api.apply(labelled);
    }
    api.report("team/app", json!({"observedGeneration": -1}));
    api.go_back();
    apply(&api, &store, "new");
    until_ready(&api, "new").await;
    // It is asked for at the next interval.
    until_ready(&api, "app").await;
    reign.stop().await;
}

/// Away for ten minutes, and no election ends the work meanwhile: the run that ended in between is told when it is back, at the latest a
/// minute later, and nothing is written twice.
#[tokio::test(start_paused = true)]
async fn what_a_run_came_to_while_the_api_server_was_away_is_told_when_it_is_back() {
    let (api, store, process) = with_app();
    store.delay(Duration::from_secs(5), |request| request.method == "PUT");
    let reign = process.lead();
    let requests = store.clone();
    let puts =
        |store: &Store| store.requests().iter().filter(|request| request.method == "PUT").count();
    api.until_later("a push", move |_| puts(&requests) > 0).await;
    api.refuse("/", StatusCode::SERVICE_UNAVAILABLE);
    api.be_silent(true);
    let away = Instant::now();
    api.until_later("another try", move |_| away.elapsed() >= Duration::from_mins(10)).await;
    assert_eq!((ready(&api, "app"), puts(&store)), (String::new(), 1));
    assert!(store.tagged("app", "1.0").is_some(), "the registry was not away");
    assert!(process.admin.is_ready() && !reign.done.is_finished());
    api.be_silent(false);
    api.mend();
    let back = Instant::now();
    until_ready(&api, "app").await;
    assert!(back.elapsed() <= Duration::from_mins(1), "{:?}", back.elapsed());
    assert_eq!(puts(&store), 1);
    // And the watch is followed again.
    apply(&api, &store, "new");
    until_ready(&api, "new").await;
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_removed_and_comes_back_is_worked_on() {
    let (api, store, process) = with_app();
    let reign = process.lead();
    until_ready(&api, "app").await;
    api.know_the_kind(false);
    api.forget();
    api.until_later("a list", |api| {
        api.seen().iter().any(|seen| !seen.query.contains("watch=true"))
    })
    .await;
    assert!(process.admin.is_ready() && !reign.done.is_finished());
    api.know_the_kind(true);
    apply(&api, &store, "new");
    until_ready(&api, "new").await;
    api.until_later("the gauges", |_| gauged(&process) == 1).await;
    reign.stop().await;
}

/// An object of another namespace that names tags of `r.example/app` beside one of its own, with a source that does not come to
/// an end, on a registry of its own.
fn squatter(api: &Api, store: &Store) {
    let mut squatter = object("squatter");
    squatter["metadata"]["namespace"] = json!("elsewhere");
    squatter["spec"]["timeout"] = json!("24h");
    squatter["spec"]["target"]["image"] = json!("r.example/app:junk");
    squatter["spec"]["target"]["additionalTags"] = json!(["1.0", "latest"]);
    squatter["spec"]["sources"][0]["image"] = json!("r.evil/trickles:amd64");
    store.push_image("trickles", "amd64", "linux/amd64");
    api.apply(squatter);
}

/// An object of `r.example/app` with one more tag.
fn victim(api: &Api, store: &Store) {
    store.push_image("app", "amd64", "linux/amd64");
    let mut victim = object("app");
    victim["spec"]["target"]["additionalTags"] = json!(["latest"]);
    api.apply(victim);
}

/// Until a request begins with `request`.
async fn until_asked(api: &Api, store: &Store, request: &'static str) {
    let store = store.clone();
    let is_there =
        move |_: &Api| store.requests().iter().any(|asked| asked.to_string().starts_with(request));
    api.until_later(request, is_there).await;
}

/// Who may not push, and reads as slowly as can be, holds up nobody.
#[rstest]
#[case::of_a_tag_that_is_owned(true)]
#[case::of_one_that_is_not_published(false)]
#[tokio::test(start_paused = true)]
async fn who_names_anothers_tags_holds_up_nobody(#[case] published: bool) {
    let (api, store) = (Api::new(), Store::new());
    let process = start(&api, &store);
    store.hang(|request| request.of.starts_with("trickles"));
    let reign = process.lead();
    if published {
        victim(&api, &store);
        until_ready(&api, "app").await;
    }
    squatter(&api, &store);
    until_asked(&api, &store, "GET manifest trickles").await;
    let began = Instant::now();
    if published {
        let before = store.tagged("app", "1.0").unwrap();
        store.push("app", Some("amd64"), &Image::of("linux/amd64").salted("2"));
        let registry = store.clone();
        api.until_later("news", move |_| registry.tagged("app", "1.0").unwrap() != before).await;
        assert!(began.elapsed() < Duration::from_mins(11), "{:?}", began.elapsed());
    } else {
        victim(&api, &store);
        until_ready(&api, "app").await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    for tag in ["1.0", "latest"] {
        assert!(store.tagged("app", tag).is_some());
    }
    assert!(store.tagged("app", "junk").is_none());
    reign.lose().await;
}

/// The same where its push does not come to an end, because its own token server does not answer.
#[tokio::test(start_paused = true)]
async fn who_pushes_without_end_is_waited_for_for_some_seconds() {
    let (api, store) = (Api::new(), Store::new());
    let process = start(&api, &store);
    let push = "PUT manifest app:junk";
    store.hang(move |request| request.to_string() == push);
    let reign = process.lead();
    squatter(&api, &store);
    until_asked(&api, &store, push).await;
    let began = Instant::now();
    victim(&api, &store);
    until_ready(&api, "app").await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    reign.lose().await;
}

/// Of two that begin at once one writes the tag, and the other one is told whose it is.
#[tokio::test(start_paused = true)]
async fn of_two_at_once_one_writes_the_tag() {
    let (api, store) = (Api::new(), Store::new());
    let process = start(&api, &store);
    store.delay(Duration::from_secs(1), |_| true);
    let reign = process.lead();
    for name in ["app", "b"] {
        store.push_image(name, "amd64", "linux/amd64");
        let mut named = object(name);
        named["spec"]["target"]["image"] = json!("r.example/app:1.0");
        named["spec"]["annotations"] = json!({"of": name});
        api.apply(named);
    }
    let reasons = |api: &Api| BTreeSet::from([ready(api, "app"), ready(api, "b")]);
    let expected = BTreeSet::from(["Succeeded".to_owned(), "TargetConflict".to_owned()]);
    api.until_later("an owner", |api| reasons(api) == expected).await;
    let pushes = store.requests().into_iter().filter(|r| r.to_string() == "PUT manifest app:1.0");
    assert_eq!(pushes.count(), 1);
    reign.stop().await;
}

/// An object of another shard keeps its tags, target's or not: before a tag is written it is asked who has it.
#[rstest]
#[case::the_targets("1.0", "False")]
#[case::one_beside_it("latest", "False")]
#[case::none_of_these("2.0", "True")]
#[tokio::test(start_paused = true)]
async fn the_tags_of_other_shards_are_theirs(#[case] theirs: &str, #[case] status: &str) {
    let (api, store) = (Api::new(), Store::new());
    let mut other = object("other");
    other["metadata"]["labels"] = json!({"multiarch.dev/shard": "b"});
    other["spec"]["target"]["image"] = json!("r.example/app:other");
    other["status"] = published(DIGEST);
    other["status"]["tags"] = json!(["other", theirs]);
    api.apply(other);
    let mut ours = object("app");
    ours["metadata"]["labels"] = json!({"multiarch.dev/shard": "a"});
    ours["spec"]["target"]["additionalTags"] = json!(["latest"]);
    store.push_image("app", "amd64", "linux/amd64");
    api.apply(ours);
    let process = start_shard(&api, &store, "multiarch.dev/shard=a");
    let reign = process.lead();
    api.until_later("a status", |api| condition(api, "app", "Ready")["status"] == status).await;
    if status == "False" {
        assert_eq!(ready(&api, "app"), "TargetConflict");
    }
    assert_eq!(store.tagged("app", "1.0").is_some(), theirs != "1.0");
    assert!(api.patches().iter().all(|patch| patch.path.ends_with("/app/status")));
    let lists = |api: &Api| {
        let seen = api.seen().into_iter();
        seen.filter(|seen| seen.query.contains("fieldSelector=status.repository")).count()
    };
    // When it began, and again before something was written.
    assert_eq!(lists(&api), if theirs == "1.0" { 1 } else { 2 });
    // What is as it should be needs no other shard.
    api.forget();
    let before = store.requests().len();
    let requests = store.clone();
    api.until_later("a look", move |_| requests.requests().len() > before || status == "False")
        .await;
    if status == "True" {
        assert_eq!(lists(&api), 0);
    }
    reign.stop().await;
}

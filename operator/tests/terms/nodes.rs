//! What nodes join and leave is said in each status at once, by the leader alone, without a run and without a request to a registry.

use multiarch_operator::controller::SPREAD;

use super::*;
use crate::api::NODES;

const AMD64: [(&str, &str); 2] = [("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")];
const ARM64: [(&str, &str); 2] = [("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "arm64")];
const WINDOWS: [(&str, &str); 3] = [
    ("kubernetes.io/os", "windows"),
    ("kubernetes.io/arch", "amd64"),
    ("node.kubernetes.io/windows-build", "10.0.20348"),
];
const MINUTE: Duration = Duration::from_mins(1);

fn looks_at_nodes() -> Options {
    Options { node_platforms: true, ..options() }
}

/// A cluster of one node, an object that is published for it, and who has published it.
async fn covered() -> (Api, Store, Process, Reign) {
    let (api, store) = (Api::new(), Store::new());
    api.join("a", &AMD64);
    apply(&api, &store, "app");
    let process = Process::start_with(&api, &store, looks_at_nodes());
    let reign = process.lead();
    until_ready(&api, "app").await;
    assert_eq!(shown(&api, "app"), "True Succeeded");
    (api, store, process, reign)
}

/// The same with 200 objects.
async fn covered_many() -> (Api, Store, Process, Reign) {
    let (api, store) = (Api::new(), Store::new());
    api.join("a", &AMD64);
    for n in 0..200 {
        apply(&api, &store, &format!("app-{n}"));
    }
    let process = Process::start_with(&api, &store, looks_at_nodes());
    let reign = process.lead();
    api.until_later("all are published", all_show("True Succeeded")).await;
    (api, store, process, reign)
}

/// Whether `NodesCovered` of each of the 200 is this.
fn all_show(words: &'static str) -> impl Fn(&Api) -> bool {
    move |api| (0..200).all(|n| shown(api, &format!("app-{n}")) == words)
}

/// How many platforms of nodes one of the 200 lacks.
fn lacks(n: usize, api: &Api) -> usize {
    missing(api, &format!("app-{n}")).as_array().map_or(0, Vec::len)
}

/// `NodesCovered` of an object, in words; nothing where it has none.
fn shown(api: &Api, name: &str) -> String {
    let condition = condition(api, name, "NodesCovered");
    let word = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}", word("status"), word("reason")).trim().to_owned()
}

fn missing(api: &Api, name: &str) -> Value {
    api.object(&format!("team/{name}"))["status"]["coverage"]["nodesMissing"].clone()
}

async fn until_shown(api: &Api, name: &'static str, words: &'static str) {
    api.until_later(words, move |api| shown(api, name) == words).await;
}

/// Lets all that can go on without time go on.
async fn settle() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_told_at_once_and_for_an_hour_after_it_has_left() {
    let (api, store, _process, reign) = covered().await;
    let (requests, joined) = (store.requests().len(), Instant::now());
    api.forget();
    api.join("spot", &ARM64);
    until_shown(&api, "app", "False NodesNotCovered").await;
    assert!(joined.elapsed() < Duration::from_secs(1), "{:?}", joined.elapsed());
    assert_eq!(missing(&api, "app"), json!(["linux/arm64"]));
    let words = condition(&api, "app", "NodesCovered")["message"].clone();
    assert_eq!(words, "the published index lacks platforms that nodes have: linux/arm64");
    assert_eq!(ready(&api, "app"), "Succeeded", "it is not part of Ready");
    // One write, and nothing else: no run, no request, no Event.
    let asked: Vec<_> = api.asked().iter().map(|seen| seen.method.clone()).collect();
    assert_eq!((asked, store.requests().len()), (vec!["PATCH".to_owned()], requests));

    // One that joins others, one that has no labels yet, and one that comes back are no news.
    api.join("spot-2", &ARM64);
    api.join("new", &[]);
    api.leave("spot");
    api.leave("spot-2");
    settle().await;
    tokio::time::advance(50 * MINUTE).await;
    settle().await;
    api.join("spot-3", &ARM64);
    settle().await;
    tokio::time::advance(MINUTE).await;
    api.leave("spot-3");
    settle().await;
    let left = Instant::now();
    tokio::time::advance(59 * MINUTE).await;
    settle().await;
    assert_eq!(api.patches().len(), 1, "{:#?}", api.patches());
    until_shown(&api, "app", "True Succeeded").await;
    assert!((60 * MINUTE..61 * MINUTE).contains(&left.elapsed()), "{:?}", left.elapsed());
    assert_eq!((missing(&api, "app"), api.patches().len()), (Value::Null, 2));
    reign.stop().await;
}

/// It stays due when it was.
#[tokio::test(start_paused = true)]
async fn the_next_run_comes_when_it_would_have() {
    let (api, store, _process, reign) = covered().await;
    let (published, requests) = (Instant::now(), store.requests().len());
    for (minute, node) in [(3, "b"), (6, "c"), (8, "d")] {
        tokio::time::sleep_until(published + minute * MINUTE).await;
        api.join(node, &[("kubernetes.io/os", "linux"), ("kubernetes.io/arch", node)]);
        let told = move |api: &Api| missing(api, "app").to_string().contains(&format!("/{node}"));
        api.until_later("it is told", told).await;
    }
    assert_eq!(store.requests().len(), requests);
    let asked = store.clone();
    api.until_later("a run", move |_| asked.requests().len() > requests).await;
    let interval = published.elapsed();
    assert!((9 * MINUTE..=10 * MINUTE).contains(&interval), "{interval:?}");
    reign.stop().await;
}

/// The run says it by itself, and its own status follows from that: it is neither cut off nor done twice.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_under_way_goes_on() {
    let (api, store, _process, reign) = covered().await;
    store.push_image("app", "more", "linux/s390x");
    store.delay(MINUTE, |request| request.method == "GET" && request.of.contains("more"));
    let mut edited = object("app");
    edited["metadata"]["generation"] = json!(2);
    let more = json!({"name": "more", "image": "r.example/app:more"});
    edited["spec"]["sources"].as_array_mut().unwrap().push(more);
    api.forget();
    let before = store.requests().len();
    api.apply(edited);
    let requests = store.clone();
    let reads = move |_: &Api| {
        let reads = requests.requests();
        reads[before..].iter().any(|request| request.method == "GET")
    };
    api.until_later("a read", reads).await;
    let joined = Instant::now();
    api.join("b", &ARM64);
    until_shown(&api, "app", "False NodesNotCovered").await;
    assert!(joined.elapsed() < Duration::from_secs(10), "{:?}", joined.elapsed());
    assert_eq!(api.object("team/app")["status"]["observedGeneration"], 1, "while it goes on");
    let current = |api: &Api| api.object("team/app")["status"]["observedGeneration"] == 2;
    api.until_later("its end", current).await;
    settle().await;
    assert_eq!(shown(&api, "app"), "False NodesNotCovered");
    let count = |method: &str| api.asked().iter().filter(|seen| seen.method == method).count();
    assert_eq!(count("GET"), 0, "no write was refused");
    let requests = store.requests();
    let pushes = requests[before..].iter().filter(|request| request.method == "PUT").count();
    assert_eq!(pushes, 1);
    assert_eq!(count("PATCH"), 2, "{:#?}", api.asked());
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_says_nothing_and_knows_it_when_it_leads() {
    let (api, store, process, reign) = covered().await;
    reign.stop().await;
    api.forget();
    api.join("b", &WINDOWS);
    tokio::time::advance(MINUTE).await;
    settle().await;
    assert!(api.patches().is_empty());
    assert!(
        process
            .metrics
            .render(Format::Text)
            .contains(r#"multiarch_node_platforms{platform="windows(10.0.20348)/amd64"} 1"#)
    );
    let reign = process.lead();
    until_shown(&api, "app", "False NodesNotCovered").await;
    assert_eq!(missing(&api, "app"), json!(["windows(10.0.20348)/amd64"]));
    let gauge = r#"multiarch_nodes_missing{namespace="team",name="app"} 1"#.to_owned();
    let metrics = Arc::clone(&process.metrics);
    api.until_later("the gauge", move |_| metrics.render(Format::Text).contains(&gauge)).await;
    drop(store);
    reign.stop().await;
}

/// Whoever may not see nodes publishes all the same, and says what is missing; with the right all is said.
#[tokio::test(start_paused = true)]
async fn without_the_right_it_is_unknown_and_nothing_else_is_held() {
    let (api, store) = (Api::new(), Store::new());
    api.join("a", &ARM64);
    api.refuse(NODES, StatusCode::FORBIDDEN);
    apply(&api, &store, "app");
    let process = Process::start_with(&api, &store, looks_at_nodes());
    let reign = process.lead();
    until_ready(&api, "app").await;
    assert_eq!(shown(&api, "app"), "Unknown NodesNotSeen");
    let words = condition(&api, "app", "NodesCovered")["message"].as_str().unwrap().to_owned();
    assert!(words.contains("nodePlatforms.enabled"), "{words}");
    api.mend();
    until_shown(&api, "app", "False NodesNotCovered").await;
    reign.stop().await;
}

/// What was known stays for a minute, since an API server that starts refuses what it allows later; then it is Unknown.
#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_is_told_after_a_minute() {
    let (api, store, process, reign) = covered().await;
    reign.stop().await;
    drop(process);
    api.refuse(NODES, StatusCode::FORBIDDEN);
    let process = Process::start_with(&api, &store, looks_at_nodes());
    let (reign, begun) = (process.lead(), Instant::now());
    until_shown(&api, "app", "Unknown NodesNotSeen").await;
    assert!((MINUTE..5 * MINUTE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    api.mend();
    until_shown(&api, "app", "True Succeeded").await;
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn suspended_objects_are_told_and_new_ones_are_left_to_their_run() {
    let (api, store, _process, reign) = covered().await;
    let mut suspended = object("app");
    suspended["metadata"]["generation"] = json!(2);
    suspended["spec"]["suspend"] = json!(true);
    api.apply(suspended);
    api.until_later("a rest", |api| ready(api, "app") == "Suspended").await;
    assert_eq!(shown(&api, "app"), "True Succeeded");
    api.join("b", &ARM64);
    until_shown(&api, "app", "False NodesNotCovered").await;
    assert_eq!(ready(&api, "app"), "Suspended");
    // Nothing is published of this one.
    api.apply(object("late"));
    api.until_later("it waits", |api| ready(api, "late") == "WaitingForPlatforms").await;
    assert_eq!(shown(&api, "late"), "Unknown NotPublished");
    drop(store);
    reign.stop().await;
}

/// At once, also of objects whose first look is due later.
#[tokio::test(start_paused = true)]
async fn without_the_flag_the_condition_goes() {
    let (api, store, process, reign) = covered().await;
    api.join("b", &ARM64);
    until_shown(&api, "app", "False NodesNotCovered").await;
    reign.stop().await;
    drop(process);
    let requests = store.requests().len();
    api.forget();
    let options = Options { node_platforms: false, spread: SPREAD, ..options() };
    let process = Process::start_with(&api, &store, options);
    let (reign, begun) = (process.lead(), Instant::now());
    until_shown(&api, "app", "").await;
    assert_eq!((missing(&api, "app"), api.patches().len()), (Value::Null, 1));
    let is_asked = store.requests().len() > requests;
    assert!(!is_asked || begun.elapsed() > Duration::from_secs(5), "its first look was not due");
    assert!(api.seen().iter().all(|seen| seen.path != NODES));
    assert!(!process.metrics.render(Format::Text).contains("multiarch_node"));
    reign.stop().await;
}

/// A platform that statuses speak of counts, though the nodes that had it have left before the start.
#[tokio::test(start_paused = true)]
async fn a_restart_is_no_news() {
    let (api, store, process, reign) = covered().await;
    api.join("spot", &ARM64);
    until_shown(&api, "app", "False NodesNotCovered").await;
    reign.stop().await;
    drop(process);
    api.leave("spot");
    api.forget();
    let process = Process::start_with(&api, &store, looks_at_nodes());
    let (reign, begun) = (process.lead(), Instant::now());
    settle().await;
    tokio::time::advance(30 * MINUTE).await;
    settle().await;
    assert_eq!(api.patches().len(), 0, "{:#?}", api.patches());
    until_shown(&api, "app", "True Succeeded").await;
    assert!((60 * MINUTE..62 * MINUTE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    reign.stop().await;
}

/// So many in a second and no more, and those that the API server refuses are not forgotten.
#[tokio::test(start_paused = true)]
async fn many_objects_are_told_one_after_the_other() {
    let (api, _store, _process, reign) = covered_many().await;
    api.forget();
    let joined = Instant::now();
    api.join("b", &ARM64);
    api.until_later("all are told", all_show("False NodesNotCovered")).await;
    let took = joined.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert_eq!(api.patches().len(), 200);

    api.break_path("/status");
    api.join("c", &WINDOWS);
    api.until_later("some tries", |api| api.patches().len() > 300).await;
    api.mend();
    api.until_later("all are told", |api| (0..200).all(|n| lacks(n, api) == 2)).await;
    reign.stop().await;
}

/// Who was told first of one platform does not wait for the last one before it hears of the next.
#[tokio::test(start_paused = true)]
async fn a_platform_that_comes_meanwhile_is_told_from_the_first_object_on() {
    let (api, _store, _process, reign) = covered_many().await;
    api.forget();
    api.join("b", &ARM64);
    api.until_later("some are told", |api| api.patches().len() >= 20).await;
    let is_told = |n: &usize| shown(&api, &format!("app-{n}")) != "True Succeeded";
    let first: Vec<usize> = (0..200).filter(is_told).collect();
    assert!((20..40).contains(&first.len()), "{first:?}");
    let joined = Instant::now();
    api.join("c", &WINDOWS);
    api.until_later("they are told", move |api| first.iter().all(|n| lacks(*n, api) == 2)).await;
    let took = joined.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    api.until_later("all are told", |api| (0..200).all(|n| lacks(n, api) == 2)).await;
    assert!(joined.elapsed() < Duration::from_secs(6), "{:?}", joined.elapsed());
    reign.stop().await;
}

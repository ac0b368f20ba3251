//! Sets of images between an API server of one page and a registry in memory, on a clock that jumps: what is asked, what is written, and when it is silent.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "controller/api.rs"]
mod api;
#[allow(dead_code, reason = "each suite uses its own part")]
mod archive {
    #[path = "../archive/images.rs"]
    pub(crate) mod images;
    #[path = "../archive/write.rs"]
    pub(crate) mod write;
}
#[path = "sets/archives.rs"]
mod archives;
#[allow(dead_code, reason = "each suite uses its own part")]
#[path = "controller/process.rs"]
mod process;

use std::time::Duration;

use axum::http::StatusCode;
use multiarch_operator::{controller::Options, registry::memory::Store};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    api::{Api, Seen},
    process::{Process, Reign, options},
};

const STATUS: &str = "/multiarchimagesets/all/status";

/// A process that keeps sets.
fn start(api: &Api, store: &Store) -> Process {
    Process::start_with(api, store, Options { sets: true, ..options() })
}

/// What the gauges of `process` show of sets.
fn gauged(process: &Process) -> Vec<String> {
    process.gauged("multiarch_set_images")
}

/// An API server, a registry, and a process that leads.
fn leading() -> (Api, Store, Process, Reign) {
    let (api, store) = (Api::new(), Store::new());
    let process = start(&api, &store);
    let reign = process.lead();
    (api, store, process, reign)
}

/// A set that mirrors `lines` within a registry.
fn set(lines: &[&str], more: Value) -> Value {
    let mut set = json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
        "metadata": {"namespace": "team", "name": "all", "uid": "uid-of-all"},
        "spec": {
            "images": lines, "from": {"registry": "r.example"},
            "to": {"registry": "r.example", "prefix": "mirror"}, "interval": "10m",
        },
        "status": {"observedGeneration": -1},
    });
    let Value::Object(more) = more else { panic!() };
    set["spec"].as_object_mut().unwrap().extend(more);
    set
}

fn push(store: &Store, names: &[&str]) {
    for name in names {
        store.push_image(name, "1", "linux/amd64");
    }
}

/// The status of the set, as `False/ImagesFailing 2/3`, where it is of its spec.
fn shown(api: &Api) -> String {
    let set = api.set("team/all");
    let status = &set["status"];
    if status["observedGeneration"] != set["metadata"]["generation"] {
        return String::new();
    }
    let ready = ready(status);
    let words = ["status", "reason"].map(|key| ready[key].as_str().unwrap_or_default().to_owned());
    format!("{} {}", words.join("/"), status["summary"].as_str().unwrap_or("-"))
}

fn ready(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|it| it["type"] == "Ready").unwrap_or_default()
}

async fn until(api: &Api, is: &'static str) {
    api.until_later(is, move |api| shown(api) == is).await;
}

/// What was written of the set.
fn reports(api: &Api) -> Vec<Seen> {
    api.asked().into_iter().filter(|seen| seen.path.ends_with(STATUS)).collect()
}

/// The writes of objects, and not of their status: `PATCH all-a-1-…`.
fn writes(api: &Api) -> Vec<String> {
    let of = |seen: Seen| {
        let name = seen.path.rsplit_once("/multiarchimages/")?.1.to_owned();
        let is_write = seen.method != "GET" && !name.contains('/');
        is_write.then(|| format!("{} {name}", seen.method))
    };
    api.asked().into_iter().filter_map(of).collect()
}

/// The name of the object of team/`of`:1.
fn named(api: &Api, of: &str) -> String {
    let begin = format!("all-{of}-1-");
    api.names().into_iter().find(|name| name.starts_with(&begin)).unwrap()
}

/// Lets a while pass, with all that is due in it.
async fn pass(time: Duration) {
    let end = Instant::now() + time;
    tokio::time::timeout_at(end, std::future::pending::<()>()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn an_idle_set_asks_for_nothing() {
    let (api, store, process, reign) = leading();
    push(&store, &["team/a", "team/b"]);
    api.apply_set(set(&["team/a:1", "team/b:1"], json!({"template": {"interval": "24h"}})));
    until(&api, "True/Succeeded 2/2").await;
    assert_eq!(api.events().iter().filter(|it| *it == "Succeeded").count(), 1);
    pass(Duration::from_mins(1)).await;
    api.forget();
    pass(Duration::from_hours(1)).await;
    assert!(api.asked().is_empty(), "{:#?}", api.asked());
    // So it is with the next leader, who looks at all of it.
    reign.lose().await;
    assert_eq!(gauged(&process), [""; 0], "they are the leader's to show");
    let next = start(&api, &store);
    let reign = next.lead();
    pass(Duration::from_mins(1)).await;
    assert!(api.asked().is_empty(), "{:#?}", api.asked());
    assert_eq!(gauged(&next).len(), 3);
    // A list that stands elsewhere is read each interval.
    api.config_map("team/list", "images", "team/a:1\nteam/b:1\n");
    let mut of_map = set_of_map();
    of_map["spec"]["template"] = json!({"interval": "24h"});
    api.apply_set(of_map);
    until(&api, "True/Succeeded 2/2").await;
    api.forget();
    pass(Duration::from_hours(1)).await;
    let asked = api.asked();
    let path = "/api/v1/namespaces/team/configmaps/list";
    assert!(asked.iter().all(|seen| seen.path == path), "{asked:#?}");
    assert!((6..=7).contains(&asked.len()), "{}", asked.len());
    reign.stop().await;
    assert_eq!(gauged(&next), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn counts_are_written_at_most_every_three_seconds() {
    let (api, _, _process, reign) = leading();
    let lines: Vec<_> = (0..40).map(|n| format!("team/app{n}:1")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    // The objects are left alone, so that each is ready when the test says so.
    let alone = json!({"template": {"suspend": true}});
    api.apply_set(set(&lines, alone.clone()));
    let begun = Instant::now();
    until(&api, "Unknown/WaitingForImages 0/40").await;
    pass(Duration::from_secs(10)).await;
    for name in api.names() {
        pass(Duration::from_secs(1)).await;
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        api.report(
            &format!("team/{name}"),
            json!({"observedGeneration": 1, "conditions": [ready]}),
        );
    }
    until(&api, "True/Succeeded 40/40").await;
    let (took, written) = (begun.elapsed(), reports(&api).len());
    let most = took.as_secs() / 3 + 2;
    assert!((10..=most).contains(&(written as u64)), "{written} writes in {took:?}");
    // What a person does is not kept waiting.
    let asked = Instant::now();
    api.apply_set(set(&lines[..39], alone));
    until(&api, "True/Succeeded 39/39").await;
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    let first = reports(&api)[written].body["status"].clone();
    assert_eq!(first["observedGeneration"], 2);
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_deletes_or_edits_is_put_back() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a", "team/b"]);
    api.apply_set(set(&["team/a:1", "team/b:1"], json!({"platforms": ["linux/amd64"]})));
    until(&api, "True/Succeeded 2/2").await;
    let (a, b) = (named(&api, "a"), named(&api, "b"));
    pass(Duration::from_mins(1)).await;
    api.forget();
    api.delete(&format!("team/{a}"));
    api.until_later("it is there again", {
        let a = a.clone();
        move |api| api.names().contains(&a)
    })
    .await;
    until(&api, "True/Succeeded 2/2").await;
    assert_eq!(writes(&api), [format!("PATCH {a}")]);

    pass(Duration::from_mins(1)).await;
    let before = api.object(&format!("team/{b}"));
    let mut edited = before.clone();
    // In a list, an apply alone leaves what another one has put there.
    edited["spec"]["sources"][0]["platforms"] = json!(["linux/arm64"]);
    edited["metadata"]["generation"] = json!(2);
    api.apply(edited);
    let key = format!("team/{b}");
    let spec = before["spec"].clone();
    api.until_later("it is as it was", move |api| api.object(&key)["spec"] == spec).await;
    until(&api, "True/Succeeded 2/2").await;
    // What the set says nothing of is the user's.
    let mut labelled = api.object(&format!("team/{b}"));
    labelled["metadata"]["labels"]["com.example.mine"] = json!("yes");
    api.apply(labelled);
    pass(Duration::from_mins(1)).await;
    let labels = &api.object(&format!("team/{b}"))["metadata"]["labels"];
    assert_eq!(labels["com.example.mine"], "yes");
    assert_eq!(writes(&api).len(), 3, "{:?}", writes(&api));
    reign.stop().await;
}

/// As of a proxy's project: what stands before names there is no part of them.
#[tokio::test(start_paused = true)]
async fn images_may_come_from_below_a_path() {
    let (api, store, _process, reign) = leading();
    push(&store, &["hub/team/a"]);
    let from = json!({"registry": "r.example", "prefix": "hub"});
    api.apply_set(set(&["team/a:1"], json!({"from": from})));
    until(&api, "True/Succeeded 1/1").await;
    let spec = api.object(&format!("team/{}", named(&api, "a")))["spec"].clone();
    assert_eq!(spec["sources"][0]["image"], "r.example/hub/team/a:1");
    assert_eq!(spec["target"]["image"], "r.example/mirror/team/a:1");
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_template_reaches_all_objects_and_is_ready_only_then() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a", "team/b"]);
    let lines = ["team/a:1", "team/b:1"];
    api.apply_set(set(&lines, json!({"template": {"interval": "1h"}})));
    until(&api, "True/Succeeded 2/2").await;
    pass(Duration::from_mins(1)).await;
    api.forget();
    let more = json!({"interval": "1h", "target": {"additionalTags": ["latest"]}});
    api.apply_set(set(&lines, json!({"template": more})));
    until(&api, "True/Succeeded 2/2").await;
    for name in ["team/a", "team/b"] {
        assert!(store.tagged(&format!("mirror/{name}"), "latest").is_some(), "{name}");
    }
    // Never did the set say that it is ready while its objects were not.
    let first = &reports(&api)[0].body["status"];
    assert_eq!((&first["observedGeneration"], &first["summary"]), (&json!(2), &json!("0/2")));
    // What it says no more, the objects say no more.
    api.apply_set(set(&lines, json!({})));
    until(&api, "True/Succeeded 2/2").await;
    for name in api.names() {
        let spec = api.object(&format!("team/{name}"))["spec"].clone();
        let left = [&spec["interval"], &spec["target"]["additionalTags"]];
        assert_eq!(left, [&Value::Null; 2], "{name}");
    }
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_of_somebody_else_is_left() {
    let (api, store) = (Api::new(), Store::new());
    push(&store, &["team/a", "team/b"]);
    let process = start(&api, &store);
    let reign = process.lead();
    api.apply_set(set(&["team/a:1"], json!({})));
    until(&api, "True/Succeeded 1/1").await;
    // As one that was there before the set.
    let a = named(&api, "a");
    let mut others = api.object(&format!("team/{a}"));
    others["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    api.apply(others.clone());
    api.apply_set(set(&["team/a:1", "team/b:1"], json!({})));
    until(&api, "False/ImagesFailing 1/2").await;
    let failing = api.set("team/all")["status"]["failing"].clone();
    assert_eq!(
        (&failing[0]["image"], &failing[0]["reason"]),
        (&json!("team/a:1"), &json!("NotOwned"))
    );
    // Nor is it pruned.
    api.apply_set(set(&["team/b:1"], json!({})));
    until(&api, "True/Succeeded 1/1").await;
    let now = api.object(&format!("team/{a}"));
    assert_eq!(now["metadata"]["annotations"], others["metadata"]["annotations"]);
    assert_eq!(now["metadata"]["ownerReferences"], Value::Null);
    // Where it goes, the set makes its own, though nobody tells.
    api.apply_set(set(&["team/a:1", "team/b:1"], json!({})));
    until(&api, "False/ImagesFailing 1/2").await;
    pass(Duration::from_mins(5)).await;
    api.delete(&format!("team/{a}"));
    let deleted = Instant::now();
    until(&api, "True/Succeeded 2/2").await;
    assert!(deleted.elapsed() <= Duration::from_secs(40), "{:?}", deleted.elapsed());
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_refuses_hurts_only_itself() {
    let (api, store, _process, reign) = leading();
    let names = ["team/a", "team/b", "team/bad", "team/late"];
    push(&store, &names[..3]);
    api.find_invalid(Some("bad"));
    let lines = ["team/a:1", "team/b:1", "team/bad:1", "team/late:1"];
    let quick = json!({"template": {"interval": "30s"}});
    api.apply_set(set(&lines, quick.clone()));
    until(&api, "False/ImagesFailing 2/4").await;
    let failing = api.set("team/all")["status"]["failing"].clone();
    assert_eq!(failing[0]["reason"], "ObjectRefused");
    assert_eq!(failing[0]["message"], "as the test wants it");
    // The others go on, and it is not asked each time that they do.
    push(&store, &names[3..]);
    until(&api, "False/ImagesFailing 3/4").await;
    let tries = |api: &Api| writes(api).iter().filter(|it| it.contains("-bad-")).count();
    assert_eq!(tries(&api), 1);
    assert_eq!(api.set("team/all")["status"]["conditions"].as_array().unwrap().len(), 2);
    pass(Duration::from_mins(25)).await;
    assert_eq!(tries(&api), 3, "each interval");
    // Whoever asks has an answer at once.
    api.find_invalid(None);
    let mut asked = set(&lines, quick);
    asked["metadata"]["annotations"] = json!({"multiarch.dev/requestedAt": "now"});
    api.apply_set(asked);
    let at = Instant::now();
    until(&api, "True/Succeeded 4/4").await;
    assert!(at.elapsed() < Duration::from_mins(1), "{:?}", at.elapsed());
    assert_eq!(api.set("team/all")["status"]["lastHandledReconcileAt"], "now");
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_keeps_no_other_from_being_made() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a", "team/b", "team/c"]);
    api.apply_set(set(&["team/c:1"], json!({})));
    until(&api, "True/Succeeded 1/1").await;
    api.refuse("/multiarchimages/all-b-1", StatusCode::SERVICE_UNAVAILABLE);
    api.apply_set(set(&["team/a:1", "team/b:1"], json!({})));
    until(&api, "Unknown/WaitingForImages 1/2").await;
    assert_eq!(api.names(), [named(&api, "a")], "one is made, one is pruned");
    // It is tried again, and not without end.
    let tries = |api: &Api| writes(api).iter().filter(|it| it.contains("all-b-1")).count();
    let before = tries(&api);
    pass(Duration::from_hours(1)).await;
    let again = tries(&api) - before;
    assert!((55..=80).contains(&again), "{again} tries in an hour");
    api.mend();
    until(&api, "True/Succeeded 2/2").await;
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_comes_back_waits_for_its_object_to_go() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a", "team/b"]);
    let lines = ["team/a:1", "team/b:1"];
    api.apply_set(set(&lines, json!({})));
    until(&api, "True/Succeeded 2/2").await;
    let key = format!("team/{}", named(&api, "a"));
    let mut held = api.object(&key);
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    api.apply(held);
    api.apply_set(set(&lines[1..], json!({})));
    until(&api, "Unknown/WaitingForImages 1/1").await;
    assert!(!api.object(&key)["metadata"]["deletionTimestamp"].is_null());
    let ready = ready(&api.set("team/all")["status"]);
    assert!(ready["message"].as_str().unwrap().contains("1 that are not in the list any more"));
    api.forget();
    api.apply_set(set(&lines, json!({})));
    until(&api, "Unknown/WaitingForImages 1/2").await;
    pass(Duration::from_mins(30)).await;
    assert_eq!(writes(&api), [""; 0], "nothing is applied to what is going");
    let uid = api.object(&key)["metadata"]["uid"].clone();
    api.delete(&key);
    until(&api, "True/Succeeded 2/2").await;
    assert_ne!(api.object(&key)["metadata"]["uid"], uid);
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_goes_on() {
    let (api, store, first, reign) = leading();
    push(&store, &["team/a", "team/b", "team/c"]);
    let second = start(&api, &store);
    api.apply_set(set(&["team/a:1", "team/b:1"], json!({})));
    until(&api, "True/Succeeded 2/2").await;
    reign.lose().await;
    api.forget();
    // While nobody leads, nothing is done.
    api.apply_set(set(&["team/b:1", "team/c:1"], json!({})));
    pass(Duration::from_mins(30)).await;
    assert!(api.asked().is_empty(), "{:#?}", api.asked());
    let reign = second.lead();
    until(&api, "True/Succeeded 2/2").await;
    let (b, c) = (named(&api, "b"), named(&api, "c"));
    assert_eq!(api.names(), [b, c.clone()]);
    assert_eq!(writes(&api).len(), 2, "{:?}", writes(&api));
    assert_eq!(gauged(&first), [""; 0]);
    assert_eq!(gauged(&second).len(), 3);
    // A set that is gone has no series, and its objects are the garbage collector's.
    api.delete_set("team/all");
    pass(Duration::from_mins(1)).await;
    assert_eq!(gauged(&second), [""; 0]);
    assert!(api.names().contains(&c));
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_no_path() {
    let (api, _, _process, reign) = leading();
    for name in ["../secrets/push", "../../other/configmaps/list", "a/b", ""] {
        let mut of_map = set(&[], json!({}));
        of_map["spec"].as_object_mut().unwrap().remove("images");
        of_map["spec"]["imagesFrom"] = json!({"configMapKeyRef": {"name": name, "key": "images"}});
        api.apply_set(of_map);
        until(&api, "Unknown/ListNotFound -").await;
    }
    let asked = api.asked();
    assert!(asked.iter().all(|seen| seen.method != "GET"), "{asked:#?}");
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_may_not_be_read_prunes_nothing() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a"]);
    api.apply_set(set(&["team/a:1"], json!({})));
    until(&api, "True/Succeeded 1/1").await;
    api.config_map("team/list", "images", "team/a:1\n");
    api.refuse("/configmaps/", StatusCode::FORBIDDEN);
    api.apply_set(set_of_map());
    until(&api, "Unknown/ListNotFound 1/1").await;
    let message = ready(&api.set("team/all")["status"])["message"].clone();
    assert!(message.as_str().unwrap().contains("no right to read ConfigMap list"), "{message}");
    assert_eq!(api.names().len(), 1);
    reign.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_set_that_does_not_deserialise_stops_no_other() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a"]);
    let mut odd = set(&["team/a:1"], json!({}));
    odd["metadata"]["name"] = json!("odd");
    odd["metadata"]["uid"] = json!("uid-of-odd");
    odd["spec"]["to"] = json!("registry");
    api.apply_set(odd);
    api.apply_set(set(&["team/a:1"], json!({})));
    until(&api, "True/Succeeded 1/1").await;
    let is_told = |api: &Api| ready(&api.set("team/odd")["status"])["reason"] == "InvalidSpec";
    api.until_later("it is told", is_told).await;
    reign.stop().await;
}

/// A set whose list is the key `images` of the ConfigMap `list`.
fn set_of_map() -> Value {
    let mut set = set(&[], json!({}));
    set["spec"].as_object_mut().unwrap().remove("images");
    set["spec"]["imagesFrom"] = json!({"configMapKeyRef": {"name": "list", "key": "images"}});
    set
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_prunes_all_and_an_absent_one_nothing() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a"]);
    api.config_map("team/list", "images", "team/a:1\n");
    api.apply_set(set_of_map());
    until(&api, "True/Succeeded 1/1").await;
    // The ConfigMap is there, and its key is not.
    api.config_map("team/list", "other", "team/a:1\n");
    until(&api, "Unknown/ListNotFound 1/1").await;
    let message = ready(&api.set("team/all")["status"])["message"].clone();
    assert!(message.as_str().unwrap().contains("has no key images"), "{message}");
    pass(Duration::from_hours(1)).await;
    assert_eq!(api.names().len(), 1);
    api.config_map("team/list", "images", "# nothing more\n\n");
    until(&api, "True/Succeeded 0/0").await;
    assert_eq!(api.names(), [""; 0]);
    assert!(store.tagged("mirror/team/a", "1").is_some(), "tags stay");

    api.apply_set(set(&["team/a:1"], json!({})));
    until(&api, "True/Succeeded 1/1").await;
    api.apply_set(set(&[], json!({})));
    until(&api, "True/Succeeded 0/0").await;
    assert_eq!(api.names(), [""; 0]);
    reign.stop().await;
}

/// That an object is to go with the set makes it nobody's to write or to prune.
#[tokio::test(start_paused = true)]
async fn an_object_that_only_goes_with_the_set_is_its_users() {
    let (api, store, _process, reign) = leading();
    push(&store, &["team/a"]);
    let owner = json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
        "name": "all", "uid": "uid-of-all",
    });
    let own = json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {
            "namespace": "team", "name": "own", "uid": "uid-of-own", "generation": 1,
            "ownerReferences": [owner],
        },
        "spec": {
            "target": {"image": "r.example/own:1"},
            "sources": [{"name": "a", "image": "r.example/team/a:1"}],
        },
    });
    api.apply(own);
    api.apply_set(set(&["team/a:1"], json!({})));
    until(&api, "True/Succeeded 1/1").await;
    pass(Duration::from_hours(1)).await;
    assert!(api.names().contains(&"own".to_owned()), "{:?}", api.names());
    reign.stop().await;
}

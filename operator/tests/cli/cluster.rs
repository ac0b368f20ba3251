//! What is told of a cluster's objects, as JSON; e2e/tests/promises/cli.rs has the commands at a real API server.

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::bench::Bench;

/// An API server that has one object, which `kubectl` would find by the bench's kubeconfig; it ends when dropped.
struct Cluster(JoinHandle<()>);

impl Drop for Cluster {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const OURS: &str = "/apis/multiarch.dev/v1alpha1/namespaces/team-a/";

async fn serve(bench: &Bench, object: Value) -> Cluster {
    serve_with(bench, object, Err(404)).await
}

/// The same with `set`, or with this answer to all that is asked of sets.
async fn serve_with(bench: &Bench, object: Value, set: Result<Value, u16>) -> Cluster {
    let answer = move |request: Request| {
        let answer = found(request.uri().path(), &object, &set);
        async move {
            let (code, body) = answer.map_or_else(
                |(code, details)| {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "no", "reason": "NotFound", "details": details, "code": code});
                    (code, status)
                },
                |body| (200, body),
            );
            let code = StatusCode::from_u16(code).unwrap();
            (code, [(CONTENT_TYPE, "application/json")], body.to_string())
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "team-a"}}],
    });
    bench.file(".kube/config", &kubeconfig.to_string());
    Cluster(tokio::spawn(async move {
        // Only ever ends by being aborted.
        let _ = axum::serve(listener, Router::new().fallback(answer)).await;
    }))
}

/// What is at `path`, or with which code and what details there is nothing.
fn found(path: &str, object: &Value, set: &Result<Value, u16>) -> Result<Value, (u16, Value)> {
    let below = path.strip_prefix(OURS).ok_or((404, Value::Null))?;
    let (kind, name) = below.split_once('/').unwrap_or((below, ""));
    let one = match kind {
        "multiarchimages" => object,
        _ => set.as_ref().map_err(|code| (*code, Value::Null))?,
    };
    match name {
        "" => Ok(json!({"metadata": {}, "items": [one]})),
        name if one["metadata"]["name"] == name => Ok(one.clone()),
        name => Err((404, json!({"kind": kind, "name": name}))),
    }
}

fn set() -> Value {
    let message = "5 of 9 images are ready; a person must act for 3: status.failing names them";
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
        "metadata": {"namespace": "team-a", "name": "k3s", "generation": 1, "uid": "u"},
        "spec": {"images": ["rancher/pause:3.1"], "to": {"registry": "r.example"}},
        "status": {
            "observedGeneration": 1, "summary": "5/9",
            "counts": {"images": 9, "ready": 5, "waiting": 1, "failing": 3},
            "conditions": [{"type": "Ready", "status": "False", "reason": "ImagesFailing", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "failing": [
                {"image": "rancher/pause:3.1", "object": "app", "reason": "WaitingForPlatforms", "message": "waiting for linux/arm64"},
                {"image": "Rancher/x:1", "reason": "InvalidLine", "message": "it is none"},
            ],
        },
    })
}

fn object() -> Value {
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "WaitingForPlatforms", "message": "waiting for linux/arm64",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {"namespace": "team-a", "name": "app", "generation": 1},
        "spec": {"target": {"image": "r.example/app:1"}, "sources": [
            {"name": "amd64", "image": "r.example/app:1-amd64", "platforms": ["linux/amd64"]},
        ]},
        "status": {
            "observedGeneration": 1, "reference": "r.example/app:1@sha256:a", "digest": "sha256:a",
            "conditions": [condition("Ready", "Unknown"), condition("Published", "True")],
            "coverage": {"required": 2, "covered": 1, "published": 1, "missing": ["linux/arm64"], "summary": "1/2"},
            "platforms": [{"platform": "linux/amd64", "digest": "sha256:b", "configDigest": "sha256:c",
                "attestations": ["sha256:d"], "source": "amd64"}],
            "sources": [{"name": "amd64", "state": "Resolved", "digest": "sha256:b", "since": "2026-01-01T00:00:00Z"}],
            "tags": ["1"], "pendingTags": [{"name": "latest", "digest": "sha256:a"}],
        },
    })
}

#[tokio::test]
async fn what_is_printed_holds_the_schema() {
    let bench = Bench::new().await;
    let _cluster = serve(&bench, object()).await;
    let (code, status) = bench.json(&["status"]).await;
    assert_eq!((code, &status["items"][0]["coverage"]["missing"]), (2, &json!(["linux/arm64"])));
    // Events that nobody may read are left out.
    let (code, status) = bench.json(&["status", "app"]).await;
    assert_eq!((code, &status["items"][0]["events"]), (2, &json!([])));
    let (code, tree) = bench.json(&["tree", "app"]).await;
    assert_eq!((code, &tree["items"][0]["tags"][1]["pending"]), (0, &json!(true)));
    let (code, waited) = bench.json(&["wait", "app", "--timeout=0s", "--for=published"]).await;
    assert_eq!((code, &waited["items"][0]["met"]), (0, &json!(true)));
    let (code, waited) = bench.json(&["wait", "app", "--timeout=0s"]).await;
    assert_eq!(code, 2);
    let lacks = "Ready is Unknown, WaitingForPlatforms: waiting for linux/arm64";
    assert_eq!(waited["items"][0]["lacks"], lacks);
}

/// A program gets a document, also where nothing could be done.
#[tokio::test]
async fn what_fails_is_an_item_with_its_error() {
    let bench = Bench::new().await;
    let _cluster = serve(&bench, object()).await;
    for command in ["reconcile", "status", "suspend", "resume"] {
        let (code, printed) = bench.json(&[command, "none"]).await;
        let item = &printed["items"][0];
        assert_eq!(
            (code, &item["name"], &item["namespace"]),
            (1, &json!("none"), &json!("team-a"))
        );
        assert!(item["error"].as_str().unwrap().contains("get team-a/none"), "{printed}");
        let ended = bench.run(&[command, "none"]).await;
        assert!(ended.out.is_empty() && ended.err.contains("get team-a/none"), "{ended:?}");
    }
    let (code, printed) = bench.json(&["suspend", "app"]).await;
    let item = json!({"kind": "MultiArchImage", "namespace": "team-a", "name": "app", "suspended": true, "changed": true});
    assert_eq!((code, &printed["items"][0]), (0, &item));
    let ended = bench.run(&["resume", "app"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "team-a/app resumed already\n"));
}

#[tokio::test]
async fn a_suspended_object_is_resumed_where_it_is() {
    let bench = Bench::new().await;
    let mut asleep = object();
    asleep["spec"]["suspend"] = true.into();
    let _cluster = serve(&bench, asleep).await;
    let ended = bench.run(&["reconcile", "app"]).await;
    let words = "kubectl multiarch resume -n team-a app";
    assert!(ended.code == 1 && ended.err.contains(words), "{ended:?}");
}

#[tokio::test]
async fn a_cluster_without_the_kind_is_told_as_one() {
    let bench = Bench::new().await;
    let _cluster = serve(&bench, object()).await;
    let ended = bench.run(&["status", "-n", "team-b"]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("the cluster serves no MultiArchImages: install the operator's chart"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn sets_are_shown_beside_objects_and_nothing_is_said_twice() {
    let bench = Bench::new().await;
    let _cluster = serve_with(&bench, object(), Ok(set())).await;
    let (code, status) = bench.json(&["status"]).await;
    let shown = &status["sets"][0];
    assert_eq!((code, &shown["summary"], &shown["ready"]), (2, &json!("5/9"), &json!("False")));
    assert_eq!(shown["failing"][1]["message"], "it is none");
    assert_eq!(status["items"].as_array().unwrap().len(), 1);
    let ended = bench.run(&["status"]).await;
    assert!(
        ended.out.contains("mais/k3s   False   5/9      ImagesFailing   3         r.example\n"),
        "{ended:?}"
    );
    for once in ["waiting for linux/arm64", "5 of 9 images are ready", "it is none"] {
        assert_eq!(ended.out.matches(once).count(), 1, "{once}: {}", ended.out);
    }
    // Of a set alone its lines say what they are.
    let ended = bench.run(&["status", "mais/k3s"]).await;
    assert!(ended.code == 2 && ended.out.contains("app   waiting for linux/arm64"), "{ended:?}");
    let mut fine = set();
    fine["status"]["conditions"][0]["status"] = "True".into();
    let _cluster = serve_with(&bench, object(), Ok(fine)).await;
    assert_eq!(bench.json(&["status", "multiarchimageset/k3s"]).await.0, 0);
}

#[tokio::test]
async fn a_set_is_suspended_waited_for_and_drawn() {
    let bench = Bench::new().await;
    let mut owned = object();
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
        "name": "k3s", "uid": "u"}]);
    let _cluster = serve_with(&bench, owned, Ok(set())).await;
    let (code, suspended) = bench.json(&["suspend", "mais/k3s"]).await;
    let item = json!({"kind": "MultiArchImageSet", "namespace": "team-a", "name": "k3s", "suspended": true, "changed": true});
    assert_eq!((code, &suspended["items"][0]), (0, &item));
    let ended = bench.run(&["resume", "mais/k3s", "mai/app"]).await;
    let said = "team-a/mais/k3s resumed already\nteam-a/app resumed already\n";
    assert_eq!((ended.code, ended.out.as_str()), (0, said));

    let (code, waited) = bench.json(&["wait", "mais/k3s", "--timeout=0s"]).await;
    let lacks = waited["items"][0]["lacks"].as_str().unwrap();
    assert!(code == 2 && lacks.starts_with("Ready is False, ImagesFailing: 5 of 9"), "{lacks}");
    let ready = ["wait", "mais/k3s", "--timeout=0s", "--for=condition=Ready=False"];
    assert_eq!(bench.json(&ready).await.0, 0);
    for goal in ["published", "platform=linux/arm64", "condition=SourcesResolved"] {
        let ended = bench.run(&["wait", "mais/k3s", "--for", goal]).await;
        let words = "wait for it to be ready";
        assert!(ended.code == 1 && ended.err.contains(words), "{goal}: {ended:?}");
    }

    let (code, tree) = bench.json(&["tree", "mais/k3s"]).await;
    let [objects, lines] = ["objects", "lines"].map(|of| &tree["sets"][0][of]);
    assert_eq!((code, &objects[0]["name"]), (0, &json!("app")));
    assert_eq!(objects[0]["index"]["reference"], "r.example/app:1@sha256:a");
    assert_eq!(lines.as_array().unwrap().len(), 1, "{tree}");
}

/// Whoever writes the name of a set alone is told what to write.
#[tokio::test]
async fn a_name_of_the_other_kind_is_told_as_one() {
    let bench = Bench::new().await;
    let _cluster = serve_with(&bench, object(), Ok(set())).await;
    for command in
        [&["status"][..], &["reconcile"], &["suspend"], &["tree"], &["wait", "--timeout=0s"]]
    {
        let ended = bench.run(&[command, &["k3s"]].concat()).await;
        let words = "there is a MultiArchImageSet of that name: write mais/k3s";
        assert!(ended.code == 1 && ended.err.contains(words), "{command:?}: {ended:?}");
        let ended = bench.run(&[command, &["mais/app"]].concat()).await;
        let words = "there is a MultiArchImage of that name: write app";
        assert!(ended.code == 1 && ended.err.contains(words), "{command:?}: {ended:?}");
        let ended = bench.run(&[command, &["mais/none"]].concat()).await;
        assert!(ended.code == 1 && !ended.err.contains("of that name"), "{command:?}: {ended:?}");
    }
    let ended = bench.run(&["status", "secret/app"]).await;
    assert!(ended.code == 1 && ended.err.contains("mais/NAME"), "{ended:?}");
}

/// Who has rights to objects alone sees those.
#[tokio::test]
async fn sets_that_may_not_be_listed_hide_no_object() {
    let bench = Bench::new().await;
    let _cluster = serve_with(&bench, object(), Err(403)).await;
    let ended = bench.run(&["status"]).await;
    assert!(ended.code == 2 && ended.out.contains("team-a/app\n"), "{ended:?}");
    assert!(ended.err.contains("note: sets are not shown: no"), "{ended:?}");
}

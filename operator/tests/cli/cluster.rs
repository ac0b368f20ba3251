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

const OBJECTS: &str = "/apis/multiarch.dev/v1alpha1/namespaces/team-a/multiarchimages";

async fn serve(bench: &Bench, object: Value) -> Cluster {
    let answer = move |request: Request| {
        let object = object.clone();
        async move {
            let path = request.uri().path().to_owned();
            let list = json!({"metadata": {}, "items": [object.clone()]});
            let (status, body) = match path.strip_prefix(OBJECTS) {
                Some("") => (StatusCode::OK, list),
                Some("/app") => (StatusCode::OK, object),
                _ => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "no", "reason": "NotFound", "code": 404});
                    (StatusCode::NOT_FOUND, status)
                }
            };
            (status, [(CONTENT_TYPE, "application/json")], body.to_string())
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
    let item = json!({"namespace": "team-a", "name": "app", "suspended": true, "changed": true});
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

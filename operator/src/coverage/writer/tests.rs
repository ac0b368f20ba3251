//! What the writer asks of the API server.

use std::{convert::Infallible, sync::Mutex};

use axum::http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::{
    coverage::{Entries, maps::maps},
    shutdown::Shutdown,
};

type Asked = Arc<Mutex<Vec<String>>>;

/// A client of an API server that has `stored`, and takes what is written over its version; and what it is asked.
fn server(stored: &ConfigMap) -> (Client, Asked) {
    let (asked, stored) = (Asked::default(), stored.clone());
    let log = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        let (method, stored) = (request.method().to_string(), stored.clone());
        log.lock().unwrap().push(method.clone());
        async move {
            let body = request.into_body().collect_bytes().await.unwrap();
            let mut sent: Value = serde_json::from_slice(&body).unwrap_or_default();
            let is_over =
                sent["metadata"]["resourceVersion"] == json!(stored.metadata.resource_version);
            let (code, answer) = match method.as_str() {
                "GET" => (200, json!(stored)),
                "DELETE" => {
                    (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
                }
                "PUT" if !is_over => (
                    409,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "message": "", "code": 409}),
                ),
                _ => {
                    sent["metadata"]["resourceVersion"] = json!("12");
                    (200, sent)
                }
            };
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
        }
    });
    (Client::new(service, "system"), asked)
}

/// The one map there is where there are no objects.
fn map(version: &str) -> ConfigMap {
    let begins = [String::new()].into_iter().collect();
    let mut map = maps(&begins, &Entries::new())[0].over(None, "system");
    map.metadata.resource_version = Some(version.into());
    map
}

/// What a writer that knows `known` asks in so many turns, where the API server has `stored`; and for how long it then pauses.
async fn asked(known: ConfigMap, stored: &ConfigMap, turns: usize) -> (Vec<String>, Duration) {
    let (client, asked) = server(stored);
    let options = Options { objects: Vec::new(), namespace: "system".into() };
    let writer = Writer::new(client.clone(), client.clone(), options, Arc::new(Metrics::new()));
    let term = Term::alone(&Shutdown::default());
    let mut desk = Desk {
        writer: &writer,
        maps: Api::namespaced(client, "system"),
        term: &term,
        plan: Plan::default(),
        seen: Seen::of(1),
        list: vec![known],
        listed: false,
        not_before: Instant::now(),
        failures: 0,
        told: None,
        events: mpsc::unbounded_channel().0,
    };
    desk.saw_map(Event::InitDone);
    for _ in 0..turns {
        desk.turn().await;
    }
    assert!(desk.plan.next().is_none(), "it is as it is to be");
    let asked = asked.lock().unwrap().clone();
    (asked, desk.not_before - Instant::now())
}

#[tokio::test(start_paused = true)]
async fn an_immutable_map_is_made_anew_at_once() {
    let mut fixed = map("10");
    fixed.immutable = Some(true);
    let (asked, pause) = asked(fixed.clone(), &fixed, 1).await;
    assert_eq!(asked, ["DELETE", "POST"]);
    assert_eq!(pause, PACE * 2, "they are two writes");
}

/// As after a restore of etcd of which no watch has told.
#[tokio::test(start_paused = true)]
async fn an_older_version_that_is_there_is_written_over() {
    let edited = |version: &str| ConfigMap {
        data: Some([("x".to_owned(), "y".to_owned())].into()),
        ..map(version)
    };
    let (asked, pause) = asked(edited("1000"), &edited("10"), 2).await;
    assert_eq!(asked, ["PUT", "GET", "PUT"]);
    assert_eq!(pause, PACE);
}

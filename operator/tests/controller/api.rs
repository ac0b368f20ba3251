//! An API server of one page: it lists, watches, applies status, hands out Secrets one by one, and remembers each request.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

/// The path of all objects.
const OBJECTS: &str = "/apis/multiarch.dev/v1alpha1/multiarchimages";

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<Inner>>,
    ticks: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Value>,
    secrets: BTreeMap<String, Value>,
    accounts: BTreeMap<String, Value>,
    version: u64,
    seen: Vec<Seen>,
    /// Who watches which namespace, or all.
    watchers: Vec<(Option<String>, mpsc::UnboundedSender<String>)>,
    broken: Option<(&'static str, StatusCode)>,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), ticks: watch::Sender::new(0) }
    }

    /// A client of it.
    pub(crate) async fn client(&self) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Client::try_from(Config::new(url.parse().unwrap())).unwrap()
    }

    /// Something happened that [`Self::until`] may wait for.
    pub(crate) fn tick(&self) {
        self.ticks.send_modify(|ticks| *ticks += 1);
    }

    /// Waits until `is`, which is asked whenever something happened.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let mut ticks = self.ticks.subscribe();
        let wait = async {
            while !is(self) {
                ticks.changed().await.unwrap();
            }
        };
        // Not a limit that is tested: a test that waits for what never comes shall say so.
        let waited = tokio::time::timeout(std::time::Duration::from_mins(1), wait).await;
        assert!(waited.is_ok(), "{what} never happened: {:#?}", self.seen());
    }

    /// Creates an object or replaces all of it but its status, as a user does, who is told.
    pub(crate) fn apply(&self, mut object: Value) {
        let mut state = self.state();
        let key = key(&object["metadata"]);
        let old = state.objects.get(&key).cloned();
        if let Some(old) = &old {
            object["status"] = old["status"].clone();
        }
        state.put(&key, object, if old.is_some() { "MODIFIED" } else { "ADDED" });
    }

    pub(crate) fn object(&self, key: &str) -> Value {
        self.state().objects[key].clone()
    }

    pub(crate) fn secret(&self, key: &str, secret: Value) {
        self.state().secrets.insert(key.into(), secret);
    }

    pub(crate) fn account(&self, key: &str, account: Value) {
        self.state().accounts.insert(key.into(), account);
    }

    /// Answers requests for paths that contain `part` with HTTP 500.
    pub(crate) fn break_path(&self, part: &'static str) {
        self.refuse(part, StatusCode::INTERNAL_SERVER_ERROR);
    }

    /// Answers requests for paths that contain `part` with this status.
    pub(crate) fn refuse(&self, part: &'static str, status: StatusCode) {
        self.state().broken = Some((part, status));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    pub(crate) fn forget(&self) {
        self.state().seen.clear();
    }

    /// All but the reads of the watch.
    pub(crate) fn asked(&self) -> Vec<Seen> {
        let seen = self.seen().into_iter();
        seen.filter(|seen| !(seen.method == "GET" && seen.path == OBJECTS)).collect()
    }

    pub(crate) fn patches(&self) -> Vec<Seen> {
        self.asked().into_iter().filter(|seen| seen.method == "PATCH").collect()
    }

    /// The Events told, by reason.
    pub(crate) fn events(&self) -> Vec<String> {
        let posts = self.asked().into_iter().filter(|seen| seen.method == "POST");
        posts.map(|seen| seen.body["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, key: &str, mut object: Value, event: &str) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key.into(), object.clone());
        let line = format!("{}\n", json!({"type": event, "object": object}));
        let of = object["metadata"]["namespace"].as_str();
        self.watchers.retain(|(namespace, watcher)| {
            let watches = namespace.as_deref().is_none_or(|namespace| Some(namespace) == of);
            !watches || watcher.send(line.clone()).is_ok()
        });
    }

    fn list(&mut self, namespace: Option<String>, watch: bool) -> Response {
        if watch {
            let (sender, receiver) = mpsc::unbounded_channel::<String>();
            self.watchers.push((namespace, sender));
            let lines = futures::stream::unfold(receiver, |mut receiver| async {
                receiver.recv().await.map(|line| (line, receiver))
            });
            return Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>)).into_response();
        }
        let of = |object: &&Value| {
            let of = object["metadata"]["namespace"].as_str();
            namespace.as_deref().is_none_or(|namespace| Some(namespace) == of)
        };
        json_response(&json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageList",
            "metadata": {"resourceVersion": self.version.to_string()},
            "items": self.objects.values().filter(of).collect::<Vec<_>>(),
        }))
    }

    fn answer(&mut self, seen: &Seen) -> Response {
        if let Some((_, status)) = self.broken.filter(|(part, _)| seen.path.contains(part)) {
            return failure(status);
        }
        let parts: Vec<_> = seen.path.trim_matches('/').split('/').collect();
        let lists = match parts.as_slice() {
            ["apis", _, _, "multiarchimages"] => Some(None),
            ["apis", _, _, "namespaces", namespace, "multiarchimages"] => {
                Some(Some((*namespace).to_owned()))
            }
            _ => None,
        };
        if let Some(namespace) = lists.filter(|_| seen.method == "GET") {
            return self.list(namespace, seen.query.contains("watch=true"));
        }
        match (seen.method.as_str(), parts.as_slice()) {
            ("GET", ["apis", _, _, "namespaces", namespace, "multiarchimages", name]) => {
                found(self.objects.get(&format!("{namespace}/{name}")))
            }
            ("GET", ["api", "v1", "namespaces", namespace, "secrets", name]) => {
                found(self.secrets.get(&format!("{namespace}/{name}")))
            }
            ("GET", ["api", "v1", "namespaces", namespace, "serviceaccounts", name]) => {
                found(self.accounts.get(&format!("{namespace}/{name}")))
            }
            (
                "PATCH",
                ["apis", _, _, "namespaces", namespace, "multiarchimages", name, "status"],
            ) => {
                let key = format!("{namespace}/{name}");
                let Some(mut object) = self.objects.get(&key).cloned() else {
                    return found(None);
                };
                let mut status = seen.body["status"].clone();
                let conditions = object["status"]["conditions"].as_array().cloned();
                // Conditions of other managers stay.
                let foreign = conditions.unwrap_or_default().into_iter();
                let foreign = foreign.filter(|c| c["type"].as_str().unwrap().contains('/'));
                if let Some(conditions) = status["conditions"].as_array_mut() {
                    conditions.extend(foreign);
                }
                object["status"] = status;
                self.put(&key, object, "MODIFIED");
                json_response(&self.objects[&key])
            }
            ("POST", [.., "events"]) => json_response(&seen.body),
            _ => failure(StatusCode::NOT_FOUND),
        }
    }
}

async fn answer(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let seen = Seen {
        method: method.to_string(),
        path: uri.path().into(),
        query: uri.query().unwrap_or_default().into(),
        content_type: content_type.unwrap_or_default().into(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let response = {
        let mut state = api.state();
        state.seen.push(seen.clone());
        state.answer(&seen)
    };
    api.tick();
    response
}

fn key(metadata: &Value) -> String {
    format!("{}/{}", metadata["namespace"].as_str().unwrap(), metadata["name"].as_str().unwrap())
}

fn found(object: Option<&Value>) -> Response {
    object.map_or_else(|| failure(StatusCode::NOT_FOUND), json_response)
}

fn json_response(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn failure(status: StatusCode) -> Response {
    let reason = match status {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::FORBIDDEN => "Forbidden",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": "as the test wants it", "code": status.as_u16(),
    });
    (status, json_response(&body)).into_response()
}

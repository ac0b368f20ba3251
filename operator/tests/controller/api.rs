//! An API server of one page: it lists, watches, applies status, applies and deletes what sets own, hands out Secrets and ConfigMaps one by one, and
//! remembers each request.
//! It can fall silent, forget what was, and not know the kind.

#![allow(dead_code, reason = "each suite uses its own part")]

#[path = "apply.rs"]
mod apply;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use kube::{Client, Config, client};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

/// The path of all objects.
const OBJECTS: &str = "/apis/multiarch.dev/v1alpha1/multiarchimages";
/// The path of all sets.
const SETS: &str = "/apis/multiarch.dev/v1alpha1/multiarchimagesets";
/// The path of all nodes.
pub(crate) const NODES: &str = "/api/v1/nodes";

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Seen {
    fn is_list(&self) -> bool {
        self.method == "GET" && self.path == OBJECTS && !self.query.contains("watch=true")
    }
}

#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<Inner>>,
    ticks: watch::Sender<u64>,
}

/// The objects of a kind, by namespace and name.
#[derive(Default)]
struct Kind {
    objects: BTreeMap<String, Value>,
    /// Who watches which namespace, or all.
    watchers: Vec<(Option<String>, mpsc::UnboundedSender<String>)>,
    /// What was told so far, and from which version on.
    told: Vec<(u64, Option<String>, String)>,
}

#[derive(Default)]
struct Inner {
    images: Kind,
    sets: Kind,
    maps: BTreeMap<String, Value>,
    /// Objects whose name contains this are refused for what they say.
    invalid: Option<&'static str>,
    secrets: BTreeMap<String, Value>,
    accounts: BTreeMap<String, Value>,
    /// The metadata of the nodes, and who watches them.
    nodes: BTreeMap<String, Value>,
    node_watchers: Vec<mpsc::UnboundedSender<String>>,
    version: u64,
    /// The specs that were applied last.
    applied: BTreeMap<String, Value>,
    seen: Vec<Seen>,
    broken: Option<(&'static str, StatusCode)>,
    oldest: u64,
    /// Watches tell nothing, and do not end.
    silent: bool,
    /// There is no such kind.
    unknown: bool,
    /// How long a list takes.
    list_takes: Duration,
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

    /// A client of it without a network between, for a clock that jumps.
    pub(crate) fn near(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<client::Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let answer = answer(State(api), parts.method, parts.uri, parts.headers, body).await;
                Ok::<_, kube::Error>(answer)
            }
        });
        Client::new(service, "default")
    }

    /// Something happened that [`Self::until`] may wait for.
    pub(crate) fn tick(&self) {
        self.ticks.send_modify(|ticks| *ticks += 1);
    }

    /// Waits until `is`, which is asked whenever something happened.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        // Not a limit that is tested: a test that waits for what never comes shall say so.
        self.until_within(Duration::from_mins(1), what, is).await;
    }

    /// The same for an hour, on a clock that jumps.
    pub(crate) async fn until_later(&self, what: &str, is: impl Fn(&Self) -> bool) {
        self.until_within(Duration::from_hours(1), what, is).await;
    }

    async fn until_within(&self, limit: Duration, what: &str, is: impl Fn(&Self) -> bool) {
        let mut ticks = self.ticks.subscribe();
        let wait = async {
            while !is(self) {
                ticks.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(limit, wait).await;
        assert!(waited.is_ok(), "{what} never happened: {:#?}", self.seen());
    }

    /// Creates an object or replaces all of it but its status, as a user does, who is told.
    pub(crate) fn apply(&self, mut object: Value) {
        let mut state = self.state();
        let key = key(&object["metadata"]);
        let old = state.images.objects.get(&key).cloned();
        if let Some(old) = &old {
            object["status"] = old["status"].clone();
        }
        state.put(&key, object, if old.is_some() { "MODIFIED" } else { "ADDED" });
    }

    /// The same of a set.
    pub(crate) fn apply_set(&self, mut set: Value) {
        let mut state = self.state();
        let key = key(&set["metadata"]);
        let old = state.sets.objects.get(&key).cloned();
        let mut generation = 1;
        if let Some(old) = &old {
            set["status"] = old["status"].clone();
            let before = old["metadata"]["generation"].as_u64().unwrap();
            generation = before + u64::from(old["spec"] != set["spec"]);
        }
        set["metadata"]["generation"] = json!(generation);
        state.put_of(SETS, &key, set, if old.is_some() { "MODIFIED" } else { "ADDED" });
    }

    /// A set is gone, and what it owned is left to the garbage collector, which is not here.
    pub(crate) fn delete_set(&self, key: &str) {
        let mut state = self.state();
        let set = state.sets.objects[key].clone();
        state.put_of(SETS, key, set, "DELETED");
        state.sets.objects.remove(key);
    }

    pub(crate) fn set(&self, key: &str) -> Value {
        self.state().sets.objects[key].clone()
    }

    /// The names of all objects.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.state();
        state
            .images
            .objects
            .values()
            .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A ConfigMap with one key.
    pub(crate) fn config_map(&self, at: &str, key: &str, text: &str) {
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {key: text}});
        self.state().maps.insert(at.into(), map);
    }

    /// From now on objects whose name contains `part` are refused.
    pub(crate) fn find_invalid(&self, part: Option<&'static str>) {
        self.state().invalid = part;
    }

    /// Writes the status of an object, as another operator does.
    pub(crate) fn report(&self, key: &str, status: Value) {
        let mut state = self.state();
        let mut object = state.images.objects[key].clone();
        object["status"] = status;
        state.put(key, object, "MODIFIED");
    }

    /// Deletes an object, and everybody is told.
    pub(crate) fn delete(&self, key: &str) {
        let mut state = self.state();
        let object = state.images.objects[key].clone();
        state.put(key, object, "DELETED");
        state.images.objects.remove(key);
    }

    /// A node joins with these labels, or has these now.
    pub(crate) fn join(&self, name: &str, labels: &[(&str, &str)]) {
        let mut state = self.state();
        state.version += 1;
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let version = state.version.to_string();
        let metadata = json!({"name": name, "resourceVersion": version, "labels": labels});
        let node = partial(&metadata);
        let event = if state.nodes.contains_key(name) { "MODIFIED" } else { "ADDED" };
        state.nodes.insert(name.into(), node.clone());
        state.tell_of_node(event, &node);
    }

    /// A node leaves.
    pub(crate) fn leave(&self, name: &str) {
        let mut state = self.state();
        state.version += 1;
        let mut node = state.nodes.remove(name).unwrap();
        node["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.tell_of_node("DELETED", &node);
    }

    /// From now on watches tell nothing, as on a connection that is dead; or they do again, from now on.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// Ends all watches. Who goes on from what it has seen is told that this is too long ago.
    pub(crate) fn expire(&self) {
        let mut state = self.state();
        state.oldest = state.version + 1;
        state.images.told.clear();
        state.images.watchers.clear();
    }

    /// The data are those of an older backup: versions begin anew, and all watches end.
    pub(crate) fn go_back(&self) {
        let mut state = self.state();
        (state.version, state.oldest) = (1, 0);
        state.images.told.clear();
        state.images.watchers.clear();
        for object in state.images.objects.values_mut() {
            object["metadata"]["resourceVersion"] = json!("1");
        }
    }

    /// The CRD is removed, with all objects; or it is there again.
    pub(crate) fn know_the_kind(&self, known: bool) {
        let mut state = self.state();
        state.unknown = !known;
        if !known {
            state.images.objects.clear();
            state.images.watchers.clear();
        }
    }

    /// From now on it takes so long to list.
    pub(crate) fn take_to_list(&self, by: Duration) {
        self.state().list_takes = by;
    }

    /// How often all objects were listed.
    pub(crate) fn lists(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_list()).count()
    }

    pub(crate) fn object(&self, key: &str) -> Value {
        self.state().images.objects[key].clone()
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

    /// Answers everything again.
    pub(crate) fn mend(&self) {
        self.state().broken = None;
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
        let watched = |seen: &Seen| [OBJECTS, SETS, NODES].contains(&seen.path.as_str());
        seen.filter(|seen| !(seen.method == "GET" && watched(seen))).collect()
    }

    /// What was written of how runs ended, and of how far they are.
    pub(crate) fn patches(&self) -> Vec<Seen> {
        let patches = self.asked().into_iter().filter(|seen| seen.method == "PATCH");
        patches.filter(|seen| !intends(&seen.body)).collect()
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
    fn put(&mut self, key: &str, object: Value, event: &str) {
        self.put_of(OBJECTS, key, object, event);
    }

    fn kind(&mut self, path: &str) -> &mut Kind {
        if path == SETS { &mut self.sets } else { &mut self.images }
    }

    fn put_of(&mut self, path: &str, key: &str, mut object: Value, event: &str) {
        self.version += 1;
        let (version, silent) = (self.version, self.silent);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let kind = self.kind(path);
        kind.objects.insert(key.into(), object.clone());
        let line = format!("{}\n", json!({"type": event, "object": object}));
        if silent {
            return;
        }
        let of = object["metadata"]["namespace"].as_str();
        kind.told.push((version, of.map(ToOwned::to_owned), line.clone()));
        kind.watchers.retain(|(namespace, watcher)| {
            let watches = namespace.as_deref().is_none_or(|namespace| Some(namespace) == of);
            !watches || watcher.send(line.clone()).is_ok()
        });
    }

    fn tell_of_node(&mut self, event: &str, node: &Value) {
        let line = format!("{}\n", json!({"type": event, "object": node}));
        self.node_watchers.retain(|watcher| watcher.send(line.clone()).is_ok());
    }

    /// Lists the nodes, or watches those that come from now on: nobody here watches from what was long ago.
    fn answer_nodes(&mut self, watches: bool) -> Response {
        if watches {
            let (sender, receiver) = mpsc::unbounded_channel::<String>();
            self.node_watchers.push(sender);
            return lines(receiver);
        }
        json_response(&json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": self.version.to_string()},
            "items": self.nodes.values().collect::<Vec<_>>(),
        }))
    }

    fn watch(&mut self, path: &str, namespace: Option<String>, since: u64) -> Response {
        let (sender, receiver) = mpsc::unbounded_channel::<String>();
        if since > self.version {
            return failure(StatusCode::GATEWAY_TIMEOUT);
        }
        if since < self.oldest {
            let gone = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired",
                "message": "too old resource version", "code": 410,
            });
            sender.send(format!("{}\n", json!({"type": "ERROR", "object": gone}))).unwrap();
        }
        let oldest = self.oldest;
        let kind = self.kind(path);
        for (version, of, line) in &kind.told {
            if *version > since && (namespace.is_none() || namespace == *of) {
                sender.send(line.clone()).unwrap();
            }
        }
        if since >= oldest {
            kind.watchers.push((namespace, sender));
        }
        lines(receiver)
    }

    fn list(
        &mut self,
        path: &str,
        namespace: Option<&str>,
        query: &BTreeMap<String, String>,
    ) -> Response {
        let field = query.get("fieldSelector").map(|field| field.split_once('=').unwrap());
        let label = query.get("labelSelector").map(|label| label.split_once('=').unwrap());
        let selected = |object: &Value| {
            let field = field.is_none_or(|(path, is)| {
                path.split('.').fold(object, |part, name| &part[name]) == is
            });
            field && label.is_none_or(|(name, is)| object["metadata"]["labels"][name] == is)
        };
        let of = |object: &&Value| {
            let of = object["metadata"]["namespace"].as_str();
            namespace.is_none_or(|namespace| Some(namespace) == of) && selected(object)
        };
        let version = self.version.to_string();
        let kind = if path == SETS { "MultiArchImageSetList" } else { "MultiArchImageList" };
        json_response(&json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": kind,
            "metadata": {"resourceVersion": version},
            "items": self.kind(path).objects.values().filter(of).collect::<Vec<_>>(),
        }))
    }

    fn answer(&mut self, seen: &Seen) -> Response {
        if let Some((_, status)) = self.broken.filter(|(part, _)| seen.path.contains(part)) {
            return failure(status);
        }
        if seen.path == NODES {
            return self.answer_nodes(seen.query.contains("watch=true"));
        }
        let parts: Vec<_> = seen.path.trim_matches('/').split('/').collect();
        let lists = match parts.as_slice() {
            ["apis", _, _, "multiarchimages"] => Some((OBJECTS, None)),
            ["apis", _, _, "multiarchimagesets"] => Some((SETS, None)),
            ["apis", _, _, "namespaces", namespace, "multiarchimages"] => {
                Some((OBJECTS, Some((*namespace).to_owned())))
            }
            ["apis", _, _, "namespaces", namespace, "multiarchimagesets"] => {
                Some((SETS, Some((*namespace).to_owned())))
            }
            _ => None,
        };
        if self.unknown && parts.contains(&"multiarchimages") {
            return failure(StatusCode::NOT_FOUND);
        }
        if let Some((path, namespace)) = lists.filter(|_| seen.method == "GET") {
            let query: BTreeMap<String, String> =
                url::form_urlencoded::parse(seen.query.as_bytes()).into_owned().collect();
            if query.get("watch").is_some_and(|watch| watch == "true") {
                let since = query.get("resourceVersion").and_then(|since| since.parse().ok());
                return self.watch(path, namespace, since.unwrap_or(0));
            }
            return self.list(path, namespace.as_deref(), &query);
        }
        match (seen.method.as_str(), parts.as_slice()) {
            ("GET", ["apis", _, _, "namespaces", namespace, "multiarchimages", name]) => {
                found(self.images.objects.get(&format!("{namespace}/{name}")))
            }
            ("GET", ["apis", _, _, "namespaces", namespace, "multiarchimagesets", name]) => {
                found(self.sets.objects.get(&format!("{namespace}/{name}")))
            }
            ("GET", ["api", "v1", "namespaces", namespace, "configmaps", name]) => {
                found(self.maps.get(&format!("{namespace}/{name}")))
            }
            ("PATCH", ["apis", _, _, "namespaces", namespace, "multiarchimages", name])
                if seen.body["apiVersion"].is_string() =>
            {
                self.server_side_apply(&format!("{namespace}/{name}"), &seen.body)
            }
            ("PATCH", ["apis", _, _, "namespaces", namespace, "multiarchimages", name])
                if seen.body.is_object() =>
            {
                self.merge(&format!("{namespace}/{name}"), &seen.body)
            }
            ("DELETE", ["apis", _, _, "namespaces", namespace, "multiarchimages", name]) => {
                self.delete(&format!("{namespace}/{name}"), &seen.body)
            }
            ("GET", ["api", "v1", "namespaces", namespace, "secrets", name]) => {
                found(self.secrets.get(&format!("{namespace}/{name}")))
            }
            ("GET", ["api", "v1", "namespaces", namespace, "serviceaccounts", name]) => {
                found(self.accounts.get(&format!("{namespace}/{name}")))
            }
            (
                "PATCH",
                [
                    "apis",
                    _,
                    _,
                    "namespaces",
                    namespace,
                    plural @ ("multiarchimages" | "multiarchimagesets"),
                    name,
                    "status",
                ],
            ) => {
                let path = if *plural == "multiarchimages" { OBJECTS } else { SETS };
                let key = format!("{namespace}/{name}");
                let Some(mut object) = self.kind(path).objects.get(&key).cloned() else {
                    return found(None);
                };
                let version = &seen.body["metadata"]["resourceVersion"];
                if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
                    return failure(StatusCode::CONFLICT);
                }
                let mut status = seen.body["status"].clone();
                let conditions = object["status"]["conditions"].as_array().cloned();
                // Conditions of other managers stay.
                let foreign = conditions.unwrap_or_default().into_iter();
                let foreign: Vec<_> =
                    foreign.filter(|c| c["type"].as_str().unwrap().contains('/')).collect();
                match status.get_mut("conditions").and_then(Value::as_array_mut) {
                    Some(conditions) => conditions.extend(foreign),
                    None if foreign.is_empty() => {}
                    None => status["conditions"] = json!(foreign),
                }
                object["status"] = status;
                self.put_of(path, &key, object, "MODIFIED");
                json_response(&self.kind(path).objects[&key])
            }
            ("POST", [.., "events"]) => json_response(&seen.body),
            _ => failure(StatusCode::NOT_FOUND),
        }
    }
}

impl Inner {
    /// What one manager applies: what it applied before and does not any more goes, and what others have put there stays, in lists as well.
    fn server_side_apply(&mut self, key: &str, body: &Value) -> Response {
        let name = body["metadata"]["name"].as_str().unwrap();
        if self.invalid.is_some_and(|part| name.contains(part)) {
            return failure(StatusCode::UNPROCESSABLE_ENTITY);
        }
        let before = self.images.objects.get(key).cloned();
        let mut object = before.clone().unwrap_or_else(|| {
            let uid = format!("uid-{}", self.version + 1);
            let [api, kind] = [&body["apiVersion"], &body["kind"]];
            let metadata = json!({"namespace": body["metadata"]["namespace"], "name": name, "uid": uid, "generation": 0});
            json!({"apiVersion": api, "kind": kind, "metadata": metadata, "status": {"observedGeneration": -1}})
        });
        let uid = &body["metadata"]["uid"];
        if uid.is_string() && *uid != object["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT);
        }
        for field in ["labels", "annotations"] {
            for (key, value) in body["metadata"][field].as_object().into_iter().flatten() {
                object["metadata"][field][key] = value.clone();
            }
        }
        object["metadata"]["ownerReferences"] = body["metadata"]["ownerReferences"].clone();
        let last = self.applied.insert(key.to_owned(), body["spec"].clone()).unwrap_or_default();
        let spec = apply::applied(&body["spec"], &last, &object["spec"]);
        if object["spec"] != spec {
            let generation = object["metadata"]["generation"].as_u64().unwrap();
            object["metadata"]["generation"] = json!(generation + 1);
            object["spec"] = spec;
        }
        if before.as_ref() != Some(&object) {
            let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
            self.put(key, object, event);
        }
        json_response(&self.images.objects[key])
    }

    /// RFC 7396, of the spec, where the object is at the version that `body` says.
    fn merge(&mut self, key: &str, body: &Value) -> Response {
        let Some(mut object) = self.images.objects.get(key).cloned() else { return found(None) };
        if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return failure(StatusCode::CONFLICT);
        }
        let mut spec = object["spec"].clone();
        json_patch::merge(&mut spec, &body["spec"]);
        if object["spec"] != spec {
            let generation = object["metadata"]["generation"].as_u64().unwrap();
            object["metadata"]["generation"] = json!(generation + 1);
            object["spec"] = spec;
            self.put(key, object, "MODIFIED");
        }
        json_response(&self.images.objects[key])
    }

    /// An object with a finalizer stays until that is taken off.
    fn delete(&mut self, key: &str, options: &Value) -> Response {
        let Some(mut object) = self.images.objects.get(key).cloned() else { return found(None) };
        if options["preconditions"]["uid"] != object["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT);
        }
        if object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty()) {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            self.put(key, object, "MODIFIED");
        } else {
            self.put(key, object, "DELETED");
            self.images.objects.remove(key);
        }
        json_response(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
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
    let takes = {
        let mut state = api.state();
        state.seen.push(seen.clone());
        if seen.is_list() { state.list_takes } else { Duration::ZERO }
    };
    if !takes.is_zero() {
        tokio::time::sleep_until(tokio::time::Instant::now() + takes).await;
    }
    let response = api.state().answer(&seen);
    api.tick();
    response
}

/// Whether `object` says what is about to be written to its registry.
pub(crate) fn intends(object: &Value) -> bool {
    let pending = object["status"]["pendingTags"].as_array();
    pending.is_some_and(|tags| tags.iter().any(|tag| tag["intended"].is_string()))
}

fn key(metadata: &Value) -> String {
    format!("{}/{}", metadata["namespace"].as_str().unwrap(), metadata["name"].as_str().unwrap())
}

fn found(object: Option<&Value>) -> Response {
    object.map_or_else(|| failure(StatusCode::NOT_FOUND), json_response)
}

/// What a metadata-only request gives of an object.
fn partial(metadata: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata})
}

fn lines(receiver: mpsc::UnboundedReceiver<String>) -> Response {
    let lines = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|line| (line, receiver))
    });
    Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>)).into_response()
}

fn json_response(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn failure(status: StatusCode) -> Response {
    let reason = match status {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        StatusCode::GATEWAY_TIMEOUT => "Timeout",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": "as the test wants it", "code": status.as_u16(),
    });
    (status, json_response(&body)).into_response()
}

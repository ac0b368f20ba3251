//! An API server with one Lease, which each of its clients reaches, or does not.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::watch;

/// What becomes of a client's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    /// They are answered.
    #[default]
    Open,
    /// They never arrive.
    Cut,
    /// They arrive, and no answer does.
    Deaf,
    /// The same of those that write.
    DeafToWrites,
    /// They are refused with this code.
    Refused(u16),
}

#[derive(Clone, Default)]
pub(crate) struct Leases {
    lease: Arc<Mutex<(Option<Value>, u64)>>,
    /// Counts requests that were answered, or not.
    asked: watch::Sender<u64>,
}

impl Leases {
    /// A client, and the line that it has.
    pub(crate) fn client(&self) -> (Client, watch::Sender<Line>) {
        let (line, lines) = watch::channel(Line::Open);
        let leases = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (leases, line) = (leases.clone(), *lines.borrow());
            async move { Ok::<_, Infallible>(leases.answer(request, line).await) }
        });
        (Client::new(service, "default"), line)
    }

    /// The Lease as it is.
    pub(crate) fn lease(&self) -> Option<Value> {
        self.state().0.clone()
    }

    pub(crate) fn holder(&self) -> Option<String> {
        Some(self.lease()?["spec"]["holderIdentity"].as_str()?.to_owned())
    }

    /// Somebody writes the Lease, whatever it was.
    pub(crate) fn put(&self, holder: &str, seconds: u32) {
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": seconds});
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "leader", "namespace": "system", "labels": {"of": "somebody"}},
            "spec": spec,
        });
        self.state().write(lease);
    }

    pub(crate) fn delete(&self) {
        self.state().0 = None;
    }

    /// Waits until `requests` more requests were made.
    pub(crate) async fn asked(&self, requests: u64) {
        let mut asked = self.asked.subscribe();
        let so_far = *asked.borrow_and_update();
        asked.wait_for(|asked| *asked >= so_far + requests).await.unwrap();
    }

    async fn answer(&self, request: Request<Body>, line: Line) -> Response<Body> {
        self.asked.send_modify(|asked| *asked += 1);
        match line {
            Line::Cut => std::future::pending().await,
            Line::Refused(code) => return failure(code, "as the test wants it"),
            Line::Open | Line::Deaf | Line::DeafToWrites => {}
        }
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let sent: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let answer = self.state().handle(&parts.method, parts.uri.path(), sent);
        let writes = parts.method != Method::GET;
        if line == Line::Deaf || (line == Line::DeafToWrites && writes) {
            std::future::pending::<()>().await;
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, (Option<Value>, u64)> {
        self.lease.lock().unwrap()
    }
}

trait State {
    fn write(&mut self, lease: Value) -> Response<Body>;
    fn handle(&mut self, method: &Method, path: &str, sent: Value) -> Response<Body>;
}

impl State for (Option<Value>, u64) {
    fn write(&mut self, mut lease: Value) -> Response<Body> {
        self.1 += 1;
        lease["metadata"]["resourceVersion"] = json!(self.1.to_string());
        self.0 = Some(lease.clone());
        ok(&lease)
    }

    fn handle(&mut self, method: &Method, path: &str, sent: Value) -> Response<Body> {
        const ALL: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases";
        let one = format!("{ALL}/leader");
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        match (method.as_str(), path, &self.0) {
            ("GET", path, Some(lease)) if path == one => ok(lease),
            ("GET" | "PUT", path, None) if path == one => failure(404, "NotFound"),
            ("POST", ALL, None) => self.write(sent),
            ("POST", ALL, Some(_)) => failure(409, "AlreadyExists"),
            ("PUT", path, Some(lease)) if path == one && version(lease) != version(&sent) => {
                failure(409, "Conflict")
            }
            ("PUT", path, Some(_)) if path == one => self.write(sent),
            _ => panic!("{method} {path}"),
        }
    }
}

fn ok(value: &Value) -> Response<Body> {
    Response::new(Body::from(value.to_string().into_bytes()))
}

fn failure(code: u16, reason: &str) -> Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": reason, "code": code,
    });
    let mut response = ok(&body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

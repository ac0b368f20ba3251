//! Asks the API server for something, and says what the policies made of it.

use anyhow::{Context, Result, bail};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Warned(String),
    Refused(String),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    content: &'static str,
    body: Value,
}

impl Ask {
    /// To create `object` in `namespace`.
    pub(crate) fn create(namespace: &str, object: &Value) -> Self {
        let kind = object["kind"].as_str().unwrap();
        Self {
            method: Method::POST,
            path: folder(namespace, kind),
            content: "application/json",
            body: object.clone(),
        }
    }

    /// To patch the object `name` of `kind`, or its subresource (`name/ephemeralcontainers`), as kubectl does.
    pub(crate) fn patch(namespace: &str, kind: &str, name: &str, body: Value) -> Self {
        Self {
            method: Method::PATCH,
            path: format!("{}/{name}", folder(namespace, kind)),
            content: "application/strategic-merge-patch+json",
            body,
        }
    }

    /// To delete it.
    pub(crate) fn delete(namespace: &str, kind: &str, name: &str) -> Self {
        Self {
            method: Method::DELETE,
            content: "application/json",
            ..Self::patch(namespace, kind, name, json!({}))
        }
    }

    /// Asks without any effect.
    pub(crate) async fn try_out(&self, client: &Client) -> Result<Verdict> {
        self.send(client, "?dryRun=All").await.map(|(verdict, _)| verdict)
    }

    /// The same; what would be stored.
    pub(crate) async fn would_be(&self, client: &Client) -> Result<Value> {
        self.send(client, "?dryRun=All").await.map(|(_, stored)| stored)
    }

    /// Asks, and means it.
    pub(crate) async fn done(&self, client: &Client) -> Result<Verdict> {
        self.send(client, "").await.map(|(verdict, _)| verdict)
    }

    async fn send(&self, client: &Client, query: &str) -> Result<(Verdict, Value)> {
        let request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{}{query}", self.path))
            .header("content-type", self.content)
            .header("accept", "application/json")
            .body(Body::from(self.body.to_string().into_bytes()))?;
        let asked = || format!("{} {}", self.method, self.path);
        let answer = client.send(request).await.with_context(asked)?;
        let (head, body) = answer.into_parts();
        let body = body.collect_bytes().await.with_context(asked)?;
        let body: Value = serde_json::from_slice(&body).with_context(asked)?;
        let message = body["message"].as_str().unwrap_or_default();
        match head.status {
            status if status.is_success() => Ok((warned(&head.headers), body)),
            // The second is what fails.
            StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY
                if message.contains(POLICY) =>
            {
                Ok((Verdict::Refused(message.to_owned()), Value::Null))
            }
            status => bail!("{}: {status}: {message}", asked()),
        }
    }
}

/// What a policy's words have in them.
const POLICY: &str = "ValidatingAdmissionPolicy '";

fn warned(headers: &HeaderMap) -> Verdict {
    let all = headers.get_all("warning").iter().filter_map(|of| of.to_str().ok());
    let ours: Vec<_> = all.filter(|of| of.contains(POLICY)).collect();
    if ours.is_empty() { Verdict::Passed } else { Verdict::Warned(ours.join("\n")) }
}

fn folder(namespace: &str, kind: &str) -> String {
    let group = match kind {
        "Pod" => "api/v1",
        "Job" | "CronJob" => "apis/batch/v1",
        "MultiArchImage" => "apis/multiarch.dev/v1alpha1",
        _ => "apis/apps/v1",
    };
    format!("/{group}/namespaces/{namespace}/{}s", kind.to_lowercase())
}

/// A Pod called `name` of one image.
pub(crate) fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}

/// A Deployment of such Pods, of none for now.
pub(crate) fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod(name, image)["spec"]},
        },
    })
}

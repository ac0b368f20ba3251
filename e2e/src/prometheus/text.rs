//! The metrics of an operator as text 0.0.4, for a Prometheus that asks for OpenMetrics and cannot be told otherwise.

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{operator::Operator, proxy::client};

/// Where they are, for as long as this lives.
#[derive(Debug)]
pub struct AsText {
    address: String,
    serving: JoinHandle<()>,
}

impl AsText {
    /// Those of `operator`.
    pub async fn of(operator: &Operator) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let address = listener.local_addr().context("no address")?.to_string();
        let router = Router::new().route("/metrics", get(text));
        let router = router.with_state(operator.admin().to_owned());
        let serving = tokio::spawn(async {
            // It ends with its task only.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, serving })
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for AsText {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn text(State(admin): State<String>) -> impl IntoResponse {
    let metrics = metrics(&admin).await;
    metrics.map_err(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")))
}

async fn metrics(admin: &str) -> Result<(HeaderMap, String)> {
    let request = client()?.get(format!("http://{admin}/metrics")).header("accept", "text/plain");
    let answer = request.send().await.context("failed to ask the operator")?;
    let kind = answer.headers().get(header::CONTENT_TYPE).context("no content type")?.clone();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    Ok((headers, answer.text().await.context("failed to read metrics")?))
}

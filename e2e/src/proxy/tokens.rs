//! Bearer tokens before a registry that wants none: who has no token gets a challenge, and the token at the same host.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use serde_json::json;

use super::seen::{Operation, Seen};

/// Where they are given out.
pub(super) const PATH: &str = "/token";

/// The tokens that were given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    good: BTreeSet<String>,
    given: usize,
}

impl Tokens {
    /// Takes back all of them, as a registry does that was started anew.
    pub(super) fn revoke(&mut self) {
        self.good.clear();
    }

    /// The answer to `seen`, unless it has a token that is good.
    pub(super) fn answer(&mut self, seen: &Seen, host: &str) -> Option<Response> {
        if seen.operation == Operation::Token {
            self.given += 1;
            let token = format!("token-{}", self.given);
            self.good.insert(token.clone());
            let body = json!({"token": token, "expires_in": 300}).to_string();
            let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
            return Some(answer.body(Body::from(body)).unwrap_or_default());
        }
        let token = seen.authorization.as_ref().and_then(|header| header.strip_prefix("Bearer "));
        if token.is_some_and(|token| self.good.contains(token)) {
            return None;
        }
        let scope = seen.path.strip_prefix("/v2/").and_then(|path| {
            let end = path.find("/manifests/").or_else(|| path.find("/blobs/"))?;
            let actions =
                if matches!(&*seen.method, "GET" | "HEAD") { "pull" } else { "pull,push" };
            Some(format!(",scope=\"repository:{}:{actions}\"", &path[..end]))
        });
        let challenge = format!(
            "Bearer realm=\"http://{host}{PATH}\",service=\"{host}\"{}",
            scope.unwrap_or_default()
        );
        let answer = Response::builder().status(StatusCode::UNAUTHORIZED);
        let answer = answer.header(header::WWW_AUTHENTICATE, challenge);
        Some(answer.body(Body::empty()).unwrap_or_default())
    }
}

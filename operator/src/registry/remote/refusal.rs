//! What an answer that is no success means, by its status and the spec's codes alone.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::{
    retry_after,
    transport::{Reply, Transport},
};
use crate::registry::{RegistryError, Request};

/// Codes that are shown: the OCI spec's, two of the Docker spec that it came from, and what
/// registries in wide use say beside them (REGISTRY.md rule 7).
const KNOWN: [&str; 20] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "MANIFEST_UNVERIFIED",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "PRECONDITION",
    "PROJECTPOLICYVIOLATION",
    "QUOTA_EXCEEDED",
    "SIZE_INVALID",
    "TAG_IMMUTABLE",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNSUPPORTED",
];

/// An answer that is no success, without its body.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) codes: Vec<String>,
    pub(super) retry_after: Option<Duration>,
}

impl Told {
    /// Reads the codes of `response`; a body that does not come or is too long has none.
    pub(super) async fn of(transport: &Transport, response: Reply) -> Self {
        let status = response.status().as_u16();
        let retry_after = wait(response.headers());
        let body = transport.read(response, transport.limits().error).await;
        Self { status, codes: codes(&body.unwrap_or_default()), retry_after }
    }

    /// What it means for `request`. `credential` says on whose behalf it was, for messages.
    pub(super) fn error(self, host: &str, request: &Request, credential: String) -> RegistryError {
        let (host, request) = (host.to_owned(), request.clone());
        let Self { status, codes, retry_after } = self;
        match status {
            401 | 403 => RegistryError::Denied { host, request, credential, status, codes },
            404 if matches!((request.method, request.noun), ("PUT", "manifest") | ("POST", _))
                && !lacks_content(&codes) =>
            {
                RegistryError::RepositoryNotFound { host, request, answer: "HTTP 404" }
            }
            429 => RegistryError::RateLimited { host, request, retry_after },
            408 | 500.. => RegistryError::Unavailable { host, request, status, codes, retry_after },
            400.. => RegistryError::Refused { host, request, status, codes },
            _ => {
                let why = format!("HTTP {status}, which is neither content nor an error");
                RegistryError::Protocol { host, request, why }
            }
        }
    }
}

/// Whether a manifest is refused for what it lists: that is not there, or not yet where the answer came from.
pub(super) fn lacks_content(codes: &[String]) -> bool {
    let words = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
    codes.iter().any(|code| words.contains(&code.as_str()))
}

/// How long an answer asks to wait.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    retry_after::parse(headers.get(RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
}

/// The known codes of an error body, each once, in its order.
pub(super) fn codes(body: &[u8]) -> Vec<String> {
    #[derive(Default, Deserialize)]
    struct Body {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: serde_json::Value,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let mut codes: Vec<String> = Vec::new();
    for One { code } in body.errors {
        if let Some(known) =
            code.as_str().and_then(|code| KNOWN.iter().find(|known| **known == code))
            && !codes.iter().any(|code| code == known)
        {
            codes.push((*known).into());
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"errors":[{"code":"DENIED","message":"token=secret"}]}"#, &["DENIED"])]
    #[case(r#"{"errors":[{"code":"DENIED"},{"code":"TAG_IMMUTABLE"},{"code":"DENIED"}]}"#, &["DENIED", "TAG_IMMUTABLE"])]
    #[case(r#"{"errors":[{"code":"secret"},{"code":7},{"message":"x"},{"code":"UNAUTHORIZED"}]}"#, &["UNAUTHORIZED"])]
    #[case(r#"{"errors":[{"code":"denied"}]}"#, &[])]
    #[case(r#"{"errors":null}"#, &[])]
    #[case("<html>", &[])]
    #[case("", &[])]
    fn only_known_codes_are_shown(#[case] body: &'static str, #[case] expected: &[&str]) {
        assert_eq!(codes(body.as_bytes()), expected);
    }

    #[rstest]
    #[case("MANIFEST_BLOB_UNKNOWN", "Refused")]
    #[case("NAME_UNKNOWN", "RepositoryNotFound")]
    fn what_a_404_to_a_push_lacks(#[case] code: &str, #[case] variant: &str) {
        let told = Told { status: 404, codes: vec![code.into()], retry_after: None };
        let request = Request { method: "PUT", noun: "manifest", of: "a:1".into() };
        let error = told.error("r.example.com", &request, "nobody".into());
        assert!(format!("{error:?}").starts_with(variant), "{error:?}");
    }

    #[rstest]
    #[case(401, "GET", "Denied")]
    #[case(403, "PUT", "Denied")]
    #[case(404, "PUT", "RepositoryNotFound")]
    #[case(404, "GET", "Refused")]
    #[case(408, "GET", "Unavailable")]
    #[case(409, "PUT", "Refused")]
    #[case(429, "GET", "RateLimited")]
    #[case(500, "GET", "Unavailable")]
    #[case(599, "GET", "Unavailable")]
    #[case(304, "GET", "Protocol")]
    fn by_status(#[case] status: u16, #[case] method: &'static str, #[case] variant: &str) {
        let told = Told { status, codes: Vec::new(), retry_after: None };
        let request = Request { method, noun: "manifest", of: "a:1".into() };
        let error = told.error("r.example.com", &request, "nobody".into());
        assert!(format!("{error:?}").starts_with(variant), "{error:?}");
    }
}

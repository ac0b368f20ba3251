//! What a proxy answers in a registry's stead, or makes of a registry's answer.

use std::{fmt, time::Duration};

use anyhow::{Context, Result};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::{Timestamp, fmt::rfc2822};
use serde_json::json;

use super::Upstream;

/// What is answered in the registry's stead.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status and headers, without a body.
    Status(u16, Vec<(&'static str, &'static str)>),
    /// A status with an error of the spec's form.
    Error(u16, &'static str),
    /// A status, a media type, and a body of it.
    Body(u16, &'static str, &'static str),
    /// A status that asks to come again after so many seconds.
    Later(u16, u64),
    /// The same by date, as RFC 9110 has it.
    LaterByDate(u16, u64),
    /// The registry's answer, so much later.
    Late(Duration),
    /// Nothing, for as long as the client waits.
    Never,
    /// What the registry answers to the same request without its query: to a mount, with an upload session.
    WithoutQuery,
    /// Nothing but the end of the connection; the registry is not asked.
    Cut,
    /// Nothing but the end of the connection, after the registry has done what it was asked.
    Lost,
    /// The registry's answer, and after so many bytes of its body the end of the connection.
    CutAfter(usize),
    /// So many bytes of the request's body to the registry, and the end of both connections.
    CutUploadAfter(usize),
    /// The registry's answer, and after so many bytes of its body silence.
    StallAfter(usize),
    /// So many bytes of the request's body, and silence. The registry gets none of them.
    StallUploadAfter(usize),
    /// Only so many bytes of the registry's answer, as if they were all of it.
    Truncated(usize),
    /// The registry's answer with another byte in the middle of its body.
    Corrupt,
}

impl Answer {
    /// Makes it of `request`, and of the registry's answer where it takes one.
    pub(super) async fn give(self, upstream: &Upstream, request: Request) -> Response {
        match self {
            Self::Never => std::future::pending().await,
            Self::Status(status, headers) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Body::empty()).unwrap_or_default()
            }
            Self::Error(status, code) => refusal(status, code),
            Self::Body(status, media_type, body) => {
                let response = Response::builder().status(status);
                let response = response.header(header::CONTENT_TYPE, media_type);
                response.body(Body::from(body)).unwrap_or_default()
            }
            Self::Later(status, seconds) => later(status, &seconds.to_string()),
            Self::LaterByDate(status, seconds) => {
                let at = Timestamp::now() + Duration::from_secs(seconds);
                let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at);
                later(status, &date.unwrap_or_default())
            }
            Self::Late(wait) => {
                tokio::time::sleep(wait).await;
                upstream.answer(request).await
            }
            Self::WithoutQuery => {
                let (mut parts, body) = request.into_parts();
                parts.uri = parts.uri.path().parse().unwrap_or_default();
                upstream.answer(Request::from_parts(parts, body)).await
            }
            Self::Cut => end_the_connection(),
            Self::Lost => {
                let answer = upstream.answer(request).await;
                // The registry has ended when all of its answer is there.
                let _ = axum::body::to_bytes(answer.into_body(), MOST).await;
                end_the_connection()
            }
            Self::CutAfter(bytes) => upstream.answer(request).await.map(|body| cut(body, bytes)),
            Self::CutUploadAfter(bytes) => {
                let _ = upstream.answer(request.map(|body| cut(body, bytes))).await;
                end_the_connection()
            }
            Self::StallAfter(bytes) => {
                upstream.answer(request).await.map(|body| stall(body, bytes))
            }
            Self::StallUploadAfter(bytes) => {
                let mut body = cut(request.into_body(), bytes).into_data_stream();
                while body.next().await.is_some_and(|part| part.is_ok()) {}
                std::future::pending().await
            }
            Self::Truncated(bytes) => {
                or_bad_gateway(change(upstream.answer(request).await, |all| {
                    Ok(all.slice(..all.len().min(bytes)))
                }))
                .await
            }
            Self::Corrupt => {
                or_bad_gateway(change(upstream.answer(request).await, |all| {
                    let mut bytes = all.to_vec();
                    let middle = bytes.len() / 2;
                    let byte = bytes.get_mut(middle).context("nothing to corrupt")?;
                    *byte = byte.wrapping_add(1);
                    Ok(bytes.into())
                }))
                .await
            }
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, _) | Self::Body(status, ..) => write!(f, "{status}"),
            Self::Error(status, code) => write!(f, "{status} {code}"),
            Self::Later(status, seconds) => write!(f, "{status}, again after {seconds} s"),
            Self::LaterByDate(status, seconds) => {
                write!(f, "{status}, again at a date {seconds} s ahead")
            }
            Self::Late(wait) => write!(f, "{wait:?} late"),
            Self::Never => f.write_str("no answer"),
            Self::WithoutQuery => f.write_str("an upload instead"),
            Self::Cut => f.write_str("cut"),
            Self::Lost => f.write_str("done, and the answer lost"),
            Self::CutAfter(bytes) => write!(f, "cut after {bytes} B"),
            Self::CutUploadAfter(bytes) => write!(f, "cut after {bytes} B of the upload"),
            Self::StallAfter(bytes) => write!(f, "silent after {bytes} B"),
            Self::StallUploadAfter(bytes) => write!(f, "deaf after {bytes} B of the upload"),
            Self::Truncated(bytes) => write!(f, "only {bytes} B of it"),
            Self::Corrupt => f.write_str("another byte in the middle"),
        }
    }
}

/// More than any test sends in one answer.
const MOST: usize = 1 << 30;

async fn change(answer: Response, change: impl FnOnce(Bytes) -> Result<Bytes>) -> Result<Response> {
    let (mut parts, body) = answer.into_parts();
    let bytes = axum::body::to_bytes(body, MOST).await.context("failed to read the answer")?;
    let bytes = change(bytes)?;
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

async fn or_bad_gateway(answer: impl Future<Output = Result<Response>>) -> Response {
    answer.await.unwrap_or_else(|_| bad_gateway())
}

/// What a proxy says of a registry that it does not reach.
pub(super) fn bad_gateway() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// As distribution writes errors.
pub(super) fn refusal(status: u16, code: &str) -> Response {
    let errors = json!({"errors": [{"code": code, "message": "told by a test", "detail": null}]});
    let response = Response::builder().status(status);
    let response = response.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    response.body(Body::from(errors.to_string())).unwrap_or_default()
}

fn later(status: u16, retry_after: &str) -> Response {
    let response = Response::builder().status(status).header(header::RETRY_AFTER, retry_after);
    response.body(Body::empty()).unwrap_or_default()
}

/// Ends the task that serves this connection, and the connection with it. A handler has no other way to give no answer.
pub(super) fn end_the_connection() -> ! {
    std::panic::resume_unwind(Box::new("a test cuts this connection"))
}

/// The first `bytes` of `body`, and an error after them.
fn cut(body: Body, bytes: usize) -> Body {
    let end = stream::once(std::future::ready(Err(std::io::Error::other("cut"))));
    // What is shorter is cut at its end.
    Body::from_stream(start(body, bytes).chain(end))
}

/// The first `bytes` of `body`, and nothing after them.
fn stall(body: Body, bytes: usize) -> Body {
    Body::from_stream(start(body, bytes).chain(stream::pending()))
}

fn start(body: Body, bytes: usize) -> impl stream::Stream<Item = std::io::Result<Bytes>> + Send {
    body.into_data_stream().scan(bytes, |left, part| {
        let start = match part {
            _ if *left == 0 => None,
            Ok(part) => {
                let part = part.slice(..part.len().min(*left));
                *left -= part.len();
                Some(Ok(part))
            }
            Err(error) => Some(Err(std::io::Error::other(error))),
        };
        std::future::ready(start)
    })
}

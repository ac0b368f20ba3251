//! What registries do wrong, or differently, each as one variant.

pub(super) mod limits;
pub(super) mod manifests;
pub(super) mod tokens;

use std::{
    convert::Infallible,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt, stream};

use self::{limits::LimitLie, tokens::TokenLie};
use super::{Seen, Shared, Target, built, error, respond};
use crate::oci::{Digest, RawManifest, TagOrDigest, media_type};

/// One thing that the server does wrong. Bodies and headers of reads are meant unless it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Manifests come under the digest of something else.
    WrongDigestHeader,
    /// Manifests come with this header.
    Header(&'static str, String),
    /// Bodies have a byte changed.
    WrongBody,
    /// Blobs are a byte longer than their descriptors say.
    WrongSize,
    /// Bodies of 1 GiB, announced by Content-Length or not.
    Huge {
        /// With Content-Length.
        announced: bool,
    },
    /// Everything is an error with a body of 1 GiB.
    HugeError,
    /// Manifests have neither Content-Type nor mediaType.
    NoMediaType,
    /// Manifests are an index and an image manifest at once.
    Ambiguous,
    /// Manifests are Docker schema 1.
    Schema1,
    /// Manifests by digest are another, valid one.
    OtherContent,
    /// Bodies come by one byte a second.
    Trickle,
    /// No answer ever comes.
    Silence,
    /// No answer ever comes to this method.
    SilentTo(&'static str),
    /// What this method asks for is done, and answered when this lie is taken back.
    HeldBack(&'static str),
    /// Headers come, and no body.
    SilentBody,
    /// Everything redirects to itself.
    RedirectLoop,
    /// PUTs are redirected to this origin.
    RedirectWrites(String),
    /// GETs of blobs are redirected to this origin, with a secret in the query.
    RedirectBlobs(String),
    /// GETs of manifests are redirected to this origin.
    RedirectManifests(String),
    /// Answers to this method have no digest.
    WithoutDigest(&'static str),
    /// HEAD is answered with this status.
    HeadRefused(u16),
    /// The connection is cut in the middle of the body.
    CutBody,
    /// The next PUT is stored and the connection cut before an answer.
    CutStoredPut,
    /// The next PUT is not stored, and the connection cut.
    CutPut,
    /// The next request is answered with this status and no body.
    Once(u16),
    /// The next PUT is stored and answered with this status.
    StoredPut(u16),
    /// Every PUT is answered with this status and the code.
    PutRefused(u16, &'static str),
    /// Everything is answered 429 with this `Retry-After`.
    RateLimited(String),
    /// Everything is answered with this status and a page in HTML.
    Html(u16),
    /// Everything is answered with this status and an error body that holds secrets.
    Secrets(u16),
    /// What needs a credential is 404 without one.
    Hidden,
    /// No token is ever enough.
    InsufficientScope,
    /// The next token is refused though it is good.
    Stale,
    /// The next request by this method is answered with this status, and without effect.
    OnceTo(&'static str, u16),
    /// Every request by this method is answered with this status and the code.
    Refused(&'static str, u16, &'static str),
    /// Every POST is cut.
    CutPosts,
    /// Mounts are refused with this status; 202 opens a session, as most do.
    MountRefused(u16),
    /// The next body of an upload is kept so far, and the connection cut.
    CutUpload(usize),
    /// The session of the next body of an upload is gone.
    SessionVanishes,
    /// Bodies of uploads are never read.
    Deaf,
    /// Bodies of uploads that are longer are answered 413.
    TooLarge(u64),
    /// Answers that name an upload's Location put this before it, or leave it out.
    Location(Option<String>),
    /// The answer to a stored blob names this Location, or none.
    StoredLocation(Option<String>),
    /// Answers to this method say this of what an upload has.
    Range(&'static str, String),
    /// Blobs end after half of their bytes, in good order.
    Short,
    /// Bodies come without Content-Length.
    Chunked,
    /// Tokens have the last of the scopes that they are asked with.
    LastScope,
    /// A token is asked with one scope, or refused.
    OneScope,
    /// The token endpoint answers this where the token would have none of the rights that it is
    /// asked with.
    TokenRefused(u16),
    /// Token answers have `access_token` and no `token`.
    AccessToken,
    /// Reads of manifests are answered with this status and the code.
    ReadsRefused(u16, &'static str),
    /// Reads of manifests that are not there are answered with this status and the code.
    Absent(u16, &'static str),
    /// Manifests are 404 for who does not accept their media type.
    NeedsAccept,
    /// A PUT to a tag that is there is answered with this status and the code.
    Immutable(u16, &'static str),
    /// A PUT of an OCI index that lists Docker manifests is answered with this status and the code.
    MixedRefused(u16, &'static str),
    /// Reads of a tag like `sha256-…` are answered with the manifest of that digest.
    DashedDigests,
    /// DELETE of a tag is answered with this status and the code.
    KeepsTags(u16, &'static str),
    /// Bodies of uploads that say their range and are longer are answered 416.
    RangeTooLong(u64),
    /// Tokens are asked without `delete`, or refused as a bad request; deleting needs `push`, as on
    /// Quay.
    UnknownDelete,
    /// Tokens never have `delete`.
    KeepsDelete,
    /// DELETE is answered as if it had been done.
    DeleteIgnored,
    /// There is no API for referrers: status, Content-Type and body of what is there instead.
    Referrers(u16, &'static str, &'static str),
    /// Referrers come by so many at once.
    PagesOf(usize),
    /// Every page of referrers names this as the next one.
    NextPage(String),
    /// The tag of the next PUT names this manifest a moment later.
    Overwritten(Digest),
    /// Of how much it takes, and when.
    Limit(LimitLie),
    /// Of tokens, and of the challenges that lead to them.
    Token(TokenLie),
}

/// Bytes of a huge body.
pub const HUGE: u64 = 1 << 30;

/// What is answered in place of the store's answer.
pub(super) fn instead(
    shared: &Shared,
    seen: &Seen,
    target: &Target<'_>,
    body: &Bytes,
) -> Option<Response> {
    let lies = shared.lies().lies.clone();
    let (put, head) = (seen.method == "PUT", seen.method == "HEAD");
    let blob = matches!(target, Target::Blob(..));
    let upload = matches!(target, Target::Upload(..));
    for lie in lies {
        let response = match &lie {
            Lie::RedirectLoop => redirect(&seen.path),
            Lie::RedirectWrites(to) if put => redirect(&format!("{to}{}?state=secret", seen.path)),
            Lie::RedirectBlobs(to) if blob => redirect(&format!("{to}{}?sig=secret", seen.path)),
            Lie::RedirectManifests(to) if !put && !blob => redirect(&format!("{to}{}", seen.path)),
            Lie::HeadRefused(status) if head => page(*status, "", ""),
            Lie::Once(status) => {
                forget(shared, &lie);
                page(*status, "", "")
            }
            Lie::CutPut if put => {
                forget(shared, &lie);
                cut()
            }
            Lie::PutRefused(status, code) if put => error(*status, code),
            Lie::Refused(method, status, code) if *method == seen.method => error(*status, code),
            Lie::OnceTo(method, status) if *method == seen.method => {
                forget(shared, &lie);
                page(*status, "", "")
            }
            Lie::CutPosts if seen.method == "POST" => cut(),
            Lie::RangeTooLong(most)
                if upload && seen.length() > *most && !seen.header("content-range").is_empty() =>
            {
                error(416, "SIZE_INVALID")
            }
            Lie::TooLarge(most) if upload && seen.length() > *most => error(413, "SIZE_INVALID"),
            Lie::RateLimited(wait) => limits::later(429, wait),
            Lie::Limit(lie) => match limits::refused(seen, lie) {
                Some(refused) => refused,
                None => continue,
            },
            Lie::Html(status) => page(*status, "text/html", "<html>token=hunter2</html>"),
            Lie::Secrets(status) => page(
                *status,
                "application/json",
                r#"{"errors":[{"code":"DENIED","message":"token=hunter2"},{"code":"hunter2"}]}"#,
            ),
            Lie::HugeError => huge(shared, true, StatusCode::BAD_REQUEST),
            lie => match manifests::refused(shared, seen, target, body, lie) {
                Some(refused) => refused,
                None => continue,
            },
        };
        return Some(response);
    }
    None
}

/// The store's answer with what the lies make of it.
pub(super) fn distort(
    shared: &Shared,
    seen: &Seen,
    target: &Target<'_>,
    mut honest: Response,
) -> Response {
    let lies = shared.lies().lies.clone();
    let manifest = matches!(target, Target::Manifest(..)) && seen.method != "PUT";
    let stored = matches!(target, Target::Manifest(..) | Target::Blob(..) | Target::Referrers(..));
    let read = seen.method == "GET" && stored;
    for lie in &lies {
        match lie {
            Lie::WrongDigestHeader if manifest => {
                let wrong = Digest::of(b"something else");
                if let Ok(wrong) = HeaderValue::from_str(wrong.as_str()) {
                    honest.headers_mut().insert("docker-content-digest", wrong);
                }
            }
            Lie::Header(name, value) if manifest => {
                if let Ok(value) = HeaderValue::from_str(value) {
                    honest.headers_mut().insert(*name, value);
                }
            }
            Lie::WithoutDigest(method) if *method == seen.method => {
                honest.headers_mut().remove("docker-content-digest");
            }
            Lie::NoMediaType if manifest => return made("", r#"{"schemaVersion":2}"#),
            Lie::Ambiguous if manifest => {
                let both = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"layers":[],"config":{}}"#;
                return made(media_type::OCI_INDEX, both);
            }
            Lie::Schema1 if manifest => {
                let old = r#"{"schemaVersion":1,"name":"a","tag":"1","architecture":"amd64","fsLayers":[],"history":[]}"#;
                return made("application/vnd.docker.distribution.manifest.v1+prettyjws", old);
            }
            Lie::OtherContent if manifest => {
                let Target::Manifest(path, _) = target else { continue };
                let other = TagOrDigest::Tag("other".into());
                if let Some(other) = shared.store.manifest(path, &other) {
                    return built(super::manifest(&other));
                }
            }
            Lie::StoredPut(status) if seen.method == "PUT" => {
                forget(shared, lie);
                return page(*status, "", "");
            }
            Lie::CutStoredPut if seen.method == "PUT" => {
                forget(shared, lie);
                cut();
            }
            Lie::Huge { announced } if read => return huge(shared, *announced, StatusCode::OK),
            Lie::WrongBody if read => honest = rewritten(honest, |body| flip(&body)),
            Lie::WrongSize if read && matches!(target, Target::Blob(..)) => {
                honest = rewritten(honest, |body| [body, Bytes::from_static(b" ")].concat().into());
            }
            Lie::Trickle if read => honest = streamed(honest, trickle),
            Lie::SilentBody if read => {
                let never = stream::pending::<Result<Bytes, Infallible>>();
                honest = streamed(honest, |_| Body::from_stream(never));
            }
            Lie::Short if read => {
                honest = rewritten(honest, |body| body.slice(..body.len() / 2));
            }
            Lie::CutBody if read => honest = streamed(honest, |body| half(&body)),
            _ => {}
        }
    }
    if read && lies.contains(&Lie::Chunked) {
        honest.headers_mut().remove(header::CONTENT_LENGTH);
        honest =
            streamed(honest, |body| Body::from_stream(stream::iter([Ok::<_, Infallible>(body)])));
    }
    honest
}

/// Drops a lie that is told once.
pub(super) fn forget(shared: &Shared, lie: &Lie) {
    let mut lies = shared.lies();
    if let Some(at) = lies.lies.iter().position(|other| other == lie) {
        lies.lies.remove(at);
    }
}

/// Ends the connection's task, and with it the connection, without a word on the terminal.
pub(super) fn cut() -> Response {
    std::panic::resume_unwind(Box::new("the connection is cut"))
}

fn redirect(to: &str) -> Response {
    built(respond(StatusCode::TEMPORARY_REDIRECT).header(header::LOCATION, to).body(Body::empty()))
}

fn page(status: u16, content_type: &str, body: &'static str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    built(respond(status).header(header::CONTENT_TYPE, content_type).body(Body::from(body)))
}

/// A manifest that is wrong in itself, under its true digest.
fn made(content_type: &str, body: &'static str) -> Response {
    let made = RawManifest::new(content_type, Bytes::from_static(body.as_bytes()));
    let mut response = built(super::manifest(&made));
    if content_type.is_empty() {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    response
}

fn huge(shared: &Shared, announced: bool, status: StatusCode) -> Response {
    const CHUNK: &[u8] = &[b' '; 64 << 10];
    let sent = Arc::clone(&shared.sent);
    let chunks = stream::iter(0..HUGE / CHUNK.len() as u64).map(move |_| {
        sent.fetch_add(CHUNK.len() as u64, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from_static(CHUNK))
    });
    let mut response = respond(status).header(header::CONTENT_TYPE, media_type::OCI_INDEX);
    if announced {
        response = response.header(header::CONTENT_LENGTH, HUGE);
    }
    built(response.body(Body::from_stream(chunks)))
}

/// The same response with other bytes, and a Content-Length that is true to them.
fn rewritten(response: Response, rewrite: impl FnOnce(Bytes) -> Bytes) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = rewrite(whole(body));
    parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    Response::from_parts(parts, Body::from(body))
}

/// The same response with its bytes one way or another.
fn streamed(response: Response, stream: impl FnOnce(Bytes) -> Body) -> Response {
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, stream(whole(body)))
}

/// The bytes of a body that was made of bytes, which are there at once.
fn whole(body: Body) -> Bytes {
    let collected = futures::FutureExt::now_or_never(axum::body::to_bytes(body, usize::MAX));
    collected.and_then(Result::ok).unwrap_or_default()
}

fn flip(body: &Bytes) -> Bytes {
    let mut body = body.to_vec();
    if let Some(last) = body.last_mut() {
        *last ^= 1;
    }
    body.into()
}

fn trickle(body: Bytes) -> Body {
    let bytes = (0..body.len()).map(move |at| body.slice(at..=at));
    Body::from_stream(stream::iter(bytes).then(|byte| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(byte)
    }))
}

fn half(body: &Bytes) -> Body {
    let first = Ok(body.slice(..body.len() / 2));
    let cut = Err(io::Error::from(io::ErrorKind::ConnectionAborted));
    Body::from_stream(stream::iter([first, cut]))
}

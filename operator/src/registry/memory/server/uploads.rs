//! Uploads of blobs: sessions, mounts, and what registries do wrong with them.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use futures::StreamExt;
use url::form_urlencoded;

use super::{
    Lie, Seen, Shared, built, error,
    lies::{self, cut},
    login, respond,
};
use crate::oci::Digest;

/// An upload that has begun.
#[derive(Debug, Default)]
pub(super) struct Session {
    path: String,
    bytes: Vec<u8>,
}

/// What came of a request's body.
pub(super) enum Received {
    Whole(Bytes),
    /// The connection broke after so much of it, or a lie breaks it.
    Part(Bytes),
}

impl Received {
    pub(super) fn bytes(&self) -> &Bytes {
        match self {
            Self::Whole(bytes) | Self::Part(bytes) => bytes,
        }
    }
}

/// Reads the body of a request to an upload, as far as the lies go along.
pub(super) async fn receive(shared: &Shared, seen: &Seen, body: Body) -> Received {
    let writes = matches!(&*seen.method, "PUT" | "PATCH");
    let lies = shared.lies().lies.clone();
    if writes && lies.contains(&Lie::Deaf) {
        return std::future::pending().await;
    }
    let cut_after = lies.iter().find_map(|lie| match lie {
        Lie::CutUpload(bytes) if writes => {
            lies::forget(shared, lie);
            Some(*bytes)
        }
        _ => None,
    });
    let mut chunks = body.into_data_stream();
    let mut received = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return Received::Part(received.into()) };
        received.extend_from_slice(&chunk);
        if let Some(bytes) = cut_after
            && received.len() >= bytes
        {
            received.truncate(bytes);
            return Received::Part(received.into());
        }
    }
    Received::Whole(received.into())
}

/// The answer to a request to the upload `id` in the repository at `path`, or to begin one.
pub(super) fn answer(
    shared: &Shared,
    seen: &Seen,
    (path, id): (&str, &str),
    received: Received,
) -> Response {
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(seen.query.as_bytes()).into_owned().collect();
    if seen.method == "POST" && id.is_empty() {
        return begin(shared, seen, path, &query);
    }
    let mut sessions = shared.sessions();
    let vanishes = Lie::SessionVanishes;
    if matches!(&*seen.method, "PUT" | "PATCH") && shared.lies().lies.contains(&vanishes) {
        lies::forget(shared, &vanishes);
        sessions.remove(id);
    }
    let Some(session) = sessions.get_mut(id).filter(|session| session.path == path) else {
        return error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    match &*seen.method {
        "GET" => open(shared, seen, StatusCode::NO_CONTENT, id, session),
        "DELETE" => {
            sessions.remove(id);
            built(respond(StatusCode::NO_CONTENT).body(Body::empty()))
        }
        "PATCH" | "PUT" => {
            // What a Location was given out for is what it is good for, as in distribution.
            let at = query.get("_state").and_then(|state| state.parse().ok());
            if at != Some(session.bytes.len()) || !fits(seen, session) {
                return error(416, "BLOB_UPLOAD_INVALID");
            }
            let bytes = match received {
                Received::Whole(bytes) => bytes,
                Received::Part(bytes) => {
                    session.bytes.extend_from_slice(&bytes);
                    drop(sessions);
                    return cut();
                }
            };
            session.bytes.extend_from_slice(&bytes);
            if seen.method == "PATCH" {
                return open(shared, seen, StatusCode::ACCEPTED, id, session);
            }
            let Some(session) = sessions.remove(id) else { return error(404, "BLOB_UNKNOWN") };
            let digest = query.get("digest").and_then(|text| text.parse::<Digest>().ok());
            match digest {
                Some(digest) if digest.matches(&session.bytes) => {
                    shared.store.push_blob(path, "", session.bytes.into());
                    created(shared, path, &digest)
                }
                _ => error(400, "DIGEST_INVALID"),
            }
        }
        _ => error(405, "UNSUPPORTED"),
    }
}

/// POST: a mount, or a new session.
fn begin(shared: &Shared, seen: &Seen, path: &str, query: &BTreeMap<String, String>) -> Response {
    let mount = query.get("mount").and_then(|text| text.parse::<Digest>().ok());
    if let (Some(digest), Some(from)) = (mount, query.get("from")) {
        let refused = shared.lies().lies.iter().find_map(|lie| match lie {
            Lie::MountRefused(status) => Some(*status),
            _ => None,
        });
        let source = shared.store.blob(from, &digest);
        let source = source.filter(|_| refused.is_none() && login::reads(shared, seen, from));
        if let Some(bytes) = source {
            shared.store.push_blob(path, "", bytes);
            return created(shared, path, &digest);
        }
        if let Some(status) = refused.filter(|status| *status != 202) {
            return error(status, "DENIED");
        }
    }
    let id = format!("session-{}", shared.serial.fetch_add(1, Ordering::Relaxed));
    let session = Session { path: path.into(), bytes: Vec::new() };
    let response = open(shared, seen, StatusCode::ACCEPTED, &id, &session);
    shared.sessions().insert(id, session);
    response
}

/// An answer that says where a session goes on, and what it has.
fn open(shared: &Shared, seen: &Seen, status: StatusCode, id: &str, session: &Session) -> Response {
    let (path, length) = (&session.path, session.bytes.len());
    let mut location = Some(format!("/v2/{path}/blobs/uploads/{id}?_state={length}"));
    let mut range = format!("0-{}", length.saturating_sub(1));
    for lie in &shared.lies().lies {
        match lie {
            Lie::Location(None) => location = None,
            Lie::Location(Some(prefix)) => {
                location = location.map(|location| format!("{prefix}{location}"));
            }
            Lie::Range(method, other) if *method == seen.method => range.clone_from(other),
            _ => {}
        }
    }
    let response = respond(status).header(header::RANGE, range).header("docker-upload-uuid", id);
    let response = match location {
        Some(location) => response.header(header::LOCATION, location),
        None => response,
    };
    built(response.body(Body::empty()))
}

/// 201, with a Location that is of no use to anybody unless a test wants it otherwise.
fn created(shared: &Shared, path: &str, digest: &Digest) -> Response {
    let location = shared.lies().lies.iter().find_map(|lie| match lie {
        Lie::StoredLocation(location) => Some(location.clone()),
        _ => None,
    });
    let response = respond(StatusCode::CREATED).header("docker-content-digest", digest.as_str());
    let response = match location {
        Some(None) => response,
        Some(Some(location)) => response.header(header::LOCATION, location),
        None => response.header(header::LOCATION, format!("/v2/{path}/blobs/{digest}")),
    };
    built(response.body(Body::empty()))
}

/// Whether a chunk begins where the session ends.
fn fits(seen: &Seen, session: &Session) -> bool {
    let range = seen.header("content-range");
    let begins = range.split_once('-').and_then(|(begin, _)| begin.parse().ok());
    range.is_empty() || begins == Some(session.bytes.len())
}

impl Shared {
    pub(super) fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

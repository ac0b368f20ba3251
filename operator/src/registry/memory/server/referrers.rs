//! The referrers API: lists in pages, what a PUT says of its subject, and how registries are without it.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use url::form_urlencoded;

use super::{Lie, Seen, Shared, built, respond};
use crate::oci::{Digest, Manifest, RawManifest, TagOrDigest, media_type};

/// The answer to GET of what refers to `subject` in the repository at `path`.
pub(super) fn answer(shared: &Shared, seen: &Seen, path: &str, subject: &Digest) -> Response {
    let (mut size, mut next) = (usize::MAX, None);
    for lie in &shared.lies().lies {
        match lie {
            Lie::Referrers(status, content_type, body) => {
                let status = StatusCode::from_u16(*status).unwrap_or_default();
                let response = respond(status).header(header::CONTENT_TYPE, *content_type);
                return built(response.header(header::LOCATION, "/login").body((*body).into()));
            }
            Lie::PagesOf(most) => size = *most,
            Lie::NextPage(link) => next = Some(link.clone()),
            _ => {}
        }
    }
    let mut query = form_urlencoded::parse(seen.query.as_bytes());
    let last = query.find(|(name, _)| name == "last").map(|(_, last)| last.into_owned());
    let mut listed = shared.store.referrers(path, subject);
    // They are in the order of their digests.
    listed.retain(|referrer| last.as_ref().is_none_or(|last| referrer.digest.as_str() > &**last));
    if listed.len() > size {
        listed.truncate(size);
        let last = listed.last().map(|last| last.digest.as_str()).unwrap_or_default();
        next = next.or(Some(format!("/v2/{path}/referrers/{subject}?n={size}&last={last}")));
    }
    let document = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": listed,
    });
    let response = respond(StatusCode::OK).header(header::CONTENT_TYPE, media_type::OCI_INDEX);
    let response = match next {
        Some(next) => response.header(header::LINK, format!("<{next}>; rel=\"next\"")),
        None => response,
    };
    built(response.body(Body::from(document.to_string())))
}

/// What the answer to a stored manifest says of its subject.
pub(super) fn subject(shared: &Shared, manifest: &RawManifest) -> Option<HeaderValue> {
    let without = |lie: &Lie| matches!(lie, Lie::Referrers(..));
    if shared.lies().lies.iter().any(without) {
        return None;
    }
    let subject = match manifest.parse().ok()? {
        Manifest::Image(image) => image.subject,
        Manifest::Index(index) => index.subject,
    };
    HeaderValue::from_str(subject?.digest.as_str()).ok()
}

/// Lets somebody else write the tag that was just written.
pub(super) fn overwrite(shared: &Shared, path: &str, reference: &TagOrDigest) {
    let TagOrDigest::Tag(tag) = reference else { return };
    let mut lies = shared.lies();
    let at = lies.lies.iter().position(|lie| matches!(lie, Lie::Overwritten(_)));
    if let Some(at) = at
        && let Lie::Overwritten(digest) = lies.lies.remove(at)
    {
        shared.store.tag(path, tag, &digest);
    }
}

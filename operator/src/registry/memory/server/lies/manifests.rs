//! Manifests that a registry does not give, or does not take.

use axum::response::Response;
use bytes::Bytes;

use super::Lie;
use crate::{
    oci::{Descriptor, Manifest, RawManifest, TagOrDigest, media_type},
    registry::memory::server::{Seen, Shared, Target, error},
};

/// What a request is taken to be about.
pub(in super::super) fn taken<'a>(shared: &Shared, seen: &Seen, target: Target<'a>) -> Target<'a> {
    let read = matches!(&*seen.method, "GET" | "HEAD");
    match &target {
        Target::Manifest(path, TagOrDigest::Tag(tag))
            if read && shared.lies().lies.contains(&Lie::DashedDigests) =>
        {
            let digest = tag.split_once('-').map(|(name, hex)| format!("{name}:{hex}").parse());
            match digest {
                Some(Ok(digest)) => Target::Manifest(path, TagOrDigest::Digest(digest)),
                _ => target,
            }
        }
        _ => target,
    }
}

/// The answer that `lie` makes of a request for a manifest, where it is about this one.
pub(super) fn refused(
    shared: &Shared,
    seen: &Seen,
    target: &Target<'_>,
    body: &Bytes,
    lie: &Lie,
) -> Option<Response> {
    let Target::Manifest(path, reference) = target else { return None };
    let (read, put) = (matches!(&*seen.method, "GET" | "HEAD"), seen.method == "PUT");
    let there = || shared.store.manifest(path, reference);
    match lie {
        Lie::ReadsRefused(status, code) if read => Some(error(*status, code)),
        Lie::Absent(status, code) if read && there().is_none() => Some(error(*status, code)),
        Lie::NeedsAccept if read => {
            let accept = seen.header("accept");
            let accepted = |name: &str| accept.split(',').any(|one| one.trim() == name);
            let refused = there().is_some_and(|found| !accepted(found.media_type()));
            refused.then(|| error(404, "MANIFEST_UNKNOWN"))
        }
        Lie::Immutable(status, code) if put => {
            let tag = matches!(reference, TagOrDigest::Tag(_));
            (tag && there().is_some()).then(|| error(*status, code))
        }
        Lie::KeepsTags(status, code) if seen.method == "DELETE" => Some(error(*status, code)),
        Lie::MixedRefused(status, code) if put => {
            let sent = RawManifest::new(seen.header("content-type"), body.clone());
            let Ok(Manifest::Index(index)) = sent.parse() else { return None };
            let docker = |child: &Descriptor| child.media_type == media_type::DOCKER_MANIFEST;
            let mixed = index.media_type == media_type::OCI_INDEX;
            (mixed && index.manifests.iter().any(docker)).then(|| error(*status, code))
        }
        _ => None,
    }
}

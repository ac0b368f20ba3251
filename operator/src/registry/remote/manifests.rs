//! Manifests: HEAD, GET and PUT by tag or digest, every body held to its digest.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};

use super::{
    Remote,
    call::{Answer, Call},
    failure::{self, Failure, NO_ANSWER},
    hosts::Site,
    refusal::lacks_content,
};
use crate::{
    oci::{Descriptor, Digest, RawManifest, Repository, TagOrDigest, media_type, reference},
    registry::{Access, Put, RegistryError},
};

/// How often a manifest is put at most that the registry refuses with a server's error and a code of the spec: it
/// has thought about it.
const THOUGHT: u32 = 3;

impl Remote {
    pub(super) async fn head(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.persist(|| self.head_once(access, repository, reference)).await
    }

    async fn head_once(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let call = Call::manifest("HEAD", access, repository, reference, None);
        let site = call.site(self.allow_http)?;
        if !self.hosts.get(&site).get_only {
            let answer = self.exchange(&call).await?;
            match answer.response.status().as_u16() {
                200..300 => {
                    if let Some(found) = self.described(&call, &site, reference, &answer)? {
                        return Ok(Some(found));
                    }
                }
                404 => return Ok(None),
                405 | 501 => self.hosts.learn(&site, |host| host.get_only = true),
                _ => return Err(self.refused(&call, answer).await),
            }
        }
        let found = self.get_once(access, repository, reference).await?;
        Ok(found.map(|manifest| manifest.descriptor()))
    }

    /// The descriptor that the headers of a HEAD make, `None` where they do not make one. A host
    /// whose HEAD lacks the digest or the size is not asked by HEAD again.
    fn described(
        &self,
        call: &Call<'_>,
        at: &Site,
        reference: &TagOrDigest,
        answer: &Answer,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let headers = answer.response.headers();
        let promised = promised(headers, reference);
        let digest = match (reference, promised) {
            (TagOrDigest::Digest(asked), Some(promised)) if *asked != promised => {
                return Err(wrong_digest(call, asked.clone(), promised));
            }
            // Asked by digest, it can be the digest of nothing else.
            (TagOrDigest::Digest(asked), _) => Some(asked.clone()),
            (TagOrDigest::Tag(_), promised) => promised,
        };
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let size = length.and_then(|text| text.parse().ok());
        let (Some(digest), Some(size)) = (digest, size) else {
            self.hosts.learn(at, |host| host.get_only = true);
            return Ok(None);
        };
        // Only the body can tell what goes by any other name.
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type
            .and_then(media_type::from_header)
            .filter(|name| media_type::is_index(name) || media_type::is_manifest(name));
        let Some(media_type) = media_type else { return Ok(None) };
        Ok(Some(Descriptor {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }))
    }

    pub(super) async fn get(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.persist(|| self.get_once(access, repository, reference)).await
    }

    async fn get_once(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let call = Call::manifest("GET", access, repository, reference, None);
        let answer = self.exchange(&call).await?;
        let headers = match answer.response.status().as_u16() {
            200..300 => answer.response.headers().clone(),
            404 => return Ok(None),
            _ => return Err(self.refused(&call, answer).await),
        };
        let limit = self.transport.limits().manifest;
        let bytes = self.body(answer, limit).await.map_err(|failure| call.told(failure))?;

        let computed = Digest::of(&bytes);
        let asked = match reference {
            TagOrDigest::Digest(asked) => Some(asked.clone()),
            TagOrDigest::Tag(_) => None,
        };
        let wrong = asked.into_iter().chain(promised(&headers, reference));
        if let Some(expected) = wrong.into_iter().find(|digest| !digest.matches(&bytes)) {
            return Err(wrong_digest(&call, expected, computed));
        }
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        RawManifest::from_response(content_type, bytes).map(Some).map_err(|source| {
            RegistryError::Unusable { host: call.host().into(), request: call.request, source }
        })
    }

    pub(super) async fn put(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Put, RegistryError> {
        self.store(access, repository, reference, manifest).await.map(|stored| stored.put)
    }

    /// PUT of a manifest.
    pub(super) async fn store(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Stored, RegistryError> {
        let call = Call::manifest("PUT", access, repository, reference, Some(manifest));
        let tries = self.transport.limits().tries;
        for failures in 1.. {
            let error = match self.store_once(&call).await {
                Ok(headers) => return Ok(Stored { headers: Some(headers), put: Put::Taken }),
                Err(error) => error,
            };
            let After { looks, again, most } = After::of(&error, self.passing(&error));
            if looks {
                // Whether our bytes are there counts for more than how the answer came out.
                match self.head_once(access, repository, reference).await {
                    Ok(Some(found)) if found.digest == *manifest.digest() => {
                        // Somebody else may have put it there.
                        let is_refused = error.is_refused_write();
                        let put = if is_refused { Put::Present } else { Put::Taken };
                        return Ok(Stored { headers: None, put });
                    }
                    Ok(Some(_)) if self.takes_by_digest(&call, manifest, &error).await => {
                        return Err(immutable(error));
                    }
                    Ok(_) => {}
                    Err(_) => return Err(error),
                }
            }
            match again {
                Some(wait) if failures < tries.min(most) => self.pause(failures, wait).await,
                _ => return Err(error),
            }
        }
        unreachable!("a count without end ended")
    }

    /// Whether the bytes that a tag was refused are taken under their digest, so that it is the tag
    /// which may not change (REGISTRY.md rule 12).
    async fn takes_by_digest(
        &self,
        call: &Call<'_>,
        manifest: &RawManifest,
        error: &RegistryError,
    ) -> bool {
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        let (RegistryError::Refused { request, status, codes, .. }
        | RegistryError::Denied { request, status, codes, .. }) = error
        else {
            return false;
        };
        // By now its children may be there, which says nothing of the tag.
        if lacks_content(codes) {
            return false;
        }
        let again = Call::manifest("PUT", call.access, call.repository, &by_digest, Some(manifest));
        matches!(status, 400 | 403 | 405 | 409 | 412)
            && *request != again.request
            && self.store_once(&again).await.is_ok()
    }

    async fn store_once(&self, call: &Call<'_>) -> Result<HeaderMap, RegistryError> {
        let answer = self.exchange(call).await?;
        if answer.response.status().is_success() {
            // What its headers say of the digest is not trusted: the caller reads back.
            return Ok(answer.response.headers().clone());
        }
        Err(self.refused(call, answer).await)
    }

    pub(super) async fn untag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> Result<bool, RegistryError> {
        let reference = TagOrDigest::Tag(tag.into());
        let call = Call::manifest("DELETE", access, repository, &reference, None);
        // A digest has a colon; what else is no tag would lead elsewhere.
        if !reference::is_tag(tag) {
            return Err(call.told(Failure::protocol("nothing: what is to be deleted is no tag")));
        }
        let answer = self.exchange(&call).await?;
        match answer.response.status().as_u16() {
            200..300 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refused(&call, answer).await),
        }
    }
}

/// A manifest that is there.
#[derive(Debug)]
pub(super) struct Stored {
    /// The headers of the answer; `None` where it was found although the answer did not say so.
    pub(super) headers: Option<HeaderMap>,
    /// Whose doing it is.
    pub(super) put: Put,
}

/// What a PUT does after an error (REGISTRY.md rules 10 and 12).
#[derive(Debug, PartialEq, Eq)]
struct After {
    /// Whether it is there although the answer did not say so.
    looks: bool,
    /// It is tried again, after so long at least.
    again: Option<Duration>,
    /// And so often at most.
    most: u32,
}

impl After {
    /// After `error`, which may pass after `passing`.
    fn of(error: &RegistryError, passing: Option<Duration>) -> Self {
        use RegistryError as E;
        let looks = match error {
            // It may have been stored although nobody said so. And registries refuse to write what is there already
            // (immutable tags, lost rights).
            E::Unavailable { request, status: 502 | 504, .. } | E::Refused { request, .. } => {
                request.noun == "manifest"
            }
            E::Unreachable { request, .. } => {
                request.noun == "manifest" && failure::cut_after_sending(error)
            }
            E::TooSlow { request, limit, .. } => {
                request.noun == "manifest" && limit.starts_with(NO_ANSWER)
            }
            E::Denied { .. } => true,
            _ => false,
        };
        // Without a spec error it was a proxy or a crash, and no decision.
        let thought =
            matches!(error, E::Unavailable { status: 500, codes, .. } if !codes.is_empty());
        Self { looks, again: passing, most: if thought { THOUGHT } else { u32::MAX } }
    }
}

/// The digest that the headers promise, where it is of the algorithm that was asked for; one of
/// another algorithm is ignored (REGISTRY.md rule 6).
fn promised(headers: &HeaderMap, reference: &TagOrDigest) -> Option<Digest> {
    let digest: Digest = headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()?;
    let algorithm = match reference {
        TagOrDigest::Digest(asked) => asked.algorithm(),
        TagOrDigest::Tag(_) => "sha256",
    };
    (digest.algorithm() == algorithm).then_some(digest)
}

/// The same refusal, known to be about the tag.
fn immutable(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused { host, request, status, codes }
        | RegistryError::Denied { host, request, status, codes, .. } => {
            RegistryError::TagImmutable { host, request, status, codes }
        }
        other => other,
    }
}

fn wrong_digest(call: &Call<'_>, expected: Digest, computed: Digest) -> RegistryError {
    let (host, request) = (call.host().into(), call.request.clone());
    RegistryError::WrongDigest { host, request, expected, computed }
}

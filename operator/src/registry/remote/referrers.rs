//! Referrers: listed by their API or by the fallback tag, and added where the API does not do it.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, LINK};
use url::Url;

use super::{
    Remote,
    call::{Answer, Call},
    failure::Failure,
    redirect,
};
use crate::{
    oci::{
        Descriptor, Digest, RawManifest, Referrer, Repository, TagOrDigest,
        manifest::ManifestError,
        media_type,
        referrer::{self, MAX_LISTED},
    },
    registry::{Access, RegistryError},
};

/// Registries are upgraded: after this long a host is asked for the API again.
const KEPT: Duration = Duration::from_hours(1);
/// Pages of one list (REGISTRY.md rule 7).
const PAGES: usize = 16;
/// How often an entry is put under the fallback tag again after somebody else wrote that.
const ROUNDS: usize = 3;
/// What is said of a name, and not of the API.
const OF_NAMES: [&str; 5] =
    ["DENIED", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "UNAUTHORIZED"];

/// A page of the API's list, and where the next one is.
struct Page {
    listed: Vec<Descriptor>,
    next: Option<Url>,
}

impl Remote {
    /// What refers to `subject`.
    pub(super) async fn referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        if let Some(listed) = self.by_api(access, repository, subject).await? {
            return Ok(listed);
        }
        let tag = TagOrDigest::Tag(referrer::fallback_tag(subject));
        let found = self.get(access, repository, &tag).await?;
        let Some(found) = found.filter(|found| found.digest() != subject) else {
            return Ok(Vec::new());
        };
        let call = Call::manifest("GET", access, repository, &tag, None);
        let index = referrer::index(&found).map_err(|source| unusable(&call, source))?;
        let mut listed = Vec::new();
        add(&mut listed, index.manifests);
        Ok(listed)
    }

    /// The list that the API gives, `None` where there is no such API (REGISTRY.md rule 12).
    async fn by_api(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let mut call = Call::referrers(access, repository, subject);
        let site = call.site(self.allow_http)?;
        if self.hosts.get(&site).no_referrers.is_some_and(|at| at.elapsed() < KEPT) {
            return Ok(None);
        }
        let mut listed = Vec::new();
        for page in 0..PAGES {
            let left = MAX_LISTED - listed.len();
            match self.persist(|| self.page(&call, left)).await? {
                None if page == 0 => return Ok(None),
                None => return Err(call.told(Failure::protocol("a next page that is no page"))),
                Some(Page { listed: more, next }) => {
                    add(&mut listed, more);
                    let Some(next) = next else { return Ok(Some(listed)) };
                    call = call.at(next);
                }
            }
        }
        Err(call.told(Failure::protocol(format!("more than {PAGES} pages"))))
    }

    /// One page, `None` where the answer is not the API's.
    async fn page(&self, call: &Call<'_>, limit: usize) -> Result<Option<Page>, RegistryError> {
        let answer = self.exchange(call).await?;
        let status = answer.response.status().as_u16();
        if !(200..300).contains(&status) {
            return self.without_page(call, answer).await;
        }
        let content_type = answer.response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let named = content_type.and_then(media_type::from_header);
        // A page for people: there are registries whose every path has one.
        if named.as_ref().is_some_and(|named| named != media_type::OCI_INDEX) {
            self.has_no_referrers(call)?;
            return Ok(None);
        }
        let next = next_page(call, &answer, self.allow_http)?;
        let most = self.transport.limits().manifest;
        let bytes = self.body(answer, most).await.map_err(|failure| call.told(failure))?;
        match referrer::listed(&bytes, limit) {
            Ok(listed) => Ok(Some(Page { listed, next })),
            Err(ManifestError::Malformed { .. }) if named.is_none() => {
                self.has_no_referrers(call)?;
                Ok(None)
            }
            Err(source) => Err(unusable(call, source)),
        }
    }

    /// What an answer other than a success says of the API.
    async fn without_page(
        &self,
        call: &Call<'_>,
        answer: Answer,
    ) -> Result<Option<Page>, RegistryError> {
        match answer.response.status().as_u16() {
            303 => self.has_no_referrers(call)?,
            400 | 404 | 405 | 406 | 501 => match self.refused(call, answer).await {
                // One repository that is not there must not hide the API from all others.
                RegistryError::Refused { codes, .. }
                    if codes.iter().any(|code| OF_NAMES.contains(&code.as_str())) => {}
                _ => self.has_no_referrers(call)?,
            },
            _ => return Err(self.refused(call, answer).await),
        }
        Ok(None)
    }

    fn has_no_referrers(&self, call: &Call<'_>) -> Result<(), RegistryError> {
        let site = call.site(self.allow_http)?;
        self.hosts.learn(&site, |host| host.no_referrers = Some(Instant::now()));
        Ok(())
    }

    /// Stores `manifest` by digest, where what refers to `subject` lists it.
    pub(super) async fn refer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let by_digest = TagOrDigest::Digest(manifest.digest().clone());
        let referrer = Referrer::of(manifest, subject).map_err(|source| {
            let call = Call::manifest("PUT", access, repository, &by_digest, Some(manifest));
            unusable(&call, source)
        })?;
        match self.store(access, repository, &by_digest, manifest).await?.headers {
            Some(headers) if processed(&headers, subject) => {
                let call = Call::referrers(access, repository, subject);
                let site = call.site(self.allow_http)?;
                self.hosts.learn(&site, |host| host.no_referrers = None);
                return Ok(());
            }
            // It is there, and what the registry made of it is lost.
            None if self.by_api(access, repository, subject).await?.is_some() => return Ok(()),
            _ => {}
        }
        self.merge(access, repository, referrer, subject).await
    }

    /// Adds to the index under the fallback tag. Nothing makes a registry refuse a PUT because of
    /// what was put in between, so the index is read just before and looked at just after.
    async fn merge(
        &self,
        access: &Access,
        repository: &Repository,
        referrer: Referrer,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let tag = TagOrDigest::Tag(referrer::fallback_tag(subject));
        let call = Call::manifest("PUT", access, repository, &tag, None);
        for round in 0.. {
            let found = self.get(access, repository, &tag).await?;
            // GitLab takes that tag for the digest: what the subject lists are its images, and what is
            // added to them would be lost (https://github.com/oras-project/oras-go/issues/1396).
            if found.as_ref().is_some_and(|found| found.digest() == subject) {
                let why = "the subject itself under its fallback tag: what refers to it cannot be \
                           listed there";
                return Err(call.told(Failure::protocol(why)));
            }
            let index = found.map(|found| referrer::index(&found)).transpose();
            let merged = index.and_then(|index| referrer.clone().added_to(index));
            let Some(merged) = merged.map_err(|source| unusable(&call, source))? else { break };
            if round == ROUNDS {
                let why = "an index of referrers that others write at the same time, again and \
                           again";
                return Err(call.told(Failure::protocol(why)));
            }
            let merged = merged.to_raw();
            self.put(access, repository, &tag, &merged).await?;
            let after = self.head(access, repository, &tag).await?;
            if after.is_some_and(|after| after.digest == *merged.digest()) {
                break;
            }
        }
        Ok(())
    }
}

/// Whether the registry says that it lists what was put among what refers to `subject`
/// (distribution spec, "Pushing Manifests with Subject").
fn processed(headers: &HeaderMap, subject: &Digest) -> bool {
    headers.get("oci-subject").is_some_and(|value| value == subject.as_str())
}

/// Where an answer says that the next page is, which is the same list on the same host: the token
/// goes there too.
fn next_page(
    call: &Call<'_>,
    answer: &Answer,
    allow_http: bool,
) -> Result<Option<Url>, RegistryError> {
    let links = answer.response.headers().get_all(LINK);
    let Some(link) = links.iter().filter_map(|value| value.to_str().ok()).find_map(next) else {
        return Ok(None);
    };
    let refused = |why: String| call.told(Failure::Protocol(why));
    let first = call.url(allow_http)?;
    let to = redirect::next_page(&answer.url, link).map_err(refused)?;
    let lists = format!("/v2/{}/referrers/", call.repository.path());
    if to.origin() != first.origin() || !to.path().starts_with(&lists) {
        let elsewhere = redirect::authority(&to);
        return Err(refused(format!("a next page that is another list ({elsewhere})")));
    }
    Ok(Some(to))
}

/// The target of a `Link` whose relation is `next` (RFC 8288).
pub(super) fn next(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default().trim_end_matches([',', ' ']);
        let is_next = parameters.split(';').any(|parameter| {
            let (name, relation) = parameter.split_once('=').unwrap_or_default();
            let relations = relation.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && relations.split(' ').any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
    None
}

/// Adds what is not listed yet.
fn add(listed: &mut Vec<Descriptor>, more: Vec<Descriptor>) {
    for descriptor in more {
        if !listed.iter().any(|known| known.digest == descriptor.digest) {
            listed.push(descriptor);
        }
    }
}

fn unusable(call: &Call<'_>, source: ManifestError) -> RegistryError {
    RegistryError::Unusable { host: call.host().into(), request: call.request.clone(), source }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"</v2/a/referrers/d?last=1>; rel="next""#, Some("/v2/a/referrers/d?last=1"))]
    #[case(r"<x>;rel=next", Some("x"))]
    #[case(r#"<x>; title="a"; REL="prev NEXT""#, Some("x"))]
    #[case(r#"<x>; title="a, b; c"; rel="next""#, Some("x"))]
    #[case(r#"<a>; rel="prev", <b>; rel="next""#, Some("b"))]
    #[case(r#"<a>; rel="next", <b>; rel="next""#, Some("a"))]
    #[case(r#"<a>; rel="prev""#, None)]
    #[case(r#"<a>; rel="nextish""#, None)]
    #[case("<a>", None)]
    #[case("<a", None)]
    #[case("next", None)]
    #[case("", None)]
    fn links(#[case] value: &str, #[case] expected: Option<&str>) {
        assert_eq!(next(value), expected);
    }
}

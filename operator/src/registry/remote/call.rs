//! One call of the port, as the requests that it takes: where to, with which headers, along which redirects.

use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION},
};
use url::Url;

use super::{
    Remote,
    body::Payload,
    budget::{Asker, Kind},
    failure::Failure,
    hosts::Site,
    redirect::{self, authority},
    refusal::Told,
    transport::{Hop, Reply, tls_for},
};
use crate::{
    oci::{Digest, RawManifest, Repository, TagOrDigest, media_type},
    registry::{Access, Actions, Credential, Fence, Place, RegistryError, Request, Scope},
};

/// What the port was asked for.
pub(super) struct Call<'a> {
    pub(super) access: &'a Access,
    pub(super) repository: &'a Repository,
    pub(super) request: Request,
    /// `manifests/1.0`
    path: String,
    /// Where a registry said to go, instead of `path`.
    at: Option<Url>,
    manifest: Option<&'a RawManifest>,
    /// What it needs.
    actions: Actions,
}

/// An answer, and where it came from after redirects.
pub(super) struct Answer {
    pub(super) response: Reply,
    pub(super) url: Url,
    /// Not from the origin that was asked, which has seen no credential.
    pub(super) elsewhere: bool,
}

/// One request, wherever redirects lead it.
pub(super) struct Asked<'a> {
    /// On whose behalf, as the user names it.
    pub(super) registry: &'a str,
    pub(super) access: &'a Access,
    /// What it is, where the registry itself is asked.
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// Whether a 303 is followed.
    pub(super) see_other: bool,
    /// What may begin an upload.
    pub(super) begins: Option<&'a Call<'a>>,
    /// It is sent only while this is open.
    pub(super) fence: Option<&'a Fence>,
}

impl<'a> Call<'a> {
    /// HEAD, GET, PUT or DELETE of a manifest; a PUT with `manifest` as its body.
    pub(super) fn manifest(
        method: &'static str,
        access: &'a Access,
        repository: &'a Repository,
        reference: &TagOrDigest,
        manifest: Option<&'a RawManifest>,
    ) -> Self {
        let request = Request::manifest(method, repository, reference);
        let path = format!("manifests/{reference}");
        Self { access, repository, request, path, at: None, manifest, actions: needed(method) }
    }

    /// HEAD or GET of a blob; PATCH or PUT of what is to become one.
    pub(super) fn blob(
        method: &'static str,
        access: &'a Access,
        repository: &'a Repository,
        digest: &Digest,
    ) -> Self {
        let request = Request::blob(method, repository, digest);
        let (path, actions) = (format!("blobs/{digest}"), needed(method));
        Self { access, repository, request, path, at: None, manifest: None, actions }
    }

    /// GET of what refers to a manifest.
    pub(super) fn referrers(
        access: &'a Access,
        repository: &'a Repository,
        subject: &Digest,
    ) -> Self {
        let request = Request::referrers(repository, subject);
        let path = format!("referrers/{subject}");
        Self { request, path, ..Self::blob("GET", access, repository, subject) }
    }

    /// POST for a mount of a blob from another repository.
    pub(super) fn mount(to: Place<'a>, from: &Repository, digest: &Digest) -> Self {
        let request = Request::mount(to.repository, digest);
        let path = format!("blobs/uploads/?mount={digest}&from={}", from.path());
        Self { request, path, ..Self::upload("POST", to, digest) }
    }

    /// About the upload of a blob: POST for a new one.
    pub(super) fn upload(method: &'static str, to: Place<'a>, digest: &Digest) -> Self {
        let Place { access, repository } = to;
        let request = Request::upload(method, repository, digest);
        let (path, actions) = ("blobs/uploads/".into(), needed(method).max(Actions::Push));
        Self { access, repository, request, path, at: None, manifest: None, actions }
    }

    /// DELETE of the session at `url`, of whose upload a request said that it was `of` it.
    pub(super) fn end(to: Place<'a>, of: &str, url: Url) -> Self {
        Self::session("DELETE", to, of, url)
    }

    /// GET of what the registry has of the same.
    pub(super) fn status(to: Place<'a>, of: &str, url: Url) -> Self {
        Self::session("GET", to, of, url)
    }

    fn session(method: &'static str, to: Place<'a>, of: &str, url: Url) -> Self {
        let request = Request { method, noun: "upload", of: of.into() };
        Self {
            access: to.access,
            repository: to.repository,
            request,
            path: "blobs/uploads/".into(),
            at: Some(url),
            manifest: None,
            actions: needed(method).max(Actions::Push),
        }
    }

    /// The same, where the registry said to go.
    pub(super) fn at(self, url: Url) -> Self {
        Self { at: Some(url), ..self }
    }

    /// The registry, as the user names it.
    pub(super) fn host(&self) -> &str {
        self.repository.host()
    }

    pub(super) fn method(&self) -> Method {
        match self.request.method {
            "HEAD" => Method::HEAD,
            "PUT" => Method::PUT,
            "POST" => Method::POST,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            _ => Method::GET,
        }
    }

    /// What it is among the requests to its host.
    pub(super) fn kind(&self) -> Kind {
        match (self.request.method, self.request.noun) {
            ("GET", "manifest") => Kind::Pull,
            ("DELETE", "upload") => Kind::Cleanup,
            _ => Kind::Request,
        }
    }

    /// What it waits for where it is a write. What cleans up after us goes in any case.
    pub(super) fn fence(&self) -> Option<&'a Fence> {
        let writes = !matches!(self.request.method, "HEAD" | "GET");
        (writes && self.kind() != Kind::Cleanup).then_some(&self.access.fence)
    }

    /// Where the registry is asked.
    pub(super) fn url(&self, allow_http: bool) -> Result<Url, RegistryError> {
        let host = self.host().to_owned();
        // Whoever has archives answers for them; the host in the name of an image is not asked instead.
        if self.repository.archive().is_some() {
            let why = format!("{} is in an archive that was not opened", self.repository);
            return Err(RegistryError::Archive { why });
        }
        if self.access.plain_http && !allow_http {
            return Err(RegistryError::InsecureNotAllowed { host });
        }
        let url = self.at.clone().or_else(|| self.own_url());
        url.ok_or_else(|| self.told(Failure::protocol("nothing: its name is not a host's name")))
    }

    fn own_url(&self) -> Option<Url> {
        let scheme = if self.access.plain_http { "http" } else { "https" };
        let (at, path) = (self.repository.api_host(), self.repository.path());
        Url::parse(&format!("{scheme}://{at}/v2/{path}/{}", self.path)).ok()
    }

    /// The credential, where the registry itself is asked: no other host sees it.
    pub(super) fn credential(&self) -> Option<&'a Credential> {
        let origin = |url: &Url| url.origin();
        let elsewhere = self.at.as_ref().map(origin) != self.own_url().as_ref().map(origin);
        self.access.credential.as_ref().filter(|_| self.at.is_none() || !elsewhere)
    }

    /// Where that is, for what is remembered of it.
    pub(super) fn site(&self, allow_http: bool) -> Result<Site, RegistryError> {
        Ok(Site::of(&self.url(allow_http)?, self.access))
    }

    /// What it needs of its own repository, and all that the run may do there.
    pub(super) fn scope(&self) -> Scope {
        let path = self.repository.path();
        let known = self.access.scopes.iter().find(|scope| scope.path == path);
        let actions = known.map_or(self.actions, |scope| scope.actions.max(self.actions));
        Scope { path: path.into(), actions }
    }

    /// All scopes of the run, where there are several and they have what it needs.
    pub(super) fn scopes(&self) -> Option<Vec<Scope>> {
        let needed = Scope { path: self.repository.path().into(), actions: self.actions };
        let suffice = self.access.scopes.len() > 1 && self.access.allows(&needed);
        suffice.then(|| {
            let mut scopes = self.access.scopes.clone();
            scopes.sort();
            scopes
        })
    }

    /// Whether it needs rights on two repositories at once.
    pub(super) fn is_mount(&self) -> bool {
        self.request.noun == "mount"
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(manifest) = self.manifest {
            // A media type that is no header's value is refused by the registry instead.
            if let Ok(media_type) = HeaderValue::from_str(manifest.media_type()) {
                headers.insert(CONTENT_TYPE, media_type);
            }
        } else if matches!(self.request.method, "HEAD" | "GET") {
            let accept = match self.request.noun {
                "manifest" => Some(media_type::ACCEPT),
                "referrers" => Some(media_type::OCI_INDEX),
                _ => None,
            };
            headers.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))));
        }
        headers
    }

    pub(super) fn body(&self) -> Option<Bytes> {
        self.manifest.map(|manifest| manifest.bytes().clone())
    }

    pub(super) fn told(&self, failure: Failure) -> RegistryError {
        failure.told(self.host(), &self.request, &self.access.certificates)
    }
}

/// What a registry wants to have allowed for a request by `method`.
fn needed(method: &str) -> Actions {
    match method {
        "HEAD" | "GET" => Actions::Pull,
        "DELETE" => Actions::Delete,
        _ => Actions::Push,
    }
}

impl Remote {
    /// Sends `call` to `from` and along its redirects. `authorization` goes to that origin only,
    /// and to nobody once the call was sent elsewhere, not even back.
    pub(super) async fn follow(
        &self,
        call: &Call<'_>,
        from: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let asked = Asked {
            registry: call.host(),
            access: call.access,
            kind: call.kind(),
            method: call.method(),
            headers: call.headers(),
            body: call.body(),
            // GHCR sends who asks for referrers to a page for people.
            see_other: call.request.noun != "referrers",
            begins: (call.request.method == "POST").then_some(call),
            fence: call.fence(),
        };
        self.follow_with(&asked, from, authorization).await
    }

    /// As [`Remote::follow`], for anything.
    pub(super) async fn follow_with(
        &self,
        asked: &Asked<'_>,
        from: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let Asked { registry, access, method, .. } = asked;
        let (whose, mut kind) = (Asker::of(access), asked.kind);
        let mut url = from.clone();
        let mut elsewhere = false;
        for _ in 0..=self.transport.limits().redirects {
            let mut headers = asked.headers.clone();
            if let Some(authorization) = authorization.filter(|_| !elsewhere) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let body = asked.body.clone().map_or(Payload::Nothing, Payload::Bytes);
            let tls = tls_for(access, &url);
            let sent = if let Some(call) = asked.begins {
                self.begin(call, &url, tls.cloned(), headers).await
            } else {
                let (url, tls) = (&url, tls.map(AsRef::as_ref));
                let hop = Hop {
                    registry,
                    asker: whose,
                    kind,
                    method,
                    url,
                    tls,
                    headers,
                    body,
                    behind: 0,
                    fence: asked.fence,
                };
                self.transport.send(hop).await
            };
            let response =
                sent.map_err(|why| if elsewhere { why.at(&authority(&url)) } else { why })?;
            let location = response.headers().get(LOCATION).map(|value| value.to_str());
            let location = location.and_then(Result::ok);
            let next = match response.status() {
                StatusCode::SEE_OTHER if !asked.see_other => Ok(None),
                status => redirect::next(&url, method, status, location),
            };
            match next {
                Ok(None) => return Ok(Answer { response, url, elsewhere }),
                Ok(Some(next)) => {
                    elsewhere |= next.origin() != from.origin();
                    (url, kind) = (next, Kind::Request);
                }
                Err(why) => return Err(Failure::Protocol(why)),
            }
        }
        let most = self.transport.limits().redirects;
        Err(Failure::Protocol(format!("more than {most} redirects in a row")))
    }

    /// What an answer that is no success means for `call`.
    pub(super) async fn refused(&self, call: &Call<'_>, answer: Answer) -> RegistryError {
        let told = Told::of(&self.transport, answer.response).await;
        told.error(call.host(), &call.request, call.access.who())
    }

    /// The body of an answer, if it has at most `limit` bytes.
    pub(super) async fn body(&self, answer: Answer, limit: u64) -> Result<Bytes, Failure> {
        let at = answer.elsewhere.then(|| authority(&answer.url));
        let read = self.transport.read(answer.response, limit).await;
        read.map_err(|why| at.map_or(why.clone(), |at| why.at(&at)))
    }
}

//! The port to registries, in the verbs of the OCI distribution spec: as few as the steps need.

mod credential;
pub mod dry_run;
mod error;
mod fence;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod remote;
pub mod shared;
pub mod tls;

use std::{
    fmt,
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::oci::{Descriptor, Digest, RawManifest, Repository, TagOrDigest};

pub(crate) use credential::Identity;
pub use credential::{Credential, Origin, Proof};
pub use error::{Pause, RegistryError};
pub use fence::Fence;
pub use tls::Certificates;

/// A registry, as the steps see it.
///
/// Who asks is an argument of every call and never state of the implementation: a client that
/// remembers the first credential of a host hands one tenant's password to another. Absence (404)
/// is `Ok(None)`; everything else that is not the content itself is an error, so that "missing" and
/// "unknown" cannot be mixed up. Manifests cross as raw bytes, checked against their digest.
pub trait Registry: Send + Sync + 'static {
    /// What `reference` names now: media type, digest and size. Where the registry's HEAD has no
    /// digest, the manifest is read and its digest computed.
    fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> impl Future<Output = Result<Option<Descriptor>, RegistryError>> + Send;

    /// The manifest that `reference` names now. Asked by digest, the bytes have that digest.
    fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> impl Future<Output = Result<Option<RawManifest>, RegistryError>> + Send;

    /// A small blob (an image config) as a whole: its bytes have the size and digest of `blob`,
    /// and a blob that claims to be larger than the limit for configs is never asked for.
    fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> impl Future<Output = Result<Option<Bytes>, RegistryError>> + Send;

    /// Stores `manifest` under `reference`, and says whether the registry took it. Its word for what it has is not trusted:
    /// read back.
    fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> impl Future<Output = Result<Put, RegistryError>> + Send;

    /// Whether the repository has `blob`, in the size that its descriptor says.
    fn blob_exists(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> impl Future<Output = Result<bool, RegistryError>> + Send;

    /// Sees to it that `to` has `blob`, which `from` has, by what moves the least: a mount where
    /// one identity asks at both ends of one registry, a look, and only then the bytes. `None` where
    /// `from` does not have it.
    ///
    /// It is one method and not a mount, a read and an upload, because what they hand to each other
    /// stays inside then: the upload session that a refused mount leaves, the stream, and which
    /// mounts were refused before. The bytes pass in constant memory, size and digest are checked
    /// before the last one is handed on, and an upload that does not succeed is cancelled where the
    /// registry can, also when this future is dropped. A blob whose layer has `urls` is the
    /// caller's concern.
    fn copy_blob(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        blob: &Descriptor,
        progress: &Progress,
    ) -> impl Future<Output = Result<Option<Copied>, RegistryError>> + Send;

    /// Deletes `tag`, and says whether there was one. What the tag names stays: a manifest may have
    /// other tags and other readers, so nothing is ever deleted by digest. One request, whatever
    /// comes of it; [`RegistryError::status`] tells a registry that cannot delete tags.
    fn delete_tag(
        &self,
        access: &Access,
        repository: &Repository,
        tag: &str,
    ) -> impl Future<Output = Result<bool, RegistryError>> + Send;

    /// The manifests in the repository whose subject is `subject`, each once: from the referrers
    /// API, or where there is none from the index under the fallback tag.
    fn list_referrers(
        &self,
        access: &Access,
        repository: &Repository,
        subject: &Digest,
    ) -> impl Future<Output = Result<Vec<Descriptor>, RegistryError>> + Send;

    /// Stores `manifest`, whose subject is `subject`, by digest, and sees to it that it is listed:
    /// a registry without referrers API gets it in the index under the fallback tag, which keeps
    /// what it lists already. Calls for one subject go one after the other, or they undo each
    /// other's work and do it again.
    fn put_referrer(
        &self,
        access: &Access,
        repository: &Repository,
        manifest: &RawManifest,
        subject: &Digest,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// A repository, and who asks there.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Who asks.
    pub access: &'a Access,
    /// Where.
    pub repository: &'a Repository,
}

/// How a blob came to be at its target, by what moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Copied {
    /// It was there already.
    Present,
    /// The registry took it from the other repository by itself.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// What became of a manifest that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The registry took it, although its answer may have been lost.
    Taken,
    /// The registry refused to take it, and has it all the same: whoever put it there, it shows nobody's right to.
    Present,
}

/// Told how many bytes of a blob were handed to its target so far. The number falls where an upload
/// starts over, and is never told for a blob that is not sent.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// Who asks, for what, and how: an argument of every call.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The credential, where the object has one for this repository.
    pub credential: Option<Credential>,
    /// What one token is asked for, where the registry wants tokens: every scope of the run that
    /// this identity needs, so that one token serves them all. Where these are not given together, a
    /// call gets a token for its own repository.
    pub scopes: Vec<Scope>,
    /// The object says `plainHTTP` for this registry, and the operator's flags allow it.
    pub plain_http: bool,
    /// The certificates that the object has for registries, and for hosts that they lead to.
    pub certificates: Arc<Certificates>,
    /// On whose behalf: where many wait for one registry, each object has its turn.
    pub object: Object,
    /// From when on an answer to the same question is as good as an answer to this one: what a
    /// reference names may be told from what was answered to another call since. `None`: it is
    /// asked anew.
    pub since: Option<Instant>,
    /// The same of the answer that there is nothing, for who knows of nothing there so far. `None`: only who waited for
    /// it is told.
    pub absent_since: Option<Instant>,
    /// Writes begin only while it is open.
    pub fence: Fence,
}

/// An object, as far as a registry's client has to know one: told from others, and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object(u64);

/// Rights on a repository: `repository:PATH:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The repository's path, without the host.
    pub path: String,
    /// What may be done there.
    pub actions: Actions,
}

/// What may be done in a repository; each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actions {
    /// `pull`
    Pull,
    /// `pull,push`
    Push,
    /// `pull,push,delete`. Where a token endpoint refuses to hear of `delete`, it is asked without.
    Delete,
}

/// What was asked of a registry, for messages: `GET manifest team/app:1.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `HEAD`, `GET`, `PUT`, `POST`, `PATCH`, `DELETE`.
    pub method: &'static str,
    /// `manifest`, `blob`, `referrers`, `token`; `mount` and `upload` for what leads to a blob.
    pub noun: &'static str,
    /// `team/app:1.0` or `team/app@sha256:…`.
    pub of: String,
}

impl Access {
    /// The scopes of this access with another one: one a repository, with all that either allows.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        match self.scopes.iter_mut().find(|known| known.path == scope.path) {
            Some(known) => known.actions = known.actions.max(scope.actions),
            None => self.scopes.push(scope),
        }
        self
    }

    /// Whether its scopes have all of `scope`.
    #[must_use]
    pub fn allows(&self, scope: &Scope) -> bool {
        let mut known = self.scopes.iter();
        known.any(|known| known.path == scope.path && known.actions >= scope.actions)
    }

    /// The same, for a question that answers since then are good for.
    #[must_use]
    pub fn since(&self, since: Instant) -> Self {
        Self { since: Some(since), absent_since: None, ..self.clone() }
    }

    /// The same, also for the answer that there is nothing.
    #[must_use]
    pub fn absent_since(self, since: Instant) -> Self {
        Self { absent_since: Some(since), ..self }
    }

    /// The credential in words, for messages.
    #[must_use]
    pub fn who(&self) -> String {
        match &self.credential {
            Some(credential) => format!("the credential of {}", credential.origin),
            None => "a request without credential".into(),
        }
    }
}

impl Object {
    /// The one that `name` names. Two that are taken for one share a turn, and nothing else.
    #[must_use]
    pub fn of(name: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Request {
    /// About a manifest: `GET manifest team/app:1.0`.
    #[must_use]
    pub fn manifest(
        method: &'static str,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Self {
        let of = match reference {
            TagOrDigest::Tag(tag) => format!("{}:{tag}", repository.path()),
            TagOrDigest::Digest(digest) => format!("{}@{digest}", repository.path()),
        };
        Self { method, noun: "manifest", of }
    }

    /// About a blob: `GET blob team/app@sha256:…`.
    #[must_use]
    pub fn blob(method: &'static str, repository: &Repository, digest: &Digest) -> Self {
        Self { method, noun: "blob", of: format!("{}@{digest}", repository.path()) }
    }

    /// For a mount of a blob from another repository: `POST mount team/app@sha256:…`.
    #[must_use]
    pub fn mount(repository: &Repository, digest: &Digest) -> Self {
        Self { noun: "mount", ..Self::blob("POST", repository, digest) }
    }

    /// About the session of a blob's upload: `POST upload team/app@sha256:…`.
    #[must_use]
    pub fn upload(method: &'static str, repository: &Repository, digest: &Digest) -> Self {
        Self { noun: "upload", ..Self::blob(method, repository, digest) }
    }

    /// For what refers to a manifest: `GET referrers team/app@sha256:…`.
    #[must_use]
    pub fn referrers(repository: &Repository, subject: &Digest) -> Self {
        Self { noun: "referrers", ..Self::blob("GET", repository, subject) }
    }

    /// For a token: `GET token team/app`.
    #[must_use]
    pub fn token(repository: &Repository) -> Self {
        Self { method: "GET", noun: "token", of: repository.path().into() }
    }
}

impl Scope {
    /// The right to read `repository`.
    #[must_use]
    pub fn pull(repository: &Repository) -> Self {
        Self { path: repository.path().into(), actions: Actions::Pull }
    }

    /// The right to read and write `repository`.
    #[must_use]
    pub fn push(repository: &Repository) -> Self {
        Self { path: repository.path().into(), actions: Actions::Push }
    }

    /// The right to read and write `repository`, and to delete tags of it.
    #[must_use]
    pub fn delete(repository: &Repository) -> Self {
        Self { path: repository.path().into(), actions: Actions::Delete }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repository:{}:{}", self.path, self.actions)
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,push,delete",
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.noun, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(path: &str, actions: Actions) -> Scope {
        Scope { path: path.into(), actions }
    }

    #[test]
    fn one_scope_a_repository_with_all_that_is_asked_for() {
        let access = Access::default()
            .with_scope(scope("a", Actions::Push))
            .with_scope(scope("b", Actions::Pull))
            .with_scope(scope("a", Actions::Pull))
            .with_scope(scope("b", Actions::Delete));
        let scopes: Vec<_> = access.scopes.iter().map(ToString::to_string).collect();
        assert_eq!(scopes, ["repository:a:pull,push", "repository:b:pull,push,delete"]);
    }
}

//! A registry in memory, for tests: one store with two faces, the port and an HTTP server that can be told to lie.

pub mod images;
mod port;
pub mod server;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{RegistryError, Request};
use crate::oci::{Descriptor, Digest, Manifest, RawManifest, Referrer, TagOrDigest};

pub use images::Image;
pub use server::{Family, Lie, Lies, Login, Server, serve};

/// One registry's content; clones share it. Repositories are told apart by path alone: the host
/// of a [`crate::oci::Repository`] is whatever leads here.
#[derive(Clone, Default)]
pub struct Store {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Content>,
    log: Vec<Request>,
    faults: Vec<Fault>,
    losses: Vec<Fault>,
    hangs: Vec<(When, Duration)>,
    login: Option<(String, String)>,
    no_mounts: bool,
    protected: bool,
}

/// What one repository holds.
#[derive(Default)]
struct Content {
    manifests: BTreeMap<Digest, RawManifest>,
    tags: BTreeMap<String, Digest>,
    blobs: BTreeMap<Digest, Bytes>,
}

type When = Arc<dyn Fn(&Request) -> bool + Send + Sync>;
type Make = Arc<dyn Fn(&Request) -> RegistryError + Send + Sync>;

#[derive(Clone)]
struct Fault {
    when: When,
    error: Make,
}

/// Why a manifest is not stored: status and code of the distribution spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
}

impl Store {
    /// An empty registry that asks for no credential.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The port's face asks every request for this credential from now on.
    pub fn require_login(&self, username: &str, password: &str) {
        self.state().login = Some((username.into(), password.into()));
    }

    /// The port's face refuses mounts from now on, so that blobs are sent.
    pub fn refuse_mounts(&self) {
        self.state().no_mounts = true;
    }

    /// From now on the port's face answers the requests that `when` picks with `error`. `when` is
    /// called for each request before it is served, so it may also be used to change the store in
    /// the middle of a run.
    pub fn fail(
        &self,
        when: impl Fn(&Request) -> bool + Send + Sync + 'static,
        error: impl Fn(&Request) -> RegistryError + Send + Sync + 'static,
    ) {
        self.state().faults.push(Fault { when: Arc::new(when), error: Arc::new(error) });
    }

    /// From now on the port's face does what the writes ask for that `when` picks, and answers with `error`.
    pub fn lose(
        &self,
        when: impl Fn(&Request) -> bool + Send + Sync + 'static,
        error: impl Fn(&Request) -> RegistryError + Send + Sync + 'static,
    ) {
        self.state().losses.push(Fault { when: Arc::new(when), error: Arc::new(error) });
    }

    /// From now on the port's face never answers the requests that `when` picks.
    pub fn hang(&self, when: impl Fn(&Request) -> bool + Send + Sync + 'static) {
        self.delay(Duration::MAX, when);
    }

    /// From now on the port's face lets no tag be overwritten.
    pub fn protect(&self) {
        self.state().protected = true;
    }

    /// From now on the port's face takes this long for each of the requests that `when` picks.
    pub fn delay(&self, by: Duration, when: impl Fn(&Request) -> bool + Send + Sync + 'static) {
        self.state().hangs.push((Arc::new(when), by));
    }

    /// Ends every [`Store::fail`], [`Store::lose`], [`Store::hang`], [`Store::delay`] and [`Store::protect`].
    pub fn mend(&self) {
        let mut state = self.state();
        state.protected = false;
        state.faults.clear();
        state.losses.clear();
        state.hangs.clear();
    }

    /// The requests that the port's face served since the start or the last [`Store::forget`].
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().log.clone()
    }

    /// Empties the log of requests.
    pub fn forget(&self) {
        self.state().log.clear();
    }

    /// What `tag` names in the repository at `path`.
    #[must_use]
    pub fn tagged(&self, path: &str, tag: &str) -> Option<RawManifest> {
        self.manifest(path, &TagOrDigest::Tag(tag.into()))
    }

    /// The tags of the repository at `path`, sorted.
    #[must_use]
    pub fn tags(&self, path: &str) -> Vec<String> {
        let state = self.state();
        state.repositories.get(path).into_iter().flat_map(|c| c.tags.keys().cloned()).collect()
    }

    /// The manifest that `reference` names in the repository at `path`.
    #[must_use]
    pub fn manifest(&self, path: &str, reference: &TagOrDigest) -> Option<RawManifest> {
        let state = self.state();
        let content = state.repositories.get(path)?;
        let digest = match reference {
            TagOrDigest::Tag(tag) => content.tags.get(tag)?,
            TagOrDigest::Digest(digest) => digest,
        };
        content.manifests.get(digest).cloned()
    }

    /// The blob of `digest` in the repository at `path`.
    #[must_use]
    pub fn blob(&self, path: &str, digest: &Digest) -> Option<Bytes> {
        self.state().repositories.get(path)?.blobs.get(digest).cloned()
    }

    /// Makes `tag` name the manifest of `digest`; without effect where there is no such manifest.
    pub fn tag(&self, path: &str, tag: &str, digest: &Digest) {
        let mut state = self.state();
        let content = state.repositories.entry(path.into()).or_default();
        if content.manifests.contains_key(digest) {
            content.tags.insert(tag.into(), digest.clone());
        }
    }

    /// Deletes a tag and leaves its manifest.
    pub fn delete_tag(&self, path: &str, tag: &str) {
        self.untag(path, tag);
    }

    /// The same, and whether there was one.
    pub(crate) fn untag(&self, path: &str, tag: &str) -> bool {
        let mut state = self.state();
        let content = state.repositories.get_mut(path);
        content.is_some_and(|content| content.tags.remove(tag).is_some())
    }

    /// What refers to the manifest of `subject` in the repository at `path`, by digest.
    #[must_use]
    pub fn referrers(&self, path: &str, subject: &Digest) -> Vec<Descriptor> {
        let state = self.state();
        let manifests = state.repositories.get(path).into_iter().flat_map(|c| c.manifests.values());
        let referrers = manifests.filter_map(|manifest| Referrer::of(manifest, subject).ok());
        referrers.map(|referrer| referrer.descriptor).collect()
    }

    /// Deletes a manifest and every tag that names it.
    pub fn delete_manifest(&self, path: &str, digest: &Digest) {
        if let Some(content) = self.state().repositories.get_mut(path) {
            content.manifests.remove(digest);
            content.tags.retain(|_, named| named != digest);
        }
    }

    /// Stores a blob.
    pub fn push_blob(&self, path: &str, media_type: &str, bytes: Bytes) -> Descriptor {
        let descriptor = Descriptor {
            media_type: media_type.into(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        };
        let mut state = self.state();
        let content = state.repositories.entry(path.into()).or_default();
        content.blobs.insert(descriptor.digest.clone(), bytes);
        descriptor
    }

    /// Deletes a blob.
    pub fn delete_blob(&self, path: &str, digest: &Digest) {
        if let Some(content) = self.state().repositories.get_mut(path) {
            content.blobs.remove(digest);
        }
    }

    /// Stores bytes as a manifest, whatever they are, and tags them where `tag` is given.
    pub fn push_manifest(
        &self,
        path: &str,
        tag: Option<&str>,
        manifest: &RawManifest,
    ) -> Descriptor {
        let mut state = self.state();
        let content = state.repositories.entry(path.into()).or_default();
        content.manifests.insert(manifest.digest().clone(), manifest.clone());
        if let Some(tag) = tag {
            content.tags.insert(tag.into(), manifest.digest().clone());
        }
        manifest.descriptor()
    }

    /// Stores a manifest as a registry does: under its digest or a tag, and only where everything
    /// that it names is there.
    pub(crate) fn accept(
        &self,
        path: &str,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<(), Rejected> {
        let rejected = |code| Rejected { status: 400, code };
        if let TagOrDigest::Digest(digest) = reference
            && !digest.matches(manifest.bytes())
        {
            return Err(rejected("DIGEST_INVALID"));
        }
        let parsed = manifest.parse().map_err(|_| rejected("MANIFEST_INVALID"))?;
        let mut state = self.state();
        let content = state.repositories.entry(path.into()).or_default();
        let whole = match &parsed {
            Manifest::Index(index) => {
                index.manifests.iter().all(|child| content.manifests.contains_key(&child.digest))
            }
            Manifest::Image(image) => std::iter::once(&image.config)
                .chain(image.layers.iter().filter(|layer| layer.urls.is_empty()))
                .all(|blob| content.blobs.contains_key(&blob.digest)),
        };
        if !whole {
            return Err(rejected("MANIFEST_BLOB_UNKNOWN"));
        }
        content.manifests.insert(manifest.digest().clone(), manifest.clone());
        if let TagOrDigest::Tag(tag) = reference {
            content.tags.insert(tag.clone(), manifest.digest().clone());
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

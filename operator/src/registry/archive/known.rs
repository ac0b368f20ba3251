//! What is known of archives while they are loaded: what images were taken to be, and what was copied ahead.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    archive::Image,
    oci::{Digest, RawManifest, Reference, Repository},
    registry::{Copied, RegistryError},
};

/// What is known, by names in archives.
#[derive(Default)]
pub(super) struct Known(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Images that have no name in their archive.
    called: HashMap<Reference, Image>,
    /// What names name.
    manifests: HashMap<Reference, Result<RawManifest, RegistryError>>,
    /// By their configs: what was found of images elsewhere.
    found: HashMap<Digest, RawManifest>,
    /// By archive: what is not in it as it is.
    by_digest: HashMap<(String, Digest), RawManifest>,
    /// What was done for a blob before its run.
    ahead: HashMap<(Repository, Digest), Copied>,
}

impl Known {
    pub(super) fn call(&self, name: Reference, image: Image) {
        self.inner().called.insert(name, image);
    }

    pub(super) fn called(&self, name: &Reference) -> Option<Image> {
        self.inner().called.get(name).cloned()
    }

    /// `name` names `manifest`, whatever was thought of it before.
    pub(super) fn adopt(&self, name: Reference, manifest: RawManifest) {
        let mut inner = self.inner();
        inner.keep(&name, &manifest);
        inner.manifests.insert(name, Ok(manifest));
    }

    /// These were found elsewhere, by their configs.
    pub(super) fn found(&self, found: HashMap<Digest, RawManifest>) {
        self.inner().found = found;
    }

    /// What was found of the image of `config`, which `name` names from then on.
    pub(super) fn found_for(&self, name: &Reference, config: &Digest) -> Option<RawManifest> {
        let found = self.inner().found.get(config).cloned()?;
        self.adopt(name.clone(), found.clone());
        Some(found)
    }

    /// The same, if nothing is known of it.
    pub(super) fn made(&self, name: Reference, made: Result<RawManifest, RegistryError>) {
        let mut inner = self.inner();
        if let Ok(manifest) = &made {
            inner.keep(&name, manifest);
        }
        inner.manifests.entry(name).or_insert(made);
    }

    /// What `name` names.
    pub(super) fn manifest(&self, name: &Reference) -> Option<Result<RawManifest, RegistryError>> {
        self.inner().manifests.get(name).cloned()
    }

    /// What a name of the archive that `repository` is in names, by its digest.
    pub(super) fn by_digest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<RawManifest> {
        let archive = repository.archive()?.to_owned();
        self.inner().by_digest.get(&(archive, digest.clone())).cloned()
    }

    /// The blob of `digest` was copied to `repository`.
    pub(super) fn ahead(&self, repository: &Repository, digest: &Digest, copied: Copied) {
        self.inner().ahead.insert((repository.clone(), digest.clone()), copied);
    }

    /// How it was, for the first one who asks.
    pub(super) fn take_ahead(&self, repository: &Repository, digest: &Digest) -> Option<Copied> {
        self.inner().ahead.remove(&(repository.clone(), digest.clone()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, name: &Reference, manifest: &RawManifest) {
        if let Some(archive) = name.repository().archive() {
            let key = (archive.to_owned(), manifest.digest().clone());
            self.by_digest.insert(key, manifest.clone());
        }
    }
}

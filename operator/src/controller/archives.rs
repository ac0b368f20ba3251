//! The archives that an object names, opened for one run of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, Weak},
};

use futures::future::join_all;
use kube::ResourceExt;
use multiarch_crds::v1alpha1::MultiArchImage;

use super::{Context, lock};
use crate::{
    archive::Archive,
    keychain::Keychain,
    leader::Fenced,
    reconcile::{Stage, access::AccessMap, adopt, sources::Sources},
    registry::{
        Registry, RegistryError,
        archive::{Archives, Turns},
    },
    shelf::ShelfError,
};

/// Where blobs of archives came to, for all runs of a namespace, for as long as the archive is what it is.
#[derive(Default)]
pub(super) struct Sent(Mutex<Vec<(String, Weak<Archive>, Arc<Turns>)>>);

impl Sent {
    fn turns(&self, namespace: &str, archive: &Arc<Archive>) -> Arc<Turns> {
        let mut all = lock(&self.0);
        all.retain(|(_, archive, _)| archive.strong_count() > 0);
        let this = Arc::downgrade(archive);
        let known = all.iter().find(|(of, other, _)| of == namespace && other.ptr_eq(&this));
        if let Some((.., turns)) = known {
            return Arc::clone(turns);
        }
        let turns = Arc::<Turns>::default();
        all.push((namespace.to_owned(), this, Arc::clone(&turns)));
        turns
    }
}

impl<R: Registry> Context<R> {
    /// The registry of a run of `object`, with the archives that `sources` names beside it.
    pub(super) async fn with_archives(
        &self,
        object: &MultiArchImage,
        sources: &Sources,
        keychain: &Keychain,
        stage: &Stage,
    ) -> Archives<Fenced<R>> {
        let repositories = sources.sources.iter().map(|source| source.reference.repository());
        let paths: BTreeSet<&str> = repositories.filter_map(|it| it.archive()).collect();
        if paths.is_empty() {
            return Archives::new(self.registry.clone(), []);
        }
        stage.at("while its archives were read");
        let namespace = object.namespace().unwrap_or_default();
        let opens = paths
            .into_iter()
            .map(async |path| (path.to_owned(), self.shelf.open(&namespace, path).await));
        let (mut opened, mut lacking) = (Vec::new(), Vec::new());
        for (path, archive) in join_all(opens).await {
            match archive {
                Ok(archive) => opened.push((path, archive)),
                Err(error) => lacking.push((path, told(&error))),
            }
        }
        let turns = opened.iter().map(|(path, it)| (path.clone(), self.sent.turns(&namespace, it)));
        let turns: Vec<_> = turns.collect();
        let archives = Archives::new(self.registry.clone(), opened);
        let archives = archives.without(lacking).sharing(turns);
        let access = AccessMap::new(sources, keychain).target().cloned();
        // Whoever may not push is told so later.
        let Ok(access) = access else { return archives };
        let (registry, target) = (self.registry.clone(), sources.target.clone());
        archives.finding(Arc::new(move |configs| {
            let (registry, access, target) = (registry.clone(), access.clone(), target.clone());
            Box::pin(async move {
                // What cannot be looked at now is looked at again by the run itself, which tells why.
                adopt::find(&registry, &access, &target, &configs).await.unwrap_or_default()
            })
        }))
    }
}

/// What a run is told of an archive that was not opened; `None` where it is not there.
pub(super) fn told(error: &ShelfError) -> Option<RegistryError> {
    let why = error.to_string();
    Some(match error {
        ShelfError::NotThere { .. } => return None,
        ShelfError::Off | ShelfError::NotShared | ShelfError::Outside { .. } => {
            RegistryError::ArchiveNotAllowed { why }
        }
        ShelfError::Settles { after, .. } => RegistryError::ArchiveAwaited { why, after: *after },
        ShelfError::Changed { .. } | ShelfError::Open { .. } => {
            RegistryError::ArchiveAwaited { why, after: crate::shelf::SETTLES }
        }
        ShelfError::Archive(_) => RegistryError::Archive { why },
    })
}

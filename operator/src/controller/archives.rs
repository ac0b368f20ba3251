//! The archives that an object names, opened for one run of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures::future::join_all;
use kube::ResourceExt;
use multiarch_crds::v1alpha1::MultiArchImage;

use super::{Context, lock};
use crate::{
    archive::Archive,
    error::causes,
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
pub(super) struct Sent(Mutex<Vec<OfOne>>);

/// Those of one archive, for one namespace.
struct OfOne {
    namespace: String,
    archive: Weak<Archive>,
    turns: Arc<Turns>,
}

impl Sent {
    fn turns(&self, namespace: &str, archive: &Arc<Archive>) -> Arc<Turns> {
        let mut all = lock(&self.0);
        all.retain(|one| one.archive.strong_count() > 0);
        let archive = Arc::downgrade(archive);
        let mut known = all.iter();
        let known = known.find(|one| one.namespace == namespace && one.archive.ptr_eq(&archive));
        if let Some(known) = known {
            return Arc::clone(&known.turns);
        }
        let (turns, namespace) = (Arc::<Turns>::default(), namespace.to_owned());
        all.push(OfOne { namespace, archive, turns: Arc::clone(&turns) });
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
        let settles = self.shelf.settles();
        let (mut opened, mut lacking) = (Vec::new(), Vec::new());
        for (path, archive) in join_all(opens).await {
            match archive {
                Ok(archive) => opened.push((path, archive)),
                Err(error) => lacking.push((path, of_shelf(&error, settles))),
            }
        }
        let turns = opened.iter().map(|(path, it)| (path.clone(), self.sent.turns(&namespace, it)));
        let turns: Vec<_> = turns.collect();
        let archives = Archives::new(self.registry.clone(), opened).without(lacking);
        let archives = archives.settling(settles).sharing(turns);
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

/// What a run is told of an archive that was not opened, of those that are to be unchanged for as long as `settles`; `None` where
/// it is not there.
pub(super) fn of_shelf(error: &ShelfError, settles: Duration) -> Option<RegistryError> {
    let why = causes(error);
    if let Some(after) = error.again(settles) {
        return Some(RegistryError::ArchiveAwaited { why, after });
    }
    match error {
        ShelfError::NotThere { .. } => None,
        ShelfError::Off | ShelfError::NotShared | ShelfError::Outside { .. } => {
            Some(RegistryError::ArchiveNotAllowed { why })
        }
        _ => Some(RegistryError::Archive { why }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::archive::ArchiveError;

    const REST: Duration = Duration::from_secs(3);
    const WHOLE: Duration = Duration::from_secs(7);

    fn io() -> Arc<std::io::Error> {
        Arc::new(rustix::io::Errno::STALE.into())
    }

    fn path() -> String {
        "k3s.tar".into()
    }

    #[rstest]
    #[case::rest(ShelfError::Settles { path: path(), after: REST }, REST, "in 3 seconds")]
    #[case::changed(ShelfError::Changed { path: path() }, WHOLE, "changed while it was read")]
    #[case::slow(ShelfError::Reading { path: path() }, WHOLE, "still being read")]
    #[case::not_opened(ShelfError::Open { path: path(), source: io() }, WHOLE, "os error")]
    #[case::not_read(ShelfError::Archive(Arc::new(ArchiveError::Read { file: path().into(), source: io() })), WHOLE, "os error")]
    #[case::not_looked_at(ShelfError::Archive(Arc::new(ArchiveError::Open { file: path().into(), source: io() })), WHOLE, "os error")]
    fn what_passes_is_awaited(
        #[case] error: ShelfError,
        #[case] expected: Duration,
        #[case] words: &str,
    ) {
        let told = of_shelf(&error, WHOLE).unwrap();
        let RegistryError::ArchiveAwaited { why, after } = &told else { panic!("{told:?}") };
        assert!(why.contains(words) && why.contains("k3s.tar"), "{why}");
        assert_eq!(*after, expected);
    }

    #[test]
    fn what_is_broken_is_so_until_somebody_mends_it() {
        let part = crate::archive::Part { file: path().into(), entry: None };
        let cut = ArchiveError::Truncated { of: part };
        let told = of_shelf(&ShelfError::Archive(Arc::new(cut)), WHOLE);
        assert!(matches!(told, Some(RegistryError::Archive { .. })), "{told:?}");
        let outside = ShelfError::Outside { path: path(), why: "a link is on the way to it" };
        let told = of_shelf(&outside, WHOLE);
        assert!(matches!(told, Some(RegistryError::ArchiveNotAllowed { .. })), "{told:?}");
        assert!(of_shelf(&ShelfError::NotThere { path: path() }, WHOLE).is_none());
    }
}

//! An archive that was opened, and what is told where reading it fails.

use std::{io, ops::Deref, sync::Arc, time::Duration};

use crate::{
    archive::{Archive, ArchiveError, InUse},
    error::causes,
    registry::RegistryError,
    shelf::SETTLES,
};

/// An archive that was opened.
#[derive(Clone)]
pub(super) struct Opened {
    archive: Arc<Archive>,
    /// For how long it is to be unchanged before it is read, where somebody looks again.
    settles: Option<Duration>,
}

impl Opened {
    pub(super) fn new(archive: Arc<Archive>) -> Self {
        Self { archive, settles: None }
    }

    /// The same, for who looks again when it was unchanged for so long.
    pub(super) fn settling(self, settles: Duration) -> Self {
        Self { settles: Some(settles), ..self }
    }

    /// Says that it is used, until that is dropped.
    pub(super) fn in_use(&self) -> InUse {
        self.archive.in_use()
    }

    /// What reading it failed by. Where something writes to it meanwhile, that is what is wrong.
    pub(super) fn told(&self, error: &ArchiveError) -> RegistryError {
        let settles = self.settles.unwrap_or(SETTLES);
        if !self.is_as_it_was() {
            let file = crate::oci::printable(&self.path().to_string_lossy());
            let why = format!("archive {file} was changed while it was read");
            return RegistryError::ArchiveAwaited { why, after: settles };
        }
        let why = causes(error);
        // A command has one try.
        if self.settles.is_some() && error.may_pass() {
            return RegistryError::ArchiveAwaited { why, after: settles };
        }
        RegistryError::Archive { why }
    }

    /// The same, of what a reader of it has given.
    pub(super) fn told_by_reader(&self, error: io::Error) -> RegistryError {
        self.told(&ArchiveError::of(self.path(), error))
    }
}

impl Deref for Opened {
    type Target = Archive;

    fn deref(&self) -> &Archive {
        &self.archive
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, path::Path};

    use super::*;

    /// A folder that is a layout of nothing.
    fn opened(folder: &Path) -> Opened {
        std::fs::write(folder.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
        Opened::new(Arc::new(Archive::open(folder).unwrap()))
    }

    /// What the system says of a file that is open for writing alone.
    fn failure(folder: &Path) -> io::Error {
        let file = OpenOptions::new().append(true).open(folder.join("index.json")).unwrap();
        io::Read::read(&mut &file, &mut [0]).unwrap_err()
    }

    #[test]
    fn what_the_system_fails_to_read_is_awaited_by_who_looks_again() {
        let folder = tempfile::tempdir().unwrap();
        let (opened, settles) = (opened(folder.path()), Duration::from_secs(7));
        let told = opened.told_by_reader(failure(folder.path()));
        assert!(matches!(told, RegistryError::Archive { .. }), "{told:?}");
        let settling = opened.settling(settles);
        let told = settling.told_by_reader(failure(folder.path()));
        let RegistryError::ArchiveAwaited { why, after } = &told else { panic!("{told:?}") };
        assert!(why.starts_with("failed to read \"/") && why.contains("os error"), "{why}");
        assert_eq!(*after, settles);
        let broken = ArchiveError::NotALayout { file: "a".into() };
        // As readers give it.
        let told = settling.told_by_reader(broken.into());
        assert!(matches!(told, RegistryError::Archive { .. }), "{told:?}");
    }

    #[test]
    fn what_was_written_to_waits_until_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let (opened, settles) = (opened(folder.path()), Duration::from_secs(7));
        std::fs::write(folder.path().join("oci-layout"), "{}").unwrap();
        let broken = ArchiveError::NotALayout { file: "a".into() };
        for (opened, after) in [(opened.clone(), SETTLES), (opened.settling(settles), settles)] {
            let told = opened.told(&broken);
            let RegistryError::ArchiveAwaited { why, after: told } = &told else {
                panic!("{told:?}")
            };
            assert!(why.ends_with("was changed while it was read") && *told == after, "{why}");
        }
    }
}

//! A folder: only its own regular files are opened, and no symbolic link is followed on the way to one.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{ArchiveError, Part, files::Place, tape::Shared};

/// An open folder.
pub(super) struct Folder {
    pub(super) path: Arc<Path>,
    fd: OwnedFd,
    pub(super) read: Arc<AtomicU64>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let folder =
            openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let folder = folder.map_err(|error| ArchiveError::Open {
            file: path.into(),
            source: Arc::new(error.into()),
        })?;
        Ok(Self { path: path.into(), fd: folder, read: Arc::default() })
    }

    /// The file called `name`, which is in its normal spelling.
    pub(super) fn find(&self, name: &str) -> Result<Option<Place>, ArchiveError> {
        let file = self.file(name)?;
        Ok(file.map(|file| Place { name: name.into(), at: 0, size: file.size }))
    }

    /// The open file called `name`.
    pub(super) fn file(&self, name: &str) -> Result<Option<Shared>, ArchiveError> {
        let file = match self.walk(name) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                return Err(self.refused(name, "is a link, or in a folder that is one"));
            }
            Err(error) => return Err(self.read(error.into())),
        };
        let about = file.metadata().map_err(|error| self.read(error))?;
        if !about.is_file() {
            return Err(self.refused(name, "is no regular file"));
        }
        Ok(Some(Shared {
            path: Arc::clone(&self.path),
            file: Arc::new(file),
            size: about.len(),
            read: Arc::clone(&self.read),
        }))
    }

    /// Opens one part of the name after the other. A pipe does not hold it up, and is no file.
    fn walk(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut at = None::<OwnedFd>;
        let mut parts = name.split('/').peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let is_last = parts.peek().is_none();
            let flags = if is_last { flags } else { flags | OFlags::DIRECTORY };
            let folder = at.as_ref().unwrap_or(&self.fd);
            let opened = openat(folder, part, flags, Mode::empty())?;
            if is_last {
                return Ok(opened);
            }
            at = Some(opened);
        }
    }

    fn refused(&self, name: &str, why: &'static str) -> ArchiveError {
        let of = Part { file: self.path.to_path_buf(), entry: Some(name.into()) };
        ArchiveError::Refused { of, why }
    }

    fn read(&self, error: io::Error) -> ArchiveError {
        ArchiveError::Read { file: self.path.to_path_buf(), source: Arc::new(error) }
    }
}

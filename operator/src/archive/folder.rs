//! A folder: only its own regular files are opened, and no symbolic link is followed on the way to one.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};

use super::{ArchiveError, Part, files::Place, tape::Shared};

const NO_FILE: &str = "is no regular file";

/// An open folder.
pub(super) struct Folder {
    pub(super) path: Arc<Path>,
    pub(super) itself: File,
    pub(super) read: Arc<AtomicU64>,
}

impl Folder {
    /// The open folder `itself`, which is called `path`.
    pub(super) fn of(path: &Path, itself: File) -> Self {
        Self { path: path.into(), itself, read: Arc::default() }
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
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(self.refused(name, "is a link, or in a folder that is one"));
            }
            // So it is with sockets, and with devices that nothing drives.
            Err(Errno::NXIO | Errno::NODEV) => return Err(self.refused(name, NO_FILE)),
            Err(error) => return Err(self.read(error.into())),
        };
        let about = file.metadata().map_err(|error| self.read(error))?;
        if !about.is_file() {
            return Err(self.refused(name, NO_FILE));
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
            let folder = at.as_ref().map_or(self.itself.as_fd(), AsFd::as_fd);
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

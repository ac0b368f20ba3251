//! The bytes of an archive from its first one to its last: a file's own, or unpacked ones.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    ArchiveError, Part,
    packing::{Packing, Unpacked, WINDOW},
    windows::{WINDOWS, Window},
};

/// An open file, which many may read at once, each at their own place.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) path: Arc<Path>,
    pub(super) file: Arc<File>,
    pub(super) size: u64,
    /// How many bytes were read so far, by all together.
    pub(super) read: Arc<AtomicU64>,
}

impl Shared {
    /// It as a whole, for messages.
    pub(super) fn part(&self) -> Part {
        Part { file: self.path.to_path_buf(), entry: None }
    }

    /// Its bytes from `at` on.
    pub(super) fn from(&self, at: u64) -> Offset {
        Offset { shared: self.clone(), at }
    }
}

/// A file's bytes from some place on. Errors are made of [`ArchiveError`]s.
pub(super) struct Offset {
    shared: Shared,
    at: u64,
}

impl Read for Offset {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.shared.file.read_at(buffer, self.at);
        let read = read.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => ArchiveError::of(&self.shared.path, error).into(),
        })?;
        self.at += read as u64;
        self.shared.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A tape, and where it is.
pub(super) enum Tape {
    Plain(Offset),
    Packed { unpacked: Unpacked, at: u64, _window: Option<Window> },
}

impl Tape {
    /// At its beginning. Waits until there may be another window.
    pub(super) fn new(shared: &Shared, packing: Option<Packing>) -> Result<Self, ArchiveError> {
        let Some(packing) = packing else { return Ok(Self::Plain(shared.from(0))) };
        let window = (packing == Packing::Zstd).then(|| WINDOWS.take());
        let unpacked = Unpacked::new(packing, shared.from(0), shared.part(), WINDOW)?;
        Ok(Self::Packed { unpacked, at: 0, _window: window })
    }

    /// Where it is, in the unpacked archive.
    pub(super) fn at(&self) -> u64 {
        match self {
            Self::Plain(offset) => offset.at,
            Self::Packed { at, .. } => *at,
        }
    }

    /// Goes on to `to`, which is not before where it is. `false` where the archive ends before.
    pub(super) fn skip_to(&mut self, to: u64) -> io::Result<bool> {
        if let Self::Plain(offset) = self {
            offset.at = to;
            return Ok(to <= offset.shared.size);
        }
        let left = to - self.at();
        Ok(io::copy(&mut self.by_ref().take(left), &mut io::sink())? == left)
    }

    /// Reads on to the end, so that what is packed is known to be whole.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Packed { .. } => io::copy(self, &mut io::sink()).map(drop),
        }
    }
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(offset) => offset.read(buffer),
            Self::Packed { unpacked, at, .. } => {
                let read = unpacked.read(buffer)?;
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

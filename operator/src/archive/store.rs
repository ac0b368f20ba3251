//! Where an archive's files are: in a tar archive, plain or packed, or in a folder.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use super::{
    ArchiveError, Part,
    cursor::Cursor,
    entries::{Entries, What},
    files::{Files, Place},
    folder::Folder,
    header::BLOCK,
    held::Whole,
    kept::Kept,
    packing::{self, Found, Packing},
    tape::{Shared, Tape},
    windows::Keeper,
};

/// The files of an archive.
pub(super) enum Store {
    Tar { shared: Shared, files: Files },
    Packed { shared: Shared, files: Files, kept: Kept, cursor: Arc<Cursor> },
    Folder(Folder),
}

impl Store {
    /// Reads the names of what is in `file`, which is called `path`.
    pub(super) fn of(path: &Path, file: File) -> Result<Self, ArchiveError> {
        let failed = |error| ArchiveError::Open { file: path.into(), source: Arc::new(error) };
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Ok(Self::Folder(Folder::of(path, file)));
        }
        if !about.is_file() {
            return Err(ArchiveError::NotAFile { file: path.into() });
        }
        let file = Arc::new(file);
        let shared = Shared { path: path.into(), file, size: about.len(), read: Arc::default() };
        let mut first = Vec::new();
        let read = shared.from(0).take(BLOCK as u64).read_to_end(&mut first);
        read.map_err(|error| ArchiveError::of(path, error))?;
        match packing::found(&first) {
            Found::Tar => {
                let mut files = Files::default();
                let mut tape = Tape::new(&shared, None)?;
                let mut entries = Entries::new(path, &mut tape);
                while let Some(entry) = entries.next()? {
                    files.add(path, entry)?;
                }
                Ok(Self::Tar { shared, files })
            }
            Found::Packed(packing) => Self::packed(shared, packing),
            Found::Foreign(by) => Err(ArchiveError::Packed { of: shared.part(), by }),
            Found::Other => Err(ArchiveError::NotAnArchive { file: path.into() }),
        }
    }

    /// Reads a packed archive for the first time, from the first byte to the last one.
    fn packed(shared: Shared, packing: Packing) -> Result<Self, ArchiveError> {
        if !begins(&shared, packing)? {
            return Err(ArchiveError::NotAnArchive { file: shared.path.to_path_buf() });
        }
        let (mut files, mut kept) = (Files::default(), Kept::default());
        let mut tape = Tape::new(&shared, Some(packing))?;
        let mut entries = Entries::new(&shared.path, &mut tape);
        while let Some(entry) = entries.next()? {
            if entry.what == What::File {
                kept.take(&entry, &mut entries)?;
            }
            files.add(&shared.path, entry)?;
        }
        let cursor = Arc::new(Cursor::new(shared.clone(), packing));
        Ok(Self::Packed { shared, files, kept, cursor })
    }

    /// The archive as a whole.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Tar { shared, .. } | Self::Packed { shared, .. } => &shared.path,
            Self::Folder(folder) => &folder.path,
        }
    }

    /// The open file or folder.
    pub(super) fn itself(&self) -> &File {
        match self {
            Self::Tar { shared, .. } | Self::Packed { shared, .. } => &shared.file,
            Self::Folder(folder) => &folder.itself,
        }
    }

    /// About how many bytes of memory it keeps for as long as it is open, without what a reader has.
    pub(super) fn keeps(&self) -> usize {
        match self {
            Self::Tar { files, .. } => files.keeps(),
            Self::Packed { files, kept, .. } => files.keeps() + kept.keeps(),
            Self::Folder(_) => 0,
        }
    }

    /// An entry, for messages.
    pub(super) fn part(&self, entry: &str) -> Part {
        Part { file: self.path().into(), entry: Some(entry.into()) }
    }

    /// The names of a tar archive.
    pub(super) fn files(&self) -> Option<&Files> {
        match self {
            Self::Tar { files, .. } | Self::Packed { files, .. } => Some(files),
            Self::Folder(_) => None,
        }
    }

    /// Whether there is one reader for all.
    pub(super) fn is_packed(&self) -> bool {
        matches!(self, Self::Packed { .. })
    }

    /// How many bytes were read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        let (Self::Tar { shared: Shared { read, .. }, .. }
        | Self::Packed { shared: Shared { read, .. }, .. }
        | Self::Folder(Folder { read, .. })) = self;
        read.load(Ordering::Relaxed)
    }

    /// Lets go of a packed archive's reader.
    pub(super) fn rest(&self) {
        if let Self::Packed { cursor, .. } = self {
            cursor.rest();
        }
    }

    /// The file called `name`, which is no link.
    pub(super) fn file(&self, name: &str) -> Result<Option<Place>, ArchiveError> {
        match self {
            Self::Tar { files, .. } | Self::Packed { files, .. } => Ok(files.file(name)),
            Self::Folder(folder) => folder.find(name),
        }
    }

    /// The bytes of a file.
    pub(super) fn read(&self, place: &Place) -> Result<Box<dyn Read + Send>, ArchiveError> {
        let of = self.part(&place.name);
        Ok(match self {
            Self::Tar { shared, .. } => Box::new(Whole::new(shared.from(place.at), place.size, of)),
            Self::Packed { kept, cursor, .. } => match kept.get(place.at) {
                Some(bytes) => Box::new(io::Cursor::new(bytes)),
                None => Box::new(Whole::new(cursor.open(place)?, place.size, of)),
            },
            Self::Folder(folder) => {
                let Some(file) = folder.file(&place.name)? else {
                    return Err(ArchiveError::Truncated { of });
                };
                Box::new(Whole::new(file.from(0), place.size, of))
            }
        })
    }

    /// The bytes of a document, of which there are at most `limit`.
    pub(super) fn document(&self, place: &Place, limit: u64) -> Result<Bytes, ArchiveError> {
        if place.size > limit {
            return Err(ArchiveError::TooLarge { of: self.part(&place.name), limit });
        }
        let mut bytes = Vec::new();
        let read = self.read(place)?.read_to_end(&mut bytes);
        read.map_err(|error| ArchiveError::of(self.path(), error))?;
        Ok(bytes.into())
    }
}

/// Opens the file or folder at `path`.
pub(super) fn open(path: &Path) -> Result<File, ArchiveError> {
    let failed = |error| ArchiveError::Open { file: path.into(), source: Arc::new(error) };
    // A pipe is not opened, since that waits for who writes to it.
    let about = path.metadata().map_err(failed)?;
    if !about.is_file() && !about.is_dir() {
        return Err(ArchiveError::NotAFile { file: path.into() });
    }
    File::open(path).map_err(failed)
}

/// Whether what is packed begins as a tar archive does.
fn begins(shared: &Shared, packing: Packing) -> Result<bool, ArchiveError> {
    let mut first = Vec::new();
    let read = Tape::new(shared, Some(packing))?.take(BLOCK as u64).read_to_end(&mut first);
    read.map_err(|error| ArchiveError::of(&shared.path, error))?;
    Ok(packing::found(&first) == Found::Tar)
}

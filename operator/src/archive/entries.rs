//! What a tar archive has, in its order: names, kinds and places; and what no image's archive has is refused.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    ArchiveError, Part,
    header::{BLOCK, Header, Records},
    path,
    tape::Tape,
};

/// An entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) what: What,
    /// Where its bytes begin.
    pub(super) at: u64,
    pub(super) size: u64,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    File,
    Folder,
    /// A link to another path in the archive.
    Link(String),
}

/// How many headers an archive may have.
pub(super) const MAX_ENTRIES: usize = 65_536;
/// How many bytes a layer may have, and so any entry.
pub(super) const MAX_SIZE: u64 = 64 << 30;
/// How many bytes a long name may take, with the null at its end.
const MAX_NAME: u64 = path::LONGEST as u64 + 1;
/// How many bytes the records of an entry may take.
const MAX_RECORDS: u64 = 1 << 20;

/// The entries of the archive on `tape`.
pub(super) struct Entries<'a> {
    file: &'a Path,
    tape: &'a mut Tape,
    /// Where the next header is.
    next: u64,
    headers: usize,
    /// The entry before.
    last: Option<String>,
}

/// What comes before an entry and is about it.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Records>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(file: &'a Path, tape: &'a mut Tape) -> Self {
        Self { file, next: tape.at(), tape, headers: 0, last: None }
    }

    /// The next one, `None` after the last one. What is not read of the one before is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut before = None::<Before>;
        loop {
            let Some(header) = self.header()? else {
                return match before {
                    Some(_) => Err(self.malformed("a name has no entry")),
                    None => Ok(None),
                };
            };
            match header.kind {
                b'L' => before.get_or_insert_default().name = Some(self.long(&header)?),
                b'K' => before.get_or_insert_default().link = Some(self.long(&header)?),
                b'x' => before.get_or_insert_default().records = Some(self.records(&header)?),
                b'g' => self.global(&header)?,
                _ => return self.entry(header, before.unwrap_or_default()).map(Some),
            }
        }
    }

    /// Adds the next `bytes` bytes of the last entry to `to`.
    pub(super) fn read(&mut self, bytes: u64, to: &mut Vec<u8>) -> Result<(), ArchiveError> {
        let read = self.tape.by_ref().take(bytes).read_to_end(to);
        if read.map_err(|error| self.error(error))? as u64 != bytes {
            return Err(self.truncated());
        }
        Ok(())
    }

    /// The next header, `None` where the archive ends. Where the one after is, is known after its size is.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK];
        self.block(&mut block)?;
        let header = Header::read(&block).map_err(|why| self.malformed(why))?;
        if header.is_none() {
            self.end()?;
            return Ok(None);
        }
        self.headers += 1;
        if self.headers > MAX_ENTRIES {
            let (file, limit) = (self.file(), MAX_ENTRIES);
            return Err(ArchiveError::TooMany { file, what: "entries", limit });
        }
        Ok(header)
    }

    /// Reads the next block.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), ArchiveError> {
        let is_there = self.tape.skip_to(self.next).map_err(|error| self.error(error))?;
        if !is_there {
            return Err(self.truncated());
        }
        self.tape.read_exact(block).map_err(|error| self.error(error))?;
        self.next += BLOCK as u64;
        Ok(())
    }

    /// The first block of zeros was read: there are two, but some programs write one.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut block = Vec::with_capacity(BLOCK);
        let read = self.tape.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        read.map_err(|error| self.error(error))?;
        if block.iter().any(|byte| *byte != 0) {
            return Err(self.malformed("there is only half of an end"));
        }
        self.tape.drain().map_err(|error| self.error(error))
    }

    /// The entry of `header`, about which `before` tells more.
    fn entry(&mut self, header: Header, before: Before) -> Result<Entry, ArchiveError> {
        let records = before.records.unwrap_or_default();
        let raw = before.name.or(records.path).unwrap_or(header.name);
        let of = self.part(&raw);
        let refused = |why| ArchiveError::Refused { of: of.clone(), why };
        let text = str::from_utf8(&raw).map_err(|_| refused("has a name that is not UTF-8"))?;
        let name = path::normal(text).map_err(refused)?;
        if records.sparse || header.kind == b'S' {
            return Err(refused("is a sparse file"));
        }
        let link = before.link.or(records.link).unwrap_or(header.link);
        let link = || str::from_utf8(&link).map_err(|_| refused("is a link to what is not UTF-8"));
        let what = match header.kind {
            // Before POSIX, a folder was a file with a slash at its end.
            b'0' | b'\0' | b'7' if text.ends_with('/') => What::Folder,
            b'0' | b'\0' | b'7' => What::File,
            b'5' => What::Folder,
            b'1' => What::Link(path::normal(link()?).map_err(refused)?),
            b'2' => What::Link(path::linked(&name, link()?).map_err(refused)?),
            b'3' | b'4' => return Err(refused("is a device")),
            b'6' => return Err(refused("is a pipe")),
            _ => return Err(refused("is of a kind that no image's archive has")),
        };
        if name.is_empty() && what != What::Folder {
            return Err(refused("has no name"));
        }
        // Links and folders have no bytes, whatever their size says.
        let size = if what == What::File { records.size.unwrap_or(header.size) } else { 0 };
        if size > MAX_SIZE {
            return Err(ArchiveError::TooLarge { of, limit: MAX_SIZE });
        }
        let at = self.next;
        self.pass(size)?;
        self.last = Some(text.into());
        Ok(Entry { name, what, at, size })
    }

    /// A name or a link's target that is too long for a header, in GNU's way.
    fn long(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.content(header.size, MAX_NAME, "a name is too long")?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    /// What pax says of the next entry.
    fn records(&mut self, header: &Header) -> Result<Records, ArchiveError> {
        let bytes =
            self.content(header.size, MAX_RECORDS, "the pax records of an entry are too long")?;
        Records::read(&bytes).map_err(|why| self.malformed(why))
    }

    /// What pax says of all that follow: a comment, and never a name or a size.
    fn global(&mut self, header: &Header) -> Result<(), ArchiveError> {
        if self.records(header)? != Records::default() {
            return Err(self.malformed("pax records are to name all entries alike"));
        }
        Ok(())
    }

    /// The bytes behind a header.
    fn content(
        &mut self,
        size: u64,
        most: u64,
        why: &'static str,
    ) -> Result<Vec<u8>, ArchiveError> {
        if size > most {
            return Err(self.malformed(why));
        }
        let mut bytes = Vec::new();
        self.read(size, &mut bytes)?;
        self.pass(size)?;
        Ok(bytes)
    }

    /// The next header is behind `size` bytes, in whole blocks.
    fn pass(&mut self, size: u64) -> Result<(), ArchiveError> {
        let next = size.checked_next_multiple_of(BLOCK as u64);
        let next = next.and_then(|size| self.next.checked_add(size));
        self.next = next.ok_or_else(|| self.truncated())?;
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.file.into()
    }

    fn part(&self, name: &[u8]) -> Part {
        Part { file: self.file(), entry: Some(String::from_utf8_lossy(name).into()) }
    }

    fn malformed(&self, why: &'static str) -> ArchiveError {
        ArchiveError::Malformed { file: self.file(), at: self.next, why }
    }

    fn truncated(&self) -> ArchiveError {
        ArchiveError::Truncated { of: Part { file: self.file(), entry: self.last.clone() } }
    }

    fn error(&self, error: std::io::Error) -> ArchiveError {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.truncated(),
            _ => ArchiveError::of(self.file, error),
        }
    }
}

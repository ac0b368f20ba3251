//! Bytes that are held to what they are to be: to a size, and to a digest before the last of them is handed on.

use std::io::{self, Read};

use super::{ArchiveError, Part};
use crate::oci::{Digest, digest::Hasher};

/// The first `left` bytes of a reader, which must be there.
pub(super) struct Whole<R> {
    reader: R,
    left: u64,
    of: Part,
}

impl<R: Read> Whole<R> {
    pub(super) fn new(reader: R, size: u64, of: Part) -> Self {
        Self { reader, left: size, of }
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(ArchiveError::Truncated { of: self.of.clone() }.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Bytes that must have this digest, and are `left` more.
pub(super) struct Held<R> {
    reader: R,
    left: u64,
    hash: Option<Hasher>,
    expected: Digest,
    of: Part,
}

impl<R: Read> Held<R> {
    pub(super) fn new(reader: R, size: u64, expected: Digest, of: Part) -> Self {
        Self { reader, left: size, hash: Some(Hasher::new(&expected)), expected, of }
    }

    fn check(&mut self) -> Result<(), ArchiveError> {
        let Some(hash) = self.hash.take() else { return Ok(()) };
        let computed = hash.finish();
        if computed == self.expected {
            return Ok(());
        }
        let (of, expected) = (self.of.clone(), self.expected.clone());
        Err(ArchiveError::Digest { of, expected, computed })
    }
}

impl<R: Read> Read for Held<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.reader.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..read]);
        }
        // More or fewer bytes than expected have another digest, too.
        self.left = self.left.saturating_sub(read as u64);
        if read == 0 || self.left == 0 {
            self.check()?;
        }
        Ok(read)
    }
}

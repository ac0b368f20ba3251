//! A layer of a `docker save` archive: what it is unpacked, and what it is as a blob.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    ArchiveError, Part,
    entries::MAX_SIZE,
    gzip::Gzip,
    header::BLOCK,
    packing::{Found, LAYER_WINDOW, Packing, Unpacked, found},
};
use crate::oci::{Digest, digest::Hasher, media_type};

/// A layer that was read once.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Its digest unpacked.
    pub(super) diff_id: Digest,
    /// Its digest as a blob.
    pub(super) digest: Digest,
    /// Its size as a blob.
    pub(super) size: u64,
    /// How the archive has it packed; not at all, it is deflated to be a blob.
    pub(super) packing: Option<Packing>,
}

impl Layer {
    /// Reads `layer` to its end.
    pub(super) fn read(
        mut layer: impl Read + Send + 'static,
        of: &Part,
    ) -> Result<Self, ArchiveError> {
        let failed = |error| ArchiveError::of(&of.file, error);
        let mut first = Vec::new();
        layer.by_ref().take(BLOCK as u64).read_to_end(&mut first).map_err(failed)?;
        let packing = match found(&first) {
            Found::Packed(packing) => Some(packing),
            Found::Foreign(by) => return Err(ArchiveError::Packed { of: of.clone(), by }),
            // What is no tar archive is not the layer that the config names.
            Found::Tar | Found::Other => None,
        };
        let (raw, all) = Tally::of(io::Cursor::new(first).chain(layer));
        let Some(packed) = packing else {
            let (digest, size) = Tally::of(Gzip::new(raw)).0.drain().map_err(failed)?;
            let (diff_id, _) = all.finish();
            return Ok(Self { diff_id, digest, size, packing });
        };
        let unpacked = Unpacked::new(packed, raw, of.clone(), LAYER_WINDOW)?;
        let limited = unpacked.take(MAX_SIZE + 1);
        let (diff_id, unpacked) = Tally::of(limited).0.drain().map_err(failed)?;
        if unpacked > MAX_SIZE {
            return Err(ArchiveError::TooLarge { of: of.clone(), limit: MAX_SIZE });
        }
        let (digest, size) = all.finish();
        Ok(Self { diff_id, digest, size, packing })
    }

    /// Its type in a manifest of Docker's; zstd has none.
    pub(super) fn docker_type(&self) -> Option<&'static str> {
        (self.packing != Some(Packing::Zstd)).then_some(media_type::DOCKER_LAYER)
    }

    /// Its type in a manifest of OCI's.
    pub(super) fn oci_type(&self) -> &'static str {
        match self.packing {
            Some(Packing::Zstd) => media_type::OCI_LAYER_ZSTD,
            Some(Packing::Gzip) | None => media_type::OCI_LAYER,
        }
    }
}

/// The digest and the number of bytes that have passed so far.
#[derive(Clone, Default)]
struct Sum(Arc<Mutex<(Hasher, u64)>>);

impl Sum {
    fn add(&self, bytes: &[u8]) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0.update(bytes);
        sum.1 += bytes.len() as u64;
    }

    fn finish(&self) -> (Digest, u64) {
        let sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (sum.0.clone().finish(), sum.1)
    }
}

/// Adds up what is read through it.
struct Tally<R> {
    reader: R,
    sum: Sum,
}

impl<R: Read> Tally<R> {
    fn of(reader: R) -> (Self, Sum) {
        let sum = Sum::default();
        (Self { reader, sum: sum.clone() }, sum)
    }

    /// Reads all of it.
    fn drain(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.sum.finish())
    }
}

impl<R: Read> Read for Tally<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.sum.add(&buffer[..read]);
        Ok(read)
    }
}

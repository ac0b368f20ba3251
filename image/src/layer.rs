//! Files as a tar archive, and bytes as gzip: the same bytes on every machine.

use anyhow::{Context, Result};
use miniz_oxide::deflate::compress_to_vec;
use tar::{Builder, EntryType, Header};

/// How hard deflate tries.
const LEVEL: u8 = 9;
/// The header of RFC 1952: deflate, no name, no time, the slowest, on any system.
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];

/// An archive in which everything is root's and of the time `created`.
pub struct Archive {
    tar: Builder<Vec<u8>>,
    created: u64,
}

impl Archive {
    /// An empty one.
    #[must_use]
    pub fn new(created: u64) -> Self {
        Self { tar: Builder::new(Vec::new()), created }
    }

    /// Adds a file, or a folder where there are no `bytes`.
    pub fn add(&mut self, path: &str, mode: u32, bytes: Option<&[u8]>) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(path).with_context(|| format!("{path} is no path for an archive"))?;
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.created);
        header.set_entry_type(if bytes.is_some() {
            EntryType::Regular
        } else {
            EntryType::Directory
        });
        let bytes = bytes.unwrap_or_default();
        header.set_size(bytes.len().try_into().context("a file that is too large")?);
        header.set_cksum();
        self.tar.append(&header, bytes).with_context(|| format!("failed to add {path}"))
    }

    /// Its bytes.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.tar.into_inner().context("failed to end an archive")
    }
}

/// `bytes` as gzip.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GZIP.to_vec();
    gzip.extend(compress_to_vec(bytes, LEVEL));
    gzip.extend(crc32fast::hash(bytes).to_le_bytes());
    // RFC 1952: the size modulo 2^32.
    gzip.extend(&bytes.len().to_le_bytes()[..4]);
    gzip
}

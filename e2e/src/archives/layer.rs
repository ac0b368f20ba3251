//! Layers as they are when they are unpacked: held, or made anew each time that they are read, because they are large.

use std::{
    io::{self, Cursor, Read},
    sync::Arc,
};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::images::{digest, tar_of};

/// A layer: a tar of one file.
#[derive(Clone, Debug)]
pub struct Layer {
    content: Content,
    digest: String,
    size: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Held(Arc<[u8]>),
    Made { header: Arc<[u8]>, seed: u64, noise: u64, size: u64 },
}

/// A tar is written in these.
const BLOCK: u64 = 512;

impl Layer {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest(&bytes),
            size: bytes.len() as u64,
            content: Content::Held(bytes.into()),
        }
    }

    /// Of one small file.
    pub fn file(content: &[u8]) -> Result<Self> {
        tar_of(content).map(Self::new)
    }

    /// Of a file of so many MiB, the first `noise` of them so that nothing can compress them, and zeros after these. Other seeds make
    /// another noise. It is never held.
    pub fn large(seed: u64, noise: u64, mib: u64) -> Result<Self> {
        let (noise, size) = (noise << 20, mib << 20);
        let mut header = tar::Header::new_ustar();
        header.set_path("hello").context("failed to name a file")?;
        header.set_size(size);
        header.set_mode(0o755);
        header.set_cksum();
        let content =
            Content::Made { header: header.as_bytes().to_vec().into(), seed, noise, size };
        let (digest, size) = digest_of(content.reader())?;
        Ok(Self { content, digest, size })
    }

    /// The digest, which is the diff_id.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes.
    #[must_use]
    pub fn reader(&self) -> Box<dyn Read + '_> {
        self.content.reader()
    }
}

impl Content {
    fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Held(bytes) => Box::new(Cursor::new(&bytes[..])),
            Self::Made { header, seed, noise, size } => {
                // What is left of the last block, and the two that end a tar.
                let end = size.next_multiple_of(BLOCK) - size + 2 * BLOCK;
                let noisy = Noise(*seed).take(*noise);
                let zeros = io::repeat(0).take(size - noise + end);
                Box::new(Cursor::new(&header[..]).chain(noisy).chain(zeros))
            }
        }
    }
}

/// The digest of what `from` reads, and its size.
fn digest_of(mut from: impl Read) -> Result<(String, u64)> {
    let (mut sum, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer).context("failed to read a layer")?;
        if read == 0 {
            let hex =
                sum.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            return Ok((format!("sha256:{hex}"), size));
        }
        sum.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Bytes that look random, and are the same each time (SplitMix64).
#[derive(Debug)]
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for eight in buffer.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            eight.copy_from_slice(&mixed.to_le_bytes()[..eight.len()]);
        }
        Ok(buffer.len())
    }
}

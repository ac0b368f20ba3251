//! Archives that are compressed, as `gzip` and `zstd --long` do it.

use std::io::{Read, Write};

use anyhow::{Context, Result};
use flate2::{read::GzDecoder, write::GzEncoder};

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `gzip`.
    Gzip,
    /// `zstd --long=N` (k3s uses 25), of what it reads from a pipe: the window has 2^N bytes, and the content's size is not told.
    Zstd(u32),
}

impl Compression {
    /// Has `write` write to it, and writes what becomes of that to `to`.
    pub(super) fn compress(
        self,
        to: &mut dyn Write,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::None => write(to),
            Self::Gzip => {
                let mut gzip = GzEncoder::new(to, flate2::Compression::default());
                write(&mut gzip)?;
                gzip.finish().context("failed to compress").map(drop)
            }
            Self::Zstd(log) => {
                let mut zstd = zstd::Encoder::new(to, zstd::DEFAULT_COMPRESSION_LEVEL)
                    .context("failed to begin to compress")?;
                zstd.long_distance_matching(true).context("failed to compress over a distance")?;
                zstd.window_log(log).context("failed to set a window")?;
                write(&mut zstd)?;
                zstd.finish().context("failed to compress").map(drop)
            }
        }
    }
}

/// What gzip has compressed, or the bytes as they are where it has not.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.to_vec());
    }
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).context("failed to unpack")?;
    Ok(plain)
}

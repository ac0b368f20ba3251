//! How bytes are packed, and unpacking them within bounds.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;

use super::{
    ArchiveError, Part,
    header::{BLOCK, has_sum},
};

/// A way of packing that is unpacked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

/// What bytes are, by the first ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Tar,
    Packed(Packing),
    /// Packed by what is not unpacked here.
    Foreign(&'static str),
    Other,
}

/// How many bytes may come of each packed one: so many do of nothing but zeros.
const EXPANSION: u64 = 200;
/// How many may come in any case, since a tar archive ends in zeros.
const SLACK: u64 = 1 << 20;

/// The largest window of an archive, by its logarithm: 64 MiB, for which k3s packs.
pub(super) const WINDOW: u32 = 26;
/// The largest window of a layer: the 8 MiB that RFC 8878 (section 3.1.1.1.2) has everybody support. A
/// second window of an archive's size would not fit into memory.
pub(super) const LAYER_WINDOW: u32 = 23;

/// What bytes are that begin with `first`.
pub(super) fn found(first: &[u8]) -> Found {
    match first {
        [0x1f, 0x8b, 8, ..] => Found::Packed(Packing::Gzip),
        // A frame, or one to be skipped, which may come first.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Found::Packed(Packing::Zstd)
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Found::Foreign("xz"),
        [b'B', b'Z', b'h', ..] => Found::Foreign("bzip2"),
        [4, 0x22, 0x4d, 0x18, ..] => Found::Foreign("lz4"),
        [b'P', b'K', 3, 4, ..] => Found::Foreign("zip"),
        _ => match first.first_chunk::<BLOCK>() {
            Some(block) if has_sum(block) || block.iter().all(|byte| *byte == 0) => Found::Tar,
            _ => Found::Other,
        },
    }
}

/// Packed bytes as they were before. Its errors are made of [`ArchiveError`]s, and so are those of `of`'s own reader.
pub(super) struct Unpacked {
    reader: Box<dyn Read + Send>,
    of: Part,
    window: u32,
    taken: Arc<AtomicU64>,
    given: u64,
}

impl Unpacked {
    /// `packed` are the bytes of `of`; zstd's window is `window` at most.
    pub(super) fn new(
        packing: Packing,
        packed: impl Read + Send + 'static,
        of: Part,
        window: u32,
    ) -> Result<Self, ArchiveError> {
        let taken = Arc::default();
        let packed = Counted { reader: packed, taken: Arc::clone(&taken) };
        let reader: Box<dyn Read + Send> = match packing {
            Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Packing::Zstd => {
                let limited = zstd::stream::read::Decoder::new(packed).and_then(|mut decoder| {
                    decoder.window_log_max(window)?;
                    Ok(decoder)
                });
                Box::new(limited.map_err(|error| told(&of, window, error))?)
            }
        };
        Ok(Self { reader, of, window, taken, given: 0 })
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer);
        let read = read.map_err(|error| io::Error::from(told(&self.of, self.window, error)))?;
        self.given += read as u64;
        let taken = self.taken.load(Ordering::Relaxed);
        if self.given > taken.saturating_mul(EXPANSION).saturating_add(SLACK) {
            let (of, limit) = (self.of.clone(), EXPANSION);
            return Err(ArchiveError::Expansion { of, limit }.into());
        }
        Ok(read)
    }
}

/// An error of unpacking, or one of reading what is unpacked.
fn told(of: &Part, window: u32, error: io::Error) -> ArchiveError {
    let of = of.clone();
    match error.downcast::<ArchiveError>() {
        Ok(error) => error,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            ArchiveError::Truncated { of }
        }
        // zstd's words for a window that is too large; it has no other sign.
        Err(error) if error.to_string().contains("too much memory") => {
            ArchiveError::Window { of, mib: 1 << (window - 20), log: window }
        }
        Err(error) => ArchiveError::Damaged { of, source: Arc::new(error) },
    }
}

/// Counts what is taken of it.
pub(super) struct Counted<R> {
    pub(super) reader: R,
    pub(super) taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

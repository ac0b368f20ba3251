//! Archives of images.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use rustix::fs::{MemfdFlags, memfd_create};

use super::is_shown;
use crate::{
    archive::{Archive, ArchiveError, Image, Kind},
    oci::{Digest, ImageManifest, Manifest},
};

/// A name of 200 characters, each of which may be escaped, two digests, and a sentence.
const MESSAGE: usize = 3072;

/// A byte, and a tar archive. The byte says how that is packed (0 not at all, 1 by gzip, 2 by zstd), and whether the sums of its headers
/// are mended before (4), without which next to nothing is read.
pub(super) fn archive(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else { return };
    let mut tar = rest.to_vec();
    if mode & 4 != 0 {
        tar.chunks_exact_mut(512).for_each(mend);
    }
    let packed = match mode & 3 {
        1 => gzip(&tar),
        2 => zstd::encode_all(&tar[..], 1).expect("memory is written to"),
        _ => tar.clone(),
    };
    let Ok(archive) = open(&packed) else { return };
    for image in archive.images() {
        look(&archive, image);
    }
    // It is the same archive, packed or not.
    let plain = open(&tar).expect("what is read packed is read plain");
    assert_eq!(plain.images(), archive.images());
    for image in plain.images() {
        let (plain, packed) = (plain.manifest_of(image), archive.manifest_of(image));
        assert!(plain.is_ok() || packed.is_err());
        if let (Ok(plain), Ok(packed)) = (plain, packed) {
            assert_eq!(plain, packed);
        }
    }
}

fn open(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let file = memfd_create("archive", MemfdFlags::CLOEXEC);
    let mut file = File::from(file.expect("memory for a file"));
    file.write_all(bytes).expect("memory is written to");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Archive::open(Path::new(&path)).inspect_err(shown)
}

fn shown(error: &ArchiveError) {
    is_shown(&error.to_string(), MESSAGE);
}

fn look(archive: &Archive, image: &Image) {
    assert!(image.names.iter().all(|name| name.tag().is_some() && name.digest().is_none()));
    assert!(image.names.iter().all(|name| archive.named(name).is_some()));
    assert!(image.absent.is_empty() || image.kind != Kind::Saved);
    let raw = match archive.manifest_of(image) {
        Ok(raw) => raw,
        Err(error) => return shown(&error),
    };
    assert_eq!(archive.manifest(raw.digest()).ok().flatten().as_ref(), Some(&raw));
    match raw.parse().expect("what was read parses") {
        Manifest::Image(manifest) if image.kind == Kind::Saved => {
            assert_eq!(manifest.config.digest, image.digest);
            for blob in manifest.blobs() {
                let size = read(archive, &blob.digest).expect("it was read before");
                assert_eq!(size, blob.size);
            }
        }
        Manifest::Image(manifest) => of_layout(archive, image, &manifest),
        Manifest::Index(_) => assert!(image.digest.matches(raw.bytes())),
    }
}

fn of_layout(archive: &Archive, image: &Image, manifest: &ImageManifest) {
    let raw = archive.manifest_of(image).expect("it was read before");
    assert!(image.digest.matches(raw.bytes()));
    for blob in manifest.blobs() {
        read(archive, &blob.digest);
    }
}

/// The size of a blob that is what its digest says.
fn read(archive: &Archive, digest: &Digest) -> Option<u64> {
    let mut reader = archive.open_blob(digest).inspect_err(shown).ok()??;
    assert!(archive.position(digest).is_some());
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => {
            assert!(digest.matches(&bytes));
            assert_eq!(archive.blob(digest), Some(bytes.len() as u64));
            Some(bytes.len() as u64)
        }
        Err(error) => {
            is_shown(&error.to_string(), MESSAGE);
            None
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory is written to")
}

/// Gives a block that has the mark of a header the sum of one.
fn mend(block: &mut [u8]) {
    if &block[257..262] != b"ustar" {
        return;
    }
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

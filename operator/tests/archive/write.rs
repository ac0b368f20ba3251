//! Writes archives, also such as no program should write.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use multiarch_operator::{
    archive::{Archive, ArchiveError},
    oci::Digest,
};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// A tar archive in the making.
pub(crate) struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An archive of `files`.
    pub(crate) fn of(files: &[(String, Vec<u8>)]) -> Self {
        files.iter().fold(Self::new(), |tar, (name, bytes)| tar.file(name, bytes))
    }

    pub(crate) fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        let mut header = header(EntryType::Regular, bytes.len());
        self.0.append_data(&mut header, name, bytes).unwrap();
        self
    }

    pub(crate) fn link(mut self, name: &str, to: &str) -> Self {
        self.0.append_link(&mut header(EntryType::Symlink, 0), name, to).unwrap();
        self
    }

    pub(crate) fn hard_link(mut self, name: &str, to: &str) -> Self {
        self.0.append_link(&mut header(EntryType::Link, 0), name, to).unwrap();
        self
    }

    /// An entry of another kind, whose name is not checked.
    pub(crate) fn raw(self, kind: u8, name: &str, bytes: &[u8]) -> Self {
        self.odd(kind, name, "", bytes.len() as u64, bytes)
    }

    /// An entry whose size may be another one than that of its bytes, and whose link is not checked.
    pub(crate) fn odd(mut self, kind: u8, name: &str, link: &str, size: u64, bytes: &[u8]) -> Self {
        let mut header = header(EntryType::new(kind), 0);
        header.set_size(size);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    /// Records of pax about the next entry.
    pub(crate) fn pax(mut self, records: &[(&str, &str)]) -> Self {
        let records = records.iter().map(|(key, value)| (*key, value.as_bytes()));
        self.0.append_pax_extensions(records).unwrap();
        self
    }

    /// Its bytes, with an end.
    pub(crate) fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_size(size as u64);
    header
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// As `zstd --long=WINDOW` packs what it reads from a pipe.
pub(crate) fn zstd(bytes: &[u8], window: u32) -> Vec<u8> {
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.window_log(window).unwrap();
    zstd.write_all(bytes).unwrap();
    zstd.finish().unwrap()
}

/// `bytes` in parts, each packed by itself.
pub(crate) fn parts(bytes: &[u8], pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    bytes.chunks(bytes.len() / 3 + 1).flat_map(pack).collect()
}

/// A file with `bytes`, in a folder of its own.
pub(crate) struct OnDisk {
    folder: TempDir,
}

impl OnDisk {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("images.tar"), bytes).unwrap();
        Self { folder }
    }

    /// A folder of `files`.
    pub(crate) fn folder(files: &[(String, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join("images.tar").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("images.tar")
    }

    pub(crate) fn open(&self) -> Result<Archive, ArchiveError> {
        Archive::open(&self.path())
    }
}

/// Opens an archive that has `bytes`.
pub(crate) fn open(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    OnDisk::new(bytes).open()
}

/// What is wrong with an archive, without the path of the file.
pub(crate) fn refused(bytes: &[u8]) -> String {
    let file = OnDisk::new(bytes);
    match file.open() {
        Ok(_) => panic!("it is read"),
        Err(error) => told(&error, &file.path()),
    }
}

/// An error and its causes, with `images.tar` for the path of the file.
pub(crate) fn told(error: &(dyn std::error::Error + 'static), file: &Path) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    assert!(!told.chars().any(char::is_control), "{told:?}");
    told.replace(file.to_str().unwrap(), "images.tar")
}

/// A blob's bytes, which are those of its digest.
pub(crate) fn blob(archive: &Archive, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive.open_blob(digest).unwrap().expect("it is there").read_to_end(&mut bytes).unwrap();
    assert!(digest.matches(&bytes));
    assert_eq!(archive.blob(digest), Some(bytes.len() as u64));
    bytes
}

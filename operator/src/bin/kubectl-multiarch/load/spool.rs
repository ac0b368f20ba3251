//! What comes by standard input, in a file: an archive is read twice. The file has no name, so that it goes with the process, however that ends.

use std::{
    env::temp_dir,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use multiarch_operator::archive::Archive;
use tempfile::tempfile_in;

/// Where such files are made.
#[derive(Clone, Debug)]
pub(super) struct Spool(PathBuf);

impl Spool {
    /// In `folder`, or in the system's for such files.
    pub(super) fn new(folder: Option<&str>) -> Self {
        let folder = folder.filter(|folder| !folder.is_empty());
        Self(folder.map_or_else(temp_dir, PathBuf::from))
    }

    /// The archive that `input` gives.
    pub(super) fn read(&self, mut input: impl Read) -> Result<Archive> {
        let failed = || format!("failed to write standard input to a file in {}", self.0.display());
        let mut file = tempfile_in(&self.0).with_context(failed)?;
        std::io::copy(&mut input, &mut file).with_context(failed)?;
        Archive::of(Path::new("standard input"), file).context("the archive cannot be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has, and sees that the folder is empty meanwhile: who is killed then leaves nothing.
    struct Seen<'a>(&'a [u8], &'a Path);

    impl Read for Seen<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            assert_eq!(std::fs::read_dir(self.1)?.count(), 0);
            self.0.read(buffer)
        }
    }

    #[test]
    fn nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_str());
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        let manifest = b"[]";
        header.set_size(manifest.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "manifest.json", &manifest[..]).unwrap();
        let archive = spool.read(Seen(&tar.into_inner().unwrap(), folder.path())).unwrap();
        assert!(archive.images().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = spool.read(&b"no archive"[..]).err().unwrap();
        assert!(format!("{error:#}").contains("\"standard input\" is no tar archive"), "{error:#}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Spool::new(Some("/nonexistent/x")).read(&b""[..]).err().unwrap();
        assert!(format!("{error:#}").contains("in /nonexistent/x"), "{error:#}");
    }
}

//! The files of a registry: the uploads that it holds open, and backups that are put back.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use super::{Registry, serve};
use crate::await_condition::SOON;

/// A copy of a registry's files.
#[derive(Debug)]
pub struct Backup(PathBuf);

impl Registry {
    /// How many uploads it holds open: the folders below each `_uploads` that have a start. Distribution 3.1 writes a state of the
    /// digest anew after a DELETE (blobWriter.Close after Cancel), which is no upload any more.
    pub fn uploads(&self) -> Result<usize> {
        self.uploads_in("")
    }

    /// The same for one repository.
    pub fn uploads_in(&self, repository: &str) -> Result<usize> {
        let mut count = 0;
        let root = self.storage().join("docker/registry/v2/repositories");
        let mut folders = vec![root.join(repository)];
        while let Some(folder) = folders.pop() {
            let is_uploads = folder.ends_with("_uploads");
            // What is gone by now is not open.
            let Ok(found) = fs::read_dir(&folder) else { continue };
            for found in found {
                let path = found.context("failed to list the registry's files")?.path();
                if is_uploads {
                    count += usize::from(path.join("startedat").is_file());
                } else if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        Ok(count)
    }

    /// Copies its files aside, as the backup called `name`. Nobody may write meanwhile.
    pub fn back_up(&self, name: &str) -> Result<Backup> {
        let backup = self.folder.join("backups").join(name);
        if self.storage().exists() {
            copy(&self.storage(), &backup)?;
        } else {
            fs::create_dir_all(&backup).context("failed to make a folder")?;
        }
        Ok(Backup(backup))
    }

    /// Ends it, puts the files of `backup` in the place of its own, and starts it again.
    pub async fn restore(&mut self, backup: &Backup) -> Result<()> {
        let process = Arc::get_mut(&mut self.process).context("it has another host")?;
        process.signal("TERM").await?;
        process.ended(SOON).await?;
        let storage = self.storage();
        fs::remove_dir_all(&storage).context("failed to remove the registry's files")?;
        copy(&backup.0, &storage)?;
        self.starts += 1;
        let (process, address) = serve(&self.folder, self.starts).await?;
        self.proxy.lead_to(&address);
        (self.process, self.address) = (Arc::new(process), address);
        Ok(())
    }

    fn storage(&self) -> PathBuf {
        self.folder.join(super::STORAGE)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to make {}", to.display()))?;
    let found = fs::read_dir(from).with_context(|| format!("failed to list {}", from.display()))?;
    for found in found {
        let found = found.with_context(|| format!("failed to list {}", from.display()))?;
        let (path, copy_of) = (found.path(), to.join(found.file_name()));
        if path.is_dir() {
            copy(&path, &copy_of)?;
        } else {
            fs::copy(&path, &copy_of)
                .with_context(|| format!("failed to copy {}", path.display()))?;
        }
    }
    Ok(())
}

//! Entries as Go's archive/tar writes them: ustar, without what nobody set.

use std::io::{Cursor, Read, Write};

use anyhow::{Context, Result};
use tar::EntryType;

use super::Layer;

/// An entry of an archive.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its path; a folder's ends with `/`.
    pub(super) path: String,
    /// Its permissions, and the kind of file where the writer says it there, too.
    pub(super) mode: u32,
    /// User and group, where the writer names them.
    pub(super) owner: &'static str,
    /// What it is.
    pub(super) content: Content,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A folder.
    Folder,
    /// A file of these bytes.
    Bytes(Vec<u8>),
    /// A layer.
    Layer(Layer),
    /// A link to this.
    Link(String),
}

pub(super) fn write(entries: &[Entry], to: &mut dyn Write) -> Result<()> {
    let mut archive = tar::Builder::new(to);
    for Entry { path, mode, owner, content } in entries {
        let (kind, size) = match content {
            Content::Folder => (EntryType::Directory, 0),
            Content::Bytes(bytes) => (EntryType::Regular, bytes.len() as u64),
            Content::Layer(layer) => (EntryType::Regular, layer.size()),
            Content::Link(_) => (EntryType::Symlink, 0),
        };
        let mut header = tar::Header::new_ustar();
        header.set_path(path).with_context(|| format!("{path} is too long"))?;
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username(owner).context("failed to name a user")?;
        header.set_groupname(owner).context("failed to name a group")?;
        if let Content::Link(to) = content {
            header.set_link_name(to).with_context(|| format!("{to} is too long"))?;
        }
        header.set_cksum();
        let data: Box<dyn Read> = match content {
            Content::Folder | Content::Link(_) => Box::new(std::io::empty()),
            Content::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Content::Layer(layer) => layer.reader(),
        };
        archive.append(&header, data).with_context(|| format!("failed to write {path}"))?;
    }
    archive.finish().context("failed to end an archive")
}

/// The files of an archive by their paths.
#[cfg(test)]
pub(super) fn files(archive: &[u8]) -> Result<std::collections::BTreeMap<String, Vec<u8>>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(entry.path()?.display().to_string(), bytes);
    }
    Ok(files)
}

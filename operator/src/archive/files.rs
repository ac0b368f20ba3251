//! The files of a tar archive by name: of those that are there twice the last one, and few links.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use super::{
    ArchiveError, Part,
    entries::{Entry, What},
};

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: Arc<str>,
    pub(super) at: u64,
    pub(super) size: u64,
}

/// The files of an archive.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_name: BTreeMap<Arc<str>, Node>,
    /// How many bytes the names have.
    names: usize,
}

#[derive(Debug)]
enum Node {
    File { at: u64, size: u64 },
    Link(Arc<str>),
}

/// About how many bytes an entry takes beside its names.
const OVERHEAD: usize = 128;
/// How many bytes the names of an archive may have, all together.
pub(super) const MAX_NAMES: usize = 8 << 20;

impl Files {
    /// About how many bytes of memory they are.
    pub(super) fn keeps(&self) -> usize {
        self.names + self.by_name.len() * OVERHEAD
    }

    /// Adds an entry, in the place of one of the same name.
    pub(super) fn add(&mut self, file: &Path, entry: Entry) -> Result<(), ArchiveError> {
        let node = match entry.what {
            What::File => Node::File { at: entry.at, size: entry.size },
            What::Link(to) => {
                self.names += to.len();
                Node::Link(to.into())
            }
            What::Folder => {
                self.by_name.remove(entry.name.as_str());
                return Ok(());
            }
        };
        self.names += entry.name.len();
        if self.names > MAX_NAMES {
            let (file, what) = (file.into(), "bytes of names");
            return Err(ArchiveError::TooMany { file, what, limit: MAX_NAMES });
        }
        self.by_name.insert(entry.name.into(), node);
        Ok(())
    }

    /// The file called `name`, or to which the link of that name leads.
    pub(super) fn get(&self, name: &str) -> Option<Place> {
        match self.by_name.get(name)? {
            Node::File { .. } => self.file(name),
            Node::Link(to) => self.file(to),
        }
    }

    /// The file called `name`, which is no link.
    pub(super) fn file(&self, name: &str) -> Option<Place> {
        match self.by_name.get_key_value(name)? {
            (name, Node::File { at, size }) => {
                Some(Place { name: Arc::clone(name), at: *at, size: *size })
            }
            (_, Node::Link(_)) => None,
        }
    }

    /// Refuses all links but those from `*/layer.tar` and from the names in `named`, and those that do not
    /// lead to a file.
    pub(super) fn settle(&self, file: &Path, named: &BTreeSet<String>) -> Result<(), ArchiveError> {
        for (name, node) in &self.by_name {
            let Node::Link(to) = node else { continue };
            let why = if !name.ends_with("/layer.tar") && !named.contains(&**name) {
                "is a link"
            } else if self.file(to).is_none() {
                "is a link to what is no file of the archive"
            } else {
                continue;
            };
            let of = Part { file: file.into(), entry: Some(name.to_string()) };
            return Err(ArchiveError::Refused { of, why });
        }
        Ok(())
    }
}

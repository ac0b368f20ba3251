//! Why an archive cannot be read, or an image of it not be taken.

use std::{io, path::PathBuf, sync::Arc};

use crate::oci::{Digest, manifest::ManifestError};

/// Why an archive cannot be read, or an image of it not be taken. Names of the archive's own are shown
/// with `{:?}`, which escapes control characters; nothing else of its text is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file is not there, or not this user's to read.
    #[error("failed to open {file:?}")]
    Open {
        /// The archive.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// The system fails to read what was opened.
    #[error("failed to read {file:?}")]
    Read {
        /// The archive.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// A pipe or a device, which cannot be read twice.
    #[error(
        "{file:?} is neither a file nor a folder, so it cannot be read twice: give it by standard input with --spool"
    )]
    NotAFile {
        /// The archive.
        file: PathBuf,
    },
    /// Bytes of some other kind.
    #[error(
        "{file:?} is no tar archive, plain or packed by gzip or zstd: give what docker save, podman save, skopeo or crane has written"
    )]
    NotAnArchive {
        /// The archive.
        file: PathBuf,
    },
    /// An archive, or a layer in one, that is packed by what is not unpacked here.
    #[error("{of} is packed by {by}: unpack it, or pack it by gzip or zstd")]
    Packed {
        /// The archive, or a layer in it.
        of: Part,
        /// The name of the format.
        by: &'static str,
    },
    /// A folder without an index.json.
    #[error("{file:?} is no OCI layout: it has no index.json")]
    NotALayout {
        /// The folder.
        file: PathBuf,
    },
    /// A tar archive of something else.
    #[error("{file:?} has no images: it has neither an index.json nor a manifest.json{hint}")]
    NoImages {
        /// The archive.
        file: PathBuf,
        /// What may have gone wrong.
        hint: &'static str,
    },
    /// The archive ends too soon.
    #[error("{of} is cut off: it ends before its end was written; copy it again")]
    Truncated {
        /// The archive, or what in it.
        of: Part,
    },
    /// What gzip or zstd do not unpack.
    #[error("{of} is damaged: failed to unpack it; copy it again")]
    Damaged {
        /// The archive, or a layer in it.
        of: Part,
        /// What is wrong.
        #[source]
        source: Arc<io::Error>,
    },
    /// What is no tar archive from here on.
    #[error("{file:?} is damaged at byte {at}: {why}")]
    Malformed {
        /// The archive.
        file: PathBuf,
        /// Where, in the unpacked archive.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// zstd with a window past what is given to it.
    #[error(
        "{of} needs more than {mib} MiB of memory to be unpacked: pack it with zstd --long={log} or less"
    )]
    Window {
        /// The archive, or a layer in it.
        of: Part,
        /// How large a window may be.
        mib: u64,
        /// Its logarithm.
        log: u32,
    },
    /// More than 200 bytes of each one.
    #[error("{of} unpacks to more than {limit} times its size, which no image does")]
    Expansion {
        /// The archive, or a layer in it.
        of: Part,
        /// How many times it may.
        limit: u64,
    },
    /// An entry that is not followed or unpacked.
    #[error(
        "{of} {why}: it is not read, because it could lead to another file than the archive's own"
    )]
    Refused {
        /// The entry.
        of: Part,
        /// What it is.
        why: &'static str,
    },
    /// A path of manifest.json that leads out of the archive.
    #[error("the manifest.json of {file:?} names {path:?}, which {why}")]
    Path {
        /// The archive.
        file: PathBuf,
        /// What it names.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More of something than is kept.
    #[error("{file:?} has more than {limit} {what}")]
    TooMany {
        /// The archive.
        file: PathBuf,
        /// Of what.
        what: &'static str,
        /// How many it may have.
        limit: usize,
    },
    /// More bytes than are taken.
    #[error("{of} has more than the {limit} bytes that it may have")]
    TooLarge {
        /// The entry.
        of: Part,
        /// How many it may have.
        limit: u64,
    },
    /// A document of the archive is not what it should be.
    #[error("failed to read {of}")]
    Document {
        /// The document.
        of: Part,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
    /// manifest.json names what is not there.
    #[error(
        "{of} is not in the archive, although its manifest.json names it as {what}: save the image again"
    )]
    Missing {
        /// The entry.
        of: Part,
        /// What it would be: `the config`, `a layer`.
        what: &'static str,
    },
    /// A manifest or blob that the archive was written without.
    #[error("{file:?} does not have {digest}: save the image with the platform that it is for")]
    Absent {
        /// The archive.
        file: PathBuf,
        /// What is not there.
        digest: Digest,
    },
    /// A blob whose bytes are others.
    #[error("{of} is damaged: its bytes are {computed} and not {expected}; copy the archive again")]
    Digest {
        /// The blob.
        of: Part,
        /// Its name.
        expected: Digest,
        /// What its bytes come to.
        computed: Digest,
    },
    /// A config and manifest.json that speak of different images.
    #[error(
        "the image {config} in {file:?} has {layers} layers in manifest.json and {diff_ids} in its config: save it again"
    )]
    Layers {
        /// The archive.
        file: PathBuf,
        /// The image.
        config: Digest,
        /// In manifest.json.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// A layer that is not the image's.
    #[error(
        "{of} is not the layer that the image {config} is made of: it is {computed} and not {expected}; save the image again"
    )]
    DiffId {
        /// The layer.
        of: Part,
        /// The image.
        config: Digest,
        /// What the config says.
        expected: Digest,
        /// What the layer is, unpacked.
        computed: Digest,
    },
}

/// An archive, or an entry of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The archive.
    pub file: PathBuf,
    /// The entry's name, where it is not the archive as a whole.
    pub entry: Option<String>,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.file.to_string_lossy();
        match &self.entry {
            Some(entry) => write!(f, "{:?} in {file:?}", shown(entry)),
            None => write!(f, "{file:?}"),
        }
    }
}

/// How much of a name is shown, in characters.
const SHOWN: usize = 200;

/// `name`, cut to a length that is safe to show.
fn shown(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into(),
    }
}

impl ArchiveError {
    /// From what a reader gave: the error that it was made of, or what the system says of `file`.
    pub(crate) fn of(file: &std::path::Path, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => Self::Read { file: file.into(), source: Arc::new(error) },
        }
    }

    /// Whether the system failed, so that the same archive may be read the next time. What is cut off or damaged stays so.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Read { .. })
    }
}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        Self::other(error)
    }
}

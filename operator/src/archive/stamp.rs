//! What tells an archive from what it was: size, times, and which file it is.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use rustix::{
    fd::AsFd,
    fs::{Mode, OFlags, openat},
};

use crate::oci::Digest;

/// An archive as it is: of a folder, of its index, and of the folders that get its blobs, since not everybody writes the index last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<One>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct One {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// The same; no program can set it, so that a copy which keeps the time of its original is seen to be new.
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        let mut all = vec![One::of(&about)];
        if about.is_dir() {
            let mut add = |folder: &File, name| -> io::Result<Option<File>> {
                let Some(part) = part(folder, name) else { return Ok(None) };
                all.push(One::of(&part.metadata()?));
                Ok(Some(part))
            };
            for name in ["index.json", "oci-layout"] {
                add(file, name)?;
            }
            if let Some(blobs) = add(file, "blobs")? {
                for algorithm in Digest::ALGORITHMS {
                    add(&blobs, algorithm)?;
                }
            }
        }
        Ok(Self(all))
    }

    /// How long ago it was changed, by the clock that dates files; nothing where that is ahead.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        let ages = self.0.iter().map(|one| {
            let (seconds, nanoseconds) = one.modified.max(one.changed);
            let seconds = Duration::from_secs(seconds.try_into().unwrap_or_default());
            let at = seconds + Duration::from_nanos(nanoseconds.try_into().unwrap_or_default());
            now.duration_since(SystemTime::UNIX_EPOCH + at).unwrap_or_default()
        });
        ages.min().unwrap_or_default()
    }

    /// Whether it has the bytes that it had at `then`, though it may have another name by now, or none.
    pub(crate) fn has_the_bytes_of(&self, then: &Self) -> bool {
        let bytes = |one: &One| (one.device, one.inode, one.size, one.modified);
        self.0.iter().map(bytes).eq(then.0.iter().map(bytes))
    }
}

/// What `folder` has under this name: opened to be looked at alone, which neither waits for a pipe nor follows a link.
fn part(folder: impl AsFd, name: &str) -> Option<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(folder, name, flags, Mode::empty()).ok().map(File::from)
}

impl One {
    fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

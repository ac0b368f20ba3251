//! The archives that objects may name: each read once, by all of its namespace, and again when it was changed.

mod beneath;
mod places;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use self::places::Places;
use crate::archive::{Archive, ArchiveError, Stamp};

/// The folder that is for all namespaces; no namespace is called so.
pub const SHARED: &str = "_shared";
/// For how long an archive is to be unchanged before it is read, where nothing else is said.
pub const SETTLES: Duration = Duration::from_secs(30);

/// How long anybody waits for an archive to be opened. One that is packed may take minutes to be read first, and a volume that
/// does not answer takes for ever; whoever waits has others to look after.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many archives are looked at at once: each look has a thread, of which a process has 512 for all that blocks.
const AT_ONCE: usize = 128;
/// How long the next ones wait for one that somebody gave up; and the soonest that one which cannot be opened now is looked at again.
const SOON: Duration = Duration::from_secs(1);

/// What the operator's flags say about archives.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--archive-dir`
    pub dir: Option<PathBuf>,
    /// `--archive-dir-shared`
    pub shared: bool,
    /// `--archive-settle`
    pub settles: Duration,
}

/// The archives below one folder.
#[derive(Debug)]
pub struct Shelf {
    options: Options,
    places: Arc<Places>,
    looks: Arc<Semaphore>,
}

/// What is known of one archive.
#[derive(Debug, Default)]
struct Read {
    /// As it was seen last, and since when.
    seen: Option<(Stamp, Instant)>,
    /// What was read of it as it is.
    archive: Option<(Stamp, Result<Arc<Archive>, ShelfError>)>,
}

/// Why there is no archive.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ShelfError {
    /// There is no folder of archives.
    #[error(
        "the operator has no archives: ask its admin for --archive-dir (archives.existingClaim of the chart)"
    )]
    Off,
    /// There is none for all namespaces.
    #[error(
        "archives in {SHARED}/ are for nobody here: ask the operator's admin for --archive-dir-shared (archives.shared of the chart)"
    )]
    NotShared,
    /// It leads out of the folder.
    #[error("archive {path} is refused: {why}")]
    Outside {
        /// As the object says.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is not there.
    #[error("archive {path} is not in the operator's folder of this namespace")]
    NotThere {
        /// As the object says.
        path: String,
    },
    /// It was changed a short while ago.
    #[error("archive {path} was changed a short while ago: it is read in {} seconds, if nothing changes it until then", after.as_secs())]
    Settles {
        /// As the object says.
        path: String,
        /// From when on it may be read.
        after: Duration,
    },
    /// It was changed while it was read.
    #[error("archive {path} was changed while it was read")]
    Changed {
        /// As the object says.
        path: String,
    },
    /// It takes longer than anybody waits for.
    #[error(
        "archive {path} is still being read: a large one that is packed may take minutes, and else its volume does not answer"
    )]
    Reading {
        /// As the object says.
        path: String,
    },
    /// The operator cannot read it.
    #[error("failed to open archive {path}: {source}")]
    Open {
        /// As the object says.
        path: String,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// It is no archive of images, or a broken one.
    #[error(transparent)]
    Archive(Arc<ArchiveError>),
}

impl ShelfError {
    /// After how long the archive may be opened, where nobody has to do anything for that: `settles` is for how long one is to be
    /// unchanged.
    pub(crate) fn again(&self, settles: Duration) -> Option<Duration> {
        let soon = settles.max(SOON);
        match self {
            Self::Settles { after, .. } => Some(*after),
            Self::Changed { .. } | Self::Reading { .. } | Self::Open { .. } => Some(soon),
            Self::Archive(error) => error.may_pass().then_some(soon),
            Self::Off | Self::NotShared | Self::Outside { .. } | Self::NotThere { .. } => None,
        }
    }
}

impl Default for Shelf {
    /// Without a folder.
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Shelf {
    /// What `options` say.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let looks = Arc::new(Semaphore::new(AT_ONCE));
        Self { options, places: Arc::default(), looks }
    }

    /// For how long an archive is to be unchanged before it is read.
    #[must_use]
    pub fn settles(&self) -> Duration {
        self.options.settles
    }

    /// The archive at `path` of `namespace`, as it is now.
    pub async fn open(&self, namespace: &str, path: &str) -> Result<Arc<Archive>, ShelfError> {
        self.open_by(Archive::of, PATIENCE, namespace, path).await
    }

    /// The same, read by `reads`, and waited for as long as there is `patience`.
    async fn open_by(
        &self,
        reads: impl FnOnce(&Path, File) -> Result<Archive, ArchiveError> + Send + 'static,
        patience: Duration,
        namespace: &str,
        path: &str,
    ) -> Result<Arc<Archive>, ShelfError> {
        let dir = self.options.dir.clone().ok_or(ShelfError::Off)?;
        let is_shared = path.split('/').next() == Some(SHARED);
        if is_shared && !self.options.shared {
            return Err(ShelfError::NotShared);
        }
        let below = if is_shared { path.to_owned() } else { format!("{namespace}/{path}") };
        let (turn, is_slow) = self.places.at(dir.join(&below));
        // A thousand objects of it are not to wait one after the other.
        let patience = if is_slow.load(Ordering::Relaxed) { patience.min(SOON) } else { patience };
        let (said, settles) = (path.to_owned(), self.options.settles);
        let (looks, places) = (Arc::clone(&self.looks), Arc::clone(&self.places));
        let slow = Arc::clone(&is_slow);
        let looked = async move {
            // Whoever gives up before its turn leaves nothing behind.
            let mut read = turn.lock_owned().await;
            let permit = looks.acquire_owned().await;
            // It goes on when nobody waits any more: whoever comes next has what it found.
            let looking = spawn_blocking(move || {
                let _permit = permit;
                let before = std::mem::take(&mut *read);
                let (after, archive) = look(&dir, &below, &said, settles, before, reads);
                *read = after;
                slow.store(false, Ordering::Relaxed);
                drop(read);
                places.tidy(Instant::now(), places::MOST);
                archive
            });
            looking.await
        };
        let path = path.to_owned();
        match timeout(patience, looked).await {
            Ok(Ok(archive)) => archive,
            // A panic of the reader is this archive's, and nobody else's.
            Ok(Err(_)) => Err(ShelfError::Changed { path }),
            Err(_) => {
                is_slow.store(true, Ordering::Relaxed);
                Err(ShelfError::Reading { path })
            }
        }
    }
}

/// Looks at the archive, and reads it by `reads` where it is not known as it is and has not changed for so long.
fn look(
    dir: &Path,
    below: &str,
    said: &str,
    settles: Duration,
    before: Read,
    reads: impl FnOnce(&Path, File) -> Result<Archive, ArchiveError>,
) -> (Read, Result<Arc<Archive>, ShelfError>) {
    let path = || said.to_owned();
    let failed = |source| ShelfError::Open { path: path(), source: Arc::new(source) };
    let opened = beneath::open(dir, below, said).and_then(|file| {
        let stamp = Stamp::of(&file).map_err(failed)?;
        Ok((file, stamp))
    });
    let (file, stamp) = match opened {
        Ok(opened) => opened,
        Err(error) => return (Read::default(), Err(error)),
    };
    let since = before.seen.filter(|(then, _)| *then == stamp).map(|(_, at)| at);
    let since = since.unwrap_or_else(Instant::now);
    let seen = Some((stamp.clone(), since));
    if let Some((then, archive)) = before.archive
        && then == stamp
    {
        return (Read { seen, archive: Some((then, archive.clone())) }, archive);
    }
    let unread = Read { seen, archive: None };
    // Its own time, or for how long it was seen so: clocks differ.
    let age = stamp.age(SystemTime::now()).max(since.elapsed());
    if let Some(after) = settles.checked_sub(age).filter(|after| !after.is_zero()) {
        return (unread, Err(ShelfError::Settles { path: path(), after }));
    }
    let read = file.try_clone().map_err(failed).and_then(|copy| {
        reads(Path::new(said), copy).map_err(|error| ShelfError::Archive(Arc::new(error)))
    });
    if Stamp::of(&file).ok().as_ref() != Some(&stamp) {
        return (Read::default(), Err(ShelfError::Changed { path: path() }));
    }
    let read = read.map(Arc::new);
    // What is wrong with it stays so until it is changed.
    let known = read.as_ref().err().is_none_or(|error| error.again(settles).is_none());
    (Read { archive: known.then(|| (stamp, read.clone())), ..unread }, read)
}

#[cfg(test)]
mod tests;

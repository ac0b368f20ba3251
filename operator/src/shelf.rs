//! The archives that objects may name: each read once, by all of its namespace, and again when it was changed.

mod beneath;

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::Mutex as Turn, task::spawn_blocking};

use crate::archive::{Archive, ArchiveError, Stamp};

/// The folder that is for all namespaces; no namespace is called so.
pub const SHARED: &str = "_shared";
/// For how long an archive is to be unchanged before it is read, where nothing else is said.
pub const SETTLES: Duration = Duration::from_secs(30);

/// Archives that nobody has asked for in so long are forgotten, when there are many.
const FORGOTTEN: Duration = Duration::from_hours(1);
const MANY: usize = 64;

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
#[derive(Debug, Default)]
pub struct Shelf {
    options: Options,
    places: Mutex<HashMap<PathBuf, Arc<Place>>>,
}

/// One archive, by its path.
#[derive(Debug)]
struct Place {
    /// One looks at a time: it is read once for all who wait.
    read: Turn<Read>,
    used: Mutex<Instant>,
}

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
    /// Whether the same archive may be read the next time.
    fn may_pass(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Settles { .. } | Self::Changed { .. } => true,
            Self::Archive(error) => {
                matches!(**error, ArchiveError::Open { .. } | ArchiveError::Read { .. })
            }
            Self::Off | Self::NotShared | Self::Outside { .. } | Self::NotThere { .. } => false,
        }
    }
}

impl Shelf {
    /// What `options` say.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, places: Mutex::default() }
    }

    /// The archive at `path` of `namespace`, as it is now.
    pub async fn open(&self, namespace: &str, path: &str) -> Result<Arc<Archive>, ShelfError> {
        let dir = self.options.dir.clone().ok_or(ShelfError::Off)?;
        let is_shared = path.split('/').next() == Some(SHARED);
        if is_shared && !self.options.shared {
            return Err(ShelfError::NotShared);
        }
        let below = if is_shared { path.to_owned() } else { format!("{namespace}/{path}") };
        let place = self.place(dir.join(&below));
        let (said, settles) = (path.to_owned(), self.options.settles);
        // It goes on when nobody waits any more: whoever comes next has what it found.
        let looking = tokio::spawn(async move {
            let mut read = place.read.lock().await;
            let before = std::mem::take(&mut *read);
            let looking = move || look(&dir, &below, &said, settles, before, Archive::of);
            let looked = spawn_blocking(looking).await;
            let (after, archive) = looked.ok()?;
            *read = after;
            Some(archive)
        });
        // A panic of the reader is this archive's, and nobody else's.
        let broke_off = || ShelfError::Changed { path: path.to_owned() };
        looking.await.ok().flatten().unwrap_or_else(|| Err(broke_off()))
    }

    fn place(&self, path: PathBuf) -> Arc<Place> {
        let mut places = self.places();
        if places.len() >= MANY {
            places.retain(|_, place| lock(&place.used).elapsed() < FORGOTTEN);
        }
        let place = places.entry(path).or_insert_with(|| {
            Arc::new(Place { read: Turn::default(), used: Mutex::new(Instant::now()) })
        });
        *lock(&place.used) = Instant::now();
        Arc::clone(place)
    }

    fn places(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Place>>> {
        lock(&self.places)
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
    let known = !read.as_ref().is_err_and(ShelfError::may_pass);
    (Read { archive: known.then(|| (stamp, read.clone())), ..unread }, read)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

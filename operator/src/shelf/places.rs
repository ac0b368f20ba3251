//! What is known of archives, by their paths: as long as it is asked for, and as there is room.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::sync::Mutex as Turn;

use super::Read;
use crate::archive::Archive;

/// About how many bytes are kept of all archives together, beside those that a run uses.
pub(super) const MOST: usize = 128 << 20;
/// As how many an open archive counts at the least, since it has a descriptor, too: 512 of them are open at most.
const OPEN: usize = 256 << 10;
/// As how many a path counts of which no archive is open.
const CLOSED: usize = 1 << 10;
/// What nobody has asked for in so long is forgotten. The runs of an object are rarely further apart: no interval is too long.
const FORGOTTEN: Duration = Duration::from_hours(48);
/// Of how many it is looked at each time whether they are gone.
const LOOKS: usize = 8;

/// All archives that were asked for.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_path: BTreeMap<PathBuf, Place>,
    /// The last one of which it was looked at whether it is gone.
    last: PathBuf,
}

/// One archive.
#[derive(Debug)]
struct Place {
    /// One looks at a time: it is read once for all who wait.
    read: Arc<Turn<Read>>,
    /// Whether somebody gave up waiting for it since it was looked at.
    is_slow: Arc<AtomicBool>,
    used: Instant,
}

impl Places {
    /// The turn to look at the archive at `path`, and whether somebody gave up waiting for it.
    pub(super) fn at(&self, path: PathBuf) -> (Arc<Turn<Read>>, Arc<AtomicBool>) {
        let mut inner = self.inner();
        let now = Instant::now();
        let place = inner.by_path.entry(path).or_insert_with(|| Place::new(now));
        place.used = now;
        (Arc::clone(&place.read), Arc::clone(&place.is_slow))
    }

    /// Lets go of what is gone, of what nobody has asked for in a long time, and, where all together keep more than `most` bytes, of
    /// what was not asked for in the longest time. A run that has an archive keeps it until it ends. This blocks.
    pub(super) fn tidy(&self, now: Instant, most: usize) {
        let gone = self.inner().some();
        let gone = gone.into_iter().filter(|(_, archive)| archive.is_gone());
        let gone: Vec<_> = gone.collect();
        let let_go = self.inner().tidy(&gone, now, most);
        // Files are closed when nobody waits for it.
        drop(let_go);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The next open archives, in turn.
    fn some(&mut self) -> Vec<(PathBuf, Arc<Archive>)> {
        let behind = (Bound::Excluded(&self.last), Bound::Unbounded);
        let all = self.by_path.range::<PathBuf, _>(behind).chain(&self.by_path);
        let some = all.take(self.by_path.len().min(LOOKS));
        let some: Vec<_> = some.map(|(path, place)| (path.clone(), place.open())).collect();
        if let Some((path, _)) = some.last() {
            self.last.clone_from(path);
        }
        some.into_iter().filter_map(|(path, archive)| Some((path, archive?))).collect()
    }

    /// Takes out what is let go of.
    fn tidy(
        &mut self,
        gone: &[(PathBuf, Arc<Archive>)],
        now: Instant,
        most: usize,
    ) -> Vec<(PathBuf, Place)> {
        let is_gone = |path: &PathBuf, place: &Place| {
            gone.iter().any(|(of, archive)| {
                of == path && place.open().is_some_and(|open| Arc::ptr_eq(&open, archive))
            })
        };
        let is_old = |place: &Place| now.duration_since(place.used) >= FORGOTTEN;
        let goes = |path: &PathBuf, place: &mut Place| {
            place.is_free() && (place.is_empty() || is_old(place) || is_gone(path, place))
        };
        let mut let_go: Vec<_> = self.by_path.extract_if(.., goes).collect();
        let mut all: usize = self.by_path.iter().map(|(path, place)| place.keeps(path)).sum();
        if all <= most {
            return let_go;
        }
        // What a run uses stays in memory until the run ends: to forget it here would have it read twice.
        let unused = self.by_path.iter().filter(|(_, place)| place.is_free() && !place.is_used());
        let mut unused: Vec<_> =
            unused.map(|(path, place)| (place.used, path.clone(), place.keeps(path))).collect();
        unused.sort();
        for (_, path, keeps) in unused {
            if all <= most {
                break;
            }
            all -= keeps;
            let_go.extend(self.by_path.remove_entry(&path));
        }
        let_go
    }
}

impl Place {
    fn new(now: Instant) -> Self {
        Self { read: Arc::default(), is_slow: Arc::default(), used: now }
    }

    /// Whether nobody looks at it, or waits for that. Only who asks for it here can.
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.read) == 1
    }

    /// Whether nothing is known of it.
    fn is_empty(&self) -> bool {
        self.read.try_lock().is_ok_and(|read| read.seen.is_none() && read.archive.is_none())
    }

    /// The archive, where it is open, and nobody looks at it.
    fn open(&self) -> Option<Arc<Archive>> {
        let read = self.read.try_lock().ok()?;
        read.archive.as_ref()?.1.as_ref().ok().cloned()
    }

    /// Whether somebody has the archive.
    fn is_used(&self) -> bool {
        // The one beside is of this look.
        self.open().is_some_and(|archive| Arc::strong_count(&archive) > 2)
    }

    /// About how many bytes it takes, at `path`.
    fn keeps(&self, path: &Path) -> usize {
        let archive = self.open().map_or(CLOSED, |archive| archive.keeps() + OPEN);
        archive + path.as_os_str().len()
    }
}

#[cfg(test)]
mod tests;

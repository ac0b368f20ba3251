//! What was refused within the last hour, so that it is not asked for again.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Rights change: after this long it is tried again.
const KEPT: Duration = Duration::from_hours(1);
/// Repositories and identities come from users, so there is a bound.
const MOST: usize = 4096;

pub(super) struct Lately<K>(Mutex<HashMap<K, Instant>>);

impl<K: Eq + Hash> Lately<K> {
    pub(super) fn has(&self, key: &K, now: Instant) -> bool {
        self.kept().get(key).is_some_and(|at| now.duration_since(*at) < KEPT)
    }

    pub(super) fn add(&self, key: K, now: Instant) {
        let mut kept = self.kept();
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key, now);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Lately<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K> fmt::Debug for Lately<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lately(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_and_is_bounded() {
        let (lately, now) = (Lately::default(), Instant::now());
        lately.add(0, now);
        assert!(lately.has(&0, now) && !lately.has(&1, now));
        assert!(!lately.has(&0, now + KEPT));
        for key in 0..MOST {
            lately.add(key, now);
        }
        assert!(lately.kept().len() <= MOST);
        assert!(lately.has(&(MOST - 1), now));
    }
}

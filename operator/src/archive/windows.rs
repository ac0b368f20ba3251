//! How many windows zstd has in memory at once, of all archives of the process: each may have 64 MiB.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// As many as Kubernetes has platforms that people mirror for. Whoever needs one more waits.
const MOST: usize = 4;

/// Those of the process.
pub(super) static WINDOWS: Windows = Windows::new(MOST);

/// So many windows.
pub(super) struct Windows {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    taken: usize,
    /// Who keeps a window that nobody reads with, the one first that was left first.
    idle: Vec<Weak<dyn Keeper>>,
}

/// Who may keep a window between readings.
pub(super) trait Keeper: Send + Sync {
    /// Lets go of it, unless somebody reads with it.
    fn rest(&self);
}

/// The right to have a window, until this is dropped.
pub(super) struct Window(&'static Windows);

impl Windows {
    const fn new(most: usize) -> Self {
        let state = Mutex::new(State { taken: 0, idle: Vec::new() });
        Self { most, state, changed: Condvar::new() }
    }

    /// Waits until there is one; what is idle is let go of for it. Whoever reads with one must not wait for a second one.
    pub(super) fn take(&'static self) -> Window {
        let mut state = self.state();
        while state.taken == self.most {
            if state.idle.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let idle = state.idle.remove(0);
            // It gives its window back by that.
            drop(state);
            if let Some(keeper) = idle.upgrade() {
                keeper.rest();
            }
            state = self.state();
        }
        state.taken += 1;
        Window(self)
    }

    /// `keeper` keeps one, and nobody reads with it.
    pub(super) fn idle<K: Keeper + 'static>(&self, keeper: &Arc<K>) {
        let this: Weak<K> = Arc::downgrade(keeper);
        let this: Weak<dyn Keeper> = this;
        let mut state = self.state();
        let same = |other: &Weak<dyn Keeper>| std::ptr::addr_eq(other.as_ptr(), this.as_ptr());
        state.idle.retain(|other| other.strong_count() > 0 && !same(other));
        state.idle.push(this);
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.0.state().taken -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Keeps what it was lent.
    #[derive(Default)]
    struct Kept(Mutex<Option<Window>>);

    impl Kept {
        fn of(windows: &'static Windows) -> Arc<Self> {
            let kept = Arc::new(Self(Mutex::new(Some(windows.take()))));
            windows.idle(&kept);
            kept
        }

        fn has_one(&self) -> bool {
            self.0.lock().unwrap().is_some()
        }
    }

    impl Keeper for Kept {
        fn rest(&self) {
            drop(self.0.lock().unwrap().take());
        }
    }

    #[test]
    fn what_is_idle_goes_for_what_is_read_the_oldest_first() {
        static WINDOWS: Windows = Windows::new(2);
        let (first, second) = (Kept::of(&WINDOWS), Kept::of(&WINDOWS));
        let _read = WINDOWS.take();
        assert!(!first.has_one() && second.has_one());
        let _too = WINDOWS.take();
        assert!(!second.has_one());
        assert_eq!(WINDOWS.state().taken, 2);
    }

    #[test]
    fn whoever_needs_one_more_waits_until_one_is_left() {
        static WINDOWS: Windows = Windows::new(1);
        let read = WINDOWS.take();
        let waits = thread::spawn(|| drop(WINDOWS.take()));
        let kept = Arc::new(Kept(Mutex::new(Some(read))));
        WINDOWS.idle(&kept);
        waits.join().unwrap();
        assert!(!kept.has_one());
        assert_eq!(WINDOWS.state().taken, 0);
    }
}

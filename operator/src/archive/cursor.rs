//! One reader of a packed archive, which many take in turn: who asks in the order of the archive reads it once.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    ArchiveError, Part,
    files::Place,
    packing::Packing,
    tape::{Shared, Tape},
    windows::{Keeper, WINDOWS},
};

/// One at a time: each reader of zstd has a window in memory.
pub(super) struct Cursor {
    shared: Shared,
    packing: Packing,
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Default)]
struct State {
    /// Where the last one stopped; `None` while it is lent, and after a failure.
    tape: Option<Tape>,
    lent: bool,
    /// Where those who wait want to begin, each with a number of its own.
    waiting: BTreeSet<(u64, u64)>,
    next: u64,
}

impl Cursor {
    pub(super) fn new(shared: Shared, packing: Packing) -> Self {
        Self { shared, packing, state: Mutex::default(), turn: Condvar::new() }
    }

    /// The bytes at `place`, once nobody else reads. Of those who wait that one is next whose place is
    /// the next in the archive.
    pub(super) fn open(self: &Arc<Self>, place: &Place) -> Result<Lent, ArchiveError> {
        let tape = self.take_turn(place.at);
        let mut lent = Lent { cursor: Arc::clone(self), tape: None };
        // One that is behind goes before there is another.
        let mut tape = match tape.filter(|tape| tape.at() <= place.at) {
            Some(tape) => tape,
            None => Tape::new(&self.shared, Some(self.packing))?,
        };
        let file = &self.shared.path;
        let is_there = tape.skip_to(place.at).map_err(|error| ArchiveError::of(file, error))?;
        if !is_there {
            let entry = Some(place.name.to_string());
            return Err(ArchiveError::Truncated { of: Part { file: file.to_path_buf(), entry } });
        }
        lent.tape = Some(tape);
        Ok(lent)
    }

    /// Waits for the turn of who wants to begin at `at`. Whoever has it gives it back.
    fn take_turn(&self, at: u64) -> Option<Tape> {
        let mut state = self.state();
        let mine = (at, state.next);
        state.next += 1;
        state.waiting.insert(mine);
        while state.lent || nearest(&state.waiting, state.at()) != Some(mine) {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&mine);
        state.lent = true;
        state.tape.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for Cursor {
    /// The next one begins anew.
    fn rest(&self) {
        let tape = self.state().tape.take();
        drop(tape);
    }
}

impl State {
    /// Where the last one stopped.
    fn at(&self) -> u64 {
        self.tape.as_ref().map_or(0, Tape::at)
    }
}

/// Who is next of those who wait, where the last one stopped at `at`: the first one that is not behind, or the first one.
fn nearest(waiting: &BTreeSet<(u64, u64)>, at: u64) -> Option<(u64, u64)> {
    waiting.range((at, 0)..).next().or_else(|| waiting.first()).copied()
}

/// The archive's reader, until this is dropped.
pub(super) struct Lent {
    cursor: Arc<Cursor>,
    tape: Option<Tape>,
}

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tape) = &mut self.tape else { return Ok(0) };
        let read = tape.read(buffer);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.tape = None;
        }
        read
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut state = self.cursor.state();
        state.tape = self.tape.take();
        state.lent = false;
        let is_kept = state.tape.is_some();
        drop(state);
        if is_kept {
            WINDOWS.idle(&self.cursor);
        }
        self.cursor.turn.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::from_the_start(0, Some((10, 3)))]
    #[case::just_there(10, Some((10, 3)))]
    #[case::the_next(11, Some((20, 1)))]
    #[case::of_the_same_place_who_came_first(15, Some((20, 1)))]
    #[case::all_are_behind(31, Some((10, 3)))]
    fn whose_turn_it_is(#[case] at: u64, #[case] expected: Option<(u64, u64)>) {
        let waiting = [(30, 0), (20, 1), (20, 2), (10, 3)].into();
        assert_eq!(nearest(&waiting, at), expected);
        assert_eq!(nearest(&BTreeSet::new(), at), None);
    }
}

//! One at a time for each question, so that whoever waits may take the answer that came meanwhile.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The slots of all questions, of which the least used go when there are too many.
pub(super) struct Slots<K, T> {
    of: Mutex<HashMap<K, Arc<Slot<T>>>>,
    most: usize,
    uses: AtomicU64,
}

/// The last answer to one question, and the turn of whoever asks it.
pub(super) struct Slot<T> {
    used: AtomicU64,
    flights: AtomicU64,
    landed: tokio::sync::Mutex<Option<T>>,
}

/// The right to ask. Dropped before an answer has come, it leaves things as they were, and the next
/// one asks.
pub(super) struct Turn<'a, T> {
    slot: &'a Slot<T>,
    landed: tokio::sync::MutexGuard<'a, Option<T>>,
    waited: bool,
}

impl<K: Eq + Hash, T> Slots<K, T> {
    pub(super) fn new(most: usize) -> Self {
        Self { of: Mutex::default(), most, uses: AtomicU64::new(0) }
    }

    /// The slot of `key`.
    pub(super) fn get(&self, key: K) -> Arc<Slot<T>> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut slots = self.slots();
        if slots.len() >= self.most && !slots.contains_key(&key) {
            shed(&mut slots);
        }
        let slot = slots.entry(key).or_insert_with(|| Arc::new(Slot::new()));
        slot.used.store(now, Ordering::Relaxed);
        Arc::clone(slot)
    }

    /// Forgets the answers to those questions that `is` picks. Who has asked already is answered,
    /// and nobody who asks from now on hears of it.
    pub(super) fn forget(&self, is: impl Fn(&K) -> bool) {
        self.slots().retain(|key, _| !is(key));
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<K, Arc<Slot<T>>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the half that was not used for the longest time.
fn shed<K: Eq + Hash, T>(slots: &mut HashMap<K, Arc<Slot<T>>>) {
    let used = |slot: &Slot<T>| slot.used.load(Ordering::Relaxed);
    let mut all: Vec<_> = slots.values().map(|slot| used(slot)).collect();
    let middle = all.len() / 2;
    let (_, &mut middle, _) = all.select_nth_unstable(middle);
    slots.retain(|_, slot| used(slot) > middle);
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self {
            used: AtomicU64::new(0),
            flights: AtomicU64::new(0),
            landed: tokio::sync::Mutex::new(None),
        }
    }

    /// Waits until nobody else asks.
    pub(super) async fn turn(&self) -> Turn<'_, T> {
        let flights = self.flights.load(Ordering::Acquire);
        let landed = self.landed.lock().await;
        let waited = self.flights.load(Ordering::Acquire) != flights;
        Turn { slot: self, landed, waited }
    }
}

impl<T> Turn<'_, T> {
    /// The last answer, and whether it came while this turn was waited for.
    pub(super) fn landed(&self) -> Option<(&T, bool)> {
        self.landed.as_ref().map(|landed| (landed, self.waited))
    }

    /// Leaves an answer for the others, made of the last one.
    pub(super) fn land(&mut self, answer: impl FnOnce(Option<T>) -> T) {
        let last = self.landed.take();
        *self.landed = Some(answer(last));
        self.slot.flights.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    async fn ask(slot: &Slot<u8>, answer: u8) -> (u8, bool) {
        let mut turn = slot.turn().await;
        if let Some((landed, true)) = turn.landed() {
            return (*landed, true);
        }
        tokio::task::yield_now().await;
        turn.land(|_| answer);
        (answer, false)
    }

    #[tokio::test]
    async fn whoever_waits_has_the_answer_that_came_meanwhile() {
        let slots = Slots::new(8);
        let slot = slots.get("a");
        let answers = join_all((1..=4).map(|n| ask(&slot, n))).await;
        assert_eq!(answers, [(1, false), (1, true), (1, true), (1, true)]);
        assert_eq!(ask(&slots.get("a"), 5).await, (5, false), "who comes later asks");
    }

    #[tokio::test]
    async fn one_that_gives_up_leaves_its_turn_to_the_next() {
        let slots = Slots::new(8);
        let slot = slots.get("a");
        let first = slot.turn().await;
        let mut second = Box::pin(ask(&slot, 2));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await, (2, false));
    }

    #[tokio::test]
    async fn what_is_forgotten_reaches_nobody_who_comes_after() {
        let slots = Slots::new(8);
        let (slot, other) = (slots.get("a"), slots.get("b"));
        other.turn().await.land(|_| 7);
        let mut flight = slot.turn().await;
        slots.forget(|key| *key == "a");
        flight.land(|_| 1);
        assert!(slots.get("a").turn().await.landed().is_none());
        assert_eq!(slots.get("b").turn().await.landed(), Some((&7, false)));
    }

    #[tokio::test]
    async fn the_least_used_go_first() {
        let slots = Slots::new(4);
        for key in 0..4 {
            slots.get(key).turn().await.land(|_| key);
        }
        slots.get(0);
        slots.get(4);
        assert!(slots.slots().len() <= 4);
        assert!(slots.get(0).turn().await.landed().is_some());
        assert!(slots.get(1).turn().await.landed().is_none());
    }
}

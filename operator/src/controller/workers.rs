//! Which objects are worked on: so many at once, and of those that name the same registries never so many that others have to wait for
//! them; nor do they wait for copies that take long, or deletions for anybody.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::Hash,
    num::NonZeroU16,
    sync::{Arc, Mutex},
};

use futures::{Stream, channel::mpsc};
use multiarch_crds::v1alpha1::MultiArchImage;

use super::lock;
use crate::oci::Reference;

/// The registries that an object names. Those that name the same are one group: what one is stuck at, they all are.
pub(super) type Hosts = Arc<BTreeSet<String>>;

/// The workers of the process. An object that has to wait for one leaves, and is called when it is its turn.
pub(super) struct Workers<K: Clone + Eq + Hash> {
    shifts: Arc<Mutex<Shifts<K>>>,
    calls: mpsc::UnboundedSender<K>,
}

/// One at work, until this is dropped.
pub(super) struct Worker<K: Clone + Eq + Hash> {
    workers: Workers<K>,
    work: Work,
    hosts: Hosts,
}

/// What a worker is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Run,
    /// A run whose copies take long.
    Copy,
    Deletion,
}

/// The workers for each: none of these waits for another's.
struct Shifts<K> {
    runs: Shift<K>,
    copies: Shift<K>,
    deletions: Shift<K>,
}

/// Who is at work, and who waits.
struct Shift<K> {
    all: usize,
    free: usize,
    /// At work or called, by what they name.
    groups: HashMap<Hosts, usize>,
    /// The same, by each of those.
    hosts: HashMap<String, usize>,
    /// Called, and not come yet.
    called: HashMap<K, Hosts>,
    waiting: HashMap<K, Hosts>,
    /// Those that wait, and may be gone since, by when they came.
    queues: HashMap<Hosts, VecDeque<(u64, K)>>,
    came: u64,
}

/// The registries that `object` names; of one that is deleted the target's alone, since nothing else is asked.
pub(super) fn hosts(object: &MultiArchImage, is_deleted: bool) -> Hosts {
    let sources = object.spec.sources.iter().filter(|_| !is_deleted).map(|source| &source.image);
    let named = sources.chain([&object.spec.target.image]).filter_map(|image| image.parse().ok());
    Arc::new(named.map(|image: Reference| image.repository().host().to_owned()).collect())
}

/// How many workers there are of all kinds, where there are `all` for runs.
pub(super) fn most(all: NonZeroU16) -> u16 {
    all.get().saturating_mul(2).saturating_add(long(all))
}

fn long(all: NonZeroU16) -> u16 {
    all.get().div_ceil(2)
}

impl<K: Clone + Eq + Hash> Workers<K> {
    /// `all` of them, half as many for copies that take long, since those keep what they read, and as many for deletions; and those
    /// that are called.
    pub(super) fn new(all: NonZeroU16) -> (Self, impl Stream<Item = K> + Send + 'static)
    where
        K: Send + 'static,
    {
        let of = |all: u16| Shift::of(usize::from(all));
        let (runs, deletions) = (of(all.get()), of(all.get()));
        let shifts = Shifts { runs, copies: of(long(all)), deletions };
        let (calls, called) = mpsc::unbounded();
        (Self { shifts: Arc::new(Mutex::new(shifts)), calls }, called)
    }

    /// A worker for `object`, which names `hosts`; where there is none, it will be called. One that was called to go on with its copy
    /// has a worker for that.
    pub(super) fn enter(&self, object: &K, hosts: &Hosts) -> Option<Worker<K>> {
        let mut shifts = lock(&self.shifts);
        // What was deleted is another object of the same name.
        let called = shifts.deletions.forget(object);
        let entered = match shifts.copies.called.remove(object) {
            Some(hosts) => Some((Work::Copy, hosts)),
            None => shifts.runs.enter(object, hosts).map(|hosts| (Work::Run, hosts)),
        };
        drop(shifts);
        self.call(called);
        entered.map(|(work, hosts)| Worker { workers: self.clone(), work, hosts })
    }

    /// The same for the deletion of `object`.
    pub(super) fn delete(&self, object: &K, hosts: &Hosts) -> Option<Worker<K>> {
        let mut shifts = lock(&self.shifts);
        // Alive it is not worked on any more.
        let mut called = shifts.runs.forget(object);
        called.extend(shifts.copies.forget(object));
        let entered = shifts.deletions.enter(object, hosts);
        drop(shifts);
        self.call(called);
        Some(Worker { workers: self.clone(), work: Work::Deletion, hosts: entered? })
    }

    /// Whether a worker waits for `object`.
    pub(super) fn is_called(&self, object: &K) -> bool {
        let shifts = lock(&self.shifts);
        shifts.runs.called.contains_key(object) || shifts.copies.called.contains_key(object)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.shifts).each().iter().map(|shift| shift.waiting.len()).sum()
    }

    /// `object` is no more, and does not come when it is called.
    pub(super) fn forget(&self, object: &K) {
        let mut shifts = lock(&self.shifts);
        let called = shifts.each().into_iter().flat_map(|shift| shift.forget(object)).collect();
        drop(shifts);
        self.call(called);
    }

    fn call(&self, called: Vec<K>) {
        for object in called {
            // Nobody listens any more where the process ends.
            let _ = self.calls.unbounded_send(object);
        }
    }
}

impl<K: Clone + Eq + Hash> Clone for Workers<K> {
    fn clone(&self) -> Self {
        Self { shifts: Arc::clone(&self.shifts), calls: self.calls.clone() }
    }
}

impl<K: Clone + Eq + Hash> Worker<K> {
    /// The run of `object` takes long, since it copies: its worker is there for others, and another one goes on with it. Where there is none,
    /// the object has to leave, and is called to go on.
    pub(super) fn takes_long(&mut self, object: &K) -> bool {
        if self.work != Work::Run {
            return true;
        }
        let mut shifts = lock(&self.workers.shifts);
        let Some(hosts) = shifts.copies.enter(object, &self.hosts) else { return false };
        let called = shifts.runs.leave(&self.hosts);
        drop(shifts);
        (self.work, self.hosts) = (Work::Copy, hosts);
        self.workers.call(called);
        true
    }
}

impl<K: Clone + Eq + Hash> Drop for Worker<K> {
    fn drop(&mut self) {
        let called = lock(&self.workers.shifts).of(self.work).leave(&self.hosts);
        self.workers.call(called);
    }
}

impl<K> Shifts<K> {
    fn each(&mut self) -> [&mut Shift<K>; 3] {
        [&mut self.runs, &mut self.copies, &mut self.deletions]
    }

    fn of(&mut self, work: Work) -> &mut Shift<K> {
        match work {
            Work::Run => &mut self.runs,
            Work::Copy => &mut self.copies,
            Work::Deletion => &mut self.deletions,
        }
    }
}

impl<K: Clone + Eq + Hash> Shift<K> {
    fn of(all: usize) -> Self {
        Self {
            all,
            free: all,
            groups: HashMap::new(),
            hosts: HashMap::new(),
            called: HashMap::new(),
            waiting: HashMap::new(),
            queues: HashMap::new(),
            came: 0,
        }
    }

    /// What `object` is at work as; `None` where it waits.
    fn enter(&mut self, object: &K, hosts: &Hosts) -> Option<Hosts> {
        if let Some(called) = self.called.remove(object) {
            return Some(called);
        }
        if self.waiting.get(object) == Some(hosts) {
            return None;
        }
        self.waiting.remove(object);
        // Whoever waits may not, so that nobody is passed over.
        if self.may(hosts) {
            self.take(hosts);
            return Some(Arc::clone(hosts));
        }
        self.came += 1;
        self.waiting.insert(object.clone(), Arc::clone(hosts));
        let queue = self.queues.entry(Arc::clone(hosts)).or_default();
        queue.push_back((self.came, object.clone()));
        None
    }

    /// Whoever worked as one that names `hosts` is done; who is called.
    fn leave(&mut self, hosts: &Hosts) -> Vec<K> {
        self.free += 1;
        if let Some(count) = self.groups.get_mut(hosts) {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(hosts);
            }
        }
        for host in hosts.iter() {
            if let Some(count) = self.hosts.get_mut(host) {
                *count -= 1;
                if *count == 0 {
                    self.hosts.remove(host);
                }
            }
        }
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The same of one that may have been called.
    fn forget(&mut self, object: &K) -> Vec<K> {
        self.waiting.remove(object);
        self.called.remove(object).map_or_else(Vec::new, |hosts| self.leave(&hosts))
    }

    /// Of those who may go, who has waited for longest.
    fn next(&mut self) -> Option<K> {
        if self.free == 0 {
            return None;
        }
        let waiting = &self.waiting;
        self.queues.retain(|hosts, queue| {
            while queue.front().is_some_and(|(_, object)| waiting.get(object) != Some(hosts)) {
                queue.pop_front();
            }
            !queue.is_empty()
        });
        let may = self.queues.iter().filter(|(hosts, _)| self.may(hosts));
        let first = may.min_by_key(|(_, queue)| queue.front().map(|(came, _)| *came));
        let hosts = Arc::clone(first?.0);
        let (_, object) = self.queues.get_mut(&hosts)?.pop_front()?;
        self.waiting.remove(&object);
        self.take(&hosts);
        self.called.insert(object.clone(), hosts);
        Some(object)
    }

    /// Whether one more that names `hosts` may be worked on. A group has no more workers than it leaves free, so that
    /// however many groups are stuck, another one is not yet; and a host that many groups name leaves a quarter.
    fn may(&self, hosts: &Hosts) -> bool {
        let group = self.groups.get(hosts).copied().unwrap_or_default();
        let most = self.all - (self.all / 4).max(1);
        let busiest = hosts.iter().filter_map(|host| self.hosts.get(host)).max();
        let busiest = busiest.copied().unwrap_or_default();
        self.free > 0 && (group == 0 || group < self.free) && (busiest == 0 || busiest < most)
    }

    fn take(&mut self, hosts: &Hosts) {
        self.free -= 1;
        *self.groups.entry(Arc::clone(hosts)).or_default() += 1;
        for host in hosts.iter() {
            *self.hosts.entry(host.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn of(hosts: &str) -> Hosts {
        Arc::new(hosts.split_whitespace().map(ToOwned::to_owned).collect())
    }

    fn workers(all: u16) -> (Workers<u32>, impl Stream<Item = u32> + Unpin) {
        Workers::new(NonZeroU16::new(all).unwrap())
    }

    /// How many of a hundred that name `hosts` go to work at once.
    fn go(workers: &Workers<u32>, hosts: &str, from: u32) -> Vec<Worker<u32>> {
        (from..from + 100).filter_map(|object| workers.enter(&object, &of(hosts))).collect()
    }

    fn called(calls: &mut (impl Stream<Item = u32> + Unpin)) -> Vec<u32> {
        std::iter::from_fn(|| calls.next().now_or_never().flatten()).collect()
    }

    /// Each line: what comes, and how many go to work.
    #[rstest]
    #[case::one_group(8, &[("a", 4)])]
    #[case::a_slow_registry(8, &[("slow", 4), ("a", 2), ("b", 1), ("c", 1), ("d", 0)])]
    #[case::a_slow_source_of_a_common_target(8, &[("a slow", 4), ("a", 2), ("b", 1)])]
    #[case::a_target_that_all_name(8, &[("a b", 4), ("a c", 2), ("a d", 0), ("e", 1), ("f", 1)])]
    #[case::many(16, &[("a", 8), ("b", 4), ("c", 2), ("d", 1), ("e", 1)])]
    #[case::three(3, &[("a", 2), ("b", 1)])]
    #[case::two(2, &[("a", 1), ("b", 1)])]
    #[case::one(1, &[("a", 1), ("b", 0)])]
    fn groups_leave_workers_to_others(#[case] all: u16, #[case] come: &[(&str, usize)]) {
        let (workers, _calls) = workers(all);
        let mut at_work = Vec::new();
        for (from, (hosts, expected)) in (0_u32..).step_by(100).zip(come) {
            let went = go(&workers, hosts, from);
            assert_eq!(went.len(), *expected, "{hosts}");
            at_work.extend(went);
        }
    }

    #[test]
    fn whoever_waits_is_called_in_the_order_of_coming() {
        let (workers, mut calls) = workers(4);
        let mut slow = go(&workers, "slow", 0);
        assert_eq!(slow.len(), 2);
        let mut others = go(&workers, "a", 100);
        assert_eq!(others.len(), 1, "and one worker is left for who names neither");
        drop(others.pop());
        assert_eq!(called(&mut calls), [101], "the next of the same");
        let first = workers.enter(&101, &of("a")).unwrap();
        drop(first);
        assert_eq!(called(&mut calls), [102]);
        drop(slow.pop());
        assert_eq!(called(&mut calls), [2], "who has waited for longest");
        assert!(
            workers.enter(&102, &of("a")).is_some() && workers.enter(&2, &of("slow")).is_some()
        );
    }

    #[test]
    fn one_that_is_gone_holds_no_worker() {
        let (workers, mut calls) = workers(1);
        let at_work = workers.enter(&1, &of("a")).unwrap();
        for object in 2..=5 {
            assert!(workers.enter(&object, &of("a")).is_none());
        }
        workers.forget(&2);
        // It is another one now, and waits as such.
        assert!(workers.enter(&3, &of("b")).is_none());
        drop(at_work);
        assert_eq!(called(&mut calls), [4]);
        workers.forget(&4);
        assert_eq!(called(&mut calls), [5]);
        drop(workers.enter(&5, &of("a")).unwrap());
        assert_eq!(called(&mut calls), [3]);
        drop(workers.enter(&3, &of("b")).unwrap());
        assert!(workers.enter(&6, &of("a")).is_some());
    }

    #[test]
    fn copies_that_take_long_make_room_for_others_of_the_same() {
        let (workers, mut calls) = workers(8);
        let enter = |object: u32| workers.enter(&object, &of("a"));
        let (mut first, mut second) = (enter(0).unwrap(), enter(1).unwrap());
        let _others = (enter(10).unwrap(), enter(11).unwrap());
        assert!(enter(2).is_none() && enter(3).is_none());
        assert!(first.takes_long(&0) && second.takes_long(&1));
        assert_eq!(called(&mut calls), [2, 3], "those that wait have their workers");
        let (mut third, _other) = (enter(2).unwrap(), enter(3).unwrap());
        assert!(!third.takes_long(&2), "of four long copies at once two are of one group");
        drop(third);
        // One that comes meanwhile, since it was edited, is looked at as others are.
        let edited = enter(2).unwrap();
        assert_eq!(edited.work, Work::Run);
        drop(edited);
        assert!(called(&mut calls).is_empty());
        drop(first);
        assert_eq!(called(&mut calls), [2]);
        assert!(workers.is_called(&2));
        let mut copies = enter(2).unwrap();
        assert!(copies.work == Work::Copy && copies.takes_long(&2) && !workers.is_called(&2));
    }

    #[test]
    fn deletions_wait_for_no_run() {
        let (workers, mut calls) = workers(2);
        let mut stuck = go(&workers, "a", 0);
        stuck.extend(go(&workers, "b", 100));
        assert_eq!(stuck.len(), 2);
        assert!(workers.enter(&200, &of("c")).is_none());
        let deletion = workers.delete(&200, &of("c")).unwrap();
        stuck.clear();
        assert!(!called(&mut calls).contains(&200), "it is not worked on twice");
        drop(deletion);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come(u32, usize),
        /// One that is at work takes long, and leaves where it has to.
        Long(prop::sample::Index),
        Delete(u32, usize),
        Done(prop::sample::Index),
        Gone(u32),
    }

    const HOSTS: [&str; 5] = ["", "a", "a b", "b", "c"];

    proptest! {
        /// No worker is lost, none is there twice, and whoever waits for one that is free may not have it.
        #[test]
        fn laws(
            all in 1..10_u16,
            steps in proptest::collection::vec(prop_oneof![
                4 => (0..20_u32, 0..HOSTS.len()).prop_map(|(object, hosts)| Step::Come(object, hosts)),
                2 => any::<prop::sample::Index>().prop_map(Step::Long),
                1 => (0..20_u32, 0..HOSTS.len()).prop_map(|(object, hosts)| Step::Delete(object, hosts)),
                2 => any::<prop::sample::Index>().prop_map(Step::Done),
                1 => (0..20_u32).prop_map(Step::Gone),
            ], 1..200),
        ) {
            let (workers, mut calls) = workers(all);
            let mut at_work: Vec<(u32, Worker<u32>)> = Vec::new();
            for step in steps {
                match step {
                    // No object is worked on twice at once: kube's controller sees to that.
                    Step::Come(object, _) | Step::Delete(object, _)
                        if at_work.iter().any(|(one, _)| *one == object) => {}
                    Step::Come(object, hosts) => {
                        let worker = workers.enter(&object, &of(HOSTS[hosts]));
                        at_work.extend(worker.map(|worker| (object, worker)));
                    }
                    Step::Delete(object, hosts) => {
                        let worker = workers.delete(&object, &of(HOSTS[hosts]));
                        at_work.extend(worker.map(|worker| (object, worker)));
                    }
                    Step::Long(at) if !at_work.is_empty() => {
                        let at = at.index(at_work.len());
                        let (object, worker) = &mut at_work[at];
                        if !worker.takes_long(object) {
                            drop(at_work.remove(at));
                        }
                    }
                    Step::Done(at) if !at_work.is_empty() => {
                        drop(at_work.remove(at.index(at_work.len())));
                    }
                    Step::Done(_) | Step::Long(_) => {}
                    Step::Gone(object) => workers.forget(&object),
                }
                let mut shifts = lock(&workers.shifts);
                for work in [Work::Run, Work::Copy, Work::Deletion] {
                    let shift = shifts.of(work);
                    let busy = at_work.iter().filter(|(_, worker)| worker.work == work).count();
                    prop_assert_eq!(busy + shift.called.len() + shift.free, shift.all);
                    for hosts in shift.waiting.values() {
                        prop_assert!(!shift.may(hosts));
                    }
                }
            }
            // Whoever is called comes, and all have been at work in the end.
            at_work.clear();
            loop {
                let called = called(&mut calls);
                if called.is_empty() {
                    break;
                }
                for object in called {
                    drop(workers.enter(&object, &of("z")));
                }
            }
            for shift in lock(&workers.shifts).each() {
                prop_assert!(shift.waiting.is_empty() && shift.called.is_empty());
                prop_assert!(shift.groups.is_empty() && shift.hosts.is_empty());
                prop_assert_eq!(shift.free, shift.all);
            }
        }
    }
}

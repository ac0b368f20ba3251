//! Sets of images, for the time of one term: watched, and run when they change, when what they own changes, and at their interval.

mod apply;
mod origin;
mod run;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, channel::mpsc, stream};
use kube::{
    Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller as Queue,
        controller::{Action, Config, Error},
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event},
    },
};
use multiarch_crds::{
    condition::Type,
    v1alpha1::{Counts, MultiArchImageSet, MultiArchImageSetStatus},
};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use self::{
    apply::Refusal,
    run::{Ended, RunError},
};
use super::{Objects, REQUESTED_AT, Watched, gauges::value, lock, scope};
use crate::{
    backoff, error::Retry, error::causes, leader::Term, metrics::SetGauges, selector::Selector,
    shelf::Shelf,
};

/// A set as it is watched: one that does not deserialise must not stop the others.
pub(super) type WatchedSet = DeserializeGuard<MultiArchImageSet>;

/// How many sets are worked on at once.
const AT_ONCE: u16 = 4;
/// How far apart runs of a set are that nobody waits for: what it owns changes all the time, and each change is a write of its status.
const PACE: Duration = Duration::from_secs(3);
/// How long a run that failed is waited for at most until it is tried again.
const SLOWEST: Duration = Duration::from_mins(1);

/// The sets as they are watched now; none where this process does not work on them.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Store<WatchedSet>>>>);

/// What the runs of one term share.
pub(super) struct Desk {
    pub(super) client: Client,
    pub(super) objects: Arc<Objects>,
    pub(super) selector: Option<Selector>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) term: Term,
    /// By uid.
    memory: Mutex<HashMap<String, Remembered>>,
}

/// What is known of a set beside what the watch shows.
#[derive(Clone, Debug, Default)]
struct Remembered {
    /// What would have it run at once, at its last run.
    wakes: Option<u64>,
    /// When that was over.
    ended: Option<Instant>,
    /// Runs in a row that failed.
    failures: u32,
    /// Objects that the API server refuses, by name.
    refused: HashMap<String, Refusal>,
}

/// Shows the sets while it lives.
struct Shown<'a>(&'a Seen);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        *lock(&self.0.0) = None;
    }
}

/// Which sets, and where.
pub(super) struct Options<'a> {
    pub(super) client: &'a Client,
    pub(super) namespaces: &'a [String],
    pub(super) selector: Option<&'a Selector>,
    pub(super) shelf: &'a Arc<Shelf>,
}

impl Seen {
    /// What the gauges show of each.
    pub(super) fn gauges(&self) -> Vec<SetGauges> {
        let store = lock(&self.0).clone();
        let sets = store.map(|store| store.state()).unwrap_or_default();
        sets.iter().filter_map(|set| gauges(set.0.as_ref().ok()?)).collect()
    }
}

/// Nothing of one that is suspended: nobody looks at it.
fn gauges(set: &MultiArchImageSet) -> Option<SetGauges> {
    if set.spec.suspend {
        return None;
    }
    let status = set.status.as_ref()?;
    let images = status.counts.map(|Counts { ready, waiting, failing, .. }| {
        [("ready", ready.into()), ("waiting", waiting.into()), ("failing", failing.into())]
    });
    Some(SetGauges {
        namespace: set.namespace()?,
        name: set.name_any(),
        ready: value(&status.conditions, Type::Ready),
        images,
    })
}

/// The set that owns `object`.
pub(super) fn owner(object: &Watched) -> Option<ObjectRef<WatchedSet>> {
    let kind = MultiArchImageSet::kind(&());
    let owner = object.owner_references().iter().find(|owner| owner.kind == kind)?;
    Some(ObjectRef::new(&owner.name).within(&object.namespace()?))
}

/// Works on sets until `term` ends.
pub(super) async fn work(options: Options<'_>, objects: &Arc<Objects>, term: &Term, seen: &Seen) {
    let (store, writer) = reflector::store();
    let (wakes, woken) = mpsc::unbounded();
    let changed = objects.changed_of_sets();
    *lock(&seen.0) = Some(store.clone());
    // Also where this is dropped before its end.
    let _shown = Shown(seen);
    let desk = Arc::new(Desk {
        client: options.client.clone(),
        objects: Arc::clone(objects),
        selector: options.selector.cloned(),
        shelf: Arc::clone(options.shelf),
        term: term.clone(),
        memory: Mutex::default(),
    });
    let never = stream::pending::<Result<WatchedSet, watcher::Error>>();
    let queue = Queue::for_stream(never, store.clone())
        .with_config(Config::default().concurrency(AT_ONCE))
        .reconcile_on(stream::select(woken, changed))
        .graceful_shutdown_on(term.stop().clone().cancelled_owned())
        .run(reconcile, on_error, Arc::clone(&desk))
        .for_each(|result| {
            match result {
                Ok((set, action)) => debug!(%set, ?action, "done"),
                Err(Error::ReconcilerFailed(error, set)) => {
                    warn!(%set, error = causes(&error), "a run of a set failed; trying again");
                }
                Err(error) => debug!(%error, "nothing to do"),
            }
            std::future::ready(())
        });
    tokio::select! {
        () = queue => {}
        () = term.cut().cancelled() => {}
        () = feed(&options, store, writer, &wakes, &desk) => {}
    }
}

/// Watches the sets, and tells which are to be run.
async fn feed(
    options: &Options<'_>,
    store: Store<WatchedSet>,
    mut writer: reflector::store::Writer<WatchedSet>,
    wakes: &mpsc::UnboundedSender<ObjectRef<WatchedSet>>,
    desk: &Desk,
) {
    loop {
        let Options { namespaces, selector, .. } = options;
        let watches = &desk.objects.watches;
        let mut events = scope::watch(watches, namespaces, *selector, store.clone()).boxed();
        let mut anew: Option<Instant> = None;
        loop {
            let event = tokio::select! {
                biased;
                () = sleep_until(anew.unwrap_or_else(Instant::now)), if anew.is_some() => break,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    anew = None;
                    writer.apply_watcher_event(&event);
                    let told: Vec<_> = match &event {
                        Event::Apply(set) => vec![ObjectRef::from_obj(set)],
                        Event::InitDone => {
                            let all = store.state();
                            let uids: HashSet<_> = all.iter().filter_map(|set| set.uid()).collect();
                            lock(&desk.memory).retain(|uid, _| uids.contains(uid));
                            all.iter().map(|set| ObjectRef::from_obj(&**set)).collect()
                        }
                        Event::Delete(set) => {
                            lock(&desk.memory).remove(&set.uid().unwrap_or_default());
                            Vec::new()
                        }
                        _ => Vec::new(),
                    };
                    // Who listens ends with this.
                    for set in told {
                        drop(wakes.unbounded_send(set));
                    }
                }
                Some(Err(error)) => anew = anew.or_else(|| scope::begins_anew(&error)),
                None => break,
            }
        }
    }
}

async fn reconcile(set: Arc<WatchedSet>, desk: Arc<Desk>) -> Result<Action, RunError> {
    let uid = set.uid().unwrap_or_default();
    if set.meta().deletion_timestamp.is_some() {
        // What it owns goes with it.
        lock(&desk.memory).remove(&uid);
        return Ok(Action::await_change());
    }
    let now = wakes(&set);
    let before = lock(&desk.memory).get(&uid).cloned().unwrap_or_default();
    if before.wakes == Some(now)
        && let Some(ended) = before.ended
        && let Some(wait) = PACE.checked_sub(ended.elapsed()).filter(|wait| !wait.is_zero())
    {
        return Ok(Action::requeue(wait));
    }
    let result = match &set.0 {
        Ok(of) => desk.run(of, before.wakes != Some(now)).await,
        Err(invalid) => desk.report_invalid(invalid).await,
    };
    let mut memory = lock(&desk.memory);
    let remembered = memory.entry(uid).or_default();
    (remembered.wakes, remembered.ended) = (Some(now), Some(Instant::now()));
    match result {
        Ok(ended) => {
            remembered.failures = 0;
            Ok(match ended {
                Ended::Again(after) => {
                    let after = backoff::delay(Retry::Interval, 0, after, fastrand::f64());
                    Action::requeue(after)
                }
                Ended::OnChange => Action::await_change(),
            })
        }
        Err(error) => {
            remembered.failures = remembered.failures.saturating_add(1);
            Err(error)
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form of kube's error policy")]
fn on_error(set: Arc<WatchedSet>, _: &RunError, desk: Arc<Desk>) -> Action {
    let failures =
        lock(&desk.memory).get(&set.uid().unwrap_or_default()).map_or(1, |it| it.failures);
    let delay = backoff::delay(Retry::Backoff, failures, SLOWEST, fastrand::f64());
    Action::requeue(delay)
}

/// What has a set run at once: another generation, or a request.
fn wakes(set: &WatchedSet) -> u64 {
    let mut hasher = DefaultHasher::new();
    set.meta().generation.hash(&mut hasher);
    set.annotations().get(REQUESTED_AT).hash(&mut hasher);
    hasher.finish()
}

/// The status of `set` as it was watched.
fn status(set: &MultiArchImageSet) -> MultiArchImageSetStatus {
    set.status.clone().unwrap_or_default()
}

//! The objects as they are watched, for as long as the process runs, and who is told when one of them is to be run.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, channel::mpsc};
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use multiarch_crds::v1alpha1::MultiArchImage;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep_until},
};

use super::{
    Options, REQUESTED_AT, Watched, claims, lock,
    nodes::Seen,
    pipeline, scope,
    sets::{self, WatchedSet},
};
use crate::{admin::Admin, oci::Repository};

/// The objects are listed no more often than this by who asks for it: each time it is all of them.
const LIST: Duration = Duration::from_secs(5);

/// The objects as they are watched, whether or not this process works on them.
pub struct Objects {
    /// Of the API server, for watches: it waits for longer than one for answers.
    pub(super) watches: Client,
    pub(super) store: Store<Watched>,
    /// The nodes beside them.
    pub(super) nodes: Seen,
    /// When they were seen as they are: new, edited, or with a request.
    seen: Mutex<HashMap<ObjectRef<Watched>, Instant>>,
    /// Who is told of those that a set owns.
    sets: Mutex<Option<mpsc::UnboundedSender<ObjectRef<WatchedSet>>>>,
    /// Who works on them.
    worker: Mutex<Option<mpsc::UnboundedSender<ObjectRef<Watched>>>>,
    /// How often it was asked to list them anew.
    asked: watch::Sender<u64>,
    /// The last of these that was heeded; `None` before the first list.
    listed: watch::Sender<Option<u64>>,
}

/// Why nothing of the objects is seen any more: a bug.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The watch has no end of its own.
    #[error("the watch of MultiArchImages ended")]
    Ended,
    /// It did not even end.
    #[error("the watch of MultiArchImages broke off: {source}")]
    Broken {
        /// How.
        #[source]
        source: JoinError,
    },
}

/// While it lives, its owner works on the objects.
pub(super) struct Worker<'a>(&'a Objects);

/// Watches the objects that `options` names, and nodes where it says so, as long as the future is polled.
pub fn watch(
    client: Client,
    options: &Options,
    admin: Admin,
) -> (Arc<Objects>, impl Future<Output = ()> + Send + 'static) {
    let (store, writer) = reflector::store();
    let objects = Arc::new(Objects {
        watches: client.clone(),
        store,
        nodes: Seen::new(options.node_platforms),
        seen: Mutex::default(),
        sets: Mutex::default(),
        worker: Mutex::default(),
        asked: watch::Sender::new(0),
        listed: watch::Sender::new(None),
    });
    let (namespaces, selector) = (options.namespaces.clone(), options.selector.clone());
    let (watched, nodes, of_nodes) = (Arc::clone(&objects), Arc::clone(&objects), client.clone());
    let feed = async move {
        let mut asked = watched.asked.subscribe();
        let mut feed = Feed { objects: &watched, writer, admin };
        loop {
            let round = *asked.borrow_and_update();
            let store = watched.store.clone();
            let mut events = scope::watch(&client, &namespaces, selector.as_ref(), store).boxed();
            let mut anew: Option<Instant> = None;
            let (begun, mut listed) = (Instant::now(), false);
            loop {
                let list = async {
                    drop(asked.wait_for(|asked| *asked > round).await);
                    sleep_until(begun + LIST).await;
                };
                let event = tokio::select! {
                    biased;
                    // A list that is under way comes to its end, or none ever would.
                    () = list, if listed => break,
                    () = sleep_until(anew.unwrap_or_else(Instant::now)), if anew.is_some() => break,
                    event = events.next() => event,
                };
                match event {
                    Some(Ok(event)) => {
                        anew = None;
                        listed |= matches!(event, Event::InitDone);
                        feed.take(&event, round);
                    }
                    Some(Err(error)) => anew = anew.or_else(|| scope::begins_anew(&error)),
                    None => break,
                }
            }
        }
    };
    let nodes = async move { nodes.nodes.watch(of_nodes).await };
    let both = async {
        // Neither ends.
        let _ = futures::future::join(feed, nodes).await;
    };
    (objects, both)
}

/// Does `work` for as long as `watching` goes on: without, it would go on with objects as they were.
pub async fn while_watched<T>(
    watching: &mut JoinHandle<()>,
    work: impl Future<Output = T>,
) -> Result<T, WatchError> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        ended = watching => Err(match ended {
            Ok(()) => WatchError::Ended,
            Err(source) => WatchError::Broken { source },
        }),
    }
}

impl Objects {
    /// Whether this process works on them.
    pub(super) fn are_worked_on(&self) -> bool {
        lock(&self.worker).is_some()
    }

    /// Begins work on them: each is told to the worker, and then each that is to be run.
    pub(super) fn begin(&self) -> (Worker<'_>, mpsc::UnboundedReceiver<ObjectRef<Watched>>) {
        let (sender, woken) = mpsc::unbounded();
        // In this order, so that none falls between the two; one that is told twice is run once.
        *lock(&self.worker) = Some(sender);
        for object in self.store.state() {
            self.wake(ObjectRef::from_obj(&*object));
        }
        (Worker(self), woken)
    }

    /// Has `object` run, where somebody works on it.
    pub(super) fn wake(&self, object: ObjectRef<Watched>) {
        if let Some(worker) = &*lock(&self.worker) {
            // Nobody listens any more where the work ends.
            let _ = worker.unbounded_send(object);
        }
    }

    /// From now on it is told of which sets objects have changed.
    pub(super) fn changed_of_sets(&self) -> mpsc::UnboundedReceiver<ObjectRef<WatchedSet>> {
        let (sender, changed) = mpsc::unbounded();
        *lock(&self.sets) = Some(sender);
        changed
    }

    /// Tells of `object` where a set owns it.
    fn tell_sets(&self, object: &Watched) {
        let Some(set) = sets::owner(object) else { return };
        if let Some(sets) = &*lock(&self.sets) {
            // Nobody listens any more where the work ends.
            let _ = sets.unbounded_send(set);
        }
    }

    /// When `object` was seen as it is.
    pub(super) fn seen(&self, object: &MultiArchImage) -> Option<Instant> {
        lock(&self.seen).get(&pipeline::reference(object)).copied()
    }

    /// `object` is another one than it was: has it run, where somebody works on it.
    fn changed(&self, object: ObjectRef<Watched>) {
        lock(&self.seen).insert(object.clone(), Instant::now());
        self.wake(object);
    }

    /// An object has let go of tags in `repository`: has those run that wait for one.
    pub(super) fn freed(&self, repository: &Repository) {
        if self.are_worked_on() {
            for object in claims::waiting(&self.store, repository) {
                self.wake(object);
            }
        }
    }

    /// Waits for the first list.
    pub(super) async fn listed(&self) {
        // The sender is in `self`.
        let _ = self.listed.subscribe().wait_for(Option::is_some).await;
    }

    /// Asks for a list that begins later than now.
    pub(super) fn ask(&self) -> u64 {
        self.asked.send_modify(|asked| *asked += 1);
        *self.asked.borrow()
    }

    /// Waits for a list that began later than now: with all that others wrote before.
    pub(super) async fn list_anew(&self) {
        let asked = self.ask();
        let is_later = |listed: &Option<u64>| listed.is_some_and(|listed| listed >= asked);
        let _ = self.listed.subscribe().wait_for(is_later).await;
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        *lock(&self.0.worker) = None;
    }
}

/// What the watch brings, on its way to the store and to the worker.
struct Feed<'a> {
    objects: &'a Objects,
    writer: Writer<Watched>,
    admin: Admin,
}

impl Feed<'_> {
    fn take(&mut self, event: &Event<Watched>, round: u64) {
        let store = &self.objects.store;
        match event {
            Event::Apply(object) => {
                let of = ObjectRef::from_obj(object);
                let before = store.get(&of).map(|before| wakes(&before));
                let now = wakes(object);
                self.writer.apply_watcher_event(event);
                self.objects.tell_sets(object);
                if before != Some(now) {
                    self.objects.changed(of);
                }
            }
            Event::Delete(object) => {
                self.writer.apply_watcher_event(event);
                self.gone(object);
            }
            Event::InitDone => {
                let before: HashMap<_, _> = store
                    .state()
                    .into_iter()
                    .map(|object| (ObjectRef::from_obj(&*object), object))
                    .collect();
                self.writer.apply_watcher_event(event);
                for object in store.state() {
                    let of = ObjectRef::from_obj(&*object);
                    self.objects.tell_sets(&object);
                    if before.get(&of).map(|before| wakes(before)) != Some(wakes(&object)) {
                        self.objects.changed(of);
                    }
                }
                let gone = before.iter().filter(|(of, _)| store.get(of).is_none());
                gone.for_each(|(_, object)| self.gone(object));
                self.admin.set_ready();
                self.objects.listed.send_replace(Some(round));
            }
            Event::Init | Event::InitApply(_) => self.writer.apply_watcher_event(event),
        }
    }

    /// `object` is deleted, or no longer this process's.
    fn gone(&self, object: &Watched) {
        self.objects.tell_sets(object);
        lock(&self.objects.seen).remove(&ObjectRef::from_obj(object));
        if let Ok(object) = &object.0
            && let Some(repository) = claims::repository(&object.spec.target.image)
        {
            self.objects.freed(&repository);
        }
    }
}

/// What has an object run when it changes: another generation, a request, its deletion, and that it is another object of
/// the same name. Our own status writes change none of them.
fn wakes(object: &Watched) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = object.meta();
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    object.annotations().get(REQUESTED_AT).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn nobody_works_without_a_watch() {
        let mut watching = tokio::spawn(pending());
        assert_eq!(while_watched(&mut watching, ready(1)).await.unwrap(), 1);
        watching.abort();
        let broken = while_watched(&mut watching, pending::<()>()).await;
        assert!(matches!(broken, Err(WatchError::Broken { .. })));
        let mut ended = tokio::spawn(ready(()));
        let ended = while_watched(&mut ended, pending::<()>()).await;
        assert!(matches!(ended, Err(WatchError::Ended)));
    }
}

//! The work of one term: every object is run, then those that change or are due, until the term ends.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use kube::{
    Client,
    runtime::{
        Controller as Queue,
        controller::{Config, Error},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{
    Context, ControllerError, Objects, Options, Reporter, Sessions, Spread, Watched, Workers,
    gauges, nodes, on_error, reconcile, sets, watch, workers,
};
use crate::{
    admin::Admin,
    error::causes,
    leader::{Fenced, Term},
    metrics::Metrics,
    reconcile::busy::Busy,
    registry::Registry,
};

/// How long what is at hand may take to say that it was cut off, or to write the last of its tags.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the first list of nodes is waited for.
const NODES: Duration = Duration::from_secs(2);

/// Watches and works for one term, in a process that does nothing else.
pub async fn run<R: Registry>(
    client: Client,
    registry: R,
    options: Options,
    metrics: Arc<Metrics>,
    admin: Admin,
    term: Term,
) {
    let (objects, watching) = watch(client.clone(), &options, admin);
    let controller = Controller::new(client, Arc::new(registry), options, metrics, objects);
    tokio::select! {
        () = watching => {}
        () = controller.work(term) => {}
    }
}

/// What works on objects, term by term.
pub struct Controller<R> {
    client: Client,
    registry: Arc<R>,
    options: Options,
    metrics: Arc<Metrics>,
    objects: Arc<Objects>,
    sets: sets::Seen,
}

impl<R: Registry> Controller<R> {
    /// Works on `objects`, as `options` say. Gauges show them while it does.
    pub fn new(
        client: Client,
        registry: Arc<R>,
        options: Options,
        metrics: Arc<Metrics>,
        objects: Arc<Objects>,
    ) -> Self {
        let gauged = Arc::clone(&objects);
        metrics.gauge_objects(move || {
            // The same object has one series, wherever it is worked on.
            let listed = if gauged.are_worked_on() { gauged.store.state() } else { Vec::new() };
            let nodes = gauged.nodes.is_on();
            listed.iter().filter_map(|object| gauges(object, nodes)).collect()
        });
        let gauged = Arc::clone(&objects);
        metrics.gauge_nodes(move || gauged.nodes.counts());
        let sets = sets::Seen::default();
        let gauged = sets.clone();
        metrics.gauge_sets(move || gauged.gauges());
        Self { client, registry, options, metrics, objects, sets }
    }

    /// Works until `term` ends, and then until nothing goes on any more.
    pub async fn work(&self, term: Term) {
        let listed = async {
            // What the one before has written is seen first.
            if term.is_leased() {
                self.objects.list_anew().await;
            } else {
                self.objects.listed().await;
            }
            // What is said before they are known would be taken back at once.
            let _ = tokio::time::timeout(NODES, self.objects.nodes.known()).await;
        };
        tokio::select! {
            () = term.stop().cancelled() => return,
            () = term.cut().cancelled() => return,
            () = listed => {}
        }
        let runs = TaskTracker::new();
        let (workers, called) = Workers::new(self.options.concurrent);
        let context = self.context(&term, &runs, &workers);
        let listed = self.objects.store.state();
        self.objects.nodes.remember(listed.iter().map(|object| &**object));
        let (worker, woken) = self.objects.begin();
        let never = stream::pending::<Result<Watched, watcher::Error>>();
        let queue = Queue::for_stream(never, self.objects.store.clone())
            // One that has to wait for a worker is done, until it is called.
            .with_config(Config::default().concurrency(workers::most(self.options.concurrent)))
            .reconcile_on(stream::select(woken, called))
            .graceful_shutdown_on(term.stop().clone().cancelled_owned())
            .run(reconcile, on_error, Arc::clone(&context))
            .for_each(|result| {
                match result {
                    Ok((object, action)) => debug!(%object, ?action, "done"),
                    Err(Error::ReconcilerFailed(error @ ControllerError::Stale { .. }, _)) => {
                        debug!(%error, "trying again");
                    }
                    Err(Error::ReconcilerFailed(error, object)) => {
                        let error = causes(&error);
                        warn!(%object, error, "the run has no outcome; trying again");
                    }
                    // It is deleted, or another shard's now.
                    Err(Error::ObjectNotFound(object)) => {
                        debug!(%object, "nothing to do");
                        workers.forget(&object.into_kind_unchecked(()));
                    }
                    Err(error) => debug!(%error, "nothing to do"),
                }
                std::future::ready(())
            });
        let cut = async {
            term.cut().cancelled().await;
            // Nothing is written after the lease is lost, so nothing is waited for.
            if term.holds() {
                tokio::time::sleep(SETTLE).await;
            }
        };
        tokio::select! {
            () = queue => {}
            () = cut => {}
            () = nodes::tell::tell(context) => {}
            () = self.work_on_sets(&term) => {}
        }
        drop(worker);
        // What was dropped above is aborted, which takes until each run lets go.
        runs.close();
        runs.wait().await;
        self.metrics.wait(0);
    }

    /// Works on sets for as long as the term lasts, and then until the rest has ended.
    async fn work_on_sets(&self, term: &Term) {
        let Options { namespaces, selector, shelf, sets: is_on, .. } = &self.options;
        if !is_on {
            return std::future::pending().await;
        }
        let options =
            sets::Options { client: &self.client, namespaces, selector: selector.as_ref(), shelf };
        sets::work(options, &self.objects, term, &self.sets).await;
        std::future::pending::<()>().await;
    }

    /// What the runs of `term` share: nothing of what an earlier term remembered is true for sure.
    fn context(
        &self,
        term: &Term,
        runs: &TaskTracker,
        workers: &Workers<ObjectRef<Watched>>,
    ) -> Arc<Context<R>> {
        let Options { namespaces, selector, allowed, providers, shelf, .. } = self.options.clone();
        Arc::new(Context {
            reporter: Reporter::new(self.client.clone()),
            sessions: Sessions::default(),
            objects: Arc::clone(&self.objects),
            busy: Busy::default(),
            client: self.client.clone(),
            registry: Fenced::new(Arc::clone(&self.registry), term),
            namespaces,
            selector,
            allowed,
            providers,
            shelf,
            sent: super::archives::Sent::default(),
            metrics: Arc::clone(&self.metrics),
            term: term.clone(),
            runs: runs.clone(),
            workers: workers.clone(),
            spread: Spread::over(self.options.spread, fastrand::u64(..)),
        })
    }
}

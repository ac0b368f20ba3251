//! A process that watches, and works when it leads; and its terms.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use multiarch_operator::{
    admin::Admin,
    controller::{self, Controller, Options},
    leader::Term,
    metrics::{Format, Metrics},
    registry::memory::Store,
    shutdown::Shutdown,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::api::Api;

/// A process that watches, and works when it is told to.
pub(crate) struct Process {
    controller: Arc<Controller<Store>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admin: Admin,
    watching: JoinHandle<()>,
}

/// A term, and who decides how long it is.
pub(crate) struct Reign {
    pub(crate) shutdown: Shutdown,
    pub(crate) term: Term,
    pub(crate) until: watch::Sender<Option<Instant>>,
    pub(crate) done: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Process {
    pub(crate) fn start_with(api: &Api, store: &Store, options: Options) -> Self {
        let ticker = api.clone();
        let ticks = move |_: &_| {
            ticker.tick();
            false
        };
        store.fail(ticks, |_| unreachable!("it only ticks"));
        let metrics = Arc::new(Metrics::new());
        let admin = Admin::new(Arc::clone(&metrics));
        let (objects, watching) = controller::watch(api.near(), &options, admin.clone());
        let registry = Arc::new(store.clone());
        let controller =
            Controller::new(api.near(), registry, options, Arc::clone(&metrics), objects);
        let watching = tokio::spawn(watching);
        Self { controller: Arc::new(controller), metrics, admin, watching }
    }

    /// It leads.
    pub(crate) fn lead(&self) -> Reign {
        let shutdown = Shutdown::default();
        let (until, of_lease) =
            watch::channel(Some(Instant::now() + Duration::from_hours(24 * 365)));
        let term = Term::of_lease(&shutdown, of_lease);
        let (controller, works) = (Arc::clone(&self.controller), term.clone());
        let done = tokio::spawn(async move { controller.work(works).await });
        Reign { shutdown, term, until, done }
    }

    /// What its gauges of this name show.
    pub(crate) fn gauged(&self, name: &str) -> Vec<String> {
        let text = self.metrics.render(Format::Text);
        let begins = format!("{name}{{");
        text.lines().filter(|line| line.starts_with(&begins)).map(ToOwned::to_owned).collect()
    }
}

impl Reign {
    /// The Lease is lost.
    pub(crate) async fn lose(self) {
        self.until.send_replace(None);
        self.term.cut().cancel();
        self.done.await.unwrap();
    }

    /// Told to stop, and the time that is left for it is over.
    pub(crate) async fn cut(self) {
        self.shutdown.stop.cancel();
        self.shutdown.cut.cancel();
        self.done.await.unwrap();
    }

    /// Told to stop.
    pub(crate) async fn stop(self) {
        self.shutdown.stop.cancel();
        self.done.await.unwrap();
    }
}

pub(crate) fn options() -> Options {
    Options {
        namespaces: Vec::new(),
        selector: None,
        allowed: Vec::new(),
        providers: Arc::default(),
        concurrent: NonZeroU16::new(4).unwrap(),
        spread: Duration::ZERO,
        node_platforms: false,
        sets: false,
        shelf: Arc::default(),
    }
}

//! Keeps the coverage maps true while this process holds their Lease.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, PostParams, Preconditions},
    runtime::{
        events::EventType,
        watcher::{self, Error, Event},
    },
};
use multiarch_crds::v1alpha1::MultiArchImage;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    entries::LeftOut,
    maps::{LABEL, Map, TRUE},
    plan::Plan,
    seen::Seen,
};
use crate::{
    controller::{
        Watched,
        report::{self, MANAGER},
        scope,
    },
    error::causes,
    events::Told,
    leader::Term,
    metrics::{CoverageGauges, MapWrite, Metrics},
};

/// The Lease of those who write the maps of one namespace.
pub const LEASE: &str = "multiarch-coverage";
/// No more than one write goes out in this time, over all maps: each is a new version of a whole map in etcd.
const PACE: Duration = Duration::from_secs(1);
/// How long writes that fail are apart at most.
const SLOWEST: Duration = Duration::from_secs(30);
/// How late an entry goes at the latest, after its time: nobody waits for that.
const EXPIRY: Duration = Duration::from_mins(10);

/// Which maps, of what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces whose objects are in the maps; all where there is none.
    pub objects: Vec<String>,
    /// The namespace of the maps.
    pub namespace: String,
}

/// Writes the maps.
pub struct Writer {
    watch: Client,
    asks: Client,
    options: Options,
    metrics: Arc<Metrics>,
    started: Instant,
}

/// What a term remembers.
struct Desk<'a> {
    writer: &'a Writer,
    maps: Api<ConfigMap>,
    term: &'a Term,
    plan: Plan,
    seen: Seen,
    /// The maps of the list that comes in.
    list: Vec<ConfigMap>,
    /// The maps were listed.
    listed: bool,
    /// Before then nothing is written.
    not_before: Instant,
    /// Writes that failed in a row.
    failures: u32,
    told: Option<String>,
    events: mpsc::UnboundedSender<Vec<LeftOut>>,
}

/// What became of a write.
enum Written {
    Done,
    /// It was deleted and made: two writes.
    Anew,
    /// Somebody else has written, so that it is seen first what.
    Conflict,
}

impl Writer {
    /// Writes the maps that `options` names. `watch` is patient; `asks` does not repeat by itself.
    #[must_use]
    pub fn new(watch: Client, asks: Client, options: Options, metrics: Arc<Metrics>) -> Self {
        Self { watch, asks, options, metrics, started: Instant::now() }
    }

    /// Keeps the maps true for one term.
    pub async fn work(&self, term: Term) {
        let cut = term.cut().clone();
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            () = self.keep(&term) => {}
        }
        self.metrics.show_coverage(None);
    }

    async fn keep(&self, term: &Term) {
        let (events, mut told) = mpsc::unbounded_channel();
        let maps = Api::namespaced(self.asks.clone(), &self.options.namespace);
        let desk = Desk {
            writer: self,
            maps,
            term,
            plan: Plan::default(),
            seen: Seen::of(self.options.objects.len().max(1)),
            list: Vec::new(),
            listed: false,
            not_before: Instant::now(),
            failures: 0,
            told: None,
            events,
        };
        // Beside the writes, which do not wait for Events.
        let telling = async {
            while let Some(left_out) = told.recv().await {
                self.tell(left_out).await;
            }
        };
        tokio::select! {
            () = desk.keep() => {}
            () = telling => {}
        }
    }

    /// One Event for each object of which something is left out.
    async fn tell(&self, left_out: Vec<LeftOut>) {
        let mut by_object: BTreeMap<String, Vec<LeftOut>> = BTreeMap::new();
        for left in left_out {
            by_object.entry(left.uid.clone()).or_default().push(left);
        }
        for of in by_object.into_values() {
            let [first, more @ ..] = of.as_slice() else { continue };
            let more =
                if more.is_empty() { String::new() } else { format!("; {} more", more.len()) };
            let (namespace, name) = (&first.object.namespace, &first.object.name);
            warn!(namespace, name, why = %first, more, "left out of the coverage maps");
            let about = ObjectReference {
                api_version: Some(MultiArchImage::api_version(&()).into_owned()),
                kind: Some(MultiArchImage::kind(&()).into_owned()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: Some(first.uid.clone()),
                ..ObjectReference::default()
            };
            let told = Told {
                type_: EventType::Warning,
                reason: "CoverageLeftOut",
                action: "Cover",
                note: format!("{first}{more}"),
                digest: None,
            };
            report::publish(&self.asks, told, &about).await;
        }
    }

    fn watch_maps(&self) -> impl Stream<Item = Result<Event<ConfigMap>, Error>> + Send + use<> {
        let api = Api::namespaced(self.watch.clone(), &self.options.namespace);
        let config = watcher::Config::default().timeout(scope::LASTS);
        scope::steady(api, config.labels(&format!("{LABEL}={TRUE}"))).inspect(|event| {
            if let Err(error) = event {
                let error = causes(error);
                warn!(error, hint = RIGHTS, "failed to watch the coverage maps; trying again");
            }
        })
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// What most often keeps it from the maps.
const RIGHTS: &str = "it needs the rights that `multiarch-operator check` names; coverageMaps.enabled of the chart gives them";

impl Desk<'_> {
    async fn keep(mut self) {
        let namespaces = &self.writer.options.objects;
        loop {
            let mut objects = scope::each(&self.writer.watch, namespaces, None).boxed();
            let mut maps = self.writer.watch_maps().boxed();
            let mut anew: Option<Instant> = None;
            loop {
                self.show();
                let due = self.due();
                tokio::select! {
                    biased;
                    () = self.term.stop().cancelled() => return,
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.turn().await,
                    () = sleep_until(anew.unwrap_or_else(Instant::now)), if anew.is_some() => break,
                    Some((at, event)) = objects.next() => match event {
                        Ok(event) => {
                            anew = None;
                            self.saw(at, &event);
                        }
                        Err(error) => {
                            self.seen.broke_off(at);
                            anew = anew.or_else(|| scope::begins_anew(&error));
                        }
                    },
                    Some(event) = maps.next() => match event {
                        Ok(event) => {
                            anew = None;
                            self.saw_map(event);
                        }
                        Err(error) => {
                            self.list.clear();
                            anew = anew.or_else(|| scope::begins_anew(&error));
                        }
                    },
                    else => return,
                }
            }
        }
    }

    fn saw(&mut self, at: usize, event: &Event<Watched>) {
        if self.seen.take(at, event) {
            self.plan.news(self.writer.now());
        }
    }

    fn saw_map(&mut self, event: Event<ConfigMap>) {
        let now = self.writer.now();
        match event {
            Event::Init => self.list.clear(),
            Event::InitApply(map) => self.list.push(map),
            Event::InitDone => {
                self.plan.listed(std::mem::take(&mut self.list), !self.listed, now);
                self.listed = true;
            }
            Event::Apply(map) => self.plan.saw(map, now),
            Event::Delete(map) => self.plan.lost(&map, now),
        }
    }

    /// When there is something to do; nothing before everything was listed.
    fn due(&self) -> Option<Instant> {
        if !self.listed || !self.seen.is_whole() {
            return None;
        }
        if self.plan.has_work() {
            return Some(self.not_before);
        }
        let left = self.plan.expires()?.saturating_sub(Timestamp::now().as_second());
        let left = Duration::from_secs(left.try_into().unwrap_or(0)).min(EXPIRY);
        Some(self.not_before.max(Instant::now() + left))
    }

    /// Works out what is to be written, and writes one map.
    async fn turn(&mut self) {
        let (now, at) = (Timestamp::now().as_second(), self.writer.now());
        self.plan.news(at);
        self.plan.work_out(self.seen.facts(), now, at);
        let untold = self.plan.untold();
        if !untold.is_empty() {
            // Who listens ends with this.
            let _ = self.events.send(untold);
        }
        let Some(change) = self.plan.next() else { return };
        let (name, map) = (change.name.to_owned(), change.map.cloned());
        let begun = Instant::now();
        let written = self.write(&name, map.as_ref()).await;
        let (result, pause) = match &written {
            Ok(done @ (Written::Done | Written::Anew)) => {
                self.failures = 0;
                self.told = None;
                let writes = if matches!(done, Written::Anew) { 2 } else { 1 };
                (MapWrite::Success, PACE * writes)
            }
            Ok(Written::Conflict) => {
                debug!(map = name, "a coverage map was written by something else");
                (MapWrite::Conflict, PACE)
            }
            Err(error) => {
                self.failures += 1;
                self.tell_failure(&name, error);
                let slower = PACE.saturating_mul(1 << self.failures.min(6));
                (MapWrite::Failure, slower.min(SLOWEST))
            }
        };
        self.writer.metrics.wrote_map(result);
        self.not_before = begun + pause;
    }

    /// Writes `map`, or deletes the one called `name`; only over what is known of it.
    async fn write(&mut self, name: &str, map: Option<&Map>) -> Result<Written, kube::Error> {
        let Some(map) = map else { return self.delete(name).await };
        let stored = self.plan.stored(name);
        if stored.is_none_or(|stored| stored.immutable != Some(true)) {
            return self.put(name, map).await;
        }
        // One that a person has made immutable is made anew, at once: its keys are in no map until then.
        let deleted = self.delete(name).await?;
        if !matches!(deleted, Written::Done) {
            return Ok(deleted);
        }
        self.writer.metrics.wrote_map(MapWrite::Success);
        let made = self.put(name, map).await?;
        Ok(if matches!(made, Written::Done) { Written::Anew } else { made })
    }

    async fn delete(&mut self, name: &str) -> Result<Written, kube::Error> {
        let meta = self.plan.stored(name).map(|stored| stored.metadata.clone()).unwrap_or_default();
        let preconditions =
            Preconditions { uid: meta.uid, resource_version: meta.resource_version };
        let params = DeleteParams::default().preconditions(preconditions);
        match self.term.fence().during(self.maps.delete(name, &params)).await {
            Ok(_) => {
                info!(map = name, "deleted a coverage map that is none any more");
                self.plan.gone(name, self.writer.now());
                Ok(Written::Done)
            }
            Err(error) => self.look(name, error).await,
        }
    }

    async fn put(&mut self, name: &str, map: &Map) -> Result<Written, kube::Error> {
        let (stored, fence) = (self.plan.stored(name).cloned(), self.term.fence());
        let over = map.over(stored.as_ref(), &self.writer.options.namespace);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let written = match &stored {
            Some(_) => fence.during(self.maps.replace(name, &params, &over)).await,
            None => fence.during(self.maps.create(&params, &over)).await,
        };
        match written {
            Ok(written) => {
                debug!(map = name, keys = map.data.len(), "wrote a coverage map");
                self.plan.wrote(written);
                Ok(Written::Done)
            }
            Err(error) => self.look(name, error).await,
        }
    }

    /// Reads a map again where it was not as it was known.
    async fn look(&mut self, name: &str, error: kube::Error) -> Result<Written, kube::Error> {
        let kube::Error::Api(status) = &error else { return Err(error) };
        // A namespace that is not there answers 404 to a create, too, which no look explains.
        let is_known = self.plan.stored(name).is_some();
        if !(status.is_conflict()
            || status.is_already_exists()
            || (status.is_not_found() && is_known))
        {
            return Err(error);
        }
        let now = self.writer.now();
        match self.maps.get_opt(name).await? {
            Some(map) => self.plan.read(map, now),
            None => self.plan.gone(name, now),
        }
        self.plan.news(now);
        Ok(Written::Conflict)
    }

    /// Not each time: a try comes every second at first.
    fn tell_failure(&mut self, map: &str, error: &kube::Error) {
        let words = causes(error);
        if self.told.as_ref() == Some(&words) {
            debug!(map, error = words, "trying again");
            return;
        }
        let refused = matches!(error, kube::Error::Api(status) if status.code == 403);
        let hint = refused.then_some(RIGHTS);
        warn!(map, error = words, hint, "failed to write a coverage map; trying again");
        self.told = Some(words);
    }

    fn show(&self) {
        let shown = self.plan.shown();
        self.writer.metrics.show_coverage(Some(CoverageGauges {
            since: shown.since.map(|since| self.writer.started + since),
            entries: shown.entries,
            maps: shown.maps,
            left_out: shown.left_out,
        }));
    }
}

#[cfg(test)]
mod tests;

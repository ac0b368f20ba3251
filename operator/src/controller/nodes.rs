//! The nodes as they are watched, for as long as the process runs: which platforms they have.

pub(super) mod tell;

use std::{collections::HashMap, sync::Mutex, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{Config, Error, Event},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    Watched, lock,
    scope::{self, LASTS},
};
use crate::{
    error::causes,
    nodes::{self, Nodes, View},
    oci::Platform,
};

/// For how long the API server may refuse the list before it is said in statuses: while it starts, it refuses what it allows later.
const REFUSED: Duration = Duration::from_mins(1);

/// What was seen of the nodes.
pub(super) struct Seen {
    /// Without all that is not needed of them: thousands take no more than their names.
    nodes: Mutex<Nodes>,
    /// Times are told from here.
    begun: Instant,
    view: watch::Sender<View>,
    /// There is something to forget, perhaps earlier than was thought.
    remembered: Notify,
}

impl Seen {
    /// Of nodes that are looked at, or are not.
    pub(super) fn new(is_on: bool) -> Self {
        let view = if is_on { View::Unseen } else { View::Off };
        let (begun, view) = (Instant::now(), watch::Sender::new(view));
        Self { nodes: Mutex::default(), begun, view, remembered: Notify::new() }
    }

    /// Whether anybody looks at them.
    pub(super) fn is_on(&self) -> bool {
        *self.view.borrow() != View::Off
    }

    /// What is known of them now.
    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The same, and whenever it changes.
    pub(super) fn views(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Waits until something is known of them.
    pub(super) async fn known(&self) {
        // The sender is in `self`.
        let _ = self.views().wait_for(|view| *view != View::Unseen).await;
    }

    /// How many nodes each platform has.
    pub(super) fn counts(&self) -> Vec<(String, usize)> {
        lock(&self.nodes).counts()
    }

    /// Platforms that the statuses of `objects` miss count for a while, though none of their nodes is seen.
    pub(super) fn remember<'a>(&self, objects: impl Iterator<Item = &'a Watched>) {
        if !self.is_on() {
            return;
        }
        let coverage = objects.filter_map(|object| object.0.as_ref().ok()?.status.as_ref());
        let coverage = coverage.filter_map(|status| status.coverage.as_ref());
        let missing = coverage.flat_map(|coverage| &coverage.nodes_missing);
        let missing: Vec<Platform> = missing.filter_map(|text| text.parse().ok()).collect();
        self.update(|nodes, now| nodes.were(missing, now), false);
        self.remembered.notify_one();
    }

    /// Watches them for as long as it is polled, if they are looked at.
    pub(super) async fn watch(&self, client: Client) {
        if !self.is_on() {
            return std::future::pending().await;
        }
        // The kubelet keeps what is needed in labels, so the rest of a node, ten times as much, is not even sent.
        let api = Api::<PartialObjectMeta<Node>>::all(client);
        let mut refused: Option<Instant> = None;
        loop {
            let mut events = scope::steady(api.clone(), Config::default().timeout(LASTS)).boxed();
            let mut listed = HashMap::new();
            let mut anew: Option<Instant> = None;
            loop {
                let forget = lock(&self.nodes).next().map(|next| self.begun + next);
                let event = tokio::select! {
                    biased;
                    () = sleep_until(anew.unwrap_or_else(Instant::now)), if anew.is_some() => break,
                    () = sleep_until(forget.unwrap_or_else(Instant::now)), if forget.is_some() => {
                        self.update(|_, _| (), false);
                        continue;
                    }
                    () = self.remembered.notified() => continue,
                    event = events.next() => event,
                };
                match event {
                    Some(Ok(event)) => {
                        (anew, refused) = (None, None);
                        self.take(event, &mut listed);
                    }
                    Some(Err(error)) => {
                        listed.clear();
                        let is_refused = told(&error);
                        let since = refused.filter(|_| is_refused).unwrap_or_else(Instant::now);
                        refused = is_refused.then_some(since);
                        if is_refused && since.elapsed() >= REFUSED {
                            self.show(View::Refused);
                        }
                        anew = anew.or_else(|| scope::begins_anew(&error));
                    }
                    None => break,
                }
            }
        }
    }

    fn take(
        &self,
        event: Event<PartialObjectMeta<Node>>,
        listed: &mut HashMap<String, Option<Platform>>,
    ) {
        match event {
            Event::Init => {}
            Event::InitApply(node) => {
                listed.insert(node.name_any(), nodes::platform(node.labels()));
            }
            Event::InitDone => {
                let all = std::mem::take(listed);
                self.update(|nodes, now| nodes.are(all, now), true);
            }
            Event::Apply(node) => {
                let platform = nodes::platform(node.labels());
                self.update(|nodes, now| nodes.is_there(&node.name_any(), platform, now), true);
            }
            Event::Delete(node) => {
                self.update(|nodes, now| nodes.is_gone(&node.name_any(), now), true);
            }
        }
    }

    /// Something became of the nodes, which the API server told; or else the time has come to forget, or to remember.
    fn update(&self, change: impl FnOnce(&mut Nodes, Duration), is_told: bool) {
        let mut nodes = lock(&self.nodes);
        let now = self.begun.elapsed();
        change(&mut nodes, now);
        let view = nodes.view(now);
        drop(nodes);
        if is_told || self.view() != View::Refused {
            self.show(view);
        }
    }

    fn show(&self, view: View) {
        let before = self.view();
        let platforms = |view: &View| match view {
            View::Seen(platforms) => platforms.to_vec(),
            _ => Vec::new(),
        };
        let (were, are) = (platforms(&before), platforms(&view));
        for platform in are.iter().filter(|platform| !were.contains(platform)) {
            info!(%platform, "the cluster has nodes of this platform");
        }
        if matches!(view, View::Seen(_)) {
            for platform in were.iter().filter(|platform| !are.contains(platform)) {
                info!(%platform, "the cluster has had no node of this platform for an hour");
            }
        }
        self.view.send_if_modified(|shown| {
            let is_new = *shown != view;
            *shown = view;
            is_new
        });
    }
}

/// Tells of a watch that failed, and whether because it is not allowed.
fn told(error: &Error) -> bool {
    let (Error::InitialListFailed(source) | Error::WatchStartFailed(source)) = error else {
        warn!(error = causes(error), "failed to watch nodes; trying again");
        return false;
    };
    let is_refused =
        matches!(source, kube::Error::Api(status) if [401, 403].contains(&status.code));
    let hint = is_refused.then_some(
        "the operator lacks the right to list and watch nodes: nodePlatforms.enabled of the chart gives it, and `multiarch-operator --node-platforms check` asks for it; until then NodesCovered is Unknown",
    );
    warn!(error = causes(error), hint, "failed to watch nodes; trying again");
    is_refused
}

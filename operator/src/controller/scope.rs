//! The watches of one or more namespaces, as the events of one.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::{Stream, StreamExt, future::ready, stream};
use kube::{
    Api, Client, Resource,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store},
        watcher::{self, Error, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;

use super::hint;
use crate::{error::causes, selector::Selector};

/// How long it is left to the watch to begin again by itself. Where the API server has gone back in time, as after a
/// restore of its data, or where its kinds have, the watch would wait for what never comes.
const BEGIN_ANEW: Duration = Duration::from_secs(20);
/// How long one watch lasts, in seconds. A connection that died in silence is noticed as late as that, and begun again a watch
/// costs one request.
pub(crate) const LASTS: u32 = 120;

/// When all is listed anew after a watch that failed with `error`, unless it begins again by then.
pub(crate) fn begins_anew(error: &Error) -> Option<Instant> {
    let refused = matches!(error, Error::WatchStartFailed(kube::Error::Api(_)));
    refused.then(|| Instant::now() + BEGIN_ANEW)
}

/// What is watched by namespace.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static
{
}

/// Watches `namespaces`, or all where there are none, there only what `selector` selects. Nothing is told before each of them was listed, so that a
/// reader of `store` never takes a part for the whole.
pub(super) fn watch<K: Object>(
    client: &Client,
    namespaces: &[String],
    selector: Option<&Selector>,
    store: Store<K>,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + use<K> {
    let mut merged = Merged::of(namespaces.len().max(1), store);
    each(client, namespaces, selector).flat_map(move |(at, event)| {
        stream::iter(match event {
            Ok(event) => merged.take(at, event).into_iter().map(Ok).collect(),
            Err(error) => {
                merged.broke_off(at);
                vec![Err(error)]
            }
        })
    })
}

/// The watches of `namespaces`, or the one of all, each event with the place of its watch among them.
pub(crate) fn each<K: Object>(
    client: &Client,
    namespaces: &[String],
    selector: Option<&Selector>,
) -> impl Stream<Item = (usize, Result<Event<K>, Error>)> + Send + use<K> {
    let mut apis: Vec<Api<K>> =
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect();
    if apis.is_empty() {
        apis.push(Api::all(client.clone()));
    }
    let mut config = watcher::Config::default().timeout(LASTS);
    if let Some(selector) = selector {
        config = config.labels(&selector.to_string());
    }
    let namespaces = namespaces.to_vec();
    stream::select_all(apis.into_iter().enumerate().map(move |(at, api)| {
        let namespace = namespaces.get(at).cloned();
        let told = move |event: &Result<_, Error>| {
            if let Err(error) = event {
                let (error, hint) = (causes(error), hint(error));
                let namespace = namespace.as_ref();
                warn!(namespace, error, hint, "failed to watch {}s; trying again", K::kind(&()));
            }
        };
        steady(api, config.clone()).inspect(told).map(move |event| (at, event)).boxed()
    }))
}

/// One watch, begun again when it fails, less and less often.
pub(crate) fn steady<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    // A list that begins is no success: one that always fails is tried less and less often.
    let begins = |event: &Result<_, _>| matches!(event, Ok(Event::Init));
    watcher(api, config).filter(move |event| ready(!begins(event))).default_backoff()
}

/// What several watches told so far.
struct Merged<K: Resource<DynamicType = ()> + 'static> {
    scopes: Vec<Scope<K>>,
    /// What was listed, until everything was.
    held: Option<HashMap<ObjectRef<K>, K>>,
    store: Store<K>,
}

/// One watch.
struct Scope<K: Resource<DynamicType = ()>> {
    known: HashSet<ObjectRef<K>>,
    /// Of the list that comes in.
    fresh: HashSet<ObjectRef<K>>,
    listed: bool,
}

impl<K> Merged<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
{
    fn of(watches: usize, store: Store<K>) -> Self {
        let scope = || Scope { known: HashSet::new(), fresh: HashSet::new(), listed: false };
        let scopes = std::iter::repeat_with(scope).take(watches).collect();
        Self { scopes, held: Some(HashMap::new()), store }
    }

    /// What one watch has listed so far is no list: it lists anew.
    fn broke_off(&mut self, at: usize) {
        let scope = &mut self.scopes[at];
        let fresh = std::mem::take(&mut scope.fresh);
        match &mut self.held {
            Some(held) => fresh.difference(&scope.known).for_each(|of| drop(held.remove(of))),
            // They were told, so that the next list tells of those that it lacks.
            None => scope.known.extend(fresh),
        }
    }

    /// What follows from an event of one watch for all of them together.
    fn take(&mut self, at: usize, event: Event<K>) -> Vec<Event<K>> {
        let scope = &mut self.scopes[at];
        match event {
            Event::Init => Vec::new(),
            Event::InitApply(object) => {
                scope.fresh.insert(ObjectRef::from_obj(&object));
                self.apply(object)
            }
            Event::Apply(object) => {
                scope.known.insert(ObjectRef::from_obj(&object));
                self.apply(object)
            }
            Event::Delete(object) => {
                let gone = ObjectRef::from_obj(&object);
                scope.known.remove(&gone);
                match &mut self.held {
                    Some(held) => {
                        held.remove(&gone);
                        Vec::new()
                    }
                    None => vec![Event::Delete(object)],
                }
            }
            Event::InitDone => {
                scope.listed = true;
                let fresh = std::mem::take(&mut scope.fresh);
                let before = std::mem::replace(&mut scope.known, fresh);
                let gone = before.difference(&scope.known);
                if let Some(held) = &mut self.held {
                    gone.for_each(|gone| drop(held.remove(gone)));
                    return self.all_listed();
                }
                let gone = gone.filter_map(|gone| self.store.get(gone));
                gone.map(|gone| Event::Delete((*gone).clone())).collect()
            }
        }
    }

    fn apply(&mut self, object: K) -> Vec<Event<K>> {
        match &mut self.held {
            Some(held) => {
                held.insert(ObjectRef::from_obj(&object), object);
                Vec::new()
            }
            None => vec![Event::Apply(object)],
        }
    }

    /// The first list of all, once each was there.
    fn all_listed(&mut self) -> Vec<Event<K>> {
        if !self.scopes.iter().all(|scope| scope.listed) {
            return Vec::new();
        }
        let held = self.held.take().unwrap_or_default();
        let list = held.into_values().map(Event::InitApply);
        [Event::Init].into_iter().chain(list).chain([Event::InitDone]).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        let (namespace, name) = name.split_once('/').unwrap();
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some(namespace.into());
        object.metadata.name = Some(name.into());
        object
    }

    fn name(object: &ConfigMap) -> String {
        let meta = &object.metadata;
        format!("{}/{}", meta.namespace.as_ref().unwrap(), meta.name.as_ref().unwrap())
    }

    /// Plays `events` (`0 list a/x a/y`, `1 apply b/x`, `0 delete a/x`) and gives what the store has after each.
    fn play(events: &[&str]) -> Vec<String> {
        let (store, mut writer) = reflector::store::<ConfigMap>();
        let mut merged = Merged::of(2, store.clone());
        let mut after = Vec::new();
        for event in events {
            let mut words = event.split(' ');
            let at: usize = words.next().unwrap().parse().unwrap();
            let verb = words.next().unwrap();
            let objects = words.map(object);
            let events: Vec<_> = match verb {
                "list" => {
                    let list = objects.map(Event::InitApply);
                    [Event::Init].into_iter().chain(list).chain([Event::InitDone]).collect()
                }
                "begin" => [Event::Init].into_iter().chain(objects.map(Event::InitApply)).collect(),
                "break" => {
                    merged.broke_off(at);
                    Vec::new()
                }
                "apply" => objects.map(Event::Apply).collect(),
                "delete" => objects.map(Event::Delete).collect(),
                other => panic!("{other}"),
            };
            for event in events {
                merged.take(at, event).iter().for_each(|event| writer.apply_watcher_event(event));
            }
            let mut names: Vec<_> = store.state().iter().map(|object| name(object)).collect();
            names.sort();
            after.push(names.join(" "));
        }
        after
    }

    #[test]
    fn nothing_is_told_before_every_namespace_was_listed() {
        let after = play(&["0 list a/x", "0 apply a/y", "1 begin b/x", "1 list b/x"]);
        assert_eq!(after, ["", "", "", "a/x a/y b/x"]);
    }

    #[test]
    fn what_went_before_the_first_list_is_not_in_it() {
        let after = play(&["0 list a/x a/y a/z", "0 delete a/x", "0 list a/z", "1 list"]);
        assert_eq!(after, ["", "", "", "a/z"]);
    }

    #[test]
    fn one_namespace_that_is_listed_again_takes_nothing_from_another() {
        let after = play(&["0 list a/x a/y", "1 list b/x", "0 begin a/x", "0 list a/x a/z"]);
        assert_eq!(after[1..], ["a/x a/y b/x", "a/x a/y b/x", "a/x a/z b/x"]);
    }

    /// What was listed before the next page failed may be deleted by now.
    #[test]
    fn a_list_that_broke_off_says_nothing() {
        let after = play(&["1 list", "0 begin a/x a/y", "0 break", "0 list a/y a/z"]);
        assert_eq!(after[3], "a/y a/z");
        let after = play(&["0 list a/x", "1 list", "0 begin a/y", "0 break", "0 list a/z"]);
        assert_eq!(after[1..], ["a/x", "a/x a/y", "a/x a/y", "a/z"]);
    }

    #[test]
    fn later_changes_pass_as_they_come() {
        let after = play(&["0 list", "1 list", "1 apply b/x", "0 apply a/x", "1 delete b/x"]);
        assert_eq!(after, ["", "", "b/x", "a/x b/x", "a/x"]);
    }
}

//! pure: what the writer knows, and which write is next.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    changes::{Change, Stored, changes},
    entries::{self, Entries, LeftOut},
    facts::Facts,
    maps::{self, Map, maps},
    ranges::{Begins, begins},
};

/// What the writer knows of the maps. Times are of the process's own clock, since its start.
#[derive(Debug, Default)]
pub struct Plan {
    /// What the maps say, or are to say.
    entries: Entries,
    begins: Begins,
    maps: Vec<Map>,
    stored: Stored,
    left_out: BTreeSet<LeftOut>,
    told: HashSet<LeftOut>,
    /// Since when there is news that `maps` does not have.
    news: Option<Duration>,
    /// Since when each map is to be written.
    due: BTreeMap<String, Duration>,
}

/// What the gauges show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Since when the oldest change waits to be written.
    pub since: Option<Duration>,
    /// How many keys the maps have.
    pub entries: usize,
    /// How many maps there are.
    pub maps: usize,
    /// How many keys no map has room for.
    pub left_out: usize,
}

impl Plan {
    /// Something of the objects is another, or time has passed.
    pub fn news(&mut self, at: Duration) {
        self.news.get_or_insert(at);
    }

    /// All maps as they were listed. Where this is the `first` list, they are the memory of all that an earlier writer knew, also
    /// one that a person has edited meanwhile.
    pub fn listed(&mut self, list: Vec<ConfigMap>, first: bool, at: Duration) {
        let names: HashSet<_> = list.iter().filter_map(|map| map.metadata.name.clone()).collect();
        self.stored.retain(|name, _| names.contains(name));
        if first {
            self.begins = list.iter().filter_map(maps::begin).map(ToOwned::to_owned).collect();
            for map in &list {
                entries::absorb(&mut self.entries, &maps::entries(map));
            }
        }
        for map in list {
            self.read(map, at);
        }
        self.news(at);
    }

    /// The watch tells of a map: of one that is known to be newer it is late.
    pub fn saw(&mut self, map: ConfigMap, at: Duration) {
        let known = map.metadata.name.as_ref().and_then(|name| self.stored.get(name));
        if known.is_none_or(|known| is_newer(&map, known)) {
            self.read(map, at);
        }
    }

    /// One map as the API server has it now, whatever is known: a restore of etcd takes versions back. What another writer has
    /// put there is remembered; what people have, is not.
    pub fn read(&mut self, mut map: ConfigMap, at: Duration) {
        map.metadata.managed_fields = None;
        let Some(name) = map.metadata.name.clone() else { return };
        if maps::is_sealed(&map) {
            entries::absorb(&mut self.entries, &maps::entries(&map));
        }
        self.stored.insert(name, map);
        self.news(at);
    }

    /// A write has come to this: it is known, and nobody else's word.
    pub fn wrote(&mut self, mut map: ConfigMap) {
        map.metadata.managed_fields = None;
        if let Some(name) = map.metadata.name.clone() {
            self.due.remove(&name);
            self.stored.insert(name, map);
        }
    }

    /// A map is not there any more.
    pub fn gone(&mut self, name: &str, at: Duration) {
        if self.stored.remove(name).is_some() {
            self.news(at);
        }
        self.due.remove(name);
    }

    /// The watch tells that `map` is deleted, or has lost its label: unless it was made anew since.
    pub fn lost(&mut self, map: &ConfigMap, at: Duration) {
        let name = map.metadata.name.as_deref().unwrap_or_default();
        if self.stored.get(name).is_some_and(|known| !is_newer(known, map)) {
            self.gone(name, at);
        }
    }

    /// How a map is stored, as far as it is known.
    #[must_use]
    pub fn stored(&self, name: &str) -> Option<&ConfigMap> {
        self.stored.get(name)
    }

    /// Whether there is anything to be worked out or written.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.news.is_some() || !self.due.is_empty()
    }

    /// When the next entry is to go, as Unix time in seconds.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        entries::first_to_go(&self.entries)
    }

    /// Works out what the maps are to be at `now`, Unix time in seconds, and at `at` by the process's own clock.
    pub fn work_out<'a>(
        &mut self,
        facts: impl IntoIterator<Item = &'a Facts>,
        now: i64,
        at: Duration,
    ) {
        let Some(since) = self.news.take() else { return };
        let next = entries::next(&self.entries, facts, now);
        self.begins = begins(&self.begins, &next.entries);
        self.maps = maps(&self.begins, &next.entries);
        self.entries = next.entries;
        self.left_out = next.left_out;
        let due = changes(&self.maps, &self.stored).into_iter().map(|it| it.name.to_owned());
        let since = |name: &String| self.due.get(name).copied().unwrap_or(since.min(at));
        self.due = due.map(|name| (name.clone(), since(&name))).collect();
    }

    /// The write that is next: of those that wait for no other one that which is due for longest.
    #[must_use]
    pub fn next(&self) -> Option<Change<'_>> {
        let changes = changes(&self.maps, &self.stored);
        // People can have moved keys so that each map waits for the other.
        let any_free = changes.iter().any(|change| change.waits_for.is_empty());
        let free = changes.into_iter().filter(|it| !any_free || it.waits_for.is_empty());
        free.min_by_key(|change| self.due.get(change.name).copied())
    }

    /// What is left out and was not told yet; from now on it was.
    pub fn untold(&mut self) -> Vec<LeftOut> {
        self.told.retain(|told| self.left_out.contains(told));
        let untold = self.left_out.iter().filter(|it| !self.told.contains(*it)).cloned();
        let untold: Vec<_> = untold.collect();
        self.told.extend(untold.iter().cloned());
        untold
    }

    /// What the gauges show.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown {
            since: self.due.values().copied().chain(self.news).min(),
            entries: self.entries.len(),
            maps: self.maps.len(),
            left_out: self.left_out.len(),
        }
    }
}

/// Whether `one` was stored later than `other`. Versions are numbers that grow; what is none is taken for news.
fn is_newer(one: &ConfigMap, other: &ConfigMap) -> bool {
    let version = |map: &ConfigMap| map.metadata.resource_version.as_ref()?.parse::<u128>().ok();
    match (version(one), version(other)) {
        (Some(one), Some(other)) => one > other,
        _ => one.metadata.resource_version != other.metadata.resource_version,
    }
}

#[cfg(test)]
mod tests;

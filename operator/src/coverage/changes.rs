//! pure: the maps as they are to be, and as they are stored → what is to be written, and what before what.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::ConfigMap;

use super::maps::{Map, range};

/// The maps that are stored, by name.
pub type Stored = BTreeMap<String, ConfigMap>;

/// One write that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The name of the map.
    pub name: &'a str,
    /// As what it is written; `None`: it is deleted.
    pub map: Option<&'a Map>,
    /// What is to be written before it: they get what it gives up, so that no key and no range is ever in no map. Overlaps
    /// are harmless: each map is asked alone, and one that still has what it had refuses what it refused.
    pub waits_for: BTreeSet<&'a str>,
}

/// What it takes until `stored` is as `maps`.
#[must_use]
pub fn changes<'a>(maps: &'a [Map], stored: &'a Stored) -> Vec<Change<'a>> {
    let by_name: HashMap<&str, &Map> = maps.iter().map(|map| (map.name.as_str(), map)).collect();
    let pending = maps.iter().filter(|map| !stored.get(&map.name).is_some_and(|it| map.is(it)));
    let pending: Vec<&Map> = pending.collect();
    let mut receivers: HashMap<&str, &str> = HashMap::new();
    for map in &pending {
        let has = stored.get(&map.name).and_then(|stored| stored.data.as_ref());
        let lacks = map.data.keys().filter(|key| !has.is_some_and(|has| has.contains_key(*key)));
        receivers.extend(lacks.map(|key| (key.as_str(), map.name.as_str())));
    }
    let strays = stored.keys().filter(|name| !by_name.contains_key(name.as_str()));
    let written = pending.iter().map(|map| (map.name.as_str(), Some(*map)));
    let changed = written.chain(strays.map(|name| (name.as_str(), None)));
    changed
        .map(|(name, map)| {
            let mut waits_for = BTreeSet::new();
            if let Some(stored) = stored.get(name) {
                let gives = |key: &&String| !map.is_some_and(|map| map.data.contains_key(*key));
                let left = stored.data.iter().flatten().map(|(key, _)| key).filter(gives);
                waits_for.extend(left.filter_map(|key| receivers.get(key.as_str()).copied()));
            }
            waits_for.extend(takers(name, map, &pending, stored));
            waits_for.remove(name);
            Change { name, map, waits_for }
        })
        .collect()
}

/// Who is still to get a part of the range that the map called `name` gives up when it becomes `map`.
fn takers<'a>(name: &str, map: Option<&Map>, pending: &[&'a Map], stored: &Stored) -> Vec<&'a str> {
    let Some(had) = stored.get(name).and_then(range) else { return Vec::new() };
    let keeps = map.map(|map| (map.from.as_str(), map.to.as_str()));
    let gives: Vec<_> = match keeps.filter(|keeps| overlap(*keeps, had)) {
        None => vec![had],
        Some((from, to)) => {
            let before = (had.0 < from).then_some((had.0, from));
            let behind =
                (!to.is_empty() && (had.1.is_empty() || to < had.1)).then_some((to, had.1));
            before.into_iter().chain(behind).collect()
        }
    };
    let gets = |map: &&&Map| {
        let to_be = (map.from.as_str(), map.to.as_str());
        stored.get(&map.name).and_then(range) != Some(to_be)
            && gives.iter().any(|given| overlap(*given, to_be))
    };
    pending.iter().filter(gets).map(|map| map.name.as_str()).collect()
}

/// Whether two ranges have a key in common.
fn overlap(one: (&str, &str), other: (&str, &str)) -> bool {
    let ends_behind = |to: &str, from: &str| to.is_empty() || from < to;
    ends_behind(one.1, other.0) && ends_behind(other.1, one.0)
}

#[cfg(test)]
mod tests;

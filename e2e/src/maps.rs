//! The coverage maps of a namespace, as policies read them, and who writes them how often.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::task::JoinHandle;

use crate::await_condition::{SOON, await_some};

/// The label by which policies find them.
const LABEL: &str = "multiarch.dev/coverage=true";
/// The Lease of who writes them.
const LEASE: &str = "multiarch-coverage";

/// The maps of a namespace.
#[derive(Clone, Debug)]
pub struct Maps {
    /// As the API server has them.
    pub api: Api<ConfigMap>,
    leases: Api<Lease>,
}

/// Every write of a map since it was made.
#[derive(Debug)]
pub struct Writes {
    seen: Arc<Mutex<Vec<Write>>>,
    watching: JoinHandle<()>,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Of which map.
    pub name: String,
    /// When the API server took it, as Unix time in seconds; of a deletion, when it was told: a map does not say when it was deleted.
    pub second: i64,
    /// Its version.
    pub version: String,
    /// Whether it was deleted.
    pub deleted: bool,
}

impl Maps {
    /// Those of `namespace`.
    #[must_use]
    pub fn of(client: &Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            leases: Api::namespaced(client.clone(), namespace),
        }
    }

    /// All of them.
    pub async fn stored(&self) -> Result<Vec<ConfigMap>> {
        let list = self.api.list(&ListParams::default().labels(LABEL)).await;
        Ok(list.context("failed to list the coverage maps")?.items)
    }

    /// What they say, of all keys. One that is in two of them is an error.
    pub async fn entries(&self) -> Result<BTreeMap<String, String>> {
        let mut entries = BTreeMap::new();
        for (key, value) in
            self.stored().await?.into_iter().flat_map(|map| map.data.unwrap_or_default())
        {
            let twice = entries.insert(key.clone(), value).is_some();
            anyhow::ensure!(!twice, "{key} is in two maps");
        }
        Ok(entries)
    }

    /// Waits until `holds` holds for what they say.
    pub async fn until(
        &self,
        what: &str,
        holds: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<BTreeMap<String, String>> {
        let look = async || {
            // In between two writes a key may be in two maps.
            let Ok(entries) = self.entries().await else { return Ok(None) };
            Ok(holds(&entries).then_some(entries))
        };
        let found = await_some(what, SOON, look).await;
        let found = match found {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        Err(found.context(format!("the maps are: {:#?}", self.entries().await)))
    }

    /// Waits until somebody writes them; who it is.
    pub async fn holder(&self) -> Result<String> {
        let held = async || {
            let lease = self.leases.get_opt(LEASE).await.context("failed to get the Lease")?;
            Ok(lease.and_then(|lease| lease.spec?.holder_identity).filter(|it| !it.is_empty()))
        };
        await_some("somebody keeps the coverage maps", SOON, held).await
    }

    /// Waits until the Lease of who writes them was renewed so many times: what there was to write is written by then.
    pub async fn renewals(&self, times: usize) -> Result<()> {
        let mut last = None;
        let mut seen = 0;
        let renewed = async || {
            let lease = self.leases.get(LEASE).await.context("failed to get the Lease")?;
            let version = lease.resource_version();
            if last != version {
                seen += usize::from(last.is_some());
                last = version;
            }
            Ok((seen >= times).then_some(()))
        };
        await_some("the Lease is renewed", SOON, renewed).await
    }

    /// Watches for writes from now on.
    pub async fn writes(&self) -> Result<Writes> {
        let list = self.api.list(&ListParams::default().labels(LABEL)).await?;
        let version = list.metadata.resource_version.context("a list without a version")?;
        let (api, seen) = (self.api.clone(), Arc::new(Mutex::new(Vec::new())));
        let into = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let mut version = version;
            loop {
                let params = WatchParams::default().labels(LABEL).timeout(290);
                let Ok(events) = api.watch(&params, &version).await else { continue };
                let mut events = events.boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    let (map, deleted) = match event {
                        WatchEvent::Added(map) | WatchEvent::Modified(map) => (map, false),
                        WatchEvent::Deleted(map) => (map, true),
                        WatchEvent::Bookmark(_) => continue,
                        WatchEvent::Error(_) => break,
                    };
                    version = map.resource_version().unwrap_or_default();
                    let write = Write::of(&map, deleted, Timestamp::now());
                    into.lock().unwrap_or_else(PoisonError::into_inner).push(write);
                }
            }
        });
        Ok(Writes { seen, watching })
    }
}

impl Write {
    /// That of which the watch has told at `told`.
    fn of(map: &ConfigMap, deleted: bool, told: Timestamp) -> Self {
        let times = map.managed_fields().iter().filter_map(|it| it.time.as_ref());
        let written = times.map(|time| time.0.as_second()).max().unwrap_or_default();
        Self {
            name: map.name_any(),
            second: if deleted { told.as_second() } else { written },
            version: map.resource_version().unwrap_or_default(),
            deleted,
        }
    }
}

impl Writes {
    /// Those so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Write> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many there were in the busiest second.
    #[must_use]
    pub fn busiest(&self) -> usize {
        busiest(&self.seen())
    }
}

fn busiest(writes: &[Write]) -> usize {
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for write in writes {
        *seconds.entry(write.second).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or_default()
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_a_write_of_the_second_that_tells_of_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let map = serde_json::from_value::<ConfigMap>(serde_json::json!({
            "metadata": {"name": "x", "managedFields": [{"time": "1970-01-01T00:00:07Z"}]},
        }));
        let map = map.unwrap();
        let write = |deleted, told| Write::of(&map, deleted, at(told));
        assert_eq!((write(false, 9).second, write(true, 9).second), (7, 9));
        assert_eq!(busiest(&[write(false, 9), write(true, 9), write(true, 9)]), 2);
        assert_eq!(busiest(&[]), 0);
    }
}

//! pure: the coverage maps as ConfigMaps.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{entries::Entries, ranges::Begins};
use crate::oci::Digest;

/// The label of coverage maps, by which policies find them.
pub const LABEL: &str = "multiarch.dev/coverage";
/// Its value.
pub const TRUE: &str = "true";
/// The annotation that says from which base key on a map has all keys.
pub const FROM: &str = "multiarch.dev/from";
/// … and before which one it ends; none where it is empty.
pub const TO: &str = "multiarch.dev/to";
/// The digest of range and data as an operator wrote them: what people edit has another one.
pub const SEAL: &str = "multiarch.dev/seal";
/// How the names of maps begin.
const NAME: &str = "multiarch-coverage-";
/// How many hex digits of a digest tell names apart.
const DIGITS: usize = 32;

/// One map as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its name, which follows from where it begins: two writers never make two maps of one range.
    pub name: String,
    /// The first base key of its range.
    pub from: String,
    /// The first base key behind it; none where it is empty.
    pub to: String,
    /// Keys and values.
    pub data: BTreeMap<String, String>,
}

/// The maps with `entries` that begin at `begins`.
#[must_use]
pub fn maps(begins: &Begins, entries: &Entries) -> Vec<Map> {
    let ends = begins.iter().skip(1).cloned().chain([String::new()]);
    let mut rest = entries.iter().peekable();
    let mut maps = Vec::new();
    for (from, to) in begins.iter().zip(ends) {
        let mut data = BTreeMap::new();
        while let Some((key, value)) =
            rest.next_if(|(key, _)| to.is_empty() || key.base() < to.as_str())
        {
            data.insert(key.to_string(), value.to_string());
        }
        maps.push(Map { name: name(from), from: from.clone(), to, data });
    }
    maps
}

/// The name of the map that begins at `from`.
fn name(from: &str) -> String {
    format!("{NAME}{}", &Digest::of(from.as_bytes()).encoded()[..DIGITS])
}

impl Map {
    fn seal(&self) -> String {
        seal(&self.from, &self.to, &self.data)
    }

    /// Whether `stored` is this map, as far as it is ours.
    #[must_use]
    pub fn is(&self, stored: &ConfigMap) -> bool {
        let empty = BTreeMap::new();
        stored.data.as_ref().unwrap_or(&empty) == &self.data
            && stored.binary_data.as_ref().is_none_or(BTreeMap::is_empty)
            && stored.immutable != Some(true)
            && range(stored) == Some((self.from.as_str(), self.to.as_str()))
            && annotation(stored, SEAL) == Some(&self.seal())
            && is_labelled(stored)
    }

    /// It as it is written over `stored`: what others have added to its labels and annotations stays.
    #[must_use]
    pub fn over(&self, stored: Option<&ConfigMap>, namespace: &str) -> ConfigMap {
        let of = stored.map(|stored| stored.metadata.clone()).unwrap_or_default();
        let mut annotations = of.annotations.unwrap_or_default();
        annotations.insert(FROM.into(), self.from.clone());
        annotations.insert(TO.into(), self.to.clone());
        annotations.insert(SEAL.into(), self.seal());
        let mut labels = of.labels.unwrap_or_default();
        labels.insert(LABEL.into(), TRUE.into());
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(namespace.to_owned()),
                uid: of.uid,
                resource_version: of.resource_version,
                owner_references: of.owner_references,
                finalizers: of.finalizers,
                annotations: Some(annotations),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            data: Some(self.data.clone()),
            ..ConfigMap::default()
        }
    }
}

/// The range of a stored map, where it says one.
#[must_use]
pub fn range(stored: &ConfigMap) -> Option<(&str, &str)> {
    Some((annotation(stored, FROM)?, annotation(stored, TO)?))
}

/// Where a stored map begins, if it is one of ours by name and not a copy.
#[must_use]
pub fn begin(stored: &ConfigMap) -> Option<&str> {
    let (from, _) = range(stored)?;
    (stored.metadata.name.as_deref() == Some(&name(from))).then_some(from)
}

/// Whether policies find it.
fn is_labelled(stored: &ConfigMap) -> bool {
    let labels = stored.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(LABEL)).is_some_and(|value| value == TRUE)
}

/// Whether it is as an operator wrote it.
#[must_use]
pub fn is_sealed(stored: &ConfigMap) -> bool {
    let empty = BTreeMap::new();
    let data = stored.data.as_ref().unwrap_or(&empty);
    let of = |(from, to)| annotation(stored, SEAL) == Some(&seal(from, to, data));
    range(stored).is_some_and(of)
}

/// What a stored map says; what is neither key nor value is nothing.
#[must_use]
pub fn entries(stored: &ConfigMap) -> Entries {
    let data = stored.data.iter().flatten();
    data.filter_map(|(key, value)| Some((key.parse().ok()?, value.parse().ok()?))).collect()
}

fn annotation<'a>(stored: &'a ConfigMap, name: &str) -> Option<&'a str> {
    stored.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn seal(from: &str, to: &str, data: &BTreeMap<String, String>) -> String {
    let mut text = format!("{from}\n{to}\n");
    for (key, value) in data {
        text.extend([key.as_str(), "\n", value, "\n"]);
    }
    Digest::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests;

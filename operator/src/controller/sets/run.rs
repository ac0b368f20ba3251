//! One run of a set: its list is read, what it lacks is applied, what it has no more is deleted, and its status says what there is.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Resource, ResourceExt, core::error_boundary::InvalidObject};
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{self, ConfigMapKeyRef, MultiArchImage, MultiArchImageSet, MultiArchImageSetStatus},
};

use super::{Desk, apply::Wanted, origin::Opened, status};
use crate::{
    controller::{MIN_INTERVAL, REQUESTED_AT, Watched, report},
    keychain::is_name,
    selector::Selector,
    set::{
        children::{self, Whose},
        lines::{self, Line, Route},
        status::{About, Seen, Unknown, What, next, suspended, unknown},
    },
};

/// Docker Hub, where nothing else is said.
const DOCKER_HUB: &str = "docker.io";
/// How often it is looked, at the least, whether what is in the way of a set is still there.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(30);

/// How a run ended.
pub(super) enum Ended {
    /// It is to be run again after so long.
    Again(Duration),
    /// It is to be run when it changes.
    OnChange,
}

/// Why a run did not come to its end: the API server did not do its part.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The ConfigMap could not be read.
    #[error("failed to read ConfigMap {name}: {source}")]
    List {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// An object could not be written.
    #[error("failed to {verb} {name}: {source}")]
    Write {
        /// `apply` or `delete`.
        verb: &'static str,
        /// The object's name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The status could not be written.
    #[error("failed to write the status: {source}")]
    Status {
        /// Why.
        #[source]
        source: kube::Error,
    },
}

/// What came of a run.
struct Settled {
    status: MultiArchImageSetStatus,
    /// Whether objects that are not the set's are in its way.
    others: bool,
    /// A write that the API server did not do.
    failed: Option<RunError>,
}

/// The objects that a set has, by name.
type Owned = BTreeMap<String, Arc<Watched>>;

impl Desk {
    /// Runs `set` once; `anew` where a person has edited it or asks for a run.
    pub(super) async fn run(&self, set: &MultiArchImageSet, anew: bool) -> Result<Ended, RunError> {
        let about = About {
            generation: set.metadata.generation,
            requested_at: set.annotations().get(REQUESTED_AT).cloned(),
            now: Timestamp::now(),
        };
        let previous = status(set);
        if set.spec.suspend {
            self.report(set, &previous, suspended(&previous, &about)).await?;
            return Ok(Ended::OnChange);
        }
        let interval = Duration::from(set.spec.interval).max(MIN_INTERVAL);
        let text = match self.list(set).await? {
            Ok(text) => text,
            Err(why) => {
                // What was applied stays, and counts as what it is: an absent list is no empty one.
                let all = self.of_namespace(set);
                let owned = all.iter().filter(|(_, it)| children::is_owned(it.meta(), set));
                let seen: Vec<_> = owned.map(|(name, it)| of_before(name, it)).collect();
                let next = if previous.counts.is_some() {
                    next(&previous, &about, &seen, 0, Some(&why))
                } else {
                    unknown(&previous, &about, &why)
                };
                self.report(set, &previous, next).await?;
                // Nor when a ConfigMap comes.
                return Ok(Ended::Again(interval.min(LOOK_AT_OTHERS)));
            }
        };
        let from = set.spec.from.as_ref().map_or_else(|| DOCKER_HUB.to_owned(), below);
        let route = Route {
            from: &from,
            to: &set.spec.to.registry,
            prefix: set.spec.to.prefix.as_deref().unwrap_or_default(),
            objects: true,
        };
        let lines = if let Some(text) = &text {
            lines::read(lines::of_text(text), route)
        } else {
            let inline = set.spec.images.iter().enumerate();
            lines::read(inline.map(|(at, line)| (at + 1, line.trim())), route)
        };
        if anew {
            self.forget_refusals(set);
        }
        let archives = self.open(set).await;
        let settled = self.settle(set, &previous, &about, &lines, &archives).await;
        self.report(set, &previous, settled.status).await?;
        if let Some(error) = settled.failed {
            return Err(error);
        }
        // Nobody tells when an object that is not the set's goes, nor when an archive may be read.
        let others = settled.others.then_some(LOOK_AT_OTHERS);
        let unread = archives.unread.and_then(|unread| unread.after);
        let sooner = others.into_iter().chain(unread).min();
        Ok(Ended::Again(sooner.map_or(interval, |sooner| sooner.min(interval))))
    }

    /// Applies what is lacking and deletes what is not in the list: the status then. No write that fails keeps another one from being made.
    async fn settle(
        &self,
        set: &MultiArchImageSet,
        previous: &MultiArchImageSetStatus,
        about: &About,
        lines: &[Line],
        archives: &Opened<'_>,
    ) -> Settled {
        let all = self.of_namespace(set);
        let keys: Vec<&str> = self.selector.iter().flat_map(Selector::keys).collect();
        let (mut wanted, mut applied) = (HashSet::new(), Vec::new());
        let mut what = Vec::with_capacity(lines.len());
        for line in lines {
            let image = match &line.image {
                Ok(image) => image,
                Err(error) => {
                    what.push(What::Invalid(error));
                    continue;
                }
            };
            let name = children::name(&set.name_any(), &image.target);
            wanted.insert(name.clone());
            let there = all.get(&name);
            match there.map(|object| children::whose(object.meta(), set)) {
                Some(Whose::Leaving) => {
                    what.push(What::Leaving { name });
                    continue;
                }
                Some(Whose::Others) => {
                    let message = format!(
                        "the MultiArchImage {name} is not this set's: delete it, or take the line out of the list"
                    );
                    what.push(What::Refused { reason: Reason::NotOwned, message });
                    continue;
                }
                Some(Whose::Its) | None => {}
            }
            // One that does not deserialise is written anew as it should be.
            let object = there.and_then(|object| object.0.as_ref().ok());
            if let Some(unread) = &archives.unread {
                what.push(left_alone(name, object, &unread.why));
                continue;
            }
            let origin = match archives.origin(set, image) {
                Ok(origin) => origin,
                Err(message) => {
                    let reason = Reason::WaitingForPlatforms;
                    what.push(What::Waits { reason, message });
                    continue;
                }
            };
            let desired = children::object(set, image, &origin, &keys);
            if object.is_none_or(|object| !children::is_as_applied(&desired, object)) {
                let uid = there.and_then(|object| object.uid());
                applied.push(Wanted { at: what.len(), name: name.clone(), uid, object: desired });
            }
            what.push(as_it_is(name, object));
        }
        let (answers, not_applied) = self.apply_all(set, applied).await;
        for (at, answer) in answers {
            what[at] = answer;
        }
        let owned = all.iter().filter(|(name, object)| {
            !wanted.contains(*name) && children::is_owned(object.meta(), set)
        });
        let gone: Vec<_> = owned.map(|(_, object)| Arc::clone(object)).collect();
        let not_deleted = self.delete_all(set, &gone).await;
        let refused =
            |what: &What<'_>| matches!(what, What::Refused { reason: Reason::NotOwned, .. });
        let others = what.iter().any(refused);
        let seen = lines.iter().zip(what);
        let seen: Vec<_> = seen.map(|(line, what)| Seen { text: &line.text, what }).collect();
        let unread = archives.unread.as_ref().map(|unread| &unread.why);
        let status = next(previous, about, &seen, gone.len(), unread);
        Settled { status, others, failed: not_applied.or(not_deleted) }
    }

    /// The objects in the namespace of `set`.
    fn of_namespace(&self, set: &MultiArchImageSet) -> Owned {
        let namespace = set.namespace();
        let all = self.objects.store.state().into_iter();
        let here = all.filter(|object| object.namespace() == namespace);
        here.map(|object| (object.name_any(), object)).collect()
    }

    /// The text of the ConfigMap that `set` names; `None` where its list is its own.
    async fn list(
        &self,
        set: &MultiArchImageSet,
    ) -> Result<Result<Option<String>, Unknown>, RunError> {
        let Some(from) = &set.spec.images_from else { return Ok(Ok(None)) };
        let ConfigMapKeyRef { name, key } = &from.config_map_key_ref;
        let namespace = set.namespace().unwrap_or_default();
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &namespace);
        let absent = |message: String| {
            Ok(Err(Unknown { reason: Reason::ListNotFound, message, stalled: false }))
        };
        // What is no name would become another path, which may lead out of the namespace.
        let found = if is_name(name) { api.get_opt(name).await } else { Ok(None) };
        let map = match found {
            Ok(Some(map)) => map,
            Ok(None) => {
                return absent(format!(
                    "ConfigMap {name} is not in this namespace: create it with the key {key}"
                ));
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                return absent(format!(
                    "the operator has no right to read ConfigMap {name} of this namespace: ask its admin for a RoleBinding here that lets it `get` configmaps"
                ));
            }
            Err(source) => return Err(RunError::List { name: name.clone(), source }),
        };
        match text(map, name, key) {
            Ok(text) => Ok(Ok(Some(text))),
            Err(message) => absent(message),
        }
    }

    /// Says of a set that does not deserialise that it does not.
    pub(super) async fn report_invalid(&self, invalid: &InvalidObject) -> Result<Ended, RunError> {
        let message = report::misfit(invalid, "mais");
        let why = Unknown { reason: Reason::InvalidSpec, message, stalled: true };
        let about = About {
            generation: invalid.metadata.generation,
            requested_at: None,
            now: Timestamp::now(),
        };
        self.report_of(&invalid.metadata, |previous| unknown(previous, &about, &why)).await?;
        Ok(Ended::OnChange)
    }
}

/// What the names of images begin with, of those that come from `from`.
fn below(from: &v1alpha1::From) -> String {
    let prefix = from.prefix.as_deref();
    prefix.map_or_else(|| from.registry.clone(), |prefix| format!("{}/{prefix}", from.registry))
}

/// `object` of that name, if it is there.
fn as_it_is(name: String, object: Option<&MultiArchImage>) -> What<'_> {
    let generation = object.and_then(|object| object.metadata.generation);
    let status = object.and_then(|object| object.status.as_ref()).map(Cow::Borrowed);
    What::Object { name, generation, status }
}

/// An object of a list that is not known now.
fn of_before<'a>(name: &str, object: &'a Watched) -> Seen<'a> {
    let object = object.0.as_ref().ok();
    let text = object.map_or("", |object| &object.spec.target.image);
    Seen { text, what: as_it_is(name.to_owned(), object) }
}

/// A line of which nobody knows where it comes from, for `why`: what it has stays.
fn left_alone<'a>(name: String, object: Option<&'a MultiArchImage>, why: &Unknown) -> What<'a> {
    if object.is_some() {
        return as_it_is(name, object);
    }
    let (reason, message) = (why.reason, why.message.clone());
    if why.stalled { What::Refused { reason, message } } else { What::Waits { reason, message } }
}

/// The text that `map`, which is called `name`, has at `key`; else why there is none.
fn text(map: ConfigMap, name: &str, key: &str) -> Result<String, String> {
    let is_binary = map.binary_data.is_some_and(|data| data.contains_key(key));
    map.data.and_then(|mut data| data.remove(key)).ok_or_else(|| {
        if is_binary {
            format!(
                "ConfigMap {name} has the key {key} below binaryData: it must be text, below data (kubectl puts a file there that is not UTF-8)"
            )
        } else {
            format!("ConfigMap {name} has no key {key}: add it, with one image on each line")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_text() {
        let map = json!({"data": {"a": "x:1"}, "binaryData": {"b": "/w=="}});
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        let of = |key| text(map.clone(), "images", key);
        assert_eq!(of("a").unwrap(), "x:1");
        let binary = of("b").unwrap_err();
        assert!(binary.contains("it must be text, below data"), "{binary}");
        let absent = of("c").unwrap_err();
        assert!(absent.contains("has no key c: add it"), "{absent}");
    }
}

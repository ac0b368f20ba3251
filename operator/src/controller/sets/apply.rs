//! What a run of a set writes: objects, and its status.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    runtime::events::EventType,
};
use multiarch_crds::{
    condition::{self, Reason, Type},
    v1alpha1::{MultiArchImage, MultiArchImageSet, MultiArchImageSetStatus},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Desk, run::RunError};
use crate::{
    backoff::SHORTEST,
    controller::{
        MIN_INTERVAL, Watched, lock,
        report::{self, MANAGER, Written},
    },
    events::Told,
    set::{children, status::What},
};

/// How many objects are written at once.
const AT_ONCE: usize = 8;
/// How many objects an Event names.
const NAMED: usize = 10;
/// What the API server answers where the object itself is the trouble, or a quota, a policy or a right.
const REFUSALS: [u16; 4] = [400, 403, 413, 422];

/// An object that is to be as a set says.
pub(super) struct Wanted {
    /// The place of its line in the list.
    pub(super) at: usize,
    pub(super) name: String,
    /// The uid of the one that is there.
    pub(super) uid: Option<String>,
    pub(super) object: Value,
}

/// That the API server takes an object not.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The annotations of what was to be applied, which tell it from all others.
    applied: Value,
    message: String,
    at: Instant,
}

/// What came of an object that was applied, by the place of its line, and the first write that failed for no fault of the object's.
type Applied = (Vec<(usize, What<'static>)>, Option<RunError>);

impl Desk {
    /// Applies each of `objects`. What the API server refuses hurts only itself, and is not asked again before the interval is over.
    pub(super) async fn apply_all(&self, set: &MultiArchImageSet, objects: Vec<Wanted>) -> Applied {
        let failures = AtomicUsize::new(0);
        let writes = objects.into_iter().map(|wanted| async {
            let at = wanted.at;
            if let Some(refused) = self.refused(set, &wanted) {
                return (at, Ok(refused));
            }
            // It has trouble of its own, and is asked again as a whole.
            if failures.load(Ordering::Relaxed) >= AT_ONCE {
                let name = wanted.name;
                return (at, Ok(What::Object { name, generation: None, status: None }));
            }
            let answer = self.apply(set, wanted).await;
            if answer.is_err() {
                failures.fetch_add(1, Ordering::Relaxed);
            }
            (at, answer)
        });
        let writes: Vec<_> = writes.collect();
        let answers: Vec<_> = stream::iter(writes).buffered(AT_ONCE).collect().await;
        let (mut became, mut failed) = (Vec::with_capacity(answers.len()), None);
        for (at, answer) in answers {
            match answer {
                Ok(what) => became.push((at, what)),
                Err((name, source)) => {
                    let verb = "apply";
                    became.push((
                        at,
                        What::Object { name: name.clone(), generation: None, status: None },
                    ));
                    failed = failed.or(Some(RunError::Write { verb, name, source }));
                }
            }
        }
        (became, failed)
    }

    async fn apply(
        &self,
        set: &MultiArchImageSet,
        wanted: Wanted,
    ) -> Result<What<'static>, (String, kube::Error)> {
        let Wanted { name, uid, mut object, .. } = wanted;
        let namespace = set.namespace().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(
            self.client.clone(),
            &namespace,
            &ApiResource::erase::<MultiArchImage>(&()),
        );
        if let Some(uid) = uid {
            // Another one of that name is not the set's.
            object["metadata"]["uid"] = uid.into();
        }
        let written = async {
            let params = PatchParams::apply(MANAGER).force();
            let live = api.patch(&name, &params, &Patch::Apply(&object)).await?;
            let Some(patch) = alone(&object, &live) else { return Ok(live) };
            let params =
                PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            api.patch(&name, &params, &Patch::Merge(patch)).await
        };
        match self.term.fence().during(written).await {
            Ok(live) => {
                info!(namespace, name, "applied a MultiArchImage of a set");
                let status = live.data.get("status").cloned().unwrap_or_default();
                let status = serde_json::from_value(status).ok().map(Cow::Owned);
                Ok(What::Object { name, generation: live.metadata.generation, status })
            }
            // The set says so, and the sentence is the API's own.
            Err(kube::Error::Api(status)) if REFUSALS.contains(&status.code) => {
                let message = status.message.clone();
                warn!(namespace, name, message, "the API server refuses a MultiArchImage of a set");
                let applied = object["metadata"]["annotations"].take();
                self.remember_refusal(set, &name, applied, &message);
                Ok(What::Refused { reason: Reason::ObjectRefused, message })
            }
            // Another one has the name by now, of which the watch tells.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(What::Leaving { name }),
            Err(source) => Err((name, source)),
        }
    }

    /// What was said when this was tried before, where that is not long ago.
    fn refused(&self, set: &MultiArchImageSet, wanted: &Wanted) -> Option<What<'static>> {
        let mut memory = lock(&self.memory);
        let of_set = memory.get_mut(set.metadata.uid.as_deref().unwrap_or_default())?;
        let refusal = of_set.refused.get(&wanted.name)?;
        // The next run may come that much earlier.
        let interval = Duration::from(set.spec.interval).max(MIN_INTERVAL).mul_f64(SHORTEST);
        let same = refusal.applied == wanted.object["metadata"]["annotations"];
        if same && refusal.at.elapsed() < interval {
            let message = refusal.message.clone();
            return Some(What::Refused { reason: Reason::ObjectRefused, message });
        }
        of_set.refused.remove(&wanted.name);
        None
    }

    fn remember_refusal(&self, set: &MultiArchImageSet, name: &str, applied: Value, message: &str) {
        let refusal = Refusal { applied, message: message.to_owned(), at: Instant::now() };
        let mut memory = lock(&self.memory);
        let of_set = memory.entry(set.uid().unwrap_or_default()).or_default();
        of_set.refused.insert(name.to_owned(), refusal);
    }

    /// Whoever asks is given a new answer.
    pub(super) fn forget_refusals(&self, set: &MultiArchImageSet) {
        if let Some(of_set) = lock(&self.memory).get_mut(&set.uid().unwrap_or_default()) {
            of_set.refused.clear();
        }
    }

    /// Deletes `objects` of `set`, those that are being deleted already apart: the first that failed.
    pub(super) async fn delete_all(
        &self,
        set: &MultiArchImageSet,
        objects: &[Arc<Watched>],
    ) -> Option<RunError> {
        let there = objects.iter().filter(|it| it.meta().deletion_timestamp.is_none());
        let deletes: Vec<_> = there.map(|object| self.delete(object)).collect();
        let answers: Vec<_> = stream::iter(deletes).buffered(AT_ONCE).collect().await;
        let (mut gone, mut failed) = (Vec::new(), None);
        for answer in answers {
            match answer {
                Ok(name) => gone.extend(name),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if !gone.is_empty() {
            self.tell_pruned(set, &gone).await;
        }
        failed
    }

    async fn tell_pruned(&self, set: &MultiArchImageSet, gone: &[String]) {
        let mut named = gone.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        if let Some(more) = gone.len().checked_sub(NAMED).filter(|more| *more > 0) {
            named = format!("{named} and {more} more");
        }
        let note = format!("deleted what the list has no more: {named}");
        let (type_, action) = (EventType::Normal, "Prune");
        let told = Told { type_, reason: "Pruned", action, note, digest: None };
        report::publish(&self.client, told, &set.object_ref(&())).await;
    }

    /// The name of the one that was deleted; `None` where something else did that.
    async fn delete(&self, object: &Watched) -> Result<Option<String>, RunError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api = Api::<MultiArchImage>::namespaced(self.client.clone(), &namespace);
        let uid = object.meta().uid.clone();
        let params = DeleteParams::default()
            .preconditions(Preconditions { uid, ..Preconditions::default() });
        // Not its answer: the object may not deserialise.
        match self.term.fence().during(api.delete(&name, &params)).await {
            Ok(_) => {
                info!(namespace, name, "deleted a MultiArchImage that its set lists no more");
                Ok(Some(name))
            }
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(None)
            }
            Err(source) => Err(RunError::Write { verb: "delete", name, source }),
        }
    }

    /// Writes `next` where it is not `previous`, and tells of it.
    pub(super) async fn report(
        &self,
        set: &MultiArchImageSet,
        previous: &MultiArchImageSetStatus,
        next: MultiArchImageSetStatus,
    ) -> Result<(), RunError> {
        if next == *previous {
            return Ok(());
        }
        if self.write(&set.metadata, &next).await? {
            self.tell(set, previous, &next).await;
        }
        Ok(())
    }

    /// The same for a set that cannot be read but for `meta`: its status is read first.
    pub(super) async fn report_of(
        &self,
        meta: &ObjectMeta,
        next: impl FnOnce(&MultiArchImageSetStatus) -> MultiArchImageSetStatus,
    ) -> Result<(), RunError> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let resource = ApiResource::erase::<MultiArchImageSet>(&());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        let live = api.get_opt(meta.name.as_deref().unwrap_or_default()).await;
        let Some(live) = live.map_err(|source| RunError::Status { source })? else { return Ok(()) };
        let status = live.data.get("status").cloned().unwrap_or_default();
        let previous = serde_json::from_value(status).unwrap_or_default();
        let next = next(&previous);
        if next != previous {
            self.write(&live.metadata, &next).await?;
        }
        Ok(())
    }

    /// Writes `status` over the version in `meta`: whether it was that one.
    async fn write(
        &self,
        meta: &ObjectMeta,
        status: &MultiArchImageSetStatus,
    ) -> Result<bool, RunError> {
        let mut status = status.clone();
        report::keep_ours(&mut status.conditions);
        let version = meta.resource_version.as_deref();
        let write = report::apply_status::<MultiArchImageSet>(&self.client, meta, version, &status);
        let written = self.term.fence().during(write).await;
        // Where it is gone, or another one by now, the watch tells of that.
        let written = written.map_err(|source| RunError::Status { source })?;
        Ok(matches!(written, Written::At(_)))
    }

    /// Tells of another status or reason of Ready.
    async fn tell(
        &self,
        set: &MultiArchImageSet,
        previous: &MultiArchImageSetStatus,
        next: &MultiArchImageSetStatus,
    ) {
        let ready = |status: &MultiArchImageSetStatus| {
            let ready = condition::get(&status.conditions, Type::Ready)?;
            Some((ready.status.clone(), ready.reason.parse::<Reason>().ok()?))
        };
        let (was, now) = (ready(previous), ready(next));
        let Some((status, is)) = now.clone().filter(|_| was != now) else { return };
        let (namespace, name) = (set.namespace().unwrap_or_default(), set.name_any());
        let ready = condition::get(&next.conditions, Type::Ready);
        let note = ready.map(|ready| ready.message.clone()).unwrap_or_default();
        // Who suspends one knows what it is.
        let fine = status != "False" || is == Reason::Suspended;
        if fine {
            info!(namespace, name, reason = %is, why = note, "the status of a set has changed");
        } else {
            warn!(namespace, name, reason = %is, why = note, "a set is not ready");
        }
        let type_ = if fine { EventType::Normal } else { EventType::Warning };
        let told = Told { type_, reason: is.as_str(), action: "Reconcile", note, digest: None };
        report::publish(&self.client, told, &set.object_ref(&())).await;
    }
}

/// What makes the lists of `live` those of `object`, which was applied to it: an apply leaves in them what others have put there.
fn alone(object: &Value, live: &DynamicObject) -> Option<Value> {
    let of_kind = live.clone().try_parse::<MultiArchImage>().ok()?;
    let differs = !children::is_as_applied(object, &of_kind);
    differs.then(|| {
        json!({
            "metadata": {"resourceVersion": live.metadata.resource_version},
            "spec": object["spec"],
        })
    })
}

//! Writes status by server-side apply, and publishes the Events that go with it.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::error_boundary::InvalidObject,
    runtime::events::EventType,
};
use multiarch_crds::{
    condition::{Reason, Type},
    v1alpha1::{MultiArchImage, MultiArchImageStatus},
};
use serde::Serialize;
use serde_json::json;
use tracing::{info, warn};

use super::session::Known;
use crate::{
    error::{Consequence, Failure, Retry, Stalled},
    events::{self, Told},
    nodes::View,
    oci::printable,
    reconcile::status::{self, About, Outcome, Run},
};

/// The one field manager, and the reporter of Events.
pub(crate) const MANAGER: &str = "multiarch-operator";

/// How often a status is written over an object that others change all the time, but not its status.
const TRIES: usize = 4;

/// What became of a status.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was written; the object's version after it.
    At(Option<String>),
    /// The object is deleted, or is another one of the same name.
    Gone,
    /// Something else has written the status since, most likely another leader: nothing was written.
    Stale,
}

/// Writes what came of runs.
pub(super) struct Reporter {
    client: Client,
    resource: ApiResource,
}

impl Reporter {
    pub(super) fn new(client: Client) -> Self {
        Self { client, resource: ApiResource::erase::<MultiArchImage>(&()) }
    }

    /// Writes `next` over the status in `known`, and over no other one.
    pub(super) async fn write(
        &self,
        object: &MultiArchImage,
        known: &Known,
        next: &MultiArchImageStatus,
    ) -> Result<Written, kube::Error> {
        let meta = &object.metadata;
        let mut version = known.version.clone();
        for _ in 0..TRIES {
            let written = self.apply(meta, version.as_deref(), next).await?;
            if written != Written::Stale {
                return Ok(written);
            }
            let api = self.api(meta.namespace.as_deref().unwrap_or_default());
            let live = api.get_opt(meta.name.as_deref().unwrap_or_default()).await?;
            let Some(live) = live.filter(|live| live.metadata.uid == meta.uid) else {
                return Ok(Written::Gone);
            };
            // Anybody may edit the spec, or a label.
            if !status_of(&live).is_some_and(|status| status::is_same(&status, &known.status)) {
                break;
            }
            version = live.metadata.resource_version;
        }
        Ok(Written::Stale)
    }

    /// Tells what happened between `previous` and `next`.
    pub(super) async fn tell(
        &self,
        object: &MultiArchImage,
        previous: &MultiArchImageStatus,
        next: &MultiArchImageStatus,
        run: &Run,
    ) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        log(&namespace, &name, previous, next, run);
        let about = object.object_ref(&());
        for told in events::between(previous, next, run) {
            self.publish(told, &about).await;
        }
    }

    /// Reports an object that does not deserialise, while `nodes` are known.
    pub(super) async fn report_invalid(
        &self,
        invalid: &InvalidObject,
        nodes: View,
    ) -> Result<Written, kube::Error> {
        let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
        let name = invalid.metadata.name.clone().unwrap_or_default();
        let Some(object) = self.api(&namespace).get_opt(&name).await? else {
            return Ok(Written::Gone);
        };
        // A status that does not deserialise either is written anew.
        let previous = status_of(&object).unwrap_or_default();
        let consequence = Consequence {
            reason: Reason::InvalidSpec,
            stalled: Stalled::Now,
            retry: Retry::Interval,
        };
        let message = misfit(invalid, "mai");
        let about = About {
            generation: object.metadata.generation,
            requested_at: previous.last_handled_reconcile_at.clone(),
            failures: 0,
            repository: None,
            nodes,
            now: Timestamp::now(),
        };
        let outcome = Outcome::Held(Failure { consequence, message });
        let run = Run::without_answers(outcome);
        let next = status::next(&previous, &about, &run);
        let version = object.metadata.resource_version.as_deref();
        if next == previous {
            return Ok(Written::At(object.metadata.resource_version));
        }
        let written = self.apply(&object.metadata, version, &next).await?;
        if !matches!(written, Written::At(_)) {
            return Ok(written);
        }
        log(&namespace, &name, &previous, &next, &run);
        for told in events::between(&previous, &next, &run) {
            self.publish(told, &object.object_ref(&self.resource)).await;
        }
        Ok(written)
    }

    /// Applies `status` to the object of `meta`, if that is at `version`.
    async fn apply(
        &self,
        meta: &ObjectMeta,
        version: Option<&str>,
        status: &MultiArchImageStatus,
    ) -> Result<Written, kube::Error> {
        let mut status = status.clone();
        keep_ours(&mut status.conditions);
        apply_status::<MultiArchImage>(&self.client, meta, version, &status).await
    }

    /// Publishes an Event.
    pub(super) async fn publish(&self, told: Told, about: &ObjectReference) {
        publish(&self.client, told, about).await;
    }

    pub(super) fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &self.resource)
    }
}

/// Leaves of `conditions` the operator's: those that others set are theirs to keep.
pub(super) fn keep_ours(conditions: &mut Vec<Condition>) {
    conditions.retain(|condition| condition.type_.parse::<Type>().is_ok());
}

/// Applies `status` to the object of `meta`, if that is at `version`.
pub(super) async fn apply_status<K: Resource<DynamicType = ()>>(
    client: &Client,
    meta: &ObjectMeta,
    version: Option<&str>,
    status: &impl Serialize,
) -> Result<Written, kube::Error> {
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let mut patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": meta.uid},
        "status": status,
    });
    if let Some(version) = version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    let params = PatchParams::apply(MANAGER).force();
    let resource = ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    match api.patch_status(name, &params, &Patch::Apply(patch)).await {
        Ok(object) => Ok(Written::At(object.resource_version())),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Written::Gone),
        // Another version, or another object of the same name: forced, an apply has no other conflict.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Written::Stale),
        Err(error) => Err(error),
    }
}

/// What is said of an object that does not deserialise, of the kind that kubectl calls `kind`.
pub(super) fn misfit(invalid: &InvalidObject, kind: &str) -> String {
    // It quotes the spec, which may hold what a terminal obeys.
    let why = printable(&invalid.error);
    format!(
        "the object does not fit the API of this operator's version ({why}): compare it with `kubectl explain {kind}`, and the CRD with the operator's version"
    )
}

/// An Event that cannot be told changes nothing: the status says the same, or a metric.
///
/// Not by kube's recorder, which has no annotations, and takes a second Event of the same reason
/// for the first one again, whatever its note says.
pub(crate) async fn publish(client: &Client, told: Told, about: &ObjectReference) {
    let namespace = about.namespace.clone().unwrap_or_default();
    let reason = told.reason;
    let event = event(told, about, Timestamp::now());
    let events = Api::<Event>::namespaced(client.clone(), &namespace);
    if let Err(error) = events.create(&PostParams::default(), &event).await {
        warn!(%error, reason, "failed to publish an Event");
    }
}

/// `told` of the object `about`, as the API server takes it.
fn event(told: Told, about: &ObjectReference, now: Timestamp) -> Event {
    let name = about.name.as_deref().unwrap_or_default();
    let annotations = told.digest.map(|digest| (events::DIGEST.to_owned(), digest));
    Event {
        metadata: ObjectMeta {
            namespace: about.namespace.clone(),
            // As kubectl and client-go make them: of one object many, and in the order of time.
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            annotations: annotations.map(|annotation| [annotation].into()),
            ..ObjectMeta::default()
        },
        type_: Some(
            match told.type_ {
                EventType::Normal => "Normal",
                EventType::Warning => "Warning",
            }
            .into(),
        ),
        reason: Some(told.reason.into()),
        action: Some(told.action.into()),
        note: Some(told.note),
        event_time: Some(MicroTime(now)),
        regarding: Some(about.clone()),
        reporting_controller: Some(MANAGER.into()),
        reporting_instance: Some(MANAGER.into()),
        ..Event::default()
    }
}

/// The status of `object`; `None` where it does not deserialise.
pub(super) fn status_of(object: &DynamicObject) -> Option<MultiArchImageStatus> {
    match object.data.get("status") {
        None => Some(MultiArchImageStatus::default()),
        Some(status) => serde_json::from_value(status.clone()).ok(),
    }
}

fn log(
    namespace: &str,
    name: &str,
    previous: &MultiArchImageStatus,
    next: &MultiArchImageStatus,
    run: &Run,
) {
    let (was, reason) = (status::ready_reason(previous), status::ready_reason(next));
    for image in &run.repaired {
        info!(namespace, name, %image, "put back an image that was gone");
    }
    for drift in &run.drifts {
        info!(namespace, name, drift, "put a tag back");
    }
    let served = matches!(run.outcome, Outcome::Served { .. });
    if served && (run.pushed || was == Some(Reason::ReadingBack)) {
        let reference = next.reference.as_deref().unwrap_or_default();
        info!(namespace, name, reference, "published index");
    }
    if was != reason {
        let ready = multiarch_crds::condition::get(&next.conditions, Type::Ready);
        let message = ready.map(|ready| ready.message.as_str()).unwrap_or_default();
        let reason = reason.map(Reason::as_str).unwrap_or_default();
        if ready.is_some_and(|ready| ready.status == "False") {
            warn!(namespace, name, reason, why = message, "not ready");
        } else {
            info!(namespace, name, reason, why = message, "ready changed");
        }
    }
}

//! Writes status by server-side apply, and publishes the Events that go with it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::error_boundary::InvalidObject,
    runtime::events::{Event, Recorder},
};
use multiarch_crds::{
    condition::{Reason, Type},
    v1alpha1::{MultiArchImage, MultiArchImageStatus},
};
use serde_json::json;
use tracing::{info, warn};

use crate::{
    error::{Consequence, Failure, Retry, Stalled},
    events,
    reconcile::status::{self, About, Outcome, Run},
};

/// The one field manager, and the reporter of Events.
const MANAGER: &str = "multiarch-operator";

/// Writes what came of runs.
pub(super) struct Reporter {
    client: Client,
    resource: ApiResource,
}

impl Reporter {
    pub(super) fn new(client: Client) -> Self {
        Self { client, resource: ApiResource::erase::<MultiArchImage>(&()) }
    }

    /// Writes `next`; the object's version after it.
    pub(super) async fn write(
        &self,
        object: &MultiArchImage,
        next: &MultiArchImageStatus,
    ) -> Result<Option<String>, kube::Error> {
        self.apply(&object.metadata, next).await
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
        for event in events::between(previous, next, run) {
            self.publish(&event, &about).await;
        }
    }

    /// Reports an object that does not deserialise.
    pub(super) async fn report_invalid(&self, invalid: &InvalidObject) -> Result<(), kube::Error> {
        let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
        let name = invalid.metadata.name.clone().unwrap_or_default();
        let Some(object) = self.api(&namespace).get_opt(&name).await? else { return Ok(()) };
        let previous = object.data.get("status").cloned().unwrap_or_default();
        // A status that does not deserialise either is written anew.
        let previous: MultiArchImageStatus = serde_json::from_value(previous).unwrap_or_default();
        let consequence = Consequence {
            reason: Reason::InvalidSpec,
            stalled: Stalled::Now,
            retry: Retry::Interval,
        };
        // It quotes the spec, which may hold what a terminal obeys.
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let why: String = invalid.error.chars().map(shown).collect();
        let message = format!(
            "the object does not fit the API of this operator's version ({why}): compare it with `kubectl explain mai`, and the CRD with the operator's version"
        );
        let about = About {
            generation: object.metadata.generation,
            requested_at: previous.last_handled_reconcile_at.clone(),
            failures: 0,
            now: Timestamp::now(),
        };
        let outcome = Outcome::Held(Failure { consequence, message });
        let run = Run::without_answers(outcome);
        let next = status::next(&previous, &about, &run);
        if next == previous {
            return Ok(());
        }
        log(&namespace, &name, &previous, &next, &run);
        self.apply(&object.metadata, &next).await?;
        for event in events::between(&previous, &next, &run) {
            self.publish(&event, &object.object_ref(&self.resource)).await;
        }
        Ok(())
    }

    async fn apply(
        &self,
        meta: &ObjectMeta,
        status: &MultiArchImageStatus,
    ) -> Result<Option<String>, kube::Error> {
        let name = meta.name.as_deref().unwrap_or_default();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let mut status = status.clone();
        // Conditions that others set are theirs to keep.
        status.conditions.retain(|condition| condition.type_.parse::<Type>().is_ok());
        let patch = json!({
            "apiVersion": MultiArchImage::api_version(&()),
            "kind": MultiArchImage::kind(&()),
            "metadata": {"name": name, "uid": meta.uid},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let object = self.api(namespace).patch_status(name, &params, &Patch::Apply(patch)).await;
        match object {
            Ok(object) => Ok(object.resource_version()),
            // Deleted while it was worked on, or replaced by another one of the same name: forced, an
            // apply has no other conflict.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// An Event that cannot be told changes nothing: the status says the same.
    ///
    /// With a recorder of its own: one that is kept takes a second Event of the same reason for the
    /// first one again, whatever its note says.
    pub(super) async fn publish(
        &self,
        event: &Event,
        about: &k8s_openapi::api::core::v1::ObjectReference,
    ) {
        let recorder = Recorder::new(self.client.clone(), MANAGER.into());
        if let Err(error) = recorder.publish(event, about).await {
            warn!(%error, reason = event.reason, "failed to publish an Event");
        }
    }

    pub(super) fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &self.resource)
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

//! What a run of a set writes: objects, and its status.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
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
use tracing::{info, warn};

use super::{Desk, run::RunError};
use crate::{
    controller::{Watched, report},
    events::Told,
    set::status::What,
};

/// The one field manager.
const MANAGER: &str = "multiarch-operator";
/// How many objects are written at once.
const AT_ONCE: usize = 8;

impl Desk {
    /// Applies each of `objects`; those that the API server refuses for what they say, by their place in the list.
    pub(super) async fn apply_all(
        &self,
        objects: Vec<(usize, String, Value)>,
    ) -> Result<Vec<(usize, What<'static>)>, RunError> {
        let writes = objects.into_iter().map(|(at, name, object)| async move {
            let refused = self.apply(&name, &object).await?;
            Ok(refused.map(|refused| (at, refused)))
        });
        let writes: Vec<_> = writes.collect();
        let refused: Vec<_> = stream::iter(writes).buffered(AT_ONCE).try_collect().await?;
        Ok(refused.into_iter().flatten().collect())
    }

    async fn apply(&self, name: &str, object: &Value) -> Result<Option<What<'static>>, RunError> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(
            self.client.clone(),
            namespace,
            &ApiResource::erase::<MultiArchImage>(&()),
        );
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(object);
        match self.term.fence().during(api.patch(name, &params, &patch)).await {
            Ok(_) => {
                info!(namespace, name, "applied a MultiArchImage of a set");
                Ok(None)
            }
            Err(kube::Error::Api(status)) if status.code == 422 || status.code == 400 => {
                // The set says so, and the sentence is the API's own.
                let message = status.message.clone();
                Ok(Some(What::Refused { reason: Reason::InvalidSpec, message }))
            }
            Err(source) => Err(RunError::Write { verb: "apply", name: name.to_owned(), source }),
        }
    }

    /// Deletes `objects`, those that are being deleted already apart.
    pub(super) async fn delete_all(&self, objects: &[Arc<Watched>]) -> Result<(), RunError> {
        let there = objects.iter().filter(|it| it.meta().deletion_timestamp.is_none());
        let deletes: Vec<_> = there.map(|object| self.delete(object)).collect();
        stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn delete(&self, object: &Watched) -> Result<(), RunError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api = Api::<MultiArchImage>::namespaced(self.client.clone(), &namespace);
        let uid = object.meta().uid.clone();
        let params = DeleteParams::default()
            .preconditions(Preconditions { uid, ..Preconditions::default() });
        // Not its answer: the object may not deserialise.
        match self.term.fence().during(api.delete(&name, &params)).await {
            Ok(_) => info!(namespace, name, "deleted a MultiArchImage that its set lists no more"),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(RunError::Write { verb: "delete", name, source }),
        }
        Ok(())
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
        let api = self.api(meta.namespace.as_deref().unwrap_or_default());
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
        let name = meta.name.as_deref().unwrap_or_default();
        let mut status = status.clone();
        // Conditions that others set are theirs to keep.
        status.conditions.retain(|condition| condition.type_.parse::<Type>().is_ok());
        let patch = json!({
            "apiVersion": MultiArchImageSet::api_version(&()),
            "kind": MultiArchImageSet::kind(&()),
            "metadata": {"name": name, "uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": status,
        });
        let api = self.api(meta.namespace.as_deref().unwrap_or_default());
        let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(patch));
        match self.term.fence().during(api.patch_status(name, &params, &patch)).await {
            Ok(_) => Ok(true),
            // It is gone, or another one by now, of which the watch tells.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(false)
            }
            Err(source) => Err(RunError::Status { source }),
        }
    }

    /// Tells of another reason of Ready.
    async fn tell(
        &self,
        set: &MultiArchImageSet,
        previous: &MultiArchImageSetStatus,
        next: &MultiArchImageSetStatus,
    ) {
        let reason = |status: &MultiArchImageSetStatus| {
            let ready = condition::get(&status.conditions, Type::Ready)?;
            ready.reason.parse::<Reason>().ok()
        };
        let (was, is) = (reason(previous), reason(next));
        let Some(is) = is.filter(|_| was != is) else { return };
        let (namespace, name) = (set.namespace().unwrap_or_default(), set.name_any());
        let ready = condition::get(&next.conditions, Type::Ready);
        let note = ready.map(|ready| ready.message.clone()).unwrap_or_default();
        let fine = ready.is_none_or(|ready| ready.status != "False");
        if fine {
            info!(namespace, name, reason = %is, why = note, "a set is another one");
        } else {
            warn!(namespace, name, reason = %is, why = note, "a set is not ready");
        }
        let type_ = if fine { EventType::Normal } else { EventType::Warning };
        let told = Told { type_, reason: is.as_str(), action: "Reconcile", note, digest: None };
        report::publish(&self.client, told, &set.object_ref(&())).await;
    }

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<MultiArchImageSet>(&());
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}

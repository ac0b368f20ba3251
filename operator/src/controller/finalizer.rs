//! Sets the finalizer of objects whose tags go with them, and lets them go when that is done.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Namespace, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    runtime::{controller::Action, events::EventType},
};
use multiarch_crds::v1alpha1::{DeletionPolicy, MultiArchImage};
use serde_json::json;
use tracing::{info, warn};

use super::{Context, ControllerError, display, report};
use crate::{
    error::causes,
    events,
    reconcile::{
        access::{self, AccessMap},
        delete::{self, Deleted},
    },
    registry::Registry,
};

/// On an object whose tags are to be deleted with it.
pub(super) const FINALIZER: &str = "multiarch.dev/tags";

/// The pauses before the second and the third try: all of them end within two minutes.
const PAUSES: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(20)];
/// How long one try may take.
const TRY: Duration = Duration::from_secs(20);

impl<R: Registry> Context<R> {
    /// Sees to it that `object` has the finalizer just while its deletionPolicy is Delete.
    pub(super) async fn finalize(&self, object: &MultiArchImage) -> Result<(), ControllerError> {
        let wanted = object.spec.deletion_policy == DeletionPolicy::Delete;
        // The version that its status is written over is another one since.
        if let Some(written) = self.set_finalizer(&object.metadata, wanted).await?
            && let Some(status) = report::status_of(&written)
        {
            self.sessions.remember(object, written.resource_version().as_deref(), status);
        }
        Ok(())
    }

    /// Deletes the tags of `object`, which is deleted, and lets it go.
    pub(super) async fn finish(&self, object: &MultiArchImage) -> Result<Action, ControllerError> {
        // Who edits and deletes in one breath means the last word.
        if object.spec.deletion_policy != DeletionPolicy::Delete {
            self.set_finalizer(&object.metadata, false).await?;
            return Ok(Action::await_change());
        }
        let about = object.object_ref(&());
        let tries = self.sessions.count_deletion(object);
        let left = tokio::time::timeout(TRY, self.delete_tags(object)).await;
        let left =
            left.unwrap_or_else(|_| Err(Skip { why: "it took too long".into(), may_pass: true }));
        if let Err(skip) = left {
            let pause = PAUSES.get(tries).filter(|_| skip.may_pass);
            if let Some(pause) = pause
                && !self.is_terminating(&object.metadata).await
            {
                return Ok(Action::requeue(*pause));
            }
            self.skip(&object.metadata, &about, &skip.why).await;
        }
        self.set_finalizer(&object.metadata, false).await?;
        Ok(Action::await_change())
    }

    /// Lets an object go that cannot be read, so that nobody knows its tags.
    pub(super) async fn let_go(
        &self,
        meta: &ObjectMeta,
        about: &ObjectReference,
    ) -> Result<Action, ControllerError> {
        self.skip(meta, about, "the object does not fit the API of this operator's version").await;
        self.set_finalizer(meta, false).await?;
        Ok(Action::await_change())
    }

    async fn delete_tags(&self, object: &MultiArchImage) -> Result<(), Skip> {
        let skip = |why: String, may_pass| Err(Skip { why, may_pass });
        let status = self.sessions.known(object).status;
        if status.tags.is_empty() && status.pending_tags.is_empty() {
            return Ok(());
        }
        let sources = match self.sources(&object.spec) {
            Ok(sources) => sources,
            Err(error) => return skip(error.to_string(), false),
        };
        let namespace = object.namespace().unwrap_or_default();
        // Only the target is written to, and no ServiceAccount's Secret does that.
        let keychain = match self.keychain(&namespace, &sources, None).await {
            Ok(keychain) => keychain,
            Err(error) => return skip(format!("failed to read its Secrets: {error}"), true),
        };
        let keychain = keychain.ask(&self.providers, &namespace, access::of_target(&sources)).await;
        let asks = self.selector.is_some();
        let claims = match self.claims(object, &status, sources.target.repository(), asks).await {
            Ok(claims) => claims,
            Err(error) => return skip(causes(&error), true),
        };
        let access = AccessMap::new(&sources, &keychain);
        let access = match access.target() {
            Ok(access) => access,
            Err(error) => return skip(error.to_string(), true),
        };
        let Deleted { tags, left } =
            delete::delete(&self.registry, access, &sources, &status, &claims).await;
        for tag in tags {
            info!(namespace, name = object.name_any(), %tag, "deleted tag");
        }
        let Some(first) = left.first() else { return Ok(()) };
        let more = left.len() - 1;
        let more = if more > 0 { format!("; {more} more tags stay") } else { String::new() };
        skip(format!("{first}{more}"), left.iter().any(|left| left.may_pass))
    }

    async fn skip(&self, meta: &ObjectMeta, about: &ObjectReference, why: &str) {
        let object = display(meta);
        warn!(object, why, "left tags behind");
        let note = format!("left the tags in the registry: {why}");
        let told = events::event(EventType::Warning, "DeleteSkipped", "Delete", note);
        self.reporter.publish(told, about).await;
    }

    /// Whether the whole namespace goes, and must not wait for a registry.
    async fn is_terminating(&self, meta: &ObjectMeta) -> bool {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let Some(name) = &meta.namespace else { return false };
        match namespaces.get_opt(name).await {
            Ok(namespace) => namespace.is_none_or(|it| it.metadata.deletion_timestamp.is_some()),
            Err(error) => {
                warn!(%error, namespace = name, "failed to ask whether the namespace is terminating");
                false
            }
        }
    }

    /// Adds or removes the finalizer, if the list is still as it was seen; the object after it.
    async fn set_finalizer(
        &self,
        meta: &ObjectMeta,
        on: bool,
    ) -> Result<Option<DynamicObject>, ControllerError> {
        if on == is_finalized(meta) {
            return Ok(None);
        }
        let seen = meta.finalizers.clone().filter(|finalizers| !finalizers.is_empty());
        let mut next = seen.clone().unwrap_or_default();
        next.retain(|finalizer| finalizer != FINALIZER);
        next.extend(on.then(|| FINALIZER.to_owned()));
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": meta.uid},
            {"op": "test", "path": "/metadata/finalizers", "value": seen},
            {"op": "add", "path": "/metadata/finalizers", "value": next},
        ]);
        let patch = serde_json::from_value(patch).map(Patch::Json::<()>);
        let (Ok(patch), Some(name)) = (patch, &meta.name) else { return Ok(None) };
        let namespace = meta.namespace.clone().unwrap_or_default();
        let api: Api<DynamicObject> = self.reporter.api(&namespace);
        match api.patch(name, &PatchParams::default(), &patch).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(source) => Err(ControllerError::Finalizer { object: display(meta), source }),
        }
    }
}

/// Why tags stay.
struct Skip {
    why: String,
    may_pass: bool,
}

/// Whether the object has the finalizer.
pub(super) fn is_finalized(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

//! Objects of one namespace: applied as users do, and waited for.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use serde_json::json;

use crate::{
    await_condition::{SOON, await_condition},
    spec::{Report, Spec},
};

/// The annotation that asks for a run at once.
pub const REQUESTED_AT: &str = "multiarch.dev/requestedAt";

/// The objects of a namespace.
#[derive(Clone, Debug)]
pub struct Objects {
    /// As the API server has them.
    pub api: Api<MultiArchImage>,
    deadline: Duration,
}

impl Objects {
    /// Those of `namespace`.
    #[must_use]
    pub fn of(client: &Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), deadline: SOON }
    }

    /// The same, waited for so long.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Applies `spec`, whole, as `kubectl apply --server-side` does.
    pub async fn apply(&self, spec: &Spec) -> Result<MultiArchImage> {
        let parameters = PatchParams::apply("e2e").force();
        let applied = self.api.patch(&spec.name, &parameters, &Patch::Apply(spec.object())).await;
        applied.with_context(|| format!("failed to apply {}", spec.name))
    }

    /// Waits until `holds` holds for the object, whose status speaks of its current spec.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&MultiArchImage) -> bool,
    ) -> Result<MultiArchImage> {
        let current = |image: &MultiArchImage| image.is_current() && holds(image);
        await_condition(&self.api, name, what, self.deadline, current).await
    }

    /// Waits until Ready is `ready`, as `True/Succeeded`.
    pub async fn until_ready(&self, name: &str, ready: &str) -> Result<MultiArchImage> {
        self.until(name, &format!("Ready is {ready}"), |image| image.ready() == ready).await
    }

    /// Applies `spec` and waits until Ready is `ready`.
    pub async fn apply_until(&self, spec: &Spec, ready: &str) -> Result<MultiArchImage> {
        let generation = self.apply(spec).await?.metadata.generation;
        let newer = |image: &MultiArchImage| {
            image.metadata.generation >= generation && image.ready() == ready
        };
        self.until(&spec.name, &format!("Ready is {ready}"), newer).await
    }

    /// Makes it one that was published long ago: for two minutes after a push, images are not looked for, and another answer of the target
    /// is taken for lag.
    pub async fn age(&self, name: &str) -> Result<()> {
        let long_ago = json!({"status": {"lastPublishTime": "2026-01-01T00:00:00Z"}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(long_ago));
        let patched = self.api.patch_status(name, &params, &patch).await;
        patched.with_context(|| format!("failed to patch the status of {name}"))?;
        Ok(())
    }

    /// Asks for a run at once by annotation; what is asked for.
    pub async fn ask(&self, name: &str) -> Result<String> {
        let before = self.api.get(name).await.with_context(|| format!("failed to get {name}"))?;
        let asked = format!("after {}", before.metadata.resource_version.unwrap_or_default());
        let patch = json!({"metadata": {"annotations": {REQUESTED_AT: asked}}});
        let patched = self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.with_context(|| format!("failed to annotate {name}"))?;
        Ok(asked)
    }

    /// The same, and waits for its end: the status echoes what was asked.
    pub async fn request(&self, name: &str) -> Result<MultiArchImage> {
        let asked = self.ask(name).await?;
        let echoed = |image: &MultiArchImage| {
            image.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref())
                == Some(&asked)
        };
        self.until(name, "the status echoes the annotation", echoed).await
    }
}

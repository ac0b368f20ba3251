//! Secrets of the test's namespace.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Scenario;
use crate::registry::{CI, Registry};

impl Scenario {
    /// Applies a Secret with `password` for the test's registry.
    pub async fn apply_secret(&self, name: &str, password: &str) -> Result<()> {
        self.apply_secret_for(&self.registry, name, CI.user, password).await
    }

    /// Applies a Secret with a name and a password for `registry`.
    pub async fn apply_secret_for(
        &self,
        registry: &Registry,
        name: &str,
        user: &str,
        password: &str,
    ) -> Result<()> {
        let auths = json!({"auths": {(registry.host()): {"username": user, "password": password}}});
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": auths.to_string()},
        });
        self.apply_as_secret(name, secret).await
    }

    /// The same for any Secret, whose `data` is in base64 already.
    pub async fn apply_opaque_secret(&self, name: &str, data: Value) -> Result<()> {
        let metadata = json!({"name": name});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
        self.apply_as_secret(name, secret).await
    }

    async fn apply_as_secret(&self, name: &str, secret: Value) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace.name);
        let applied =
            secrets.patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(secret)).await;
        applied.with_context(|| format!("failed to apply Secret {name}")).map(drop)
    }
}

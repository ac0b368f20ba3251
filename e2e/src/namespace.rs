//! A namespace for one test, gone with it.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace as Object;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};

/// A namespace with a name that the API server chose.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    api: Api<Object>,
}

impl Namespace {
    /// Creates one.
    pub async fn create(client: &Client) -> Result<Self> {
        let api: Api<Object> = Api::all(client.clone());
        let metadata = ObjectMeta { generate_name: Some("e2e-".into()), ..ObjectMeta::default() };
        let object = Object { metadata, ..Object::default() };
        let created = api.create(&PostParams::default(), &object).await;
        let name = created.context("failed to create a namespace")?.metadata.name;
        Ok(Self { name: name.context("a namespace without a name")?, api })
    }

    /// Has it deleted with all that is in it. Nobody waits for that.
    pub async fn delete(&self) -> Result<()> {
        let deleted = self.api.delete(&self.name, &DeleteParams::background()).await;
        deleted.with_context(|| format!("failed to delete namespace {}", self.name))?;
        Ok(())
    }
}

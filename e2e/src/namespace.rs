//! A namespace for one test, gone with it.

use anyhow::{Context, Result};
use k8s_openapi::api::{
    core::v1::{Namespace as Object, ServiceAccount},
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};

use crate::await_condition::{SOON, await_some};

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
        Self::labelled(client, &[]).await
    }

    /// Creates one with `labels` in which Pods can be created.
    pub async fn for_pods(client: &Client, labels: &[(&str, &str)]) -> Result<Self> {
        let namespace = Self::labelled(client, labels).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace.name);
        let there = async || Ok(accounts.get_opt("default").await?.map(drop));
        await_some("the namespace has a ServiceAccount", SOON, there).await?;
        Ok(namespace)
    }

    async fn labelled(client: &Client, labels: &[(&str, &str)]) -> Result<Self> {
        let api: Api<Object> = Api::all(client.clone());
        let labels = labels.iter().map(|(label, value)| ((*label).into(), (*value).into()));
        let metadata = ObjectMeta {
            generate_name: Some("e2e-".into()),
            labels: Some(labels.collect()),
            ..ObjectMeta::default()
        };
        let object = Object { metadata, ..Object::default() };
        let created = api.create(&PostParams::default(), &object).await;
        let name = created.context("failed to create a namespace")?.metadata.name;
        Ok(Self { name: name.context("a namespace without a name")?, api })
    }

    /// Lets the ServiceAccount `name` of the namespace `of` have a Lease here.
    pub async fn grant_leases(&self, client: &Client, of: &str, name: &str) -> Result<()> {
        let verbs = ["get", "create", "update"];
        self.grant(client, (of, name), ("coordination.k8s.io", "leases"), &verbs).await
    }

    /// Lets it keep coverage maps here, as the chart's Role does.
    pub async fn grant_maps(&self, client: &Client, of: &str, name: &str) -> Result<()> {
        let verbs = ["get", "list", "watch", "create", "update", "delete"];
        self.grant(client, (of, name), ("", "configmaps"), &verbs).await
    }

    async fn grant(
        &self,
        client: &Client,
        (of, name): (&str, &str),
        (group, resource): (&str, &str),
        verbs: &[&str],
    ) -> Result<()> {
        let metadata = ObjectMeta { name: Some(resource.into()), ..ObjectMeta::default() };
        let may = PolicyRule {
            api_groups: Some(vec![group.into()]),
            resources: Some(vec![resource.into()]),
            verbs: verbs.iter().map(ToString::to_string).collect(),
            ..PolicyRule::default()
        };
        let role = Role { metadata: metadata.clone(), rules: Some(vec![may]) };
        let roles: Api<Role> = Api::namespaced(client.clone(), &self.name);
        roles.create(&PostParams::default(), &role).await.context("failed to create a Role")?;
        let subject = Subject {
            kind: "ServiceAccount".into(),
            name: name.into(),
            namespace: Some(of.into()),
            ..Subject::default()
        };
        let role_ref = RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: resource.into(),
        };
        let binding = RoleBinding { metadata, role_ref, subjects: Some(vec![subject]) };
        let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &self.name);
        let bound = bindings.create(&PostParams::default(), &binding).await;
        bound.context("failed to create a RoleBinding").map(drop)
    }

    /// Has it deleted with all that is in it. Nobody waits for that.
    pub async fn delete(&self) -> Result<()> {
        let deleted = self.api.delete(&self.name, &DeleteParams::background()).await;
        deleted.with_context(|| format!("failed to delete namespace {}", self.name))?;
        Ok(())
    }
}

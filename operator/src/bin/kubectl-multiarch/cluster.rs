//! What is asked of a cluster's MultiArchImage objects, and of sets of them.

pub(crate) mod reconcile;
pub(crate) mod status;
pub(crate) mod suspend;
pub(crate) mod tree;
pub(crate) mod wait;

mod goal;
mod name;
mod object;
mod set;
mod state;
mod until;

use std::{fmt::Debug, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use kube::{
    Api, Client, Config, Resource,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSet};
use multiarch_operator::error::causes;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use self::{
    name::{Kind, Name},
    object::Object,
};
use crate::{Common, exit};

/// Who has changed an object, in its managedFields.
const MANAGER: &str = "kubectl-multiarch";

/// Which cluster, and where in it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flags {
    /// The namespace. Default: the kubeconfig's.
    #[arg(long, short, value_name = "NAMESPACE", help_heading = "Cluster")]
    namespace: Option<String>,
    /// The kubeconfig's context to use.
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,
    /// The kubeconfig. Default: $KUBECONFIG, else ~/.kube/config, else in a Pod its ServiceAccount.
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,
}

/// Which objects are meant, where they are not named.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Filter {
    /// Only objects with these labels: app=web,stage!=test.
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with = "names")]
    selector: Option<String>,
    /// The objects of all namespaces.
    #[arg(long, short = 'A', conflicts_with = "names")]
    all_namespaces: bool,
}

/// A cluster that is asked.
pub(crate) struct Cluster {
    client: Client,
    /// The namespace that is meant.
    namespace: String,
}

/// A kind of object of ours.
trait Ours:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Into<Object>
    + Send
    + 'static
{
}

impl Ours for MultiArchImage {}
impl Ours for MultiArchImageSet {}

/// An object that nothing was done for, or told of.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "FailedObject")]
pub(crate) struct Failed {
    kind: Kind,
    namespace: String,
    name: String,
    /// Why.
    error: String,
}

impl Flags {
    /// A client, without a connection yet.
    pub(crate) async fn connect(&self) -> Result<Cluster> {
        let context = self.context.clone();
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(file) => {
                let kubeconfig =
                    Kubeconfig::read_from(file).map_err(|error| anyhow!(causes(&error)));
                let kubeconfig =
                    kubeconfig.with_context(|| format!("failed to use {}", file.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await
            }
            None => match Config::from_kubeconfig(&options).await {
                // In a Pod.
                Err(_) if options.context.is_none() && Config::incluster().is_ok() => {
                    return Cluster::of(Config::incluster()?, self.namespace.clone());
                }
                config => config,
            },
        };
        let config = config.map_err(|error| anyhow!(causes(&error)));
        let config =
            config.context("failed to find a cluster (--kubeconfig, --context, $KUBECONFIG)")?;
        Cluster::of(config, self.namespace.clone())
    }
}

impl Cluster {
    fn of(config: Config, namespace: Option<String>) -> Result<Self> {
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("failed to set up the Kubernetes client")?;
        Ok(Self { client, namespace })
    }

    /// The objects of `namespace`.
    fn of_namespace<K: Ours>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The object called `name`.
    async fn get(&self, name: &Name) -> Result<Object> {
        match self.look(name).await {
            Ok(object) => Ok(object),
            Err(error) => {
                let what = format!("get {}/{name}", self.namespace);
                let elsewhere =
                    if is_absent(&error) { self.elsewhere(name).await } else { String::new() };
                Err(anyhow!("{}{elsewhere}", told(&error, &what, name.kind)))
            }
        }
    }

    async fn look(&self, Name { kind, name }: &Name) -> kube::Result<Object> {
        Ok(match kind {
            Kind::MultiArchImage => {
                self.of_namespace::<MultiArchImage>(&self.namespace).get(name).await?.into()
            }
            Kind::MultiArchImageSet => {
                self.of_namespace::<MultiArchImageSet>(&self.namespace).get(name).await?.into()
            }
        })
    }

    /// Where there is nothing called `name`, that there is something of the other kind.
    async fn elsewhere(&self, name: &Name) -> String {
        let other = name.kind.other().named(&name.name);
        match self.look(&other).await {
            Ok(_) => format!("; there is a {} of that name: write {other}", other.kind),
            Err(_) => String::new(),
        }
    }

    /// The object called `name`, of which people are told that it failed.
    fn failed(&self, name: &Name, error: &anyhow::Error) -> Failed {
        exit::failed(error);
        let (namespace, Name { kind, name }) = (self.namespace.clone(), name.clone());
        Failed { kind, namespace, name, error: causes(error.as_ref()) }
    }

    /// Those that are named, and those of them that are not there; without names the MultiArchImages that are meant.
    async fn find(&self, names: &[Name], filter: &Filter) -> Result<(Vec<Object>, Vec<Failed>)> {
        if names.is_empty() {
            let all = self.list::<MultiArchImage>(filter).await;
            let all =
                all.map_err(|error| told(&error, "list MultiArchImages", Kind::MultiArchImage))?;
            return Ok((all.into_iter().map(Into::into).collect(), Vec::new()));
        }
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for name in names {
            match self.get(name).await {
                Ok(object) => found.push(object),
                // The others are looked at all the same.
                Err(error) => failed.push(self.failed(name, &error)),
            }
        }
        Ok((found, failed))
    }

    /// The sets that are meant, which none are named of. Who may not list them is told so, and shown all else.
    async fn sets(&self, filter: &Filter, common: &Common) -> Result<Vec<Object>> {
        match self.list::<MultiArchImageSet>(filter).await {
            Ok(sets) => Ok(sets.into_iter().map(Into::into).collect()),
            // Of an operator that has none.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                common.note(&format!("sets are not shown: {}", status.message));
                Ok(Vec::new())
            }
            Err(error) => Err(told(&error, "list MultiArchImageSets", Kind::MultiArchImageSet)),
        }
    }

    /// All pages of a list.
    async fn list<K: Ours>(&self, filter: &Filter) -> kube::Result<Vec<K>> {
        let api = if filter.all_namespaces {
            Api::all(self.client.clone())
        } else {
            self.of_namespace(&self.namespace)
        };
        let mut params = ListParams {
            label_selector: filter.selector.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut all = Vec::new();
        loop {
            let page = api.list(&params).await?;
            all.extend(page.items);
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Changes `object` by a merge patch: all else of it stays as it is, whoever owns it.
    async fn change(&self, object: &Object, patch: Value) -> Result<()> {
        match object {
            Object::Image(_) => self.patch::<MultiArchImage>(object, patch).await,
            Object::Set(_) => self.patch::<MultiArchImageSet>(object, patch).await,
        }
    }

    async fn patch<K: Ours>(&self, object: &Object, patch: Value) -> Result<()> {
        let (namespace, name) = object.named()?;
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let api = self.of_namespace::<K>(namespace);
        let patched = api.patch(&name.name, &params, &Patch::Merge(patch)).await;
        let told = |error| told(&error, &format!("patch {namespace}/{name}"), name.kind);
        patched.map(drop).map_err(told)
    }
}

/// How many objects a page of a list has.
const PAGE: u32 = 500;

/// Whether nothing is there.
fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// What the API server says of a request to `what`, for people.
fn told(error: &kube::Error, what: &str, kind: Kind) -> anyhow::Error {
    match error {
        kube::Error::Api(status)
            if status.code == 404
                && status.details.as_ref().is_none_or(|of| of.name.is_empty()) =>
        {
            anyhow!(
                "failed to {what}: the cluster serves no {kind}s: install the operator's chart, or choose another \
                 cluster by --context"
            )
        }
        kube::Error::Api(status) => anyhow!("failed to {what}: {}", status.message),
        error => anyhow!("failed to {what}: {}", causes(error)),
    }
}

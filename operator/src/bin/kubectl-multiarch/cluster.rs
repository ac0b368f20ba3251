//! What is asked of a cluster's MultiArchImage objects.

pub(crate) mod reconcile;
pub(crate) mod status;
pub(crate) mod suspend;
pub(crate) mod tree;
pub(crate) mod wait;

mod goal;
mod state;
mod until;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use kube::{
    Api, Client, Config,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_operator::error::causes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::exit;

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

/// An object that nothing was done for, or told of.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "FailedObject")]
pub(crate) struct Failed {
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
    fn of_namespace(&self, namespace: &str) -> Api<MultiArchImage> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The object called `name`.
    async fn get(&self, name: &str) -> Result<MultiArchImage> {
        let got = self.of_namespace(&self.namespace).get(name).await;
        got.map_err(|error| told(&error, &format!("get {}/{name}", self.namespace)))
    }

    /// The object called `name`, of which people are told that it failed.
    fn failed(&self, name: &str, error: &anyhow::Error) -> Failed {
        exit::failed(error);
        let (namespace, name) = (self.namespace.clone(), name.into());
        Failed { namespace, name, error: causes(error.as_ref()) }
    }

    /// Those that are meant, and those that are named and not there.
    async fn find(
        &self,
        names: &[String],
        filter: &Filter,
    ) -> Result<(Vec<MultiArchImage>, Vec<Failed>)> {
        if names.is_empty() {
            let params = ListParams {
                label_selector: filter.selector.clone(),
                limit: Some(PAGE),
                ..ListParams::default()
            };
            return Ok((self.list(filter.all_namespaces, params).await?, Vec::new()));
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

    /// All pages of a list.
    async fn list(&self, everywhere: bool, mut params: ListParams) -> Result<Vec<MultiArchImage>> {
        let api = if everywhere {
            Api::all(self.client.clone())
        } else {
            self.of_namespace(&self.namespace)
        };
        let mut all = Vec::new();
        loop {
            let page = api.list(&params).await;
            let page = page.map_err(|error| told(&error, "list MultiArchImages"))?;
            all.extend(page.items);
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Changes `object` by a merge patch: all else of it stays as it is, whoever owns it.
    async fn change(&self, object: &MultiArchImage, patch: Value) -> Result<MultiArchImage> {
        let (namespace, name) = named(object)?;
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let patched = self.of_namespace(namespace).patch(name, &params, &Patch::Merge(patch)).await;
        patched.map_err(|error| told(&error, &format!("patch {namespace}/{name}")))
    }
}

/// How many objects a page of a list has.
const PAGE: u32 = 500;

/// Where an object is, and what it is called.
fn named(object: &MultiArchImage) -> Result<(&str, &str)> {
    match (&object.metadata.namespace, &object.metadata.name) {
        (Some(namespace), Some(name)) => Ok((namespace, name)),
        _ => bail!("the API server gave an object without a name"),
    }
}

/// What the API server says of a request to `what`, for people.
fn told(error: &kube::Error, what: &str) -> anyhow::Error {
    match error {
        kube::Error::Api(status)
            if status.code == 404
                && status.details.as_ref().is_none_or(|of| of.name.is_empty()) =>
        {
            anyhow!(
                "failed to {what}: the cluster serves no MultiArchImages: install the operator's chart, or choose another \
                 cluster by --context"
            )
        }
        kube::Error::Api(status) => anyhow!("failed to {what}: {}", status.message),
        error => anyhow!("failed to {what}: {}", causes(error)),
    }
}

//! Objects as users write them, and what users read off them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use multiarch_crds::v1alpha1::{MultiArchImage, SourceStatus};
use serde_json::{Value, json};

use crate::registry::Registry;

/// A MultiArchImage in the making.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The name of the object.
    pub name: String,
    /// Its spec.
    pub spec: Value,
    host: String,
}

impl Spec {
    /// An object that publishes to `target` (repository:tag) in `registry`.
    #[must_use]
    pub fn new(registry: &Registry, name: &str, target: &str) -> Self {
        Self::at(registry.host(), name, target)
    }

    /// The same in the registry that the operator reaches as `host`, without TLS.
    #[must_use]
    pub fn at(host: &str, name: &str, target: &str) -> Self {
        let spec = json!({
            "target": {"image": format!("{host}/{target}")},
            "sources": [],
            "registries": [{"host": host, "plainHTTP": true}],
        });
        Self { name: name.into(), spec, host: host.into() }
    }

    /// Adds a source that names `image` (repository:tag in the same registry).
    #[must_use]
    pub fn source(self, name: &str, image: &str, platforms: &[&str]) -> Self {
        self.source_with(name, image, platforms, json!({}))
    }

    /// Adds one with further fields.
    #[must_use]
    pub fn source_with(mut self, name: &str, image: &str, platforms: &[&str], more: Value) -> Self {
        let mut source = json!({"name": name, "image": format!("{}/{image}", self.host)});
        if !platforms.is_empty() {
            source["platforms"] = json!(platforms);
        }
        if let (Value::Object(source), Value::Object(more)) = (&mut source, more) {
            source.extend(more);
        }
        if let Some(sources) = self.spec["sources"].as_array_mut() {
            sources.push(source);
        }
        self
    }

    /// Adds a source that names `image` (repository:tag) in `registry`, which is to be reached without TLS.
    #[must_use]
    pub fn source_in(
        mut self,
        registry: &Registry,
        name: &str,
        image: &str,
        platforms: &[&str],
        more: Value,
    ) -> Self {
        let host = json!({"host": registry.host(), "plainHTTP": true});
        if let Some(registries) = self.spec["registries"].as_array_mut()
            && !registries.contains(&host)
        {
            registries.push(host);
        }
        let own = std::mem::replace(&mut self.host, registry.host().into());
        Self { host: own, ..self.source_with(name, image, platforms, more) }
    }

    /// Sets a field of the spec.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.spec[field] = value.into();
        self
    }

    /// The whole object.
    #[must_use]
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": "multiarch.dev/v1alpha1",
            "kind": "MultiArchImage",
            "metadata": {"name": self.name},
            "spec": self.spec,
        })
    }
}

/// What users read.
pub trait Report {
    /// Whether the status speaks of the spec as it is now.
    fn is_current(&self) -> bool;
    /// The condition called `kind`.
    fn condition(&self, kind: &str) -> Option<&Condition>;
    /// Status and reason of Ready, `Unknown/` where there is none.
    fn ready(&self) -> String;
    /// The message of Ready.
    fn message(&self) -> &str;
    /// Whether the condition called `kind` is True.
    fn is_true(&self, kind: &str) -> bool;
    /// What is said of the source called `name`.
    fn source(&self, name: &str) -> Option<&SourceStatus>;
    /// The published digest, empty where there is none.
    fn digest(&self) -> &str;
    /// The published platforms.
    fn platforms(&self) -> Vec<&str>;
}

impl Report for MultiArchImage {
    fn is_current(&self) -> bool {
        self.status.as_ref().and_then(|status| status.observed_generation)
            == self.metadata.generation
    }

    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
    }

    fn ready(&self) -> String {
        let ready = self.condition("Ready");
        ready
            .map_or_else(|| "Unknown/".into(), |ready| format!("{}/{}", ready.status, ready.reason))
    }

    fn message(&self) -> &str {
        self.condition("Ready").map_or("", |ready| &ready.message)
    }

    fn is_true(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == "True")
    }

    fn source(&self, name: &str) -> Option<&SourceStatus> {
        self.status.as_ref()?.sources.iter().find(|source| source.name == name)
    }

    fn digest(&self) -> &str {
        self.status.as_ref().and_then(|status| status.digest.as_deref()).unwrap_or_default()
    }

    fn platforms(&self) -> Vec<&str> {
        let status = self.status.as_ref();
        status.map_or_else(Vec::new, |status| {
            status.platforms.iter().map(|platform| &*platform.platform).collect()
        })
    }
}

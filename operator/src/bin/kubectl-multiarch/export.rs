//! `kubectl multiarch export`: an object that reproduces an existing index.

mod object;

use std::io::Write;

use anyhow::{Context, Result, ensure};
use multiarch_crds::v1alpha1::{MultiArchImageSpec, Registry, Source, Target};
use multiarch_operator::{oci::Reference, reconcile::resolve::inspect::Asked};
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::object::{By, Exported, object};
use crate::{Common, columns::plain, exit::Exit, inspect::look, output::Output, registries};

/// Write a MultiArchImage that reproduces an existing index.
///
/// Each image becomes a source, pinned by digest, with the platform that the index lists for it. Images with attestations, or of which
/// the index says more than their config, are taken from the index itself, pinned as well. Published under the same tag it finds
/// nothing to write; elsewhere the index has the same content, and another digest unless you ask for --whole.
///
/// What cannot be reproduced is told on standard error, and then it ends with 2. The object goes to standard output, as YAML
/// unless -o json asks for JSON.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The index or image: host/repository:tag or host/repository@digest.
    #[arg(value_name = "REF")]
    reference: Reference,
    /// Where the object publishes: host/repository:tag. Default: REF, which then needs a tag.
    #[arg(long, value_name = "IMAGE")]
    target: Option<Reference>,
    /// One source, the index as it is, which is published byte for byte and keeps its digest and signatures.
    #[arg(long)]
    whole: bool,
    /// What the object is called. Default: as the last part of the target's repository.
    #[arg(long)]
    name: Option<String>,
    /// Its namespace. Default: none is written.
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

const EXAMPLES: &str = "Examples:
  # Have the operator keep what a script has published.
  kubectl multiarch export registry.example.com/team/app:1.0 | kubectl apply -n team-a -f -

  # The same index in another registry, byte for byte.
  kubectl multiarch export --whole --target registry.example.com/mirror/debian:12 docker.io/library/debian:12";

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let Args { reference, target, whole, name, namespace } = args;
    let target = target.unwrap_or_else(|| untagged(&reference));
    ensure!(
        target.tag().is_some() && target.digest().is_none(),
        "{target} is no tag to publish: name one by --target host/repository:tag"
    );
    let client = registries::client(&common.registries)?;
    let found = look(&client, &reference, &Asked::default(), common).await?;
    ensure!(found.failures.is_empty(), "{}", found.failures.join("; "));
    let both = [reference.repository(), target.repository()];
    let plain_http = both.into_iter().filter(|of| registries::is_plain(&common.registries, of));
    let mut plain_http: Vec<_> = plain_http.map(|of| of.host().to_owned()).collect();
    plain_http.dedup();
    let by = if whole { By::Whole } else { By::Image };
    let Exported { spec, notes, lost } = object(&found, &target, by, &plain_http);
    ensure!(!spec.sources.is_empty(), "{reference} has no image that could be a source");
    let name = name.unwrap_or_else(|| named_as(target.repository().path()));
    let written = written(&name, namespace.as_deref(), &spec)?;
    let text = match common.output {
        Output::Json => serde_json::to_string_pretty(&written)? + "\n",
        Output::Table | Output::Yaml => serde_saphyr::to_string(&written)?,
    };
    std::io::stdout().write_all(text.as_bytes()).context("failed to print")?;
    let mut err = std::io::stderr().lock();
    for note in notes {
        // Where nobody listens any more, nobody is to be told.
        let _ = writeln!(err, "Note: {}", plain(&note));
    }
    for lost in &lost {
        let _ = writeln!(err, "Not reproduced: {}", plain(lost));
    }
    if lost.is_empty() {
        return Ok(Exit::Fine);
    }
    let _ = writeln!(err, "--whole reproduces an index byte for byte");
    Ok(Exit::Differs)
}

/// `reference` as a target.
fn untagged(reference: &Reference) -> Reference {
    match reference.tag() {
        Some(tag) => reference.repository().tag(tag),
        None => reference.clone(),
    }
}

/// A name for an object, of the last part of a repository's `path`.
fn named_as(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or(path);
    let name: String = last.replace('_', "-").chars().take(253).collect();
    name.trim_matches(['-', '.']).to_owned()
}

/// The object as people write it: without what is the default anyway.
fn written(name: &str, namespace: Option<&str>, spec: &MultiArchImageSpec) -> Result<Value> {
    let mut short = without(spec, &MultiArchImageSpec::default())?;
    short.insert("target".into(), without(&spec.target, &Target::default())?.into());
    let each = |source: &Source| without(source, &Source::default());
    let sources: Vec<_> = spec.sources.iter().map(each).collect::<Result<_>>()?;
    short.insert("sources".into(), sources.into());
    if !spec.registries.is_empty() {
        let each = |registry: &Registry| without(registry, &Registry::default());
        let registries: Vec<_> = spec.registries.iter().map(each).collect::<Result<_>>()?;
        short.insert("registries".into(), registries.into());
    }
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    let version = format!("{}/{}", multiarch_crds::GROUP, multiarch_crds::v1alpha1::VERSION);
    Ok(json!({
        "apiVersion": version, "kind": "MultiArchImage", "metadata": metadata, "spec": short,
    }))
}

/// The fields of `value` that are others than those of `default`.
fn without<T: Serialize>(value: &T, default: &T) -> Result<Map<String, Value>> {
    let [value, default] = [value, default].map(serde_json::to_value);
    let (Value::Object(mut fields), default) = (value?, default?) else { return Ok(Map::new()) };
    fields.retain(|name, value| default.get(name) != Some(value));
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        assert_eq!(named_as("team/My_app".to_lowercase().as_str()), "my-app");
        assert_eq!(named_as("debian"), "debian");
        assert_eq!(named_as("a/b__c"), "b--c");
    }

    #[test]
    fn what_is_the_default_is_not_written() {
        let spec = MultiArchImageSpec {
            target: Target { image: "r.example/a:1".into(), ..Target::default() },
            sources: vec![Source {
                name: "a".into(),
                image: "r.example/b:1".into(),
                ..Source::default()
            }],
            ..MultiArchImageSpec::default()
        };
        let written = written("a", None, &spec).unwrap();
        assert_eq!(
            written,
            json!({ "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage", "metadata": {"name": "a"},
                "spec": {"target": {"image": "r.example/a:1"}, "sources": [{"name": "a", "image": "r.example/b:1"}]} })
        );
    }
}

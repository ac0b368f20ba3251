//! An object as people write it: without what is the default anyway.

use anyhow::Result;
use multiarch_crds::{
    GROUP,
    v1alpha1::{MultiArchImageSpec, Registry, Source, Target, VERSION},
};
use multiarch_operator::oci::Repository;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::output::Output;

/// The object called `name` with this spec, as JSON where that is asked for, else as YAML.
pub(crate) fn written(
    name: &str,
    namespace: Option<&str>,
    spec: &MultiArchImageSpec,
    output: Output,
) -> Result<String> {
    let object = object(name, namespace, spec)?;
    Ok(match output {
        Output::Json => serde_json::to_string_pretty(&object)? + "\n",
        Output::Table | Output::Yaml => serde_saphyr::to_string(&object)?,
    })
}

/// A name for an object that publishes to `repository`: its last part.
pub(crate) fn named_as(repository: &Repository) -> String {
    let path = repository.path();
    let last = path.rsplit('/').next().unwrap_or(path);
    let name: String = last.replace('_', "-").chars().take(253).collect();
    name.trim_matches(['-', '.']).to_owned()
}

fn object(name: &str, namespace: Option<&str>, spec: &MultiArchImageSpec) -> Result<Value> {
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
    Ok(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MultiArchImage", "metadata": metadata, "spec": short,
    }))
}

/// The fields of `value` that are others than those of `default`.
fn without<T: Serialize>(value: &T, default: &T) -> Result<Map<String, Value>> {
    let (value, default) = (serde_json::to_value(value)?, serde_json::to_value(default)?);
    let Value::Object(mut fields) = value else { return Ok(Map::new()) };
    fields.retain(|name, value| default.get(name) != Some(value));
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use multiarch_operator::oci::Reference;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("r.example/team/my_app:1", "my-app")]
    #[case("debian:12", "debian")]
    #[case("r.example/a/b.c__d:1", "b.c--d")]
    fn names_are_those_that_kubernetes_takes(#[case] target: &str, #[case] name: &str) {
        assert_eq!(named_as(target.parse::<Reference>().unwrap().repository()), name);
    }

    #[test]
    fn what_is_the_default_is_not_written() {
        let source =
            Source { name: "a".into(), image: "r.example/b:1".into(), ..Source::default() };
        let spec = MultiArchImageSpec {
            target: Target { image: "r.example/a:1".into(), ..Target::default() },
            sources: vec![source],
            ..MultiArchImageSpec::default()
        };
        let text = written("a", Some("team-a"), &spec, Output::Json).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({
                "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
                "metadata": {"name": "a", "namespace": "team-a"},
                "spec": {
                    "target": {"image": "r.example/a:1"},
                    "sources": [{"name": "a", "image": "r.example/b:1"}],
                },
            })
        );
    }
}

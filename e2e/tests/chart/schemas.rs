//! JSON schemas for kubeconform, out of what a real API server says of its kinds.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use kube::Client;
use serde_json::{Map, Value, json};

/// Where kubeconform finds them in their folder.
pub(crate) const TEMPLATE: &str = "{{ .ResourceKind }}{{ .KindSuffix }}.json";
const REFERENCE: &str = "#/components/schemas/";

/// Writes the strict schema of each of `kinds` (apiVersion, kind) into `folder`.
pub(crate) async fn write(
    client: &Client,
    kinds: &BTreeSet<(String, String)>,
    folder: &Path,
) -> Result<()> {
    for (api_version, kind) in kinds {
        let of_group = if api_version.contains('/') { "apis" } else { "api" };
        let document = get(client, &format!("/openapi/v3/{of_group}/{api_version}")).await?;
        let schemas = document["components"]["schemas"].as_object().context("no schemas")?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = json!({"group": group, "kind": kind, "version": version});
        let found = schemas.values().find(|schema| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.is_some_and(|kinds| kinds.contains(&gvk))
        });
        let schema = found.with_context(|| format!("no schema of {kind} in {api_version}"))?;
        let mut whole = strict(schema);
        whole["definitions"] = Value::Object(needed(schema, schemas));
        let group = group.split('.').next().filter(|group| !group.is_empty());
        let suffix = group.map_or_else(|| version.into(), |group| format!("{group}-{version}"));
        let file = format!("{}-{suffix}.json", kind.to_lowercase());
        fs::write(folder.join(file), whole.to_string()).context("failed to write a schema")?;
    }
    Ok(())
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    let request = axum::http::Request::get(path).body(Vec::new())?;
    client.request(request).await.with_context(|| format!("GET {path}"))
}

/// What `schema` refers to, and what that does.
fn needed(schema: &Value, schemas: &Map<String, Value>) -> Map<String, Value> {
    let (mut all, mut open) = (Map::new(), references(schema));
    while let Some(name) = open.pop() {
        if let Some(schema) = schemas.get(&name).filter(|_| !all.contains_key(&name)) {
            open.extend(references(schema));
            all.insert(name, strict(schema));
        }
    }
    all
}

fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|of| of.strip_prefix(REFERENCE)).map(ToOwned::to_owned);
            own.into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(all) => all.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Its references as kubeconform follows them, and no fields but those that it names.
fn strict(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut strict: Map<_, _> =
                map.iter().map(|(key, value)| (key.clone(), self::strict(value))).collect();
            if let Some(Value::String(of)) = strict.get_mut("$ref") {
                *of = of.replace(REFERENCE, "#/definitions/");
            }
            let open = ["additionalProperties", "x-kubernetes-preserve-unknown-fields"];
            // `properties` may be a field's own name; then it is a schema, which has no other beside it.
            let is_object = strict.get("properties").is_some_and(Value::is_object)
                && strict.get("type").is_some_and(|kind| kind == "object");
            if is_object && !open.iter().any(|key| strict.contains_key(*key)) {
                strict.insert("additionalProperties".into(), Value::Bool(false));
            }
            Value::Object(strict)
        }
        Value::Array(all) => Value::Array(all.iter().map(strict).collect()),
        other => other.clone(),
    }
}

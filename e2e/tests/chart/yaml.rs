//! YAML as values: what the chart renders, and what its files say.

use std::path::Path;

use multiarch_e2e::helm::{Helm, Release, chart};
use serde_json::Value;

/// A file of the chart.
pub(crate) fn file(name: &str) -> String {
    read(&chart().join(name))
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// values.yaml.
pub(crate) fn values() -> Value {
    parse(&file("values.yaml"))
}

pub(crate) fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// The objects of what helm renders.
pub(crate) fn objects(rendered: &str) -> Vec<Value> {
    let documents = format!("\n{rendered}");
    let documents = documents
        .split("\n---")
        .filter(|text| text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    documents.map(parse).collect()
}

/// The objects that the chart renders with `values`, as the release that the tests have.
pub(crate) async fn render(values: &Value) -> Vec<Value> {
    objects(&text(values).await.unwrap_or_else(|error| panic!("{values}: {error}")))
}

/// The same as text, or what helm says.
pub(crate) async fn text(values: &Value) -> anyhow::Result<String> {
    Helm::new()?.template(release(values), &[]).await
}

/// The release that the tests have.
pub(crate) fn release(values: &Value) -> Release<'_> {
    Release { name: "multiarch-operator", namespace: "multiarch-system", values }
}

/// The objects of one of the sets of `cases`.
pub(crate) async fn render_case(name: &str, values: &Value) -> Vec<Value> {
    let rendered = Helm::new().unwrap().template(crate::cases::release(name, values), &[]).await;
    objects(&rendered.unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Those of one kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The flags of the first container.
pub(crate) fn args(pod_spec: &Value) -> Vec<String> {
    serde_json::from_value(pod_spec["containers"][0]["args"].clone()).unwrap()
}

/// `value` with all numbers alike: YAML tells 0 from 0.0.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => serde_json::json!(number.as_f64()),
        Value::Array(all) => all.iter().map(plain).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

/// `over` laid over `base`, maps by key.
pub(crate) fn merged(base: &Value, over: &Value) -> Value {
    let (Some(base), Some(over)) = (base.as_object(), over.as_object()) else {
        return over.clone();
    };
    let mut all = base.clone();
    for (key, value) in over {
        let below = all.get(key).map_or_else(|| value.clone(), |base| merged(base, value));
        all.insert(key.clone(), below);
    }
    Value::Object(all)
}

/// `value` at `path` (`a.b`).
pub(crate) fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, key| serde_json::json!({ key: value }))
}

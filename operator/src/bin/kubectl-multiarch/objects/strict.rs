//! pure: a value and the schema of a CRD → what is wrong with it, as an API server tells it with strict field validation.

use serde_json::Value;

/// What is wrong with `value`, each with its path: fields that the schema does not have, other types, and what is out of bounds.
pub(super) fn check(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    walk(schema, value, path, &mut wrong);
    wrong
}

fn walk(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    // As an API server prunes them where they may not be null.
    if value.is_null() {
        return;
    }
    let expected = schema["type"].as_str().unwrap_or_default();
    if !is_a(expected, value) {
        let quote = if expected == "string" { ": put it in quotes" } else { "" };
        wrong.push(format!(
            "{path}: it is to be {}, not {}{quote}",
            article(expected),
            name(value)
        ));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        wrong.push(format!("{path}: it is to be one of {}", allowed.join(", ")));
    }
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            bounds(schema, ["minLength", "maxLength"], length, "character", path, wrong);
        }
        Value::Array(items) => {
            let length = items.len() as u64;
            bounds(schema, ["minItems", "maxItems"], length, "item", path, wrong);
            for (at, item) in items.iter().enumerate() {
                walk(&schema["items"], item, &format!("{path}[{at}]"), wrong);
            }
            twice(schema, items, path, wrong);
        }
        Value::Object(fields) => {
            let length = fields.len() as u64;
            bounds(schema, ["minProperties", "maxProperties"], length, "key", path, wrong);
            for field in schema["required"].as_array().into_iter().flatten() {
                let field = field.as_str().unwrap_or_default();
                if fields.get(field).is_none_or(Value::is_null) {
                    wrong.push(format!("{path}.{field}: it is required"));
                }
            }
            for (field, value) in fields {
                let path = format!("{path}.{field}");
                let known = schema["properties"].get(field);
                match known.or_else(|| schema.get("additionalProperties")) {
                    Some(schema) => walk(schema, value, &path, wrong),
                    // One without any properties, such as metadata, has them elsewhere.
                    None if schema.get("properties").is_none() => {}
                    None => wrong.push(format!("{path}: there is no such field")),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Items of a set, or keys of a map in a list, that are there twice.
fn twice(schema: &Value, items: &[Value], path: &str, wrong: &mut Vec<String>) {
    let keys = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Vec::new(),
        Some("map") => schema["x-kubernetes-list-map-keys"].as_array().cloned().unwrap_or_default(),
        _ => return,
    };
    let key = |item: &Value| -> Vec<Value> {
        let of = |key: &Value| item[key.as_str().unwrap_or_default()].clone();
        if keys.is_empty() { vec![item.clone()] } else { keys.iter().map(of).collect() }
    };
    for (at, item) in items.iter().enumerate() {
        if items[..at].iter().any(|before| key(before) == key(item)) {
            wrong.push(format!("{path}[{at}]: it is there twice"));
        }
    }
}

fn bounds(
    schema: &Value,
    [least, most]: [&str; 2],
    length: u64,
    noun: &str,
    path: &str,
    wrong: &mut Vec<String>,
) {
    let bound = |name: &str| schema[name].as_u64();
    if let Some(least) = bound(least).filter(|least| length < *least) {
        wrong.push(format!("{path}: it is to have at least {least} {noun}(s)"));
    }
    if let Some(most) = bound(most).filter(|most| length > *most) {
        wrong.push(format!("{path}: it has {length} {noun}s, and may have {most}"));
    }
}

fn is_a(expected: &str, value: &Value) -> bool {
    match expected {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn article(expected: &str) -> &'static str {
    match expected {
        "string" => "a string",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "array" => "a list",
        "object" => "a mapping",
        _ => "something else",
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

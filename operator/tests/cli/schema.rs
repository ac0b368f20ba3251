//! docs/cli-output.schema.json is what the types say, and what is printed holds it.

use std::{fs, path::PathBuf, process::Command, sync::LazyLock};

use serde_json::Value;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/cli-output.schema.json")
}

/// What the types say.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-multiarch")).arg("schema").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
});

#[test]
fn the_file_is_what_the_types_say() {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file(), serde_json::to_string_pretty(&*SCHEMA).unwrap() + "\n").unwrap();
    }
    let file: Value = serde_json::from_str(&fs::read_to_string(file()).unwrap()).unwrap();
    assert_eq!(
        file, *SCHEMA,
        "UPDATE=1 cargo test --workspace --test cli schema writes docs/cli-output.schema.json"
    );
}

/// Panics where `value`, which `command` printed, is not what the schema says, or has more than that.
pub(crate) fn check(command: &str, value: &Value) {
    let schema = &SCHEMA["properties"][command];
    assert!(schema.is_object(), "the schema has nothing of {command}");
    let wrong = wrong(schema, value, command);
    assert_eq!(wrong, None, "{value}");
}

/// Why `value` is not what `schema` says, of all the words that our schema uses.
fn wrong(schema: &Value, value: &Value, path: &str) -> Option<String> {
    for word in schema.as_object().into_iter().flat_map(|schema| schema.keys()) {
        const WORDS: [&str; 20] = [
            "$ref",
            "additionalProperties",
            "anyOf",
            "const",
            "description",
            "enum",
            "format",
            "items",
            "minimum",
            "maximum",
            "oneOf",
            "properties",
            "required",
            "title",
            "type",
            "default",
            "minLength",
            "maxLength",
            "maxItems",
            // The API server's, of parts of a status.
            "x-kubernetes-list-type",
        ];
        assert!(WORDS.contains(&word.as_str()), "this check does not know {word}");
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
        return wrong(&SCHEMA["$defs"][name], value, path);
    }
    if let Some(any) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
        let fits = any.iter().any(|schema| wrong(schema, value, path).is_none());
        return (!fits).then(|| format!("{path}: {value} is none of {any:?}"));
    }
    if let Some(only) = schema.get("const").filter(|only| *only != value) {
        return Some(format!("{path}: {value} is not {only}"));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Some(format!("{path}: {value} is none of {words:?}"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        Value::String(kind) => vec![kind.as_str()],
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.contains(&kind) {
        return Some(format!("{path}: {value} is no {kinds:?}"));
    }
    match value {
        Value::Array(items) => {
            items.iter().find_map(|item| wrong(&schema["items"], item, &format!("{path}[]")))
        }
        Value::Object(fields) => {
            let absent = schema["required"].as_array().into_iter().flatten();
            let absent = absent.filter_map(Value::as_str).find(|name| !fields.contains_key(*name));
            if let Some(absent) = absent {
                return Some(format!("{path}.{absent} is absent"));
            }
            fields.iter().find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                let known = schema["properties"].get(name);
                match known.or_else(|| schema.get("additionalProperties")) {
                    Some(schema) => wrong(schema, value, &path),
                    None => Some(format!("{path} is not in the schema")),
                }
            })
        }
        _ => None,
    }
}

/// The check above can tell.
#[test]
fn what_is_not_in_the_schema_is_seen() {
    let good = serde_json::json!({ "images": [] });
    assert_eq!(wrong(&SCHEMA["properties"]["mirror"], &good, ""), None);
    for bad in [
        serde_json::json!({}),
        serde_json::json!({ "images": 1 }),
        serde_json::json!({ "images": [{}] }),
        serde_json::json!({ "images": [], "more": 1 }),
    ] {
        assert!(wrong(&SCHEMA["properties"]["mirror"], &bad, "").is_some(), "{bad}");
    }
}

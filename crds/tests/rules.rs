//! The CEL rules of the committed CRD take the good specs and refuse the bad ones, each with its sentence.
//!
//! The cases are data, so that the e2e tests can put the same ones to a real API server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use kube::core::cel::Validator;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// What is merged into the base object.
    patch: Value,
    /// The same for the object that is there before, when the case is an update.
    was: Option<Value>,
    /// A part of the sentence, when the case is refused.
    says: Option<String>,
    /// Refused by a bound of the schema, which only an API server checks.
    #[serde(default)]
    schema: bool,
}

fn read<T: for<'de> Deserialize<'de>>(file: &str) -> T {
    serde_saphyr::from_str(
        &fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap(),
    )
    .unwrap()
}

fn object(patch: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "multiarch.dev/v1alpha1",
        "kind": "MultiArchImage",
        "metadata": {"name": "app"},
        "spec": {
            "target": {"image": "registry.example.com/team/app:1.0"},
            "sources": [{"name": "amd64", "image": "registry.example.com/team/app:1.0-amd64"}],
        },
    });
    merge(&mut object, patch);
    object
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(key)),
            _ => merge(&mut into[key], value),
        }
    }
}

/// What the rules say to a case, a sentence for each that it breaks.
fn verdict(case: &Case) -> Vec<String> {
    let crd: Value = read("multiarchimages.yaml");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let old = case.was.as_ref().map(object);
    match Validator::new().validate_with_defaults(schema, &object(&case.patch), old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[test]
fn good_specs_are_accepted() {
    for case in read::<Vec<Case>>("tests/fixtures/accepted.yaml") {
        assert_eq!(verdict(&case), Vec::<String>::new(), "{}", case.name);
    }
}

#[test]
fn bad_specs_are_refused_with_one_sentence_each() {
    for case in
        read::<Vec<Case>>("tests/fixtures/refused.yaml").into_iter().filter(|case| !case.schema)
    {
        let said = verdict(&case);
        let says = case.says.unwrap();
        assert!(
            said.len() == 1 && said[0].contains(&says),
            "{}: expected {says:?} alone, got {said:#?}",
            case.name
        );
    }
}

#[test]
fn good_specs_are_understood_by_the_types() {
    for case in read::<Vec<Case>>("tests/fixtures/accepted.yaml") {
        let read: Result<multiarch_crds::v1alpha1::MultiArchImage, _> =
            serde_json::from_value(object(&case.patch));
        assert!(read.is_ok(), "{}: {read:?}", case.name);
    }
}

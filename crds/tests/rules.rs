//! The CEL rules of the committed CRDs take the good specs and refuse the bad ones, each with its sentence.
//!
//! The cases are data, so that the e2e tests can put the same ones to a real API server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use kube::core::cel::Validator;
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSet};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

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

/// A kind of ours: its CRD, the cases of its specs, and an object that its cases change.
#[derive(Clone, Copy)]
struct Kind {
    crd: &'static str,
    accepted: &'static str,
    refused: &'static str,
    base: fn() -> Value,
}

const IMAGES: Kind = Kind {
    crd: "multiarchimages.yaml",
    accepted: "tests/fixtures/accepted.yaml",
    refused: "tests/fixtures/refused.yaml",
    base: image,
};
const SETS: Kind = Kind {
    crd: "multiarchimagesets.yaml",
    accepted: "tests/fixtures/accepted_sets.yaml",
    refused: "tests/fixtures/refused_sets.yaml",
    base: set,
};

fn image() -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1",
        "kind": "MultiArchImage",
        "metadata": {"name": "app"},
        "spec": {
            "target": {"image": "registry.example.com/team/app:1.0"},
            "sources": [{"name": "amd64", "image": "registry.example.com/team/app:1.0-amd64"}],
        },
    })
}

fn set() -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1",
        "kind": "MultiArchImageSet",
        "metadata": {"name": "k3s"},
        "spec": {
            "images": ["rancher/mirrored-pause:3.6"],
            "to": {"registry": "registry.local:5000"},
        },
    })
}

impl Kind {
    fn object(self, patch: &Value) -> Value {
        let mut object = (self.base)();
        json_patch::merge(&mut object, patch);
        object
    }
}

/// What the rules say to a case, a sentence for each that it breaks.
fn verdict(kind: Kind, case: &Case) -> Vec<String> {
    let crd: Value = read(kind.crd);
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let old = case.was.as_ref().map(|was| kind.object(was));
    let object = kind.object(&case.patch);
    match Validator::new().validate_with_defaults(schema, &object, old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn good_specs_are_accepted(#[case] kind: Kind) {
    for case in read::<Vec<Case>>(kind.accepted) {
        assert_eq!(verdict(kind, &case), Vec::<String>::new(), "{}", case.name);
    }
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn bad_specs_are_refused_with_one_sentence_each(#[case] kind: Kind) {
    for case in read::<Vec<Case>>(kind.refused).into_iter().filter(|case| !case.schema) {
        let said = verdict(kind, &case);
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
    for case in read::<Vec<Case>>(IMAGES.accepted) {
        let read: Result<MultiArchImage, _> = serde_json::from_value(IMAGES.object(&case.patch));
        assert!(read.is_ok(), "{}: {read:?}", case.name);
    }
    for case in read::<Vec<Case>>(SETS.accepted) {
        let read: Result<MultiArchImageSet, _> = serde_json::from_value(SETS.object(&case.patch));
        assert!(read.is_ok(), "{}: {read:?}", case.name);
    }
}

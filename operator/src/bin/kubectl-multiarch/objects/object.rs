//! A document → the MultiArchImage that an API server would have taken, with its defaults, or what it would have said.

use std::sync::LazyLock;

use kube::core::{
    CustomResourceExt,
    cel::{Validator, apply_defaults},
};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSpec};
use serde_json::{Value, json};

use super::strict;

/// Where the fields of an object are.
const VERSION: &str = "multiarch.dev/v1alpha1";

/// The schema of a MultiArchImage, its rules included.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(MultiArchImage::crd()).unwrap_or_default();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

/// The object that `value` is.
pub(super) fn parse(value: &Value) -> Result<MultiArchImage, String> {
    let version = value["apiVersion"].as_str().unwrap_or_default();
    if version != VERSION {
        return Err(format!("its apiVersion is to be {VERSION}"));
    }
    let mut object = value.clone();
    if let Some(fields) = object.as_object_mut() {
        // What a cluster said of it.
        fields.remove("status");
    }
    if object["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
        return Err("metadata.name: it is required".into());
    }
    let object = apply_defaults(&SCHEMA, &object);
    let mut wrong = Vec::new();
    for field in object.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&field.as_str()) {
            wrong.push(format!("{}: there is no such field", shown(field)));
        }
    }
    wrong.extend(strict::check(&SCHEMA["properties"]["spec"], &object["spec"], "spec"));
    if object["spec"].is_null() {
        wrong.push("spec: it is required".into());
    }
    if wrong.is_empty()
        && let Err(errors) = Validator::new().validate(&SCHEMA, &object, None)
    {
        wrong.extend(errors.into_vec().iter().map(ToString::to_string));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    serde_json::from_value(object).map_err(|error| error.to_string())
}

/// `spec`, if it holds all that an API server holds one to.
pub(crate) fn hold(spec: &MultiArchImageSpec) -> Result<MultiArchImageSpec, String> {
    let object = json!({
        "apiVersion": VERSION,
        "kind": "MultiArchImage",
        "metadata": { "name": "x" },
        "spec": spec,
    });
    parse(&object).map(|object| object.spec)
}

/// Whether `text` may be shown: it is what kinds are called.
pub(super) fn is_word(text: &str) -> bool {
    text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn shown(field: &str) -> &str {
    if is_word(field) { field } else { "a field" }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rstest::rstest;
    use serde::Deserialize;

    use super::*;

    fn object(spec: &Value) -> Value {
        json!({
            "apiVersion": VERSION,
            "kind": "MultiArchImage",
            "metadata": { "name": "app", "namespace": "team-a" },
            "spec": spec,
        })
    }

    fn spec() -> Value {
        json!({
            "target": { "image": "registry.example.com/team/app:1.0" },
            "sources": [{ "name": "amd64", "image": "registry.example.com/team/app:1.0-amd64" }],
        })
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        patch: Value,
        was: Option<Value>,
        says: Option<String>,
        #[serde(default)]
        schema: bool,
    }

    /// The cases that the CRD's own rules are held to.
    fn cases(file: &str) -> Vec<Case> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/tests/fixtures");
        serde_saphyr::from_str(&fs::read_to_string(folder.join(file)).unwrap()).unwrap()
    }

    fn patched(case: &Case) -> Result<MultiArchImage, String> {
        let mut object = object(&spec());
        json_patch::merge(&mut object, &case.patch);
        parse(&object)
    }

    #[test]
    fn takes_what_the_api_server_takes() {
        for case in cases("accepted.yaml") {
            let parsed = patched(&case);
            assert!(parsed.is_ok(), "{}: {parsed:?}", case.name);
        }
    }

    /// What an API server compares with what was there before, it compares with nothing here.
    #[test]
    fn refuses_what_the_api_server_refuses() {
        for case in cases("refused.yaml").into_iter().filter(|case| case.was.is_none()) {
            let told = patched(&case).expect_err(&case.name);
            let says = case.says.unwrap();
            assert!(case.schema || told.contains(&says), "{}: {told}", case.name);
        }
    }

    #[rstest]
    #[case::unknown(json!({"sorces": []}), "spec.sorces: there is no such field")]
    #[case::unknown_below(json!({"target": {"tag": "1"}}), "spec.target.tag: there is no such field")]
    #[case::number(json!({"target": {"additionalTags": [1.0]}}), "spec.target.additionalTags[0]: it is to be a string, not a number: put it in quotes")]
    #[case::word(json!({"publishPolicy": "Never"}), "spec.publishPolicy: it is to be one of Complete, Partial")]
    #[case::nothing(json!({"sources": []}), "spec.sources: it is to have at least 1 item(s)")]
    #[case::list(json!({"sources": {}}), "spec.sources: it is to be a list, not a mapping")]
    #[case::absent(json!({"sources": null}), "spec.sources: it is required")]
    #[case::long(json!({"target": {"image": format!("r.example/{}:1", "a".repeat(200))}}), "it has 212 characters, and may have 180")]
    fn says_what_is_wrong(#[case] patch: Value, #[case] says: &str) {
        let mut spec = spec();
        json_patch::merge(&mut spec, &patch);
        let told = parse(&object(&spec)).unwrap_err();
        assert!(told.contains(says), "{told}");
    }

    #[test]
    fn wants_an_object_of_this_api() {
        let mut other = object(&spec());
        other["apiVersion"] = "multiarch.dev/v2".into();
        assert!(parse(&other).unwrap_err().contains(VERSION));
        let mut nameless = object(&spec());
        nameless["metadata"] = json!({});
        assert!(parse(&nameless).unwrap_err().contains("metadata.name"));
        let mut more = object(&spec());
        more["specs"] = json!({});
        assert!(parse(&more).unwrap_err().contains("specs: there is no such field"));
        let mut without = object(&spec());
        without.as_object_mut().unwrap().remove("spec");
        assert!(parse(&without).unwrap_err().contains("spec: it is required"));
        // What a cluster wrote stands in what `kubectl get -o yaml` prints.
        let mut known = object(&spec());
        known["status"] = json!({ "anything": 1 });
        known["metadata"]["managedFields"] = json!([{}]);
        assert!(parse(&known).is_ok());
    }
}

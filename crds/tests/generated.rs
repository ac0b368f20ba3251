//! The committed CRDs are what the types generate, and say to users and to the API server all that they should.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};
use kube::{CustomResourceExt, Resource};
use multiarch_crds::{
    CHART, GROUP, REGENERATE, files,
    v1alpha1::{
        MultiArchImage, MultiArchImageSet, MultiArchImageSetSpec, MultiArchImageSetStatus,
        MultiArchImageSpec, MultiArchImageStatus, VERSION,
    },
};
use rstest::rstest;
use serde_json::{Value, json};

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default()
}

fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

const IMAGES: &str = "multiarchimages.yaml";
const SETS: &str = "multiarchimagesets.yaml";

/// The schema of the one version of a CRD, as committed.
fn schema(file: &str) -> Value {
    parse(&read(file))["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

/// Calls `check` with each schema in `schema` and its path.
fn walk(path: &str, schema: &Value, check: &mut impl FnMut(&str, &Value)) {
    check(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, check);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&format!("{path}{suffix}"), &schema[key], check);
        }
    }
}

/// The paths of the schemas that `bad` is true of.
fn offenders(schema: &Value, bad: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    walk("", schema, &mut |path, schema| {
        if bad(path, schema) {
            paths.push(path.to_owned());
        }
    });
    paths
}

#[test]
fn the_committed_files_are_what_the_types_generate() {
    for (file, text) in files().unwrap() {
        assert!(
            read(&file) == text,
            "crds/{file} is not what the types generate: run `{REGENERATE}` and commit it"
        );
        let of_chart = read(&format!("{CHART}/{file}"));
        assert!(of_chart == text, "{CHART}/{file} is not: run `{REGENERATE}` and commit it");
    }
}

#[test]
fn the_yaml_reads_back_as_the_same_crd() {
    let ours = [MultiArchImage::crd(), MultiArchImageSet::crd()];
    for ((_, text), mut expected) in files().unwrap().into_iter().zip(ours) {
        let crd: CustomResourceDefinition = serde_json::from_value(parse(&text)).unwrap();
        expected.spec.versions[0].schema.clone_from(&crd.spec.versions[0].schema);
        assert_eq!(crd, expected);
    }
}

#[test]
fn group_and_version_are_the_constants() {
    assert_eq!(MultiArchImage::group(&()), GROUP);
    assert_eq!(MultiArchImage::version(&()), VERSION);
    assert_eq!(MultiArchImageSet::group(&()), GROUP);
    assert_eq!(MultiArchImageSet::version(&()), VERSION);
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn every_field_is_explained_on_one_line(#[case] file: &str) {
    let unexplained = offenders(&schema(file), |path, schema| {
        // The root's own three are the API server's.
        let inherited = [
            "",
            ".metadata",
            ".spec.annotations{}",
            ".spec.sources[].annotations{}",
            ".status.platforms[].attestations[]",
            ".status.tags[]",
            ".status.coverage.missing[]",
            ".status.coverage.nodesMissing[]",
            ".spec.template.annotations{}",
        ];
        let text = schema["description"].as_str().unwrap_or_default();
        !inherited.contains(&path) && (text.is_empty() || text.replace("\n\n", "").contains('\n'))
    });
    assert_eq!(unexplained, Vec::<String>::new());
    let begins =
        if file == IMAGES { "A MultiArchImage publishes" } else { "A MultiArchImageSet keeps" };
    assert!(schema(file)["description"].as_str().unwrap().starts_with(begins));
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn every_value_of_an_enum_is_explained_by_its_field(#[case] file: &str) {
    let unexplained = offenders(&schema(file), |_, schema| {
        let text = schema["description"].as_str().unwrap_or_default();
        let values = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        values.into_iter().any(|value| {
            !text.contains(&format!("{value}:")) && !text.contains(&format!("{value} (default):"))
        })
    });
    assert_eq!(unexplained, Vec::<String>::new());
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn every_default_is_explained_by_its_field(#[case] file: &str) {
    let unexplained = offenders(&schema(file)["properties"]["spec"], |_, schema| {
        let text = schema["description"].as_str().unwrap_or_default();
        let default = schema["default"]
            .as_str()
            .map_or_else(|| schema["default"].to_string(), ToOwned::to_owned);
        schema.get("default").is_some()
            && !text.contains(&format!("Default: {default}."))
            && !text.contains(&format!("{default} (default)"))
    });
    assert_eq!(unexplained, Vec::<String>::new());
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn every_list_map_and_string_of_the_spec_is_bounded(#[case] file: &str) {
    let unbounded =
        offenders(&schema(file)["properties"]["spec"], |_, schema| match schema["type"].as_str() {
            Some("array") => {
                !schema["maxItems"].is_number() || !schema["x-kubernetes-list-type"].is_string()
            }
            Some("object") => {
                !schema["properties"].is_object() && !schema["maxProperties"].is_number()
            }
            Some("string") => !schema["maxLength"].is_number() && !schema["enum"].is_array(),
            Some(_) => false,
            None => true,
        });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn every_list_of_the_status_is_bounded(#[case] file: &str) {
    let unbounded = offenders(&schema(file)["properties"]["status"], |_, schema| {
        schema["type"] == "array"
            && !(schema["maxItems"].is_number() && schema["x-kubernetes-list-type"].is_string())
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn every_rule_says_what_to_do(#[case] file: &str) {
    let mut rules = 0;
    let silent = offenders(&schema(file), |_, schema| {
        let rule = schema["x-kubernetes-validations"].as_array();
        rule.into_iter()
            .flatten()
            .any(|rule| rule.get("message").or(rule.get("messageExpression")).is_none())
    });
    walk("", &schema(file), &mut |_, schema| {
        rules += schema["x-kubernetes-validations"].as_array().map_or(0, Vec::len);
    });
    assert_eq!(silent, Vec::<String>::new());
    assert!(rules > 30, "only {rules} rules came out of the attributes");
}

#[rstest]
#[case::images(IMAGES, &[
    ".spec.equalLabels: set",
    ".spec.imagePullSecrets: map by \"name\"",
    ".spec.registries: map by \"host\"",
    ".spec.requiredPlatforms: set",
    ".spec.sources: map by \"name\"",
    ".spec.sources[].platforms: set",
    ".spec.target.additionalTags: set",
    ".status.conditions: map by \"type\"",
    ".status.coverage.missing: atomic",
    ".status.coverage.nodesMissing: atomic",
    ".status.pendingTags: atomic",
    ".status.platforms: atomic",
    ".status.platforms[].attestations: atomic",
    ".status.sources: atomic",
    ".status.tags: atomic",
])]
#[case::sets(SETS, &[
    ".spec.archives: map by \"path\"",
    ".spec.images: atomic",
    ".spec.platforms: set",
    ".spec.template.equalLabels: set",
    ".spec.template.imagePullSecrets: map by \"name\"",
    ".spec.template.registries: map by \"host\"",
    ".spec.template.requiredPlatforms: set",
    ".spec.template.target.additionalTags: set",
    ".status.conditions: map by \"type\"",
    ".status.failing: atomic",
])]
fn lists_merge_as_jobs_and_people_need_it(#[case] file: &str, #[case] expected: &[&str]) {
    let mut lists = Vec::new();
    walk("", &schema(file), &mut |path, schema| {
        if let Some(kind) = schema["x-kubernetes-list-type"].as_str() {
            let keys = schema["x-kubernetes-list-map-keys"]
                .as_array()
                .map(|keys| format!(" by {}", keys[0]));
            lists.push(format!("{path}: {kind}{}", keys.unwrap_or_default()));
        }
    });
    assert_eq!(lists, expected);
}

#[rstest]
#[case::images(IMAGES)]
#[case::sets(SETS)]
fn a_new_object_is_not_taken_for_a_finished_one(#[case] file: &str) {
    assert_eq!(schema(file)["properties"]["status"]["default"], json!({"observedGeneration": -1}));
}

#[test]
fn columns_show_what_people_look_for() {
    let of_sets = ["TO", "IMAGES", "READY", "STATUS", "AGE"];
    columns_are(&MultiArchImageSet::crd(), &of_sets, &["FAILING"]);
    let narrow = ["TARGET", "PLATFORMS", "READY", "STATUS", "AGE"];
    columns_are(&MultiArchImage::crd(), &narrow, &["DIGEST", "MISSING", "PUBLISHED"]);
}

fn columns_are(crd: &CustomResourceDefinition, of_narrow: &[&str], of_wide: &[&str]) {
    let columns = crd.spec.versions[0].additional_printer_columns.iter().flatten();
    let (wide, narrow): (Vec<_>, Vec<_>) = columns.partition(|column| column.priority == Some(1));
    let names = |columns: Vec<&CustomResourceColumnDefinition>| -> Vec<_> {
        columns.iter().map(|column| column.name.to_uppercase()).collect()
    };
    assert_eq!(names(narrow), of_narrow);
    assert_eq!(names(wide), of_wide);
}

#[test]
fn defaults_in_rust_are_those_of_the_schema() {
    let spec = json!({"target": {"image": ""}, "sources": []});
    let spec: MultiArchImageSpec = serde_json::from_value(kube::core::cel::apply_defaults(
        &schema(IMAGES)["properties"]["spec"],
        &spec,
    ))
    .unwrap();
    assert_eq!(spec, MultiArchImageSpec::default());
    let bare = json!({"images": ["a:1"], "to": {"registry": "registry.local"}});
    let full = kube::core::cel::apply_defaults(&schema(SETS)["properties"]["spec"], &bare);
    assert_ne!(full, bare);
    let [bare, full] =
        [bare, full].map(|spec| serde_json::from_value::<MultiArchImageSetSpec>(spec).unwrap());
    assert_eq!(bare, full);
}

/// What a set's template leaves out is the default of the other kind, so that two places never say two things.
#[test]
fn a_template_is_the_other_kinds_spec() {
    let (sets, images) = (schema(SETS), schema(IMAGES));
    let template = &sets["properties"]["spec"]["properties"]["template"]["properties"];
    let spec = &images["properties"]["spec"]["properties"];
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let (of_template, of_spec) = (names(template), names(spec));
    let differ: Vec<_> = of_template.symmetric_difference(&of_spec).collect();
    assert_eq!(differ, ["source", "sources"]);
    for name in of_template.intersection(&of_spec).filter(|name| *name != "target") {
        assert_eq!(template[name], spec[name], "{name}");
    }
    let of_target = |of: &Value| names(&of["target"]["properties"]);
    let (of_template, of_spec) = (of_target(template), of_target(spec));
    let filled_in: Vec<_> = of_spec.difference(&of_template).collect();
    assert_eq!(filled_in, ["image"]);
    assert_eq!(names(&template["source"]["properties"]).len(), 2);
}

#[test]
fn an_empty_status_writes_nothing() {
    assert_eq!(serde_json::to_value(MultiArchImageStatus::default()).unwrap(), json!({}));
    assert_eq!(serde_json::to_value(MultiArchImageSetStatus::default()).unwrap(), json!({}));
}

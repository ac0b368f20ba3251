//! What a user names stays a text, and is as long as may be.

use std::{collections::BTreeSet, fs};

use anyhow::Result;
use multiarch_e2e::helm::{Helm, Release, chart};
use serde_json::{Value, json};

use crate::{
    cases::{NUMBERS, PEM, cases},
    yaml::{self, objects, of_kind, render, render_case},
};

/// What prints a value where YAML would guess what it is: a text has `quote`, a number `int`, and the rest is made by `toYaml`.
#[test]
fn no_template_prints_a_bare_value() {
    let (mut seen, mut bare) = (0, Vec::new());
    let folders = ["templates", "templates/tests"].map(|name| chart().join(name));
    for file in folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()) {
        let path = file.unwrap().path();
        if path.is_dir() || path.ends_with("NOTES.txt") {
            continue;
        }
        for line in yaml::read(&path).lines() {
            let Some((before, printed)) = line.split_once("{{") else { continue };
            let key = before.trim_start();
            let is_value = key.ends_with(": ") || key.ends_with("- ") || key.ends_with('[');
            if !is_value || printed.starts_with('-') {
                continue;
            }
            seen += 1;
            let safe = ["| quote }}", "{ int ", "toYaml", "{ .kind }}"];
            let printed = format!("{{{printed}");
            if !safe.iter().any(|of| printed.contains(of)) {
                bare.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(seen > 50, "{seen}");
    assert_eq!(bare, [""; 0]);
}

/// Each name of a release `123` in a namespace `456` is a text; the schemas and the API server are asked in `render`.
#[tokio::test]
async fn names_that_look_like_numbers_are_texts() {
    let (name, values) = cases().into_iter().find(|(name, _)| *name == NUMBERS).unwrap();
    let objects = render_case(name, &values).await;
    let mut shards = BTreeSet::new();
    for object in objects.iter().filter(|of| of["kind"] != "CustomResourceDefinition") {
        texts(object);
        let labels = &object["metadata"]["labels"];
        if object["kind"] == "Deployment" {
            shards.insert(labels["multiarch.dev/shard"].as_str().unwrap());
            assert_eq!(object["metadata"]["namespace"], "456");
            assert_eq!(labels["app.kubernetes.io/instance"], "123");
            assert_eq!(labels["1"], "2");
        }
    }
    assert_eq!(shards, BTreeSet::from(["main", "1", "true", "on", "null", "1e3"]));
}

/// Each scalar whose key says that it is a name, a label or an annotation is a text.
fn texts(value: &Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let named = ["name", "namespace", "secretName", "key", "priorityClassName"];
                if named.contains(&&**key) || key == "serviceAccountName" {
                    assert!(value.is_string() || value.is_object(), "{key}: {value}");
                }
                if ["labels", "annotations", "matchLabels", "nodeSelector"].contains(&&**key) {
                    let all = value.as_object().into_iter().flatten();
                    all.for_each(|(key, value)| {
                        assert!(value.is_string() || value.is_object(), "{key}: {value}");
                    });
                }
                texts(value);
            }
        }
        Value::Array(all) => all.iter().for_each(texts),
        _ => {}
    }
}

/// A PEM may begin with blanks, and comes as it is.
#[tokio::test]
async fn an_inline_ca_is_what_was_given() {
    for pem in [
        PEM.to_owned(),
        format!("   {PEM}"),
        format!("\t# Ours: \"a\"\n\n{PEM}"),
        format!("\n\n  {PEM}"),
    ] {
        let objects = render(&json!({"caBundle": {"inline": pem}})).await;
        let map = of_kind(&objects, "ConfigMap")[0];
        assert_eq!(map["data"]["ca.crt"].as_str().unwrap().trim_end(), pem.trim_end());
    }
}

#[tokio::test]
async fn a_large_number_is_one() {
    let objects = render(&json!({"podDisruptionBudget": {"maxUnavailable": 1_000_000}})).await;
    assert_eq!(of_kind(&objects, "PodDisruptionBudget")[0]["spec"]["maxUnavailable"], 1_000_000);
}

/// The names of what is made for a release of that name.
async fn names(release: &str) -> Result<BTreeSet<String>> {
    let release = Release { name: release, namespace: "a", values: &json!({}) };
    let rendered = Helm::new()?.template(release, &["deployment.yaml", "service.yaml"]).await?;
    let names = objects(&rendered)
        .iter()
        .map(|of| of["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    Ok(names)
}

/// A release's name may have 53 characters, and what is made of it has fewer; two that differ only at the end stay two.
#[tokio::test]
async fn long_names_differ() -> Result<()> {
    let long = |end: char| format!("{}{end}", "a".repeat(52));
    let (one, other) = (names(&long('1')).await?, names(&long('2')).await?);
    assert!(one.is_disjoint(&other), "{one:?}");
    for name in one.iter().chain(&other) {
        assert!(name.len() <= 63 && name.starts_with("aaaa"), "{name}");
    }
    // What fits stays as it is.
    let fits = "a".repeat(31);
    assert!(names(&fits).await?.contains(&format!("{fits}-multiarch-operator")));
    // A Service's name begins with a letter.
    assert!(names("1").await?.contains("metrics-1-multiarch-operator"));
    Ok(())
}

//! The chart's README is made of values.yaml, and what it and the docs name is there.

use std::{env, fs};

use multiarch_e2e::{
    bin::workspace,
    helm::chart,
    values::{documented, table},
};
use serde_json::Value;

use crate::yaml;

const HEAD: &str =
    "<!-- Made of values.yaml: UPDATE=1 cargo test --workspace --test chart docs:: -->\n";

/// Holds the file `path` to `made` after its head, or writes it (`UPDATE=1`).
pub(crate) fn hold(path: &std::path::Path, head: &str, made: &str) {
    let text = yaml::read(path);
    let (before, _) =
        text.split_once(head).unwrap_or_else(|| panic!("no {head} in {}", path.display()));
    let whole = format!("{before}{head}\n{made}");
    if env::var_os("UPDATE").is_some() {
        fs::write(path, &whole).unwrap();
    }
    assert!(
        yaml::read(path) == whole,
        "{} is not true any more: UPDATE=1 writes what is",
        path.display()
    );
}

#[test]
fn the_readme_has_every_value() {
    let all = documented(&yaml::file("values.yaml")).unwrap();
    assert!(all.len() > 100);
    hold(&chart().join("README.md"), HEAD, &table(&all));
}

/// What docs and README call a value of the chart (`--set a.b=…`, `a.b: …` in backticks) is one.
#[test]
fn the_docs_name_values_that_there_are() {
    let values = yaml::values();
    let mut wrong = Vec::new();
    let folder = workspace().join("docs");
    for name in [
        "install.md",
        "upgrade.md",
        "uninstall.md",
        "configuration.md",
        "sizing.md",
        "monitoring.md",
        "admission.md",
    ] {
        let text = yaml::read(&folder.join(name));
        let sets = text.split("--set ").skip(1).map(|rest| rest.split(['=', ' ', '\n']).next());
        let sets = sets.flatten().map(|path| path.split(['{', '[']).next().unwrap_or_default());
        let ticks = text.split('`').skip(1).step_by(2).filter(|word| is_path(&values, word));
        for path in sets.chain(ticks) {
            if !is_value(&values, path.trim_end_matches(':')) {
                wrong.push(format!("{name}: {path}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// `a.b` or `a.b: c`, where there is an `a`.
fn is_path(values: &Value, word: &str) -> bool {
    let path = word.split([':', '=']).next().unwrap_or_default();
    let of = path.split('.').next().unwrap_or_default();
    path.contains('.') && values.get(of).is_some_and(Value::is_object)
}

fn is_value(values: &Value, word: &str) -> bool {
    let path = word.split([':', '=']).next().unwrap_or_default();
    let found = values.pointer(&format!("/{}", path.replace('.', "/")));
    // Labels are the user's.
    let open = path.contains(".labels.") || path.contains(".matchLabels.");
    found.is_some() || path.starts_with("global.") || open
}

/// The chart, the operator and its image are one release.
#[test]
fn the_chart_has_the_operators_version() {
    let chart = yaml::parse(&yaml::file("Chart.yaml"));
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}

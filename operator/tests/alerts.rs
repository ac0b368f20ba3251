//! The alert rules and the dashboard of the chart, and the page about them: of metrics that there are, each alert with its page.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "alerts/every.rs"]
mod every;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use multiarch_operator::metrics::Format;
use regex::Regex;
use serde_json::Value;

const RUNBOOKS: &str =
    "https://github.com/multiarch-operator/multiarch-operator/blob/main/docs/runbooks/";

/// What the API server counts, whose metric it is.
const OF_THE_API_SERVER: &str = "apiserver_validating_admission_policy_check_total";
const ITS_LABELS: [&str; 4] = ["policy", "policy_binding", "enforcement_action", "error_type"];

/// What Prometheus adds by itself.
const OF_A_TARGET: [&str; 3] = ["job", "instance", "pod"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn alerts() -> Vec<Value> {
    let text = read("charts/multiarch-operator/files/alerts.yaml");
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Every metric, by the names of its samples, with its labels.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let text = every::metrics().render(Format::Text);
    let sample = Regex::new(r"^([a-z_]+)(?:\{(.*)\})? ").unwrap();
    let label = Regex::new("([a-z_]+)=").unwrap();
    let of = |line: &str| {
        let sample = sample.captures(line)?;
        let labels = sample.get(2).map_or("", |labels| labels.as_str());
        let labels = label.captures_iter(labels).map(|label| label[1].to_owned()).collect();
        Some((sample[1].to_owned(), labels))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(of).collect()
}

/// Those, and what alerts read of others.
fn metrics_of_alerts() -> BTreeMap<String, BTreeSet<String>> {
    let others = ITS_LABELS.map(ToOwned::to_owned).into();
    metrics().into_iter().chain([(OF_THE_API_SERVER.to_owned(), others)]).collect()
}

/// What `expr` is wrong about.
fn wrong(expr: &str, metrics: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let name = Regex::new("(?:multiarch|apiserver)_[a-z_]+").unwrap();
    let names: BTreeSet<_> = name.find_iter(expr).map(|name| name.as_str()).collect();
    let mut wrong: Vec<_> = if names.is_empty() { vec!["no metric".to_owned()] } else { vec![] };
    let labels: BTreeSet<&str> =
        names.iter().filter_map(|name| metrics.get(*name)).flatten().map(String::as_str).collect();
    wrong
        .extend(names.iter().filter(|name| !metrics.contains_key(**name)).map(ToString::to_string));
    let list = Regex::new(r"by \(([^)]*)\)").unwrap();
    let matcher = Regex::new(r#"([a-z_]+)(?:=|!=|=~|!~)""#).unwrap();
    let grouped = list
        .captures_iter(expr)
        .flat_map(|by| by[1].split(", ").map(str::to_owned).collect::<Vec<_>>());
    let chosen = matcher.captures_iter(expr).map(|label| label[1].to_owned());
    let used = grouped.chain(chosen);
    wrong.extend(
        used.filter(|of| !labels.contains(of.as_str()) && !OF_A_TARGET.contains(&of.as_str())),
    );
    wrong
}

/// All of `key` in `value`, however deep.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| all(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| all(value, key, found)),
        _ => {}
    }
}

#[test]
fn alerts_are_of_metrics_that_there_are() {
    let metrics = metrics_of_alerts();
    let label = Regex::new(r"\$labels\.([a-z_]+)").unwrap();
    let list = Regex::new(r"by \(([^)]*)\)").unwrap();
    for alert in alerts() {
        let expr = alert["expr"].as_str().unwrap();
        assert_eq!(wrong(expr, &metrics), [""; 0], "{expr}");
        // What the words name is what the result has.
        let words =
            format!("{}{}", alert["annotations"]["summary"], alert["annotations"]["description"]);
        let grouped: BTreeSet<_> =
            list.captures_iter(expr).flat_map(|by| by.extract::<1>().1[0].split(", ")).collect();
        for label in label.captures_iter(&words) {
            assert!(grouped.contains(&label[1]), "{} is not in the result of {expr}", &label[1]);
        }
    }
}

#[test]
fn the_dashboard_is_of_metrics_that_there_are() {
    let metrics = metrics();
    let dashboard: Value =
        serde_json::from_str(&read("charts/multiarch-operator/files/dashboard.json")).unwrap();
    let mut exprs = Vec::new();
    all(&dashboard, "expr", &mut exprs);
    assert!(exprs.len() > 10);
    for expr in &exprs {
        assert_eq!(wrong(expr, &metrics), [""; 0], "{expr}");
    }
    // And everything that is counted is shown.
    let name = |sample: &str| {
        sample
            .trim_end_matches("_bucket")
            .trim_end_matches("_sum")
            .trim_end_matches("_count")
            .to_owned()
    };
    let unseen: BTreeSet<_> = metrics
        .keys()
        .map(|sample| name(sample))
        .filter(|name| !exprs.iter().any(|expr| expr.contains(name.as_str())))
        .collect();
    assert_eq!(unseen, BTreeSet::new());
    let mut ids: Vec<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
    let panels = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), panels);
}

#[test]
fn each_alert_has_its_page_and_each_page_its_alert() {
    let mut pages: BTreeSet<String> = fs::read_dir(root().join("docs/runbooks"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let page = format!("{name}.md");
        assert_eq!(alert["annotations"]["runbook_url"], format!("{RUNBOOKS}{page}"));
        assert!(pages.remove(&page), "docs/runbooks/{page} is missing");
        let text = read(&format!("docs/runbooks/{page}"));
        assert!(text.starts_with(&format!("# {name}\n")), "{page}");
        for part in ["**What it does.**", "**What to look at.**"] {
            assert!(text.contains(part), "{page} does not say {part}");
        }
    }
    assert_eq!(pages, BTreeSet::new(), "pages without an alert");
}

#[test]
fn a_metric_that_there_is_not_is_found() {
    let metrics = metrics();
    assert_eq!(wrong("sum by (host) (multiarch_registry_requests_total)", &metrics), ["host"]);
    assert_eq!(wrong(r#"multiarch_requests{code="1"}"#, &metrics), ["multiarch_requests", "code"]);
    assert_eq!(wrong("up", &metrics), ["no metric"]);
}

/// docs/monitoring.md has each metric, its type and its labels, and no others; and each alert, with the time that it waits and its severity.
#[test]
fn the_page_is_of_what_there_is() {
    let page = read("docs/monitoring.md");
    let row = |line: &str| {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = |start: &str| -> Vec<Vec<String>> {
        page.lines().filter(|line| line.starts_with(start)).map(row).collect()
    };
    let samples = metrics();
    let text = every::metrics().render(Format::Text);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let there_are: BTreeSet<_> = families
        .map(|(name, kind)| {
            let labels =
                samples.get(name).or_else(|| samples.get(&format!("{name}_count"))).unwrap();
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            [format!("`{name}`"), kind.to_owned(), labels.join(" ")]
        })
        .collect();
    let told = rows("| `multiarch_");
    assert!(told.iter().all(|row| row.len() == 4 && !row[3].is_empty()), "a row without a meaning");
    let told: BTreeSet<_> =
        told.iter().map(|row| [0, 1, 2].map(|cell| row[cell].clone())).collect();
    assert_eq!(told, there_are);

    let there_are: BTreeSet<_> = alerts()
        .iter()
        .map(|alert| {
            let [name, time] = ["alert", "for"].map(|key| alert[key].as_str().unwrap());
            let severity = alert["labels"]["severity"].as_str().unwrap();
            [format!("[{name}](runbooks/{name}.md)"), time.to_owned(), severity.to_owned()]
        })
        .collect();
    let told = rows("| [MultiArch");
    let told: BTreeSet<_> =
        told.iter().map(|row| [0, 1, 2].map(|cell| row[cell].clone())).collect();
    assert_eq!(told, there_are);
}

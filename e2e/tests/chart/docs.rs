//! The chart's README is made of values.yaml, and what it and the docs name is there.

use std::{collections::BTreeSet, env, fs};

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

/// All pages that speak of the chart: those of docs/, and the READMEs.
fn pages() -> Vec<(String, String)> {
    let folders = ["docs", "docs/runbooks"].map(|name| workspace().join(name));
    let of_docs = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let of_docs = of_docs.map(|file| file.unwrap().path());
    let readmes = [workspace().join("README.md"), chart().join("README.md")];
    let all = of_docs.chain(readmes).filter(|path| path.extension().is_some_and(|of| of == "md"));
    let mut all: Vec<_> = all.map(|path| (path.display().to_string(), yaml::read(&path))).collect();
    all.sort();
    assert!(all.len() > 15, "{}", all.len());
    all
}

/// The blocks of `kind` in a page.
fn blocks<'a>(page: &'a str, kind: &str) -> Vec<&'a str> {
    let open = format!("```{kind}\n");
    page.split(&open).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The paths that are set by each `--set A=…,B=…`.
fn set(page: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, flag) in page.match_indices("--set") {
        let rest = page[at + flag.len()..]
            .trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '-');
        // The flag alone, in backticks.
        let Some(rest) = rest.strip_prefix([' ', '=']) else { continue };
        let rest = rest.trim_start_matches(['\'', '"']);
        let all = rest.split([' ', '\n', '`', '\'', '"']).next().unwrap_or_default();
        let mut depth = 0;
        let pairs = all.split(|c: char| {
            depth += i32::from("{[".contains(c)) - i32::from("}]".contains(c));
            c == ',' && depth == 0
        });
        for pair in pairs {
            let (path, _) = pair.split_once('=').unwrap_or((pair, ""));
            paths.push(path.split(['{', '[']).next().unwrap_or_default().to_owned());
        }
    }
    paths
}

#[test]
fn each_pair_of_a_set_is_read() {
    let text = "helm install … --set a.b=…,c={x,y},d=1 \\\n  --set-string 'e=1,f[0].g=2' `--set` `--set h.i=[::]`";
    assert_eq!(set(text), ["a.b", "c", "d", "e", "f", "h.i"]);
}

/// What else has a word with dots or a colon after it, by its first part: keys of Secrets and of others' files, fields of others' APIs, and hosts.
const OTHERS: [&str; 15] = [
    "azure",
    "ca",
    "docker",
    "ghcr",
    "images",
    "io",
    "metadata",
    "multiarch",
    "nsswitch",
    "os",
    "public",
    "registry",
    "scrape_configs",
    "tls",
    "validation",
];

/// `--set a.b=…` sets a value that there is, and so does `a.b: …` in backticks.
#[test]
fn the_docs_name_values_that_there_are() {
    let values = yaml::values();
    let fields = fields();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, text) in pages() {
        for path in set(&text) {
            seen += 1;
            if !is_value(&values, &path) {
                wrong.push(format!("{name}: --set {path}"));
            }
        }
        let prose = prose(&text);
        for word in prose.split('`').skip(1).step_by(2) {
            let Some(path) = path(word) else { continue };
            let first = path.split('.').next().unwrap_or_default();
            // A field of our API, or of another's.
            let others = fields.contains(first) || OTHERS.contains(&first);
            let is_ours = values.get(first).is_some();
            if is_value(&values, path) {
                seen += 1;
            } else if is_ours && path.contains('.') || !others {
                wrong.push(format!("{name}: `{word}`"));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "no values of the chart");
    assert!(seen > 150, "{seen}");
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// The path of a word in backticks that names a value: `a.b`, `a: …` or `a=…`.
fn path(word: &str) -> Option<&str> {
    let path = word.split([':', '=']).next()?;
    let segment = |of: &str| {
        of.starts_with(|c: char| c.is_ascii_lowercase())
            && of.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let rest = &word[path.len()..];
    let told = path.contains('.') || rest.starts_with(": ") || rest.starts_with('=');
    (told && path.split('.').all(segment)).then_some(path)
}

/// The names of all fields of our API.
fn fields() -> BTreeSet<String> {
    fn below(schema: &Value, found: &mut BTreeSet<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            found.insert(name.clone());
            below(field, found);
            below(&field["items"], found);
        }
    }
    let mut found = BTreeSet::new();
    for name in ["multiarchimages", "multiarchimagesets"] {
        let crd = yaml::parse(&yaml::read(&workspace().join(format!("crds/{name}.yaml"))));
        below(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
    }
    found
}

fn is_value(values: &Value, path: &str) -> bool {
    let found = values.pointer(&format!("/{}", path.replace('.', "/")));
    // Labels are the user's.
    let open = path.contains(".labels.") || path.contains(".matchLabels.");
    found.is_some() || path.starts_with("global.") || open
}

/// A block of values is rendered by the chart: no key of it is misspelt.
#[tokio::test]
async fn the_docs_values_render() {
    let (values, fields) = (yaml::values(), fields());
    let mut rendered = 0;
    for (name, text) in pages() {
        for block in blocks(&text, "yaml") {
            let mut all = yaml::objects(block);
            // Objects, or a part of one.
            all.retain(|block| block.get("kind").is_none());
            let [block] = &all[..] else { continue };
            let mut keys = block.as_object().unwrap().keys();
            let is_other = |key: &String| {
                values.get(key).is_none() && (fields.contains(key) || OTHERS.contains(&&**key))
            };
            if keys.all(is_other) {
                continue;
            }
            if let Err(error) = yaml::text(block).await {
                panic!("{name}: {block}: {error}");
            }
            rendered += 1;
        }
    }
    assert!(rendered > 0, "no block of values was found");
}

/// The chart, the operator and its image are one release.
#[test]
fn the_chart_has_the_operators_version() {
    let chart = yaml::parse(&yaml::file("Chart.yaml"));
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}

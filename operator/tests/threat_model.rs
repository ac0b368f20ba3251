//! docs/threat-model.md keeps its word: each line of its tables names tests, and they exist.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of the rows of those tables whose last column is `tests`.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut of_tests = false;
    for line in page.lines() {
        if !line.starts_with("| ") {
            of_tests = false;
            continue;
        }
        let row: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if row.last() == Some(&"tests") {
            of_tests = true;
        } else if of_tests && !line.starts_with("| ---") {
            rows.push(row);
        }
    }
    rows
}

/// The files that may have the tests of a module.
fn files(module: &str) -> Vec<String> {
    let path = module.replace("::", "/");
    if let Some(path) = path.strip_prefix("lib/") {
        return ["", "/tests"].map(|tests| format!("operator/src/{path}{tests}.rs")).into();
    }
    if ["promises/", "soak/", "admission/", "chart/"].iter().any(|of| path.starts_with(of)) {
        return vec![format!("e2e/tests/{path}.rs")];
    }
    vec![format!("operator/tests/{path}.rs")]
}

/// Whether `text` has a test called `name`, which nothing ignores.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().collect();
    let is_it = |line: &str| line.contains(&format!("fn {name}("));
    lines.iter().enumerate().filter(|(_, line)| is_it(line)).any(|(at, _)| {
        let before = lines[..at].iter().rev().take_while(|line| !line.trim().is_empty());
        before.clone().any(|line| {
            let line = line.trim();
            line.starts_with("#[test]")
                || line.starts_with("#[rstest]")
                || line.starts_with("#[tokio::test")
        }) && !before.clone().any(|line| line.contains(concat!("#[", "ignore")))
    })
}

#[test]
fn every_line_names_tests_that_exist() {
    let page = read("docs/threat-model.md");
    let rows = rows(&page);
    assert!(rows.len() > 35, "only {} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let [threat, defence, tests] = row[..] else {
            wrong.push(format!("not three cells: {row:?}"));
            continue;
        };
        let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() || defence.is_empty() {
            wrong.push(format!("{threat}: no test"));
        }
        for name in named {
            let found = name.rsplit_once("::").is_some_and(|(module, test)| {
                let read = |file| fs::read_to_string(root().join(file)).ok();
                let mut found = files(module).into_iter().filter_map(read);
                found.any(|text| has_test(&text, test))
            });
            if !found {
                wrong.push(format!("{threat}: no test is called {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What went wrong elsewhere is on the page, each with its test.
#[test]
fn every_lesson_is_on_the_page() {
    let page = read("docs/threat-model.md");
    let lessons = read("operator/tests/lessons.rs");
    let mut named = 0;
    for line in lessons.lines() {
        let Some(name) = line.strip_prefix("async fn ").and_then(|rest| rest.split('(').next())
        else {
            continue;
        };
        if has_test(&lessons, name) {
            assert!(page.contains(&format!("`lessons::{name}`")), "{name} is not on the page");
            named += 1;
        }
    }
    assert!(named >= 8, "only {named} lessons");
}

#[test]
fn the_pages_lead_to_each_other() {
    assert!(read("docs/threat-model.md").contains("](../SECURITY.md)"));
    assert!(read("SECURITY.md").contains("](docs/threat-model.md)"));
    let readme = read("README.md");
    assert!(readme.contains("](docs/threat-model.md)") && readme.contains("](SECURITY.md)"));
}

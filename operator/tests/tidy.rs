//! The invariants of ARCHITECTURE.md that text can show.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;

/// A source file: its path from the root of the workspace, and its lines.
struct File {
    path: String,
    text: String,
}

impl File {
    /// Its code: without comments, and without the tests at its end.
    fn code(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().take_while(|line| *line != "#[cfg(test)]");
        lines.filter(|line| !line.trim_start().starts_with("//"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The Rust files below `folders` of the workspace.
fn files(folders: &[&str]) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(&folder).unwrap() {
            let path = found.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.push(File { path, text });
            }
        }
    }
    assert!(!files.is_empty());
    files
}

fn everything() -> Vec<File> {
    files(&[
        "crds/src",
        "crds/tests",
        "operator/src",
        "operator/tests",
        "operator/fuzz/fuzz_targets",
        "image/src",
        "image/tests",
        "e2e/src",
        "e2e/tests",
    ])
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Each line of code of `files` that has one of `words`.
fn lines_with(files: &[File], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for line in file.code() {
            found.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}: {word}: {}", file.path, line.trim())),
            );
        }
    }
    found
}

const PURE: [&str; 60] = [
    "archive/header.rs",
    "archive/path.rs",
    "bin/kubectl-multiarch/cluster/goal.rs",
    "bin/kubectl-multiarch/cluster/name.rs",
    "bin/kubectl-multiarch/cluster/object.rs",
    "bin/kubectl-multiarch/cluster/set.rs",
    "bin/kubectl-multiarch/cluster/state.rs",
    "bin/kubectl-multiarch/export/object.rs",
    "bin/kubectl-multiarch/load/given.rs",
    "bin/kubectl-multiarch/load/images.rs",
    "bin/kubectl-multiarch/mirror/list.rs",
    "bin/kubectl-multiarch/objects/manifest_tool.rs",
    "bin/kubectl-multiarch/objects/strict.rs",
    "bin/kubectl-multiarch/objects/template.rs",
    "bin/kubectl-multiarch/run/tasks.rs",
    "reconcile/sources.rs",
    "reconcile/sources/error.rs",
    "reconcile/sources/format.rs",
    "reconcile/sources/provider.rs",
    "reconcile/access.rs",
    "reconcile/answers.rs",
    "reconcile/memory.rs",
    "reconcile/plan.rs",
    "reconcile/plan/coverage.rs",
    "reconcile/plan/draft.rs",
    "reconcile/plan/held.rs",
    "reconcile/plan/labels.rs",
    "reconcile/resolve/error.rs",
    "reconcile/resolve/inspect/found.rs",
    "reconcile/resolve/inspect/judge.rs",
    "reconcile/status.rs",
    "reconcile/status/conditions.rs",
    "reconcile/status/nodes.rs",
    "reconcile/status/run.rs",
    "reconcile/tags.rs",
    "reconcile/referrers/looks.rs",
    "reconcile/publish/error.rs",
    "leader/election.rs",
    "backoff.rs",
    "events.rs",
    "nodes.rs",
    "keychain/providers/answer.rs",
    "keychain/providers/duration.rs",
    "keychain/providers/pattern.rs",
    "selector.rs",
    "check/fields.rs",
    "check/rights.rs",
    "set/children.rs",
    "set/held.rs",
    "set/lines.rs",
    "set/status.rs",
    "coverage/changes.rs",
    "coverage/entries.rs",
    "coverage/facts.rs",
    "coverage/key.rs",
    "coverage/maps.rs",
    "coverage/plan.rs",
    "coverage/ranges.rs",
    "coverage/seen.rs",
    "coverage/value.rs",
];

#[rstest]
#[case::async_(&["async ", ".await", "tokio::"])]
#[case::clock(&["now()", "Instant", "SystemTime"])]
#[case::randomness(&["fastrand", "rand::"])]
#[case::clients(&["kube::Client", "kube::Api", "Client,", "Api<", "impl Registry", "R: Registry", "reqwest"])]
fn pure_files_are_pure(#[case] words: &[&str]) {
    let mut pure = files(&["operator/src"]);
    pure.retain(|file| {
        let path = file.path.strip_prefix("operator/src/").unwrap();
        !is_test(path) && (PURE.contains(&path) || path == "oci.rs" || path.starts_with("oci/"))
    });
    assert!(pure.len() > PURE.len() + 5, "files have moved: mend this list");
    assert_eq!(lines_with(&pure, words), [""; 0]);
}

/// The time is an argument of theirs, and so is chance.
#[test]
fn the_parts_of_a_budget_are_pure() {
    let mut parts = files(&["operator/src/registry/remote/budget"]);
    parts.retain(|file| !is_test(&file.path));
    assert!(parts.len() >= 4, "files have moved: mend this path");
    let impure = ["async ", ".await", "tokio::", "now()", "fastrand", "Mutex", "reqwest"];
    assert_eq!(lines_with(&parts, &impure), [""; 0]);
}

#[test]
fn only_registry_remote_names_the_http_client() {
    let mut others = files(&["crds/src", "operator/src"]);
    others.retain(|file| !file.path.starts_with("operator/src/registry/remote"));
    assert_eq!(lines_with(&others, &["reqwest"]), [""; 0]);
}

#[test]
fn only_main_controller_keychain_leader_check_coverage_and_the_cli_name_the_kubernetes_client() {
    let mut others = files(&["operator/src"]);
    others.retain(|file| {
        let path = file.path.strip_prefix("operator/src/").unwrap();
        let cli = "bin/kubectl-multiarch/cluster";
        let may = ["controller", "keychain", "leader", "check.rs", "coverage/writer.rs", cli];
        !may.iter().any(|may| path.starts_with(may)) && path != "main.rs"
    });
    // kube::runtime::events has the type of an Event, which is no client.
    let named = lines_with(&others, &["kube::Client", "kube::{", "kube::Api", "kube::Error"]);
    assert_eq!(named, [""; 0]);
}

/// A registry is never asked for everything at once, however much an object names.
#[test]
fn requests_go_out_a_few_at_a_time() {
    let steps = files(&["operator/src/reconcile"]);
    assert_eq!(lines_with(&steps, &["join_all", "FuturesUnordered"]), [""; 0]);
}

#[test]
fn bytes_of_an_index_are_made_in_one_place() {
    let made = lines_with(&files(&["operator/src"]), &["json::canonical(self)"]);
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].starts_with("operator/src/oci/index.rs"));
}

#[test]
fn status_finalizers_events_and_the_lease_alone_are_written_and_secrets_are_never_listed() {
    let mut all = files(&["operator/src"]);
    // Of the CLI only what is below cluster/ has a client, and elsewhere texts are replaced.
    let is_text = |path: &str| path.contains("/kubectl-multiarch/") && !path.contains("/cluster");
    all.retain(|file| {
        !file.path.contains("/registry/") && !is_test(&file.path) && !is_text(&file.path)
    });
    let mut written =
        lines_with(&all, &[".patch(", ".replace(", ".create(", "api.delete(", "replace_status"]);
    written.retain(|line| !line.starts_with("operator/src/leader.rs: "));
    // The coverage maps are the operator's own.
    let of_maps = |line: &String| line.starts_with("operator/src/coverage/writer.rs: ");
    assert_eq!(written.iter().filter(|line| of_maps(line)).count(), 2);
    written.retain(|line| !of_maps(line));
    let writer = all.iter().filter(|file| file.path.ends_with("/coverage/writer.rs"));
    let apis = writer.flat_map(File::code).filter(|line| line.contains("Api<"));
    assert!(apis.into_iter().all(|line| line.contains("Api<ConfigMap>")));
    // Who runs the CLI changes objects by it: suspends them, and asks for runs.
    let of_people = |line: &String| line.starts_with("operator/src/bin/kubectl-multiarch/");
    assert_eq!(written.iter().filter(|line| of_people(line)).count(), 1);
    written.retain(|line| !of_people(line));
    // An access review is a question: nothing is stored.
    let asks = |line: &String| line.starts_with("operator/src/check.rs: .create(: match reviews.");
    assert_eq!(written.iter().filter(|line| asks(line)).count(), 1);
    written.retain(|line| !asks(line));
    written.sort();
    let [finalizers, events, lists, objects, deleted] = written.as_slice() else {
        panic!("{written:?}")
    };
    assert!(finalizers.starts_with("operator/src/controller/finalizer.rs: .patch("));
    assert!(
        events.starts_with("operator/src/controller/report.rs: .create(")
            && events.contains("events.create")
    );
    // What sets own, and nothing else.
    let of_sets = "operator/src/controller/sets/apply.rs: ";
    for patched in [lists, objects] {
        assert!(patched.starts_with(&format!("{of_sets}.patch(")), "{patched}");
    }
    assert!(deleted.starts_with(&format!("{of_sets}api.delete(")), "{deleted}");
    let sets: Vec<_> = all.iter().filter(|file| file.path.contains("/sets/")).collect();
    assert!(sets.len() >= 2, "files have moved: mend this path");
    let apis = sets.iter().flat_map(|file| file.code()).filter(|line| line.contains("Api::<"));
    let apis: Vec<_> = apis.map(str::trim).collect();
    let may = ["Api::<MultiArchImage>", "Api::<ConfigMap>", "Api::<DynamicObject>"];
    assert!(
        apis.len() >= 3 && apis.iter().all(|line| may.iter().any(|of| line.contains(of))),
        "{apis:?}"
    );
    let of_kind =
        sets.iter().flat_map(|file| file.code()).filter(|line| line.contains("::erase::<"));
    assert!(of_kind.into_iter().all(|line| line.contains("::erase::<MultiArchImage")));
    let lists = sets.iter().flat_map(|file| file.code()).filter(|line| line.contains(".list(&"));
    assert_eq!(lists.count(), 0, "ConfigMaps are read one by one");
    let leader: Vec<_> = all.iter().filter(|file| file.path.contains("/leader")).collect();
    let apis = leader.iter().flat_map(|file| file.code()).filter(|line| line.contains("Api<"));
    assert!(apis.into_iter().all(|line| line.contains("Api<Lease>")));
    // Of both kinds.
    assert_eq!(lines_with(&all, &["patch_status("]).len(), 1);
    let keychain: Vec<_> = all.into_iter().filter(|file| file.path.contains("/keychain")).collect();
    assert_eq!(lines_with(&keychain, &[".list(", "watcher", "reflector", "Api::all"]), [""; 0]);
}

#[test]
fn files_are_short() {
    let mut long = files(&["crds/src", "operator/src", "image/src", "e2e/src"]);
    long.retain(|file| {
        let lines = file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        !is_test(&file.path) && lines > 400
    });
    let long: Vec<_> = long.into_iter().map(|file| file.path).collect();
    assert!(long.is_empty(), "split by step or by noun: {long:?}");
}

#[test]
fn files_open_with_what_they_are() {
    let mut silent = everything();
    silent.retain(|file| !file.text.starts_with("//! "));
    let silent: Vec<_> = silent.into_iter().map(|file| file.path).collect();
    assert!(silent.is_empty(), "a file opens with one `//!` sentence: {silent:?}");
}

#[test]
fn errors_are_made_on_purpose() {
    let from = concat!("#[", "from]");
    assert_eq!(lines_with(&everything(), &[from]), [""; 0]);
}

#[test]
fn no_test_is_ignored_or_sleeps() {
    let ignored = concat!("#[", "ignore");
    let sleeps = [concat!("sleep", "("), concat!("thread::", "sleep")];
    let mut found = Vec::new();
    for file in everything() {
        let tests: Vec<_> = file
            .text
            .lines()
            .skip_while(|line| !is_test(&file.path) && *line != "#[cfg(test)]")
            .collect();
        for line in tests {
            let bad = line.contains(ignored) || sleeps.iter().any(|sleep| line.contains(sleep));
            if bad && !line.trim_start().starts_with("//") {
                found.push(format!("{}: {}", file.path, line.trim()));
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

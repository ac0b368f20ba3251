//! What each set of values renders, as it was looked at and committed.

use std::{env, fmt::Write, fs};

use multiarch_e2e::{bin::workspace, helm::Helm};

use crate::cases::{cases, release};

/// Set to 1, the files are written anew.
const UPDATE: &str = "UPDATE";

/// Without the CRDs, which `render` compares with their file.
fn shown(rendered: &str) -> String {
    let mut shown = String::new();
    for document in rendered.split("---\n").filter(|text| !text.trim().is_empty()) {
        if !document.contains("\nkind: CustomResourceDefinition\n") {
            let _ = write!(shown, "---\n{}\n", document.trim_end());
        }
    }
    shown
}

#[tokio::test]
async fn each_set_renders_what_was_looked_at() {
    let folder = workspace().join("e2e/tests/chart/golden");
    let mut names = Vec::new();
    let mut differ = Vec::new();
    for (name, values) in cases() {
        let rendered = Helm::new().unwrap().template(release(name, &values), &[]).await;
        let text = shown(&rendered.unwrap());
        let file = folder.join(format!("{name}.yaml"));
        if env::var_os(UPDATE).is_some() {
            fs::write(&file, &text).unwrap();
        }
        if fs::read_to_string(&file).unwrap_or_default() != text {
            differ.push(name);
        }
        names.push(format!("{name}.yaml"));
    }
    assert!(
        differ.is_empty(),
        "these sets render something else than their files in {}: {differ:?}; look at what {UPDATE}=1 changes there",
        folder.display()
    );
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    names.sort();
    assert_eq!(files, names, "a file without a set");
}

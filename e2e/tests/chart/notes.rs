//! What helm tells after an install, for sets of values for which it differs.

use std::{env, fs};

use multiarch_e2e::{bin::workspace, charts::with_notes, helm::Helm};
use serde_json::{Value, json};

use crate::{cases::cases, yaml};

/// Set to 1, the files are written anew.
const UPDATE: &str = "UPDATE";

/// Sets of `cases`, and what only the notes speak of.
fn sets() -> Vec<(String, Value)> {
    let of_cases = [
        "default",
        "no-pods",
        "namespaced",
        "secrets-per-namespace",
        "namespaced-secrets-of-one",
        "shards",
        "own-rights",
    ];
    let all = cases().into_iter().filter(|(name, _)| of_cases.contains(name));
    let mut all: Vec<_> = all.map(|(name, values)| (name.to_owned(), values)).collect();
    assert_eq!(all.len(), of_cases.len());
    let nowhere = json!({"rbac": {"scope": "Namespaced", "secrets": "PerNamespace"}, "watchNamespaces": ["team-a"]});
    all.push(("secrets-of-none".into(), nowhere));
    all.push(("dangers".into(), json!({"crds": {"keep": false}, "insecureAllowHTTP": true})));
    all
}

async fn notes(values: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let chart = with_notes(folder.path()).unwrap();
    let rendered =
        Helm::new().unwrap().template_of(&chart, yaml::release(values), &["notes.yaml"]).await;
    let [object] = &yaml::objects(&rendered.unwrap())[..] else { panic!("one object") };
    object["data"]["notes"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notes_say_what_was_looked_at() {
    let folder = workspace().join("e2e/tests/chart/notes");
    let (mut names, mut differ) = (Vec::new(), Vec::new());
    for (name, values) in sets() {
        let text = format!("{}\n", notes(&values).await.trim_end());
        let file = folder.join(format!("{name}.txt"));
        if env::var_os(UPDATE).is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        if fs::read_to_string(&file).unwrap_or_default() != text {
            differ.push(name.clone());
        }
        names.push(format!("{name}.txt"));
    }
    assert!(
        differ.is_empty(),
        "these notes differ from their files in {}: {differ:?}",
        folder.display()
    );
    let files = fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names, "a file without a set");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_case_is_told_what_it_needs() {
    let has = async |values: Value, words: &[&str]| {
        let said = notes(&values).await;
        for word in words {
            assert!(said.contains(word), "{word}:\n{said}");
        }
    };
    // Each shard's Deployment is waited for.
    let wait = [
        "status deployment/multiarch-operator\n",
        "status deployment/multiarch-operator-a\n",
        "-b\n",
    ];
    has(json!({"shards": ["a", "b"]}), &wait).await;
    // The example is where its Secret can be read.
    let secrets = json!({"rbac": {"secrets": "PerNamespace", "secretNamespaces": ["b"]}, "watchNamespaces": ["a", "b"]});
    has(secrets, &["namespace: \"b\"}", "It may get Secrets in b only."]).await;
    let own = json!({"rbac": {"create": false}});
    has(own, &["no right was made", "ServiceAccount multiarch-operator of multiarch-system"]).await;
    let namespaced = json!({"rbac": {"scope": "Namespaced"}, "watchNamespaces": ["a"]});
    has(namespaced, &["rbac.userRoles has no effect"]).await;
}

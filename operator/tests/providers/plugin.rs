//! A real plugin: a script that writes down what it is asked, and does what a test says.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use multiarch_operator::keychain::providers::Provider;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";

pub(crate) struct Plugin {
    name: String,
    folder: TempDir,
}

/// An answer for the host of all repositories of a test.
pub(crate) fn answer(kept_by: &str, life: Option<&str>, password: &str) -> Value {
    answer_for("r.example", kept_by, life, password)
}

pub(crate) fn answer_for(key: &str, kept_by: &str, life: Option<&str>, password: &str) -> Value {
    json!({
        "apiVersion": VERSION, "kind": "CredentialProviderResponse", "cacheKeyType": kept_by,
        "cacheDuration": life, "auth": {key: {"username": "AWS", "password": password}},
    })
}

impl Plugin {
    pub(crate) fn new(name: &str, answer: &Value) -> Self {
        let plugin = Self { name: name.into(), folder: tempfile::tempdir().unwrap() };
        // A link, because a file that was just written may not be executed while another test forks.
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/credential-provider");
        symlink(script, plugin.path(name)).unwrap();
        plugin.answers(answer);
        plugin
    }

    pub(crate) fn answers(&self, answer: &Value) {
        self.prints(&answer.to_string());
    }

    pub(crate) fn prints(&self, text: &str) {
        fs::write(self.path("answer"), format!("{text}\n")).unwrap();
    }

    /// From now on it does this, as a shell does it, before it answers.
    pub(crate) fn does(&self, script: &str) {
        fs::write(self.path("do"), script).unwrap();
    }

    /// Its entry in a config, with more fields, or others.
    pub(crate) fn entry(&self, more: &Value) -> Value {
        let mut entry = json!({
            "name": self.name, "matchImages": ["*.example"], "defaultCacheDuration": "1h", "apiVersion": VERSION,
            "env": [{"name": "RECORD", "value": self.folder.path()}],
        });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    }

    /// Read as the operator reads it.
    pub(crate) fn provider(&self, more: &Value) -> Provider {
        let config = json!({
            "kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1",
            "providers": [self.entry(more)],
        });
        let file = self.path("config.json");
        fs::write(&file, config.to_string()).unwrap();
        Provider::read(&file, self.folder.path()).unwrap().remove(0)
    }

    /// What it was asked, run by run.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("requests")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// For which images it was run.
    pub(crate) fn images(&self) -> Vec<String> {
        let image = |request: Value| request["image"].as_str().unwrap().to_owned();
        self.requests().into_iter().map(image).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn written(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(name)).ok()?;
        text.ends_with('\n').then(|| text.trim_end().to_owned())
    }
}

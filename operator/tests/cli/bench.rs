//! The built binary with a home of its own, and a registry.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use multiarch_operator::registry::memory::{Lies, Server, Store, serve};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

use super::schema;

/// A home with files, and a registry.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) home: TempDir,
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self {
            server: serve(Store::new(), Lies::default()).await,
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.server.store()
    }

    /// `host:port/REST`
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("{}/{rest}", self.server.addr)
    }

    /// A file in its home, for a script where `mode` says so.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A program on its PATH.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.file(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// The command, without what this machine's own user has.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-multiarch"));
        let home: &Path = self.home.path();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(args)
            .env_clear()
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("PATH", format!("{}:{path}", home.join("bin").display()))
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, args: &[impl AsRef<OsStr>]) -> Ended {
        let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_str().unwrap()).collect();
        Ended::of(self.command(&args).output().await.unwrap())
    }

    /// With this on standard input.
    pub(crate) async fn told(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        Ended::of(child.wait_with_output().await.unwrap())
    }

    /// What the command prints as JSON, which the schema has, and how it ended.
    pub(crate) async fn json(&self, args: &[&str]) -> (i32, Value) {
        let ended = self.run(&[args, &["-o", "json"]].concat()).await;
        let value: Value =
            serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        schema::check(args[0], &value);
        (ended.code, value)
    }
}

impl Ended {
    pub(crate) fn of(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// An object that publishes `sources` as `target`.
pub(crate) fn object(name: &str, target: &str, sources: &[(&str, &str)]) -> Value {
    let sources: Vec<_> =
        sources.iter().map(|(name, image)| json!({ "name": name, "image": image })).collect();
    json!({
        "apiVersion": "multiarch.dev/v1alpha1",
        "kind": "MultiArchImage",
        "metadata": { "name": name, "namespace": "team-a" },
        "spec": { "target": { "image": target }, "sources": sources },
    })
}

/// Of each image its outcome, and its reason.
pub(crate) fn outcomes(results: &Value) -> Vec<String> {
    let images = results["images"].as_array().unwrap().iter();
    let of = |image: &Value| {
        let word = |name: &str| image[name].as_str().unwrap().to_owned();
        format!("{} {}", word("outcome"), word("reason"))
    };
    images.map(of).collect()
}

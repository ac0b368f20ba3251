//! A static program of what cargo has compiled already: only the last step, linking, is done again.
//!
//! Rust's libraries for glibc are the same for static and dynamic programs, but cargo compiles all of them anew for `-C target-feature`. Tests need
//! a static operator as well, and a second compilation would cost them minutes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::root;

/// Links the operator statically as `to`, out of the units of a build: what `cargo … --message-format=json` prints.
pub fn link(units: &str, to: &Path) -> Result<()> {
    let units = Units::of(units)?;
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--crate-name", "multiarch_operator", "--crate-type", "bin", "--edition", "2024"]);
    rustc.args(["-C", "target-feature=+crt-static", "-C", "strip=symbols"]);
    rustc.arg("-o").arg(to).arg(&units.main);
    for (name, library) in &units.libraries {
        rustc.arg("--extern").arg(format!("{name}={}", library.display()));
    }
    for folder in &units.folders {
        rustc.arg("-L").arg(format!("dependency={}", folder.display()));
    }
    for path in &units.native {
        rustc.arg("-L").arg(path);
    }
    // What cargo sets, and main.rs reads.
    rustc.env("CARGO_PKG_VERSION", env!("CARGO_PKG_VERSION"));
    let output = rustc.output().context("failed to run rustc")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "failed to link the operator statically: {told}");
    Ok(())
}

/// What a build has made.
#[derive(Debug, Default, PartialEq, Eq)]
struct Units {
    /// The operator's main.rs.
    main: PathBuf,
    /// The libraries by the names that code calls them.
    libraries: BTreeMap<String, PathBuf>,
    /// Where they are.
    folders: BTreeSet<PathBuf>,
    /// Where C libraries are.
    native: BTreeSet<String>,
}

impl Units {
    fn of(messages: &str) -> Result<Self> {
        let mut units = Self::default();
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Message =
                serde_json::from_str(line).context("cargo's messages are not as expected")?;
            units.native.extend(message.linked_paths);
            let Some(target) = message.target else { continue };
            let is = |kind: &str| target.kind.iter().any(|it| it == kind);
            if is("bin") && target.name == root::PROGRAM {
                units.main = target.src_path;
            } else if (is("lib") || is("rlib")) && message.profile.is_some_and(|it| !it.test) {
                let rlib = |path: &PathBuf| path.extension().is_some_and(|it| it == "rlib");
                let Some(rlib) = message.filenames.into_iter().find(rlib) else { continue };
                units.folders.extend(rlib.parent().map(Path::to_owned));
                units.libraries.insert(target.name.replace('-', "_"), rlib);
            }
        }
        ensure!(
            units.main.is_file() && units.libraries.contains_key("multiarch_operator"),
            "that build has no operator in it"
        );
        Ok(units)
    }
}

#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    profile: Option<Profile>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    linked_paths: Vec<String>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

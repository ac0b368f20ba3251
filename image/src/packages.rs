//! The packages that a build of the operator has in it, as cargo tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::root;

/// The package with the CAs, which the image has as a file.
const AUTHORITIES: &str = "webpki-root-certs";

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is from crates.io, and not of this workspace.
    pub published: bool,
    /// Its license, as SPDX says it.
    pub license: Option<String>,
    /// The packages that it uses: where they are in the list.
    pub uses: Vec<usize>,
}

/// The packages in the program, by name and version, and what stands beside it in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages {
    /// The packages in the program.
    pub program: Vec<Package>,
    /// The package with the CAs.
    pub authorities: Package,
}

impl Packages {
    /// Asks cargo (in the workspace) what a build for `target` has in it.
    pub fn ask(target: &str) -> Result<Self> {
        // The tree has the features that this package is built with; the metadata those of the whole workspace.
        let tree = ["tree", "--package", root::PROGRAM, "--edges", "normal,no-proc-macro"];
        let tree = cargo(target, &tree, &["--target", target, "--prefix", "none"])?;
        let metadata = ["metadata", "--format-version", "1"];
        let metadata = cargo(target, &metadata, &["--filter-platform", target])?;
        Self::of(&tree, &metadata)
    }

    /// From what `cargo tree` and `cargo metadata` print.
    pub fn of(tree: &str, metadata: &str) -> Result<Self> {
        let built = tree.lines().filter(|line| !line.is_empty()).map(named);
        let built: BTreeSet<(String, String)> = built.collect::<Result<_>>()?;
        let metadata: Metadata =
            serde_json::from_str(metadata).context("cargo's metadata is not as expected")?;
        let key = |found: &Found| (found.name.clone(), found.version.clone());
        let by_id: BTreeMap<_, _> =
            metadata.packages.iter().map(|found| (&*found.id, key(found))).collect();
        let place: BTreeMap<_, _> =
            built.iter().enumerate().map(|(place, key)| (key, place)).collect();
        let mut nodes: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for node in &metadata.resolve.nodes {
            let uses = node.deps.iter().filter(|used| used.is_linked());
            let uses = uses.filter_map(|used| place.get(by_id.get(&*used.pkg)?).copied());
            let uses: BTreeSet<_> = uses.collect();
            nodes.insert(&*node.id, uses.into_iter().collect());
        }
        let package = |found: &Found| Package {
            name: found.name.clone(),
            version: found.version.clone(),
            published: found.source.as_deref().is_some_and(|source| source.contains("crates.io")),
            license: found.license.clone(),
            uses: nodes.get(&*found.id).cloned().unwrap_or_default(),
        };
        let all: BTreeMap<_, _> =
            metadata.packages.iter().map(|found| (key(found), package(found))).collect();
        let in_it = |key| all.get(key).cloned().with_context(|| format!("cargo hides {key:?}"));
        let program: Vec<_> = built.iter().map(in_it).collect::<Result<_>>()?;
        ensure!(program.iter().any(|package| package.name == root::PROGRAM), "no operator in it");
        let authorities = all.into_values().find(|package| package.name == AUTHORITIES);
        let authorities = authorities.with_context(|| format!("cargo hides {AUTHORITIES}"))?;
        Ok(Self { program, authorities })
    }
}

/// From a line such as `bytes v1.12.1`, `crds v0.1.0 (/src/crds)` or `serde v1.0.2 (*)`.
fn named(line: &str) -> Result<(String, String)> {
    let mut words = line.split(' ');
    let (Some(name), Some(version)) = (words.next(), words.next()) else {
        bail!("cargo names a package as {line:?}")
    };
    let version = version.strip_prefix('v');
    let version = version.with_context(|| format!("cargo names a package as {line:?}"))?;
    Ok((name.into(), version.into()))
}

fn cargo(target: &str, command: &[&str], options: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.args(command).arg("--locked").args(options);
    let output = cargo.output().context("failed to run cargo")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {} for {target}: {told}", command.join(" "));
    String::from_utf8(output.stdout).context("cargo prints no text")
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Found>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Used>,
}

#[derive(Deserialize)]
struct Used {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

impl Used {
    /// Not only for a build script, or for tests.
    fn is_linked(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

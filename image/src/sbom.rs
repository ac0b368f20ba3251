//! What is in the image, for those who look for known weaknesses: as CycloneDX, and in the program itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde::Serialize;

use crate::{
    elf::Program,
    layout::{About, digest},
    packages::{Package, Packages},
    root,
};

/// The section of a program in which syft, trivy, grype and `cargo audit bin` look for its packages.
pub const SECTION: &str = ".dep-v0";

/// What goes into [`SECTION`]: cargo-auditable's format, JSON as zlib.
pub fn auditable(packages: &Packages) -> Result<Vec<u8>> {
    let packages = packages.program.iter().map(|package| Auditable {
        name: &package.name,
        version: &package.version,
        source: if package.published { "crates.io" } else { "local" },
        dependencies: &package.uses,
        root: package.name == root::PROGRAM,
    });
    let document = BTreeMap::from([("packages", packages.collect::<Vec<_>>())]);
    let json = serde_json::to_vec(&document).context("failed to write JSON")?;
    Ok(compress_to_vec_zlib(&json, 9))
}

/// A CycloneDX document of an image.
pub fn cyclonedx(
    packages: &Packages,
    program: &Program,
    bytes: &[u8],
    about: &About,
) -> Result<Vec<u8>> {
    let mut components: Vec<_> = packages.program.iter().map(Component::library).collect();
    let uses = |package: &Package| {
        let used = package.uses.iter().filter_map(|place| packages.program.get(*place));
        Dependency { of: reference(package), depends_on: used.map(reference).collect() }
    };
    let mut dependencies: Vec<_> = packages.program.iter().map(uses).collect();
    // The operator is what the document is about, and not one of its parts.
    components.retain(|component| component.name != root::PROGRAM);
    let operator = packages.program.iter().find(|package| package.name == root::PROGRAM);
    let mut operator = Component::library(operator.context("no operator in it")?);
    operator.kind = "application";
    operator.hashes.push(Hash {
        alg: "SHA-256",
        content: digest(bytes).trim_start_matches("sha256:").to_owned(),
    });
    let mut beside = vec![Component::library(&packages.authorities)];
    beside[0].description = Some("/etc/ssl/certs/ca-certificates.crt".into());
    beside.extend(program.glibc.as_ref().map(|glibc| Component {
        kind: "library",
        bom_ref: format!("pkg:generic/glibc@{}", glibc.version),
        name: "glibc".into(),
        version: glibc.version.clone(),
        description: Some(format!("Linked statically: {}", glibc.packaged)),
        hashes: Vec::new(),
        licenses: vec![Licensed { expression: "LGPL-2.1-or-later".into() }],
        purl: format!("pkg:generic/glibc@{}", glibc.version),
    }));
    for component in beside {
        let of = dependencies.iter_mut().find(|dependency| dependency.of == operator.bom_ref);
        of.context("no operator in it")?.depends_on.push(component.bom_ref.clone());
        let of = component.bom_ref.clone();
        dependencies.push(Dependency { of, depends_on: Vec::new() });
        components.push(component);
    }
    let document = Document {
        bom_format: "CycloneDX",
        spec_version: "1.5",
        version: 1,
        metadata: Metadata { timestamp: about.time()?, component: operator },
        components,
        dependencies,
    };
    serde_json::to_vec_pretty(&document).context("failed to write JSON")
}

fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[derive(Serialize)]
struct Auditable<'a> {
    name: &'a str,
    version: &'a str,
    source: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dependencies: &'a [usize],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    root: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: &'static str,
    spec_version: &'static str,
    version: u8,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    component: Component,
}

#[derive(Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    bom_ref: String,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licensed>,
    purl: String,
}

impl Component {
    fn library(package: &Package) -> Self {
        // Old packages write `MIT/Apache-2.0`, which is no SPDX.
        let license = package.license.iter().map(|license| license.replace('/', " OR "));
        Self {
            kind: "library",
            bom_ref: reference(package),
            name: package.name.clone(),
            version: package.version.clone(),
            description: None,
            hashes: Vec::new(),
            licenses: license.map(|expression| Licensed { expression }).collect(),
            purl: reference(package),
        }
    }
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Licensed {
    expression: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    of: String,
    depends_on: Vec<String>,
}

//! The platforms that are released: Rust's target, and what OCI calls it.

use anyhow::{Context, Result};

/// A platform that the operator is released for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Rust's name for it.
    pub target: &'static str,
    /// OCI's name of its architecture.
    pub architecture: &'static str,
    /// OCI's variant of it.
    pub variant: Option<&'static str>,
}

const fn platform(
    target: &'static str,
    architecture: &'static str,
    variant: Option<&'static str>,
) -> Platform {
    Platform { target, architecture, variant }
}

/// All of them: glibc can be linked statically, and ring has a C or assembler implementation.
pub const ALL: [Platform; 6] = [
    platform("x86_64-unknown-linux-gnu", "amd64", None),
    platform("aarch64-unknown-linux-gnu", "arm64", None),
    platform("armv7-unknown-linux-gnueabihf", "arm", Some("v7")),
    platform("powerpc64le-unknown-linux-gnu", "ppc64le", None),
    platform("riscv64gc-unknown-linux-gnu", "riscv64", None),
    platform("s390x-unknown-linux-gnu", "s390x", None),
];

impl Platform {
    /// That of Rust's `target`.
    pub fn of(target: &str) -> Result<Self> {
        let known = || ALL.map(|platform| platform.target).join(", ");
        let found = ALL.into_iter().find(|platform| platform.target == target);
        found.with_context(|| format!("no image is made for {target}, but for {}", known()))
    }
}

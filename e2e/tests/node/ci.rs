//! Somebody runs these tests where they cannot be left out.

use std::fs;

use anyhow::{Context, Result, ensure};
use multiarch_e2e::{bin::workspace, node::SWITCH};

#[test]
fn has_a_node() -> Result<()> {
    let text = fs::read_to_string(workspace().join(".github/workflows/ci.yaml"));
    let text = text.context("no workflow")?;
    let runs = text.lines().any(|line| {
        line.trim_start().starts_with("- run: sudo ")
            && line.contains(&format!(" {SWITCH}=required "))
            && line.ends_with(" make node")
    });
    ensure!(runs, "no job of ci.yaml runs `make node` as root, with {SWITCH}=required");
    Ok(())
}

//! Where the programs are that tests and demo run, or one line on how to get them.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The tool called `name`, as hack/build-tools.sh calls it (or kubectl, ctr): in `MULTIARCH_BIN`, else in `.build/bin`.
pub fn tool(name: &str) -> Result<PathBuf> {
    let bin =
        env::var_os("MULTIARCH_BIN").map_or_else(|| workspace().join(".build/bin"), PathBuf::from);
    let path = bin.join(name);
    if !path.is_file() {
        bail!(
            "there is no {}: run `make tools` first (Go builds it once), or set MULTIARCH_BIN",
            path.display()
        );
    }
    Ok(path)
}

/// The operator: `MULTIARCH_OPERATOR`, else beside the running program in cargo's target folder.
pub fn operator() -> Result<PathBuf> {
    built("multiarch-operator", "MULTIARCH_OPERATOR")
}

/// The CLI: `MULTIARCH_CLI`, else beside the running program, too.
pub fn cli() -> Result<PathBuf> {
    built("kubectl-multiarch", "MULTIARCH_CLI")
}

fn built(name: &str, variable: &str) -> Result<PathBuf> {
    let path = match env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => profile_folder()?.join(name),
    };
    if !path.is_file() {
        bail!("there is no {}: run `make operator` first, or set {variable}", path.display());
    }
    Ok(path)
}

/// The operator's image of the same build, as hack/image.sh leaves it: image.tar, layout/, sbom.cdx.json and digest.
pub fn image() -> Result<PathBuf> {
    let folder = workspace().join(".build/image/dev");
    let (image, operator) = (folder.join("image.tar"), operator()?);
    let made = |path: &Path| path.metadata().and_then(|about| about.modified());
    let Ok(newer) = made(&image) else {
        bail!("there is no {}: run `hack/image.sh --dev` first", image.display());
    };
    let older = made(&operator).with_context(|| format!("no {}", operator.display()))?;
    if newer < older {
        bail!(
            "{} is older than {}: run `hack/image.sh --dev`",
            image.display(),
            operator.display()
        );
    }
    Ok(folder)
}

/// `target/debug`: the folder of a binary, and the one above that of a test.
fn profile_folder() -> Result<PathBuf> {
    let exe = env::current_exe().context("failed to find the running program")?;
    let folder = exe.parent().context("the running program is in no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

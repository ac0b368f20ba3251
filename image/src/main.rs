//! Makes the operator's image of its static program, or that program of what cargo has compiled (hack/image.sh runs it).

#![expect(clippy::print_stdout, reason = "what it made is for the caller")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser};
use multiarch_image::{
    elf,
    layout::{About, Layout},
    link::link,
    packages::Packages,
    platform::Platform,
    sbom,
};

/// Makes the operator's image without a container engine.
#[derive(Parser)]
#[command(version)]
enum Task {
    /// Link a static operator out of what cargo has compiled for tests.
    Link {
        /// What `cargo … --message-format=json` has printed.
        #[arg(long, value_name = "FILE")]
        units: PathBuf,
        /// Where the program goes.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Make an image of a static operator; prints its digest.
    Image(Make),
}

#[derive(Args)]
struct Make {
    /// The static operator.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Rust's name of the platform that it is for.
    #[arg(long, value_name = "TRIPLE")]
    target: String,
    /// The commit that it was built of.
    #[arg(long, value_name = "SHA")]
    revision: Option<String>,
    /// When that was made, in seconds of Unix time.
    #[arg(long, env = "SOURCE_DATE_EPOCH", value_name = "SECONDS")]
    created: u64,
    /// binutils' program for that platform, which puts the list of packages into the operator.
    #[arg(long, env = "OBJCOPY", default_value = "objcopy", value_name = "PROGRAM")]
    objcopy: PathBuf,
    /// Where everything goes: image.tar, the same as a folder (layout/), and sbom.cdx.json.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Link { units, to } => link(&read(&units)?, &to),
        Task::Image(make) => image(&make),
    }
}

fn image(make: &Make) -> Result<()> {
    let Make { program, target, out, .. } = make;
    let platform = Platform::of(target)?;
    let about = About {
        version: env!("CARGO_PKG_VERSION").into(),
        revision: make.revision.clone(),
        created: make.created,
        source: env!("CARGO_PKG_REPOSITORY").into(),
    };
    let packages = Packages::ask(target)?;
    fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    let bytes = with_packages(make, &packages)?;
    let of = || format!("no image can be made of {}", program.display());
    let found = elf::read_for(&bytes, &platform).with_context(of)?;
    let bill = sbom::cyclonedx(&packages, &found, &bytes, &about)?;
    let layout = Layout::of(bytes, &platform, &about)?;
    layout.write(&out.join("layout"))?;
    write(&out.join("image.tar"), &layout.archive()?)?;
    write(&out.join("sbom.cdx.json"), &bill)?;
    println!("{}", layout.digest);
    Ok(())
}

/// The bytes of the program, with its packages in a section of its own.
fn with_packages(make: &Make, packages: &Packages) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let (section, program) = (folder.path().join("packages"), folder.path().join("program"));
    write(&section, &sbom::auditable(packages)?)?;
    let mut objcopy = Command::new(&make.objcopy);
    objcopy.arg("--add-section").arg(format!("{}={}", sbom::SECTION, section.display()));
    objcopy.arg("--set-section-flags").arg(format!("{}=noload,readonly", sbom::SECTION));
    let output = objcopy.arg(&make.program).arg(&program).output();
    let output = output.with_context(|| format!("failed to run {}", make.objcopy.display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} refuses the program: {told}", make.objcopy.display());
    fs::read(&program).context("failed to read the program")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("failed to write {}", path.display()))
}

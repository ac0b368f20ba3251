//! Makes the operator's image, or its files, of its static program, or that program of what cargo has compiled (hack/image.sh runs it).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it made is for the caller")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser};
use multiarch_image::{
    elf,
    layout::{About, Layout},
    link::link,
    packages::Packages,
    platform::Platform,
    root, sbom,
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
    /// Make the files of such an image, for a builder that has its own way to make an image of them.
    Root {
        #[command(flatten)]
        source: Source,
        /// Where they go: a folder that is not there yet.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
}

/// What an image is made of.
#[derive(Args)]
struct Source {
    /// The static operator.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Rust's name of the platform that it is for.
    #[arg(long, value_name = "TRIPLE")]
    target: String,
    /// binutils' program for that platform, which puts the list of packages into the operator.
    #[arg(long, env = "OBJCOPY", default_value = "objcopy", value_name = "PROGRAM")]
    objcopy: PathBuf,
}

#[derive(Args)]
struct Make {
    #[command(flatten)]
    source: Source,
    /// The commit that it was built of.
    #[arg(long, value_name = "SHA")]
    revision: Option<String>,
    /// When that was made, in seconds of Unix time.
    #[arg(long, env = "SOURCE_DATE_EPOCH", value_name = "SECONDS")]
    created: u64,
    /// Where everything goes: image.tar, the same as a folder (layout/), and sbom.cdx.json.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Link { units, to } => read(&units).and_then(|units| link(&units, &to)),
        Task::Image(make) => image(&make),
        Task::Root { source, to } => root(&source, &to),
    };
    if let Err(error) = done {
        eprintln!("image: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn image(make: &Make) -> Result<()> {
    let about = About {
        version: env!("CARGO_PKG_VERSION").into(),
        revision: make.revision.clone(),
        created: make.created,
        source: env!("CARGO_PKG_REPOSITORY").into(),
    };
    let (out, platform) = (&make.out, Platform::of(&make.source.target)?);
    let packages = Packages::ask(platform.target)?;
    let (bytes, program) = program(&make.source, &packages)?;
    let bill = sbom::cyclonedx(&packages, &program, &bytes, &about)?;
    let layout = Layout::of(bytes, &platform, &about)?;
    fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    layout.write(&out.join("layout"))?;
    write(&out.join("image.tar"), &layout.archive()?)?;
    write(&out.join("sbom.cdx.json"), &bill)?;
    println!("{}", layout.digest);
    Ok(())
}

fn root(source: &Source, to: &Path) -> Result<()> {
    let (bytes, _) = program(source, &Packages::ask(&source.target)?)?;
    let made = |path: &Path| format!("failed to make {}", path.display());
    fs::create_dir(to).with_context(|| made(to))?;
    for file in root::files(bytes) {
        let path = to.join(file.path);
        match file.bytes {
            Some(bytes) => write(&path, &bytes)?,
            None => fs::create_dir(&path).with_context(|| made(&path))?,
        }
        let permissions = fs::Permissions::from_mode(file.mode);
        fs::set_permissions(&path, permissions).with_context(|| made(&path))?;
    }
    Ok(())
}

/// The program as it goes into the image, and what it says of itself.
fn program(source: &Source, packages: &Packages) -> Result<(Vec<u8>, elf::Program)> {
    let of = || format!("no image can be made of {}", source.program.display());
    let plain = fs::read(&source.program).with_context(of)?;
    // Before another program reads it.
    elf::read_for(&plain, &Platform::of(&source.target)?).with_context(of)?;
    let bytes = with_packages(source, packages)?;
    let program = elf::read(&bytes).with_context(of)?;
    Ok((bytes, program))
}

/// The bytes of the program, with its packages in a section of its own.
fn with_packages(source: &Source, packages: &Packages) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let (section, program) = (folder.path().join("packages"), folder.path().join("program"));
    write(&section, &sbom::auditable(packages)?)?;
    let mut objcopy = Command::new(&source.objcopy);
    objcopy.arg("--add-section").arg(format!("{}={}", sbom::SECTION, section.display()));
    objcopy.arg("--set-section-flags").arg(format!("{}=noload,readonly", sbom::SECTION));
    let output = objcopy.arg(&source.program).arg(&program).output();
    let output = output.with_context(|| format!("failed to run {}", source.objcopy.display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} refuses the program: {told}", source.objcopy.display());
    fs::read(&program).context("failed to read the program")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("failed to write {}", path.display()))
}

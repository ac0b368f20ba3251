//! `kubectl multiarch mirror`: a list of images from one registry to another.

pub(crate) mod list;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use multiarch_crds::v1alpha1::{Attestations, Referrers, RemovalPolicy};
use multiarch_operator::{oci::Prefix, reconcile::sources::Declared};

use self::list::{Line, Read, Rules};
use crate::{
    Common,
    exit::Exit,
    registries::Registries,
    run::{self, Asks, Mode},
};

/// Copy a list of images with all their platforms, or some, to another registry.
///
/// Without --platform an image or an index keeps its bytes, so its digest. What is there already is not sent again.
///
/// Example: kubectl multiarch mirror --to registry.local:5000 rancher/pause:3.1 rancher/metrics-server:v0.3.6
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Images, as in a list.
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// A file with one image a line, such as rancher/pause:3.1 or docker.io/rancher/pause:3.1@sha256:…; `#` begins a comment. `-` is
    /// standard input. May be repeated.
    #[arg(long = "images", short = 'f', value_name = "FILE")]
    lists: Vec<PathBuf>,
    /// The registry, or a part of one, that images without a host are in.
    #[arg(long, value_name = "REGISTRY[/PATH]", default_value = "docker.io")]
    from: Prefix,
    /// Where they go: an image keeps its path behind this one, and its tag.
    #[arg(long, value_name = "REGISTRY[/PATH]")]
    to: Prefix,
    /// Only these platforms, each of which every image must have: linux/amd64,linux/arm64. May be repeated.
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',', value_parser = platform)]
    platforms: Vec<String>,
    /// What becomes of signatures, SBOMs and other referrers.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "ignore")]
    referrers: WithReferrers,
    /// What becomes of BuildKit's attestations (provenance, SBOM) in an index.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "keep")]
    attestations: WithAttestations,
    /// What becomes of a platform that the tag has there now and the image has not: refuse publishes nothing.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "refuse")]
    removal_policy: WithRemoved,
    /// Say what would be copied, and copy nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    run: run::Flags,
}

/// What becomes of referrers.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WithReferrers {
    /// They stay where they are.
    Ignore,
    /// They are copied along.
    Copy,
}

/// What becomes of attestations.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WithAttestations {
    /// They follow their image.
    Keep,
    /// They are left out.
    Drop,
}

/// What becomes of a platform that is lost.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WithRemoved {
    /// Nothing is published.
    Refuse,
    /// It stays.
    Retain,
    /// It goes.
    Remove,
}

impl From<WithRemoved> for RemovalPolicy {
    fn from(with: WithRemoved) -> Self {
        match with {
            WithRemoved::Refuse => Self::Refuse,
            WithRemoved::Retain => Self::Retain,
            WithRemoved::Remove => Self::Remove,
        }
    }
}

/// What `--platform` says, as it was written.
fn platform(text: &str) -> Result<String, String> {
    Declared::parse(text).map(|declared| declared.text).map_err(|error| error.to_string())
}

/// Runs the command.
pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let mut lines: Vec<Line> = args.images.iter().map(|image| Line::argument(image)).collect();
    for path in &args.lists {
        lines.extend(list::lines(&path.display().to_string(), &read(path)?));
    }
    if lines.is_empty() {
        bail!("there is no image to mirror: give images as arguments, or a list by --images FILE");
    }
    let rules = Rules {
        from: args.from,
        to: args.to,
        platforms: args.platforms,
        referrers: match args.referrers {
            WithReferrers::Ignore => Referrers::Ignore,
            WithReferrers::Copy => Referrers::Copy,
        },
        attestations: match args.attestations {
            WithAttestations::Keep => Attestations::Keep,
            WithAttestations::Drop => Attestations::Drop,
        },
        removal: args.removal_policy.into(),
    };
    let Read { tasks, notes } = rules.read(&lines);
    for note in &notes {
        common.note(note);
    }
    let registries = Registries::open(&common.registries)?;
    let mode = if args.dry_run { Mode::Plan } else { Mode::Publish };
    let registry = Arc::new(registries.remote.clone());
    run::run(registry, &registries, tasks, (mode, Asks::Images, &args.run), common).await
}

fn read(path: &PathBuf) -> Result<String> {
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.with_context(|| format!("failed to read the list {}", path.display()))
}

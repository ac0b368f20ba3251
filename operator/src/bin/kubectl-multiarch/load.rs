//! `kubectl multiarch load`: images in archives → indexes in a registry.

mod ahead;
mod given;
mod images;
mod spool;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, Result};
use multiarch_operator::{
    archive::Archive,
    oci::{Prefix, Reference},
    registry::archive::Archives,
};
use tokio::task::spawn_blocking;

use self::{
    ahead::Ahead,
    given::Given,
    images::{Opened, Rules},
    spool::Spool,
};
use crate::{
    Common,
    exit::Exit,
    mirror::WithRemoved,
    registries::Registries,
    run::{self, Asks, Mode},
};

/// Load image archives of one or several platforms into a registry, one index an image.
///
/// An archive is what docker save, podman save, skopeo or crane has written, or an OCI layout: a tar file, plain or packed by gzip or zstd, or
/// a folder. Images that are called the same in several archives become one index. What is there already is not sent again.
///
/// Example: kubectl multiarch load --archive linux/amd64=amd64.tar --archive linux/arm64=arm64.tar --to registry.local:5000
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// An archive, and the platform that its images are to be for; without one each image's config decides. `-` is standard input, with
    /// --spool. May be repeated.
    #[arg(long = "archive", value_name = "[PLATFORM=]PATH", required = true)]
    archives: Vec<Given>,
    /// Where they go: an image keeps its path behind this one, and its tag.
    #[arg(long, value_name = "REGISTRY[/PATH]")]
    to: Prefix,
    /// Only these images: rancher/pause:3.1, or rancher/pause for all its tags. May be repeated.
    #[arg(long, value_name = "IMAGE", value_delimiter = ',', default_value = "all")]
    images: Vec<String>,
    /// What the image of each archive is called, whatever it is called there: one that has no name, as in many OCI layouts, or app:1.0
    /// for app:1.0-amd64 and app:1.0-arm64. Each archive is to have one image.
    #[arg(long, value_name = "IMAGE", value_parser = given::name)]
    name: Option<Reference>,
    /// Take the word of --archive for the platform, and look at no config.
    #[arg(long)]
    trust: bool,
    /// Write what comes by standard input to a file in this folder first, since an archive is read twice. It is gone when the
    /// command ends.
    #[arg(
        long,
        value_name = "FOLDER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    spool: Option<String>,
    /// What becomes of a platform that the tag has there now and the archives have not: refuse publishes nothing.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "refuse")]
    removal_policy: WithRemoved,
    /// Say what would be pushed, and push nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    run: run::Flags,
}

/// Runs the command.
pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    given::check(&args.archives, args.trust, args.spool.is_some())?;
    let registries = Registries::open(&common.registries)?;
    let spool = Spool::new(args.spool.as_deref());
    let mut opened: BTreeMap<String, Arc<Archive>> = BTreeMap::new();
    for Given { path, .. } in &args.archives {
        if !opened.contains_key(path) {
            common.note(&format!("{path}: reading what is in it"));
            opened.insert(path.clone(), open(path, &spool).await?);
        }
    }
    let archives = Archives::new(registries.remote.clone(), opened.clone());
    let read = args.archives.into_iter().filter_map(|given| {
        let archive = Arc::clone(opened.get(&given.path)?);
        Some(Opened { given, archive })
    });
    let rules = Rules {
        to: args.to,
        images: args.images,
        name: args.name,
        trust: args.trust,
        removal: args.removal_policy.into(),
    };
    let images = images::images(&read.collect::<Vec<_>>(), &rules)?;
    for (name, digest) in images.called {
        archives.call(name, &digest);
    }
    for note in &images.notes {
        common.note(note);
    }
    let mode = if args.dry_run { Mode::Plan } else { Mode::Publish };
    let (ahead, archives) = (Ahead { at_once: args.run.at_once }, Arc::new(archives));
    run::run_after(
        &ahead,
        archives,
        &registries,
        images.tasks,
        (mode, Asks::Archives, &args.run),
        common,
    )
    .await
}

async fn open(path: &str, spool: &Spool) -> Result<Arc<Archive>> {
    let (path, spool) = (path.to_owned(), spool.clone());
    let opened = spawn_blocking(move || match path.as_str() {
        given::STDIN => spool.read(std::io::stdin().lock()),
        path => Archive::open(Path::new(path)).context("the archive cannot be read"),
    });
    opened.await.context("failed to read an archive")?.map(Arc::new)
}

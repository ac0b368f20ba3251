//! `kubectl multiarch inspect`: an index, its images, and what is wrong with it.

mod table;

use anyhow::{Result, anyhow, bail};
use multiarch_operator::{
    error::causes,
    oci::{Platform, Reference},
    reconcile::resolve::inspect::{Asked, Inspection, inspect},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Common,
    exit::{self, Exit},
    registries::Registries,
    run::Asks,
};

/// Show indexes and images: platforms as listed and as configured, layers, attestations, referrers, and what is wrong with them.
///
/// The true platform of an image is what its config says, read as the operator reads it before it publishes. Nothing is written.
/// Ends with 2 where something is wrong, or a platform of --platform is missing, and with 1 where something could not be read.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to look at: host/repository:tag or host/repository@digest.
    #[arg(required = true, value_name = "REF")]
    references: Vec<Reference>,
    /// A platform that must be there; by repetition or with commas.
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<Platform>,
    /// List the layers of each image, too (JSON and YAML always have them).
    #[arg(long)]
    layers: bool,
    /// Look whether each blob is there: one HEAD request for each.
    #[arg(long)]
    blobs: bool,
    /// Do not look for signatures and other referrers, which takes four requests for the index and for each image.
    #[arg(long)]
    no_referrers: bool,
}

const EXAMPLES: &str = "Examples:
  # Which platforms has it, and is each image what the index says?
  kubectl multiarch inspect docker.io/library/debian:12

  # Fail a build where one of two platforms is missing, or wrong.
  kubectl multiarch inspect --platform linux/amd64,linux/arm64 registry.example.com/team/app:1.0

  # All that is known, for a program; with a look for each blob.
  kubectl multiarch inspect --blobs -o json registry.example.com/team/app:1.0 | jq '.items[].problems'";

/// What was found.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Inspections")]
pub(crate) struct Report {
    /// Each reference that was given.
    items: Vec<Item>,
    #[serde(skip)]
    layers: bool,
}

/// What a reference names.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(rename = "InspectionOrError")]
enum Item {
    /// It is there.
    Found(Box<Inspection>),
    /// It is not, or could not be read.
    Failed {
        /// As it was given.
        reference: String,
        /// Why.
        error: String,
    },
}

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let registries = Registries::open(&common.registries)?;
    let asked =
        Asked { platforms: args.platforms, referrers: !args.no_referrers, blobs: args.blobs };
    let (mut items, mut ended) = (Vec::new(), Exit::Fine);
    for reference in &args.references {
        match look(&registries, reference, &asked).await {
            Ok(found) => {
                ended = ended.max(verdict(&found));
                items.push(Item::Found(Box::new(found)));
            }
            // The others are looked at all the same.
            Err(error) => {
                let error = anyhow!(Asks::Objects.advised(causes(error.as_ref())));
                ended = ended.max(exit::failed(&error));
                items.push(Item::Failed {
                    reference: reference.to_string(),
                    error: error.to_string(),
                });
            }
        }
    }
    common.output.print(&Report { items, layers: args.layers })?;
    Ok(ended)
}

/// What `reference` names, by the credential of who runs this.
pub(crate) async fn look(
    registries: &Registries,
    reference: &Reference,
    asked: &Asked,
) -> Result<Inspection> {
    let access = registries.reads(reference.repository()).await?;
    // Its text has all causes.
    let found = inspect(&registries.remote, &access, reference, asked).await;
    match found.map_err(|error| anyhow::Error::msg(error.to_string()))? {
        Some(found) => Ok(found),
        None => bail!("{reference} is not there (HTTP 404)"),
    }
}

fn verdict(found: &Inspection) -> Exit {
    if !found.failures.is_empty() {
        Exit::Failed
    } else if found.is_right() {
        Exit::Fine
    } else {
        Exit::Differs
    }
}

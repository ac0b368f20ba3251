//! `kubectl multiarch suspend` and `resume`: no runs until it is resumed.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Filter, Flags, named};
use crate::{
    Common,
    exit::{self, Exit},
};

/// Which objects, and where.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All objects of the namespace, of all namespaces (-A), or with the labels (-l).
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    cluster: Flags,
}

const EXAMPLES: &str = "Examples:
  kubectl multiarch suspend app
  kubectl multiarch resume app
  kubectl multiarch suspend --all -l stage=test

Where Flux or Argo CD applies the object, write spec.suspend into their source as well: what it says there is put back.";

pub(crate) async fn run(args: Args, suspend: bool, _common: &Common) -> Result<Exit> {
    let cluster = args.cluster.connect().await?;
    let (objects, mut ended) = cluster.find(&args.names, &args.filter).await?;
    let word = if suspend { "suspended" } else { "resumed" };
    for object in &objects {
        let (namespace, name) = named(object)?;
        if object.spec.suspend == suspend {
            told(&format!("{namespace}/{name} {word} already"))?;
            continue;
        }
        // One field, and nobody's else: what others apply stays theirs.
        match cluster.change(object, json!({"spec": {"suspend": suspend}})).await {
            Ok(_) => told(&format!("{namespace}/{name} {word}"))?,
            // The others are changed all the same.
            Err(error) => ended = exit::failed(&error),
        }
    }
    Ok(ended)
}

fn told(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("failed to print")
}

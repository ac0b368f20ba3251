//! `kubectl multiarch wait`: until objects are what one waits for.

use std::{io::Write, time::Duration};

use anyhow::{Result, anyhow};
use futures::future::join_all;
use multiarch_operator::args::duration;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Flags,
    goal::Goal,
    name::{Kind, Name},
    until::{Waited, until},
};
use crate::{
    Common,
    exit::{self, Exit},
    output::{Table, plain},
};

/// Wait until objects are ready, or a condition or a platform is there.
///
/// A set is ready when all its images are; it has neither platforms nor any other condition than Ready, Reconciling and Stalled.
///
/// Only a status that speaks of the object's current spec counts. While it waits, standard error tells what is lacking. Ends with 2 where
/// the time is over, after it has said for each object what it lacks, and with 1 where an object is not there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects; mais/NAME for a set.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Name>,
    /// What to wait for: ready, published, condition=TYPE[=STATUS] (True by default) or platform=PLATFORM, which what is published must
    /// have. By repetition: all of them.
    #[arg(long = "for", value_name = "GOAL", default_value = "ready")]
    goals: Vec<Goal>,
    /// How long to wait for all objects: 30s, 5m. 0s looks once.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    cluster: Flags,
}

const EXAMPLES: &str = "Examples:
  # In a pipeline, after `kubectl apply`: go on when the tag was read back.
  kubectl multiarch wait app --timeout 10m

  # Go on when all images of a list are there.
  kubectl multiarch wait mais/k3s --timeout 30m

  # Go on when what is published has two platforms, whatever else is late.
  kubectl multiarch wait app web --for platform=linux/amd64 --for platform=linux/arm64";

/// What became of each object.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Waits")]
pub(crate) struct Report {
    items: Vec<Item>,
}

/// What became of one.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    kind: Kind,
    namespace: String,
    name: String,
    /// Whether it is as it was waited for.
    met: bool,
    /// What it lacked when the time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<String>,
}

impl Table for Report {
    fn table(&self) -> String {
        let line = |item: &Item| {
            let met = if item.met { "condition met" } else { "timed out" };
            format!("{}/{} {met}\n", item.namespace, item.kind.named(&item.name))
        };
        self.items.iter().map(line).collect()
    }
}

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    for (name, goal) in
        args.names.iter().flat_map(|name| args.goals.iter().map(move |it| (name, it)))
    {
        goal.fits(name).map_err(|refused| anyhow!(refused))?;
    }
    let cluster = args.cluster.connect().await?;
    // A watch that shows what there is now takes a moment.
    let patience = args.timeout.max(LOOK);
    let lacks = |object: &_| args.goals.iter().find_map(|goal| goal.lacks(object));
    let namespace = cluster.namespace.as_str();
    let once = args.timeout.is_zero();
    let waits = args.names.iter().map(|name| {
        let cluster = &cluster;
        async move {
            if once {
                let object = cluster.get(name).await?;
                return Ok(match lacks(&object) {
                    None => Waited::Met(object),
                    Some(lacking) => Waited::Late(lacking),
                });
            }
            until(cluster, (namespace, name), patience, lacks).await
        }
    });
    let (mut items, mut ended) = (Vec::new(), Exit::Fine);
    for (name, waited) in args.names.iter().zip(join_all(waits).await) {
        let lacks = match waited {
            Ok(Waited::Met(_)) => None,
            Ok(Waited::Late(lacks)) => {
                let said = plain(&lacks);
                // Where nobody listens any more, nobody is to be told.
                let _ = writeln!(std::io::stderr(), "{namespace}/{name}: timed out: {said}");
                ended = ended.max(Exit::Differs);
                Some(lacks)
            }
            Err(error) => {
                ended = ended.max(exit::failed(&error));
                continue;
            }
        };
        let Name { kind, name } = name.clone();
        let namespace = namespace.to_owned();
        items.push(Item { kind, namespace, name, met: lacks.is_none(), lacks });
    }
    common.output.print(&Report { items })?;
    Ok(ended)
}

/// The shortest time in which something can be waited for.
const LOOK: Duration = Duration::from_secs(1);

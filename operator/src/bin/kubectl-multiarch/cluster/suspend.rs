//! `kubectl multiarch suspend` and `resume`: no runs until it is resumed.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{
    Failed, Filter, Flags,
    name::{Kind, Name},
};
use crate::{Common, exit::Exit, output::Table};

/// Which objects, and where.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects; mais/NAME for a set, whose objects go on.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<Name>,
    #[command(flatten)]
    filter: Filter,
    /// All objects of the namespace, of all namespaces (-A), or with the labels (-l). Sets are no such objects: name them.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    cluster: Flags,
}

const EXAMPLES: &str = "Examples:
  kubectl multiarch suspend app
  kubectl multiarch resume app
  kubectl multiarch suspend --all -l stage=test

  # Stop a set's list from being read, and the images of it from being looked at.
  kubectl multiarch suspend mais/k3s
  kubectl multiarch suspend --all -l multiarch.dev/set=k3s

Where Flux or Argo CD applies the object, write spec.suspend into their source as well: what it says there is put back.";

/// What became of objects.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Suspensions")]
pub(crate) struct Report {
    /// Each of them.
    items: Vec<Item>,
}

/// One of them.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(rename = "SuspensionOrError")]
enum Item {
    /// It is as it was asked for.
    Done(Done),
    /// It is not there, or could not be changed.
    Failed(Failed),
}

/// What an object is now.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Suspension")]
struct Done {
    kind: Kind,
    namespace: String,
    name: String,
    /// Whether the operator leaves it alone.
    suspended: bool,
    /// Whether that was changed.
    changed: bool,
}

pub(crate) async fn run(args: Args, suspend: bool, common: &Common) -> Result<Exit> {
    let cluster = args.cluster.connect().await?;
    let (objects, mut failed) = cluster.find(&args.names, &args.filter).await?;
    let mut items = Vec::new();
    for object in &objects {
        let (namespace, name) = object.named()?;
        let changed = object.is_suspended() != suspend;
        if changed {
            // One field, and nobody's else: what others apply stays theirs.
            let patch = json!({"spec": {"suspend": suspend}});
            if let Err(error) = cluster.change(object, patch).await {
                // The others are changed all the same.
                failed
                    .push(Failed { namespace: namespace.into(), ..cluster.failed(&name, &error) });
                continue;
            }
        }
        let (namespace, Name { kind, name }) = (namespace.into(), name);
        items.push(Item::Done(Done { kind, namespace, name, suspended: suspend, changed }));
    }
    let ended = if failed.is_empty() { Exit::Fine } else { Exit::Failed };
    items.extend(failed.into_iter().map(Item::Failed));
    common.output.print(&Report { items })?;
    Ok(ended)
}

impl Table for Report {
    fn table(&self) -> String {
        let line = |item: &Item| {
            // What failed is on standard error.
            let Item::Done(Done { kind, namespace, name, suspended, changed }) = item else {
                return String::new();
            };
            let name = kind.named(name);
            let word = if *suspended { "suspended" } else { "resumed" };
            let already = if *changed { "" } else { " already" };
            format!("{namespace}/{name} {word}{already}\n")
        };
        self.items.iter().map(line).collect()
    }
}

//! `kubectl multiarch reconcile`: a run now.

use std::{io::Write, time::Duration};

use anyhow::{Result, bail};
use futures::future::join_all;
use jiff::Timestamp;
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_operator::{args::duration, controller::REQUESTED_AT};
use serde_json::json;

use super::{
    Cluster, Flags, named,
    state::{State, is_current},
    status::{Item, Report, Shown},
    until::{Waited, until},
};
use crate::{Common, exit::Exit};

/// Have the operator run an object now, and wait for the result.
///
/// It sets the annotation multiarch.dev/requestedAt, which also has tags put back at once that something else has moved, and waits until
/// the status says that this was acted on. Ends with 2 where the object is not ready or not covered then, and with 1 where
/// no operator has acted on it in time.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Only ask for it.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for all objects.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    cluster: Flags,
}

const EXAMPLES: &str = "Examples:
  # A build has pushed a new image: do not wait for the interval.
  kubectl multiarch reconcile app

  # At the end of a job that may not go on without it.
  kubectl multiarch reconcile -n team-a app --timeout 30m";

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let cluster = args.cluster.connect().await?;
    let now = Timestamp::now().to_string();
    let runs = args.names.iter().map(|name| one(&cluster, name, &now, &args));
    let (mut items, mut ended) = (Vec::new(), Exit::Fine);
    for (name, object) in args.names.iter().zip(join_all(runs).await) {
        match object {
            Ok(Some(object)) => {
                let state = State::of(&object);
                if !state.is_fine() {
                    ended = ended.max(Exit::Differs);
                }
                items.push(Item::Shown(Box::new(Shown { state, events: Vec::new() })));
            }
            Ok(None) => {}
            // The others are waited for all the same.
            Err(error) => {
                ended = Exit::Failed;
                items.push(Item::Failed(cluster.failed(name, &error)));
            }
        }
    }
    common.output.print(&Report { items, everywhere: false })?;
    Ok(ended)
}

/// Asks for a run of the object called `name`, and waits for what it gives. `None` where nobody waits.
async fn one(
    cluster: &Cluster,
    name: &str,
    now: &str,
    args: &Args,
) -> Result<Option<MultiArchImage>> {
    let object = cluster.get(name).await?;
    let at = named(&object)?;
    let (namespace, _) = at;
    if object.spec.suspend {
        bail!(
            "{namespace}/{name} is suspended: resume it first (kubectl multiarch resume -n {namespace} {name})"
        );
    }
    // Of two who ask in the same moment each sees its own.
    let asked = json!({"metadata": {"annotations": {REQUESTED_AT: now}}});
    cluster.change(&object, asked).await?;
    if args.no_wait {
        // Where nobody listens any more, nobody is to be told.
        let _ = writeln!(std::io::stderr(), "{namespace}/{name}: asked for");
        return Ok(None);
    }
    match until(cluster, at, args.timeout, |object| unheard(object, now)).await? {
        Waited::Met(object) => Ok(Some(*object)),
        Waited::Late(_) => bail!(
            "{namespace}/{name} was not run within the timeout: is an operator running that watches this namespace? \
             `kubectl multiarch status -n {namespace} {name}` tells what it said last"
        ),
    }
}

/// What is waited for, while nobody has acted on what was asked for `now`.
fn unheard(object: &MultiArchImage, now: &str) -> Option<String> {
    let status = object.status.clone().unwrap_or_default();
    let asked = object.metadata.annotations.iter().flatten();
    let asked = asked.into_iter().find(|(key, _)| *key == REQUESTED_AT);
    // Somebody may have asked again since, which is acted on as well.
    let later =
        asked.is_some_and(|(_, asked)| status.last_handled_reconcile_at.as_ref() == Some(asked));
    let heard = status.last_handled_reconcile_at.as_deref() == Some(now) || later;
    (!heard || !is_current(object, &status)).then(|| "waiting for the operator".into())
}

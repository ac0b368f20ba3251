//! `kubectl multiarch reconcile`: a run now.

use std::{io::Write, time::Duration};

use anyhow::{Result, bail};
use futures::future::join_all;
use jiff::Timestamp;
use multiarch_operator::{args::duration, controller::REQUESTED_AT};
use serde_json::json;

use super::{
    Cluster, Flags,
    name::{Kind, Name},
    object::Object,
    status::Report,
    until::{Waited, until},
};
use crate::{Common, exit::Exit};

/// Have the operator run an object now, and wait for the result.
///
/// It sets the annotation multiarch.dev/requestedAt, which also has tags put back at once that something else has moved, and waits until
/// the status says that this was acted on. A set has its list read then; its images are objects, which go on by themselves. Ends with 2 where the object is not ready or not covered then, and with 1 where
/// no operator has acted on it in time.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects; mais/NAME for a set.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Name>,
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
  kubectl multiarch reconcile -n team-a app --timeout 30m

  # A list has changed, or what archives have; then each of its images.
  kubectl multiarch reconcile mais/k3s
  kubectl multiarch reconcile $(kubectl get mai -l multiarch.dev/set=k3s -o name)";

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let cluster = args.cluster.connect().await?;
    let now = Timestamp::now().to_string();
    let runs = args.names.iter().map(|name| one(&cluster, name, &now, &args));
    let (mut report, mut ended) = (Report::default(), Exit::Fine);
    for (name, object) in args.names.iter().zip(join_all(runs).await) {
        match object {
            Ok(Some(object)) => ended = ended.max(report.show(&object, Vec::new())),
            Ok(None) => {}
            // The others are waited for all the same.
            Err(error) => {
                ended = Exit::Failed;
                report.fail(cluster.failed(name, &error));
            }
        }
    }
    common.output.print(&report)?;
    Ok(ended)
}

/// Asks for a run of the object called `name`, and waits for what it gives. `None` where nobody waits.
async fn one(cluster: &Cluster, name: &Name, now: &str, args: &Args) -> Result<Option<Object>> {
    let object = cluster.get(name).await?;
    let (namespace, _) = object.named()?;
    if object.is_suspended() {
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
    let with = match name.kind {
        Kind::MultiArchImage => "",
        Kind::MultiArchImageSet => ", with sets (sets.enabled)",
    };
    match until(cluster, (namespace, name), args.timeout, |object| unheard(object, now)).await? {
        Waited::Met(object) => Ok(Some(object)),
        Waited::Late(_) => bail!(
            "{namespace}/{name} was not run within the timeout: is an operator running that watches this namespace{with}? \
             `kubectl multiarch status -n {namespace} {name}` tells what it said last"
        ),
    }
}

/// What is waited for, while nobody has acted on what was asked for `now`.
fn unheard(object: &Object, now: &str) -> Option<String> {
    let asked = object.meta().annotations.iter().flatten();
    let asked = asked.into_iter().find(|(key, _)| *key == REQUESTED_AT);
    let handled = object.handled();
    // Somebody may have asked again since, which is acted on as well.
    let later = asked.is_some_and(|(_, asked)| handled == Some(asked));
    let heard = handled == Some(now) || later;
    (!heard || !object.is_current()).then(|| "waiting for the operator".into())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::{
        super::{set::tests::set, state::tests::object},
        *,
    };

    #[rstest]
    #[case::before(2, "12:00", "12:01", true)]
    #[case::acted_on(2, "12:01", "12:01", false)]
    #[case::of_an_earlier_spec(1, "12:01", "12:01", true)]
    #[case::asked_again_since(2, "12:02", "12:02", false)]
    fn either_kind_is_waited_for_until_it_was_run(
        #[case] generation: i64,
        #[case] handled: &str,
        #[case] asked: &str,
        #[case] waits: bool,
    ) {
        let status = json!({"observedGeneration": generation, "lastHandledReconcileAt": handled});
        let asked = Some([(REQUESTED_AT.to_owned(), asked.to_owned())].into());
        let (mut image, mut set) = (object(&status), set(&status));
        image.metadata.annotations.clone_from(&asked);
        set.metadata.annotations = asked;
        for object in [Object::from(image), Object::from(set)] {
            assert_eq!(unheard(&object, "12:01").is_some(), waits, "{object:?}");
        }
    }
}

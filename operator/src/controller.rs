//! Watches objects, runs the pipeline over each, reports its status, and decides when it runs again.

mod archives;
mod claims;
mod finalizer;
mod gauges;
mod nodes;
mod objects;
mod pipeline;
pub(crate) mod report;
pub(crate) mod scope;
mod session;
mod sets;
mod spread;
mod work;
mod workers;

use std::{
    num::NonZeroU16,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::ObjectRef, watcher},
};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSpec, MultiArchImageStatus};
use tokio_util::task::TaskTracker;

use self::{
    archives::Sent,
    gauges::{count_push, gauges},
    pipeline::Ended,
    report::{Reporter, Written},
    session::{Known, Pushes, Sessions},
    spread::Spread,
    workers::{Worker, Workers},
};
pub use self::{
    objects::{Objects, WatchError, watch, while_watched},
    spread::SPREAD,
    work::{Controller, run},
};
use crate::{
    error::Retry,
    keychain::providers::Providers,
    leader::{Fenced, Term},
    metrics::Metrics,
    oci::Prefix,
    reconcile::{
        self,
        busy::{Busy, Who},
        sources::{Sources, SpecError},
        status::{Outcome, Run},
        writer::Writer,
    },
    registry::Registry,
    selector::Selector,
    shelf::Shelf,
};

/// The annotation that asks for a run now: any value that is not the last one.
pub const REQUESTED_AT: &str = "multiarch.dev/requestedAt";

/// A shorter interval than the API allows is not served, wherever it comes from.
const MIN_INTERVAL: Duration = Duration::from_secs(30);

/// An object as it is watched: one that does not deserialise must not stop the others.
pub type Watched = DeserializeGuard<MultiArchImage>;

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces to watch; all where there are none.
    pub namespaces: Vec<String>,
    /// The objects to watch, by their labels; all where it is not given. Those of other operators are not touched, and
    /// their tags are theirs.
    pub selector: Option<Selector>,
    /// The registries that objects may name; any where there are none.
    pub allowed: Vec<Prefix>,
    /// Who gives the operator's own credential, and to whom.
    pub providers: Arc<Providers>,
    /// The archives that objects may name.
    pub shelf: Arc<Shelf>,
    /// How many objects are worked on at once, beside half as many long copies and as many deletions.
    pub concurrent: NonZeroU16,
    /// Over how much time objects with which all was well are spread after a start; no longer than an
    /// interval, for each of them.
    pub spread: Duration,
    /// Whether the platforms of nodes are looked at.
    pub node_platforms: bool,
    /// Whether sets of images are kept.
    pub sets: bool,
}

/// What every run of one term shares.
struct Context<R> {
    client: Client,
    registry: Fenced<R>,
    namespaces: Vec<String>,
    selector: Option<Selector>,
    allowed: Vec<Prefix>,
    providers: Arc<Providers>,
    shelf: Arc<Shelf>,
    sent: Sent,
    metrics: Arc<Metrics>,
    reporter: Reporter,
    sessions: Sessions,
    objects: Arc<Objects>,
    busy: Busy,
    term: Term,
    /// The runs at hand.
    runs: TaskTracker,
    workers: Workers<ObjectRef<Watched>>,
    spread: Spread,
}

impl<R> Context<R> {
    /// What `spec` asks for, where objects may ask for it.
    fn sources(&self, spec: &MultiArchImageSpec) -> Result<Sources, SpecError> {
        let sources = Sources::parse(spec)?;
        sources.check_allowed(&self.allowed)?;
        Ok(sources)
    }
}

/// Why a run has no outcome: the API server did not do its part. Registries never cause one.
#[derive(Debug, thiserror::Error)]
enum ControllerError {
    #[error("failed to read the Secrets of {object}, or its ServiceAccount: {source}")]
    Secrets {
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("failed to write the status of {object}: {source}")]
    Status {
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("the status of {object} is not what the run began with: something else has written it")]
    Stale { object: String },
    #[error("failed to ask for other shards' objects that publish where {object} does: {source}")]
    Claims {
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("failed to write the finalizer of {object}: {source}")]
    Finalizer {
        object: String,
        #[source]
        source: kube::Error,
    },
}

async fn reconcile<R: Registry>(
    object: Arc<Watched>,
    context: Arc<Context<R>>,
) -> Result<Action, ControllerError> {
    let _at_work = context.runs.token();
    let is_deleted = object.meta().deletion_timestamp.is_some();
    let itself = ObjectRef::from_obj(&*object);
    if is_deleted && !finalizer::is_finalized(object.meta()) {
        context.workers.forget(&itself);
        return Ok(Action::await_change());
    }
    // A worker that waits for it is not to wait for longer.
    if !is_deleted
        && !context.workers.is_called(&itself)
        && let Ok(object) = &object.0
        && let Some(wait) = context.spread.wait(object, &context.sessions)
    {
        return Ok(Action::requeue(wait));
    }
    let hosts = object.0.as_ref().map(|object| workers::hosts(object, is_deleted));
    let hosts = hosts.unwrap_or_default();
    let worker = if is_deleted {
        context.workers.delete(&itself, &hosts)
    } else {
        context.workers.enter(&itself, &hosts)
    };
    // Who is called comes by here, so it is seen to wait no more.
    context.metrics.wait(context.workers.waiting());
    let Some(mut worker) = worker else { return Ok(Action::await_change()) };
    if is_deleted {
        return match &object.0 {
            Ok(object) => context.finish(object).await,
            Err(invalid) => context.let_go(&invalid.metadata, &object.object_ref(&())).await,
        };
    }
    let begun = Instant::now();
    let action = match &object.0 {
        Ok(object) => reconcile_object(object, &mut worker, &context).await,
        Err(invalid) => {
            let nodes = context.objects.nodes.view();
            let written = context.reporter.report_invalid(invalid, nodes).await;
            let object = display(&invalid.metadata);
            match written {
                Ok(Written::Stale) => Err(ControllerError::Stale { object }),
                Ok(_) => {
                    context.sessions.end_lost(&invalid.metadata);
                    Ok(Action::await_change())
                }
                Err(source) => Err(ControllerError::Status { object, source }),
            }
        }
    };
    context.metrics.ran(begun.elapsed());
    action
}

async fn reconcile_object<R: Registry>(
    object: &MultiArchImage,
    worker: &mut Worker<ObjectRef<Watched>>,
    context: &Context<R>,
) -> Result<Action, ControllerError> {
    context.finalize(object).await?;
    // Until its end, what a status says of nodes is the run's to write, too.
    let turn = context.sessions.turn(object);
    let _turn = turn.lock().await;
    let mut known = context.sessions.known(object);
    let requested_at = object.annotations().get(REQUESTED_AT).cloned();
    let requested = is_requested(object, &known.status);
    // Until its status is written: another object that names one of its tags is to see whose it is.
    let who = Who { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let (writer, asks) = Writer::new(context.busy.clone(), who);
    let run = if object.spec.suspend {
        Run::without_answers(Outcome::Suspended)
    } else {
        let ended =
            pipeline::run(object, &mut known, requested, (&writer, asks), worker, context).await;
        context.sessions.end(object);
        match ended? {
            Ended::Run(run) => *run,
            // What it has become by now is looked at next.
            Ended::CutOff => return Ok(Action::requeue(Duration::ZERO)),
            Ended::Waits => return Ok(Action::await_change()),
        }
    };
    let failures = context.sessions.count(object, requested, retry(&run));
    let about = reconcile::status::About {
        generation: object.metadata.generation,
        requested_at,
        failures,
        repository: claims::repository(&object.spec.target.image),
        nodes: context.objects.nodes.view(),
        now: Timestamp::now(),
    };
    if run.put_back {
        context.sessions.count_correction(object, about.now);
    }
    count_push(&run, &context.metrics);
    let pushes = context.sessions.count_pushes(
        object,
        Pushes { repository: about.repository.clone(), index: run.pushed, tag: run.wrote_tag },
    );
    let run = Run { pushed: pushes.index, wrote_tag: pushes.tag, ..run };
    let previous = known.status.clone();
    let next = reconcile::status::next(&previous, &about, &run);
    if let Some(followed) = &run.referrers {
        context.sessions.set_looks(object, followed.looks.clone());
    }
    if next != previous {
        context.write(object, &mut known, next.clone()).await?;
        if previous.tags.iter().any(|tag| !next.tags.contains(tag))
            && let Some(repository) = &about.repository
        {
            context.objects.freed(repository);
        }
    }
    context.sessions.end_lost(&object.metadata);
    // What was put back or skipped is told of, also where the status is as it was.
    context.reporter.tell(object, &previous, &next, &run).await;
    if object.spec.suspend {
        return Ok(Action::await_change());
    }
    let after = |retry| crate::backoff::delay(retry, failures, interval(object), fastrand::f64());
    let delays = (after(retry(&run).unwrap_or(Retry::Interval)), after(Retry::Interval));
    let delay = context.sessions.put_off(object, retry(&run), delays, tokio::time::Instant::now());
    Ok(Action::requeue(delay))
}

impl<R: Registry> Context<R> {
    /// Writes `next` over the status in `known`; whether the object is there.
    async fn write(
        &self,
        object: &MultiArchImage,
        known: &mut Known,
        next: MultiArchImageStatus,
    ) -> Result<bool, ControllerError> {
        let about = || display(&object.metadata);
        let written = self.reporter.write(object, known, &next).await;
        match written.map_err(|source| ControllerError::Status { object: about(), source })? {
            Written::At(version) => {
                self.sessions.remember(object, version.as_deref(), next.clone());
                *known = Known { status: next, version };
                Ok(true)
            }
            Written::Gone => Ok(false),
            Written::Stale => {
                // The watch will bring it; where it has not by the next try, it may never.
                if self.sessions.count_stale(object) > 1 {
                    self.objects.ask();
                }
                Err(ControllerError::Stale { object: about() })
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form of kube's error policy")]
fn on_error<R: Registry>(
    object: Arc<Watched>,
    _: &ControllerError,
    context: Arc<Context<R>>,
) -> Action {
    let failures = context.sessions.count_lost(&object);
    let delay =
        crate::backoff::delay(Retry::Backoff, failures, Duration::from_mins(1), fastrand::f64());
    Action::requeue(delay)
}

/// Whether a person asks for a run of `object`, and has not had it yet.
fn is_requested(object: &MultiArchImage, status: &MultiArchImageStatus) -> bool {
    let asked = object.annotations().get(REQUESTED_AT);
    asked.is_some() && asked != status.last_handled_reconcile_at.as_ref()
}

/// How often `object` is looked at.
fn interval(object: &MultiArchImage) -> Duration {
    Duration::from(object.spec.interval).max(MIN_INTERVAL)
}

fn retry(run: &Run) -> Option<Retry> {
    run.failure().map(|failure| failure.consequence.retry)
}

/// What to do about a watch that fails, where the API server's answer tells.
fn hint(error: &watcher::Error) -> Option<&'static str> {
    use watcher::Error as E;
    let code = match error {
        E::InitialListFailed(kube::Error::Api(status))
        | E::WatchStartFailed(kube::Error::Api(status))
        | E::WatchFailed(kube::Error::Api(status))
        | E::WatchError(status) => status.code,
        _ => return None,
    };
    match code {
        401 => Some(
            "the API server refused the credential: print a new kubeconfig, or give the Pod its token",
        ),
        403 => Some(
            "the operator lacks rights: the chart gives them (rbac.create, rbac.scope), and `multiarch-operator check` names them",
        ),
        404 => Some(
            "the API server does not know MultiArchImages: install the chart with crds.enabled, or kubectl apply -f crds/",
        ),
        _ => None,
    }
}

fn display(meta: &ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&meta.namespace), part(&meta.name))
}

/// A poisoned lock is taken all the same: what it guards is replaced whole, never half.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Watches objects, runs the pipeline over each, reports its status, and decides when it runs again.

mod busy;
mod claims;
mod finalizer;
mod pipeline;
mod report;
mod scope;
mod session;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroU16,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt,
        controller::{Action, Config as ControllerConfig},
        reflector, watcher,
    },
};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSpec};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::{busy::Busy, claims::Freed, report::Reporter, session::Sessions};
use crate::{
    admin::Admin,
    error::Retry,
    keychain::providers::Providers,
    metrics::{Metrics, ObjectGauges},
    oci::Prefix,
    reconcile::{
        self,
        sources::{Sources, SpecError},
        status::{Outcome, Run},
    },
    registry::Registry,
};

/// The annotation that asks for a run now: any value that is not the last one.
pub const REQUESTED_AT: &str = "multiarch.dev/requestedAt";

/// When an object is looked at again that names a tag which another one is working on.
const AGAIN: Duration = Duration::from_secs(1);

/// A shorter interval than the API allows is not served, wherever it comes from.
const MIN_INTERVAL: Duration = Duration::from_secs(30);

/// An object as it is watched: one that does not deserialise must not stop the others.
pub type Watched = DeserializeGuard<MultiArchImage>;

/// What the controller is told.
#[derive(Debug)]
pub struct Options {
    /// The namespaces to watch; all where there are none.
    pub namespaces: Vec<String>,
    /// The registries that objects may name; any where there are none.
    pub allowed: Vec<Prefix>,
    /// Who gives the operator's own credential, and to whom.
    pub providers: Providers,
    /// How many objects are worked on at once.
    pub concurrent: NonZeroU16,
}

/// What every run shares.
struct Context<R> {
    client: Client,
    registry: R,
    allowed: Vec<Prefix>,
    providers: Providers,
    metrics: Arc<Metrics>,
    reporter: Reporter,
    sessions: Sessions,
    objects: reflector::Store<Watched>,
    freed: Freed,
    busy: Busy,
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
    #[error("failed to write the finalizer of {object}: {source}")]
    Finalizer {
        object: String,
        #[source]
        source: kube::Error,
    },
}

/// Runs until `stop`, and then until the runs at hand have ended.
pub async fn run<R: Registry>(
    client: Client,
    registry: R,
    options: Options,
    metrics: Arc<Metrics>,
    admin: Admin,
    stop: CancellationToken,
) {
    let (store, writer) = reflector::store();
    let (freed, waiting) = claims::channel(store.clone());
    let deleted = freed.clone();
    let ready = admin.clone();
    let objects = scope::watch(&client, &options.namespaces, store.clone())
        // Not by the store's own signal: of several that wait for it, it wakes only the last.
        .inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => admin.set_ready(),
            Ok(watcher::Event::Delete(object)) => deleted.of(object),
            Ok(_) | Err(_) => {}
        })
        .reflect(writer)
        .applied_objects()
        .predicate_filter(wakes, PredicateConfig::default());
    let listed = store.clone();
    metrics.gauge_objects(move || listed.state().iter().filter_map(|o| gauges(o)).collect());
    let context = Context {
        reporter: Reporter::new(client.clone()),
        sessions: Sessions::default(),
        objects: store.clone(),
        freed,
        busy: Busy::default(),
        client,
        registry,
        allowed: options.allowed,
        providers: options.providers,
        metrics,
    };
    // kube's controller waits for the first list before it looks at the stop; nothing runs by then.
    let stopped = stop.clone();
    let never_listed = async move {
        stopped.cancelled().await;
        if ready.is_ready() {
            std::future::pending::<()>().await;
        }
    };
    let controller = Controller::for_stream(objects, store)
        .with_config(ControllerConfig::default().concurrency(options.concurrent.get()))
        .reconcile_on(waiting)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, on_error, Arc::new(context))
        .for_each(|result| async move {
            match result {
                Ok((object, action)) => debug!(%object, ?action, "done"),
                // A deleted object, or the watch's own errors, which were logged above.
                Err(kube::runtime::controller::Error::ReconcilerFailed(error, object)) => {
                    let error = causes(&error);
                    warn!(%object, error, "the run has no outcome; trying again");
                }
                Err(error) => debug!(%error, "nothing to do"),
            }
        });
    tokio::select! {
        () = controller => {}
        () = never_listed => {}
    }
}

/// What wakes an object: another generation, a request, its deletion. Our own status writes change
/// none of them.
#[allow(clippy::unnecessary_wraps, reason = "the form of kube's Predicate")]
fn wakes(object: &Watched) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let meta = object.meta();
    meta.generation.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    object.annotations().get(REQUESTED_AT).hash(&mut hasher);
    Some(hasher.finish())
}

async fn reconcile<R: Registry>(
    object: Arc<Watched>,
    context: Arc<Context<R>>,
) -> Result<Action, ControllerError> {
    if object.meta().deletion_timestamp.is_some() {
        return match &object.0 {
            _ if !finalizer::is_finalized(object.meta()) => Ok(Action::await_change()),
            Ok(object) => context.finish(object).await,
            Err(invalid) => context.let_go(&invalid.metadata, &object.object_ref(&())).await,
        };
    }
    let begun = Instant::now();
    let action = match &object.0 {
        Ok(object) => reconcile_object(object, &context).await,
        Err(invalid) => {
            let written = context.reporter.report_invalid(invalid).await;
            let object = display(&invalid.metadata);
            written
                .map(|()| Action::await_change())
                .map_err(|source| ControllerError::Status { object, source })
        }
    };
    context.metrics.ran(begun.elapsed());
    action
}

async fn reconcile_object<R: Registry>(
    object: &MultiArchImage,
    context: &Context<R>,
) -> Result<Action, ControllerError> {
    context.finalize(object).await?;
    // Until its status is written: another object that names one of its tags is to see whose it is.
    let Some(_alone) = context.busy.enter(&object.spec.target) else {
        return Ok(Action::requeue(AGAIN));
    };
    let mut previous = context.sessions.status(object);
    let requested_at = object.annotations().get(REQUESTED_AT).cloned();
    let requested = requested_at.is_some() && requested_at != previous.last_handled_reconcile_at;
    let run = if object.spec.suspend {
        Run::without_answers(Outcome::Suspended)
    } else {
        match pipeline::run(object, &mut previous, requested, context).await? {
            Some(run) => run,
            // What it has become by now is looked at next.
            None => return Ok(Action::requeue(Duration::ZERO)),
        }
    };
    let failures = context.sessions.count(object, requested, retry(&run));
    let about = reconcile::status::About {
        generation: object.metadata.generation,
        requested_at,
        failures,
        now: Timestamp::now(),
    };
    if run.put_back {
        context.sessions.count_correction(object, about.now);
    }
    let next = reconcile::status::next(&previous, &about, &run);
    count_push(&run, &context.metrics);
    if let Some(followed) = &run.referrers {
        context.sessions.set_looks(object, followed.looks.clone());
    }
    if next != previous {
        let written = context.reporter.write(object, &next).await;
        let version = written.map_err(|source| ControllerError::Status {
            object: display(&object.metadata),
            source,
        })?;
        context.sessions.remember(object, version.as_deref(), next.clone());
        if previous.tags.iter().any(|tag| !next.tags.contains(tag)) {
            context.freed.of_target(&object.spec.target.image);
        }
    }
    // What was put back or skipped is told of, also where the status is as it was.
    context.reporter.tell(object, &previous, &next, &run).await;
    if object.spec.suspend {
        return Ok(Action::await_change());
    }
    let interval = Duration::from(object.spec.interval).max(MIN_INTERVAL);
    let delay = crate::backoff::delay(
        retry(&run).unwrap_or(Retry::Interval),
        failures,
        interval,
        fastrand::f64(),
    );
    Ok(Action::requeue(delay))
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

fn retry(run: &Run) -> Option<Retry> {
    run.failure().map(|failure| failure.consequence.retry)
}

fn count_push(run: &Run, metrics: &Metrics) {
    use multiarch_crds::condition::Reason as R;
    match &run.outcome {
        Outcome::Held(failure)
            if matches!(failure.consequence.reason, R::PushFailed | R::ReadBackMismatch) =>
        {
            metrics.pushed(failure.consequence.reason.as_str());
        }
        // Whatever became of the other tags.
        _ if run.pushed => metrics.pushed("success"),
        _ => {}
    }
}

fn gauges(object: &Watched) -> Option<ObjectGauges> {
    use multiarch_crds::condition::{Type, get};
    let object = object.0.as_ref().ok()?;
    let status = object.status.as_ref();
    let value = |kind| {
        let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
        match get(conditions, kind).map(|condition| condition.status.as_str()) {
            Some("True") => 1,
            Some("False") => 0,
            _ => -1,
        }
    };
    let missing = status
        .and_then(|status| status.coverage.as_ref())
        .map_or(0, |coverage| i64::from(coverage.required.saturating_sub(coverage.covered)));
    (!object.spec.suspend).then(|| ObjectGauges {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        ready: value(Type::Ready),
        published: value(Type::Published),
        missing,
    })
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
            "the operator lacks rights: apply charts/multiarch-operator/templates/rbac.yaml, or with --watch-namespace rbac-namespaced.yaml beside it",
        ),
        404 => Some("the API server does not know MultiArchImages: kubectl apply -f crds/"),
        _ => None,
    }
}

/// `error` and what caused it, in one line; a cause that is told already is not told twice.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !told.contains(&words) {
            told = format!("{told}: {words}");
        }
        next = cause.source();
    }
    told
}

fn display(meta: &ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&meta.namespace), part(&meta.name))
}

/// A poisoned lock is taken all the same: what it guards is replaced whole, never half.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

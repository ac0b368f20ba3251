//! One run of the pipeline over one object: its Secrets, its time limit, and what is shown meanwhile.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{Either, select};

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageStatus, PendingTag};
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout_at};
use tracing::warn;

use super::{
    Context, ControllerError, Watched, display, interval, report::Written, session::Known,
    workers::Worker,
};
use crate::{
    error::{self, Failure, causes},
    keychain::Keychain,
    leader::Fenced,
    oci::Repository,
    reconcile::{
        self, Job, Stage, access,
        claims::Claims,
        memory::Memory,
        since::Since,
        sources::Sources,
        status::{Outcome, Run},
        writer::{Ask, Writer},
    },
    registry::{Registry, archive::Archives},
};

/// How often it is asked whether a run is still wanted.
const LOOK: Duration = Duration::from_secs(2);
/// How often a run that copies shows how far it is.
const PROGRESS: Duration = Duration::from_secs(30);
/// After how long a copy keeps no worker from others.
const LONG: Duration = Duration::from_mins(1);

/// How a run ended.
pub(super) enum Ended {
    /// With an outcome.
    Run(Box<Run>),
    /// It was cut off, because the object is deleted or another one now, or because the work ends.
    CutOff,
    /// Others copy between the same registries: the object is called when it may go on.
    Waits,
}

/// Runs the pipeline over `object`, by `worker`, and shows how far it is while that takes long.
pub(super) async fn run<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    requested: bool,
    (writer, mut asks): (&Writer, UnboundedReceiver<Ask>),
    worker: &mut Worker<ObjectRef<Watched>>,
    context: &Context<R>,
) -> Result<Ended, ControllerError> {
    let held = |failure| Ended::Run(Box::new(Run::without_answers(Outcome::Held(failure))));
    let sources = match context.sources(&object.spec) {
        Ok(sources) => sources,
        Err(error) => return Ok(held(Failure::new(error::of_spec(&error), &error))),
    };
    let stage = context.stage();
    let timeout = Duration::from(object.spec.timeout);
    let ends = tokio::time::Instant::now() + timeout;
    let late = || {
        let again = context.sessions.cut_off(object, stage.blob());
        held(Failure::timed_out(timeout, &stage.now(), again.as_ref()))
    };
    let gathered = tokio::select! {
        gathered = timeout_at(ends, context.gather(object, &sources, &stage)) => gathered,
        () = context.term.cut().cancelled() => return Ok(Ended::CutOff),
    };
    let Ok(gathered) = gathered else { return Ok(late()) };
    let (keychain, registry) = gathered?;
    let begun = tokio::time::Instant::now();
    let put_off = context.sessions.is_put_off(object, requested, keychain.state(), begun);
    let mut memory = Memory::of(&known.status, object.metadata.generation, &sources);
    memory.has_pushed |= context.sessions.has_pushed(object, sources.target.repository());
    let all = context.asks_other_shards(object, &known.status, requested);
    let claims = context.claims(object, &known.status, sources.target.repository(), all).await?;
    let now = Timestamp::now();
    let since = context.since(object, requested, memory.current, begun);
    let (corrections, looks) =
        (context.sessions.corrections(object), context.sessions.looks(object));
    let job = Job {
        registry: &registry,
        sources: &sources,
        keychain: &keychain,
        memory: &memory,
        requested,
        put_off,
        looks: &looks,
        claims: &claims,
        writer,
        corrections: &corrections,
        now,
        since,
        stage: &stage,
    };
    let mut run = std::pin::pin!(timeout_at(ends, reconcile::run(&job)));
    let (mut told, mut shown) = (0, Instant::now());
    let of = |run| Ended::Run(Box::new(run));
    loop {
        let ended = tokio::select! {
            ended = tokio::time::timeout(LOOK, &mut run) => ended,
            Some(Ask { tags, said }) = asks.recv() => {
                let repository = sources.target.repository();
                let say = std::pin::pin!(context.intend(object, known, repository, &tags));
                // The run's own time goes on meanwhile.
                match select(&mut run, say).await {
                    Either::Left((ended, _)) => return Ok(ended.map_or_else(|_| late(), of)),
                    Either::Right((claims, _)) => match claims? {
                        // It does not wait where it has come to its end.
                        Some(claims) => drop(said.send(claims)),
                        None => return Ok(Ended::CutOff),
                    },
                }
                continue;
            }
            // Tags that are being written are seen through, as far as there is time.
            () = context.term.cut().cancelled(), if stage.may_be_cut() => {
                if !stage.may_be_cut() {
                    continue;
                }
                tell_interrupted(object, known, &stage, context).await;
                return Ok(Ended::CutOff);
            }
        };
        if let Ok(ended) = ended {
            return Ok(ended.map_or_else(|_| late(), of));
        }
        if stage.may_be_cut() && !context.is_as_it_was(object) {
            return Ok(Ended::CutOff);
        }
        let takes_long = stage.may_be_cut() && stage.copies_for() >= LONG;
        if takes_long && !worker.takes_long(&reference(object)) {
            tell_waits(object, known, &stage, context).await;
            return Ok(Ended::Waits);
        }
        let mut next = context.with_nodes(&known.status);
        if stage.bytes() > told && shown.elapsed() >= PROGRESS {
            (told, shown) = (stage.bytes(), Instant::now());
            next = at_work(object, &next, &format!("at work {}", stage.now()));
        }
        if next == known.status {
            continue;
        }
        let (ended, written) = meanwhile(run.as_mut(), say(object, known, next, context)).await;
        if let Some(ended) = ended {
            return Ok(ended.map_or_else(|_| late(), of));
        }
        // What something else has published meanwhile is looked at anew.
        if written == Written::Stale && stage.may_be_cut() {
            return Ok(Ended::CutOff);
        }
    }
}

impl<R: Registry> Context<R> {
    /// Of a run that begins now.
    fn stage(&self) -> Stage {
        let metrics = Arc::clone(&self.metrics);
        Stage::observed(Arc::new(move |bytes| metrics.sent(bytes)))
    }

    /// `status` with what the nodes that are there now make of it.
    pub(super) fn with_nodes(&self, status: &MultiArchImageStatus) -> MultiArchImageStatus {
        reconcile::status::with_nodes(status, &self.objects.nodes.view(), Timestamp::now())
    }

    /// From when on a run of `object` that began at `begun` believes what others were answered.
    fn since(
        &self,
        object: &MultiArchImage,
        requested: bool,
        is_current: bool,
        begun: tokio::time::Instant,
    ) -> Since {
        let until = self.sessions.known_until(object);
        match self.objects.seen(object) {
            // Who waits for the run wants to know what is now.
            _ if requested => Since::anew(begun),
            _ if is_current => Since::interval(begun, interval(object), until),
            Some(seen) => Since::edited(begun, interval(object), until, seen),
            None => Since::anew(begun),
        }
    }

    /// What a run of `object` is made with.
    async fn gather(
        &self,
        object: &MultiArchImage,
        sources: &Sources,
        stage: &Stage,
    ) -> Result<(Keychain, Archives<Fenced<R>>), ControllerError> {
        let keychain = self.prove(object, sources, stage).await?;
        let registry = self.with_archives(object, sources, &keychain, stage).await;
        Ok((keychain, registry))
    }

    /// What `object` proves by who it is: its Secrets, and what the operator's credential providers give it.
    async fn prove(
        &self,
        object: &MultiArchImage,
        sources: &Sources,
        stage: &Stage,
    ) -> Result<Keychain, ControllerError> {
        let namespace = object.namespace().unwrap_or_default();
        stage.at("while its Secrets were read");
        let keychain = self.keychain(&namespace, sources, sources.account.as_deref()).await;
        let keychain = keychain.map_err(|source| ControllerError::Secrets {
            object: display(&object.metadata),
            source,
        })?;
        stage.at("while the operator's credential providers were asked");
        let provided = access::provided(sources, &keychain);
        Ok(keychain.ask(&self.providers, &namespace, provided).await)
    }

    /// The Secrets of `namespace` that `sources` names, with those of `account`.
    pub(super) async fn keychain(
        &self,
        namespace: &str,
        sources: &Sources,
        account: Option<&str>,
    ) -> Result<Keychain, kube::Error> {
        let secrets = access::secrets(sources);
        let keychain = Keychain::load(&self.client, namespace, &secrets, account).await?;
        let certificates = access::certificates(sources);
        keychain.load_certificates(&self.client, namespace, &certificates).await
    }

    /// Says in the status of `object` that it is about to write `tags` of `repository`, apart from those that other objects keep,
    /// which it tells. `None` where the object is gone.
    async fn intend(
        &self,
        object: &MultiArchImage,
        known: &mut Known,
        repository: &Repository,
        tags: &[PendingTag],
    ) -> Result<Option<Claims>, ControllerError> {
        let asks = self.selector.is_some();
        let claims = self.claims(object, &known.status, repository, asks).await?;
        let free = tags.iter().filter(|tag| claims.owner(&tag.name).is_none());
        let free: Vec<_> = free.cloned().collect();
        let next = reconcile::status::intending(&known.status, &free);
        let is_there = next == known.status || self.write(object, known, next).await?;
        Ok(is_there.then_some(claims))
    }

    /// Whether the watch still shows `object`, not deleted, and with the same spec.
    fn is_as_it_was(&self, object: &MultiArchImage) -> bool {
        let now = self.objects.store.get(&reference(object));
        now.is_some_and(|now| {
            let (now, then) = (now.meta(), &object.metadata);
            now.uid == then.uid
                && now.generation == then.generation
                && now.deletion_timestamp.is_none()
        })
    }
}

/// What `object` is called by.
pub(super) fn reference(object: &MultiArchImage) -> ObjectRef<Watched> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    ObjectRef::new(&name).within(&namespace)
}

/// Says of a copy whose progress was shown that nobody is at it, so that this is not shown for as long as no operator
/// runs.
async fn tell_interrupted<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    stage: &Stage,
    context: &Context<R>,
) {
    // After a loss of the lease another operator is at it.
    if reconcile::status::is_at_work(&known.status) && context.term.holds() {
        let message =
            format!("the operator was stopped {}: the next one goes on from there", stage.now());
        tell(object, known, &message, context).await;
    }
}

/// Says of a copy that nobody is at it for now.
async fn tell_waits<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    stage: &Stage,
    context: &Context<R>,
) {
    let now = stage.now();
    let message = format!(
        "stopped {now}: waits for others that copy between the same registries, and goes on from there"
    );
    tell(object, known, &message, context).await;
}

/// Lets `run` go on while something is said, also where the API server is slow; how it ended, if it did. What is half said then is said to
/// its end, or it would be in the way of the run's own report.
async fn meanwhile<T>(
    run: Pin<&mut impl Future<Output = T>>,
    say: impl Future<Output = Written>,
) -> (Option<T>, Written) {
    match select(run, std::pin::pin!(say)).await {
        Either::Left((ended, saying)) => (Some(ended), saying.await),
        Either::Right((written, _)) => (None, written),
    }
}

/// `status` while a run of `object` goes on.
fn at_work(
    object: &MultiArchImage,
    status: &MultiArchImageStatus,
    message: &str,
) -> MultiArchImageStatus {
    reconcile::status::at_work(status, object.metadata.generation, message, Timestamp::now())
}

async fn tell<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    message: &str,
    context: &Context<R>,
) -> Written {
    let next = at_work(object, &known.status, message);
    say(object, known, next, context).await
}

/// Writes `next` while a run goes on. It is told again at the end, so a failure to write changes nothing.
async fn say<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    next: MultiArchImageStatus,
    context: &Context<R>,
) -> Written {
    match context.reporter.write(object, known, &next).await {
        Ok(Written::At(version)) => {
            context.sessions.remember(object, version.as_deref(), next.clone());
            *known = Known { status: next, version: version.clone() };
            Written::At(version)
        }
        Ok(written) => written,
        Err(error) => {
            warn!(error = causes(&error), "failed to write a status while a run goes on");
            Written::At(known.version.clone())
        }
    }
}

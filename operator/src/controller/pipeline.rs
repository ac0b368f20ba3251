//! One run of the pipeline over one object: its Secrets, its time limit, and what is shown meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{Either, select};

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use multiarch_crds::v1alpha1::{MultiArchImage, PendingTag};
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout_at};
use tracing::warn;

use super::{Context, ControllerError, display, interval, report::Written, session::Known};
use crate::{
    error::{self, Failure, causes},
    keychain::Keychain,
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
    registry::Registry,
};

/// How often it is asked whether a run is still wanted.
const LOOK: Duration = Duration::from_secs(2);
/// How often a run that copies shows how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// Runs the pipeline over `object`, and shows how far it is while that takes long. `None` where it was
/// cut off, because the object is deleted or another one now, or because the work ends.
pub(super) async fn run<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    requested: bool,
    (writer, mut asks): (&Writer, UnboundedReceiver<Ask>),
    context: &Context<R>,
) -> Result<Option<Run>, ControllerError> {
    let held = |failure| Some(Run::without_answers(Outcome::Held(failure)));
    let sources = match context.sources(&object.spec) {
        Ok(sources) => sources,
        Err(error) => return Ok(held(Failure::new(error::of_spec(&error), &error))),
    };
    let namespace = object.namespace().unwrap_or_default();
    let failed = |source| ControllerError::Secrets { object: display(&object.metadata), source };
    let metrics = Arc::clone(&context.metrics);
    let stage = Stage::observed(Arc::new(move |bytes| metrics.sent(bytes)));
    let timeout = Duration::from(object.spec.timeout);
    let ends = tokio::time::Instant::now() + timeout;
    let late = || {
        let again = context.sessions.cut_off(object, stage.blob());
        held(Failure::timed_out(timeout, &stage.now(), again.as_ref()))
    };
    let prove = timeout_at(ends, async {
        stage.at("while its Secrets were read");
        let keychain = context.keychain(&namespace, &sources, sources.account.as_deref());
        let keychain = keychain.await.map_err(failed)?;
        stage.at("while the operator's credential providers were asked");
        let provided = access::provided(&sources, &keychain);
        Ok::<_, ControllerError>(keychain.ask(&context.providers, &namespace, provided).await)
    });
    let keychain = tokio::select! {
        keychain = prove => keychain,
        () = context.term.cut().cancelled() => return Ok(None),
    };
    let Ok(keychain) = keychain else { return Ok(late()) };
    let keychain = keychain?;
    let begun = tokio::time::Instant::now();
    let put_off = context.sessions.is_put_off(object, requested, keychain.state(), begun);
    let memory = Memory::of(&known.status, object.metadata.generation, &sources);
    let all = context.asks_other_shards(object, &known.status, requested);
    let claims = context.claims(object, &known.status, sources.target.repository(), all).await?;
    let now = Timestamp::now();
    // Who waits for the run wants to know what is now.
    let since = if requested || !memory.current {
        Since::anew(begun)
    } else {
        Since::interval(begun, interval(object))
    };
    let (corrections, looks) =
        (context.sessions.corrections(object), context.sessions.looks(object));
    let job = Job {
        registry: &context.registry,
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
    loop {
        let ended = tokio::select! {
            ended = tokio::time::timeout(LOOK, &mut run) => ended,
            Some(Ask { tags, said }) = asks.recv() => {
                let repository = sources.target.repository();
                let say = std::pin::pin!(context.intend(object, known, repository, &tags));
                // The run's own time goes on meanwhile.
                match select(&mut run, say).await {
                    Either::Left((ended, _)) => return Ok(ended.map_or_else(|_| late(), Some)),
                    Either::Right((claims, _)) => match claims? {
                        // It does not wait where it has come to its end.
                        Some(claims) => drop(said.send(claims)),
                        None => return Ok(None),
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
                return Ok(None);
            }
        };
        if let Ok(ended) = ended {
            return Ok(ended.map_or_else(|_| late(), Some));
        }
        if stage.may_be_cut() && !context.is_as_it_was(object) {
            return Ok(None);
        }
        if stage.bytes() > told && shown.elapsed() >= PROGRESS {
            (told, shown) = (stage.bytes(), Instant::now());
            let tell = std::pin::pin!(tell_progress(object, known, &stage, context));
            // The copy goes on meanwhile, also where the API server is slow.
            match select(&mut run, tell).await {
                Either::Left((ended, _)) => return Ok(ended.map_or_else(|_| late(), Some)),
                // What something else has published meanwhile is looked at anew.
                Either::Right((Written::Stale, _)) if stage.may_be_cut() => return Ok(None),
                Either::Right(_) => {}
            }
        }
    }
}

impl<R: Registry> Context<R> {
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
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let now = self.objects.store.get(&ObjectRef::new(&name).within(&namespace));
        now.is_some_and(|now| {
            let (now, then) = (now.meta(), &object.metadata);
            now.uid == then.uid
                && now.generation == then.generation
                && now.deletion_timestamp.is_none()
        })
    }
}

/// Shows how far a long copy is. It is told again at the end, so a failure to write changes nothing.
async fn tell_progress<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    stage: &Stage,
    context: &Context<R>,
) -> Written {
    tell(object, known, &format!("at work {}", stage.now()), context).await
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

async fn tell<R: Registry>(
    object: &MultiArchImage,
    known: &mut Known,
    message: &str,
    context: &Context<R>,
) -> Written {
    let generation = object.metadata.generation;
    let next = reconcile::status::at_work(&known.status, generation, message, Timestamp::now());
    match context.reporter.write(object, known, &next).await {
        Ok(Written::At(version)) => {
            context.sessions.remember(object, version.as_deref(), next.clone());
            *known = Known { status: next, version: version.clone() };
            Written::At(version)
        }
        Ok(written) => written,
        Err(error) => {
            warn!(error = causes(&error), "failed to show how far a copy is");
            Written::At(known.version.clone())
        }
    }
}

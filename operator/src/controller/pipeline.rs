//! One run of the pipeline over one object: its Secrets, its time limit, and what is shown meanwhile.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageStatus};
use tracing::warn;

use super::{Context, ControllerError, causes, display};
use crate::{
    error::{self, Failure},
    keychain::Keychain,
    reconcile::{
        self, Job, Stage, access,
        memory::Memory,
        sources::Sources,
        status::{Outcome, Run},
    },
    registry::Registry,
};

/// How often a run that copies shows how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// Runs the pipeline over `object`, and shows how far it is while that takes long.
pub(super) async fn run<R: Registry>(
    object: &MultiArchImage,
    previous: &mut MultiArchImageStatus,
    requested: bool,
    context: &Context<R>,
) -> Result<Run, ControllerError> {
    let held = |failure| Run::without_answers(Outcome::Held(failure));
    let sources = match Sources::parse(&object.spec) {
        Ok(sources) => sources,
        Err(error) => return Ok(held(Failure::new(error::of_spec(&error), &error))),
    };
    let namespace = object.namespace().unwrap_or_default();
    let secrets = access::secrets(&sources);
    let failed = |source| ControllerError::Secrets { object: display(&object.metadata), source };
    let keychain = Keychain::load(&context.client, &namespace, &secrets).await.map_err(failed)?;
    let certificates = access::certificates(&sources);
    let keychain = keychain.load_certificates(&context.client, &namespace, &certificates);
    let keychain = keychain.await.map_err(failed)?;
    let memory = Memory::of(previous, object.metadata.generation, &sources);
    let stage = Stage::default();
    let now = Timestamp::now();
    let corrections = context.sessions.corrections(object);
    let job = Job {
        registry: &context.registry,
        sources: &sources,
        keychain: &keychain,
        memory: &memory,
        requested,
        referrers_due: context.sessions.are_referrers_due(object, now),
        corrections: &corrections,
        now,
        stage: &stage,
    };
    let timeout = Duration::from(object.spec.timeout);
    let mut run = std::pin::pin!(tokio::time::timeout(timeout, reconcile::run(&job)));
    let mut told = 0;
    loop {
        if let Ok(ended) = tokio::time::timeout(PROGRESS, &mut run).await {
            return Ok(ended.unwrap_or_else(|_| held(Failure::timed_out(timeout, &stage.now()))));
        }
        if stage.bytes() > told {
            told = stage.bytes();
            tell_progress(object, previous, &stage, context).await;
        }
    }
}

/// Shows how far a long copy is. It is told again at the end, so a failure to write changes nothing.
async fn tell_progress<R: Registry>(
    object: &MultiArchImage,
    previous: &mut MultiArchImageStatus,
    stage: &Stage,
    context: &Context<R>,
) {
    let generation = object.metadata.generation;
    let message = format!("at work {}", stage.now());
    let next = reconcile::status::at_work(previous, generation, &message, Timestamp::now());
    match context.reporter.write(object, &next).await {
        Ok(version) => {
            context.sessions.remember(object, version.as_deref(), next.clone());
            *previous = next;
        }
        Err(error) => warn!(error = causes(&error), "failed to show how far a copy is"),
    }
}

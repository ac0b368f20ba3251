//! One run of the operator's pipeline, without an object in a cluster, and what became of it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use multiarch_crds::{
    condition::{self, Reason, Status, Type},
    v1alpha1::{MultiArchImageStatus, SourceState},
};
use multiarch_operator::{
    error::Failure,
    keychain::Keychain,
    nodes::View,
    reconcile::{
        self, Job, Stage,
        claims::Claims,
        memory::Memory,
        referrers::Looks,
        since::Since,
        sources::Sources,
        status::{self, About, Outcome as Ended, Run},
        tags::Corrections,
        writer::Writer,
    },
    registry::{
        Copied, Registry,
        dry_run::{Blob, DryRun},
    },
};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Mode,
    progress::Progress,
    results::{ImageResult, Outcome, PlatformResult, Pushes, Sent, SourceResult},
    tasks::{Asked, Task},
    words::{self, Asks},
};
use crate::registries::Registries;

/// How long a run that writes tags is seen through once the command is told to stop.
const SEEN_THROUGH: Duration = Duration::from_secs(10);

/// What runs have in common.
pub(crate) struct Runner<'a, R> {
    pub(crate) registry: Arc<R>,
    pub(crate) registries: &'a Registries,
    pub(crate) progress: &'a Progress,
    pub(crate) stop: &'a CancellationToken,
    pub(crate) mode: Mode,
    pub(crate) asks: Asks,
}

impl<R: Registry> Runner<'_, R> {
    /// Runs `task`, shows how far it is, and tells what became of it.
    pub(super) async fn run(&self, task: Task) -> ImageResult {
        let Task { name, asked } = task;
        let result = match asked {
            Asked::Run(sources) => {
                let stage = Arc::new(Stage::default());
                let _shown = self.progress.begin(&sources.target, &stage);
                self.work(&name, *sources, &stage).await
            }
            Asked::Refused { target, reason, message } => {
                ended(&name, &target, Outcome::Failed, reason.as_str(), message)
            }
            Asked::Skipped { target, message } => {
                ended(&name, &target, Outcome::Skipped, Reason::Suspended.as_str(), message)
            }
        };
        let result = ImageResult { message: self.asks.advised(result.message), ..result };
        self.progress.ended(&result);
        result
    }

    async fn work(&self, name: &str, sources: Sources, stage: &Stage) -> ImageResult {
        let target = sources.target.to_string();
        if self.stop.is_cancelled() {
            let message = "it was not begun".to_owned();
            return ended(name, &target, Outcome::Interrupted, "Interrupted", message);
        }
        stage.at("while asking who runs the command for credentials");
        let prepared = tokio::select! {
            prepared = self.registries.prepare(sources) => prepared,
            () = self.stop.cancelled() => return interrupted(name, &target, stage),
        };
        let (sources, keychain) = prepared;
        match self.mode {
            Mode::Publish => match self.pipeline(&*self.registry, &sources, &keychain, stage).await
            {
                Some(run) => result(name, &sources, &run, Sent::of(&stage.amounts())),
                None => interrupted(name, &target, stage),
            },
            Mode::Plan => {
                let dry = DryRun::over(Arc::clone(&self.registry));
                match self.pipeline(&dry, &sources, &keychain, stage).await {
                    Some(run) => {
                        let plan = Pushes::of(dry.pushes(), dry.blobs());
                        planned(result(name, &sources, &run, Sent::default()), plan)
                    }
                    None => interrupted(name, &target, stage),
                }
            }
        }
    }

    /// Whether anything is written.
    pub(crate) fn writes(&self) -> bool {
        self.mode == Mode::Publish
    }

    /// The blobs that the target of `sources` lacks, in its sizes; none where nothing would be published. `None`: the command
    /// was told to stop.
    pub(crate) async fn lacking(
        &self,
        sources: &Sources,
        keychain: &Keychain,
    ) -> Option<Vec<Blob>> {
        let dry = DryRun::over(Arc::clone(&self.registry));
        self.pipeline(&dry, sources, keychain, &Stage::default()).await?;
        Some(dry.blobs().into_iter().filter(|blob| blob.how == Copied::Uploaded).collect())
    }

    /// The pipeline, until it ends, is late, or the command is told to stop. `None`: it was cut off.
    async fn pipeline<T: Registry>(
        &self,
        registry: &T,
        sources: &Sources,
        keychain: &Keychain,
        stage: &Stage,
    ) -> Option<Run> {
        let begun = Instant::now();
        let job = Job {
            registry,
            sources,
            keychain,
            memory: &Memory::default(),
            requested: true,
            put_off: false,
            looks: &Looks::default(),
            claims: &Claims::default(),
            writer: &Writer::default(),
            corrections: &Corrections::default(),
            now: Timestamp::now(),
            since: Since::anew(begun),
            stage,
        };
        let ends = begun + sources.timeout;
        let mut run = std::pin::pin!(timeout_at(ends, reconcile::run(&job)));
        let ended = tokio::select! {
            ended = &mut run => ended,
            () = self.stop.cancelled() => {
                // Tags that are being written are seen through, as far as there is time.
                if stage.may_be_cut() {
                    return None;
                }
                timeout(SEEN_THROUGH, &mut run).await.ok()?
            }
        };
        let late = |_| {
            let failure = Failure::timed_out(sources.timeout, &stage.now(), None);
            Run::without_answers(Ended::Held(failure))
        };
        Some(ended.unwrap_or_else(late))
    }
}

/// What became of an image of which nothing more is known.
fn ended(name: &str, target: &str, outcome: Outcome, reason: &str, message: String) -> ImageResult {
    ImageResult {
        name: name.into(),
        target: target.into(),
        outcome,
        reason: reason.into(),
        message,
        digest: None,
        media_type: None,
        tags: Vec::new(),
        platforms: Vec::new(),
        sources: Vec::new(),
        sent: Sent::default(),
        plan: None,
    }
}

fn interrupted(name: &str, target: &str, stage: &Stage) -> ImageResult {
    let message = format!("it was stopped {}", stage.now());
    let sent = Sent::of(&stage.amounts());
    ImageResult { sent, ..ended(name, target, Outcome::Interrupted, "Interrupted", message) }
}

/// What became of an image, in the words that its object's status would have.
fn result(name: &str, sources: &Sources, run: &Run, sent: Sent) -> ImageResult {
    let about = About {
        generation: None,
        requested_at: None,
        failures: 1,
        repository: Some(sources.target.repository().clone()),
        nodes: View::Off,
        now: Timestamp::now(),
    };
    let status = status::next(&MultiArchImageStatus::default(), &about, run);
    let ready = condition::get(&status.conditions, Type::Ready);
    let (reason, message) =
        ready.map(|ready| (ready.reason.clone(), ready.message.clone())).unwrap_or_default();
    let target = sources.target.to_string();
    let platforms = status.platforms.iter().map(|image| PlatformResult {
        platform: image.platform.clone(),
        digest: image.digest.clone(),
        source: image.source.clone(),
    });
    let answers: Vec<_> = status
        .sources
        .iter()
        .zip(&sources.sources)
        .map(|(answer, source)| SourceResult {
            name: answer.name.clone(),
            image: source.reference.to_string(),
            state: answer.state,
            digest: answer.digest.clone(),
            message: answer.message.clone(),
        })
        .collect();
    let message = words::ended(&message, &answers);
    ImageResult {
        digest: status.digest.clone(),
        media_type: status.media_type.clone(),
        tags: status.tags.clone(),
        platforms: platforms.collect(),
        sources: answers,
        sent,
        ..ended(name, &target, outcome(&status, run), &reason, message)
    }
}

/// It in one word.
fn outcome(status: &MultiArchImageStatus, run: &Run) -> Outcome {
    let is = |kind, wanted: Status| {
        condition::get(&status.conditions, kind).is_some_and(|it| it.status == wanted.as_str())
    };
    let Some(failure) = run.failure() else {
        let written = run.pushed || run.wrote_tag || !run.repaired.is_empty();
        return if is(Type::PlatformsComplete, Status::False) {
            Outcome::NotCovered
        } else if written {
            Outcome::Published
        } else {
            Outcome::Unchanged
        };
    };
    // Of what is not there at all, nothing is to be waited for.
    let waits = matches!(
        failure.consequence.reason,
        Reason::WaitingForPlatforms | Reason::WaitingForMatch | Reason::DriftDetected
    );
    let found = status.sources.iter().any(|source| source.state == SourceState::Resolved);
    if waits && found { Outcome::NotCovered } else { Outcome::Failed }
}

/// The result of a run that wrote nothing.
fn planned(result: ImageResult, plan: Pushes) -> ImageResult {
    let outcome = match result.outcome {
        Outcome::Published | Outcome::Unchanged if !plan.manifests.is_empty() => {
            Outcome::WouldPublish
        }
        Outcome::Published => Outcome::Unchanged,
        other => other,
    };
    ImageResult { outcome, plan: Some(plan), ..result }
}

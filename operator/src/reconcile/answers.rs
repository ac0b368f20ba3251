//! pure: the answers of all sources → what they mean for the run.

use multiarch_crds::v1alpha1::SourceState;

use super::{
    memory::Memory,
    publish::PublishError,
    resolve::{Answer, Resolution},
    sources::Sources,
};
use crate::{
    error::{self, Failure},
    oci::Platform,
};

/// The optional source of which content could not be copied, as `error` says: its failure does not
/// hold the index back either.
pub(super) fn optional<'a>(
    sources: &Sources,
    resolutions: &'a mut [Resolution],
    error: &PublishError,
) -> Option<&'a mut Resolution> {
    let name = error.of_source()?;
    let mut answers = sources.sources.iter().zip(resolutions);
    let found = answers.find(|(source, resolution)| {
        source.optional && source.name == name && matches!(resolution.answer, Answer::Found(_))
    });
    found.map(|(_, resolution)| resolution)
}

/// Whether a source that the index needs failed so that it is unknown what it gives.
pub(super) fn unknown(sources: &Sources, resolutions: &[Resolution]) -> bool {
    use SourceState as S;
    let mut answers = sources.sources.iter().zip(resolutions).filter(|(s, _)| !s.optional);
    answers.any(|(_, resolution)| match &resolution.answer {
        Answer::Failed { error, .. } => {
            let (state, _) = error::of_source(error, true);
            !matches!(state, S::PlatformMismatch | S::Incomplete | S::Invalid | S::Unsupported)
        }
        _ => false,
    })
}

/// The failure of a source that says most about what to do: one that a person must act on before
/// one that passes, and among equals the first of the spec.
pub(super) fn worst(sources: &Sources, resolutions: &[Resolution]) -> Option<Failure> {
    let mut failed = 0_usize;
    let mut worst: Option<Failure> = None;
    let answers = sources.sources.iter().zip(resolutions);
    for (source, resolution) in answers.filter(|(source, _)| !source.optional) {
        let Answer::Failed { error, .. } = &resolution.answer else { continue };
        failed += 1;
        let (_, consequence) = error::of_source(error, resolution.was_resolved());
        if worst.as_ref().is_none_or(|worst| consequence.weight() > worst.consequence.weight()) {
            worst =
                Some(Failure { consequence, message: format!("source {}: {error}", source.name) });
        }
    }
    let mut worst = worst?;
    if failed > 1 {
        worst.message =
            format!("{}; {} more failed, see status.sources", worst.message, failed - 1);
    }
    Some(worst)
}

pub(super) fn publish_failure(error: &PublishError) -> Failure {
    Failure::new(error::of_publish(error), error)
}

/// The platforms that the sources gave; of one that failed, those that were published from it,
/// since a failure tells nothing about them.
pub(super) fn known(resolutions: &[Resolution], memory: &Memory) -> Vec<Platform> {
    let each = resolutions.iter().map(|resolution| match &resolution.answer {
        Answer::Found(found) => {
            found.children.iter().map(|child| child.platform.clone()).collect::<Vec<_>>()
        }
        Answer::Failed { named: None, .. } => {
            memory.published_from(&resolution.name).map(|child| child.platform.clone()).collect()
        }
        _ => Vec::new(),
    });
    each.flatten().collect()
}

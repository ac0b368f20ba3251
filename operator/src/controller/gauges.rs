//! What the metrics show of runs and of objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use multiarch_crds::condition::{Type, get};

use super::Watched;
use crate::{
    metrics::{Metrics, ObjectGauges},
    reconcile::status::{Outcome, Run},
};

/// Counts the push of `run`, where there was one.
pub(super) fn count_push(run: &Run, metrics: &Metrics) {
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

/// What is shown of a condition.
pub(super) fn value(conditions: &[Condition], kind: Type) -> i64 {
    match get(conditions, kind).map(|condition| condition.status.as_str()) {
        Some("True") => 1,
        Some("False") => 0,
        _ => -1,
    }
}

/// What is shown of `object`, also of the `nodes`; nothing of one that is suspended or not understood.
pub(super) fn gauges(object: &Watched, nodes: bool) -> Option<ObjectGauges> {
    let object = object.0.as_ref().ok()?;
    let status = object.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let coverage = status.and_then(|status| status.coverage.as_ref());
    let missing = coverage
        .map_or(0, |coverage| i64::from(coverage.required.saturating_sub(coverage.covered)));
    let nodes_missing = coverage.map_or(0, |coverage| coverage.nodes_missing.len());
    let nodes_missing = i64::try_from(nodes_missing).unwrap_or(i64::MAX);
    (!object.spec.suspend).then(|| ObjectGauges {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        ready: value(conditions, Type::Ready),
        published: value(conditions, Type::Published),
        missing,
        nodes_missing: nodes.then_some(nodes_missing),
    })
}

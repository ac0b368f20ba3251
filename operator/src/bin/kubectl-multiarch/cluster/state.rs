//! pure: an object → what people want to know of it first.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
    jiff::Timestamp,
};
use multiarch_crds::{
    condition::{self, Reason, Type},
    v1alpha1::{Coverage, MultiArchImage, SourceState, SourceStatus},
};
use schemars::JsonSchema;
use serde::Serialize;

/// What became of an object.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is asked of an object")]
pub(crate) struct State {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Where it publishes.
    pub(crate) target: String,
    /// Whether Ready is True, False or Unknown.
    pub(crate) ready: String,
    /// Why, in one word.
    pub(crate) reason: String,
    /// Why, in words for people.
    pub(crate) message: String,
    /// Whether the status speaks of the object as it is now.
    pub(crate) current: bool,
    /// Whether what is published was whole at the last look.
    pub(crate) published: bool,
    /// Whether it has every platform that it must have, and that the cluster's nodes want where the operator looks at them.
    pub(crate) covered: bool,
    /// Whether it is left alone.
    pub(crate) suspended: bool,
    /// What is required and found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) coverage: Option<Coverage>,
    /// What is published, by tag and digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// What became of each source.
    pub(crate) sources: Vec<SourceStatus>,
}

impl State {
    /// Of `object`.
    pub(crate) fn of(object: &MultiArchImage) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let Ready { status: ready, reason, message, suspended } = Ready::of(&status.conditions);
        let is = |r#type| {
            condition::get(&status.conditions, r#type).map(|condition| condition.status.as_str())
        };
        let lacks = status.coverage.as_ref().is_some_and(|coverage| {
            !coverage.missing.is_empty() || !coverage.nodes_missing.is_empty()
        });
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
            target: object.spec.target.image.clone(),
            ready,
            reason,
            message,
            current: is_current(&object.metadata, status.observed_generation),
            published: is(Type::Published) == Some("True"),
            covered: is(Type::PlatformsComplete) == Some("True")
                && is(Type::NodesCovered) != Some("False")
                && !lacks,
            suspended,
            coverage: status.coverage,
            reference: status.reference,
            digest: status.digest,
            sources: status.sources,
        }
    }

    /// Whether it is ready, and covered.
    pub(crate) fn is_fine(&self) -> bool {
        self.current && self.ready == "True" && self.covered
    }

    /// `team-a/app`
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// `2/3`
    pub(crate) fn summary(&self) -> String {
        self.coverage.as_ref().map_or_else(|| "-".into(), |coverage| coverage.summary.clone())
    }

    /// The platforms that it lacks, for its sources or for the cluster's nodes.
    pub(crate) fn missing(&self) -> Vec<String> {
        let coverage = self.coverage.iter();
        let mut all: Vec<String> =
            coverage.flat_map(|of| of.missing.iter().chain(&of.nodes_missing).cloned()).collect();
        all.dedup();
        all
    }

    /// What it says, where that is not told by its being fine; `None` where there is nothing to say.
    pub(crate) fn says(&self) -> Option<String> {
        says(self.is_fine(), self.current, &self.message)
    }

    /// The sources that gave no image.
    pub(crate) fn failing(&self) -> impl Iterator<Item = &SourceStatus> {
        self.sources.iter().filter(|source| source.state != SourceState::Resolved)
    }
}

/// What is said of an object that no operator has looked at.
pub(super) const UNSEEN: &str = "no operator has looked at it yet";

/// What the condition Ready of an object says, also where there is none yet.
pub(super) struct Ready {
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) suspended: bool,
}

impl Ready {
    pub(super) fn of(conditions: &[Condition]) -> Self {
        let ready = condition::get(conditions, Type::Ready);
        Self {
            status: ready.map_or_else(|| "Unknown".into(), |ready| ready.status.clone()),
            reason: ready.map_or_else(String::new, |ready| ready.reason.clone()),
            message: ready.map_or_else(|| UNSEEN.into(), |ready| ready.message.clone()),
            suspended: ready.is_some_and(|ready| ready.reason == Reason::Suspended.as_str()),
        }
    }
}

/// What is to be said of an object whose Ready has `message`.
pub(super) fn says(fine: bool, current: bool, message: &str) -> Option<String> {
    let lag = "the status speaks of an earlier spec: the operator has not looked yet";
    match (fine, current) {
        (true, _) => None,
        (false, true) => Some(message.into()),
        (false, false) if message == UNSEEN => Some(message.into()),
        (false, false) => Some(lag.into()),
    }
}

/// Whether the status speaks of the object as it is now.
pub(super) fn is_current(meta: &ObjectMeta, observed: Option<i64>) -> bool {
    observed.is_some() && observed == meta.generation
}

/// How long ago `then` was, as kubectl says it: `45s`, `12m`, `3h`, `5d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    /// An object of generation 2 with `status`.
    pub(crate) fn object(status: &Value) -> MultiArchImage {
        serde_json::from_value(json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
            "metadata": {"namespace": "team-a", "name": "app", "generation": 2},
            "spec": {"target": {"image": "r.example/app:1"}, "sources": [
                {"name": "amd64", "image": "r.example/app:1-amd64"},
                {"name": "arm64", "image": "r.example/app:1-arm64", "platforms": ["linux/arm64"]},
            ]},
            "status": status,
        }))
        .unwrap()
    }

    pub(crate) fn conditions(all: &[(&str, &str, &str)]) -> Value {
        let each = |(r#type, status, reason): &(&str, &str, &str)| {
            json!({"type": r#type, "status": status, "reason": reason, "message": format!("says {reason}"),
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        all.iter().map(each).collect()
    }

    const FINE: [(&str, &str, &str); 3] = [
        ("Ready", "True", "Succeeded"),
        ("Published", "True", "Succeeded"),
        ("PlatformsComplete", "True", "Succeeded"),
    ];

    fn with(generation: i64, missing: &[&str], conditions: &Value) -> State {
        State::of(&object(&json!({"observedGeneration": generation, "conditions": conditions,
            "coverage": {"required": 2, "covered": 2, "published": 2, "summary": "2/2", "missing": missing}})))
    }

    #[rstest]
    #[case::fine(with(2, &[], &conditions(&FINE)), true, None)]
    #[case::stale(with(1, &[], &conditions(&FINE)), false, Some("the status speaks of an earlier spec: the operator has not looked yet"))]
    #[case::missing(with(2, &["linux/s390x"], &conditions(&FINE)), false, Some("says Succeeded"))]
    #[case::waits(with(2, &[], &conditions(&[("Ready", "Unknown", "WaitingForPlatforms"), FINE[1], FINE[2]])), false, Some("says WaitingForPlatforms"))]
    #[case::partial(with(2, &[], &conditions(&[FINE[0], FINE[1], ("PlatformsComplete", "False", "PublishedPartial")])), false, Some("says Succeeded"))]
    #[case::nodes(with(2, &[], &conditions(&[FINE[0], FINE[1], FINE[2], ("NodesCovered", "False", "X")])), false, Some("says Succeeded"))]
    #[case::unseen(State::of(&object(&json!({"observedGeneration": -1}))), false, Some(UNSEEN))]
    fn fine_is_ready_and_covered_now(
        #[case] state: State,
        #[case] fine: bool,
        #[case] says: Option<&str>,
    ) {
        assert_eq!((state.is_fine(), state.says().as_deref()), (fine, says));
        assert_eq!(state.id(), "team-a/app");
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(7200, "2h")]
    #[case(172_800, "2d")]
    #[case(-5, "0s")]
    fn ages(#[case] seconds: i64, #[case] expected: &str) {
        let then = Timestamp::constant(1_800_000_000, 0);
        let now = Timestamp::constant(1_800_000_000 + seconds, 0);
        assert_eq!(age(then, now), expected);
    }
}

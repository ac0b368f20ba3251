//! pure: a set → what people want to know of it first.

use multiarch_crds::v1alpha1::{Counts, FailingLine, MultiArchImageSet};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    name::Kind,
    state::{Ready, is_current, says},
};

/// What became of a set.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetState {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The registry that its images go to.
    pub(crate) to: String,
    /// Whether Ready is True, False or Unknown.
    pub(crate) ready: String,
    /// Why, in one word.
    pub(crate) reason: String,
    /// Why, in words for people.
    pub(crate) message: String,
    /// Whether the status speaks of the set as it is now.
    pub(crate) current: bool,
    /// Whether its list is left alone.
    pub(crate) suspended: bool,
    /// Images that are ready, of those in the list: `5/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
    /// How many images there are of each kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<Counts>,
    /// Lines for which a person must act, then those that wait, as far as the status names them.
    pub(crate) failing: Vec<FailingLine>,
}

impl SetState {
    /// Of `set`.
    pub(crate) fn of(set: &MultiArchImageSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        let Ready { status: ready, reason, message, suspended } = Ready::of(&status.conditions);
        Self {
            namespace: set.metadata.namespace.clone().unwrap_or_default(),
            name: set.metadata.name.clone().unwrap_or_default(),
            to: set.spec.to.registry.clone(),
            ready,
            reason,
            message,
            current: is_current(&set.metadata, status.observed_generation),
            suspended,
            summary: status.summary,
            counts: status.counts,
            failing: status.failing,
        }
    }

    /// Whether all its images are ready.
    pub(crate) fn is_fine(&self) -> bool {
        self.current && self.ready == "True"
    }

    /// What it is called on the command line: `mais/k3s`.
    pub(crate) fn called(&self) -> String {
        Kind::MultiArchImageSet.named(&self.name).to_string()
    }

    /// `team-a/mais/k3s`
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.called())
    }

    /// What it says, where that is not told by its being fine; `None` where there is nothing to say.
    pub(crate) fn says(&self) -> Option<String> {
        says(self.is_fine(), self.current, &self.message)
    }

    /// How many lines are not ready beside those that the status names.
    pub(crate) fn unnamed(&self) -> usize {
        let all = self.counts.map_or(0, |counts| counts.failing.saturating_add(counts.waiting));
        usize::try_from(all).unwrap_or(usize::MAX).saturating_sub(self.failing.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{
        super::state::{UNSEEN, tests::conditions},
        *,
    };

    /// A set of generation 2 with `status`.
    pub(crate) fn set(status: &Value) -> MultiArchImageSet {
        serde_json::from_value(json!({
            "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet",
            "metadata": {"namespace": "team-a", "name": "k3s", "generation": 2, "uid": "u"},
            "spec": {"images": ["rancher/pause:3.1"], "to": {"registry": "r.example"}},
            "status": status,
        }))
        .unwrap()
    }

    /// A status of `generation` in which two lines of nine are named.
    pub(crate) fn failing(generation: i64) -> Value {
        json!({
            "observedGeneration": generation, "summary": "5/9",
            "counts": {"images": 9, "ready": 5, "waiting": 1, "failing": 3},
            "conditions": conditions(&[("Ready", "False", "ImagesFailing")]),
            "failing": [
                {"image": "rancher/pause:3.1", "object": "k3s-pause-3-1", "reason": "PlatformMismatch", "message": "it is another one"},
                {"image": "no image\u{1b}", "reason": "InvalidLine", "message": "it is none"},
            ],
        })
    }

    const LAG: &str = "the status speaks of an earlier spec: the operator has not looked yet";

    #[rstest]
    #[case::fine(json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "True", "Succeeded")])}), true, None)]
    #[case::stale(json!({"observedGeneration": 1, "conditions": conditions(&[("Ready", "True", "Succeeded")])}), false, Some(LAG))]
    #[case::waits(json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "Unknown", "WaitingForImages")])}), false, Some("says WaitingForImages"))]
    #[case::fails(failing(2), false, Some("says ImagesFailing"))]
    #[case::unseen(json!({"observedGeneration": -1}), false, Some(UNSEEN))]
    fn fine_is_ready_now(#[case] status: Value, #[case] fine: bool, #[case] says: Option<&str>) {
        let state = SetState::of(&set(&status));
        assert_eq!((state.is_fine(), state.says().as_deref()), (fine, says));
        assert_eq!(state.id(), "team-a/mais/k3s");
    }

    #[test]
    fn lines_that_are_not_named_are_counted() {
        assert_eq!(SetState::of(&set(&failing(2))).unnamed(), 2);
        assert_eq!(SetState::of(&set(&Value::Null)).unnamed(), 0);
    }
}

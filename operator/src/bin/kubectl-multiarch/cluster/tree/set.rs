//! A set as `kubectl multiarch tree` shows it: its objects, a line each, and the lines of its list that became none.

use anyhow::Result;
use kube::ResourceExt;
use multiarch_crds::v1alpha1::{FailingLine, MultiArchImage, MultiArchImageSet};
use multiarch_operator::set::children::LABEL;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{Cluster, Filter, name::Kind, set::SetState, told},
    Branch, Tree,
};

/// A set with all that belongs to it.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetTree {
    namespace: String,
    name: String,
    /// The registry that its images go to.
    to: String,
    ready: String,
    reason: String,
    /// Images that are ready, of those in the list: `5/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// Each object that it owns.
    objects: Vec<Tree>,
    /// Lines of its list that have no object, as far as the status names them.
    lines: Vec<FailingLine>,
}

/// The objects that `set` owns.
pub(super) async fn owned(
    cluster: &Cluster,
    set: &MultiArchImageSet,
) -> Result<Vec<MultiArchImage>> {
    // By its uid: the label has no room for each name, and may be that of a set before it.
    let filter = Filter { selector: Some(LABEL.into()), all_namespaces: false };
    let all = cluster.list::<MultiArchImage>(&filter).await;
    let mut all =
        all.map_err(|error| told(&error, "list MultiArchImages", Kind::MultiArchImage))?;
    all.retain(|object| owns(set, object));
    Ok(all)
}

fn owns(set: &MultiArchImageSet, object: &MultiArchImage) -> bool {
    let mut owners = object.owner_references().iter();
    owners.any(|owner| set.metadata.uid.as_ref() == Some(&owner.uid))
}

impl SetTree {
    pub(super) fn of(set: &MultiArchImageSet, objects: &[MultiArchImage]) -> Self {
        let state = SetState::of(set);
        Self {
            namespace: state.namespace,
            name: state.name,
            to: state.to,
            ready: state.ready,
            reason: state.reason,
            summary: state.summary,
            objects: objects.iter().map(Tree::of).collect(),
            lines: state.failing.into_iter().filter(|line| line.object.is_none()).collect(),
        }
    }

    pub(super) fn branch(&self) -> Branch {
        let summary = self.summary.as_deref().unwrap_or("-");
        let head = format!(
            "MultiArchImageSet {}/{}  Ready {} {}  {summary}  {}",
            self.namespace, self.name, self.ready, self.reason, self.to
        );
        let line = |line: &FailingLine| {
            let said = line.message.iter().map(|message| Branch::new(message, Vec::new()));
            Branch::new(&format!("{}  {}", line.image, line.reason), said.collect())
        };
        let lines = self.lines.iter().map(line);
        Branch::new(&head, self.objects.iter().map(Tree::short).chain(lines).collect())
    }
}

impl Tree {
    /// It in one line, and what it says.
    fn short(&self) -> Branch {
        let published = self.index.as_ref().map(|index| index.reference.as_str());
        let published = match published {
            Some(reference) => reference.to_owned(),
            None => format!("{}  not published", self.target),
        };
        let ready = format!("Ready {} {}", self.ready, self.reason);
        let said = self.says.iter().map(|says| Branch::new(says, Vec::new()));
        Branch::new(&format!("{}  {published}  {}", self.name, ready.trim_end()), said.collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            super::{
                set::tests::{failing, set},
                state::tests::{conditions, object},
            },
            Report,
        },
        *,
    };
    use crate::output::Table;

    #[test]
    fn each_object_is_a_line_and_so_is_each_line_without_one() {
        let named = |name: &str, status| {
            let mut object = object(&status);
            object.metadata.name = Some(name.to_owned());
            object
        };
        let fine = named(
            "k3s-a",
            json!({
                "observedGeneration": 2, "reference": "r.example/app:1@sha256:i", "tags": ["1"],
                "conditions": conditions(&[("Ready", "True", "Succeeded"), ("PlatformsComplete", "True", "Succeeded")]),
            }),
        );
        let bad = named(
            "k3s-b",
            json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "False", "PlatformMismatch")])}),
        );
        let sets = vec![SetTree::of(&set(&failing(2)), &[fine, bad])];
        let report = Report { items: Vec::new(), sets };
        let expected = "\
MultiArchImageSet team-a/k3s  Ready False ImagesFailing  5/9  r.example
├── k3s-a  r.example/app:1@sha256:i  Ready True Succeeded
├── k3s-b  r.example/app:1  not published  Ready False PlatformMismatch
│   └── says PlatformMismatch
└── no image\\u{1b}  InvalidLine
    └── it is none
";
        assert_eq!(report.table(), expected);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["sets"][0]["objects"][0]["tags"][0]["name"], "1");
        assert_eq!(json["sets"][0]["lines"][0]["reason"], "InvalidLine");
    }

    #[test]
    fn what_another_set_of_that_name_has_left_is_not_its_own() {
        let (set, mut object) = (set(&json!({})), object(&json!({})));
        let owner = |uid: &str| {
            serde_json::from_value(json!([{"apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImageSet", "name": "k3s", "uid": uid}]))
                .unwrap()
        };
        for (uid, owned) in [("u", true), ("before", false)] {
            object.metadata.owner_references = owner(uid);
            assert_eq!(owns(&set, &object), owned, "{uid}");
        }
    }
}

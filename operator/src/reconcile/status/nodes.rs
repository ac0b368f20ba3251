//! pure: what is said in a status of the cluster's nodes.

use jiff::Timestamp;
use multiarch_crds::{
    condition::{self, Reason, Status, Type},
    v1alpha1::MultiArchImageStatus,
};

use super::conditions::NOT_PUBLISHED;
use crate::{
    nodes::{self, MOST, View},
    oci::Platform,
};

/// Reason of `NodesCovered` where the published index lacks the platform of a node.
const NOT_COVERED: &str = "NodesNotCovered";
/// … and where the nodes are not known.
const NOT_SEEN: &str = "NodesNotSeen";

/// `status` with what `nodes` make of it, and nothing else changed; as it is where no run has reported yet.
#[must_use]
pub fn with_nodes(
    status: &MultiArchImageStatus,
    nodes: &View,
    now: Timestamp,
) -> MultiArchImageStatus {
    let mut next = status.clone();
    if condition::get(&status.conditions, Type::Ready).is_some() {
        show(&mut next, nodes, now);
    }
    next
}

/// Says in `status` whether what it says is published has the platforms of `nodes`. No number of nodes is in its words: a
/// node that joins others changes nothing.
pub(super) fn show(status: &mut MultiArchImageStatus, nodes: &View, now: Timestamp) {
    let kind = Type::NodesCovered;
    let published: Vec<Platform> =
        status.platforms.iter().filter_map(|image| image.platform.parse().ok()).collect();
    let mut missing = Vec::new();
    let (holds, reason, message) = match nodes {
        View::Off => {
            condition::remove(&mut status.conditions, kind);
            say(status, missing);
            return;
        }
        // A start is no news.
        View::Unseen if condition::get(&status.conditions, kind).is_some() => return,
        View::Unseen | View::Refused => {
            let message = "the cluster's nodes are not known: where this lasts, the operator may not list and watch nodes; nodePlatforms.enabled of the chart gives that right, and `multiarch-operator --node-platforms check` asks for it";
            (Status::Unknown, NOT_SEEN, message.to_owned())
        }
        View::Seen(_) if published.is_empty() => {
            (Status::Unknown, NOT_PUBLISHED, "no index is published yet".to_owned())
        }
        View::Seen(nodes) => {
            missing = nodes::missing(nodes, &published);
            if missing.is_empty() {
                let message = "the published index has the platform of each node";
                (Status::True, Reason::Succeeded.as_str(), message.to_owned())
            } else {
                let more = missing.len().saturating_sub(MOST);
                missing.truncate(MOST);
                let and = if more > 0 { format!(", and {more} more") } else { String::new() };
                let of = missing.join(", ");
                let message =
                    format!("the published index lacks platforms that nodes have: {of}{and}");
                (Status::False, NOT_COVERED, message)
            }
        }
    };
    let generation = status.observed_generation.unwrap_or_default();
    condition::set(&mut status.conditions, kind, holds, reason, &message, generation, now);
    say(status, missing);
}

fn say(status: &mut MultiArchImageStatus, missing: Vec<String>) {
    if let Some(coverage) = &mut status.coverage {
        coverage.nodes_missing = missing;
    }
}

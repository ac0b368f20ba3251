//! Sets as `kubectl multiarch status` shows them: how many of their images are ready, and which are not.

use std::{collections::HashSet, fmt::Write};

use jiff::Timestamp;
use multiarch_crds::v1alpha1::FailingLine;
use schemars::JsonSchema;
use serde::Serialize;

use super::{super::set::SetState, Told, events_of};
use crate::output::{Columns, plain};

/// What became of a set.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "ShownSet")]
pub(super) struct ShownSet {
    #[serde(flatten)]
    pub(super) state: SetState,
    /// What was told of it last, the newest first.
    pub(super) events: Vec<Told>,
}

/// A row for each of `sets`, which may be of several namespaces. They may come after others.
pub(super) fn rows(sets: &[ShownSet], everywhere: bool, after: bool) -> String {
    if sets.is_empty() {
        return String::new();
    }
    let mut rows = Columns::default();
    let mut headings = vec!["NAME", "READY", "IMAGES", "STATUS", "FAILING", "TO"];
    if everywhere {
        headings.insert(0, "NAMESPACE");
    }
    rows.row(headings);
    for ShownSet { state, .. } in sets {
        let failing = state.counts.map(|counts| counts.failing.to_string());
        let cells = [
            state.called(),
            state.ready.clone(),
            state.summary.clone().unwrap_or_else(|| "-".into()),
            state.reason.clone(),
            failing.unwrap_or_else(|| "-".into()),
            state.to.clone(),
        ];
        let namespace = everywhere.then(|| state.namespace.clone());
        rows.row(namespace.into_iter().chain(cells));
    }
    let between = if after { "\n" } else { "" };
    format!("{between}{}", rows.text())
}

impl ShownSet {
    /// What is to be said of it beside its row. Of the objects that are `told`, by namespace and name, it was said what they say.
    pub(super) fn details(&self, told: &HashSet<(&str, &str)>, now: Timestamp) -> String {
        let (state, mut text) = (&self.state, String::new());
        if let Some(says) = state.says() {
            let _ = writeln!(text, "  {}", plain(&says));
            let mut lines = Columns::default();
            for FailingLine { image, object, reason, message } in &state.failing {
                let of = |object: &String| told.contains(&(&*state.namespace, &**object));
                let said = object.as_ref().is_some_and(of);
                let more = message.as_deref().filter(|_| !said).unwrap_or_default();
                let object = object.as_deref().unwrap_or("-");
                lines.row([image.as_str(), reason, object, more]);
            }
            text.push_str(&lines.indented(2));
            let (more, name) = (state.unnamed(), state.called());
            if more > 0 {
                let _ = writeln!(
                    text,
                    "  and {more} more, which the status has no room for: kubectl multiarch tree {name}"
                );
            }
        }
        text.push_str(&events_of(&self.events, now));
        if text.is_empty() { text } else { format!("\n{}\n{text}", state.id()) }
    }
}

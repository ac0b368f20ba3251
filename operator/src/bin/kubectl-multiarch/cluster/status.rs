//! `kubectl multiarch status`: objects and what became of them.

use std::{fmt::Write as _, io::Write as _};

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use multiarch_crds::v1alpha1::{MultiArchImage, SourceStatus};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Cluster, Failed, Filter, Flags,
    state::{State, age},
};
use crate::{
    Common,
    exit::Exit,
    output::{Columns, Table, plain},
};

/// Show MultiArchImage objects: ready, covered, published, and what is missing.
///
/// Of each object that is not ready or not covered it says why, with the sources that gave no image; of objects that are named, also
/// their last Events. Ends with 2 where one of them is not ready or lacks a platform, and with 1 where one is not there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects. Default: all of the namespace.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    cluster: Flags,
}

const EXAMPLES: &str = "Examples:
  # What is not as it should be, anywhere in the cluster?
  kubectl multiarch status -A

  # Why is this one not ready?
  kubectl multiarch status -n team-a app

  # The digests to deploy, for a program.
  kubectl multiarch status -l app=web -o json | jq -r '.items[].reference'";

/// How many Events of an object are shown.
const EVENTS: usize = 5;

/// What became of objects.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Statuses")]
pub(crate) struct Report {
    /// Each of them.
    pub(super) items: Vec<Item>,
    /// They may be of several namespaces.
    #[serde(skip)]
    pub(super) everywhere: bool,
}

/// One of them.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(rename = "StatusOrError")]
pub(super) enum Item {
    /// What became of it.
    Shown(Box<Shown>),
    /// It is not there, or failed.
    Failed(Failed),
}

/// What became of one.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) state: State,
    /// What was told of it last, the newest first.
    pub(super) events: Vec<Told>,
}

/// An Event.
#[derive(Debug, PartialEq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    /// When it was told, last.
    #[schemars(with = "String")]
    time: Timestamp,
    /// Normal or Warning.
    r#type: String,
    /// What kind of thing, in one word.
    reason: String,
    /// What, in words.
    note: String,
}

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let cluster = args.cluster.connect().await?;
    let (objects, failed) = cluster.find(&args.names, &args.filter).await?;
    let (named, everywhere) = (!args.names.is_empty(), args.filter.all_namespaces);
    let mut ended = if failed.is_empty() { Exit::Fine } else { Exit::Failed };
    let mut items = Vec::new();
    for object in &objects {
        let state = State::of(object);
        if !state.is_fine() {
            ended = ended.max(Exit::Differs);
        }
        let events = if named { events(&cluster, object).await } else { Vec::new() };
        items.push(Item::Shown(Box::new(Shown { state, events })));
    }
    items.extend(failed.into_iter().map(Item::Failed));
    if items.is_empty() && !named {
        let of = if everywhere { String::new() } else { format!(" in {}", cluster.namespace) };
        // Where nobody listens any more, nobody is to be told.
        let _ = writeln!(std::io::stderr(), "There are no MultiArchImages{of}.");
    }
    common.output.print(&Report { items, everywhere })?;
    Ok(ended)
}

/// What was told of `object` last. They are context: who may not read Events sees none.
async fn events(cluster: &Cluster, object: &MultiArchImage) -> Vec<Told> {
    let (Some(namespace), Some(uid)) = (&object.metadata.namespace, &object.metadata.uid) else {
        return Vec::new();
    };
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), namespace);
    let params = ListParams::default().fields(&format!("regarding.uid={uid}"));
    let Ok(all) = api.list(&params).await else { return Vec::new() };
    let mut told: Vec<Told> = all.items.into_iter().filter_map(told).collect();
    told.sort_by_key(|event| std::cmp::Reverse(event.time));
    told.truncate(EVENTS);
    told
}

fn told(event: Event) -> Option<Told> {
    let repeated = event.series.map(|series| series.last_observed_time.0);
    let time = repeated.or(event.event_time.map(|time| time.0))?;
    let time = Timestamp::from_nanosecond(time.as_nanosecond()).ok()?;
    let (r#type, reason) = (event.type_.unwrap_or_default(), event.reason.unwrap_or_default());
    Some(Told { time, r#type, reason, note: event.note.unwrap_or_default() })
}

impl Table for Report {
    fn table(&self) -> String {
        // What failed is on standard error.
        let shown = self.items.iter().filter_map(|item| match item {
            Item::Shown(shown) => Some(shown),
            Item::Failed(_) => None,
        });
        let all: Vec<_> = shown.collect();
        if all.is_empty() {
            return String::new();
        }
        let mut rows = Columns::default();
        let mut headings = vec!["NAME", "READY", "PLATFORMS", "STATUS", "MISSING", "DIGEST"];
        if self.everywhere {
            headings.insert(0, "NAMESPACE");
        }
        rows.row(headings.into_iter().map(String::from));
        for Shown { state, .. } in all.iter().map(|shown| &***shown) {
            let missing = state.missing();
            let missing = if missing.is_empty() { "-".into() } else { missing.join(",") };
            let cells = [
                state.name.clone(),
                state.ready.clone(),
                state.summary(),
                state.reason.clone(),
                missing,
                state.digest.clone().unwrap_or_else(|| "-".into()),
            ];
            let namespace = self.everywhere.then(|| state.namespace.clone());
            rows.row(namespace.into_iter().chain(cells));
        }
        let mut text = rows.text();
        for shown in all {
            text.push_str(&shown.details(Timestamp::now()));
        }
        text
    }
}

impl Shown {
    /// What is to be said of it beside its row.
    fn details(&self, now: Timestamp) -> String {
        let mut lines = String::new();
        if let Some(says) = self.state.says() {
            let _ = writeln!(lines, "  {}", plain(&says));
            let mut sources = Columns::default();
            for SourceStatus { name, state, message, since, .. } in self.state.failing() {
                let since = age_of(since.0.as_nanosecond(), now);
                let message = message.clone().unwrap_or_default();
                sources.row([format!("source {name}"), format!("{state:?}"), since, message]);
            }
            lines.push_str(&sources.indented(2));
        }
        let mut events = Columns::default();
        for Told { time, r#type, reason, note } in &self.events {
            let since = age(*time, now);
            events.row([r#type.clone(), reason.clone(), since, note.clone()]);
        }
        lines.push_str(&events.indented(2));
        if lines.is_empty() { lines } else { format!("\n{}\n{lines}", self.state.id()) }
    }
}

/// The age of what happened so many nanoseconds after 1970.
fn age_of(then: i128, now: Timestamp) -> String {
    Timestamp::from_nanosecond(then).map_or_else(|_| String::new(), |then| age(then, now))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::state::tests::{conditions, object},
        *,
    };

    #[test]
    fn a_row_an_object_and_why_it_is_not_ready() {
        let waits = object(&json!({
            "observedGeneration": 2, "digest": "sha256:abc",
            "conditions": conditions(&[("Ready", "Unknown", "WaitingForPlatforms")]),
            "coverage": {"required": 2, "covered": 1, "published": 1, "summary": "1/2", "missing": ["linux/arm64"]},
            "sources": [
                {"name": "amd64", "state": "Resolved", "since": "2026-01-01T00:00:00Z"},
                {"name": "arm64", "state": "Missing", "since": "2026-01-01T00:00:00Z", "message": "not there\u{1b}"},
            ],
        }));
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
        let told =
            Told { time: now, r#type: "Warning".into(), reason: "X".into(), note: "n".into() };
        let shown = Shown { state: State::of(&waits), events: vec![told] };
        assert_eq!(
            shown.details(now),
            "\nteam-a/app\n  says WaitingForPlatforms\n  source arm64   Missing   5m   not there\\u{1b}\n  Warning   X   0s   n\n"
        );
        let report = Report { items: vec![Item::Shown(Box::new(shown))], everywhere: true };
        let head = "NAMESPACE   NAME   READY     PLATFORMS   STATUS                MISSING       DIGEST\n\
                    team-a      app    Unknown   1/2         WaitingForPlatforms   linux/arm64   sha256:abc\n";
        assert!(report.table().starts_with(head), "{}", report.table());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["items"][0]["coverage"]["missing"], json!(["linux/arm64"]));
        assert_eq!(json["items"][0]["events"][0]["time"], "2026-01-01T00:05:00Z");
    }
}

//! `kubectl multiarch status`: objects and sets, and what became of them.

mod set;

use std::{fmt::Write as _, io::Write as _};

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use multiarch_crds::v1alpha1::SourceStatus;
use schemars::JsonSchema;
use serde::Serialize;

use self::set::ShownSet;
use super::{
    Cluster, Failed, Filter, Flags,
    name::Name,
    object::Object,
    set::SetState,
    state::{State, age},
};
use crate::{
    Common,
    exit::Exit,
    output::{Columns, Table, plain},
};

/// Show MultiArchImage objects, and sets of them: ready, covered, published, and what is missing.
///
/// Of each object that is not ready or not covered it says why, with the sources that gave no image; of each set the lines of its list
/// that are not ready; of objects and sets that are named, also their last Events. Ends with 2 where one of them is not ready or lacks a platform, and with 1 where one is not there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects; mais/NAME for a set. Default: all objects and sets of the namespace.
    #[arg(value_name = "NAME")]
    names: Vec<Name>,
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

  # Which images of the list are not there yet?
  kubectl multiarch status -n team-a mais/k3s

  # The digests to deploy, for a program.
  kubectl multiarch status -l app=web -o json | jq -r '.items[].reference'";

/// How many Events of one are shown.
const EVENTS: usize = 5;

/// What became of objects and sets.
#[derive(Debug, Default, JsonSchema, Serialize)]
#[schemars(rename = "Statuses")]
pub(crate) struct Report {
    /// Each object, and what failed.
    items: Vec<Item>,
    /// Each set.
    sets: Vec<ShownSet>,
    /// They may be of several namespaces.
    #[serde(skip)]
    everywhere: bool,
}

/// An object, or what failed.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(rename = "StatusOrError")]
enum Item {
    /// What became of it.
    Shown(Box<Shown>),
    /// It is not there, or failed.
    Failed(Failed),
}

/// What became of one.
#[derive(Debug, JsonSchema, Serialize)]
struct Shown {
    #[serde(flatten)]
    state: State,
    /// What was told of it last, the newest first.
    events: Vec<Told>,
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
    let (mut objects, failed) = cluster.find(&args.names, &args.filter).await?;
    let (named, everywhere) = (!args.names.is_empty(), args.filter.all_namespaces);
    if !named {
        objects.extend(cluster.sets(&args.filter, common).await?);
    }
    let mut ended = if failed.is_empty() { Exit::Fine } else { Exit::Failed };
    let mut report = Report { everywhere, ..Report::default() };
    for object in &objects {
        let events = if named { events(&cluster, object).await } else { Vec::new() };
        ended = ended.max(report.show(object, events));
    }
    for failed in failed {
        report.fail(failed);
    }
    if objects.is_empty() && !named {
        let of = if everywhere { String::new() } else { format!(" in {}", cluster.namespace) };
        // Where nobody listens any more, nobody is to be told.
        let _ = writeln!(std::io::stderr(), "There are no MultiArchImages{of}.");
    }
    common.output.print(&report)?;
    Ok(ended)
}

impl Report {
    /// With `object`, and `events` that were told of it: how that ends.
    pub(super) fn show(&mut self, object: &Object, events: Vec<Told>) -> Exit {
        let fine = match object {
            Object::Image(image) => {
                let state = State::of(image);
                let fine = state.is_fine();
                self.items.push(Item::Shown(Box::new(Shown { state, events })));
                fine
            }
            Object::Set(set) => {
                let state = SetState::of(set);
                let fine = state.is_fine();
                self.sets.push(ShownSet { state, events });
                fine
            }
        };
        if fine { Exit::Fine } else { Exit::Differs }
    }

    /// With one that failed.
    pub(super) fn fail(&mut self, failed: Failed) {
        self.items.push(Item::Failed(failed));
    }
}

/// What was told of `object` last. They are context: who may not read Events sees none.
async fn events(cluster: &Cluster, object: &Object) -> Vec<Told> {
    let (Some(namespace), Some(uid)) = (&object.meta().namespace, &object.meta().uid) else {
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
            Item::Shown(shown) => Some(&**shown),
            Item::Failed(_) => None,
        });
        let all: Vec<&Shown> = shown.collect();
        let mut text = if all.is_empty() { String::new() } else { self.rows(&all) };
        text.push_str(&set::rows(&self.sets, self.everywhere, !text.is_empty()));
        let now = Timestamp::now();
        for shown in &all {
            text.push_str(&shown.details(now));
        }
        let told = all.iter().map(|shown| &shown.state).filter(|state| state.says().is_some());
        let told = told.map(|state| (&*state.namespace, &*state.name)).collect();
        for shown in &self.sets {
            text.push_str(&shown.details(&told, now));
        }
        text
    }
}

impl Report {
    /// A row for each of `all`.
    fn rows(&self, all: &[&Shown]) -> String {
        let mut rows = Columns::default();
        let mut headings = vec!["NAME", "READY", "PLATFORMS", "STATUS", "MISSING", "DIGEST"];
        if self.everywhere {
            headings.insert(0, "NAMESPACE");
        }
        rows.row(headings);
        for Shown { state, .. } in all {
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
        rows.text()
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
                // What was said is not said again.
                let more = message.as_ref().filter(|message| !has(&says, message));
                let more = more.cloned().unwrap_or_default();
                sources.row([format!("source {name}"), format!("{state:?}"), since, more]);
            }
            lines.push_str(&sources.indented(2));
        }
        lines.push_str(&events_of(&self.events, now));
        if lines.is_empty() { lines } else { format!("\n{}\n{lines}", self.state.id()) }
    }
}

/// Whether `said` has `message`, which may have been cut to the length that a status has room for.
fn has(said: &str, message: &str) -> bool {
    said.contains(message.strip_suffix('…').unwrap_or(message))
}

/// A line for each of `events`.
fn events_of(events: &[Told], now: Timestamp) -> String {
    let mut rows = Columns::default();
    for Told { time, r#type, reason, note } in events {
        rows.row([r#type.clone(), reason.clone(), age(*time, now), note.clone()]);
    }
    rows.indented(2)
}

/// The age of what happened so many nanoseconds after 1970.
fn age_of(then: i128, now: Timestamp) -> String {
    Timestamp::from_nanosecond(then).map_or_else(|_| String::new(), |then| age(then, now))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::{
        super::{
            set::tests::{failing, set},
            state::tests::{conditions, object},
        },
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
        let items = vec![Item::Shown(Box::new(shown))];
        let report = Report { items, everywhere: true, ..Report::default() };
        let head = "NAMESPACE   NAME   READY     PLATFORMS   STATUS                MISSING       DIGEST\n\
                    team-a      app    Unknown   1/2         WaitingForPlatforms   linux/arm64   sha256:abc\n";
        assert!(report.table().starts_with(head), "{}", report.table());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["items"][0]["coverage"]["missing"], json!(["linux/arm64"]));
        assert_eq!(json["items"][0]["events"][0]["time"], "2026-01-01T00:05:00Z");
    }

    #[rstest]
    #[case::the_same("says X", "  source a   PlatformMismatch   0s\n")]
    #[case::cut("says …", "  source a   PlatformMismatch   0s\n")]
    #[case::more("says Y", "  source a   PlatformMismatch   0s   says Y\n")]
    fn what_was_said_of_the_object_is_not_said_of_its_source(
        #[case] message: &str,
        #[case] line: &str,
    ) {
        let object = object(&json!({
            "observedGeneration": 2, "conditions": conditions(&[("Ready", "False", "X")]),
            "sources": [{"name": "a", "state": "PlatformMismatch", "since": "2026-01-01T00:00:00Z", "message": message}],
        }));
        let shown = Shown { state: State::of(&object), events: Vec::new() };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(shown.details(now), format!("\nteam-a/app\n  says X\n{line}"));
    }

    /// The message of an object is not said again in the lines of its set.
    #[test]
    fn sets_come_after_objects() {
        let mut object = object(
            &json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "False", "X")])}),
        );
        object.metadata.name = Some("k3s-pause-3-1".into());
        let mut report = Report::default();
        let ends = [set(&failing(2)).into(), object.into()].map(|it| report.show(&it, Vec::new()));
        assert_eq!(ends, [Exit::Differs; 2]);
        let expected = "\
NAME            READY   PLATFORMS   STATUS   MISSING   DIGEST
k3s-pause-3-1   False   -           X        -         -

NAME       READY   IMAGES   STATUS          FAILING   TO
mais/k3s   False   5/9      ImagesFailing   3         r.example

team-a/k3s-pause-3-1
  says X

team-a/mais/k3s
  says ImagesFailing
  rancher/pause:3.1   PlatformMismatch   k3s-pause-3-1
  no image\\u{1b}      InvalidLine        -               it is none
  and 2 more, which the status has no room for: kubectl multiarch tree mais/k3s
";
        assert_eq!(report.table(), expected);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["sets"][0]["failing"][0]["message"], "it is another one");
    }
}

//! pure: the status before and after a run → the Events that tell its story.

use kube::runtime::events::EventType;
use multiarch_crds::{
    condition::{self, Reason, Type},
    v1alpha1::{MultiArchImageStatus, SourceState},
};

use crate::{
    oci::printable,
    reconcile::status::{Outcome, Run, ready_reason},
};

/// The API server refuses a longer note, in bytes.
const NOTE: usize = 1024;

/// What is told of an object by an Event.
#[derive(Debug)]
pub struct Told {
    /// Normal, or a warning.
    pub type_: EventType,
    /// One of the Events of the API.
    pub reason: &'static str,
    /// What was being done.
    pub action: &'static str,
    /// In words.
    pub note: String,
    /// What it is about, where that is one manifest: for the annotation [`DIGEST`].
    pub digest: Option<String>,
}

/// The annotation of an Event with the digest that it is about, for those who act on Events.
pub const DIGEST: &str = "multiarch.dev/digest";

/// What happened between `before` and `after`, in `run`.
#[must_use]
pub fn between(
    before: &MultiArchImageStatus,
    after: &MultiArchImageStatus,
    run: &Run,
) -> Vec<Told> {
    let mut events = Vec::new();
    let (was, is) = (ready_reason(before), ready_reason(after));
    let message = condition::get(&after.conditions, Type::Ready).map(|c| c.message.as_str());
    let message = message.unwrap_or_default();
    let served = matches!(run.outcome, Outcome::Served { .. });
    // What was pushed by an earlier run is published when it is read back.
    let published = served && (run.pushed || was == Some(Reason::ReadingBack));
    if published && before.reference != after.reference {
        let note = format!("published {}", after.reference.as_deref().unwrap_or_default());
        let told = event(EventType::Normal, "IndexPublished", "Publish", note);
        events.push(told.about(after.digest.clone()));
    }
    if !run.drifts.is_empty() {
        let note = run.drifts.join("; ");
        let told = event(EventType::Normal, "DriftCorrected", "Publish", note);
        events.push(told.about(after.digest.clone()));
    }
    for image in &run.repaired {
        let note = format!("{image} was gone from the registry and was put back");
        let told = event(EventType::Normal, "ChildRepaired", "Publish", note);
        events.push(told.about(image.digest().map(ToString::to_string)));
    }
    if let Some(notes) = run.referrers.as_ref().map(|followed| &followed.notes)
        && !notes.is_empty()
    {
        let note = joined(notes);
        events.push(event(EventType::Warning, "ReferrerSkipped", "Publish", note));
    }
    for source in &after.sources {
        let Some(old) = before.sources.iter().find(|old| old.name == source.name) else { continue };
        // One without a digest was never there.
        let gone = source.state == SourceState::Missing && source.digest.is_some();
        if gone && old.state != SourceState::Missing {
            let note = format!("source {} {}", source.name, gone_from(&source.name, run));
            let told = event(EventType::Warning, "SourceMissing", "Resolve", note);
            events.push(told.about(source.digest.clone()));
        }
        if let (Some(then), Some(now)) = (&old.digest, &source.digest)
            && then != now
        {
            let note = format!("source {} names {now}, it named {then}", source.name);
            let told = event(EventType::Normal, "SourceChanged", "Resolve", note);
            events.push(told.about(Some(now.clone())));
        }
    }
    let news = if was == is { None } else { is.and_then(warning) };
    if let Some((reason, action)) = news {
        let told = event(EventType::Warning, reason, action, message.to_owned());
        // What the tag named before something else moved it.
        let left = after.digest.clone().filter(|_| is == Some(Reason::DriftDetected));
        events.push(told.about(left));
    }
    let stalled =
        |status: &MultiArchImageStatus| condition::get(&status.conditions, Type::Stalled).is_some();
    // An Event that says the same was just told.
    let new = was != is || !stalled(before);
    if stalled(after) && new && news.is_none() {
        events.push(event(EventType::Warning, "Stalled", "Reconcile", message.to_owned()));
    }
    events
}

/// Where the source called `name` is gone from.
fn gone_from(name: &str, run: &Run) -> String {
    let asked = run.resolutions.iter().find(|resolution| resolution.name == name);
    match asked.and_then(|asked| asked.reference.repository().archive()) {
        Some(archive) => {
            let archive = printable(archive);
            format!("is not in its archive any more: {archive} does not have it, or is not there")
        }
        None => "is gone from its registry (HTTP 404)".into(),
    }
}

/// The Event that a reason of Ready is told by when it comes up, and what was being done.
fn warning(reason: Reason) -> Option<(&'static str, &'static str)> {
    match reason {
        Reason::PlatformMismatch => Some(("PlatformMismatch", "Resolve")),
        Reason::PushFailed => Some(("PushFailed", "Publish")),
        Reason::AuthenticationFailed | Reason::AccessDenied => Some(("AuthFailed", "Resolve")),
        Reason::RateLimited => Some(("RateLimited", "Resolve")),
        Reason::DriftDetected => Some(("DriftDetected", "Publish")),
        Reason::TargetConflict => Some(("TargetConflict", "Publish")),
        _ => None,
    }
}

/// As many of `notes` as an Event holds, and how many more there are.
fn joined(notes: &[String]) -> String {
    let mut joined = String::new();
    for (at, note) in notes.iter().enumerate() {
        let more = format!("; {} more", notes.len() - at);
        if at > 0 && joined.len() + 2 + note.len() + more.len() > NOTE {
            return joined + &more;
        }
        let comma = if at > 0 { "; " } else { "" };
        joined = joined + comma + note;
    }
    joined
}

impl Told {
    fn about(self, digest: Option<String>) -> Self {
        Self { digest, ..self }
    }
}

/// An Event with a note that the API server takes.
#[must_use]
pub fn event(
    type_: EventType,
    reason: &'static str,
    action: &'static str,
    mut note: String,
) -> Told {
    note.truncate(note.floor_char_boundary(NOTE));
    Told { type_, reason, action, note, digest: None }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use multiarch_crds::{condition::Status, v1alpha1::SourceStatus};
    use rstest::rstest;

    use super::*;
    use crate::{
        oci::{Digest, Reference, Repository},
        reconcile::{
            publish::Published,
            referrers::{Followed, Looks},
            resolve::{Answer, Resolution},
            status::Tags,
        },
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn status(reason: Option<Reason>, stalled: bool) -> MultiArchImageStatus {
        let mut status = MultiArchImageStatus::default();
        let list = &mut status.conditions;
        if let Some(reason) = reason {
            let message = "é".repeat(NOTE);
            condition::set(list, Type::Ready, Status::False, reason, &message, 1, NOW);
            if stalled {
                condition::set(list, Type::Stalled, Status::True, reason, &message, 1, NOW);
            }
        }
        status
    }

    fn published(pushed: bool) -> Outcome {
        let reference = format!("r.example/app:1.0@{}", Digest::of(b"index")).parse().unwrap();
        let published = Published::pretend(reference, pushed).unwrap();
        Outcome::Served { published, platforms: Vec::new(), tags: Tags::default() }
    }

    fn told(
        before: &MultiArchImageStatus,
        after: &MultiArchImageStatus,
        pushed: bool,
    ) -> Vec<String> {
        let drift = ready_reason(before) == Some(Reason::DriftDetected);
        let served =
            matches!(ready_reason(after), Some(Reason::Succeeded | Reason::PublishedPartial));
        let outcome = if served { published(pushed) } else { Outcome::Suspended };
        // What is put back was published before.
        let reference = Some("new".to_owned()).filter(|_| !drift);
        let after = &MultiArchImageStatus { reference, ..after.clone() };
        let drifts = if drift { vec!["it moved".to_owned()] } else { Vec::new() };
        let events =
            between(before, after, &Run { pushed, drifts, ..Run::without_answers(outcome) });
        assert!(events.iter().all(|told| told.note.len() <= NOTE));
        events.into_iter().map(|told| told.reason.to_owned()).collect()
    }

    #[rstest]
    #[case::published(None, Reason::Succeeded, true, &["IndexPublished"])]
    #[case::partial(None, Reason::PublishedPartial, true, &["IndexPublished"])]
    #[case::adopted(None, Reason::Succeeded, false, &[])]
    #[case::corrected(Some(Reason::DriftDetected), Reason::Succeeded, true, &["DriftCorrected"])]
    #[case::read_back(Some(Reason::ReadingBack), Reason::Succeeded, false, &["IndexPublished"])]
    #[case::pushed_and_lagging(None, Reason::ReadingBack, true, &[])]
    #[case::pushed_and_lost(None, Reason::ReadBackMismatch, true, &[])]
    #[case::waiting(None, Reason::WaitingForPlatforms, false, &[])]
    #[case::mismatch(None, Reason::PlatformMismatch, false, &["PlatformMismatch"])]
    #[case::push_failed(None, Reason::PushFailed, false, &["PushFailed"])]
    #[case::unauthorized(None, Reason::AuthenticationFailed, false, &["AuthFailed"])]
    #[case::denied(Some(Reason::Succeeded), Reason::AccessDenied, false, &["AuthFailed"])]
    #[case::limited(Some(Reason::Succeeded), Reason::RateLimited, false, &["RateLimited"])]
    #[case::drift(Some(Reason::Succeeded), Reason::DriftDetected, false, &["DriftDetected"])]
    #[case::again(Some(Reason::RateLimited), Reason::RateLimited, false, &[])]
    fn tells_what_became_of_ready(
        #[case] was: Option<Reason>,
        #[case] is: Reason,
        #[case] pushed: bool,
        #[case] expected: &[&str],
    ) {
        assert_eq!(told(&status(was, false), &status(Some(is), false), pushed), expected);
    }

    /// An index that was read back already is not told again where another tag was waited for.
    #[test]
    fn tells_a_publication_once() {
        let status = |reason| {
            let reference = Some("r.example/app:1.0@sha256:…".to_owned());
            MultiArchImageStatus { reference, ..status(Some(reason), false) }
        };
        let (before, after) = (status(Reason::ReadingBack), status(Reason::Succeeded));
        assert!(between(&before, &after, &Run::without_answers(published(false))).is_empty());
    }

    #[test]
    fn tells_the_digest_that_was_published() {
        let reference = Some("r.example/app:1.0@sha256:…".to_owned());
        let digest = Some(Digest::of(b"index").to_string());
        let after = status(Some(Reason::Succeeded), false);
        let after = MultiArchImageStatus { reference, digest: digest.clone(), ..after };
        let run = Run { pushed: true, ..Run::without_answers(published(true)) };
        let told = between(&status(None, false), &after, &run);
        assert_eq!(told[0].digest, digest);
    }

    /// Whatever else became of the run, and where the status stays as it was.
    #[test]
    fn tells_what_was_put_back() {
        let (same, digest) = (status(Some(Reason::Succeeded), false), Digest::of(b"x"));
        let image = format!("r.example/app@{digest}");
        let run = Run {
            repaired: vec![image.parse().unwrap()],
            drifts: vec!["a names x again".into(), "b names y again".into()],
            ..Run::without_answers(Outcome::Unchanged)
        };
        let told: Vec<_> = between(&same, &same, &run)
            .into_iter()
            .map(|told| (told.reason, told.note, told.digest))
            .collect();
        let expected = [
            ("DriftCorrected", "a names x again; b names y again".into(), None),
            (
                "ChildRepaired",
                format!("{image} was gone from the registry and was put back"),
                Some(digest.to_string()),
            ),
        ];
        assert_eq!(told, expected);
    }

    /// In one Event, with as many words as it may have.
    #[rstest]
    #[case::none(0, 10, None)]
    #[case::one(1, 10, Some(""))]
    #[case::all(3, 300, Some(""))]
    #[case::some(9, 300, Some("; 6 more"))]
    #[case::one_too_long(1, 2000, Some(""))]
    fn tells_which_referrers_are_left(
        #[case] notes: usize,
        #[case] long: usize,
        #[case] end: Option<&str>,
    ) {
        let notes = vec!["x".repeat(long); notes];
        let looks = Looks::default();
        let referrers = Some(Followed { looks, notes: notes.clone() });
        let run = Run { referrers, ..Run::without_answers(Outcome::Unchanged) };
        let same = status(Some(Reason::Succeeded), false);
        let told = between(&same, &same, &run);
        let told: Vec<_> = told.iter().map(|told| (told.reason, &told.note)).collect();
        let Some(end) = end else { return assert_eq!(told, []) };
        let [("ReferrerSkipped", note)] = told[..] else { panic!("{told:?}") };
        let fits = notes[0].len().min(NOTE);
        assert!(note.len() <= NOTE && note.starts_with(&notes[0][..fits]), "{note}");
        assert_eq!(note.trim_end_matches("; 6 more").len() + end.len(), note.len());
    }

    #[rstest]
    #[case::at_once(Reason::WouldShrink, None, &["Stalled"])]
    #[case::after_tries(Reason::AccessDenied, Some(Reason::AccessDenied), &["Stalled"])]
    #[case::with_an_event_of_its_own(Reason::PlatformMismatch, None, &["PlatformMismatch"])]
    fn tells_stalled_once(
        #[case] is: Reason,
        #[case] was: Option<Reason>,
        #[case] expected: &[&str],
    ) {
        let after = status(Some(is), true);
        assert_eq!(told(&status(was, false), &after, false), expected);
        assert!(told(&after, &after, false).is_empty());
    }

    #[rstest]
    #[case::gone(Some((SourceState::Resolved, "a")), (SourceState::Missing, "a"), &["SourceMissing"])]
    #[case::gone_after_a_failure(Some((SourceState::Unreachable, "a")), (SourceState::Missing, "a"), &["SourceMissing"])]
    #[case::still_gone(Some((SourceState::Missing, "a")), (SourceState::Missing, "a"), &[])]
    #[case::never_there(None, (SourceState::Missing, ""), &[])]
    #[case::raised_to_what_is_not_there(Some((SourceState::Resolved, "a")), (SourceState::Missing, ""), &[])]
    #[case::moved(Some((SourceState::Resolved, "a")), (SourceState::Resolved, "b"), &["SourceChanged"])]
    #[case::moved_to_something_wrong(Some((SourceState::Resolved, "a")), (SourceState::PlatformMismatch, "b"), &["SourceChanged"])]
    #[case::came(Some((SourceState::Missing, "")), (SourceState::Resolved, "a"), &[])]
    #[case::came_back(Some((SourceState::Missing, "a")), (SourceState::Resolved, "a"), &[])]
    #[case::failed(Some((SourceState::Resolved, "a")), (SourceState::Unreachable, "a"), &[])]
    fn tells_what_became_of_a_source(
        #[case] was: Option<(SourceState, &str)>,
        #[case] is: (SourceState, &str),
        #[case] expected: &[&str],
    ) {
        let status = |of: Option<(SourceState, &str)>| {
            let source = of.map(|(state, digest)| SourceStatus {
                name: "x".into(),
                state,
                digest: Some(digest.to_owned()).filter(|digest| !digest.is_empty()),
                message: None,
                since: Time(NOW),
            });
            let sources = source.into_iter().collect();
            MultiArchImageStatus { sources, ..MultiArchImageStatus::default() }
        };
        let (before, after) = (status(was), status(Some(is)));
        assert_eq!(told(&before, &after, false), expected);
        let events = between(&before, &after, &Run::without_answers(Outcome::Unchanged));
        assert!(events.iter().all(|told| told.digest.as_deref() == Some(is.1)), "{events:?}");
    }

    #[rstest]
    #[case::registry(None, "source x is gone from its registry (HTTP 404)")]
    #[case::archive(
        Some("k3s/arm64.tar"),
        "source x is not in its archive any more: k3s/arm64.tar does not have it, or is not there"
    )]
    fn tells_where_a_source_is_gone_from(#[case] archive: Option<&str>, #[case] note: &str) {
        let status = |state| {
            let digest = Some("a".to_owned());
            let source =
                SourceStatus { name: "x".into(), state, digest, message: None, since: Time(NOW) };
            MultiArchImageStatus { sources: vec![source], ..MultiArchImageStatus::default() }
        };
        let reference: Reference = "r.example/app:1".parse().unwrap();
        let reference = match archive {
            Some(archive) => Repository::in_archive(archive, reference.repository()).tag("1"),
            None => reference,
        };
        let (known, answer) = (Some(Digest::of(b"a")), Answer::Missing);
        let resolutions = vec![Resolution { name: "x".into(), reference, known, answer }];
        let run = Run { resolutions, ..Run::without_answers(Outcome::Unchanged) };
        let (before, after) = (status(SourceState::Resolved), status(SourceState::Missing));
        let told = between(&before, &after, &run);
        let told: Vec<_> = told.iter().map(|told| (told.reason, told.note.as_str())).collect();
        assert_eq!(told, [("SourceMissing", note)]);
    }

    #[test]
    fn a_tag_that_was_moved_is_told_with_what_it_is_to_name() {
        let before = status(Some(Reason::Succeeded), false);
        let digest = Some("sha256:a".to_owned());
        let after = MultiArchImageStatus {
            digest: digest.clone(),
            ..status(Some(Reason::DriftDetected), false)
        };
        let run = Run::without_answers(Outcome::Unchanged);
        let told: Vec<_> = between(&before, &after, &run)
            .into_iter()
            .map(|told| (told.reason, told.digest))
            .collect();
        assert_eq!(told, [("DriftDetected", digest)]);
    }
}

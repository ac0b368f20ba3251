//! pure: the status before and after a run → the Events that tell its story.

use kube::runtime::events::{Event, EventType};
use multiarch_crds::{
    condition::{self, Reason, Type},
    v1alpha1::{MultiArchImageStatus, SourceState},
};

use crate::reconcile::status::ready_reason;

/// The API server refuses a longer note, in bytes.
const NOTE: usize = 1024;

/// What happened between `before` and `after`. `pushed`: an index was pushed in this run.
#[must_use]
pub fn between(
    before: &MultiArchImageStatus,
    after: &MultiArchImageStatus,
    pushed: bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    let (was, is) = (ready_reason(before), ready_reason(after));
    let message = condition::get(&after.conditions, Type::Ready).map(|c| c.message.as_str());
    let message = message.unwrap_or_default();
    let served = matches!(is, Some(Reason::Succeeded | Reason::PublishedPartial));
    // What was pushed by an earlier run is published when it is read back.
    if served && (pushed || was == Some(Reason::ReadingBack)) {
        let corrected = was == Some(Reason::DriftDetected);
        let reason = if corrected { "DriftCorrected" } else { "IndexPublished" };
        let reference = after.reference.as_deref().unwrap_or_default();
        events.push(event(EventType::Normal, reason, "Publish", format!("published {reference}")));
    }
    for source in &after.sources {
        let Some(old) = before.sources.iter().find(|old| old.name == source.name) else { continue };
        // One without a digest was never there.
        let gone = source.state == SourceState::Missing && source.digest.is_some();
        if gone && old.state != SourceState::Missing {
            let note = format!("source {} is gone from its registry (HTTP 404)", source.name);
            events.push(event(EventType::Warning, "SourceMissing", "Resolve", note));
        }
        if let (Some(then), Some(now)) = (&old.digest, &source.digest)
            && then != now
        {
            let note = format!("source {} names {now}, it named {then}", source.name);
            events.push(event(EventType::Normal, "SourceChanged", "Resolve", note));
        }
    }
    let news = if was == is { None } else { is.and_then(warning) };
    if let Some((reason, action)) = news {
        events.push(event(EventType::Warning, reason, action, message.to_owned()));
    }
    let stalled =
        |status: &MultiArchImageStatus| condition::get(&status.conditions, Type::Stalled).is_some();
    // An Event that says the same was just told.
    if stalled(after) && !stalled(before) && news.is_none() {
        events.push(event(EventType::Warning, "Stalled", "Reconcile", message.to_owned()));
    }
    events
}

/// The Event that a reason of Ready is told by when it comes up, and what was being done.
fn warning(reason: Reason) -> Option<(&'static str, &'static str)> {
    match reason {
        Reason::PlatformMismatch => Some(("PlatformMismatch", "Resolve")),
        Reason::PushFailed => Some(("PushFailed", "Publish")),
        Reason::AuthenticationFailed | Reason::AccessDenied => Some(("AuthFailed", "Resolve")),
        Reason::RateLimited => Some(("RateLimited", "Resolve")),
        Reason::DriftDetected => Some(("DriftDetected", "Publish")),
        _ => None,
    }
}

fn event(type_: EventType, reason: &str, action: &str, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(NOTE));
    Event { type_, reason: reason.into(), note: Some(note), action: action.into(), secondary: None }
}

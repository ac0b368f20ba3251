//! reads: by HEAD alone, whether there is anything but to wait for a registry to show what was pushed.

use multiarch_crds::{condition::Reason, v1alpha1::PendingTag};

use super::{
    Job, Stop,
    access::AccessMap,
    look,
    publish::PublishError,
    publish_failure,
    resolve::{self, Answer},
    status::{Outcome, Run},
};
use crate::registry::Registry;

/// Asks whether nothing has changed since something was pushed that is not shown yet. `None` where
/// there is more to do than to wait.
pub(super) async fn wait<R: Registry>(job: &Job<'_, R>, access: &AccessMap) -> Option<Run> {
    let Job { registry, sources, memory, .. } = *job;
    let lags = memory.current && memory.reason == Some(Reason::ReadingBack);
    if !lags || job.requested || !job.is_lag_to_be_expected() {
        return None;
    }
    let resolutions = resolve::glance(registry, sources, access, memory, job.since.news).await?;
    if resolutions.iter().any(|resolution| !matches!(resolution.answer, Answer::Unchanged)) {
        return None;
    }
    let target = access.target().ok()?;
    let awaited = |tag: &PendingTag| Some((tag.name.clone(), memory.awaited(&tag.name)?));
    // One that was not taken is tried again.
    let mut pending: Vec<_> = memory.pending.iter().map(awaited).collect::<Option<_>>()?;
    // The other tags follow the target's.
    if let Some(own) = pending.iter().position(|(name, _)| name == sources.tag()) {
        pending = vec![pending.swap_remove(own)];
    }
    for (name, digest) in pending {
        let tag = sources.target.repository().tag(&name);
        let named = look::named(registry, target, &tag).await.ok()?;
        if named.as_ref() == Some(&digest) {
            continue;
        }
        let published = memory.published.as_ref().map(|published| &published.digest);
        if name == sources.tag() && named.as_ref() != published {
            return None;
        }
        let lagging = PublishError::Lagging { target: tag.pinned_to(&digest), pushed: false };
        let outcome = Outcome::Held(publish_failure(&lagging));
        return Some(Run { resolutions, ..Run::without_answers(outcome) });
    }
    None
}

/// The tags that were not yet seen to name what they are to name, after a run that ended at `stop`. What may have been
/// written without anybody knowing is remembered until it is known.
pub(super) fn pending<R>(job: &Job<'_, R>, stop: &Stop) -> Vec<PendingTag> {
    let own = job.sources.tag();
    let now = match stop {
        Stop::Publish(PublishError::Mismatch { .. }) => None,
        Stop::Publish(error) if error.awaited().is_some() => error.awaited().cloned(),
        _ => job.memory.awaited(own).filter(|_| job.is_lag_to_be_expected()),
    };
    let digest = now.map(|digest| digest.to_string());
    let before = job.intended(own);
    let intended = match stop {
        Stop::Publish(error) if error.pushed().is_some() => None,
        // It may be there although nobody said so; and what is refused again is said once.
        Stop::Publish(PublishError::Push { .. }) => job.writer.said(own).or(before),
        _ => before,
    };
    let is_pending = digest.is_some() || intended.is_some();
    let now = is_pending.then(|| PendingTag { name: own.into(), digest, intended });
    let others = job.memory.pending.iter().filter(|tag| tag.name != own).cloned();
    now.into_iter().chain(others).collect()
}

//! reads: by HEAD alone, whether everything is as the status says.

use futures::future::{join, try_join_all};
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{RemovalPolicy, TagPolicy},
};

use super::{
    Job,
    access::AccessMap,
    children::{self, Kept},
    look,
    memory::PublishedIndex,
    publish::PublishError,
    publish_failure,
    referrers::{self, Followed},
    resolve::{self, Answer},
    status::{Outcome, Run},
    tags::{self, Tag},
    worst,
};
use crate::{
    error::Failure,
    oci::{Digest, Reference},
    registry::Registry,
};

/// Asks whether everything is as the status says, and puts back images that are gone. `None` where
/// the sources must be read to know what to do.
pub(super) async fn glance<R: Registry>(job: &Job<'_, R>, access: &AccessMap) -> Option<Run> {
    let Job { registry, sources, memory, .. } = *job;
    let policy = sources.tag_policy;
    let run = |resolutions, outcome| Run { resolutions, ..Run::without_answers(outcome) };
    let resolutions = resolve::glance(registry, sources, access, memory).await?;
    let mut kept = Kept::default();
    if let Some(failure) = worst(sources, &resolutions) {
        // It may hide what was wrong before, which the digests alone do not tell.
        let waits = [Some(Reason::WaitingForPlatforms), Some(Reason::WaitingForMatch)];
        if !memory.was_served() && !waits.contains(&memory.reason) {
            return None;
        }
        let looked = children::keep_published(job, access, &resolutions, &[], &mut kept).await;
        let gone = looked.err().filter(PublishError::is_gone);
        let failure = gone.as_ref().map_or(failure, publish_failure);
        return Some(run(resolutions, Outcome::Held(failure)).with(kept));
    }
    let newly_gone = resolutions.iter().any(|r| matches!(r.answer, Answer::Missing));
    if newly_gone && (!memory.was_served() || sources.removal_policy == RemovalPolicy::Remove) {
        return None;
    }
    let Some(published) = &memory.published else {
        // What is required, or differs, may have come by the tag, which is not remembered.
        let retains = sources.removal_policy == RemovalPolicy::Retain;
        let asks_more = !sources.required.is_empty() || !sources.equal_labels.is_empty();
        let settled = !retains || !asks_more;
        return settled.then(|| run(resolutions, Outcome::Unchanged));
    };
    let images = published.children.iter().map(|child| (&child.platform, &child.digest));
    let beside = tags::of(sources, &published.digest, images).ok()?;
    let tagged: Vec<_> = beside.iter().map(|tag| &tag.digest).chain([&published.digest]).collect();
    let (looked, astray) = join(
        children::keep_published(job, access, &resolutions, &tagged, &mut kept),
        first_astray(job, access, published, &beside),
    )
    .await;
    let astray = match looked.and(astray) {
        Ok(astray) => astray,
        Err(error) => {
            let held = Outcome::Held(publish_failure(&error));
            return Some(run(resolutions, held).with(kept));
        }
    };
    let is_right = astray.is_none();
    let outcome = match astray {
        // That the tags are right again is told by a whole run.
        None if memory.was_left(policy) => return None,
        None => Outcome::Unchanged,
        // A person who asks for a run does not want to wait for a second look.
        Some(_) if job.requested => return None,
        Some(_) if memory.was_left(policy) => Outcome::Unchanged,
        Some(_) if !memory.was_served() => return None,
        // Until two minutes after a push, what the tag named before is lag.
        Some(_) if job.is_lag_to_be_expected() => Outcome::Unchanged,
        Some(Astray { tag, published, named }) if policy == TagPolicy::Yield => {
            let yielded = PublishError::Yielded { tag, published, named };
            Outcome::Held(publish_failure(&yielded))
        }
        Some(Astray { tag, published, named }) => {
            Outcome::Held(Failure::drifted(&tag, &published, named.as_ref()))
        }
    };
    if is_right {
        kept.referrers = follow(job, access, published).await;
    }
    Some(run(resolutions, outcome).with(kept))
}

/// A tag that does not name what it was left with.
struct Astray {
    tag: Reference,
    published: Digest,
    named: Option<Digest>,
}

/// The first tag that does not name what it should.
async fn first_astray<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    published: &PublishedIndex,
    beside: &[Tag],
) -> Result<Option<Astray>, PublishError> {
    let access = access.target().map_err(|source| PublishError::Credential { source })?;
    let target = &job.sources.target;
    let of = |tag: &Tag| (target.repository().tag(&tag.name), tag.digest.clone());
    let all = [(target.clone(), published.digest.clone())].into_iter().chain(beside.iter().map(of));
    let asks: Vec<_> = all
        .map(|(tag, published)| async move {
            let named = look::named(job.registry, access, &tag).await?;
            let is_right = named.as_ref() == Some(&published);
            Ok((!is_right).then_some(Astray { tag, published, named }))
        })
        .collect();
    Ok(try_join_all(asks).await?.into_iter().flatten().next())
}

/// Looks for referrers of what is published, when that is due.
async fn follow<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    published: &PublishedIndex,
) -> Option<Followed> {
    let images = published.children.iter().map(|child| (&child.digest, child.source.as_str()));
    // What is published as it is, its source names too.
    let whole = job.sources.sources.iter().filter(|source| {
        let named = job.memory.source(&source.name).and_then(|then| then.digest.as_ref());
        job.sources.mirrors() && named == Some(&published.digest)
    });
    let whole = whole.map(|source| (&published.digest, source.name.as_str()));
    let subjects = referrers::subjects(job, images.chain(whole));
    referrers::follow(job, access, &subjects).await
}

//! reads: by HEAD alone, whether everything is as the status says.

use std::mem::take;

use futures::{StreamExt, TryStreamExt, stream};
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

/// How many tags are asked for at once.
const AT_ONCE: usize = 8;

/// Asks whether everything is as the status says, and puts back images that are gone. `None` where
/// the sources must be read to know what to do.
pub(super) async fn glance<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    kept: &mut Kept,
) -> Option<Run> {
    let Job { registry, sources, memory, .. } = *job;
    let policy = sources.tag_policy;
    let run = |resolutions, outcome| Run { resolutions, ..Run::without_answers(outcome) };
    let heard = job.since.heard;
    let resolutions = resolve::glance(registry, sources, access, memory, heard).await?;
    if let Some(failure) = worst(sources, &resolutions) {
        // It may hide what was wrong before, which the digests alone do not tell.
        let waits = [Some(Reason::WaitingForPlatforms), Some(Reason::WaitingForMatch)];
        if !memory.was_served() && !waits.contains(&memory.reason) {
            return None;
        }
        let looked = children::keep_published(job, access, &resolutions, &[], kept).await;
        let gone = looked.err().filter(PublishError::is_gone);
        let failure = gone.as_ref().map_or(failure, publish_failure);
        return Some(run(resolutions, Outcome::Held(failure)).with(take(kept)));
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
    let mut beside = tags::of(sources, &published.digest, published.images()).ok()?;
    let all = beside.len();
    beside.retain(|tag| job.claims.owner(&tag.name).is_none());
    // That nobody else keeps them any more is told by a whole run.
    if memory.reason == Some(Reason::TargetConflict) && beside.len() == all {
        return None;
    }
    // What was refused is as it was, and is not asked for before it is tried again.
    beside.retain(|tag| !(job.put_off && memory.was_refused(&tag.name)));
    let tags = look_at_tags(job, access, published, &beside).await;
    let shown = tags.as_ref().map(|tags| tags.right.as_slice()).unwrap_or_default();
    let looked = children::keep_published(job, access, &resolutions, shown, kept).await;
    let astray = match looked.and(tags) {
        Ok(tags) => tags.astray,
        // What held the object before may hold it still.
        Err(error) if !error.is_gone() && !memory.was_served() => return None,
        Err(error) => {
            let held = Outcome::Held(publish_failure(&error));
            return Some(run(resolutions, held).with(take(kept)));
        }
    };
    let is_right = astray.is_none();
    let outcome = match astray {
        // That the tags are right again is told by a whole run.
        None if memory.was_left(policy) && !job.put_off => return None,
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
    Some(run(resolutions, outcome).with(take(kept)))
}

/// A tag that does not name what it was left with.
struct Astray {
    tag: Reference,
    published: Digest,
    named: Option<Digest>,
}

/// What the tags name.
struct Tags<'a> {
    /// What those show to be there that name what they should.
    right: Vec<&'a Digest>,
    /// The first one that does not.
    astray: Option<Astray>,
}

/// Asks what the tags name.
async fn look_at_tags<'a, R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    published: &'a PublishedIndex,
    beside: &'a [Tag],
) -> Result<Tags<'a>, PublishError> {
    let access = access.target().map_err(|source| PublishError::Credential { source })?;
    let target = &job.sources.target;
    let of = |tag: &'a Tag| (target.repository().tag(&tag.name), &tag.digest);
    let all = [(target.clone(), &published.digest)].into_iter().chain(beside.iter().map(of));
    let asks: Vec<_> = all
        .map(|(tag, digest)| async move {
            let named = look::named(job.registry, access, &tag).await?;
            if named.as_ref() == Some(digest) {
                return Ok(Ok(digest));
            }
            Ok(Err(Astray { tag, published: digest.clone(), named }))
        })
        .collect();
    let answers: Vec<_> = stream::iter(asks).buffered(AT_ONCE).try_collect().await?;
    let mut tags = Tags { right: Vec::new(), astray: None };
    for answer in answers {
        match answer {
            Ok(digest) => tags.right.push(digest),
            Err(astray) => tags.astray = tags.astray.or(Some(astray)),
        }
    }
    Ok(tags)
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

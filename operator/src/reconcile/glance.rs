//! reads: by HEAD alone, whether everything is as the status says.

use futures::future::{try_join, try_join_all};
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{RemovalPolicy, TagPolicy},
};

use super::{
    Job,
    access::AccessMap,
    children::{self, Wanted},
    look,
    memory::PublishedIndex,
    publish::PublishError,
    publish_failure,
    resolve::{self, Answer, Resolution},
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
    let run = |resolutions, outcome| Run { resolutions, ..Run::without_answers(outcome) };
    let resolutions = resolve::glance(registry, sources, access, memory).await?;
    if let Some(failure) = worst(sources, &resolutions) {
        // It may hide what was wrong before, which the digests alone do not tell.
        let waits = [Some(Reason::WaitingForPlatforms), Some(Reason::WaitingForMatch)];
        let tells_all = memory.was_served() || waits.contains(&memory.reason);
        return tells_all.then(|| run(resolutions, Outcome::Held(failure)));
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
    let looked = look_at_target(job, access, published, &resolutions).await?;
    let (repaired, astray) = match looked {
        Ok(looked) => looked,
        Err(error) => return Some(run(resolutions, Outcome::Held(publish_failure(&error)))),
    };
    let outcome = match astray {
        // That the tags are right again is told by a whole run.
        None if memory.was_left() => return None,
        None => Outcome::Unchanged,
        // A person who asks for a run does not want to wait for a second look.
        Some(_) if job.requested => return None,
        Some(_) if memory.was_left() => Outcome::Unchanged,
        Some(_) if !memory.was_served() => return None,
        // Until two minutes after a push, what the tag named before is lag.
        Some(_) if job.is_lag_to_be_expected() => Outcome::Unchanged,
        Some(Astray { tag, published, named }) if sources.tag_policy == TagPolicy::Yield => {
            let yielded = PublishError::Yielded { tag, published, named };
            Outcome::Held(publish_failure(&yielded))
        }
        Some(Astray { tag, published, named }) => {
            Outcome::Held(Failure::drifted(&tag, &published, named.as_ref()))
        }
    };
    Some(Run { repaired, ..run(resolutions, outcome) })
}

/// A tag that does not name what it was left with.
struct Astray {
    tag: Reference,
    published: Digest,
    named: Option<Digest>,
}

type Looked = Result<(Vec<Reference>, Option<Astray>), PublishError>;

/// Asks for the tags, and for those images of the index that no other answer shows. `None` where
/// the images cannot be tagged as the spec says.
async fn look_at_target<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    published: &PublishedIndex,
    resolutions: &[Resolution],
) -> Option<Looked> {
    let images = published.children.iter().map(|child| (&child.platform, &child.digest));
    let beside = tags::of(job.sources, &published.digest, images).ok()?;
    let unseen = if job.is_lag_to_be_expected() {
        Vec::new()
    } else {
        unseen(job, published, resolutions, &beside)
    };
    let looks = try_join(
        children::keep(job, access, &unseen),
        first_astray(job, access, published, &beside),
    );
    Some(looks.await)
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

/// The images and attestations of `published` that neither a source in the same repository shows,
/// nor a tag.
fn unseen<R>(
    job: &Job<'_, R>,
    published: &PublishedIndex,
    resolutions: &[Resolution],
    beside: &[Tag],
) -> Vec<Wanted> {
    let sources = job.sources.sources.iter().zip(resolutions);
    let here = sources.filter(|(source, resolution)| {
        let is_there = matches!(resolution.answer, Answer::Unchanged);
        is_there
            && !job.memory.is_missing(&source.name)
            && source.reference.repository() == job.sources.target.repository()
    });
    let shown = here.filter_map(|(_, resolution)| resolution.known.as_ref());
    let tagged = beside.iter().map(|tag| &tag.digest).chain([&published.digest]);
    let shown: Vec<&Digest> = shown.chain(tagged).collect();
    let mut wanted = children::published(published);
    wanted.retain(|child| !shown.contains(&&child.digest));
    wanted
}

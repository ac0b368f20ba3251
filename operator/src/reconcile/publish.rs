//! writes: the planned index under the target's tag, and reads it back.

mod error;
pub mod tags;

use std::time::Duration;

use jiff::SignedDuration;
use multiarch_crds::v1alpha1::{PublishedPlatform, RemovalPolicy, TagPolicy};

pub use self::error::PublishError;
use super::{
    Job,
    access::AccessMap,
    children::{self, Children, Kept},
    claims::Owner,
    copy, look,
    plan::{Current, Plan, Read},
    referrers::{self, Followed},
    sources::Sources,
    tags::{Astray, Verdict},
};
use crate::{
    oci::{Digest, RawManifest, Reference},
    registry::{Access, Copied, Put, Registry},
};

/// How long a registry may go on answering with what the tag named before (REGISTRY.md rule 11).
pub const LAG: SignedDuration = SignedDuration::from_mins(2);

/// How long what was seen in the target's repository is taken to be there: registries collect what
/// no tag names within the hour (REGISTRY.md rule 9).
const SEEN: Duration = Duration::from_mins(10);

/// What mounts may take for the tag to be written without another look at it.
const SHORT: Duration = Duration::from_secs(30);

/// Pauses before the tag is asked for once more after a push, where the registry lags.
const READ_BACK: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// An index that was read back under the target's tag. Can be made only here, so that status
/// cannot report what was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    reference: Reference,
    digest: Digest,
    media_type: String,
    pushed: bool,
    replaced: Option<Digest>,
}

impl Published {
    /// One that nobody published, for tests of what reports it.
    #[cfg(test)]
    pub(crate) fn pretend(reference: Reference, pushed: bool) -> Option<Self> {
        let (digest, media_type) = (reference.digest()?.clone(), crate::oci::media_type::OCI_INDEX);
        let media_type = media_type.to_owned();
        Some(Self { reference, digest, media_type, pushed, replaced: None })
    }

    /// The target, pinned to what its tag names.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The digest that the tag names.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Media type of the index.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Whether it was pushed now; else the tag named it, or its equal, already.
    #[must_use]
    pub fn pushed(&self) -> bool {
        self.pushed
    }

    /// What the tag named before the push, if it named anything.
    #[must_use]
    pub fn replaced(&self) -> Option<&Digest> {
        self.replaced.as_ref()
    }
}

/// Publishes `plan`: nothing is written where the tag names it, or its equal, already. `None` where
/// what was published once stands, although the sources give something else now. `repeats`: they
/// give what was published.
pub async fn publish<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    plan: &Plan,
    current: &Current,
    repeats: bool,
    children: &Children,
    kept: &mut Kept,
) -> Result<Option<Published>, PublishError> {
    let Job { registry, sources, memory, stage, .. } = *job;
    let found = found(sources, plan, current);
    if found.is_none() && !repeats {
        children::keep(job, access, &children.staying, kept).await?;
    } else if !job.is_lag_to_be_expected() {
        let result = children::keep(job, access, &children.unseen, kept).await;
        kept.tell(&result);
        result?;
    }
    if let Some(found) = found {
        kept.referrers = follow(job, access, plan).await;
        let is_plan = found.digest == *plan.raw.digest();
        if !is_plan || !job.is_to_be_proved(sources.tag(), &found.digest) {
            return Ok(Some(found));
        }
        let access = access.target().map_err(|source| PublishError::Credential { source })?;
        begin(job, &sources.target).await?;
        let pushed = put(job, access, &sources.target, &plan.raw).await? == Put::Taken;
        return Ok(Some(Published { pushed, ..found }));
    }
    let target = sources.target.pinned_to(plan.raw.digest());
    if job.awaits(sources.tag(), plan.raw.digest()) {
        return Err(PublishError::Lagging { target, pushed: false });
    }
    let before = current.digest();
    if !may_write(job, before, repeats, plan.raw.digest())? {
        return Ok(None);
    }
    let copied = copy::copy(job, access, &plan.contents).await?;
    // Before the tag, so that whoever sees the tag and verifies a signature finds it.
    kept.referrers = follow(job, access, plan).await;
    // What was looked at before may be long ago.
    let is_long_ago = stage.lasts() >= SEEN;
    if is_long_ago {
        children::keep(job, access, &children.planned, kept).await?;
    }
    let access = access.target().map_err(|source| PublishError::Credential { source })?;
    begin(job, &sources.target).await?;
    if is_asked_again(job, copied) || kept.referrers.is_some() {
        let named = look::named(registry, access, &sources.target).await?;
        if named.as_ref() != before {
            return Err(PublishError::Moved { tag: sources.target.clone(), named });
        }
    }
    let pushed = put(job, access, &sources.target, &plan.raw).await? == Put::Taken;
    let lags = memory.awaited(sources.tag());
    read_back(registry, access, &target, Before::Named(before, lags.as_ref())).await?;
    let (digest, media_type) = (plan.raw.digest().clone(), plan.raw.media_type().to_owned());
    let replaced = before.cloned().filter(|_| pushed);
    Ok(Some(Published { reference: target, digest, media_type, pushed, replaced }))
}

/// Whether the tag is asked for once more before it is written, where that much was `copied` since it was
/// looked at: something else may have moved it meanwhile, and no registry compares for us. Mounts take
/// little longer than the look would, so that only where others write the tag, or it is written once,
/// they are not taken for nothing.
fn is_asked_again<R>(job: &Job<'_, R>, copied: Option<Copied>) -> bool {
    let Job { sources, stage, .. } = *job;
    let is_ours =
        sources.tag_policy == TagPolicy::Enforce && sources.removal_policy != RemovalPolicy::Retain;
    match copied {
        None => stage.lasts() >= SEEN,
        Some(Copied::Present | Copied::Mounted) => !is_ours || stage.lasts() >= SHORT,
        Some(Copied::Uploaded) => true,
    }
}

/// Whether `wanted` may be put under the target's tag, which names `named`. `false` where what was
/// published once stands; an error where the tag is left as something else has moved it.
pub fn may_write<R>(
    job: &Job<'_, R>,
    named: Option<&Digest>,
    repeats: bool,
    wanted: &Digest,
) -> Result<bool, PublishError> {
    let published = job.memory.published.as_ref().map(|published| &published.digest);
    // What was pushed later and lagged is ours, too.
    let awaited = job.memory.awaited(job.sources.tag());
    let left = named.filter(|named| awaited.as_ref() == Some(named)).or(published);
    let astray = Astray { named, left, repeats, exhausted: job.is_exhausted() };
    match astray.verdict(job.sources.tag_policy) {
        Verdict::Write => Ok(true),
        Verdict::Stands if job.memory.serves => Ok(false),
        verdict => Err(refused(verdict, &job.sources.target, wanted, named)),
    }
}

/// What the tag names, where that is the plan or its equal.
fn found(sources: &Sources, plan: &Plan, current: &Current) -> Option<Published> {
    let equal = |read: &Read| plan.index.as_ref().is_some_and(|plan| read.index.satisfies(plan));
    let (digest, media_type) = match current {
        Current::Known(digest) | Current::Read(Read { digest, .. })
            if digest == plan.raw.digest() =>
        {
            (digest, plan.raw.media_type())
        }
        Current::Read(read) if equal(read) => (&read.digest, read.index.media_type.as_str()),
        _ => return None,
    };
    Some(Published {
        reference: sources.target.pinned_to(digest),
        digest: digest.clone(),
        media_type: media_type.to_owned(),
        pushed: false,
        replaced: None,
    })
}

/// Copies what refers to the images of `plan`, and to the index where it is published as it is.
async fn follow<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    plan: &Plan,
) -> Option<Followed> {
    let listed =
        |image: &PublishedPlatform| Some((image.digest.parse().ok()?, image.source.clone()));
    let images: Vec<(Digest, String)> = plan.platforms.iter().filter_map(listed).collect();
    let images = images.iter().map(|(digest, source)| (digest, source.as_str()));
    let whole = plan.index.is_none().then_some(()).and(job.sources.sources.first());
    let whole = whole.map(|source| (plan.raw.digest(), source.name.as_str()));
    let subjects = referrers::subjects(job, images.chain(whole));
    referrers::follow(job, access, &subjects).await
}

/// Why `tag` is left as it is.
fn refused(
    verdict: Verdict,
    tag: &Reference,
    published: &Digest,
    named: Option<&Digest>,
) -> PublishError {
    let (tag, published, named) = (tag.clone(), published.clone(), named.cloned());
    match verdict {
        Verdict::Yielded => PublishError::Yielded { tag, published, named },
        Verdict::Loop => PublishError::DriftLoop { tag, published, named },
        Verdict::Immutable | Verdict::Stands | Verdict::Write => {
            PublishError::Immutable { tag, named }
        }
    }
}

/// Before `tag` is written: where it is not the object's own yet, it is to be nobody else's by now, and the status to
/// say that it is to be.
async fn begin<R>(job: &Job<'_, R>, tag: &Reference) -> Result<(), PublishError> {
    let name = tag.tag().unwrap_or_default();
    if job.memory.owns(name) {
        return Ok(());
    }
    job.stage.at("while waiting for other objects that write the same tags");
    let kept = job.writer.begin().await.owner(name).cloned();
    claimed(tag, kept.or_else(|| job.writer.other(tag)))
}

fn claimed(tag: &Reference, owner: Option<Owner>) -> Result<(), PublishError> {
    let claimed = |owner| Err(PublishError::Claimed { tag: tag.clone(), owner });
    owner.map_or(Ok(()), claimed)
}

/// Stores `raw` under `tag`, and says whether the registry took it. From now on the run is seen through.
async fn put<R: Registry>(
    job: &Job<'_, R>,
    access: &Access,
    tag: &Reference,
    raw: &RawManifest,
) -> Result<Put, PublishError> {
    let name = tag.tag().unwrap_or_default();
    job.stage.at(if name == job.sources.tag() {
        "while pushing the index and reading it back"
    } else {
        "while writing the other tags"
    });
    job.stage.publishes();
    let reference = tag.tag_or_digest();
    let put = job.registry.put_manifest(access, tag.repository(), &reference, raw).await;
    let put = put.map_err(|source| PublishError::Push { target: tag.clone(), source })?;
    if put == Put::Taken && !job.memory.owns(name) {
        claimed(tag, job.writer.wrote(tag))?;
    }
    Ok(put)
}

/// What a tag named before it was written.
#[derive(Clone, Copy, Debug)]
enum Before<'a> {
    /// This; and this was pushed before, and was not seen yet.
    Named(Option<&'a Digest>, Option<&'a Digest>),
    /// It was not asked.
    Unknown,
}

/// Waits until the tag of `pinned` names its digest, and no longer what it named before.
async fn read_back<R: Registry>(
    registry: &R,
    access: &Access,
    pinned: &Reference,
    before: Before<'_>,
) -> Result<(), PublishError> {
    let (target, tag) =
        (|| pinned.clone(), pinned.repository().tag(pinned.tag().unwrap_or_default()));
    for pause in READ_BACK {
        tokio::time::sleep(pause).await;
        let seen = registry.head_manifest(access, tag.repository(), &tag.tag_or_digest()).await;
        let seen = seen.map_err(|source| PublishError::ReadBack { target: target(), source })?;
        match (seen.map(|seen| seen.digest), before) {
            (Some(seen), _) if Some(&seen) == pinned.digest() => return Ok(()),
            (Some(seen), Before::Named(before, lags)) if ![before, lags].contains(&Some(&seen)) => {
                return Err(PublishError::Mismatch { target: target(), seen });
            }
            _ => {}
        }
    }
    Err(PublishError::Lagging { target: target(), pushed: true })
}

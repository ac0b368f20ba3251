//! reads: a source → the images that it names, each with its true platform.

mod budget;
mod config;
mod error;
pub mod inspect;
mod read;

use futures::{StreamExt, stream};

use multiarch_crds::v1alpha1::SourceState;
use tokio::time::Instant;

pub use self::error::ResolveError;
use self::{budget::Budget, read::Reader};
use super::{
    access::AccessMap,
    memory::{Memory, Remembered},
    sources::{Source, Sources},
};
use crate::{
    oci::{Descriptor, Digest, Label, Platform, RawManifest, Reference, Repository},
    registry::{Access, Registry},
};

/// How many sources are asked at once.
const AT_ONCE: usize = 8;

/// What one source gave.
#[derive(Debug)]
pub struct Resolution {
    /// Name of the source.
    pub name: String,
    /// What was asked for.
    pub reference: Reference,
    /// What that reference named when it last answered, as far as is known.
    pub known: Option<Digest>,
    /// The answer.
    pub answer: Answer,
}

impl Resolution {
    fn new(source: &Source, memory: &Memory, answer: Answer) -> Self {
        let known = memory.source(&source.name).and_then(|then| then.digest.clone());
        Self { name: source.name.clone(), reference: source.reference.clone(), known, answer }
    }

    /// Whether the reference answered before, so that "not there" means "gone", and "denied"
    /// cannot mean "not there yet".
    #[must_use]
    pub fn was_resolved(&self) -> bool {
        self.known.is_some()
    }
}

/// The answer of a source: it never stops the other sources.
#[derive(Debug)]
pub enum Answer {
    /// The images that it names.
    Found(Found),
    /// It names what it named at the last run, whose answer therefore stands.
    Unchanged,
    /// The registry answered 404.
    Missing,
    /// Anything else: unknown, or known to be unusable.
    Failed {
        /// What the reference names, where that much is known.
        named: Option<Digest>,
        /// Why.
        error: ResolveError,
    },
}

/// What a source names.
#[derive(Clone, Debug)]
pub struct Found {
    /// The digest that the reference names now.
    pub named: Digest,
    /// The images, each with its platform.
    pub children: Vec<Child>,
    /// Platforms that the source declares and its index does not have.
    pub lacking: Vec<String>,
    /// All of it, where it is mirrored.
    pub whole: Option<Whole>,
}

/// What a source names, as it is.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The index or image.
    pub raw: RawManifest,
    /// What has to be copied for it.
    pub contents: Vec<Content>,
}

/// One image for the index.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its descriptor as the index has it, platform included.
    pub descriptor: Descriptor,
    /// The same platform, normalised.
    pub platform: Platform,
    /// Digest of its config; `None` where the user's word was trusted and no config read.
    pub config: Option<Digest>,
    /// What its config says for each of `equalLabels`; `None` where it was not read.
    pub labels: Option<Vec<Label>>,
    /// Descriptors of the attestation manifests that follow it.
    pub attestations: Vec<Descriptor>,
    /// Name of the source; empty for a child that is retained from the published index.
    pub source: String,
    /// What has to be copied for it and its attestations; empty in the target's repository.
    pub contents: Vec<Content>,
}

/// A manifest in another repository than the target's, and the blobs that it names.
#[derive(Clone, Debug)]
pub struct Content {
    /// Name of the source that gave it, whose credential reads it.
    pub source: String,
    /// Where it is.
    pub repository: Repository,
    /// Its bytes.
    pub manifest: RawManifest,
    /// Its config and layers.
    pub blobs: Vec<Descriptor>,
}

/// Asks for what every source names, and reads the images that it finds. What was answered `since`
/// is as good as a new answer.
pub async fn resolve<R: Registry>(
    registry: &R,
    sources: &Sources,
    access: &AccessMap,
    memory: &Memory,
    since: Instant,
) -> Vec<Resolution> {
    let budget = &Budget::default();
    let reads = sources.sources.iter().map(|source| async move {
        let access = believing(access.source(source), memory.source(&source.name), since);
        Resolution::new(source, memory, answer(registry, source, sources, access, budget).await)
    });
    let reads: Vec<_> = reads.collect();
    stream::iter(reads).buffered(AT_ONCE).collect().await
}

/// Asks only what every source names, by HEAD: `Unchanged` where the answer is the remembered one.
/// A source that is pinned by digest names what it named, and is not asked again. What was answered `since` is as good as a new answer.
/// `None` where an answer means that the sources must be read.
pub async fn glance<R: Registry>(
    registry: &R,
    sources: &Sources,
    access: &AccessMap,
    memory: &Memory,
    since: Instant,
) -> Option<Vec<Resolution>> {
    let known = sources.sources.iter().map(|source| Some((source, memory.source(&source.name)?)));
    let known: Vec<(&Source, &Remembered)> = known.collect::<Option<_>>()?;
    let asks = known.into_iter().map(|(source, then)| async move {
        let access = believing(access.source(source), Some(then), since);
        let answer = ask(registry, source, then, access).await?;
        Some(Resolution::new(source, memory, answer))
    });
    let asks: Vec<_> = asks.collect();
    let answers: Vec<_> = stream::iter(asks).buffered(AT_ONCE).collect().await;
    answers.into_iter().collect()
}

/// The same who ask, and believe what was answered `since`. That there is nothing they believe where nothing else is known of the
/// source: what they would lose by it they want to see themselves.
fn believing(
    access: Result<&Access, ResolveError>,
    then: Option<&Remembered>,
    since: Instant,
) -> Result<Access, ResolveError> {
    let access = access?.since(since);
    let is_absent = then.is_none_or(|then| then.state == SourceState::Missing);
    Ok(if is_absent { access.absent_since(since) } else { access })
}

async fn ask<R: Registry>(
    registry: &R,
    source: &Source,
    then: &Remembered,
    access: Result<Access, ResolveError>,
) -> Option<Answer> {
    if then.is_settled()
        && then.digest.is_some()
        && then.digest.as_ref() == source.reference.digest()
    {
        return Some(Answer::Unchanged);
    }
    match head(registry, source, access).await {
        Ok(Some(now)) if then.is_settled() && then.digest.as_ref() == Some(&now.digest) => {
            Some(Answer::Unchanged)
        }
        Ok(None) if then.state == SourceState::Missing => Some(Answer::Unchanged),
        Ok(None) if then.state == SourceState::Resolved => Some(Answer::Missing),
        Ok(_) => None,
        Err(error) => Some(Answer::Failed { named: None, error }),
    }
}

async fn head<R: Registry>(
    registry: &R,
    source: &Source,
    access: Result<Access, ResolveError>,
) -> Result<Option<Descriptor>, ResolveError> {
    let repository = source.reference.repository();
    registry.head_manifest(&access?, repository, &source.reference.tag_or_digest()).await.map_err(
        |error| ResolveError::Registry { reference: source.reference.to_string(), source: error },
    )
}

async fn answer<R: Registry>(
    registry: &R,
    source: &Source,
    sources: &Sources,
    access: Result<Access, ResolveError>,
    budget: &Budget,
) -> Answer {
    let access = match access {
        Ok(access) => access,
        Err(error) => return Answer::Failed { named: None, error },
    };
    let repository = source.reference.repository();
    let elsewhere = repository != sources.target.repository();
    let share = budget.share();
    let access = &access;
    let reader = Reader { registry, access, repository, source, sources, elsewhere, share };
    match reader.manifest(&source.reference.tag_or_digest()).await {
        Err(error) => Answer::Failed { named: None, error },
        Ok(None) => Answer::Missing,
        Ok(Some(manifest)) => {
            let found = reader.found(&manifest).await;
            match (found, named(registry, source, access, manifest.digest()).await) {
                (Ok(found), Ok(Some(named))) => Answer::Found(Found { named, ..found }),
                (Ok(_), Ok(None)) => Answer::Missing,
                (Ok(_), Err(error)) => Answer::Failed { named: None, error },
                (Err(error), named) => Answer::Failed { named: named.ok().flatten(), error },
            }
        }
    }
}

/// By what `source` is known that names `manifest`: in an archive by what tells it from another image there, since a manifest may only
/// be made of it.
async fn named<R: Registry>(
    registry: &R,
    source: &Source,
    access: &Access,
    manifest: &Digest,
) -> Result<Option<Digest>, ResolveError> {
    if source.reference.repository().archive().is_none() {
        return Ok(Some(manifest.clone()));
    }
    let told = head(registry, source, Ok(access.clone())).await?;
    Ok(told.map(|told| told.digest))
}

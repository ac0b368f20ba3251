//! reads: a source → the images that it names, each with its true platform.

mod error;

use futures::{StreamExt, stream};

use multiarch_crds::v1alpha1::SourceState;

use super::{
    access::AccessMap,
    memory::{Memory, Remembered},
    sources::{Declared, Source, Sources},
};
use crate::{
    oci::{
        Descriptor, Digest, ImageConfig, ImageManifest, Index, Manifest, Platform, RawManifest,
        Reference, Repository, TagOrDigest, manifest::ManifestError, media_type,
    },
    registry::{Access, Registry, RegistryError},
};

pub use error::ResolveError;

/// How many sources are asked at once.
const AT_ONCE: usize = 8;

/// Most bytes of descriptors, annotations and all, that one source may bring: with 64 of them the
/// index stays within what registries take, and a hostile one cannot fill the memory.
const DESCRIPTORS: usize = 64 << 10;

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
    /// Descriptors of the attestation manifests that follow it.
    pub attestations: Vec<Descriptor>,
    /// Name of the source; empty for a child that is retained from the published index.
    pub source: String,
}

/// Asks for what every source names, and reads the images that it finds.
pub async fn resolve<R: Registry>(
    registry: &R,
    sources: &Sources,
    access: &AccessMap,
    memory: &Memory,
) -> Vec<Resolution> {
    let target = sources.target.repository();
    let reads = sources.sources.iter().map(|source| async move {
        Resolution::new(source, memory, answer(registry, source, target, access).await)
    });
    let reads: Vec<_> = reads.collect();
    stream::iter(reads).buffered(AT_ONCE).collect().await
}

/// Asks only what every source names, by HEAD: `Unchanged` where the answer is the remembered one.
/// `None` where an answer means that the sources must be read.
pub async fn glance<R: Registry>(
    registry: &R,
    sources: &Sources,
    access: &AccessMap,
    memory: &Memory,
) -> Option<Vec<Resolution>> {
    let known = sources.sources.iter().map(|source| Some((source, memory.source(&source.name)?)));
    let known: Vec<(&Source, &Remembered)> = known.collect::<Option<_>>()?;
    let asks = known.into_iter().map(|(source, then)| async move {
        let answer = ask(registry, source, then, access).await?;
        Some(Resolution::new(source, memory, answer))
    });
    let asks: Vec<_> = asks.collect();
    let answers: Vec<_> = stream::iter(asks).buffered(AT_ONCE).collect().await;
    answers.into_iter().collect()
}

async fn ask<R: Registry>(
    registry: &R,
    source: &Source,
    then: &Remembered,
    access: &AccessMap,
) -> Option<Answer> {
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
    access: &AccessMap,
) -> Result<Option<Descriptor>, ResolveError> {
    let repository = source.reference.repository();
    registry
        .head_manifest(access.source(source)?, repository, &source.reference.tag_or_digest())
        .await
        .map_err(|error| ResolveError::Registry {
            reference: source.reference.to_string(),
            source: error,
        })
}

async fn answer<R: Registry>(
    registry: &R,
    source: &Source,
    target: &Repository,
    access: &AccessMap,
) -> Answer {
    let reference = source.reference.to_string();
    if source.reference.repository() != target {
        let error = ResolveError::OtherRepository { reference, target: target.clone() };
        return Answer::Failed { named: None, error };
    }
    let access = match access.source(source) {
        Ok(access) => access,
        Err(error) => return Answer::Failed { named: None, error },
    };
    let reader = Reader { registry, access, repository: source.reference.repository(), source };
    match reader.manifest(&source.reference.tag_or_digest()).await {
        Err(error) => Answer::Failed { named: None, error },
        Ok(None) => Answer::Missing,
        Ok(Some(manifest)) => {
            let named = manifest.digest().clone();
            match reader.children(&manifest).await {
                Ok(children) => Answer::Found(Found { named, children }),
                Err(error) => Answer::Failed { named: Some(named), error },
            }
        }
    }
}

/// Reads for one source.
struct Reader<'a, R> {
    registry: &'a R,
    access: &'a Access,
    repository: &'a Repository,
    source: &'a Source,
}

impl<R: Registry> Reader<'_, R> {
    /// A failed read of the source's reference, or of what it names.
    fn failed(&self, source: RegistryError) -> ResolveError {
        ResolveError::Registry { reference: self.source.reference.to_string(), source }
    }

    fn reference(&self) -> String {
        self.source.reference.to_string()
    }

    async fn manifest(&self, of: &TagOrDigest) -> Result<Option<RawManifest>, ResolveError> {
        self.registry
            .get_manifest(self.access, self.repository, of)
            .await
            .map_err(|e| self.failed(e))
    }

    /// A child that is listed and not read, but published.
    async fn check_there(&self, child: &Digest) -> Result<(), ResolveError> {
        let of = TagOrDigest::Digest(child.clone());
        let head = self.registry.head_manifest(self.access, self.repository, &of);
        match head.await.map_err(|e| self.failed(e))? {
            Some(_) => Ok(()),
            None => {
                Err(ResolveError::Incomplete { reference: self.reference(), digest: child.clone() })
            }
        }
    }

    async fn children(&self, manifest: &RawManifest) -> Result<Vec<Child>, ResolveError> {
        match parse(&self.reference(), manifest)? {
            Manifest::Image(image) => {
                let declared = match self.source.declared.as_slice() {
                    [] => None,
                    [one] => Some(one),
                    many => {
                        return Err(ResolveError::SingleImage {
                            reference: self.reference(),
                            declared: many.len(),
                        });
                    }
                };
                let (platform, config) =
                    if let (true, Some(declared)) = (self.source.trust, declared) {
                        (declared.platform.clone(), None)
                    } else {
                        let actual = self.platform(&self.reference(), &image).await?;
                        if let Some(declared) = declared {
                            self.check(declared, &actual)?;
                        }
                        (actual, Some(image.config.digest))
                    };
                Ok(vec![self.child(manifest.descriptor(), platform, config, Vec::new())])
            }
            Manifest::Index(index) => self.only_image(&index).await.map(|child| vec![child]),
        }
    }

    /// The image of an index that has one, as `docker buildx` makes of every per-platform build,
    /// with the attestations that are about it.
    async fn only_image(&self, index: &Index) -> Result<Child, ResolveError> {
        let reference = self.reference();
        let (attestations, images): (Vec<_>, Vec<_>) =
            index.manifests.iter().cloned().partition(Descriptor::is_attestation);
        let [image] = images.as_slice() else {
            let listed: Vec<_> = images.iter().take(3).map(|image| image.digest.as_str()).collect();
            let more = if images.len() > listed.len() { ", …" } else { "" };
            return Err(ResolveError::ManyImages {
                reference,
                images: images.len(),
                digests: listed.join(", ") + more,
            });
        };
        let digest = image.digest.clone();
        if media_type::is_index(&image.media_type) {
            return Err(ResolveError::Nested { reference, digest });
        }
        let listed = match &image.platform {
            Some(platform) if !platform.is_unknown() => platform.clone(),
            _ => return Err(ResolveError::ChildWithoutPlatform { reference, digest }),
        };
        let raw = self.manifest(&TagOrDigest::Digest(digest.clone())).await?;
        let Some(raw) = raw else {
            return Err(ResolveError::Incomplete { reference, digest });
        };
        let Manifest::Image(manifest) = parse(&reference, &raw)? else {
            return Err(ResolveError::Nested { reference, digest });
        };
        // The listed descriptor is kept for its words and annotations; what the bytes say of
        // themselves is not taken from it.
        let own = raw.descriptor();
        let mut descriptor =
            Descriptor { media_type: own.media_type, size: own.size, ..image.clone() };
        let (platform, config) = if self.source.trust {
            let declared = self.source.declared.first().map_or(listed, |d| d.platform.clone());
            (declared, None)
        } else {
            let actual = self.platform(&reference, &manifest).await?;
            if !agrees(&listed, &actual) {
                return Err(ResolveError::IndexMismatch { reference, digest, listed, actual });
            }
            if let Some(declared) = self.source.declared.iter().find(|d| !says(d, &listed)) {
                let declared = declared.text.clone();
                return Err(ResolveError::NotInIndex { reference, declared, listed });
            }
            (listed, Some(manifest.config.digest))
        };
        descriptor.platform = None;
        let attestations: Vec<_> =
            attestations.into_iter().filter(|a| a.attests().as_ref() == Some(&digest)).collect();
        let weight =
            attestations.iter().chain([&descriptor]).map(Descriptor::weight).sum::<usize>();
        if weight > DESCRIPTORS {
            let why = format!("what it says of its image has more than {DESCRIPTORS} bytes");
            let source = ManifestError::Malformed { media_type: index.media_type.clone(), why };
            return Err(ResolveError::Content { reference, source });
        }
        for attestation in &attestations {
            self.check_there(&attestation.digest).await?;
        }
        Ok(self.child(descriptor, platform, config, attestations))
    }

    /// The platform that the config says: the truth.
    async fn platform(
        &self,
        reference: &str,
        image: &ImageManifest,
    ) -> Result<Platform, ResolveError> {
        let reference = reference.to_owned();
        if !image.has_platform() {
            let config =
                image.artifact_type.clone().unwrap_or_else(|| image.config.media_type.clone());
            return Err(ResolveError::NoPlatform { reference, config });
        }
        let blob = self.registry.get_blob(self.access, self.repository, &image.config).await;
        let Some(bytes) = blob.map_err(|e| self.failed(e))? else {
            return Err(ResolveError::ConfigGone {
                reference,
                digest: image.config.digest.clone(),
            });
        };
        let config = ImageConfig::parse(&bytes)
            .map_err(|source| ResolveError::Content { reference, source })?;
        Ok(config.platform)
    }

    fn check(&self, declared: &Declared, actual: &Platform) -> Result<(), ResolveError> {
        if says(declared, actual) {
            return Ok(());
        }
        Err(ResolveError::Mismatch {
            reference: self.reference(),
            declared: declared.text.clone(),
            actual: actual.clone(),
        })
    }

    fn child(
        &self,
        descriptor: Descriptor,
        platform: Platform,
        config: Option<Digest>,
        attestations: Vec<Descriptor>,
    ) -> Child {
        Child {
            platform: platform.normalized(),
            descriptor: Descriptor { platform: Some(platform), ..descriptor },
            config,
            attestations,
            source: self.source.name.clone(),
        }
    }
}

/// Whether `declared` says nothing against `actual`. Its text was parsed before.
fn says(declared: &Declared, actual: &Platform) -> bool {
    actual.agrees_with(&declared.text).unwrap_or(false)
}

/// Whether an index's words for a child say nothing against its config: a variant or `os.version`
/// that the config leaves out is not compared (builders write them in the index only).
fn agrees(listed: &Platform, actual: &Platform) -> bool {
    let (list, config) = (listed.normalized(), actual.normalized());
    list.os == config.os
        && list.architecture == config.architecture
        && (actual.variant.is_none() || list.variant == config.variant)
        && (list.os_version.is_none()
            || config.os_version.is_none()
            || list.os_version == config.os_version)
}

fn parse(reference: &str, manifest: &RawManifest) -> Result<Manifest, ResolveError> {
    manifest
        .parse()
        .map_err(|source| ResolveError::Content { reference: reference.to_owned(), source })
}

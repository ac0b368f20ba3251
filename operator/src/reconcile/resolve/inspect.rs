//! reads: all that a reference names, held to the rules by which sources are read, and whatever is wrong with it.

mod found;
mod judge;

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::{MultiArchImageSpec, Source as SourceSpec, Target};

pub use self::found::{About, Attestation, Image, Inspection, Kind, Layer, Nested, Problem};
use super::{
    AT_ONCE, ResolveError,
    budget::Budget,
    read::{Reader, agrees},
};
use crate::{
    oci::{
        Descriptor, Digest, ImageManifest, Manifest, Platform, RawManifest, Reference, TagOrDigest,
        media_type,
    },
    reconcile::{referrers::cosign_tags, sources::Sources},
    registry::{Access, Registry, RegistryError},
};

/// What is to be found out beside the manifests and configs.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The platforms that it must have.
    pub platforms: Vec<Platform>,
    /// What refers to it and to its images: some requests for each.
    pub referrers: bool,
    /// Whether the blobs are there: a request for each.
    pub blobs: bool,
}

/// What is about an index or an image, and its manifest where it could be read.
struct Read<T> {
    it: T,
    raw: Option<(RawManifest, ImageManifest)>,
    errors: Vec<ResolveError>,
}

/// Reads what `reference` names. `None` where the registry answers 404.
pub async fn inspect<R: Registry>(
    registry: &R,
    access: &Access,
    reference: &Reference,
    asked: &Asked,
) -> Result<Option<Inspection>, ResolveError> {
    let repository = reference.repository();
    let sources = alone(reference);
    let budget = Budget::default();
    let (source, share) = (&sources.sources[0], budget.share());
    let elsewhere = false;
    let sources = &sources;
    let reader = &Reader { registry, access, repository, source, sources, elsewhere, share };
    let raw = match reader.manifest(&reference.tag_or_digest()).await {
        Ok(Some(raw)) => raw,
        Ok(None) => return Ok(None),
        Err(error) => return unusable(reader, error).await,
    };
    let mut found = Inspection::new(reference, &raw.descriptor());
    match reader.parse(&raw)? {
        Manifest::Image(manifest) => {
            found.artifact_type.clone_from(&manifest.artifact_type);
            found.subject = manifest.subject.as_ref().map(|subject| subject.digest.clone());
            found.annotations.clone_from(&manifest.annotations);
            let listed = raw.descriptor();
            let it = Image::of(&listed);
            let read = Read { it, raw: None, errors: Vec::new() };
            let read = config(reader, read, raw, manifest).await;
            add(&mut found, &listed, read, |found, image| found.images.push(image));
        }
        Manifest::Index(index) => {
            found.artifact_type = index.artifact_type;
            found.subject = index.subject.map(|subject| subject.digest);
            found.annotations = index.annotations;
            children(reader, &mut found, index.manifests).await;
            if found.images.is_empty() {
                found.add(None, &ResolveError::NoImages { reference: reader.reference() });
            }
        }
    }
    if asked.blobs {
        blobs(reader, &mut found).await;
    }
    if asked.referrers {
        referrers(reader, &mut found).await;
    }
    found.judge(&asked.platforms);
    Ok(Some(found))
}

/// A spec of `reference` alone: sources are read for one.
fn alone(reference: &Reference) -> Sources {
    let source = SourceSpec { image: reference.to_string(), ..SourceSpec::default() };
    let spec = MultiArchImageSpec {
        target: Target { image: "host.invalid/target:tag".into(), ..Target::default() },
        sources: vec![source],
        ..MultiArchImageSpec::default()
    };
    let Ok(sources) = Sources::parse(&spec) else {
        unreachable!("a reference is a source, and no host.invalid is one")
    };
    sources
}

/// What a registry has under the reference, and no one can use.
async fn unusable<R: Registry>(
    reader: &Reader<'_, R>,
    error: ResolveError,
) -> Result<Option<Inspection>, ResolveError> {
    let reference = &reader.source.reference;
    if Problem::of(None, &error).is_none() {
        return Err(error);
    }
    let (access, of) = (reader.access, reference.tag_or_digest());
    let head = reader.registry.head_manifest(access, reader.repository, &of).await;
    let Some(head) = head.map_err(|source| reader.failed(source))? else { return Ok(None) };
    let mut found = Inspection::new(reference, &head);
    found.add(None, &error);
    Ok(Some(found))
}

/// Reads what an index lists.
async fn children<R: Registry>(
    reader: &Reader<'_, R>,
    found: &mut Inspection,
    listed: Vec<Descriptor>,
) {
    let (indexes, images): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|child| media_type::is_index(&child.media_type));
    // One that is listed twice in the same words is one.
    let mut children: Vec<(Descriptor, Option<Digest>)> = Vec::new();
    for image in images {
        if children.iter().any(|(known, _)| *known == image) {
            found.listed_again(&image.digest);
        } else {
            children.push((image, None));
        }
    }
    for child in indexes {
        let Descriptor { digest, media_type, size, .. } = child.clone();
        found.indexes.push(Nested { digest: digest.clone(), media_type, size });
        let inner = match nested(reader, found, &child).await {
            Ok(inner) => inner,
            Err(error) => {
                found.add(Some(&digest), &error);
                continue;
            }
        };
        for inner in inner {
            if media_type::is_index(&inner.media_type) {
                let (reference, digest) = (reader.reference(), inner.digest);
                found.add(Some(&digest.clone()), &ResolveError::Nested { reference, digest });
            } else if children.iter().any(|(known, _)| *known == inner) {
                found.listed_again(&inner.digest);
            } else {
                children.push((inner, Some(digest.clone())));
            }
        }
    }
    let (attestations, images): (Vec<_>, Vec<_>) =
        children.into_iter().partition(|(child, _)| child.is_attestation());
    let reads: Vec<_> =
        images.iter().map(|(child, within)| image(reader, child, within.as_ref())).collect();
    let reads: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
    for ((child, _), read) in images.iter().zip(reads) {
        add(found, child, read, |found, image| found.images.push(image));
    }
    let reads: Vec<_> = attestations
        .iter()
        .map(|(child, within)| attestation(reader, child, within.as_ref()))
        .collect();
    let reads: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
    for ((child, _), read) in attestations.iter().zip(reads) {
        add(found, child, read, |found, attestation| found.attestations.push(attestation));
    }
}

/// Adds what was read of a child.
fn add<T>(
    found: &mut Inspection,
    listed: &Descriptor,
    read: Read<T>,
    push: impl FnOnce(&mut Inspection, T),
) {
    push(found, read.it);
    if let Some((raw, manifest)) = read.raw {
        found.hold(listed, &raw);
        let blobs = manifest.blobs().filter(|blob| blob.urls.is_empty());
        found.blobs.extend(blobs.map(|blob| (listed.digest.clone(), blob.clone())));
        for layer in manifest.layers.iter().filter(|layer| !layer.urls.is_empty()) {
            found.foreign(&listed.digest, layer);
        }
    }
    for error in read.errors {
        found.add(Some(&listed.digest), &error);
    }
}

/// What an index in the index lists.
async fn nested<R: Registry>(
    reader: &Reader<'_, R>,
    found: &mut Inspection,
    listed: &Descriptor,
) -> Result<Vec<Descriptor>, ResolveError> {
    let raw = reader.listed_manifest(&listed.digest).await?;
    found.hold(listed, &raw);
    match reader.parse(&raw)? {
        Manifest::Index(inner) => Ok(inner.manifests),
        Manifest::Image(_) => {
            let (reference, digest) = (reader.reference(), listed.digest.clone());
            Err(ResolveError::NotAnIndex { reference, digest })
        }
    }
}

/// An image as an index lists it.
async fn image<R: Registry>(
    reader: &Reader<'_, R>,
    listed: &Descriptor,
    within: Option<&Digest>,
) -> Read<Image> {
    let mut image = Image { within: within.cloned(), ..Image::of(listed) };
    let mut errors = Vec::new();
    match reader.listed(listed) {
        Ok(platform) => image.listed = Some(platform),
        Err(error) => errors.push(error),
    }
    match child(reader, &listed.digest).await {
        Ok((raw, manifest)) => {
            let it = image;
            config(reader, Read { it, raw: None, errors }, raw, manifest).await
        }
        Err(error) => {
            errors.push(error);
            Read { it: image, raw: None, errors }
        }
    }
}

/// Holds an image to its config.
async fn config<R: Registry>(
    reader: &Reader<'_, R>,
    read: Read<Image>,
    raw: RawManifest,
    manifest: ImageManifest,
) -> Read<Image> {
    let Read { it: mut image, mut errors, .. } = read;
    image.config = Some(manifest.config.digest.clone());
    image.artifact_type = manifest.artifact_type.clone().or(image.artifact_type);
    image.layers = manifest.layers.iter().map(Layer::of).collect();
    match reader.config(&manifest).await {
        Ok((actual, _)) => {
            image.platform = Some(actual.clone());
            if let Some(listed) = image.listed.clone().filter(|listed| !agrees(listed, &actual)) {
                let (reference, digest) = (reader.reference(), image.digest.clone());
                errors.push(ResolveError::IndexMismatch { reference, digest, listed, actual });
            }
        }
        Err(error) => errors.push(error),
    }
    // What says no platform is what the index says that it is, as far as anybody knows.
    let unchecked = |error: &ResolveError| matches!(error, ResolveError::NoPlatform { .. });
    image.right = errors.iter().all(unchecked) && image.said().is_some();
    Read { it: image, raw: Some((raw, manifest)), errors }
}

/// The image manifest of `digest`, which an index lists.
async fn child<R: Registry>(
    reader: &Reader<'_, R>,
    digest: &Digest,
) -> Result<(RawManifest, ImageManifest), ResolveError> {
    let raw = reader.listed_manifest(digest).await?;
    match reader.parse(&raw)? {
        Manifest::Image(manifest) => Ok((raw, manifest)),
        Manifest::Index(_) => {
            Err(ResolveError::Nested { reference: reader.reference(), digest: digest.clone() })
        }
    }
}

async fn attestation<R: Registry>(
    reader: &Reader<'_, R>,
    listed: &Descriptor,
    within: Option<&Digest>,
) -> Read<Attestation> {
    let mut it = Attestation {
        digest: listed.digest.clone(),
        size: listed.size,
        about: listed.attests(),
        predicates: Vec::new(),
        within: within.cloned(),
    };
    match child(reader, &listed.digest).await {
        Ok((raw, manifest)) => {
            let says = |layer: &Descriptor| layer.annotations.get(PREDICATE).cloned();
            it.predicates = manifest.layers.iter().filter_map(says).collect();
            Read { it, raw: Some((raw, manifest)), errors: Vec::new() }
        }
        Err(error) => Read { it, raw: None, errors: vec![error] },
    }
}

/// The annotation by which BuildKit says what a statement is.
const PREDICATE: &str = "in-toto.io/predicate-type";

/// Looks for the blobs of all that was read, each once.
async fn blobs<R: Registry>(reader: &Reader<'_, R>, found: &mut Inspection) {
    let mut all = std::mem::take(&mut found.blobs);
    all.sort_by(|(_, a), (_, b)| a.digest.cmp(&b.digest));
    all.dedup_by(|(_, a), (_, b)| a.digest == b.digest);
    let looks = all
        .iter()
        .map(|(_, blob)| reader.registry.blob_exists(reader.access, reader.repository, blob));
    let looks: Vec<_> = looks.collect();
    let looks: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    for ((of, blob), there) in all.iter().zip(looks) {
        match there {
            Ok(true) => {}
            Ok(false) => found.lacks(of, blob),
            Err(source) => found.failures.push(reader.failed(source).to_string()),
        }
    }
}

/// Looks for what refers to the thing and to its images.
async fn referrers<R: Registry>(reader: &Reader<'_, R>, found: &mut Inspection) {
    let mut subjects = vec![found.digest.clone()];
    for image in &found.images {
        if !subjects.contains(&image.digest) {
            subjects.push(image.digest.clone());
        }
    }
    let looks: Vec<_> = subjects.iter().map(|subject| about(reader, subject)).collect();
    let looks: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    for look in looks {
        match look {
            Ok(mut about) => found.referrers.append(&mut about),
            Err(error) => found.failures.push(error.to_string()),
        }
    }
}

/// What refers to `subject`: OCI referrers, then what cosign has under its tags.
async fn about<R: Registry>(
    reader: &Reader<'_, R>,
    subject: &Digest,
) -> Result<Vec<About>, ResolveError> {
    let Reader { registry, access, repository, .. } = reader;
    let failed = |source: RegistryError| reader.failed(source);
    let listed = registry.list_referrers(access, repository, subject).await.map_err(failed)?;
    let mut found: Vec<About> = listed
        .into_iter()
        .map(|listed| {
            let Descriptor { digest, artifact_type, .. } = listed;
            About { subject: subject.clone(), digest, artifact_type, tag: None }
        })
        .collect();
    for tag in cosign_tags(subject) {
        let of = TagOrDigest::Tag(tag.clone());
        if let Some(head) = registry.head_manifest(access, repository, &of).await.map_err(failed)? {
            let (subject, tag) = (subject.clone(), Some(tag));
            found.push(About { subject, digest: head.digest, artifact_type: None, tag });
        }
    }
    Ok(found)
}

impl Layer {
    fn of(layer: &Descriptor) -> Self {
        let Descriptor { digest, media_type, size, urls, .. } = layer.clone();
        Self { digest, media_type, size, urls }
    }
}

#[cfg(test)]
mod tests;

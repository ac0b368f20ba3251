//! Reads what one source names: an image, or the chosen images of an index, each held to its config.

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    AT_ONCE, Child, Content, Found, ResolveError, Whole,
    budget::{Share, Spent},
};
use crate::{
    oci::{
        Descriptor, Digest, ImageManifest, Index, Label, Manifest, Platform, RawManifest,
        Repository, TagOrDigest,
        manifest::{MAX_BYTES, MAX_CHILDREN, ManifestError},
        media_type,
    },
    reconcile::sources::{Declared, Source, Sources},
    registry::{Access, Registry, RegistryError},
};

/// Most bytes of descriptors, annotations and all, that one source may bring: 64 of them stay within
/// the memory that a run may take.
const DESCRIPTORS: usize = 256 << 10;

/// Reads for one source.
pub(super) struct Reader<'a, R> {
    pub(super) registry: &'a R,
    pub(super) access: &'a Access,
    pub(super) repository: &'a Repository,
    pub(super) source: &'a Source,
    pub(super) sources: &'a Sources,
    /// The content has to be copied, so it is remembered where it is.
    pub(super) elsewhere: bool,
    /// How much of it may be.
    pub(super) share: Share<'a>,
}

/// An index with what is in the indexes that it lists.
struct Flat {
    images: Vec<Descriptor>,
    attestations: Vec<Descriptor>,
    nested: Vec<RawManifest>,
}

impl<R: Registry> Reader<'_, R> {
    pub(super) async fn manifest(
        &self,
        of: &TagOrDigest,
    ) -> Result<Option<RawManifest>, ResolveError> {
        self.keep(0)?;
        let manifest = self.registry.get_manifest(self.access, self.repository, of).await;
        let manifest = manifest.map_err(|source| self.failed(source))?;
        self.keep(manifest.as_ref().map_or(0, |raw| raw.bytes().len() as u64))?;
        Ok(manifest)
    }

    /// Counts `bytes` of a manifest that is kept until it is copied.
    fn keep(&self, bytes: u64) -> Result<(), ResolveError> {
        let taken = if self.elsewhere { self.share.take(bytes) } else { Ok(()) };
        taken.map_err(|Spent { by, limit }| ResolveError::TooMuch {
            reference: self.reference(),
            by,
            limit,
        })
    }

    /// What `manifest`, which the source names, gives.
    pub(super) async fn found(&self, manifest: &RawManifest) -> Result<Found, ResolveError> {
        let named = manifest.digest().clone();
        // What is not of the target's format becomes an index that is.
        let stays = !self.sources.wraps || media_type::is_index(manifest.media_type());
        let as_it_is =
            stays && self.sources.mirrors() && self.sources.may_publish(manifest.media_type());
        let mirrored = Some(manifest).filter(|_| as_it_is);
        match self.parse(manifest)? {
            Manifest::Image(image) => {
                let child = self.single(manifest, &image).await?;
                let contents = child.contents.clone();
                let whole = mirrored.map(|raw| Whole { raw: raw.clone(), contents });
                Ok(Found { named, children: vec![child], lacking: Vec::new(), whole })
            }
            Manifest::Index(index) => self.index(named, mirrored, index).await,
        }
    }

    async fn single(
        &self,
        raw: &RawManifest,
        image: &ImageManifest,
    ) -> Result<Child, ResolveError> {
        let reference = self.reference();
        let declared = match self.source.declared.as_slice() {
            [] => None,
            [one] => Some(one),
            many => return Err(ResolveError::SingleImage { reference, declared: many.len() }),
        };
        self.check_format(raw)?;
        let (platform, config, labels) = match declared {
            Some(declared) if self.source.trust => {
                (declared.platform.clone(), None, self.labels(image).await?)
            }
            _ => {
                let (actual, labels) = self.config(image).await?;
                if let Some(declared) = declared.filter(|declared| !says(declared, &actual)) {
                    let declared = declared.text.clone();
                    return Err(ResolveError::Mismatch { reference, declared, actual });
                }
                (actual, Some(image.config.digest.clone()), labels)
            }
        };
        let contents = self.content(raw.clone(), image).into_iter().collect();
        let descriptor = Descriptor { platform: Some(platform), ..raw.descriptor() };
        Ok(self.child(descriptor, config, labels, Vec::new(), contents))
    }

    async fn index(
        &self,
        named: Digest,
        mirrored: Option<&RawManifest>,
        index: Index,
    ) -> Result<Found, ResolveError> {
        let mut flat = self.flatten(index).await?;
        let dropped = self.sources.drops_attestations() && !flat.attestations.is_empty();
        if dropped {
            flat.attestations.clear();
        }
        // Its bytes list what is dropped, or an index that is not of the format.
        let whole =
            !dropped && flat.nested.iter().all(|raw| self.sources.may_list(raw.media_type()));
        let mirrored = mirrored.filter(|_| whole);
        let reference = self.reference();
        let (chosen, lacking) = match flat.images.as_slice() {
            [] => return Err(ResolveError::NoImages { reference }),
            // What `docker buildx` makes of every build for one platform: an image in a wrapper.
            [only] if self.source.declared.len() <= 1 => {
                let listed = self.listed(only)?;
                let declared = self.source.declared.iter().find(|d| !says(d, &listed));
                if let Some(declared) = declared.filter(|_| !self.source.trust) {
                    let declared = declared.text.clone();
                    return Err(ResolveError::NotInIndex { reference, declared, listed });
                }
                (vec![only.clone()], Vec::new())
            }
            many => self.choose(many)?,
        };
        let reads: Vec<_> =
            chosen.iter().map(|image| self.flattened(image, &flat.attestations)).collect();
        let children: Vec<Child> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let whole = match mirrored {
            Some(raw) => Some(self.whole(raw, &flat, &children).await?),
            None => None,
        };
        Ok(Found { named, children, lacking, whole })
    }

    /// The images and attestations of `index`, and of the indexes in it.
    async fn flatten(&self, index: Index) -> Result<Flat, ResolveError> {
        // What else it says may be large, and is let go before anything is waited for.
        let Index { manifests, media_type, .. } = index;
        self.bound(&media_type, &manifests, 0)?;
        let (indexes, images): (Vec<_>, Vec<_>) =
            manifests.into_iter().partition(|child| media_type::is_index(&child.media_type));
        let (mut children, mut nested) = (images, Vec::new());
        for child in indexes {
            let raw = self.listed_manifest(&child.digest).await?;
            let Manifest::Index(inner) = self.parse(&raw)? else {
                let (reference, digest) = (self.reference(), child.digest);
                return Err(ResolveError::NotAnIndex { reference, digest });
            };
            if let Some(deep) = inner.manifests.iter().find(|c| media_type::is_index(&c.media_type))
            {
                let (reference, digest) = (self.reference(), deep.digest.clone());
                return Err(ResolveError::Nested { reference, digest });
            }
            children.extend(inner.manifests);
            nested.push(raw);
            let bytes = nested.iter().map(|raw| raw.bytes().len() as u64).sum();
            self.bound(&media_type, &children, bytes)?;
        }
        let (mut images, mut attestations) = (Vec::new(), Vec::new());
        for child in children {
            let list = if child.is_attestation() { &mut attestations } else { &mut images };
            // An index in the index may list it too.
            if !list.contains(&child) {
                list.push(child);
            }
        }
        Ok(Flat { images, attestations, nested })
    }

    /// Holds what an index brings to what one index may have: with `nested` bytes of indexes in it,
    /// or with long annotations, it could bring a hundred times as much.
    fn bound(
        &self,
        media_type: &str,
        children: &[Descriptor],
        nested: u64,
    ) -> Result<(), ResolveError> {
        let source = if children.len() > MAX_CHILDREN {
            ManifestError::TooManyChildren { children: children.len(), limit: MAX_CHILDREN }
        } else if nested > MAX_BYTES
            || children.iter().map(Descriptor::weight).sum::<usize>() > DESCRIPTORS
        {
            let why = format!("what it says of its images has more than {DESCRIPTORS} bytes");
            ManifestError::Malformed { media_type: media_type.to_owned(), why }
        } else {
            return Ok(());
        };
        Err(ResolveError::Content { reference: self.reference(), source })
    }

    /// The images that the source's platforms choose, as containerd's OnlyStrict does, and the
    /// platforms that choose none. Without platforms, all of them.
    fn choose(
        &self,
        images: &[Descriptor],
    ) -> Result<(Vec<Descriptor>, Vec<String>), ResolveError> {
        let listed: Vec<Platform> =
            images.iter().map(|image| self.listed(image)).collect::<Result<_, _>>()?;
        if self.source.declared.is_empty() {
            return Ok((images.to_vec(), Vec::new()));
        }
        let covers = |declared: &&Declared| !listed.iter().any(|p| p.covers(&declared.platform));
        let lacking = self.source.declared.iter().filter(covers).map(|d| d.text.clone()).collect();
        let chosen = images.iter().zip(&listed).filter(|(_, listed)| {
            self.source.declared.iter().any(|declared| listed.covers(&declared.platform))
        });
        Ok((chosen.map(|(image, _)| image.clone()).collect(), lacking))
    }

    /// An image that an index lists, with the attestations that are about it.
    async fn flattened(
        &self,
        image: &Descriptor,
        attestations: &[Descriptor],
    ) -> Result<Child, ResolveError> {
        let reference = self.reference();
        let digest = image.digest.clone();
        let listed = self.listed(image)?;
        let raw = self.listed_manifest(&digest).await?;
        let Manifest::Image(manifest) = self.parse(&raw)? else {
            return Err(ResolveError::Nested { reference, digest });
        };
        self.check_format(&raw)?;
        let (platform, config, labels) = if self.source.trust {
            let declared = self.source.declared.first().map(|declared| declared.platform.clone());
            (declared.unwrap_or(listed), None, self.labels(&manifest).await?)
        } else {
            let (actual, labels) = self.config(&manifest).await?;
            if !agrees(&listed, &actual) {
                return Err(ResolveError::IndexMismatch { reference, digest, listed, actual });
            }
            (listed, Some(manifest.config.digest.clone()), labels)
        };
        let mut contents: Vec<Content> = self.content(raw.clone(), &manifest).into_iter().collect();
        let about = |a: &&Descriptor| a.attests().as_ref() == Some(&digest);
        let attestations: Vec<Descriptor> = attestations.iter().filter(about).cloned().collect();
        for attestation in &attestations {
            contents.extend(self.attestation(attestation).await?);
        }
        // The listed descriptor is kept for its words and annotations; what the bytes say of
        // themselves is not taken from it.
        let own = raw.descriptor();
        let (media_type, size, platform) = (own.media_type, own.size, Some(platform));
        let listed = Descriptor { media_type, size, platform, ..image.clone() };
        Ok(self.child(listed, config, labels, attestations, contents))
    }

    /// The content of an attestation manifest; only looked for where it need not be copied.
    async fn attestation(&self, listed: &Descriptor) -> Result<Option<Content>, ResolveError> {
        let (reference, digest) = (self.reference(), listed.digest.clone());
        if !self.elsewhere {
            let of = TagOrDigest::Digest(digest.clone());
            let head = self.registry.head_manifest(self.access, self.repository, &of).await;
            return match head.map_err(|source| self.failed(source))? {
                Some(_) => Ok(None),
                None => Err(ResolveError::Incomplete { reference, digest }),
            };
        }
        let raw = self.listed_manifest(&digest).await?;
        match self.parse(&raw)? {
            Manifest::Image(manifest) => Ok(self.content(raw, &manifest)),
            Manifest::Index(_) => Err(ResolveError::Nested { reference, digest }),
        }
    }

    /// All that the index `raw` lists, to be published as it is.
    async fn whole(
        &self,
        raw: &RawManifest,
        flat: &Flat,
        children: &[Child],
    ) -> Result<Whole, ResolveError> {
        let mut contents: Vec<Content> =
            children.iter().flat_map(|child| child.contents.clone()).collect();
        let follows = |a: &Descriptor| children.iter().any(|child| child.attestations.contains(a));
        for orphan in flat.attestations.iter().filter(|a| !follows(a)) {
            contents.extend(self.attestation(orphan).await?);
        }
        if self.elsewhere {
            contents.extend(flat.nested.iter().map(|nested| Content {
                source: self.source.name.clone(),
                repository: self.repository.clone(),
                manifest: nested.clone(),
                blobs: Vec::new(),
            }));
        }
        Ok(Whole { raw: raw.clone(), contents })
    }

    /// Refuses an image that an index of the target's format cannot list.
    fn check_format(&self, image: &RawManifest) -> Result<(), ResolveError> {
        if self.sources.may_list(image.media_type()) {
            return Ok(());
        }
        let (reference, digest) = (self.reference(), image.digest().clone());
        Err(ResolveError::Format { reference, digest })
    }

    /// The platform that an index lists for `image`.
    pub(super) fn listed(&self, image: &Descriptor) -> Result<Platform, ResolveError> {
        let (reference, digest) = (self.reference(), image.digest.clone());
        let listed = image.platform.clone().filter(|platform| !platform.is_unknown());
        listed.ok_or(ResolveError::ChildWithoutPlatform { reference, digest })
    }

    /// A manifest that an index lists.
    pub(super) async fn listed_manifest(
        &self,
        digest: &Digest,
    ) -> Result<RawManifest, ResolveError> {
        let raw = self.manifest(&TagOrDigest::Digest(digest.clone())).await?;
        raw.ok_or_else(|| ResolveError::Incomplete {
            reference: self.reference(),
            digest: digest.clone(),
        })
    }

    fn content(&self, manifest: RawManifest, image: &ImageManifest) -> Option<Content> {
        let blobs = || image.blobs().cloned().collect();
        let (source, repository) = (self.source.name.clone(), self.repository.clone());
        self.elsewhere.then(|| Content { source, repository, manifest, blobs: blobs() })
    }

    /// An image as the index lists it, with what the spec says of it.
    fn child(
        &self,
        mut descriptor: Descriptor,
        config: Option<Digest>,
        labels: Vec<Label>,
        attestations: Vec<Descriptor>,
        contents: Vec<Content>,
    ) -> Child {
        descriptor.annotations.extend(self.source.annotations.clone());
        let platform = descriptor.platform.clone().unwrap_or_default().normalized();
        Child {
            platform,
            descriptor: self.sources.listed(descriptor),
            config,
            labels: Some(labels),
            attestations,
            source: self.source.name.clone(),
            contents,
        }
    }

    pub(super) fn parse(&self, manifest: &RawManifest) -> Result<Manifest, ResolveError> {
        let reference = self.reference();
        manifest.parse().map_err(|source| ResolveError::Content { reference, source })
    }

    /// A failed read of the source's reference, or of what it names.
    pub(super) fn failed(&self, source: RegistryError) -> ResolveError {
        ResolveError::Registry { reference: self.reference(), source }
    }

    pub(super) fn reference(&self) -> String {
        self.source.reference.to_string()
    }
}

/// Whether `declared` says nothing against `actual`. Its text was parsed before.
fn says(declared: &Declared, actual: &Platform) -> bool {
    actual.agrees_with(&declared.text).unwrap_or(false)
}

/// Whether an index's words for a child say nothing against its config: a variant or `os.version`
/// that the config leaves out is not compared (builders write them in the index only).
pub(super) fn agrees(listed: &Platform, actual: &Platform) -> bool {
    let (list, config) = (listed.normalized(), actual.normalized());
    list.os == config.os
        && list.architecture == config.architecture
        && (actual.variant.is_none() || list.variant == config.variant)
        && (config.os_version.is_none()
            || config.is_version(list.os_version.as_deref())
            || list.is_version(config.os_version.as_deref()))
}

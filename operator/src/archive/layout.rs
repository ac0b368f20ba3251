//! The images of an OCI layout: what index.json lists, what they are called, and what of them is not there.

use std::collections::{BTreeMap, BTreeSet};

use super::{ArchiveError, Image, Kind, files::Place, saved::MAX_CONFIG, store::Store};
use crate::oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, Manifest, RawManifest, Reference,
    manifest::{MAX_BYTES, ManifestError},
    media_type, referrer,
};

/// How many images an archive may have.
pub(super) const MAX_IMAGES: usize = 4096;
/// How many bytes of descriptors their indexes may have, all together.
const MAX_CHILDREN: usize = 8 << 20;
/// Where containerd and docker write an image's whole name.
const NAME: &str = "io.containerd.image.name";
/// Where the OCI image spec has a name that may be a tag alone.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Where a layout has what has this digest.
pub(super) fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.encoded())
}

/// The images that `index`, an index.json, lists: each once, in its order.
pub(super) fn images(store: &Store, index: &[u8]) -> Result<Vec<Image>, ArchiveError> {
    let listed = referrer::listed(index, MAX_IMAGES)
        .map_err(|source| ArchiveError::Document { of: store.part("index.json"), source })?;
    let mut images: Vec<Image> = Vec::new();
    let (mut places, mut level) = (BTreeMap::new(), Level::default());
    let mut configs = Configs::default();
    for descriptor in listed {
        let names = names(&descriptor);
        if let Some(at) = places.get(&descriptor.digest) {
            let image: &mut Image = &mut images[*at];
            image.names = unique(image.names.drain(..).chain(names).collect());
            continue;
        }
        places.insert(descriptor.digest.clone(), images.len());
        let is_index = media_type::is_index(&descriptor.media_type);
        let kind = if is_index { Kind::Index } else { Kind::Manifest };
        let digest = descriptor.digest.clone();
        level.add(store, descriptor, images.len())?;
        // As many as are found in it; of an image what its config says.
        let platforms = is_index.then(Vec::new);
        images.push(Image { names: unique(names), digest, kind, absent: Vec::new(), platforms });
    }
    while !level.of.is_empty() {
        level = level.look(store, &mut images, &mut configs)?;
    }
    for ((_, digest), (place, of)) in configs {
        // What is wrong with it is told when its image is asked for.
        let Ok(config) = store.document(&place, MAX_CONFIG) else { continue };
        let config = Some(config).filter(|config| digest.matches(config));
        let config = config.and_then(|config| ImageConfig::parse(&config).ok());
        for image in of {
            images[image].platforms = config.as_ref().map(|config| vec![config.platform.clone()]);
        }
    }
    Ok(images)
}

/// The configs of images that are in no index, in the order of the archive, each with the images that it is of.
type Configs = BTreeMap<(u64, Digest), (Place, Vec<usize>)>;

/// The manifest or index that has this digest, `None` where the layout does not have it.
pub(super) fn manifest(
    store: &Store,
    digest: &Digest,
) -> Result<Option<RawManifest>, ArchiveError> {
    let name = blob(digest);
    let Some(place) = store.file(&name)? else { return Ok(None) };
    let bytes = store.document(&place, MAX_BYTES)?;
    if !digest.matches(&bytes) {
        let (of, expected) = (store.part(&name), digest.clone());
        return Err(ArchiveError::Digest { of, expected, computed: Digest::of(&bytes) });
    }
    // OCI's documents need not say their type; which of the two it is shows in what they have.
    let read = |of| RawManifest::from_response(of, bytes.clone());
    let manifest = match read(None) {
        Err(ManifestError::UnknownMediaType { media_type }) if media_type == "absent" => {
            read(Some(media_type::OCI_MANIFEST)).or_else(|_| read(Some(media_type::OCI_INDEX)))
        }
        settled => settled,
    };
    let of = store.part(&name);
    manifest.map(Some).map_err(|source| ArchiveError::Document { of, source })
}

/// What is as deep in the indexes of a layout, in the order of the archive, each as the images list it that it is of.
#[derive(Default)]
struct Level {
    of: BTreeMap<(Option<u64>, Digest), Listed>,
    /// What was in a level so far, by image.
    seen: BTreeSet<(usize, Digest)>,
    weight: usize,
}

/// The images by which something is listed, each with how.
type Listed = Vec<(usize, Descriptor)>;

impl Level {
    /// Adds what `descriptor` describes, which is of `image`.
    fn add(
        &mut self,
        store: &Store,
        descriptor: Descriptor,
        image: usize,
    ) -> Result<(), ArchiveError> {
        if !self.seen.insert((image, descriptor.digest.clone())) {
            return Ok(());
        }
        self.weight = self.weight.saturating_add(descriptor.weight());
        if self.weight > MAX_CHILDREN {
            let (file, what) = (store.path().into(), "bytes of children of indexes");
            return Err(ArchiveError::TooMany { file, what, limit: MAX_CHILDREN });
        }
        let place = store.file(&blob(&descriptor.digest))?.map(|place| place.at);
        let key = (place, descriptor.digest.clone());
        self.of.entry(key).or_default().push((image, descriptor));
        Ok(())
    }

    /// Notes what of it is not there and what it is for, and gives what is in its indexes. A document that is broken fails when its image is
    /// asked for, so that it stops no other; one that the system fails to read would leave unknown what is in it.
    fn look(
        self,
        store: &Store,
        images: &mut [Image],
        configs: &mut Configs,
    ) -> Result<Self, ArchiveError> {
        let mut next = Self { of: BTreeMap::new(), seen: self.seen, weight: self.weight };
        for ((_, digest), of) in self.of {
            match manifest(store, &digest).map(|raw| raw.map(|raw| raw.parse())) {
                Ok(Some(Ok(Manifest::Index(index)))) => {
                    for child in index.manifests {
                        for (image, _) in &of {
                            next.add(store, child.clone(), *image)?;
                        }
                    }
                }
                Ok(Some(Ok(Manifest::Image(found)))) if has_blobs(store, &found)? => {
                    let config = found.config.digest;
                    for (image, listed) in of {
                        if images[image].digest != digest {
                            images[image].lists(&listed);
                        } else if let Some(place) = store.file(&blob(&config))? {
                            let key = (place.at, config.clone());
                            configs.entry(key).or_insert((place, Vec::new())).1.push(image);
                        }
                    }
                }
                Ok(Some(Ok(Manifest::Image(_))) | None) => {
                    for (image, listed) in of {
                        images[image].absent.push(listed);
                    }
                }
                Err(error) if error.may_pass() => return Err(error),
                Ok(Some(Err(_))) | Err(_) => {
                    for (image, _) in of {
                        images[image].platforms = None;
                    }
                }
            }
        }
        Ok(next)
    }
}

impl Image {
    /// Notes the platform of an image that an index in it lists, and that is there.
    fn lists(&mut self, listed: &Descriptor) {
        if listed.is_attestation() {
            return;
        }
        let platform = listed.platform.clone().filter(|platform| !platform.is_unknown());
        match (&mut self.platforms, platform) {
            (Some(known), Some(platform)) => known.push(platform),
            (platforms, _) => *platforms = None,
        }
    }
}

/// Whether all blobs of `image` are there that are not somewhere else by intent, as layers of Windows are.
fn has_blobs(store: &Store, image: &ImageManifest) -> Result<bool, ArchiveError> {
    for of in image.blobs().filter(|of| of.urls.is_empty()) {
        if store.file(&blob(&of.digest))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The whole names in a descriptor's annotations.
fn names(descriptor: &Descriptor) -> Vec<Reference> {
    let of = |key| descriptor.annotations.get(key);
    let mut names: Vec<_> = of(NAME).and_then(|text| name(text)).into_iter().collect();
    // A bare tag such as `latest` would be read as an image of Docker Hub.
    let whole = of(REF_NAME).filter(|text| text.contains('/'));
    names.extend(whole.and_then(|text| name(text)));
    names
}

/// The name that `text` is: a repository with a tag. A digest beside it is the image's, which has its own.
pub(super) fn name(text: &str) -> Option<Reference> {
    let reference: Reference = text.parse().ok()?;
    Some(reference.repository().tag(reference.tag()?))
}

/// Each name once, in their order.
pub(super) fn unique(mut names: Vec<Reference>) -> Vec<Reference> {
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

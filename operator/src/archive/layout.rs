//! The images of an OCI layout: what index.json lists, what they are called, and what of them is not there.

use std::collections::{BTreeMap, BTreeSet};

use super::{ArchiveError, Image, Kind, store::Store};
use crate::oci::{
    Descriptor, Digest, Manifest, RawManifest, Reference,
    manifest::{MAX_BYTES, ManifestError},
    media_type, referrer,
};

/// How many images an archive may have.
pub(super) const MAX_IMAGES: usize = 4096;
/// How many children their indexes may have, all together.
const MAX_CHILDREN: usize = 65_536;
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
    let mut places = BTreeMap::new();
    let mut children = 0;
    for descriptor in listed {
        let names = names(&descriptor);
        if let Some(at) = places.get(&descriptor.digest) {
            let image: &mut Image = &mut images[*at];
            image.names = unique(image.names.drain(..).chain(names).collect());
            continue;
        }
        places.insert(descriptor.digest.clone(), images.len());
        let (kind, absent) = look(store, &descriptor, &mut children)?;
        images.push(Image { names: unique(names), digest: descriptor.digest, kind, absent });
    }
    Ok(images)
}

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

/// What `descriptor` describes, and which of its children are not there. A document that cannot be read
/// fails when the image is asked for, so that it stops no other.
fn look(
    store: &Store,
    descriptor: &Descriptor,
    children: &mut usize,
) -> Result<(Kind, Vec<Descriptor>), ArchiveError> {
    let is_index = media_type::is_index(&descriptor.media_type);
    let kind = if is_index { Kind::Index } else { Kind::Manifest };
    let mut absent = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![descriptor.clone()];
    while let Some(next) = open.pop() {
        if !seen.insert(next.digest.clone()) {
            continue;
        }
        *children += 1;
        if *children > MAX_CHILDREN {
            let (file, what) = (store.path().into(), "children of indexes");
            return Err(ArchiveError::TooMany { file, what, limit: MAX_CHILDREN });
        }
        if store.file(&blob(&next.digest))?.is_none() {
            absent.push(next);
        } else if media_type::is_index(&next.media_type)
            && let Ok(Some(manifest)) = manifest(store, &next.digest)
            && let Ok(Manifest::Index(index)) = manifest.parse()
        {
            open.extend(index.manifests.into_iter().rev());
        }
    }
    Ok((kind, absent))
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

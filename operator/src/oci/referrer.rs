//! Referrers: what lists one, the tag that stands for their API, and the index under it.

use std::collections::BTreeMap;

use super::{
    Descriptor, Digest, Index, Manifest, RawManifest,
    manifest::{MAX_CHILDREN, ManifestError, read},
    media_type,
    outline::Outline,
};

/// A manifest that is about another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// As a list of referrers names it (distribution spec, "Listing Referrers"): with the
    /// manifest's annotations and its artifactType, or of an image the media type of its config.
    pub descriptor: Descriptor,
}

/// How many referrers of one manifest are taken from a registry: a bound on what a hostile one can
/// make us keep.
pub const MAX_LISTED: usize = 1024;

impl Referrer {
    /// `manifest`, if its subject is `subject`.
    pub fn of(manifest: &RawManifest, subject: &Digest) -> Result<Self, ManifestError> {
        let (about, artifact_type, annotations) = match manifest.parse()? {
            Manifest::Image(image) => {
                let artifact_type = image.artifact_type.unwrap_or(image.config.media_type);
                (image.subject, Some(artifact_type), image.annotations)
            }
            Manifest::Index(index) => (index.subject, index.artifact_type, index.annotations),
        };
        if about.is_none_or(|about| about.digest != *subject) {
            return Err(malformed(
                manifest.media_type(),
                "its subject is another manifest or none",
            ));
        }
        let descriptor = Descriptor { artifact_type, annotations, ..manifest.descriptor() };
        Ok(Self { descriptor })
    }

    /// `index` with this one at its end, or an index of it alone; `None` where it is listed
    /// already. All that the index says stays, in its order.
    pub fn added_to(self, index: Option<Index>) -> Result<Option<Index>, ManifestError> {
        let Some(mut index) = index else {
            return Ok(Some(Index::new(vec![self.descriptor], BTreeMap::new())));
        };
        if index.manifests.iter().any(|listed| listed.digest == self.descriptor.digest) {
            return Ok(None);
        }
        index.manifests.push(self.descriptor);
        let (children, limit) = (index.manifests.len(), MAX_CHILDREN);
        // A longer one nobody here could read again.
        if children > limit {
            return Err(ManifestError::TooManyChildren { children, limit });
        }
        Ok(Some(index))
    }
}

/// The tag that names an index of what refers to `subject`, on registries without referrers API
/// (distribution spec, "Referrers Tag Schema").
#[must_use]
pub fn fallback_tag(subject: &Digest) -> String {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    format!("{}-{}", cut(subject.algorithm(), 32), cut(subject.encoded(), 64))
}

/// The descriptors in an answer of the referrers API, of which there may be `limit`.
pub fn listed(bytes: &[u8], limit: usize) -> Result<Vec<Descriptor>, ManifestError> {
    let media_type = Outline::of(bytes)?.settle(Some(media_type::OCI_INDEX))?;
    match read(media_type, bytes, limit)? {
        Manifest::Index(index) => Ok(index.manifests),
        Manifest::Image(_) => Err(malformed(media_type, "it is no index")),
    }
}

/// The index that a fallback tag names.
pub fn index(manifest: &RawManifest) -> Result<Index, ManifestError> {
    match manifest.parse()? {
        Manifest::Index(index) => Ok(index),
        Manifest::Image(_) => Err(malformed(manifest.media_type(), "it is no index of referrers")),
    }
}

fn malformed(media_type: &str, why: &str) -> ManifestError {
    let media_type = media_type::shown(media_type).into();
    ManifestError::Malformed { media_type, why: why.into() }
}

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
        let descriptor = Descriptor { annotations, artifact_type, ..manifest.descriptor() };
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;

    use super::*;

    const SHA512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                          47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    /// A manifest about `hello` with more fields.
    fn about(media_type: &str, more: &str) -> RawManifest {
        let subject = RawManifest::new(media_type::OCI_MANIFEST, Bytes::from("hello"));
        let subject = serde_json::to_string(&subject.descriptor()).unwrap();
        let document = format!(r#"{{"schemaVersion":2,"subject":{subject},{more}}}"#);
        RawManifest::new(media_type, Bytes::from(document))
    }

    fn signature(more: &str) -> RawManifest {
        let config = RawManifest::new("text/x-config", Bytes::from("{}")).descriptor();
        let config = serde_json::to_string(&config).unwrap();
        about(media_type::OCI_MANIFEST, &format!(r#""config":{config},"layers":[]{more}"#))
    }

    fn listed_as(manifest: &RawManifest) -> Descriptor {
        Referrer::of(manifest, &Digest::of(b"hello")).unwrap().descriptor
    }

    #[rstest]
    #[case::its_own(signature(r#","artifactType":"text/x-sig""#), Some("text/x-sig"))]
    #[case::of_its_config(signature(""), Some("text/x-config"))]
    #[case::empty(signature(r#","artifactType":"""#), Some("text/x-config"))]
    #[case::of_an_index(about(media_type::OCI_INDEX, r#""manifests":[]"#), None)]
    #[case::an_index_with_one(
        about(media_type::OCI_INDEX, r#""manifests":[],"artifactType":"text/x-sig""#),
        Some("text/x-sig")
    )]
    fn artifact_type(#[case] manifest: RawManifest, #[case] expected: Option<&str>) {
        let listed = listed_as(&manifest);
        assert_eq!(listed.artifact_type.as_deref(), expected);
        assert_eq!(Descriptor { artifact_type: None, ..listed }, manifest.descriptor());
    }

    #[test]
    fn annotations() {
        let listed = listed_as(&signature(r#","annotations":{"a":"b"}"#));
        assert_eq!(listed.annotations, [("a".into(), "b".into())].into());
    }

    #[rstest]
    #[case(
        "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    )]
    #[case(SHA512, "sha512-cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce")]
    fn fallback_tags(#[case] subject: &str, #[case] tag: &str) {
        assert_eq!(fallback_tag(&subject.parse().unwrap()), tag);
    }

    #[test]
    fn what_is_listed_stays() {
        let referrer = Referrer::of(&signature(""), &Digest::of(b"hello")).unwrap();
        // Not in our order, and with a child twice.
        let foreign =
            |name: &str| RawManifest::new(name, Bytes::from(name.to_owned())).descriptor();
        let children = ["text/z", "text/a", "text/z"].map(foreign).to_vec();
        let before = Index {
            manifests: children,
            artifact_type: Some("text/x".into()),
            annotations: [("a".into(), "b".into())].into(),
            ..Index::new(Vec::new(), BTreeMap::new())
        };
        let after = referrer.clone().added_to(Some(before.clone())).unwrap().unwrap();
        assert_eq!(after.manifests[..3], before.manifests);
        assert_eq!(after.manifests[3], referrer.descriptor);
        assert_eq!(Index { manifests: before.manifests.clone(), ..after.clone() }, before);
        assert_eq!(referrer.clone().added_to(Some(after)).unwrap(), None, "it is there");
        let alone = referrer.clone().added_to(None).unwrap().unwrap();
        assert_eq!(alone.manifests, [referrer.descriptor]);
    }

    #[test]
    fn an_index_does_not_grow_past_what_is_read() {
        let child = |at: usize| RawManifest::new("text/x", Bytes::from(at.to_string()));
        let children = (0..MAX_CHILDREN).map(|at| child(at).descriptor()).collect();
        let full = Index::new(children, BTreeMap::new());
        let referrer = Referrer::of(&signature(""), &Digest::of(b"hello")).unwrap();
        let refused = referrer.added_to(Some(full)).unwrap_err();
        let (children, limit) = (MAX_CHILDREN + 1, MAX_CHILDREN);
        assert_eq!(refused, ManifestError::TooManyChildren { children, limit });
    }

    #[rstest]
    #[case::nothing("", 1, "not a valid")]
    #[case::html("<html>", 1, "not a valid")]
    #[case::another_document(r#"{"repositories":[]}"#, 1, "not a valid")]
    #[case::an_image(r#"{"config":{},"layers":[]}"#, 1, "not a valid")]
    #[case::both(r#"{"manifests":[],"layers":[]}"#, 1, "at once")]
    #[case::too_many(r#"{"schemaVersion":2,"manifests":[C,C]}"#, 1, "2 children")]
    fn no_list(#[case] document: &str, #[case] limit: usize, #[case] why: &str) {
        let child = serde_json::to_string(&signature("").descriptor()).unwrap();
        let refused = listed(document.replace('C', &child).as_bytes(), limit).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }

    #[test]
    fn a_list() {
        let child = signature("").descriptor();
        let index = Index::new(vec![child.clone(); 2], BTreeMap::new()).to_raw();
        assert_eq!(listed(index.bytes(), 2).unwrap(), [child.clone(), child]);
    }
}

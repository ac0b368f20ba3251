//! An index: its canonical bytes, and whether another one says the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Descriptor, Digest, Platform, RawManifest, json, media_type, platform};

/// An OCI image index or a Docker manifest list; JSON in the order of the OCI Go struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// OCI index or Docker manifest list. Of a parsed index it is the settled one, also where the
    /// document leaves it to the Content-Type.
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// Type of an artifact.
    #[serde(default, deserialize_with = "json::non_empty", skip_serializing_if = "json::is_empty")]
    pub artifact_type: Option<String>,
    /// The children, in the order of the document.
    #[serde(deserialize_with = "json::or_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of `manifests` in canonical order: images by normalised platform, gzip before
    /// zstd, then digest; attestations after them, in the order of their subjects, then digest.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        let (mut attestations, mut images): (Vec<_>, Vec<_>) =
            manifests.into_iter().partition(Descriptor::is_attestation);
        images.sort_by_cached_key(|image| (place(image), said(image)));
        let mut places = BTreeMap::new();
        for image in &images {
            let next = places.len();
            places.entry(image.digest.clone()).or_insert(next);
        }
        attestations.sort_by_cached_key(|attestation| {
            let subject = attestation.attests();
            // One whose subject is not here comes last.
            let at = subject.as_ref().and_then(|subject| places.get(subject).copied());
            (at.unwrap_or(usize::MAX), subject, attestation.digest.clone(), said(attestation))
        });
        images.append(&mut attestations);
        Self {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            artifact_type: None,
            manifests: images,
            subject: None,
            annotations,
        }
    }

    /// The canonical bytes: compact JSON, annotations sorted by key, strings escaped as Go's
    /// `encoding/json` does. The only place where bytes of an index are made.
    #[must_use]
    pub fn to_raw(&self) -> RawManifest {
        RawManifest::new(&self.media_type, Bytes::from(json::canonical(self)))
    }

    /// Whether it says what `other` says, whatever the bytes: the same media type, the same
    /// children in any order (media type, digest, size, platform as written, annotations),
    /// annotations, subject and artifactType. A child that is there twice is not there once.
    #[must_use]
    pub fn satisfies(&self, other: &Self) -> bool {
        let sorted = |mut children: Vec<_>| {
            children.sort();
            children
        };
        self.media_type == other.media_type
            && self.artifact_type == other.artifact_type
            && self.annotations == other.annotations
            && self.subject.as_ref().map(compared) == other.subject.as_ref().map(compared)
            && sorted(self.manifests.iter().map(compared).collect())
                == sorted(other.manifests.iter().map(compared).collect())
    }
}

/// Where an image stands among others.
fn place(image: &Descriptor) -> (platform::SortKey, bool, Digest) {
    let key = image.platform.as_ref().map(Platform::sort_key).unwrap_or_default();
    (key, image.is_zstd(), image.digest.clone())
}

/// All that a descriptor says, so that the order is total and does not depend on the input's.
fn said(descriptor: &Descriptor) -> Vec<u8> {
    json::canonical(descriptor)
}

/// What of a descriptor counts when two indexes are compared: the spec's `data`, `urls` and
/// `artifactType` repeat what the content says, and tools differ in writing them.
fn compared(
    descriptor: &Descriptor,
) -> (&str, &Digest, u64, Option<&Platform>, &BTreeMap<String, String>) {
    (
        &descriptor.media_type,
        &descriptor.digest,
        descriptor.size,
        descriptor.platform.as_ref(),
        &descriptor.annotations,
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::oci::descriptor::ZSTD;

    fn child(platform: &str, content: &str) -> Descriptor {
        let raw = RawManifest::new(media_type::OCI_MANIFEST, Bytes::from(content.to_owned()));
        let platform = Some(platform).filter(|p| !p.is_empty()).map(|p| p.parse().unwrap());
        Descriptor { platform, ..raw.descriptor() }
    }

    fn annotated(mut child: Descriptor, pairs: &[(&str, &str)]) -> Descriptor {
        child.annotations = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        child
    }

    fn attestation(subject: &Descriptor, content: &str) -> Descriptor {
        let mut attestation = annotated(
            child("unknown/unknown", content),
            &[("vnd.docker.reference.type", "attestation-manifest")],
        );
        let about = subject.digest.to_string();
        attestation.annotations.insert("vnd.docker.reference.digest".into(), about);
        attestation
    }

    fn index(children: &[&Descriptor]) -> Index {
        Index::new(children.iter().map(|child| (*child).clone()).collect(), BTreeMap::new())
    }

    #[test]
    fn order() {
        let zstd = annotated(child("linux/amd64", "z"), &[(ZSTD, "true")]);
        let mut gzip: Vec<_> = ["a", "b", "c"].map(|c| child("linux/amd64/v1", c)).into();
        gzip.sort_by_key(|child| child.digest.clone());
        let others = [
            "freebsd/amd64",
            "linux/386",
            "linux/amd64/v2",
            "linux/arm/v6",
            "linux/arm",
            "linux/arm64/v8",
            "windows/amd64",
            "windows(10.0.17763)/amd64",
            "windows(10.0.17763+win32k)/amd64",
            "windows(10.0.20348)/amd64",
        ]
        .map(|platform| child(platform, platform));
        let mut expected: Vec<_> = others[..2].to_vec();
        expected.extend(gzip);
        expected.push(zstd);
        expected.extend(others[2..].to_vec());
        let about_last = attestation(&others[9], "1");
        let about_first = [attestation(&others[0], "2"), attestation(&others[0], "3")];
        let mut about_first = about_first.to_vec();
        about_first.sort_by_key(|child| child.digest.clone());
        let about_none = attestation(&child("linux/s390x", "not here"), "4");
        expected.extend(about_first);
        expected.extend([about_last, about_none]);
        let mut shuffled = expected.clone();
        shuffled.reverse();
        shuffled.swap(3, 7);
        assert_eq!(Index::new(shuffled, BTreeMap::new()).manifests, expected);
    }

    #[test]
    fn bytes() {
        let mut index = index(&[&annotated(
            child("windows(10.0.17763+win32k)/arm/v7", "x"),
            &[("b", "<&>\u{2028}\u{2029}\u{8}\u{c}\u{1f}\u{7f}\"\\/é"), ("a", "")],
        )]);
        index.annotations.insert("k".into(), "v".into());
        let raw = index.to_raw();
        assert_eq!(
            std::str::from_utf8(raw.bytes()).unwrap(),
            concat!(
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","#,
                r#""manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","#,
                r#""size":1,"annotations":{"a":"","#,
                r#""b":"\u003c\u0026\u003e\u2028\u2029\b\f\u001f"#,
                "\u{7f}",
                r#"\"\\/é"},"#,
                r#""platform":{"architecture":"arm","os":"windows","os.version":"10.0.17763","#,
                r#""os.features":["win32k"],"variant":"v7"}}],"annotations":{"k":"v"}}"#
            )
        );
        assert_eq!(raw.media_type(), media_type::OCI_INDEX);
        assert_eq!(raw.parse().unwrap(), crate::oci::Manifest::Index(index));
    }

    #[test]
    fn says_the_same_in_other_bytes() {
        let (one, two) = (child("linux/amd64", "1"), child("linux/arm64", "2"));
        let ours = index(&[&one, &two]);
        let mut theirs = ours.clone();
        theirs.manifests.reverse();
        assert!(ours.satisfies(&theirs) && theirs.satisfies(&ours));
        theirs.manifests[0].artifact_type = Some("text/x".into());
        theirs.manifests[0].data = Some("e30=".into());
        assert!(ours.satisfies(&theirs), "what repeats the content does not count");
    }

    #[rstest]
    #[case::media_type(|i: &mut Index| i.media_type = media_type::DOCKER_LIST.into())]
    #[case::artifact_type(|i: &mut Index| i.artifact_type = Some("text/x".into()))]
    #[case::annotations(|i: &mut Index| { i.annotations.insert("a".into(), "b".into()); })]
    #[case::subject(|i: &mut Index| i.subject = Some(i.manifests[0].clone()))]
    #[case::fewer(|i: &mut Index| { i.manifests.pop(); })]
    #[case::twice(|i: &mut Index| i.manifests.push(i.manifests[0].clone()))]
    #[case::twice_instead(|i: &mut Index| i.manifests[0] = i.manifests[1].clone())]
    #[case::child_type(|i: &mut Index| i.manifests[0].media_type = media_type::DOCKER_MANIFEST.into())]
    #[case::child_digest(|i: &mut Index| i.manifests[0].digest = Digest::of(b"other"))]
    #[case::child_size(|i: &mut Index| i.manifests[0].size = 9)]
    #[case::child_platform(|i: &mut Index| i.manifests[0].platform = None)]
    #[case::child_words(|i: &mut Index| {
        i.manifests[1].platform = Some("linux/arm64/v8".parse().unwrap());
    })]
    #[case::child_annotations(|i: &mut Index| {
        i.manifests[0].annotations.insert("a".into(), "b".into());
    })]
    fn says_something_else(#[case] change: fn(&mut Index)) {
        let ours = index(&[&child("linux/amd64", "1"), &child("linux/arm64", "2")]);
        let mut theirs = ours.clone();
        change(&mut theirs);
        assert!(!ours.satisfies(&theirs) && !theirs.satisfies(&ours));
    }
}

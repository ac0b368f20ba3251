//! Manifests, indexes, lists of referrers, and image configs.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::is_shown;
use crate::oci::{
    Digest, ImageConfig, Index, Label, Manifest, Platform, RawManifest, Referrer,
    manifest::{MAX_CHILDREN, ManifestError},
    media_type, referrer,
};

/// Two media types, which have up to 255 bytes, and a sentence.
const MESSAGE: usize = 768;

/// The value of Content-Type, a newline, and a body. An empty first line is no header.
pub(super) fn manifest(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    let (header, body) = (&bytes[..end], &bytes[(end + 1).min(bytes.len())..]);
    let header = std::str::from_utf8(header).ok().filter(|header| !header.is_empty());
    listed(body);
    let raw = match RawManifest::from_response(header, Bytes::copy_from_slice(body)) {
        Ok(raw) => raw,
        Err(error) => return refused(&error),
    };
    assert_eq!(raw.bytes(), body, "the bytes are as they came");
    assert_eq!(*raw.digest(), Digest::of(body));
    let settled = raw.media_type();
    assert!(media_type::is_index(settled) || media_type::is_manifest(settled), "{settled}");
    assert!(!is_both(body), "CVE-2021-41190");
    let descriptor = raw.descriptor();
    assert_eq!((descriptor.size, &descriptor.digest), (body.len() as u64, raw.digest()));
    match raw.parse().expect("what was read parses") {
        Manifest::Index(index) => {
            assert!(media_type::is_index(settled));
            is_an_index(&index);
        }
        Manifest::Image(image) => {
            assert!(media_type::is_manifest(settled));
            assert_eq!(image.blobs().count(), image.layers.len() + 1);
            assert!(image.blobs().all(|blob| i64::try_from(blob.size).is_ok()));
            assert!(media_type::is_well_formed(&image.config.media_type));
            let about = image.subject.map(|subject| subject.digest);
            let of = about.clone().unwrap_or_else(|| Digest::of(b""));
            assert_eq!(Referrer::of(&raw, &of).is_ok(), about.is_some());
        }
    }
}

fn is_an_index(index: &Index) {
    assert!(index.manifests.len() <= MAX_CHILDREN);
    for child in &index.manifests {
        assert!(media_type::is_well_formed(&child.media_type) && i64::try_from(child.size).is_ok());
        assert!(child.platform.as_ref().is_none_or(Platform::is_showable));
    }
    assert!(index.satisfies(index), "it says what it says");
    let raw = index.to_raw();
    let Ok(Manifest::Index(again)) = raw.parse() else {
        panic!("what is written is an index: {:?}", raw.parse())
    };
    assert_eq!(&again, index, "what is written is read again");
    assert_eq!(again.to_raw(), raw, "in the same bytes");

    // In one order, whatever the one given.
    let mut reversed = index.manifests.clone();
    reversed.reverse();
    let [one, other] = [index.manifests.clone(), reversed]
        .map(|children| Index::new(children, index.annotations.clone()));
    assert_eq!(one.to_raw(), other.to_raw());
    assert_eq!(Index::new(one.manifests.clone(), one.annotations.clone()), one);
}

/// The same body as a page of referrers.
fn listed(body: &[u8]) {
    const LIMIT: usize = 4;
    match referrer::listed(body, LIMIT) {
        Ok(listed) => assert!(listed.len() <= LIMIT && !is_both(body)),
        Err(error) => refused(&error),
    }
}

/// Whether a document is an index and an image manifest at once, to Go's eyes: whatever the case.
fn is_both(body: &[u8]) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return false };
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    let folded: BTreeSet<String> =
        fields.keys().map(|key| key.chars().map(fold).collect()).collect();
    let has = |key: &str| folded.contains(key);
    has("manifests") && (has("layers") || has("config") || has("fslayers"))
}

/// The message has names of fields and media types, and nothing else of a document.
fn refused(error: &ManifestError) {
    let message = error.to_string();
    is_shown(&message, MESSAGE);
    assert!(message.is_ascii(), "{message}");
}

/// An image config.
pub(super) fn config(bytes: &[u8]) {
    match ImageConfig::parse(bytes) {
        Ok(ImageConfig { platform }) => {
            assert!(platform.is_well_formed());
            let text = platform.to_string();
            is_shown(&text, 255);
            let again: Platform = text.parse().expect("the config's platform is a platform");
            assert!(again.same_as(&platform), "{text} is not {platform:?}");
            assert!(!platform.is_unknown());
        }
        Err(error) => refused(&error),
    }
    let keys = ["a".to_owned(), "org.opencontainers.image.revision".to_owned()];
    match ImageConfig::labels(bytes, &keys) {
        Ok(labels) => {
            assert_eq!(labels.len(), keys.len());
            for label in labels {
                is_shown(&label.to_string(), 96);
                if let Label::Word(word) = &label {
                    assert_eq!(Label::of(Some(word)), label);
                    assert!(word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
                }
            }
        }
        Err(error) => refused(&error),
    }
}

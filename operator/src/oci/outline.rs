//! What a manifest claims to be, by its top-level fields, before it is read as that.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::{
    exact::{DESCRIPTOR, Exact, Seen},
    json,
    manifest::ManifestError,
    media_type,
};

/// The top-level fields that tell the kinds of manifests apart. All others are skipped unread.
#[derive(Debug, Default)]
pub(super) struct Outline {
    schema_version: Option<u64>,
    media_type: Option<String>,
    index: bool,
    image: bool,
    schema1: bool,
}

/// The top-level fields that the operator reads, which must be exact.
const FIELDS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "manifests",
    "config",
    "layers",
    "fsLayers",
    "subject",
    "annotations",
];

impl Outline {
    /// The outline of a document. Refused: what is no JSON object in UTF-8, a field that is there
    /// twice or in another case, here or in a descriptor, and what is an index and an image
    /// manifest at once.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, ManifestError> {
        let refused = |why: String| ManifestError::Malformed { media_type: "manifest".into(), why };
        // serde_json does not look at strings that it skips.
        let text = std::str::from_utf8(bytes).map_err(|_| refused("it is not UTF-8".into()))?;
        let outline: Self =
            serde_json::from_str(text).map_err(|error| refused(json::why(&error)))?;
        if outline.is_ambiguous() {
            return Err(ManifestError::Ambiguous);
        }
        Ok(outline)
    }

    fn is_ambiguous(&self) -> bool {
        self.index && (self.image || self.schema1)
    }

    /// The media type that header and document agree on, which is one that the operator knows.
    pub(super) fn settle(&self, content_type: Option<&str>) -> Result<&'static str, ManifestError> {
        let header = content_type.and_then(media_type::from_header);
        let header = header.as_deref();
        let body = self.media_type.as_deref();
        let is_schema1 = |of: Option<&str>| of.is_some_and(media_type::is_schema1);
        if self.schema1 || self.schema_version == Some(1) || is_schema1(header) || is_schema1(body)
        {
            return Err(ManifestError::Schema1);
        }
        let settled = match (header.and_then(known), body) {
            (Some(header), Some(body)) if header != body => {
                return Err(ManifestError::Contradiction {
                    content_type: header.into(),
                    media_type: media_type::shown(body).into(),
                });
            }
            (Some(header), _) => header,
            (None, body) => body.and_then(known).ok_or_else(|| {
                let media_type = media_type::shown(body.or(header).unwrap_or_default());
                ManifestError::UnknownMediaType { media_type: media_type.into() }
            })?,
        };
        let refused = |why: &str| {
            Err(ManifestError::Malformed { media_type: settled.into(), why: why.into() })
        };
        match self.schema_version {
            Some(2) => {}
            Some(_) => return refused("its schemaVersion is not 2"),
            None => return refused("it has no schemaVersion"),
        }
        if media_type::is_index(settled) && self.image {
            return refused("it has the config or layers of an image manifest");
        }
        if media_type::is_manifest(settled) && self.index {
            return refused("it has the manifests of an index");
        }
        Ok(settled)
    }

    /// Reads the value of `field`, or past it.
    fn read<'de, A: de::MapAccess<'de>>(
        &mut self,
        field: Option<&str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        self.index |= field == Some("manifests");
        self.image |= matches!(field, Some("config" | "layers"));
        self.schema1 |= field == Some("fsLayers");
        match field {
            Some("schemaVersion") => self.schema_version = map.next_value()?,
            Some("mediaType") => {
                let media_type: Option<String> = map.next_value()?;
                self.media_type = media_type.filter(|text| !text.is_empty());
            }
            Some("manifests" | "config" | "layers" | "subject") => {
                map.next_value_seed(Exact(DESCRIPTOR))?;
            }
            _ => drop(map.next_value::<de::IgnoredAny>()?),
        }
        Ok(())
    }
}

/// The media type as one of the constants, where it is one that the operator knows.
fn known(text: &str) -> Option<&'static str> {
    let all = [
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        media_type::DOCKER_LIST,
        media_type::DOCKER_MANIFEST,
    ];
    all.into_iter().find(|known| *known == text)
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> de::Visitor<'de> for Fields {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
        let mut outline = Outline::default();
        let mut seen = Seen::new(FIELDS);
        while let Some(key) = map.next_key::<String>()? {
            outline.read(seen.field(&key), &mut map)?;
        }
        // What is ambiguous shall be called so, by `Outline::of`.
        if !outline.is_ambiguous() {
            seen.check()?;
        }
        Ok(outline)
    }
}

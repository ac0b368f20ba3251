//! Fields that are there once and in their own spelling: Go takes the last of two and ignores case,
//! so that others would read another digest or platform than was checked here.

use std::fmt;

use serde::{Deserializer, de};

/// The fields of a platform, in a descriptor and at the top of an image config.
pub(super) const PLATFORM: &[&str] =
    &["architecture", "os", "os.version", "os.features", "variant"];
/// The fields of a descriptor.
pub(super) const DESCRIPTOR: &[&str] =
    &["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];

/// Reads past a value: an object with these fields, a list of such objects, or anything else.
/// Refused are these fields, and those of a platform within, where they are not exact.
pub(super) struct Exact(pub(super) &'static [&'static str]);

/// Whether `json` has no field of these but exact ones.
pub(super) fn check(json: &[u8], fields: &'static [&'static str]) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    de::DeserializeSeed::deserialize(Exact(fields), &mut deserializer)
}

/// Which of an object's fields were seen.
pub(super) struct Seen {
    fields: &'static [&'static str],
    so_far: Vec<&'static str>,
    complaint: Option<String>,
}

impl Seen {
    pub(super) fn new(fields: &'static [&'static str]) -> Self {
        Self { fields, so_far: Vec::new(), complaint: None }
    }

    /// The field that Go takes `key` for, where it is one of those that matter.
    pub(super) fn field(&mut self, key: &str) -> Option<&'static str> {
        let folded = fold(key);
        let field = self.fields.iter().copied().find(|field| fold(field) == folded)?;
        if key != field {
            self.complaint = Some(format!("the field `{field}` is written in another case"));
        } else if self.so_far.contains(&field) {
            self.complaint = Some(format!("the field `{field}` is there twice"));
        }
        self.so_far.push(field);
        Some(field)
    }

    /// What is wrong with the fields, without a word of the document.
    pub(super) fn check<E: de::Error>(self) -> Result<(), E> {
        self.complaint.map_or(Ok(()), |complaint| Err(E::custom(complaint)))
    }
}

impl<'de> de::DeserializeSeed<'de> for Exact {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Exact {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Seen::new(self.0);
        while let Some(key) = map.next_key::<String>()? {
            match seen.field(&key) {
                Some("platform") => map.next_value_seed(Exact(PLATFORM))?,
                _ => drop(map.next_value::<de::IgnoredAny>()?),
            }
        }
        seen.check()
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Exact(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key as Go's `encoding/json` compares it: in one case, and with the two letters outside ASCII
/// that fold to letters within (U+017F to s, U+212A to k).
fn fold(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

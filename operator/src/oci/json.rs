//! How documents are read and written: nulls and blanks as Go reads them, strings as Go writes them.

use std::io;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{error::Category, ser::Formatter};

/// Starts of the messages that a deserialiser makes of nothing but names in this source; any
/// other one may quote the document.
const SAFE: [&str; 3] = ["missing field `", "duplicate field `", "the field `"];

/// What is wrong with a document, without a word of it.
pub(super) fn why(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match error.classify() {
        Category::Data if !SAFE.iter().any(|safe| text.starts_with(safe)) => format!(
            "a value is not of the type it should have at line {} column {}",
            error.line(),
            error.column()
        ),
        Category::Data | Category::Syntax | Category::Eof | Category::Io => text,
    }
}

/// A value, or the default where the document says `null`, which Go's slices and maps do when they
/// were never made.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A string, or `None` where it is `null` or empty: Go's `omitempty` writes neither.
pub(super) fn non_empty<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(d).map(|text| text.filter(|text| !text.is_empty()))
}

/// Whether `omitempty` leaves it out.
#[expect(clippy::ref_option, reason = "the form that serde calls")]
pub(super) fn is_empty(text: &Option<String>) -> bool {
    text.as_deref().is_none_or(str::is_empty)
}

/// A size in bytes that fits Go's `int64`.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Size;
    impl de::Visitor<'_> for Size {
        type Value = u64;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a size in bytes")
        }
        fn visit_u64<E: de::Error>(self, size: u64) -> Result<u64, E> {
            i64::try_from(size)
                .map(|_| size)
                .map_err(|_| E::custom("the field `size` is past 2^63-1"))
        }
        fn visit_i64<E: de::Error>(self, size: i64) -> Result<u64, E> {
            u64::try_from(size).map_err(|_| E::custom("the field `size` is negative"))
        }
    }
    deserializer.deserialize_u64(Size)
}

/// Compact JSON as Go's `json.Marshal` writes it: in the order of the struct's fields, without a
/// newline, strings escaped for HTML.
#[expect(clippy::expect_used, reason = "the maps' keys are strings, and a Vec takes every byte")]
pub(super) fn canonical<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Go))
        .expect("a document can be written");
    bytes
}

/// Escapes what `serde_json` does not and Go does: `<`, `>`, `&`, U+2028 and U+2029. The rest is
/// the same in both (since Go 1.22 `\b` and `\f` too).
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            let mut chars = special.chars();
            writer.write_all(plain.as_bytes())?;
            write!(writer, "\\u{:04x}", chars.next().map_or(0, u32::from))?;
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

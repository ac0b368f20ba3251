//! The nouns of the OCI specs, as values: no IO, no async, no clock below here.

pub mod config;
pub mod descriptor;
pub mod digest;
mod exact;
pub mod index;
mod json;
pub mod label;
pub mod manifest;
pub mod media_type;
mod outline;
pub mod platform;
pub mod prefix;
pub mod reference;
pub mod referrer;

pub use config::ImageConfig;
pub use descriptor::Descriptor;
pub use digest::Digest;
pub use index::Index;
pub use label::Label;
pub use manifest::{ImageManifest, Manifest, RawManifest};
pub use platform::Platform;
pub use prefix::Prefix;
pub use reference::{Reference, Repository, TagOrDigest};
pub use referrer::Referrer;

/// How much of a user's text a message repeats, in bytes.
const SHOWN: usize = 200;

/// `text` cut to [`SHOWN`] bytes. Messages print it with `{:?}`, which escapes control characters
/// and everything else that is not printable.
fn cut(text: &str) -> String {
    if text.len() <= SHOWN {
        return text.into();
    }
    let end = (0..=SHOWN - '…'.len_utf8()).rev().find(|&end| text.is_char_boundary(end));
    format!("{}…", &text[..end.unwrap_or_default()])
}

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
pub mod saved;

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

/// `text`, such as the name of a file, without what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `text` as [`cut`] cuts it, without what may be a user and a password: what stands before an `@`
/// that is not followed by a digest.
fn redacted(text: &str) -> String {
    let of_user = |(at, _): &(usize, &str)| {
        let (before, behind) = (&text[..*at], &text[at + 1..]);
        behind.contains('/') || (before.contains(':') && !before.contains('/'))
    };
    match text.match_indices('@').rfind(of_user) {
        Some((at, _)) => cut(&format!("…{}", &text[at..])),
        None => cut(text),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("r.io/team/app", "r.io/team/app")]
    #[case("r.io/team/app:1@sha256:abc", "r.io/team/app:1@sha256:abc")]
    #[case("debian@sha256:abc", "debian@sha256:abc")]
    #[case("user:hunter2@r.io/app:1", "…@r.io/app:1")]
    #[case("user@r.io/app:1", "…@r.io/app:1")]
    #[case("https://user:hunter2@r.io/app:1@sha256:abc", "…@r.io/app:1@sha256:abc")]
    #[case("user:hun/ter2@r.io:5000/app:1", "…@r.io:5000/app:1")]
    #[case("user:hunt@er2@r.io/app:1", "…@r.io/app:1")]
    #[case("user:hunter2@r.io", "…@r.io")]
    fn shows_no_user_and_no_password(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(redacted(text), shown);
    }
}

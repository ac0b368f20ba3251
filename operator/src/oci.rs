//! The nouns of the OCI specs, as values: no IO, no async, no clock below here.

pub mod digest;
pub mod index;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;

pub use digest::Digest;
pub use index::Index;
pub use manifest::{Descriptor, ImageConfig, ImageManifest, Manifest, RawManifest};
pub use platform::Platform;
pub use reference::{Reference, Repository, TagOrDigest};

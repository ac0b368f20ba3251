//! `multiarch.dev/v1alpha1`: what users write (`spec`) and read (`status`).

#![allow(
    clippy::doc_markdown,
    reason = "the comments on fields are the text of kubectl explain, which is not markdown"
)]
#![allow(clippy::duplicated_attributes, reason = "two printer columns may have one type")]
#![allow(
    unreachable_pub,
    reason = "KubeSchema copies each `pub struct` into a function body, where nothing can reach it"
)]

mod policy;
mod set;
mod spec;
mod status;
mod template;

mod rules;

pub use policy::{
    Attestations, DeletionPolicy, Format, PlatformPolicy, Provider, PublishPolicy, Referrers,
    RemovalPolicy, TagPolicy,
};
pub use set::{
    ConfigMapKeyRef, Counts, FailingLine, From, ImagesFrom, MultiArchImageSet,
    MultiArchImageSetSpec, MultiArchImageSetStatus, SetArchive, To,
};
pub use spec::{
    ArchiveSource, MultiArchImage, MultiArchImageSpec, Registry, SecretRef, Source, Target,
};
pub use status::{
    Coverage, MultiArchImageStatus, PendingTag, PublishedPlatform, SourceState, SourceStatus,
};
pub use template::Template;

/// The version of every kind in this module.
pub const VERSION: &str = "v1alpha1";

//! The promises of the README, one file each, on a real API server and a real registry.
//!
//! One program for all of them, so that they share one control plane and are linked once.

mod publish;

mod buildx;
mod late;
mod partial;

mod duplicate;
mod platform_truth;
mod would_shrink;

mod deletion;
mod one_source_a_job;
mod source_deleted;
mod tag_raised;

mod copy;
#[cfg(target_os = "linux")]
mod copy_large;
mod copy_requests;
mod copy_secrets;
mod copy_trouble;
mod flatten;
mod mirror;

mod credentials;
mod registry_trouble;

mod idle;
mod requests;
mod restart;
mod suspend;

mod admin;
mod rbac;
mod shutdown;

mod admission;
mod examples;
mod unreadable;

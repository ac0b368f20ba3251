//! The promises of the README, one file each, on a real API server and a real registry.
//!
//! One program for all of them, so that they share one control plane and are linked once.

mod adopt;
mod annotate;
mod append;
mod publish;

mod attestations;
mod buildx;
mod format;
mod labels;
mod late;
mod partial;

mod duplicate;
mod nodes;
mod platform_truth;
mod windows;
mod would_shrink;

mod conflict;
mod coverage_maps;
mod deletion;
mod one_source_a_job;
mod source_deleted;
mod tag_raised;
mod tags;

mod copy;
#[cfg(target_os = "linux")]
mod copy_large;
mod copy_requests;
mod copy_secrets;
mod copy_trouble;
mod flatten;
mod mirror;
mod referrers;

mod credentials;
mod providers;
mod registry_trouble;
mod repair;
mod tls;
mod tokens;

mod idle;
mod requests;
mod restart;
mod suspend;

mod cli;

mod admin;
mod alerts;
mod leader;
mod outage;
mod rbac;
mod rbac_of_secrets;
mod shards;
mod shutdown;

mod admission;
mod examples;
mod from_scripts;
mod gate;
mod gitops;
mod gitops_waits;
#[cfg(target_os = "linux")]
mod image;
mod release;
mod unreadable;

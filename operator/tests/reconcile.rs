//! The pipeline over a registry in memory, run after run: what is published, what the status says, and each request that it took.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "reconcile/scale.rs"]
mod scale;
#[path = "reconcile/world.rs"]
mod world;

#[path = "reconcile/annotate.rs"]
mod annotate;
#[path = "reconcile/attest.rs"]
mod attest;
#[path = "reconcile/children.rs"]
mod children;
#[path = "reconcile/claims.rs"]
mod claims;
#[path = "reconcile/clock.rs"]
mod clock;
#[path = "reconcile/content.rs"]
mod content;
#[path = "reconcile/copying.rs"]
mod copying;
#[path = "reconcile/deletion.rs"]
mod deletion;
#[path = "reconcile/drift.rs"]
mod drift;
#[path = "reconcile/flatten.rs"]
mod flatten;
#[path = "reconcile/format.rs"]
mod format;
#[path = "reconcile/gone.rs"]
mod gone;
#[path = "reconcile/kills.rs"]
mod kills;
#[path = "reconcile/labels.rs"]
mod labels;
#[path = "reconcile/laws.rs"]
mod laws;
#[path = "reconcile/laws_of_tags.rs"]
mod laws_of_tags;
#[path = "reconcile/mirror.rs"]
mod mirror;
#[path = "reconcile/model.rs"]
mod model;
#[path = "reconcile/platforms.rs"]
mod platforms;
#[path = "reconcile/policy.rs"]
mod policy;
#[path = "reconcile/publish.rs"]
mod publish;
#[path = "reconcile/referrers.rs"]
mod referrers;
#[path = "reconcile/removal.rs"]
mod removal;
#[path = "reconcile/tags.rs"]
mod tags;
#[path = "reconcile/trouble.rs"]
mod trouble;

//! The chart's policies of admission, and the samples of examples/admission, on a real API server: what becomes of Pods and of what makes them.
//!
//! One program, so that all share one control plane, which knows MutatingAdmissionPolicies; maps are written here, as the operator writes them.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod ask;
mod entries;
mod stage;

mod actions;
mod cases;
mod matrix;
mod names;
mod pinned;

mod closed;
mod managed;
mod tenants;

mod again;
mod large;
mod malformed;
mod restart;
mod rights;

mod beside;
mod samples;

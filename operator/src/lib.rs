//! multiarch-operator: publishes multi-arch images from per-arch sources and keeps them true.
//!
//! ```text
//!  MultiArchImage ─sources→ Sources ─resolve→ Vec<Resolution> ─plan→ Plan ─publish→ Published
//!      (crds)       pure              Registry                 pure         Registry     │
//!                                                                                        ▼
//!              previous status, generation, now ─────────────────────────→ status ─→ patch
//!                                                                            pure      kube
//! ```
//!
//! Each arrow is one function in one file named for it, each noun one type, and nothing flows back.

pub mod controller;
pub mod reconcile;

pub mod oci;
pub mod registry;

pub mod archive;

pub mod keychain;

pub mod error;

#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
pub mod leader;
pub mod shutdown;

pub mod admin;
pub mod args;
pub mod backoff;
pub mod check;
pub mod coverage;
pub mod events;
pub mod metrics;
pub mod nodes;
pub mod selector;

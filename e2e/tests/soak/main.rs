//! What breaks, and that it mends: a tenth in `make test`, all of it in `make soak`, which prints what was measured.
//!
//! One program, so that all share one control plane and are linked once.

mod engine;

#[cfg(target_os = "linux")]
mod archives;
mod coverage;
mod disk;
mod kills;
mod leaders;
mod many;
mod matrix;
mod outage;
mod partition;
#[cfg(target_os = "linux")]
mod sets;
mod tenants;

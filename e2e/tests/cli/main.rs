//! The promises of kubectl-multiarch, each on real registries and on archives as real tools write them.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod json;
mod k3s;
mod kills;
mod memory;
mod mirror;
mod peers;
mod peers_layouts;
mod sets;
mod stage;
mod terminal;
mod terminal_pty;

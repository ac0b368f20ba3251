//! Coverage maps: ConfigMaps from which admission policies learn what is published, without asking a registry.
//!
//! ```text
//!  MultiArchImages ─facts→ Facts ─┐
//!                                 ├─entries→ Entries ─ranges, maps→ Map ─changes→ the next write → ConfigMap
//!  ConfigMaps ─maps→ Entries ─────┘   pure                pure              pure     kube
//! ```
//!
//! What an earlier writer has left is read from the maps themselves: they are the only memory.

pub mod changes;
pub mod entries;
pub mod facts;
pub mod key;
pub mod maps;
pub mod plan;
pub mod ranges;
pub mod seen;
pub mod value;
pub mod writer;

#[cfg(test)]
mod laws;

pub use entries::Entries;
pub use facts::Facts;
pub use key::Key;
pub use maps::Map;
pub use value::{Object, Value};
pub use writer::{LEASE, Options, Writer};

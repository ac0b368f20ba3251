//! Coverage maps: ConfigMaps from which admission policies learn what is published, without asking a registry.
//!
//! ```text
//!  MultiArchImages ─facts→ Facts ─┐
//!                                 ├─entries→ Entries ─ranges→ Layout ─changes→ the next write → ConfigMap
//!  ConfigMaps ──────────→ Entries ┘   pure            pure             pure     kube
//! ```
//!
//! What an earlier writer left is read from the maps themselves: they are the only memory.

pub mod key;
pub mod value;

pub use key::Key;
pub use value::{Object, Value};

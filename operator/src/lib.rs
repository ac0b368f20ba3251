//! multiarch-operator: publishes multi-arch images from per-arch sources and keeps them true.

pub mod oci;
pub mod registry;

//! The API of multiarch-operator: types, conditions, and the CRD that they generate. No client and no async in here.

pub mod condition;
pub mod v1alpha1;

/// The API group of every kind. `#[kube(group = ..)]` takes literals only; a test holds them to this.
pub const GROUP: &str = "multiarch.dev";

//! What is asked of a cluster's MultiArchImage objects.

pub(crate) mod reconcile;
pub(crate) mod status;
pub(crate) mod suspend;
pub(crate) mod tree;
pub(crate) mod wait;

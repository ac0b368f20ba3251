//! pure: the list of a `MultiArchImageSet` → the `MultiArchImage`s that it owns, and what became of them → its status.

pub mod children;
pub mod held;
pub mod lines;
pub mod status;

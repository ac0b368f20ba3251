//! The operator's own image: a static program, the CAs that the web trusts, and what names are looked up with.
//!
//! ```text
//!  program ─elf→ Program ─root→ files ─layer→ tar ─layout→ Layout ─→ folder, archive
//!                   └──────────packages→ Packages ─sbom→ CycloneDX, and what scanners find in the program
//! ```
//!
//! Everything is a function of the program, the commit and Cargo.lock: no clock, no folder and no order of a map reaches a byte.

pub mod elf;
pub mod layer;
pub mod layout;
pub mod link;
pub mod packages;
pub mod platform;
pub mod root;
pub mod sbom;

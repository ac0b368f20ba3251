//! Archives of images as programs write them, and as none should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "archive/bounds.rs"]
mod bounds;
#[path = "archive/failures.rs"]
mod failures;
#[path = "archive/images.rs"]
mod images;
#[path = "archive/layers.rs"]
mod layers;
#[path = "archive/layouts.rs"]
mod layouts;
#[path = "archive/links.rs"]
mod links;
#[path = "archive/order.rs"]
mod order;
#[path = "archive/saved.rs"]
mod saved;
#[path = "archive/write.rs"]
mod write;

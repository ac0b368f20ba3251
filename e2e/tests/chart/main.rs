//! The chart: what it renders, what it refuses, what of it is documented, and what a real API server makes of it.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod cases;
mod own;
mod yaml;

mod admission;
mod docs;
mod flags;
mod golden;
mod merged;
mod notes;
mod nulls;
mod quoted;
mod render;
mod schemas;
mod shapes;
mod subchart;
mod used;
mod version;

mod check;
mod install;
mod of_namespaces;
mod second;
mod stays;

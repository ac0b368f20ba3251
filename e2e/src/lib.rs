//! What the end-to-end tests and the demo stand on: a real API server, a real registry, and an operator process of one's own.

pub mod scenario;

pub mod archives;
pub mod await_condition;
pub mod bin;
pub mod charts;
pub mod cli;
pub mod cluster;
pub mod health;
pub mod helm;
pub mod images;
pub mod maps;
pub mod namespace;
pub mod node;
pub mod objects;
pub mod operator;
pub mod peers;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod registry;
pub mod release;
pub mod scale;
pub mod spec;
pub mod tls;
pub mod tokens;
pub mod values;

pub use scenario::{Scenario, scenario};

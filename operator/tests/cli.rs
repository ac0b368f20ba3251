//! `kubectl-multiarch`, as people and scripts run it, at the registry in memory over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[allow(dead_code, reason = "each suite uses its own part")]
mod archive {
    #[path = "../archive/images.rs"]
    pub(crate) mod images;
    #[path = "../archive/write.rs"]
    pub(crate) mod write;
}
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/cluster.rs"]
mod cluster;
#[path = "cli/credentials.rs"]
mod credentials;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/inspect.rs"]
mod inspect;
#[path = "cli/interrupt.rs"]
mod interrupt;
#[path = "cli/load.rs"]
mod load;
#[path = "cli/mirror.rs"]
mod mirror;
#[path = "cli/publish.rs"]
mod publish;
#[path = "cli/schema.rs"]
mod schema;

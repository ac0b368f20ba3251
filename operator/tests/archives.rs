//! Archives before a registry: what is answered from them, how their blobs get to the registry, and what a run makes of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "archives/adopts.rs"]
mod adopts;
#[path = "archives/changed.rs"]
mod changed;
#[path = "archives/port.rs"]
mod port;
#[path = "archives/runs.rs"]
mod runs;
#[path = "archives/shelved.rs"]
mod shelved;
#[allow(dead_code, reason = "each suite uses its own part")]
mod archive {
    #[path = "../archive/images.rs"]
    pub(crate) mod images;
    #[path = "../archive/write.rs"]
    pub(crate) mod write;
}

use std::sync::Arc;

use archive::write::OnDisk;
use multiarch_operator::{
    oci::{Reference, Repository},
    registry::{archive::Archives, memory::Store},
};

/// A registry in memory, and the archives that have these bytes, by what they are called.
fn archives(store: &Store, all: &[(&str, &[u8])]) -> Archives<Store> {
    let open = |(name, bytes): &(&str, &[u8])| {
        let opened = OnDisk::new(bytes).open().unwrap();
        ((*name).to_owned(), Arc::new(opened))
    };
    Archives::new(store.clone(), all.iter().map(open))
}

/// What `archive` has under the name `name`.
fn inside(archive: &str, name: &str) -> Reference {
    let name: Reference = name.parse().unwrap();
    Repository::in_archive(archive, name.repository()).tag(name.tag().unwrap())
}

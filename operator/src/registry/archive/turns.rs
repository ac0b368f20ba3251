//! Where blobs of archives came to first: whoever needs one in another repository of that registry has it from there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Lock, PoisonError},
};

use tokio::sync::Mutex;

use crate::{
    oci::{Digest, Repository},
    registry::{Identity, Place},
};

/// By registry, who writes there, and blob. What one may mount another one may not.
#[derive(Default)]
pub struct Turns(Lock<HashMap<Key, Turn>>);

type Key = (String, Option<Identity>, Digest);

/// Who has it copies a blob to a registry, and leaves where it is then.
pub(super) type Turn = Arc<Mutex<Option<Repository>>>;

impl Turns {
    /// The turn to copy the blob of `digest` to the registry of `to`.
    pub(super) fn turn(&self, to: Place<'_>, digest: &Digest) -> Turn {
        let identity = to.access.credential.as_ref().map(Identity::of);
        let key = (to.repository.host().to_owned(), identity, digest.clone());
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(key).or_default())
    }
}

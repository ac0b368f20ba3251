//! Where the bytes of a blob come from that is sent.

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

use super::{RegistryError, Request};

/// Something that has a blob, and can be asked for its bytes more than once: an upload that broke off goes on from
/// where the registry is, or begins anew.
pub trait BlobSource: Send + Sync {
    /// Who has it, and what it is asked, for messages.
    fn named(&self) -> (String, Request);

    /// The bytes from the first one, `None` where it is not there. They need not be the right ones: whoever sends
    /// them checks size and digest before the last one is handed on.
    fn open(&self) -> BoxFuture<'_, Result<Option<Chunks>, RegistryError>>;
}

/// A blob's bytes from its first one, as its source has them.
pub type Chunks = BoxStream<'static, Result<Bytes, RegistryError>>;

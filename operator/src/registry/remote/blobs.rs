//! Blobs: small ones as a whole, held to size and digest.

use bytes::Bytes;

use super::{Remote, call::Call, failure::Failure};
use crate::{
    oci::{Descriptor, Digest, Repository},
    registry::{Access, RegistryError},
};

impl Remote {
    pub(super) async fn read_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        let call = Call::blob(access, repository, &blob.digest);
        let limit = self.transport.limits().config;
        if blob.size > limit {
            return Err(call.told(Failure::TooLarge { limit, received: blob.size }));
        }
        let answer = self.exchange(&call).await?;
        match answer.response.status().as_u16() {
            200..300 => {}
            404 => return Ok(None),
            _ => return Err(self.refused(&call, answer).await),
        }
        let wrong_size = |received| RegistryError::WrongSize {
            host: call.host().into(),
            request: call.request.clone(),
            expected: blob.size,
            received,
        };
        // One byte more than promised is enough to know.
        let bytes = match self.body(answer, blob.size).await {
            Ok(bytes) => bytes,
            Err(Failure::TooLarge { received, .. }) => return Err(wrong_size(received)),
            Err(failure) => return Err(call.told(failure)),
        };
        if bytes.len() as u64 != blob.size {
            return Err(wrong_size(bytes.len() as u64));
        }
        if !blob.digest.matches(&bytes) {
            return Err(RegistryError::WrongDigest {
                host: call.host().into(),
                request: call.request,
                expected: blob.digest.clone(),
                computed: Digest::of(&bytes),
            });
        }
        Ok(Some(bytes))
    }
}

//! Blobs: small ones as a whole, held to size and digest.

use bytes::Bytes;
use reqwest::header::CONTENT_LENGTH;

use super::{Remote, call::Call, failure::Failure};
use crate::{
    oci::{Descriptor, Digest, Repository},
    registry::{Access, RegistryError},
};

impl Remote {
    /// Whether the repository has `blob`, by HEAD.
    pub(super) async fn look(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        let call = Call::blob("HEAD", access, repository, &blob.digest);
        let answer = self.exchange(&call).await?;
        match answer.response.status().as_u16() {
            200..300 => {}
            404 => return Ok(false),
            _ => return Err(self.refused(&call, answer).await),
        }
        let length = answer.response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        match length {
            Some(length) if length != blob.size => Err(wrong_size(&call, blob, length)),
            _ => Ok(true),
        }
    }

    pub(super) async fn read_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.persist(|| self.read_blob_once(access, repository, blob)).await
    }

    async fn read_blob_once(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        let call = Call::blob("GET", access, repository, &blob.digest);
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
        let wrong_size = |received| wrong_size(&call, blob, received);
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

pub(super) fn wrong_size(call: &Call<'_>, blob: &Descriptor, received: u64) -> RegistryError {
    let (host, request) = (call.host().into(), call.request.clone());
    RegistryError::WrongSize { host, request, expected: blob.size, received }
}

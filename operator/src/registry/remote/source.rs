//! A blob in a repository, as what is sent to another one.

use std::sync::Arc;

use futures::{StreamExt, future::BoxFuture};
use reqwest::header::CONTENT_LENGTH;

use super::{Remote, blobs::wrong_size, call::Call, redirect::authority};
use crate::{
    oci::Descriptor,
    registry::{BlobSource, Chunks, Place, RegistryError, Request},
};

/// A blob in a repository.
pub(super) struct InRepository<'a> {
    pub(super) remote: &'a Remote,
    pub(super) place: Place<'a>,
    pub(super) blob: &'a Descriptor,
}

impl BlobSource for InRepository<'_> {
    fn named(&self) -> (String, Request) {
        let repository = self.place.repository;
        let request = Request::blob("GET", repository, &self.blob.digest);
        (repository.host().into(), request)
    }

    fn open(&self) -> BoxFuture<'_, Result<Option<Chunks>, RegistryError>> {
        Box::pin(self.remote.persist(|| self.remote.stream_blob(self.place, self.blob)))
    }
}

impl Remote {
    /// GET of a blob, whose bytes come as the caller takes them.
    async fn stream_blob(
        &self,
        from: Place<'_>,
        blob: &Descriptor,
    ) -> Result<Option<Chunks>, RegistryError> {
        let call = Call::blob("GET", from.access, from.repository, &blob.digest);
        let answer = self.exchange(&call).await?;
        match answer.response.status().as_u16() {
            200..300 => {}
            404 => return Ok(None),
            _ => return Err(self.refused(&call, answer).await),
        }
        let length = answer.response.headers().get(CONTENT_LENGTH);
        if let Some(length) = length.and_then(|value| value.to_str().ok()?.parse().ok())
            && length != blob.size
        {
            return Err(wrong_size(&call, blob, length));
        }
        let at = answer.elsewhere.then(|| authority(&answer.url));
        let (host, request) = (call.host().to_owned(), call.request.clone());
        let certificates = Arc::clone(&from.access.certificates);
        let chunks = self.transport.chunks(answer.response).map(move |chunk| {
            chunk.map_err(|failure| {
                let failure = if let Some(at) = &at { failure.at(at) } else { failure };
                failure.told(&host, &request, &certificates)
            })
        });
        Ok(Some(chunks.boxed()))
    }
}

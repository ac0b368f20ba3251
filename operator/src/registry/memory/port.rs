//! The store's first face: the port itself, without a network.

use bytes::Bytes;
use secrecy::ExposeSecret;

use super::{Fault, Store};
use crate::{
    oci::{Descriptor, RawManifest, Repository, TagOrDigest},
    registry::{Access, Registry, RegistryError, Request},
};

impl Registry for Store {
    async fn head_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.admit(access, repository, &Request::manifest("HEAD", repository, reference))?;
        Ok(self.manifest(repository.path(), reference).map(|found| found.descriptor()))
    }

    async fn get_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let request = Request::manifest("GET", repository, reference);
        self.admit(access, repository, &request)?;
        let Some(found) = self.manifest(repository.path(), reference) else { return Ok(None) };
        RawManifest::from_response(Some(found.media_type()), found.bytes().clone())
            .map(Some)
            .map_err(|source| RegistryError::Unusable {
                host: repository.host().into(),
                request,
                source,
            })
    }

    async fn get_blob(
        &self,
        access: &Access,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        let request = Request::blob("GET", repository, &blob.digest);
        self.admit(access, repository, &request)?;
        let Some(bytes) = self.blob(repository.path(), &blob.digest) else { return Ok(None) };
        let (expected, received) = (blob.size, bytes.len() as u64);
        if expected == received {
            Ok(Some(bytes))
        } else {
            let host = repository.host().into();
            Err(RegistryError::WrongSize { host, request, expected, received })
        }
    }

    async fn put_manifest(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        let request = Request::manifest("PUT", repository, reference);
        self.admit(access, repository, &request)?;
        self.accept(repository.path(), reference, manifest).map_err(|rejected| {
            RegistryError::Refused {
                host: repository.host().into(),
                request,
                status: rejected.status,
                codes: vec![rejected.code.into()],
            }
        })
    }
}

impl Store {
    /// Logs the request, and refuses it where a fault or the login says so.
    fn admit(
        &self,
        access: &Access,
        repository: &Repository,
        request: &Request,
    ) -> Result<(), RegistryError> {
        let (faults, login) = {
            let mut state = self.state();
            state.log.push(request.clone());
            (state.faults.clone(), state.login.clone())
        };
        // Outside the lock: a fault may look at the store, or change it.
        for Fault { when, error } in faults {
            if when(request) {
                return Err(error(request));
            }
        }
        let accepted = login.is_none_or(|(username, password)| {
            access.credential.as_ref().is_some_and(|given| {
                given.username == username && given.password.expose_secret() == password
            })
        });
        if accepted {
            Ok(())
        } else {
            Err(RegistryError::Unauthorized {
                host: repository.host().into(),
                credential: access.who(),
                status: 401,
            })
        }
    }
}

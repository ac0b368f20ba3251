//! pure: the Secrets of an object → who asks for the target and for each source.

use std::collections::{BTreeSet, HashMap};

use super::{
    resolve::ResolveError,
    sources::{Source, Sources},
};
use crate::{
    keychain::{Keychain, KeychainError},
    oci::Repository,
    registry::{Access, Credential, Scope},
};

/// Who asks: for the target, and for each source.
#[derive(Debug)]
pub struct AccessMap {
    target: Result<Access, KeychainError>,
    sources: HashMap<String, Result<Access, KeychainError>>,
}

/// The Secrets that `sources` names.
#[must_use]
pub fn secrets(sources: &Sources) -> BTreeSet<String> {
    let own = sources.sources.iter().filter_map(|source| source.secret.clone());
    own.chain(sources.push_secret.clone()).chain(sources.pull_secrets.iter().cloned()).collect()
}

impl AccessMap {
    /// Chooses credentials: the target's is its own Secret's and no other. A source's is its own
    /// Secret's, else the best of the pull Secrets', else the target's where that has one for the
    /// source's repository, else none.
    #[must_use]
    pub fn new(sources: &Sources, keychain: &Keychain) -> Self {
        let repository = sources.target.repository();
        let push = match &sources.push_secret {
            Some(secret) => demand(secret, repository, keychain).map(Some),
            None => Ok(None),
        };
        let target = push.map(|credential| Access {
            credential,
            scopes: vec![Scope::push(repository)],
            plain_http: sources.plain_http(repository),
        });
        let each = sources.sources.iter().map(|source| {
            let access = choose(source, sources, keychain).map(|credential| {
                let repository = source.reference.repository();
                // One token of the target's identity serves its reads and its pushes.
                let shared = target.as_ref().ok().filter(|target| {
                    sources.target.repository() == repository
                        && same(target.credential.as_ref(), credential.as_ref())
                });
                shared.cloned().unwrap_or_else(|| Access {
                    credential,
                    scopes: vec![Scope::pull(repository)],
                    plain_http: sources.plain_http(repository),
                })
            });
            (source.name.clone(), access)
        });
        Self { sources: each.collect(), target }
    }

    /// Who asks for the target.
    pub fn target(&self) -> Result<&Access, KeychainError> {
        self.target.as_ref().map_err(Clone::clone)
    }

    /// Who asks for the source called `name`, which is in the spec.
    pub fn named(&self, name: &str) -> Result<&Access, KeychainError> {
        match self.sources.get(name) {
            Some(access) => access.as_ref().map_err(Clone::clone),
            None => unreachable!("every source of the spec is in the map"),
        }
    }

    /// Who asks for `source`.
    pub fn source(&self, source: &Source) -> Result<&Access, ResolveError> {
        self.named(&source.name).map_err(|source| ResolveError::Credential { source })
    }
}

fn choose(
    source: &Source,
    sources: &Sources,
    keychain: &Keychain,
) -> Result<Option<Credential>, KeychainError> {
    let repository = source.reference.repository();
    if let Some(secret) = &source.secret {
        return demand(secret, repository, keychain).map(Some);
    }
    if let Some(credential) = keychain.best(&sources.pull_secrets, repository)? {
        return Ok(Some(credential));
    }
    match &sources.push_secret {
        // What cannot be pushed need not be read: say so, and not that a read without credential
        // was refused.
        Some(secret) if repository == sources.target.repository() => {
            demand(secret, repository, keychain).map(Some)
        }
        Some(secret) => keychain.find(secret, repository),
        None => Ok(None),
    }
}

/// The credential of `secret` for `repository`, which must have one.
fn demand(
    secret: &str,
    repository: &Repository,
    keychain: &Keychain,
) -> Result<Credential, KeychainError> {
    keychain.find(secret, repository)?.ok_or_else(|| KeychainError::NoMatch {
        secret: secret.into(),
        repository: repository.to_string(),
    })
}

fn same(a: Option<&Credential>, b: Option<&Credential>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.secret == b.secret && a.username == b.username,
        _ => false,
    }
}

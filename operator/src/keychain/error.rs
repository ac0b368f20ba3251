//! Why there is no credential.

use super::providers::PluginError;
use crate::registry::Origin;

/// Why a Secret gives no credential.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeychainError {
    /// It is not there.
    #[error(
        "Secret {secret} is not in this namespace: create it with `kubectl create secret docker-registry`"
    )]
    NotFound {
        /// Its name.
        secret: String,
    },
    /// It is of another type.
    #[error(
        "Secret {secret} is of type {found}, not kubernetes.io/dockerconfigjson: create it with `kubectl create secret docker-registry`"
    )]
    WrongType {
        /// Its name.
        secret: String,
        /// Its type.
        found: String,
    },
    /// Its content cannot be read.
    #[error("{origin} is not a usable Docker config file: {why}")]
    Malformed {
        /// The Secret, or the file.
        origin: Origin,
        /// What is wrong, without a word of the content.
        why: String,
    },
    /// It is not there, and certificates were looked for.
    #[error(
        "Secret {secret} is not in this namespace: create it with ca.crt, or tls.crt and tls.key, for spec.registries[].certSecretRef"
    )]
    NoCertificates {
        /// Its name.
        secret: String,
    },
    /// It has no usable certificates.
    #[error("Secret {secret} is of no use for TLS: {why}")]
    BadCertificates {
        /// Its name.
        secret: String,
        /// What is wrong, by the name of its key and without a word of the content.
        why: String,
    },
    /// The ServiceAccount is not there.
    #[error(
        "ServiceAccount {account} is not in this namespace: create it, or take it out of spec.serviceAccountName"
    )]
    NoAccount {
        /// Its name.
        account: String,
    },
    /// The API server does not let the operator read it: its rights on Secrets may be bound namespace by namespace.
    #[error(
        "the operator has no right to read {what} of this namespace: ask its admin for a RoleBinding here that lets it `get` secrets and serviceaccounts"
    )]
    Forbidden {
        /// `Secret push` or `ServiceAccount builder`.
        what: String,
    },
    /// What a ServiceAccount names is nothing's name. The API server does not check it.
    #[error(
        "ServiceAccount {account} has something among its imagePullSecrets that is not the name of a Secret: a-z, 0-9, - and . only"
    )]
    NoName {
        /// The ServiceAccount.
        account: String,
    },
    /// A Secret that a ServiceAccount names.
    #[error("{source} (it is one of ServiceAccount {account}'s imagePullSecrets)")]
    OfAccount {
        /// The ServiceAccount.
        account: String,
        /// What is wrong with the Secret.
        #[source]
        source: Box<KeychainError>,
    },
    /// It has no entry for the repository.
    #[error(
        "Secret {secret} has no credential for {repository}: its auths must have an entry for that host"
    )]
    NoMatch {
        /// Its name.
        secret: String,
        /// The repository.
        repository: String,
    },
    /// The operator's admin lets nobody in this namespace have the operator's credential for it.
    #[error(
        "namespace {namespace} may not use the operator's own credential for {repository}: name a secretRef in the place of provider, or ask the operator's admin for --credential-provider-allow {namespace}={repository}"
    )]
    ProviderNotAllowed {
        /// The namespace.
        namespace: String,
        /// The repository.
        repository: String,
    },
    /// No provider is configured for it.
    #[error(
        "the operator has no credential provider for {repository}: its admin must have it in matchImages of --credential-provider-config"
    )]
    NoProvider {
        /// The repository.
        repository: String,
    },
    /// The provider has none for it.
    #[error("the operator's credential provider {provider} has no credential for {repository}")]
    NoneGiven {
        /// The first that was asked.
        provider: String,
        /// The repository.
        repository: String,
    },
    /// Its plugin failed.
    #[error("the operator's credential provider {provider} gave none for {repository}: {source}")]
    Provider {
        /// The provider.
        provider: String,
        /// The repository.
        repository: String,
        /// Why, without a word of what it printed.
        #[source]
        source: PluginError,
    },
    /// A credential helper of who runs the command failed.
    #[error(
        "the credential helper {helper}, which {file} names, gave none for {server}: {source}; mend it, log in again, or take it out of the file"
    )]
    Helper {
        /// `docker-credential-` and a name.
        helper: String,
        /// The file.
        file: String,
        /// What it was asked for.
        server: String,
        /// Why, without a word of what it printed.
        #[source]
        source: PluginError,
    },
}

impl KeychainError {
    /// The API server does not let the operator read the object of this kind and name.
    pub(super) fn forbidden(kind: &str, name: &str) -> Self {
        Self::Forbidden { what: format!("{kind} {name}") }
    }
}

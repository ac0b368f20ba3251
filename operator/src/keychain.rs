//! Secrets → the credential for a repository, by host equality, then by the longest path prefix; and certificates, and what
//! credential providers give.

mod certificates;
mod config;
mod error;
mod helpers;
pub mod providers;
pub mod user;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{
    Client, Resource,
    api::{GetParams, Request},
};
use serde::de::{DeserializeOwned, Error as _};

use self::{config::Entry, providers::Providers};
use crate::{
    oci::Repository,
    registry::{Credential, tls::Tls},
};

pub use self::{config::DockerConfig, error::KeychainError};

/// The Secrets that one object names, read for one run.
#[derive(Debug, Default)]
pub struct Keychain {
    secrets: HashMap<String, Result<DockerConfig, KeychainError>>,
    certificates: HashMap<String, Result<Arc<Tls>, KeychainError>>,
    account: Option<Account>,
    /// The versions that they were read at; `None` of what is not there.
    versions: BTreeMap<String, Option<String>>,
    provided: HashMap<Repository, Result<Credential, KeychainError>>,
    /// What who runs the command has for each repository, which is used for all of them and in the place of all else.
    of_user: Option<HashMap<Repository, Result<Option<Credential>, KeychainError>>>,
}

/// The ServiceAccount that an object names.
#[derive(Debug)]
struct Account {
    name: String,
    /// Its `imagePullSecrets`, or why they cannot be told.
    secrets: Result<Vec<String>, KeychainError>,
}

/// What a GET of an object gave.
enum Got<K> {
    Found(K),
    Absent,
    Forbidden,
}

impl Keychain {
    /// Reads the Secrets called `names` in `namespace`, and those that the ServiceAccount called `account` pulls
    /// with, one GET each. What is absent or unusable is remembered as such; only an API server
    /// that does not answer is an error.
    pub async fn load(
        client: &Client,
        namespace: &str,
        names: &BTreeSet<String>,
        account: Option<&str>,
    ) -> Result<Self, kube::Error> {
        let account = match account {
            Some(name) => Some(Account::read(client, namespace, name).await?),
            None => None,
        };
        let of_account = account.iter().flat_map(|account| account.secrets.iter().flatten());
        let names: BTreeSet<&String> = names.iter().chain(of_account).collect();
        let read = names.into_iter().map(|name| async {
            let got = get(client, namespace, name).await?;
            let version = version(&got);
            let config = match got {
                Got::Found(secret) => DockerConfig::of(name, &secret),
                Got::Absent => Err(KeychainError::NotFound { secret: name.clone() }),
                Got::Forbidden => Err(KeychainError::forbidden("Secret", name)),
            };
            Ok::<_, kube::Error>((name.clone(), config, version))
        });
        let read = try_join_all(read).await?;
        let mut keychain = Self { account, ..Self::default() };
        for (name, config, version) in read {
            keychain.versions.insert(name.clone(), version);
            keychain.secrets.insert(name, config);
        }
        Ok(keychain)
    }

    /// Another number where a Secret is another one, came or went since.
    #[must_use]
    pub fn state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.versions.hash(&mut hasher);
        hasher.finish()
    }

    /// The same with what `providers` give an object in `namespace` for `repositories`. What they do not give is remembered
    /// as such.
    pub async fn ask(
        mut self,
        providers: &Providers,
        namespace: &str,
        repositories: impl IntoIterator<Item = &Repository>,
    ) -> Self {
        let now = Instant::now();
        let ask = |repository| async move {
            let given = providers.credential(namespace, repository, now).await;
            (repository.clone(), given)
        };
        self.provided = join_all(repositories.into_iter().map(ask)).await.into_iter().collect();
        self
    }

    /// What was given for `repository`, for which the providers were asked.
    pub fn provided(&self, repository: &Repository) -> Result<Credential, KeychainError> {
        match self.provided.get(repository) {
            Some(given) => given.clone(),
            None => Err(KeychainError::NoProvider { repository: repository.to_string() }),
        }
    }

    /// What who runs the command has for `repository`; `None` where an object's Secrets are read.
    #[must_use]
    pub fn of_user(
        &self,
        repository: &Repository,
    ) -> Option<Result<Option<Credential>, KeychainError>> {
        let known = self.of_user.as_ref()?;
        Some(known.get(repository).cloned().unwrap_or(Ok(None)))
    }

    /// The credential that the Secret called `secret` has for `repository`, if any.
    pub fn find(
        &self,
        secret: &str,
        repository: &Repository,
    ) -> Result<Option<Credential>, KeychainError> {
        Ok(self.config(secret)?.find(repository).map(|entry| entry.credential.clone()))
    }

    /// The best credential that any of `secrets` has for `repository`: the longest path prefix,
    /// and among equals the first.
    pub fn best(
        &self,
        secrets: &[String],
        repository: &Repository,
    ) -> Result<Option<Credential>, KeychainError> {
        let mut best: Option<&Entry> = None;
        for secret in secrets {
            let found = self.config(secret)?.find(repository);
            let longer = |entry: &&Entry| {
                best.is_none_or(|best| entry.place.path().len() > best.place.path().len())
            };
            if found.as_ref().is_some_and(longer) {
                best = found;
            }
        }
        Ok(best.map(|entry| entry.credential.clone()))
    }

    /// The best credential that the ServiceAccount's Secrets have for `repository`; `None` where the object names no
    /// ServiceAccount, too.
    pub fn of_account(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        let Some(Account { name, secrets }) = &self.account else { return Ok(None) };
        let secrets = secrets.as_ref().map_err(Clone::clone)?;
        self.best(secrets, repository).map_err(|source| KeychainError::OfAccount {
            account: name.clone(),
            source: Box::new(source),
        })
    }

    fn config(&self, secret: &str) -> Result<&DockerConfig, KeychainError> {
        match self.secrets.get(secret) {
            Some(config) => config.as_ref().map_err(Clone::clone),
            None => Err(KeychainError::NotFound { secret: secret.into() }),
        }
    }

    /// A keychain of `secrets`, for tests of what uses one.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with(secrets: HashMap<String, Result<DockerConfig, KeychainError>>) -> Self {
        Self { secrets, ..Self::default() }
    }

    /// The same, with a ServiceAccount that has these `imagePullSecrets`, or is not there.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_account(self, name: &str, secrets: Option<&[&str]>) -> Self {
        let absent = KeychainError::NoAccount { account: name.into() };
        let names = |secrets: &[&str]| secrets.iter().map(|&name| name.into()).collect();
        let secrets = secrets.map(names).ok_or(absent);
        Self { account: Some(Account { name: name.into(), secrets }), ..self }
    }

    /// The same, of who runs the command.
    #[cfg(test)]
    pub(crate) fn with_user(
        self,
        known: impl IntoIterator<Item = (Repository, Result<Option<Credential>, KeychainError>)>,
    ) -> Self {
        Self { of_user: Some(known.into_iter().collect()), ..self }
    }

    /// The same, with what providers gave.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_provided(
        self,
        given: impl IntoIterator<Item = (Repository, Result<Credential, KeychainError>)>,
    ) -> Self {
        Self { provided: given.into_iter().collect(), ..self }
    }
}

impl Account {
    async fn read(client: &Client, namespace: &str, name: &str) -> Result<Self, kube::Error> {
        let names = |account: ServiceAccount| {
            let secrets = account.image_pull_secrets.unwrap_or_default();
            secrets.into_iter().map(|secret| secret.name).filter(|name| !name.is_empty()).collect()
        };
        let secrets = match get(client, namespace, name).await? {
            Got::Found(account) => Some(names(account))
                .filter(|secrets: &Vec<String>| secrets.iter().all(|name| is_name(name)))
                .ok_or_else(|| KeychainError::NoName { account: name.into() }),
            Got::Absent => Err(KeychainError::NoAccount { account: name.into() }),
            Got::Forbidden => Err(KeychainError::forbidden("ServiceAccount", name)),
        };
        Ok(Self { name: name.into(), secrets })
    }
}

/// Whether an object may be called so: a DNS subdomain (RFC 1123).
pub(crate) fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().all(|byte| word(byte) || byte == b'-')
            && label.bytes().next().is_some_and(word)
            && label.bytes().last().is_some_and(word)
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Reads one object of `namespace`. The bytes are parsed here and not by the client, which logs those that it cannot
/// parse: they may be a Secret's. Nor does an error quote them.
async fn get<K>(client: &Client, namespace: &str, name: &str) -> Result<Got<K>, kube::Error>
where
    K: DeserializeOwned + Resource<DynamicType = ()>,
{
    // It would become another path, which may lead out of the namespace.
    if !is_name(name) {
        return Ok(Got::Absent);
    }
    let path = Request::new(K::url_path(&(), Some(namespace)));
    let request = path.get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
    match client.request_text(request).await {
        Ok(json) => serde_json::from_str(&json).map(Got::Found).map_err(|_| {
            let what = format!("the API server's answer is no {} called {name}", K::kind(&()));
            kube::Error::SerdeError(serde_json::Error::custom(what))
        }),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Got::Absent),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Got::Forbidden),
        Err(error) => Err(error),
    }
}

/// What tells a Secret from what it was: also from one of the same name, since versions are the cluster's.
fn version(got: &Got<Secret>) -> Option<String> {
    match got {
        Got::Found(secret) => Some(secret.metadata.resource_version.clone().unwrap_or_default()),
        Got::Absent => None,
        Got::Forbidden => Some("forbidden".into()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::oci::Reference;

    fn repository(text: &str) -> Repository {
        format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
    }

    fn config(secret: &str, place: &str) -> Result<DockerConfig, KeychainError> {
        let file = serde_json::json!({"auths": {place: {"username": "u", "password": "p"}}});
        DockerConfig::parse(secret, file.to_string().as_bytes())
    }

    #[rstest]
    #[case("push", true)]
    #[case("push.example-1.com", true)]
    #[case(&"a".repeat(253), true)]
    #[case(&"a".repeat(254), false)]
    #[case("", false)]
    #[case(".", false)]
    #[case("..", false)]
    #[case("a/b", false)]
    #[case("../../other/secrets/push", false)]
    #[case("a%2fb", false)]
    #[case("a?b", false)]
    #[case("a#b", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("A", false)]
    #[case("a b", false)]
    fn names(#[case] name: &str, #[case] is: bool) {
        assert_eq!(is_name(name), is);
    }

    #[test]
    fn takes_the_best_of_several_secrets_and_the_first_among_equals() {
        let keychain = Keychain::with(HashMap::from([
            ("one".into(), config("one", "r.io")),
            ("two".into(), config("two", "r.io/team")),
            ("three".into(), config("three", "r.io/team")),
        ]));
        let names = ["one".into(), "two".into(), "three".into()];
        let best = keychain.best(&names, &repository("r.io/team/app")).unwrap().unwrap();
        assert_eq!(best.origin.secret(), Some("two"));
        assert!(keychain.best(&names, &repository("other.io/a")).unwrap().is_none());
        let gone = keychain.best(&["four".into()], &repository("r.io/a")).unwrap_err();
        assert_eq!(gone, KeychainError::NotFound { secret: "four".into() });
    }
}

//! Secrets → the credential for a repository, by host equality, then by the longest path prefix; and certificates.

mod certificates;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    oci::{Repository, reference::canonical_host},
    registry::{Credential, tls::Tls},
};

/// The annotation by which a Secret trusts a token realm of another origin: who writes the Secret
/// owns the credential.
const TOKEN_REALM: &str = "multiarch.dev/token-realm";

/// The Secrets that one object names, read for one run.
#[derive(Debug, Default)]
pub struct Keychain {
    secrets: HashMap<String, Result<DockerConfig, KeychainError>>,
    certificates: HashMap<String, Result<Arc<Tls>, KeychainError>>,
}

/// The credentials of one Secret.
#[derive(Debug, Default)]
pub struct DockerConfig {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    host: String,
    path: String,
    credential: Credential,
}

/// A Docker config file, as far as it is read.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: HashMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    /// Base64 of `user:password`.
    #[serde(default, rename = "auth")]
    pair: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

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
    #[error("Secret {secret} is not a usable Docker config file: {why}")]
    Malformed {
        /// Its name.
        secret: String,
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
}

impl Keychain {
    /// Reads the Secrets called `names` in `namespace`, one GET each. A Secret that is absent or
    /// unusable is remembered as such; only an API server that does not answer is an error.
    pub async fn load(
        client: &Client,
        namespace: &str,
        names: &BTreeSet<String>,
    ) -> Result<Self, kube::Error> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let read = names.iter().map(|name| async {
            let config = match api.get_opt(name).await? {
                Some(secret) => DockerConfig::of(name, &secret),
                None => Err(KeychainError::NotFound { secret: name.clone() }),
            };
            Ok::<_, kube::Error>((name.clone(), config))
        });
        let secrets = try_join_all(read).await?.into_iter().collect();
        Ok(Self { secrets, certificates: HashMap::new() })
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
            if found.is_some_and(|entry| best.is_none_or(|best| entry.path.len() > best.path.len()))
            {
                best = found;
            }
        }
        Ok(best.map(|entry| entry.credential.clone()))
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
        Self { secrets, certificates: HashMap::new() }
    }
}

impl DockerConfig {
    /// The credentials of `secret`.
    pub fn of(name: &str, secret: &Secret) -> Result<Self, KeychainError> {
        let found = secret.type_.as_deref().unwrap_or("Opaque");
        let data = |key: &str| {
            let data = secret.data.as_ref().and_then(|data| data.get(key));
            data.ok_or_else(|| malformed(name, &format!("the key {key} is absent")))
        };
        let mut config = match found {
            "kubernetes.io/dockerconfigjson" => Self::parse(name, &data(".dockerconfigjson")?.0)?,
            // What the other one was before it had `auths`.
            "kubernetes.io/dockercfg" => {
                Self::of_logins(name, read(name, &data(".dockercfg")?.0)?)?
            }
            _ => return Err(KeychainError::WrongType { secret: name.into(), found: found.into() }),
        };
        let annotations = secret.metadata.annotations.as_ref();
        let realm = annotations.and_then(|annotations| annotations.get(TOKEN_REALM));
        for entry in &mut config.entries {
            entry.credential.token_realm = realm.cloned();
        }
        Ok(config)
    }

    /// The credentials of a Docker config file. Credential helpers that it names are never run.
    pub fn parse(secret: &str, json: &[u8]) -> Result<Self, KeychainError> {
        let File { auths } = read(secret, json)?;
        Self::of_logins(secret, auths)
    }

    fn of_logins(secret: &str, logins: HashMap<String, Login>) -> Result<Self, KeychainError> {
        let mut entries = Vec::with_capacity(logins.len());
        for (key, login) in logins {
            // A key that names no host is for no repository.
            let Some((host, path)) = place(&key) else { continue };
            let (username, password) = if login.pair.is_empty() {
                (login.username, login.password)
            } else {
                let why = || {
                    malformed(secret, &format!("the auth of {host} is not base64 of user:password"))
                };
                decode(&login.pair).ok_or_else(why)?
            };
            // Docker leaves an empty entry where a credential helper has the password.
            if username.is_empty() && password.is_empty() {
                continue;
            }
            let password = SecretString::from(password);
            let secret = secret.to_owned();
            let credential = Credential { secret, username, password, token_realm: None };
            entries.push(Entry { host, path, credential });
        }
        // A map has no order: the longest path first, so that the first match is the best one.
        entries.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then_with(|| a.path.cmp(&b.path)));
        Ok(Self { entries })
    }

    fn find(&self, repository: &Repository) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            entry.host == repository.host() && is_prefix(&entry.path, repository.path())
        })
    }
}

/// Host and path that a key of `auths` is for: `https://index.docker.io/v1/` is all of `docker.io`.
fn place(key: &str) -> Option<(String, String)> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_matches('/');
    let path = if path == "v1" || path == "v2" { "" } else { path };
    Some((canonical_host(host).ok()?, path.to_owned()))
}

/// Whether `prefix` is `path` or a parent of it, by whole segments.
fn is_prefix(prefix: &str, path: &str) -> bool {
    prefix.is_empty()
        || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn read<T: DeserializeOwned>(secret: &str, json: &[u8]) -> Result<T, KeychainError> {
    serde_json::from_slice(json).map_err(|e| {
        malformed(secret, &format!("not the JSON of a Docker config file, line {}", e.line()))
    })
}

fn decode(auth: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = plain.split_once(':')?;
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

fn malformed(secret: &str, why: &str) -> KeychainError {
    KeychainError::Malformed { secret: secret.into(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::oci::Reference;

    fn repository(text: &str) -> Repository {
        format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
    }

    fn config(keys: &[&str]) -> DockerConfig {
        let auths: serde_json::Map<_, _> = keys
            .iter()
            .map(|key| ((*key).to_owned(), serde_json::json!({"username": key, "password": "p"})))
            .collect();
        let file =
            serde_json::json!({"auths": auths, "credsStore": "evil", "credHelpers": {"a": "b"}});
        DockerConfig::parse("s", file.to_string().as_bytes()).unwrap()
    }

    #[rstest]
    #[case::host(&["r.example.com"], "r.example.com/a", Some("r.example.com"))]
    #[case::host_with_port(&["r.example.com", "r.example.com:5000"], "r.example.com:5000/a", Some("r.example.com:5000"))]
    #[case::port_differs(&["r.example.com:5000"], "r.example.com/a", None)]
    #[case::never_by_prefix_of_the_name(&["r.example.com"], "r.example.com.evil.tld/a", None)]
    #[case::never_by_suffix(&["example.com"], "r.example.com/a", None)]
    #[case::longest_path(&["r.io", "r.io/team", "r.io/team/app"], "r.io/team/app", Some("r.io/team/app"))]
    #[case::whole_segments(&["r.io/te", "r.io"], "r.io/team/app", Some("r.io"))]
    #[case::other_path(&["r.io/other"], "r.io/team/app", None)]
    #[case::hub_v1(&["https://index.docker.io/v1/"], "docker.io/library/debian", Some("https://index.docker.io/v1/"))]
    #[case::hub_by_registry(&["registry-1.docker.io"], "docker.io/acme/app", Some("registry-1.docker.io"))]
    #[case::scheme(&["https://r.io/"], "r.io/a", Some("https://r.io/"))]
    #[case::upper_case(&["R.IO"], "r.io/a", Some("R.IO"))]
    fn finds_the_credential_for(
        #[case] keys: &[&str],
        #[case] of: &str,
        #[case] user: Option<&str>,
    ) {
        let config = config(keys);
        let found = config.find(&repository(of)).map(|entry| entry.credential.username.as_str());
        assert_eq!(found, user);
    }

    #[test]
    fn takes_the_best_of_several_secrets_and_the_first_among_equals() {
        let keychain = Keychain::with(HashMap::from([
            ("one".into(), Ok(config(&["r.io"]))),
            ("two".into(), Ok(config(&["r.io/team"]))),
            ("three".into(), Ok(config(&["r.io/team"]))),
        ]));
        let names = ["one".into(), "two".into(), "three".into()];
        let best = keychain.best(&names, &repository("r.io/team/app")).unwrap().unwrap();
        assert_eq!(best.username, "r.io/team");
        assert!(keychain.best(&names, &repository("other.io/a")).unwrap().is_none());
        let gone = keychain.best(&["four".into()], &repository("r.io/a")).unwrap_err();
        assert_eq!(gone, KeychainError::NotFound { secret: "four".into() });
    }

    #[test]
    fn reads_auth_as_docker_writes_it() {
        let auth = STANDARD.encode("user:pa:ss");
        let json = format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#);
        let config = DockerConfig::parse("s", json.as_bytes()).unwrap();
        let credential = &config.find(&repository("r.io/a")).unwrap().credential;
        assert_eq!(credential.username, "user");
        assert_eq!(credential.password.expose_secret(), "pa:ss");
    }

    #[rstest]
    #[case::not_json("{", "not the JSON of a Docker config file, line 1")]
    #[case::not_base64(r#"{"auths":{"r.io":{"auth":"%%%"}}}"#, "the auth of r.io is not base64")]
    fn refuses(#[case] json: &str, #[case] why: &str) {
        let error = DockerConfig::parse("push", json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("Secret push"), "{error}");
    }

    #[test]
    fn refuses_other_types_and_absent_keys() {
        let opaque = Secret { type_: Some("kubernetes.io/basic-auth".into()), ..Secret::default() };
        let error = DockerConfig::of("push", &opaque).unwrap_err();
        assert!(matches!(error, KeychainError::WrongType { .. }), "{error}");
        let of = |type_: &str, data: &[(&str, &str)]| {
            let data =
                data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())));
            Secret { type_: Some(type_.into()), data: Some(data.collect()), ..Secret::default() }
        };
        let absent = of("kubernetes.io/dockerconfigjson", &[("config.json", "{}")]);
        assert!(DockerConfig::of("push", &absent).unwrap_err().to_string().contains("absent"));
        let entry = r#"{"r.io":{"username":"u","password":"p"},"other.io":{}}"#;
        let new = of(
            "kubernetes.io/dockerconfigjson",
            &[(".dockerconfigjson", &format!(r#"{{"auths":{entry}}}"#))],
        );
        let old = of("kubernetes.io/dockercfg", &[(".dockercfg", entry)]);
        let realm = "https://gitlab.example.com/jwt/auth";
        let mut trusting = new.clone();
        trusting.metadata.annotations = Some([(TOKEN_REALM.into(), realm.into())].into());
        let config = DockerConfig::of("push", &trusting).unwrap();
        assert_eq!(config.entries[0].credential.token_realm.as_deref(), Some(realm));
        for secret in [new, old] {
            let config = DockerConfig::of("push", &secret).unwrap();
            assert_eq!(config.entries.len(), 1, "an entry without user and password is none");
            assert!(config.find(&repository("r.io/a")).is_some());
        }
    }

    #[test]
    fn shows_no_password() {
        let shown = format!("{:?}", config(&["r.io"]));
        assert!(shown.contains("Credential") && !shown.contains("\"p\""), "{shown}");
    }
}

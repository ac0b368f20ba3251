//! Docker config files: which credential is found for which repository.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::is_shown;
use crate::{
    keychain::{DockerConfig, Keychain, KeychainError},
    oci::{Reference, Repository, reference::canonical_host},
    registry::{Credential, Proof},
};

const NAME: &str = "push";
const REALM: &str = "https://auth.example.com/token";

/// A file, read in both of its formats.
pub(super) fn dockerconfig(bytes: &[u8]) {
    // What is skipped unread need not be UTF-8, and then what there is cannot be told here.
    let root: Option<Value> = serde_json::from_slice(bytes).ok();
    let secret = |type_: &str, key: &str| {
        let mut secret = Secret { type_: Some(type_.into()), ..Secret::default() };
        secret.data = Some(BTreeMap::from([(key.to_owned(), ByteString(bytes.to_vec()))]));
        let annotation = ("multiarch.dev/token-realm".to_owned(), REALM.to_owned());
        secret.metadata.annotations = Some(BTreeMap::from([annotation]));
        secret
    };
    let new = secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
    check(root.as_ref().map(|root| &root["auths"]), || DockerConfig::of(NAME, &new));
    let old = secret("kubernetes.io/dockercfg", ".dockercfg");
    check(root.as_ref(), || DockerConfig::of(NAME, &old));
}

fn check(logins: Option<&Value>, read: impl Fn() -> Result<DockerConfig, KeychainError>) {
    let config = match read() {
        Ok(config) => config,
        Err(error) => {
            let message = error.to_string();
            is_shown(&message, 1024);
            return shows_none_of(logins, &message);
        }
    };
    shows_none_of(logins, &format!("{config:?}"));
    let Some(logins) = logins else { return };
    let none = serde_json::Map::new();
    let logins = logins.as_object().unwrap_or(&none);
    let keychain = [config, read().expect("read once more")]
        .map(|config| Keychain::with(HashMap::from([(NAME.to_owned(), Ok(config))])));
    for repository in repositories(logins) {
        let [found, again] = keychain.each_ref().map(|keychain| {
            keychain.find(NAME, &repository).expect("the Secret is there").map(|found| {
                assert_eq!(
                    (found.origin.secret(), found.token_realm.as_deref()),
                    (Some(NAME), Some(REALM))
                );
                proof(&found)
            })
        });
        assert_eq!(found, again, "for {repository} each time the same");
        // The best are those with the longest path, of those for the host and a whole part of the path.
        let fits = logins.iter().filter_map(|(key, login)| {
            Some((place(key)?, told(login)?)).filter(|((host, path), _)| {
                *host == repository.host() && is_below(repository.path(), path)
            })
        });
        let fits: Vec<_> = fits.collect();
        let longest = fits.iter().map(|((_, path), _)| path.len()).max();
        let best = fits.iter().filter(|((_, path), _)| Some(path.len()) == longest);
        let best: Vec<_> = best.map(|(_, proof)| proof).collect();
        match &found {
            Some(found) => assert!(best.contains(&found), "{found:?} is not for {repository}"),
            None => assert!(best.is_empty(), "{best:?} is for {repository}"),
        }
    }
}

/// Where a credential may be wanted: at the keys' own places, below them, and at hosts that look like theirs.
fn repositories(logins: &serde_json::Map<String, Value>) -> BTreeSet<Repository> {
    let mut names: Vec<_> =
        ["debian", "r.io/a", "r.io:5000/team/app", "evil.tld/a"].map(String::from).into();
    for (host, path) in logins.keys().take(8).filter_map(|key| place(key)) {
        for host in [&host, &format!("x{host}"), &format!("{host}.evil.tld"), &format!("{host}0")] {
            names.extend([
                format!("{host}/a"),
                format!("{host}/{path}"),
                format!("{host}/{path}/a"),
            ]);
            names.push(format!("{host}/{path}a"));
        }
    }
    let parsed = names.into_iter().filter_map(|name| format!("{name}:x").parse::<Reference>().ok());
    parsed.map(|reference| reference.repository().clone()).collect()
}

/// The host and the path of a key, said again here in the fewest words.
fn place(key: &str) -> Option<(String, String)> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_matches('/');
    Some((canonical_host(host).ok()?, if matches!(path, "v1" | "v2") { "" } else { path }.into()))
}

fn is_below(path: &str, prefix: &str) -> bool {
    prefix.is_empty() || path == prefix || path.starts_with(&format!("{prefix}/"))
}

/// What a login says, as [`proof`] tells it.
fn told(login: &Value) -> Option<String> {
    let of = |key: &str| login[key].as_str().unwrap_or_default().to_owned();
    let (mut user, mut password) = (of("username"), of("password"));
    if !of("auth").is_empty() {
        let pair = String::from_utf8(STANDARD.decode(of("auth").trim()).ok()?).ok()?;
        let (left, right) = pair.split_once(':')?;
        (user, password) = (left.into(), right.trim_end_matches('\0').into());
    }
    if !of("registrytoken").is_empty() {
        return Some(format!("registry {}", of("registrytoken")));
    }
    if !of("identitytoken").is_empty() {
        let user = if user.is_empty() { "<token>" } else { &user };
        return Some(format!("identity {user} {}", of("identitytoken")));
    }
    (!user.is_empty() || !password.is_empty()).then(|| format!("password {user} {password}"))
}

fn proof(credential: &Credential) -> String {
    match &credential.proof {
        Proof::Password { username, password } => {
            format!("password {username} {}", password.expose_secret())
        }
        Proof::IdentityToken { username, token } => {
            format!("identity {username} {}", token.expose_secret())
        }
        Proof::RegistryToken(token) => format!("registry {}", token.expose_secret()),
    }
}

/// Neither a message nor a `Debug` has a user's name, a password or a token.
fn shows_none_of(logins: Option<&Value>, shown: &str) {
    let logins = logins.and_then(Value::as_object);
    // Where it is to be used is no secret, and may be the same word.
    let keys: String = logins.iter().flat_map(|logins| logins.keys().cloned()).collect();
    let all = logins.into_iter().flat_map(|logins| logins.values());
    let secrets = all.filter_map(Value::as_object).flat_map(|login| login.values());
    for secret in secrets.filter_map(Value::as_str).filter(|secret| secret.len() >= 12) {
        assert!(!shown.contains(secret) || keys.contains(secret), "{shown} shows {secret}");
    }
}

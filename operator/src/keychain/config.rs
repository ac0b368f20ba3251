//! pure: a Docker config file → the credentials that it has, each for a host and a path.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde::{Deserialize, de::DeserializeOwned};

use super::KeychainError;
use crate::{
    oci::{Prefix, Repository},
    registry::{Credential, Origin, Proof},
};

/// The annotation by which a Secret trusts a token realm of another origin: who writes the Secret
/// owns the credential.
const TOKEN_REALM: &str = "multiarch.dev/token-realm";

/// The name that goes with a token in the place of a password, where the file has none: Docker's.
pub(super) const TOKEN_USER: &str = "<token>";

/// The credentials of one Secret.
#[derive(Debug, Default)]
pub struct DockerConfig {
    entries: Vec<Entry>,
}

/// The credential for one place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Prefix,
    pub(super) credential: Credential,
}

/// A Docker config file, as far as it is read.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
    /// What asks for the credential of a place. In a Secret, what names one is not run.
    #[serde(default, rename = "credHelpers")]
    pub(super) helpers: BTreeMap<String, String>,
    /// What asks for all others.
    #[serde(default, rename = "credsStore")]
    pub(super) store: String,
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
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

impl DockerConfig {
    /// The credentials of `secret`.
    pub fn of(name: &str, secret: &Secret) -> Result<Self, KeychainError> {
        let found = secret.type_.as_deref().unwrap_or("Opaque");
        let data = |key: &str| {
            let data = secret.data.as_ref().and_then(|data| data.get(key));
            let absent = || format!("the key {key} is absent");
            data.ok_or_else(|| malformed(&Origin::Secret(name.into()), &absent()))
        };
        let mut config = match found {
            "kubernetes.io/dockerconfigjson" => Self::parse(name, &data(".dockerconfigjson")?.0)?,
            // What the other one was before it had `auths`.
            "kubernetes.io/dockercfg" => {
                let origin = Origin::Secret(name.into());
                Self::of_logins(&origin, read(&origin, &data(".dockercfg")?.0)?)?
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
        let origin = Origin::Secret(secret.into());
        let File { auths, .. } = read(&origin, json)?;
        Self::of_logins(&origin, auths)
    }

    /// The credentials in the file of who runs the command, and what asks for others.
    pub(super) fn of_file(shown: &str, json: &[u8]) -> Result<(Self, File), KeychainError> {
        let origin = Origin::File(shown.into());
        let mut file: File = read(&origin, json)?;
        let logins = Self::of_logins(&origin, std::mem::take(&mut file.auths))?;
        Ok((logins, file))
    }

    fn of_logins(origin: &Origin, logins: BTreeMap<String, Login>) -> Result<Self, KeychainError> {
        let mut entries = Vec::with_capacity(logins.len());
        for (key, login) in logins {
            // A key that names no host, or what is no repository's path, is for no repository: nor is it shown.
            let Some(place) = place(&key) else { continue };
            let why = || {
                malformed(origin, &format!("the auth of {place} is not base64 of user:password"))
            };
            let Some(proof) = login.proof().map_err(|_| why())? else { continue };
            let credential = Credential { origin: origin.clone(), proof, token_realm: None };
            entries.push(Entry { place, credential });
        }
        // The longest path first, so that the first match is the best one. Of two keys for one place it is always
        // the first by its letters, and not now this one and now that.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.place.path().len()));
        Ok(Self { entries })
    }

    pub(super) fn find(&self, repository: &Repository) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.place.covers(repository))
    }
}

/// An `auth` that is not what it should be.
struct NotBase64;

impl Login {
    /// What proves who asks, the most specific first, as Docker chooses. `None` where there is nothing: Docker
    /// leaves an empty entry where a credential helper has the password.
    fn proof(self) -> Result<Option<Proof>, NotBase64> {
        let (username, password) = if self.pair.is_empty() {
            (self.username, self.password)
        } else {
            decode(&self.pair).ok_or(NotBase64)?
        };
        Ok(if !self.registry_token.is_empty() {
            Some(Proof::RegistryToken(self.registry_token.into()))
        } else if !self.identity_token.is_empty() {
            let username = if username.is_empty() { TOKEN_USER.into() } else { username };
            Some(Proof::IdentityToken { username, token: self.identity_token.into() })
        } else if username.is_empty() && password.is_empty() {
            None
        } else {
            Some(Proof::Password { username, password: password.into() })
        })
    }
}

/// What a key of `auths` is for: `https://index.docker.io/v1/` is all of `docker.io`.
pub(super) fn place(key: &str) -> Option<Prefix> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_matches('/');
    let path = if path == "v1" || path == "v2" { "" } else { path };
    Prefix::new(host, path).ok()
}

fn read<T: DeserializeOwned>(origin: &Origin, json: &[u8]) -> Result<T, KeychainError> {
    serde_json::from_slice(json).map_err(|e| {
        malformed(origin, &format!("not the JSON of a Docker config file, line {}", e.line()))
    })
}

fn decode(auth: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = plain.split_once(':')?;
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

pub(super) fn malformed(origin: &Origin, why: &str) -> KeychainError {
    KeychainError::Malformed { origin: origin.clone(), why: why.into() }
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

    fn username(credential: &Credential) -> &str {
        match &credential.proof {
            Proof::Password { username, .. } | Proof::IdentityToken { username, .. } => username,
            Proof::RegistryToken(_) => "",
        }
    }

    /// What `config` has for `r.io/a`.
    fn shown(config: &DockerConfig) -> String {
        let Some(entry) = config.find(&repository("r.io/a")) else { return "nothing".into() };
        match &entry.credential.proof {
            Proof::Password { username, password } => {
                format!("password {username} {}", password.expose_secret())
            }
            Proof::IdentityToken { username, token } => {
                format!("identity {username} {}", token.expose_secret())
            }
            Proof::RegistryToken(token) => format!("registry {}", token.expose_secret()),
        }
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
    #[case::hub_by_its_name(&["docker.io/acme", "index.docker.io"], "docker.io/acme/app", Some("docker.io/acme"))]
    #[case::hubs_paths_are_of_the_api(&["https://index.docker.io/v1/acme"], "docker.io/acme/app", None)]
    #[case::scheme_and_path(&["https://r.io/team/", "r.io"], "r.io/team/app", Some("https://r.io/team/"))]
    #[case::default_port(&["https://r.io:443"], "r.io/a", Some("https://r.io:443"))]
    #[case::other_port_by_number(&["r.io:5000"], "r.io:50001/a", None)]
    #[case::the_port_of_another_host(&["registry.example.com:443@evil.tld"], "evil.tld/a", None)]
    #[case::nor_of_itself(&["registry.example.com:443@evil.tld"], "registry.example.com/a", None)]
    #[case::credential_in_a_url(&["https://user:pass@r.io"], "r.io/a", None)]
    #[case::user_in_a_url(&["https://r.io@evil.tld/"], "evil.tld/a", None)]
    #[case::no_globs(&["*.io"], "r.io/a", None)]
    #[case::query(&["https://r.io?x"], "r.io/a", None)]
    #[case::no_way_up(&["r.io/other/../team"], "r.io/team/app", None)]
    #[case::trailing_dot(&["r.io."], "r.io/a", None)]
    #[case::no_path_of_a_repository(&["r.io/a\n\u{1b}[31m", "r.io/a?token=x", "r.io/A"], "r.io/a", None)]
    #[case::two_names_of_one_place(&["index.docker.io", "docker.io"], "docker.io/acme/app", Some("docker.io"))]
    #[case::the_other_way_round(&["docker.io", "index.docker.io"], "docker.io/acme/app", Some("docker.io"))]
    fn finds_the_credential_for(
        #[case] keys: &[&str],
        #[case] of: &str,
        #[case] user: Option<&str>,
    ) {
        let config = config(keys);
        let found = config.find(&repository(of)).map(|entry| username(&entry.credential));
        assert_eq!(found, user);
    }

    #[test]
    fn reads_auth_as_docker_writes_it() {
        let auth = STANDARD.encode("user:pa:ss");
        let json = format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#);
        let config = DockerConfig::parse("s", json.as_bytes()).unwrap();
        assert_eq!(shown(&config), "password user pa:ss");
    }

    #[rstest]
    #[case::pair(r#"{"auth":"dTpw"}"#, "password u p")]
    #[case::apart(r#"{"username":"u","password":"p"}"#, "password u p")]
    #[case::pair_first(r#"{"auth":"dTpw","username":"x","password":"y"}"#, "password u p")]
    #[case::identity(r#"{"identitytoken":"t"}"#, "identity <token> t")]
    // What `az acr login` writes: a name, and no password.
    #[case::identity_and_name(r#"{"auth":"MDAwMDo=","identitytoken":"t"}"#, "identity 0000 t")]
    #[case::registry(r#"{"registrytoken":"t"}"#, "registry t")]
    #[case::most_specific(
        r#"{"auth":"dTpw","identitytoken":"i","registrytoken":"t"}"#,
        "registry t"
    )]
    #[case::helpers(r#"{"email":"a@b.c"}"#, "nothing")]
    fn reads_a_login(#[case] login: &str, #[case] expected: &str) {
        let json = format!(r#"{{"auths":{{"r.io":{login}}}}}"#);
        assert_eq!(shown(&DockerConfig::parse("s", json.as_bytes()).unwrap()), expected);
    }

    #[rstest]
    #[case::not_json("{", "not the JSON of a Docker config file, line 1")]
    #[case::not_base64(r#"{"auths":{"r.io":{"auth":"%%%"}}}"#, "the auth of r.io is not base64")]
    fn refuses(#[case] json: &str, #[case] why: &str) {
        let error = DockerConfig::parse("push", json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("Secret push"), "{error}");
    }

    /// What stands there is its owner's text, and may be a credential in the wrong place.
    #[rstest]
    #[case("r.io/a\\n\\u001b[31m")]
    #[case("r.io/a?token=hunter2")]
    #[case("https://user:hunter2@r.io")]
    fn shows_no_key_that_is_no_place(#[case] key: &str) {
        let json = format!(r#"{{"auths":{{"{key}":{{"auth":"%%%"}}}}}}"#);
        let config = DockerConfig::parse("push", json.as_bytes()).unwrap();
        assert!(config.entries.is_empty(), "{config:?}");
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

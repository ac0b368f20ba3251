//! pure: what a plugin printed → the logins that it gives, each for a pattern, and how long they are kept for what.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::{duration, pattern::Pattern};
use crate::{
    oci::Repository,
    registry::{Credential, Origin, Proof},
};

/// The one key that is for Docker Hub although it is none of its hosts in references.
const DOCKER_HUB: (&str, &str) = ("docker.io", "index.docker.io");

/// A `CredentialProviderResponse`.
pub(super) struct Answer {
    pub(super) logins: Logins,
    pub(super) kept_by: KeptBy,
    /// How long the logins are kept; `None` where the plugin leaves that to its `defaultCacheDuration`.
    pub(super) life: Option<Duration>,
}

/// What an answer is kept for, beside the repository that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum KeptBy {
    /// Nothing.
    Image,
    /// All of its host.
    Registry,
    /// All that the provider is for.
    Global,
}

/// The logins of an answer.
#[derive(Default)]
pub(super) struct Logins(Vec<Login>);

struct Login {
    /// The host and path that it is for, as they are sorted by.
    key: String,
    pattern: Pattern,
    username: String,
    password: SecretString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    api_version: String,
    kind: String,
    cache_key_type: KeptBy,
    #[serde(default)]
    cache_duration: Option<String>,
    #[serde(default)]
    auth: Option<BTreeMap<String, WireLogin>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLogin {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

impl Answer {
    /// Reads what a plugin printed that was asked in `version`. The error completes "what it printed …" without a word of it.
    pub(super) fn parse(printed: &[u8], version: &str) -> Result<Self, &'static str> {
        let wire: Wire = serde_json::from_slice(printed)
            .map_err(|_| "is no CredentialProviderResponse in JSON, with a cacheKeyType")?;
        if wire.kind != "CredentialProviderResponse" {
            return Err("is not of kind CredentialProviderResponse");
        } else if wire.api_version != version {
            return Err("is not of the apiVersion that it was asked in");
        }
        let life = match wire.cache_duration {
            None => None,
            Some(text) => match duration::parse(&text) {
                // One that has ended is not kept.
                Some((negative, life)) => Some(if negative { Duration::ZERO } else { life }),
                None => return Err("has a cacheDuration that is none, such as 12h or 0s"),
            },
        };
        let logins = wire.auth.unwrap_or_default().into_iter().filter_map(Login::of).collect();
        Ok(Self { logins: Logins(logins), kept_by: wire.cache_key_type, life })
    }
}

impl Login {
    /// `None` of a key that is no pattern, which a kubelet passes over, too; and of nobody: ACR's plugin lists that beside its
    /// login, for a kubelet to try last.
    fn of((key, login): (String, WireLogin)) -> Option<Self> {
        if login.username.is_empty() && login.password.is_empty() {
            return None;
        }
        let bare = ["https://", "http://"].into_iter().find_map(|scheme| key.strip_prefix(scheme));
        let bare = bare.unwrap_or(&key);
        let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        // As in a Docker config file: `https://r.io/v2/` is all of `r.io`.
        let version = path.starts_with("/v1/") || path.starts_with("/v2/");
        let path = if version { &path[3..] } else { path };
        let key = format!("{host}{}", if path == "/" { "" } else { path });
        let pattern = Pattern::parse(&key).ok()?;
        Some(Self { key, pattern, username: login.username, password: login.password.into() })
    }
}

impl Logins {
    /// The login for `repository` of what `providers` gave, each with its name: the greatest key, so that longer paths come
    /// before shorter ones and names before globs, and among equals that of the first provider.
    ///
    /// A kubelet tries all of them in this order until one pulls. What pushes is one identity, so it is the first here.
    pub(super) fn best(providers: &[(&str, &Self)], repository: &Repository) -> Option<Credential> {
        let all = || {
            let each = providers.iter().copied();
            each.flat_map(|(name, logins)| logins.0.iter().map(move |login| (name, login)))
        };
        let mut best: Option<(&str, &Login)> = None;
        for (name, login) in all().filter(|(_, login)| login.pattern.is_for(repository)) {
            if best.is_none_or(|(_, best)| login.key > best.key) {
                best = Some((name, login));
            }
        }
        let (host, key) = DOCKER_HUB;
        let of_hub = || all().find(|(_, login)| login.key == key && repository.host() == host);
        let (name, login) = best.or_else(of_hub)?;
        let (username, password) = (login.username.clone(), login.password.clone());
        Some(Credential {
            origin: Origin::Provider(name.into()),
            proof: Proof::Password { username, password },
            token_realm: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::Reference;

    const V1: &str = "credentialprovider.kubelet.k8s.io/v1";

    fn repository(text: &str) -> Repository {
        format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
    }

    fn answer(fields: &Value) -> Value {
        let mut whole = json!({
            "apiVersion": V1, "kind": "CredentialProviderResponse", "cacheKeyType": "Registry",
        });
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        whole
    }

    fn parse(fields: &Value) -> Result<Answer, &'static str> {
        Answer::parse(answer(fields).to_string().as_bytes(), V1)
    }

    #[rstest]
    #[case::nothing(json!({}), KeptBy::Registry, None)]
    #[case::null(json!({"cacheDuration": null, "auth": null}), KeptBy::Registry, None)]
    #[case::image(json!({"cacheKeyType": "Image", "cacheDuration": "0s"}), KeptBy::Image, Some(0))]
    #[case::global(json!({"cacheKeyType": "Global", "cacheDuration": "1h30m"}), KeptBy::Global, Some(5400))]
    #[case::has_ended(json!({"cacheDuration": "-1h"}), KeptBy::Registry, Some(0))]
    fn reads(#[case] fields: Value, #[case] kept_by: KeptBy, #[case] life: Option<u64>) {
        let answer = parse(&fields).ok().unwrap();
        assert_eq!((answer.kept_by, answer.life), (kept_by, life.map(Duration::from_secs)));
    }

    #[rstest]
    #[case::another_version(json!({"apiVersion": "credentialprovider.kubelet.k8s.io/v1beta1"}), "apiVersion")]
    #[case::another_kind(json!({"kind": "CredentialProviderRequest"}), "of kind")]
    #[case::no_key_type(json!({"cacheKeyType": ""}), "cacheKeyType")]
    #[case::another_key_type(json!({"cacheKeyType": "image"}), "cacheKeyType")]
    #[case::a_number(json!({"cacheDuration": 60}), "no CredentialProviderResponse")]
    #[case::no_duration(json!({"cacheDuration": "1 hunter2"}), "cacheDuration")]
    #[case::absurd(json!({"cacheDuration": "99999999999999999999h"}), "cacheDuration")]
    #[case::unknown_field(json!({"hunter2": 1}), "no CredentialProviderResponse")]
    #[case::auth_of_another_form(json!({"auth": {"r.io": "hunter2"}}), "no CredentialProviderResponse")]
    fn refuses(#[case] fields: Value, #[case] why: &str) {
        let said = parse(&fields).err().unwrap();
        assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
    }

    #[rstest]
    #[case::nothing("")]
    #[case::text("login failed for hunter2")]
    #[case::two_answers("{}{}")]
    #[case::half(r#"{"apiVersion": "#)]
    #[case::a_list("[]")]
    fn refuses_what_is_no_json_object(#[case] printed: &str) {
        assert!(Answer::parse(printed.as_bytes(), V1).is_err());
    }

    #[test]
    fn of_several_providers_the_first_of_equals_counts() {
        let logins = |keys: &[(&str, &str)]| {
            let auth = keys.iter().map(|(key, user)| {
                ((*key).to_owned(), json!({"username": user, "password": format!("of {user}")}))
            });
            parse(&json!({"auth": auth.collect::<serde_json::Map<_, _>>()})).ok().unwrap().logins
        };
        let one = logins(&[("*.io", "a"), ("r.io/team", "b")]);
        let two = logins(&[("r.io", "c"), ("r.io/team", "d")]);
        let given = |of: &str| {
            let all = [("one", &one), ("two", &two)];
            let credential = Logins::best(&all, &repository(of))?;
            let Proof::Password { username, password } = credential.proof else { return None };
            assert_eq!(password.expose_secret(), format!("of {username}"));
            Some(format!("{username} of {}", credential.origin))
        };
        assert_eq!(given("r.io/team/app").as_deref(), Some("b of provider one"));
        assert_eq!(given("r.io/other").as_deref(), Some("c of provider two"));
        assert_eq!(given("s.io/other").as_deref(), Some("a of provider one"));
        assert_eq!(given("r.com/other"), None);
    }

    #[test]
    fn nobody_is_no_login() {
        let azure = json!({"auth": {
            "*.azurecr.*": {"username": "", "password": ""},
            "team.azurecr.io": {"username": "00000000-0000-0000-0000-000000000000", "password": "p"},
        }});
        let logins = parse(&azure).ok().unwrap().logins;
        let given = |of: &str| Logins::best(&[("acr", &logins)], &repository(of)).is_some();
        assert!(given("team.azurecr.io/app") && !given("other.azurecr.io/app"));
        // One without a name is a login.
        let logins = parse(&json!({"auth": {"r.io": {"password": "p"}}})).ok().unwrap().logins;
        assert!(Logins::best(&[("one", &logins)], &repository("r.io/app")).is_some());
    }

    /// A kubelet takes what has no dot for a name at Docker Hub, and would send it that login.
    #[test]
    fn docker_hubs_login_is_for_docker_hub() {
        let auth =
            json!({"auth": {"https://index.docker.io/v1/": {"username": "u", "password": "p"}}});
        let logins = parse(&auth).ok().unwrap().logins;
        let given = |of: &str| Logins::best(&[("one", &logins)], &repository(of)).is_some();
        assert!(given("docker.io/library/debian") && !given("localhost/app"));
    }
}

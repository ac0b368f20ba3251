//! pure: the Secrets of an object → who asks for the target and for each source.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    resolve::ResolveError,
    sources::{Source, Sources},
};
use crate::{
    keychain::{Keychain, KeychainError},
    oci::{Repository, reference::api_host},
    registry::{Access, Certificates, Credential, Scope},
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

/// The repositories for which credential providers are asked: where `sources` says so, and where nothing else is for a source and
/// the target's own credential is theirs.
#[must_use]
pub fn provided<'a>(sources: &'a Sources, keychain: &Keychain) -> BTreeSet<&'a Repository> {
    let target = of_target(sources);
    let each = sources.sources.iter().filter(|source| {
        matches!(choose(source, sources, keychain), Ok(Choice::Provider | Choice::ProviderIfAny))
    });
    each.map(|source| source.reference.repository()).chain(target).collect()
}

/// The same for the target alone.
#[must_use]
pub fn of_target(sources: &Sources) -> Option<&Repository> {
    sources.push_provider.then(|| sources.target.repository())
}

/// The Secrets of which `sources` wants the certificates.
#[must_use]
pub fn certificates(sources: &Sources) -> BTreeSet<String> {
    sources.certificates.values().cloned().collect()
}

impl AccessMap {
    /// Chooses credentials: the target's is its own Secret's and no other. A source's is its own
    /// Secret's, else the best of the pull Secrets', else the best of the `ServiceAccount`'s, else the
    /// target's where that has one for the source's repository, else none.
    #[must_use]
    pub fn new(sources: &Sources, keychain: &Keychain) -> Self {
        let repository = sources.target.repository();
        let tls = Held::of(sources, keychain);
        let push = match &sources.push_secret {
            Some(secret) => demand(secret, repository, keychain).map(Some),
            None if sources.push_provider => keychain.provided(repository).map(Some),
            None => Ok(None),
        };
        let access = |repository: &Repository, credential: Option<Credential>, scope| {
            let scopes = vec![scope];
            // The operator's own credential goes where the operator's own CAs vouch for, wherever that leads.
            if credential.as_ref().is_some_and(|credential| credential.origin.secret().is_none()) {
                return Ok(Access { credential, scopes, ..Access::default() });
            }
            Ok(Access {
                credential,
                scopes,
                plain_http: sources.plain_http(repository),
                certificates: tls.for_host(repository.host())?,
            })
        };
        let target =
            push.and_then(|credential| access(repository, credential, Scope::push(repository)));
        let each = sources.sources.iter().map(|source| {
            let repository = source.reference.repository();
            let chosen = choose(source, sources, keychain);
            let access =
                chosen.and_then(|it| it.credential(repository, keychain)).and_then(|credential| {
                    // One token of the target's identity serves its reads and its pushes.
                    let shared = target.as_ref().ok().filter(|target| {
                        sources.target.repository() == repository
                            && same(target.credential.as_ref(), credential.as_ref())
                    });
                    shared
                        .cloned()
                        .map_or_else(|| access(repository, credential, Scope::pull(repository)), Ok)
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

/// The certificates of an object, and those that it should have.
struct Held {
    certificates: Arc<Certificates>,
    /// By the host that the spec names.
    wrong: BTreeMap<String, KeychainError>,
    /// Of a host that is neither the target's nor a source's: any of these may lead there.
    wrong_anywhere: Option<KeychainError>,
}

impl Held {
    fn of(sources: &Sources, keychain: &Keychain) -> Self {
        let references = sources.sources.iter().map(|source| &source.reference);
        let hosts: BTreeSet<_> =
            references.chain([&sources.target]).map(|it| it.repository().host()).collect();
        let (mut certificates, mut wrong) = (BTreeMap::new(), BTreeMap::new());
        let mut wrong_anywhere = None;
        for (host, secret) in &sources.certificates {
            match keychain.certificates(secret) {
                Ok(tls) => drop(certificates.insert(api_host(host).to_owned(), tls)),
                Err(error) if hosts.contains(host.as_str()) => {
                    wrong.insert(host.clone(), error);
                }
                Err(error) => drop(wrong_anywhere.get_or_insert(error)),
            }
        }
        Self { certificates: Arc::new(Certificates::new(certificates)), wrong, wrong_anywhere }
    }

    fn for_host(&self, host: &str) -> Result<Arc<Certificates>, KeychainError> {
        match self.wrong.get(host).or(self.wrong_anywhere.as_ref()) {
            Some(error) => Err(error.clone()),
            None => Ok(Arc::clone(&self.certificates)),
        }
    }
}

/// Who reads a source.
enum Choice {
    /// Whom a Secret names, or nobody.
    Known(Option<Credential>),
    /// Whom the credential providers give.
    Provider,
    /// The same where they are for it and may be asked, else nobody.
    ProviderIfAny,
}

impl Choice {
    fn credential(
        self,
        repository: &Repository,
        keychain: &Keychain,
    ) -> Result<Option<Credential>, KeychainError> {
        use KeychainError as E;
        match (self, keychain.provided(repository)) {
            (Self::Known(credential), _) => Ok(credential),
            (
                Self::ProviderIfAny,
                Err(E::ProviderNotAllowed { .. } | E::NoProvider { .. } | E::NoneGiven { .. }),
            ) => Ok(None),
            (Self::Provider | Self::ProviderIfAny, given) => given.map(Some),
        }
    }
}

fn choose(
    source: &Source,
    sources: &Sources,
    keychain: &Keychain,
) -> Result<Choice, KeychainError> {
    let repository = source.reference.repository();
    if let Some(secret) = &source.secret {
        return demand(secret, repository, keychain).map(Some).map(Choice::Known);
    }
    if source.provider {
        return Ok(Choice::Provider);
    }
    if let Some(credential) = keychain.best(&sources.pull_secrets, repository)? {
        return Ok(Choice::Known(Some(credential)));
    }
    if let Some(credential) = keychain.of_account(repository)? {
        return Ok(Choice::Known(Some(credential)));
    }
    // What cannot be pushed need not be read: say so, and not that a read without credential
    // was refused.
    let is_target = repository == sources.target.repository();
    Ok(match &sources.push_secret {
        Some(secret) if is_target => Choice::Known(Some(demand(secret, repository, keychain)?)),
        Some(secret) => Choice::Known(keychain.find(secret, repository)?),
        None if sources.push_provider && is_target => Choice::Provider,
        // Where the object says how its host is trusted, it means another credential or none.
        None if sources.push_provider && !sources.has_own_tls(repository) => Choice::ProviderIfAny,
        None => Choice::Known(None),
    })
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
        // For one repository a Secret has one credential, and so have the providers.
        (Some(a), Some(b)) => a.origin == b.origin,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, api::core::v1::Secret};
    use multiarch_crds::v1alpha1::{MultiArchImageSpec, SecretRef, Source as Spec, Target};
    use rstest::rstest;

    use super::*;
    use crate::{
        keychain::{DockerConfig, providers::PluginError},
        oci::Reference,
        registry::{Actions, Origin},
    };

    /// Secrets, each with an entry for one place.
    fn keychain(secrets: &[(&str, &str)]) -> Keychain {
        let config = |name: &str, place: &str| {
            let auths = serde_json::json!({place: {"username": name, "password": "p"}});
            DockerConfig::parse(name, serde_json::json!({"auths": auths}).to_string().as_bytes())
        };
        let secrets = secrets.iter().map(|(name, at)| ((*name).into(), config(name, at)));
        Keychain::with(secrets.collect())
    }

    fn sources(push: bool, own: bool, pull: &[&str], image: &str) -> Sources {
        let secret = |name: &str| SecretRef { name: name.into() };
        let spec = MultiArchImageSpec {
            target: Target {
                image: "r.example/team/app:1.0".into(),
                secret_ref: push.then(|| secret("push")),
                ..Target::default()
            },
            sources: vec![Spec {
                name: "x".into(),
                image: image.into(),
                secret_ref: own.then(|| secret("own")),
                ..Spec::default()
            }],
            image_pull_secrets: pull.iter().map(|name| secret(name)).collect(),
            ..MultiArchImageSpec::default()
        };
        Sources::parse(&spec).unwrap()
    }

    const HERE: &str = "r.example/team/app:x";
    const THERE: &str = "r.example/other:x";
    const ALL: &[(&str, &str)] =
        &[("push", "r.example"), ("own", "r.example"), ("a", "r.example"), ("b", "r.example/team")];

    #[rstest]
    #[case::nothing(sources(false, false, &[], HERE), ALL, None)]
    #[case::its_own(sources(true, true, &["a"], HERE), ALL, Some("own"))]
    #[case::best_pull_secret(sources(true, false, &["a", "b"], HERE), ALL, Some("b"))]
    #[case::first_of_equals(sources(true, false, &["a", "own"], HERE), ALL, Some("a"))]
    #[case::pull_secret_of_another_host(sources(true, false, &["a"], HERE), &[("push", "r.example"), ("a", "s.example")], Some("push"))]
    #[case::the_targets(sources(true, false, &[], THERE), ALL, Some("push"))]
    #[case::not_the_targets(sources(true, false, &[], THERE), &[("push", "r.example/team")], None)]
    fn chooses_for_a_source(
        #[case] sources: Sources,
        #[case] secrets: &[(&str, &str)],
        #[case] expected: Option<&str>,
    ) {
        let map = AccessMap::new(&sources, &keychain(secrets));
        let access = map.source(&sources.sources[0]).unwrap();
        assert_eq!(access.credential.as_ref().and_then(|c| c.origin.secret()), expected);
    }

    #[rstest]
    #[case::best_of_its_secrets(sources(false, false, &[], HERE), Some(vec!["a", "b"]), Ok(Some("b")))]
    #[case::before_the_targets(sources(true, false, &[], HERE), Some(vec!["a"]), Ok(Some("a")))]
    #[case::after_pull_secrets(sources(true, false, &["a"], HERE), Some(vec!["b"]), Ok(Some("a")))]
    #[case::not_asked_where_another_is_for_it(sources(false, true, &[], HERE), None, Ok(Some("own")))]
    #[case::without_any(sources(true, false, &[], HERE), Some(vec![]), Ok(Some("push")))]
    #[case::absent(sources(true, false, &[], HERE), None, Err("ServiceAccount builder is not in this namespace"))]
    #[case::its_secret_absent(sources(true, false, &[], HERE), Some(vec!["gone"]), Err("Secret gone is not in this namespace: create it with `kubectl create secret docker-registry` (it is one of ServiceAccount builder's imagePullSecrets)"))]
    fn chooses_of_the_service_account(
        #[case] sources: Sources,
        #[case] secrets: Option<Vec<&str>>,
        #[case] expected: Result<Option<&str>, &str>,
    ) {
        let keychain = keychain(ALL).with_account("builder", secrets.as_deref());
        let map = AccessMap::new(&sources, &keychain);
        match (map.source(&sources.sources[0]), expected) {
            (Ok(access), Ok(expected)) => {
                assert_eq!(access.credential.as_ref().and_then(|c| c.origin.secret()), expected);
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
        // It never pushes.
        let pushes = map.target().unwrap().credential.as_ref().and_then(|c| c.origin.secret());
        assert_eq!(pushes, sources.push_secret.as_deref());
    }

    #[rstest]
    #[case::its_own_without_entry(sources(false, true, &["a"], HERE), &[("own", "s.example"), ("a", "r.example")], "Secret own has no credential for r.example/team/app")]
    #[case::its_own_absent(sources(false, true, &[], HERE), &[], "Secret own is not in this namespace")]
    #[case::pull_secret_absent(sources(false, false, &["a"], HERE), &[], "Secret a is not in this namespace")]
    #[case::the_targets_without_entry(sources(true, false, &[], HERE), &[("push", "s.example")], "Secret push has no credential for r.example/team/app")]
    fn tells_which_secret_is_at_fault(
        #[case] sources: Sources,
        #[case] secrets: &[(&str, &str)],
        #[case] words: &str,
    ) {
        let map = AccessMap::new(&sources, &keychain(secrets));
        let message = map.source(&sources.sources[0]).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }

    /// Neither a source's Secret nor a pull Secret ever pushes.
    #[test]
    fn only_its_own_secret_pushes() {
        let all = sources(false, true, &["a", "b"], HERE);
        let map = AccessMap::new(&all, &keychain(ALL));
        assert!(map.target().unwrap().credential.is_none());
        let all = sources(true, true, &["a"], HERE);
        let map = AccessMap::new(&all, &keychain(&ALL[1..]));
        assert!(
            matches!(map.target(), Err(KeychainError::NotFound { secret }) if secret == "push")
        );
    }

    /// An object whose target, source, or both say `provider: Kubelet`.
    fn of_providers(push: bool, own: bool, pull: &[&str], image: &str) -> Sources {
        Sources { push_provider: push, ..sources(false, false, pull, image) }.with_provider(own)
    }

    impl Sources {
        fn with_provider(mut self, provider: bool) -> Self {
            self.sources[0].provider = provider;
            self
        }
    }

    /// The providers' answers for `repositories`, and for no other.
    fn given(repositories: &[&str]) -> Vec<(Repository, Result<Credential, KeychainError>)> {
        let credential = |of: &str| Credential {
            origin: Origin::Provider("ecr".into()),
            ..Credential::of_password("", "AWS", of)
        };
        let repository =
            |of: &str| format!("{of}:x").parse::<Reference>().unwrap().repository().clone();
        repositories.iter().map(|of| (repository(of), Ok(credential(of)))).collect()
    }

    fn whose(access: &Access) -> String {
        access.credential.as_ref().map_or_else(|| "nobody".into(), |it| it.origin.to_string())
    }

    #[rstest]
    #[case::its_own(of_providers(false, true, &["a"], HERE), &["r.example/team/app"], "nobody", "provider ecr")]
    #[case::none_of_the_targets(sources(true, false, &[], HERE).with_provider(true), &["r.example/team/app"], "Secret push", "provider ecr")]
    #[case::the_targets(of_providers(true, false, &[], HERE), &["r.example/team/app"], "provider ecr", "provider ecr")]
    #[case::the_targets_elsewhere(of_providers(true, false, &[], THERE), &["r.example/team/app", "r.example/other"], "provider ecr", "provider ecr")]
    #[case::pull_secrets_before(of_providers(true, false, &["a"], THERE), &["r.example/team/app"], "provider ecr", "Secret a")]
    fn asks_providers_where_the_object_says_so(
        #[case] sources: Sources,
        #[case] asked: &[&str],
        #[case] pushes: &str,
        #[case] reads: &str,
    ) {
        let keychain = keychain(ALL);
        let wanted: Vec<_> =
            provided(&sources, &keychain).into_iter().map(ToString::to_string).collect();
        let mut asked_for = asked.to_vec();
        asked_for.sort_unstable();
        assert_eq!(wanted, asked_for);
        let map = AccessMap::new(&sources, &keychain.with_provided(given(asked)));
        assert_eq!(whose(map.target().unwrap()), pushes);
        assert_eq!(whose(map.source(&sources.sources[0]).unwrap()), reads);
    }

    /// What the target's providers are not for is read by nobody; what they fail at, or what says `provider` itself, fails.
    #[rstest]
    #[case::not_allowed(KeychainError::ProviderNotAllowed { namespace: "a".into(), repository: "x".into() }, true)]
    #[case::no_provider(KeychainError::NoProvider { repository: "x".into() }, true)]
    #[case::none_given(KeychainError::NoneGiven { provider: "ecr".into(), repository: "x".into() }, true)]
    #[case::failed(KeychainError::Provider { provider: "ecr".into(), repository: "x".into(), source: PluginError::Exited { code: 1 } }, false)]
    fn a_source_elsewhere_may_be_public(#[case] error: KeychainError, #[case] public: bool) {
        let all = of_providers(true, false, &[], THERE);
        let with = |all: &Sources| {
            let mut given = given(&["r.example/team/app"]);
            given.push((all.sources[0].reference.repository().clone(), Err(error.clone())));
            AccessMap::new(all, &keychain(ALL).with_provided(given))
        };
        let map = with(&all);
        match map.named("x") {
            Ok(access) => assert!(public && whose(access) == "nobody"),
            Err(told) => assert!(!public && told == error),
        }
        let own = with(&all.with_provider(true));
        assert_eq!(own.named("x").unwrap_err(), error);
        assert_eq!(whose(own.target().unwrap()), "provider ecr");
    }

    /// The operator's credential never goes by a connection that the object weakens: neither without TLS nor by its CAs, of
    /// whatever host.
    #[test]
    fn a_providers_credential_is_for_the_operators_own_tls() {
        let all = Sources {
            plain_http: ["r.example".into()].into(),
            certificates: [("auth.example".into(), "gone".into())].into(),
            ..of_providers(true, true, &[], HERE)
        };
        let map =
            AccessMap::new(&all, &keychain(&[]).with_provided(given(&["r.example/team/app"])));
        for access in [map.target().unwrap(), map.named("x").unwrap()] {
            assert!(!access.plain_http && access.certificates.fingerprint().is_none());
        }
        // Nor is it offered to a host of which the object says how it is trusted.
        for all in [
            Sources {
                plain_http: ["r.example".into()].into(),
                ..of_providers(true, false, &[], THERE)
            },
            Sources {
                certificates: [("r.example".into(), "ca".into())].into(),
                ..of_providers(true, false, &[], THERE)
            },
        ] {
            let wanted: Vec<_> =
                provided(&all, &keychain(&[])).into_iter().map(ToString::to_string).collect();
            assert_eq!(wanted, ["r.example/team/app"]);
        }
    }

    /// One token serves the reads and the push where one identity does both.
    #[test]
    fn scopes() {
        let shared = sources(true, false, &[], HERE);
        let map = AccessMap::new(&shared, &keychain(ALL));
        assert_eq!(map.source(&shared.sources[0]).unwrap().scopes, map.target().unwrap().scopes);
        assert_eq!(map.target().unwrap().scopes[0].actions, Actions::Push);
        let apart = sources(true, true, &[], HERE);
        let map = AccessMap::new(&apart, &keychain(ALL));
        assert_eq!(map.source(&apart.sources[0]).unwrap().scopes[0].actions, Actions::Pull);
        let provided = of_providers(true, false, &[], HERE);
        let given = given(&["r.example/team/app"]);
        let map = AccessMap::new(&provided, &keychain(ALL).with_provided(given));
        assert_eq!(map.source(&provided.sources[0]).unwrap().scopes, map.target().unwrap().scopes);
        let elsewhere = sources(true, false, &[], THERE);
        let map = AccessMap::new(&elsewhere, &keychain(ALL));
        assert_eq!(map.source(&elsewhere.sources[0]).unwrap().scopes[0].path, "other");
    }

    /// Certificates go along with every access, and are missed where they may be wanted.
    #[test]
    fn certificates_of_each_host() {
        let with = |hosts: &[(&str, &str)]| {
            let named = hosts.iter().map(|(host, secret)| ((*host).into(), (*secret).into()));
            Sources {
                certificates: named.collect(),
                ..sources(false, false, &[], "s.example/other:x")
            }
        };
        let ca = |pem: &str| {
            let data = [("ca.crt".to_owned(), ByteString(pem.as_bytes().to_vec()))];
            Secret { data: Some(data.into()), ..Secret::default() }
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        let secrets = || keychain(&[]).with_certificates([("ca", ca(&pem)), ("bad", ca(""))]);
        let said = |map: &AccessMap| {
            let said = |access: Result<&Access, KeychainError>| match access {
                Ok(access) => access.certificates.for_host("r.example").is_some().to_string(),
                Err(error) => error.to_string(),
            };
            [said(map.target()), said(map.named("x"))]
        };
        let good = AccessMap::new(&with(&[("r.example", "ca"), ("docker.io", "ca")]), &secrets());
        assert_eq!(said(&good), ["true", "true"], "also where one is led to the other");
        assert!(good.target().unwrap().certificates.for_host("registry-1.docker.io").is_some());
        assert!(good.target().unwrap().certificates.for_host("s.example").is_none());
        let [target, source] = said(&AccessMap::new(&with(&[("r.example", "bad")]), &secrets()));
        assert!(target.starts_with("Secret bad is of no use for TLS"), "{target}");
        assert_eq!(source, "false", "the other host is read");
        let anywhere = with(&[("r.example", "ca"), ("auth.example", "gone")]);
        for said in said(&AccessMap::new(&anywhere, &secrets())) {
            assert!(said.starts_with("Secret gone is not in this namespace"), "{said}");
        }
        assert_eq!(certificates(&anywhere).into_iter().collect::<Vec<_>>(), ["ca", "gone"]);
    }

    #[test]
    fn names_every_secret_once() {
        let all = sources(true, true, &["a", "own"], HERE);
        assert_eq!(secrets(&all).into_iter().collect::<Vec<_>>(), ["a", "own", "push"]);
    }
}

//! pure: the Secrets of an object, or what who runs the command has → who asks for the target and for each source.

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
    oci::{Reference, Repository, reference::api_host},
    registry::{Access, Certificates, Credential, Object, Origin, Proof, Scope},
};

/// How many other repositories one token is asked for beside the target's: what is asked for is part of a
/// URL, and what is given part of every request, and servers bound both.
const TOGETHER: usize = 8;

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
    /// Chooses credentials. On a workstation each is that of who runs the command, and Secrets are not read. Else the
    /// target's is its own Secret's and no other. A source's is its own Secret's, else the best of the pull Secrets', else the best of the `ServiceAccount`'s, else the
    /// target's where that has one for the source's repository, else none.
    #[must_use]
    pub fn new(sources: &Sources, keychain: &Keychain) -> Self {
        let repository = sources.target.repository();
        let tls = Held::of(sources, keychain);
        let push = match (keychain.of_user(repository), &sources.push_secret) {
            (Some(own), _) => own,
            (None, Some(secret)) => demand(secret, repository, keychain).map(Some),
            (None, None) if sources.push_provider => keychain.provided(repository).map(Some),
            (None, None) => Ok(None),
        };
        // Of two that name one tag, one is worked on at a time.
        let object = Object::of(&sources.target);
        let access = |repository: &Repository, credential: Option<Credential>, scopes| {
            // Nobody is asked for what is in an archive.
            if repository.archive().is_some() {
                return Ok(Access { object, ..Access::default() });
            }
            // The operator's own credential goes where the operator's own CAs vouch for, wherever that leads.
            let is_provided =
                |credential: &Credential| matches!(credential.origin, Origin::Provider(_));
            if credential.as_ref().is_some_and(is_provided) {
                return Ok(Access { credential, scopes, object, ..Access::default() });
            }
            Ok(Access {
                credential,
                scopes,
                plain_http: sources.plain_http(repository),
                certificates: tls.for_host(repository.host())?,
                object,
                ..Access::default()
            })
        };
        let choose = |source: &Source| {
            let choice = choose(source, sources, keychain);
            choice.and_then(|it| it.credential(source.reference.repository(), keychain))
        };
        let chosen: Vec<_> = sources.sources.iter().map(choose).collect();
        let scopes =
            Scopes::of(sources, push.as_ref().ok().and_then(Option::as_ref).map(proof), &chosen);
        let target =
            push.and_then(|credential| access(repository, credential, scopes.of_target.clone()));
        let each = sources.sources.iter().zip(chosen).map(|(source, credential)| {
            let repository = source.reference.repository();
            let access = credential.and_then(|credential| {
                let scopes = scopes.for_reader(repository, credential.as_ref());
                access(repository, credential, scopes)
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

/// What tokens are asked with. One token of the identity that pushes serves all that it reads and
/// writes on its registry, mounts included.
struct Scopes<'a> {
    target: &'a Repository,
    /// Who pushes.
    identity: Option<Proof>,
    of_target: Vec<Scope>,
    /// By the path of another repository of its registry, which the same identity reads.
    of_others: BTreeMap<&'a str, Vec<Scope>>,
}

impl<'a> Scopes<'a> {
    fn of(
        sources: &'a Sources,
        identity: Option<Proof>,
        chosen: &[Result<Option<Credential>, KeychainError>],
    ) -> Self {
        let target = sources.target.repository();
        let mut of_others = BTreeMap::new();
        for (source, credential) in sources.sources.iter().zip(chosen) {
            let repository = source.reference.repository();
            if let (Some(identity), Ok(Some(credential))) = (&identity, credential)
                && repository.is_beside(target)
                && repository != target
                && credential.proof == *identity
            {
                of_others.insert(repository.path(), vec![Scope::pull(repository)]);
            }
        }
        let paths: Vec<_> = of_others.keys().copied().collect();
        for paths in paths.chunks(TOGETHER) {
            let reads = paths.iter().flat_map(|path| of_others[path].clone());
            let all: Vec<_> = [Scope::push(target)].into_iter().chain(reads).collect();
            of_others.extend(paths.iter().map(|path| (*path, all.clone())));
        }
        let first = of_others.values().next().cloned();
        let of_target = first.unwrap_or_else(|| vec![Scope::push(target)]);
        Self { target, identity, of_target, of_others }
    }

    /// Of `repository`, for who reads it by `credential`.
    fn for_reader(&self, repository: &Repository, credential: Option<&Credential>) -> Vec<Scope> {
        let known = if credential.map(proof) != self.identity {
            None
        } else if repository == self.target {
            Some(&self.of_target)
        } else {
            let others = Some(&self.of_others).filter(|_| repository.is_beside(self.target));
            others.and_then(|others| others.get(repository.path()))
        };
        known.cloned().unwrap_or_else(|| vec![Scope::pull(repository)])
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
        let all = references.chain([&sources.target]).map(Reference::repository);
        let hosts: BTreeSet<_> =
            all.filter(|it| it.archive().is_none()).map(Repository::host).collect();
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
    if repository.archive().is_some() {
        return Ok(Choice::Known(None));
    }
    if let Some(own) = keychain.of_user(repository) {
        return own.map(Choice::Known);
    }
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

fn proof(credential: &Credential) -> Proof {
    credential.proof.clone()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, api::core::v1::Secret};
    use multiarch_crds::v1alpha1::{MultiArchImageSpec, SecretRef, Source as Spec, Target};
    use rstest::rstest;

    use super::*;
    use crate::keychain::{DockerConfig, providers::PluginError};

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

    /// Also where each way to a credential is for the host in its images' names, or is broken.
    #[rstest]
    #[case::secrets(true, ALL)]
    #[case::no_secret(true, &[])]
    #[case::providers(false, &[])]
    fn nobody_is_asked_for_what_is_in_an_archive(
        #[case] own: bool,
        #[case] secrets: &[(&str, &str)],
    ) {
        let mut sources = sources(own, own, &["a"], THERE);
        sources.push_provider = !own;
        sources.sources[0].provider = !own;
        sources.certificates.insert("r.example".into(), "absent".into());
        sources.plain_http.insert("r.example".into());
        let there = sources.sources[0].reference.repository().clone();
        let inside = Repository::in_archive("a.tar", &there);
        sources.sources[0].reference = inside.tag("x");
        let keychain = keychain(secrets);
        assert!(!provided(&sources, &keychain).contains(&inside));
        let map = AccessMap::new(&sources, &keychain);
        let access = map.source(&sources.sources[0]).unwrap();
        assert!(access.credential.is_none() && access.scopes.is_empty() && !access.plain_http);
        assert_eq!(access.certificates.fingerprint(), None);
        assert!(map.target().is_err(), "its certificates are wanted, and not there");
    }

    /// The token that pushes is not asked for what the images of an archive are called.
    #[test]
    fn an_archive_adds_no_scope() {
        let mut sources = sources(true, false, &[], THERE);
        let there = sources.sources[0].reference.repository().clone();
        let scopes = |sources: &Sources| {
            let map = AccessMap::new(sources, &keychain(ALL));
            map.target().unwrap().scopes.clone()
        };
        assert_eq!(scopes(&sources).len(), 2);
        sources.sources[0].reference = Repository::in_archive("a.tar", &there).tag("x");
        assert_eq!(scopes(&sources), [Scope::push(sources.target.repository())]);
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
        let credential = Credential {
            origin: Origin::Provider("ecr".into()),
            ..Credential::of_password("", "AWS", "token")
        };
        let repository =
            |of: &str| format!("{of}:x").parse::<Reference>().unwrap().repository().clone();
        repositories.iter().map(|of| (repository(of), Ok(credential.clone()))).collect()
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

    fn scopes(access: Result<&Access, KeychainError>) -> Vec<String> {
        access.unwrap().scopes.iter().map(ToString::to_string).collect()
    }

    const PUSH: &str = "repository:team/app:pull,push";
    const PULL: &str = "repository:team/app:pull";
    const OTHER: &str = "repository:other:pull";

    /// One token serves the reads and the push, and lets mounts through, where one identity does all.
    #[rstest]
    #[case::its_own_repository(sources(true, false, &[], HERE), ALL, &[PUSH], &[PUSH])]
    #[case::by_another(sources(true, true, &[], HERE), ALL, &[PUSH], &[PULL])]
    #[case::another_repository(sources(true, false, &[], THERE), ALL, &[PUSH, OTHER], &[PUSH, OTHER])]
    #[case::another_by_another(sources(true, true, &[], THERE), ALL, &[PUSH], &[OTHER])]
    #[case::another_by_nobody(sources(true, false, &[], THERE), &[("push", "r.example/team")], &[PUSH], &[OTHER])]
    #[case::another_registry(sources(true, false, &["own"], "s.example/other:x"), &[("push", "r.example"), ("own", "s.example")], &[PUSH], &[OTHER])]
    #[case::nobody(sources(false, false, &[], HERE), &[], &[PUSH], &[PUSH])]
    #[case::nobody_elsewhere(sources(false, false, &[], THERE), &[], &[PUSH], &[OTHER])]
    fn tokens_are_asked_with(
        #[case] sources: Sources,
        #[case] secrets: &[(&str, &str)],
        #[case] target: &[&str],
        #[case] source: &[&str],
    ) {
        let map = AccessMap::new(&sources, &keychain(secrets));
        assert_eq!((scopes(map.target()), scopes(map.named("x"))), (own(target), own(source)));
    }

    /// What the providers give is one identity, too, and no other repository than they were asked for is in its token.
    #[rstest]
    #[case::its_own_repository(of_providers(true, false, &[], HERE), &["r.example/team/app"], &[PUSH], &[PUSH])]
    #[case::another(of_providers(true, false, &[], THERE), &["r.example/team/app", "r.example/other"], &[PUSH, OTHER], &[PUSH, OTHER])]
    #[case::another_not_given(of_providers(true, false, &[], THERE), &["r.example/team/app"], &[PUSH], &[OTHER])]
    fn a_providers_token_is_for_what_it_was_given_for(
        #[case] sources: Sources,
        #[case] asked: &[&str],
        #[case] target: &[&str],
        #[case] source: &[&str],
    ) {
        let map = AccessMap::new(&sources, &keychain(&[]).with_provided(given(asked)));
        assert_eq!((scopes(map.target()), scopes(map.named("x"))), (own(target), own(source)));
    }

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.into()).collect()
    }

    /// Two Secrets may have one credential: each names its own Secret, and they share a token.
    #[test]
    fn an_identity_is_what_a_secret_holds_and_not_its_name() {
        let same = |name: &str| {
            let json = r#"{"auths": {"r.example": {"username": "u", "password": "p"}}}"#;
            (name.to_owned(), DockerConfig::parse(name, json.as_bytes()))
        };
        let keychain = Keychain::with(["push", "own"].map(same).into());
        let map = AccessMap::new(&sources(true, true, &[], THERE), &keychain);
        assert_eq!(scopes(map.target()), scopes(map.named("x")));
        let of = |access: Result<&Access, KeychainError>| {
            access.unwrap().credential.clone().unwrap().origin.to_string()
        };
        let both = ("Secret push".into(), "Secret own".into());
        assert_eq!((of(map.target()), of(map.named("x"))), both);
    }

    /// Of many repositories each has its scope in one set, with the target's, and no set is large.
    #[test]
    fn many_repositories_share_a_few_tokens() {
        let paths: Vec<_> = (0..20).map(|at| format!("r.example/other-{at:02}")).collect();
        let mut all = sources(true, false, &[], HERE);
        all.sources = paths
            .iter()
            .flat_map(|path| [format!("{path}:x"), format!("{path}:y")])
            .map(|image| sources(true, false, &[], &image).sources.remove(0))
            .enumerate()
            .map(|(at, source)| Source { name: at.to_string(), ..source })
            .collect();
        let map = AccessMap::new(&all, &keychain(ALL));
        let mut sets = BTreeSet::new();
        for source in &all.sources {
            let access = map.source(source).unwrap();
            assert!(access.allows(&Scope::pull(source.reference.repository())));
            assert!(access.allows(&Scope::push(all.target.repository())));
            assert!(access.scopes.len() <= TOGETHER + 1);
            sets.insert(access.scopes.clone());
        }
        assert_eq!(sets.len(), 3);
        assert!(sets.contains(&map.target().unwrap().scopes));
    }

    /// On a workstation no Secret counts, and what the spec says of a connection does.
    #[test]
    fn who_runs_the_command_asks_for_all() {
        let mut all = sources(true, true, &["a"], THERE);
        all.plain_http = ["r.example".into()].into();
        let here = all.target.repository().clone();
        let there = all.sources[0].reference.repository().clone();
        let mine = Credential {
            origin: Origin::File("config.json".into()),
            ..Credential::of_password("", "me", "p")
        };
        let failed = KeychainError::NotFound { secret: "x".into() };
        let keychain = |of: [Result<Option<Credential>, KeychainError>; 2]| {
            keychain(ALL).with_user([here.clone(), there.clone()].into_iter().zip(of))
        };
        let map = AccessMap::new(&all, &keychain([Ok(Some(mine.clone())), Ok(Some(mine.clone()))]));
        for access in [map.target().unwrap(), map.named("x").unwrap()] {
            assert_eq!(whose(access), "config.json");
            assert!(access.plain_http);
        }
        assert_eq!(scopes(map.target()), own(&[PUSH, OTHER]), "one token for both");
        let map = AccessMap::new(&all, &keychain([Ok(Some(mine)), Ok(None)]));
        assert_eq!(whose(map.named("x").unwrap()), "nobody");
        let map = AccessMap::new(&all, &keychain([Ok(None), Err(failed.clone())]));
        assert_eq!(whose(map.target().unwrap()), "nobody");
        assert_eq!(map.named("x").unwrap_err(), failed);
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

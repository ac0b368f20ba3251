//! The table: one row a variant, and messages that a person can act on.

use multiarch_crds::condition::Reason as Why;
use rstest::rstest;

use super::*;
use crate::{
    keychain::providers::PluginError,
    oci::{Label, Platform, Repository, manifest::ManifestError},
    registry::{Origin, Request},
};

const NOW: Stalled = Stalled::Now;
const TRIED: Stalled = Stalled::AfterTries;
const NO: Stalled = Stalled::No;
const WAIT: Option<Duration> = Some(Duration::from_secs(7));

fn reference() -> Reference {
    "r.example/app:1.0".parse().unwrap()
}

fn digest() -> Digest {
    Digest::of(b"x")
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn request() -> Request {
    Request { method: "GET", noun: "manifest", of: "app:1.0".into() }
}

fn host() -> String {
    "r.example".into()
}

fn who() -> String {
    "the credential of Secret login".into()
}

fn unauthorized() -> RegistryError {
    RegistryError::Unauthorized { host: host(), credential: who(), status: 401 }
}

fn denied() -> RegistryError {
    let (host, request, credential) = (host(), request(), who());
    RegistryError::Denied { host, request, credential, status: 403, codes: vec!["DENIED".into()] }
}

fn limited(retry_after: Option<Duration>) -> RegistryError {
    RegistryError::RateLimited { host: host(), request: request(), retry_after }
}

fn paused(pause: Pause, retry_after: Option<Duration>) -> RegistryError {
    RegistryError::Paused { host: host(), request: request(), pause, retry_after }
}

/// The same answer to a PUT.
fn to_a_write(mut error: RegistryError) -> RegistryError {
    use RegistryError as E;
    if let E::Denied { request, .. }
    | E::Refused { request, .. }
    | E::RepositoryNotFound { request, .. }
    | E::TagImmutable { request, .. } = &mut error
    {
        request.method = "PUT";
    }
    error
}

fn unavailable(retry_after: Option<Duration>) -> RegistryError {
    let (host, request) = (host(), request());
    RegistryError::Unavailable { host, request, status: 503, codes: Vec::new(), retry_after }
}

fn unreachable() -> RegistryError {
    RegistryError::Unreachable {
        host: host(),
        request: request(),
        why: "no route".into(),
        sent: false,
    }
}

fn slow() -> RegistryError {
    RegistryError::TooSlow { host: host(), request: request(), limit: "no answer in 10s".into() }
}

fn refused() -> RegistryError {
    let codes = vec!["TAG_INVALID".into()];
    RegistryError::Refused { host: host(), request: request(), status: 400, codes }
}

fn protocol() -> RegistryError {
    RegistryError::Protocol { host: host(), request: request(), why: "a redirect".into() }
}

fn no_repository() -> RegistryError {
    RegistryError::RepositoryNotFound { host: host(), request: request(), answer: "HTTP 404" }
}

fn immutable() -> RegistryError {
    let codes = vec!["TAG_INVALID".into()];
    RegistryError::TagImmutable { host: host(), request: request(), status: 400, codes }
}

fn wrong_digest() -> RegistryError {
    let (expected, computed) = (digest(), Digest::of(b"y"));
    RegistryError::WrongDigest { host: host(), request: request(), expected, computed }
}

fn wrong_size() -> RegistryError {
    RegistryError::WrongSize { host: host(), request: request(), expected: 1, received: 2 }
}

fn large() -> RegistryError {
    RegistryError::TooLarge { host: host(), request: request(), limit: 4 }
}

fn unusable() -> RegistryError {
    RegistryError::Unusable { host: host(), request: request(), source: ManifestError::Schema1 }
}

fn realm() -> RegistryError {
    let realm = "https://other.example/token".into();
    RegistryError::RealmNotTrusted {
        host: host(),
        realm,
        credential: Origin::Secret("login".into()),
    }
}

fn address() -> RegistryError {
    let address = "169.254.169.254".into();
    RegistryError::ForbiddenAddress { host: host(), address, why: "link-local".into() }
}

fn archive() -> RegistryError {
    let why = "\"layer.tar\" in \"k3s.tar\" is cut off: copy it again".into();
    RegistryError::Archive { why }
}

fn awaited() -> RegistryError {
    let why = "archive k3s.tar was changed while it was read".into();
    RegistryError::ArchiveAwaited { why, after: Duration::from_secs(7) }
}

fn not_allowed() -> RegistryError {
    RegistryError::ArchiveNotAllowed { why: "archive ../k3s.tar is refused".into() }
}

fn insecure() -> RegistryError {
    RegistryError::InsecureNotAllowed { host: host() }
}

#[rstest]
#[case::unauthorized(unauthorized(), SourceState::Unauthorized, Why::AuthenticationFailed, TRIED, Retry::Backoff, &["401", "Secret login"])]
#[case::denied(denied(), SourceState::Denied, Why::AccessDenied, TRIED, Retry::Backoff, &["403", "Secret login", "DENIED"])]
#[case::limited(limited(None), SourceState::RateLimited, Why::RateLimited, NO, Retry::Backoff, &["429"])]
#[case::limited_until(limited(WAIT), SourceState::RateLimited, Why::RateLimited, NO, Retry::After(Duration::from_secs(7)), &["429"])]
#[case::paused(paused(Pause::Asked { status: 429 }, WAIT), SourceState::RateLimited, Why::RateLimited, NO, Retry::After(Duration::from_secs(7)), &["HTTP 429 to another request", "was not sent"])]
#[case::paused_unsaid(paused(Pause::Asked { status: 429 }, None), SourceState::RateLimited, Why::RateLimited, NO, Retry::Backoff, &["HTTP 429"])]
#[case::paused_by_503(paused(Pause::Asked { status: 503 }, WAIT), SourceState::Unreachable, Why::RegistryUnreachable, NO, Retry::After(Duration::from_secs(7)), &["HTTP 503"])]
#[case::none_left(paused(Pause::NoneLeft, WAIT), SourceState::RateLimited, Why::RateLimited, NO, Retry::After(Duration::from_secs(7)), &["no pulls are left"])]
#[case::unavailable(unavailable(None), SourceState::Unreachable, Why::RegistryUnreachable, NO, Retry::Backoff, &["503"])]
#[case::unavailable_until(unavailable(WAIT), SourceState::Unreachable, Why::RegistryUnreachable, NO, Retry::After(Duration::from_secs(7)), &["503"])]
#[case::unreachable(unreachable(), SourceState::Unreachable, Why::RegistryUnreachable, NO, Retry::Backoff, &["no route"])]
#[case::slow(slow(), SourceState::Unreachable, Why::RegistryUnreachable, NO, Retry::Backoff, &["10s"])]
#[case::refused(refused(), SourceState::Unreachable, Why::RegistryUnreachable, NO, Retry::Backoff, &["400", "TAG_INVALID"])]
#[case::protocol(protocol(), SourceState::Unreachable, Why::RegistryUnreachable, NO, Retry::Backoff, &["a redirect"])]
#[case::no_repository(no_repository(), SourceState::Unreachable, Why::RepositoryNotFound, NOW, Retry::Interval, &["404", "create it"])]
#[case::immutable(immutable(), SourceState::Unreachable, Why::TagImmutable, NOW, Retry::Interval, &["400 TAG_INVALID", "may not change"])]
#[case::wrong_digest(wrong_digest(), SourceState::Invalid, Why::UnsupportedContent, NOW, Retry::Interval, &["sha256:"])]
#[case::wrong_size(wrong_size(), SourceState::Invalid, Why::UnsupportedContent, NOW, Retry::Interval, &["2 bytes"])]
#[case::large(large(), SourceState::Invalid, Why::UnsupportedContent, NOW, Retry::Interval, &["4 bytes"])]
#[case::unusable(unusable(), SourceState::Unsupported, Why::UnsupportedContent, NOW, Retry::Interval, &["schema 1"])]
#[case::realm(realm(), SourceState::Unauthorized, Why::TokenRealmNotTrusted, NOW, Retry::Interval, &["other.example", "Secret login", "--token-realm"])]
#[case::address(address(), SourceState::Unreachable, Why::RegistryNotAllowed, NOW, Retry::Interval, &["169.254.169.254"])]
#[case::archive(archive(), SourceState::Invalid, Why::UnsupportedContent, NOW, Retry::Interval, &["cut off: copy it again"])]
#[case::awaited(awaited(), SourceState::Incomplete, Why::WaitingForPlatforms, NO, Retry::After(Duration::from_secs(7)), &["k3s.tar", "changed while it was read"])]
#[case::not_allowed(not_allowed(), SourceState::Denied, Why::RegistryNotAllowed, NOW, Retry::Interval, &["../k3s.tar"])]
#[case::insecure(insecure(), SourceState::Unreachable, Why::InsecureNotAllowed, NOW, Retry::Interval, &["--insecure-allow-http"])]
fn of_a_registry(
    #[case] error: RegistryError,
    #[case] state: SourceState,
    #[case] reason: Why,
    #[case] stalled: Stalled,
    #[case] retry: Retry,
    #[case] words: &[&str],
) {
    let expected = Consequence { reason, stalled, retry };
    let error = ResolveError::Registry { reference: reference().to_string(), source: error };
    assert_eq!(of_source(&error, true), (state, expected.clone()));
    let message = error.to_string();
    for word in words.iter().chain(&["r.example", "app:1.0"]) {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    let ResolveError::Registry { source, .. } = error else { unreachable!() };
    let look = PublishError::Look { target: reference(), source };
    assert_eq!(of_publish(&look), expected, "the target's is the same");
    assert!(look.pushed().is_none());
}

/// Nobody can annotate the operator's own credential.
#[test]
fn a_realm_for_the_operators_credential_is_its_admins_affair() {
    let RegistryError::RealmNotTrusted { host, realm, .. } = realm() else { unreachable!() };
    let credential = Origin::Provider("ecr".into());
    let said = RegistryError::RealmNotTrusted { host, realm, credential }.to_string();
    assert!(said.contains("--token-realm") && !said.contains("annotate"), "{said}");
}

/// Nor is there an admin on a workstation.
#[test]
fn a_realm_for_ones_own_credential_is_ones_own_affair() {
    let RegistryError::RealmNotTrusted { host, realm, .. } = realm() else { unreachable!() };
    let credential = Origin::File("~/.docker/config.json".into());
    let said = RegistryError::RealmNotTrusted { host, realm, credential }.to_string();
    assert!(said.contains("say --token-realm") && !said.contains("admin"), "{said}");
}

#[test]
fn denied_is_not_there_yet_before_it_answered() {
    let error = ResolveError::Registry { reference: "x".into(), source: denied() };
    let waiting = Consequence {
        reason: Why::WaitingForPlatforms,
        stalled: Stalled::No,
        retry: Retry::Interval,
    };
    assert_eq!(of_source(&error, false), (SourceState::Denied, waiting));
    let error = ResolveError::Registry { reference: "x".into(), source: unauthorized() };
    assert_eq!(of_source(&error, false), of_source(&error, true), "a wrong credential is wrong");
}

#[rstest]
#[case::content(ResolveError::Content { reference: "the-image".into(), source: ManifestError::Ambiguous }, SourceState::Invalid, Why::UnsupportedContent, NOW, &["CVE"])]
#[case::mismatch(ResolveError::Mismatch { reference: "the-image".into(), declared: "linux/amd64".into(), actual: platform("linux/arm64") }, SourceState::PlatformMismatch, Why::PlatformMismatch, NOW, &["linux/amd64", "linux/arm64", "or push the right image"])]
#[case::index_mismatch(ResolveError::IndexMismatch { reference: "the-image".into(), digest: digest(), listed: platform("linux/amd64"), actual: platform("linux/arm64") }, SourceState::PlatformMismatch, Why::PlatformMismatch, NOW, &["linux/amd64", "linux/arm64", "sha256:"])]
#[case::not_in_index(ResolveError::NotInIndex { reference: "the-image".into(), declared: "linux/amd64".into(), listed: platform("linux/arm64") }, SourceState::PlatformMismatch, Why::PlatformMismatch, NOW, &["linux/amd64", "linux/arm64"])]
#[case::single(ResolveError::SingleImage { reference: "the-image".into(), declared: 2 }, SourceState::PlatformMismatch, Why::PlatformMismatch, NOW, &["2 platforms"])]
#[case::without(ResolveError::ChildWithoutPlatform { reference: "the-image".into(), digest: digest() }, SourceState::Unsupported, Why::UnsupportedContent, NOW, &["sha256:"])]
#[case::no_images(ResolveError::NoImages { reference: "the-image".into() }, SourceState::Unsupported, Why::UnsupportedContent, NOW, &["without an image"])]
#[case::nested(ResolveError::Nested { reference: "the-image".into(), digest: digest() }, SourceState::Unsupported, Why::UnsupportedContent, NOW, &["sha256:"])]
#[case::no_platform(ResolveError::NoPlatform { reference: "the-image".into(), config: "application/x".into() }, SourceState::Unsupported, Why::UnsupportedContent, NOW, &["application/x", "Trust"])]
#[case::not_an_index(ResolveError::NotAnIndex { reference: "the-image".into(), digest: digest() }, SourceState::Unsupported, Why::UnsupportedContent, NOW, &["sha256:", "as an index"])]
#[case::incomplete(ResolveError::Incomplete { reference: "the-image".into(), digest: digest() }, SourceState::Incomplete, Why::WaitingForPlatforms, NO, &["sha256:", "push it again"])]
#[case::format(ResolveError::Format { reference: "the-image".into(), digest: digest() }, SourceState::Unsupported, Why::FormatMismatch, NOW, &["sha256:", "Docker media types", "target.format: OCI"])]
#[case::config_gone(ResolveError::ConfigGone { reference: "the-image".into(), digest: digest() }, SourceState::Incomplete, Why::WaitingForPlatforms, NO, &["sha256:", "push it again"])]
#[case::mismatch_in_an_archive(ResolveError::Mismatch { reference: in_archive(), declared: "linux/arm46".into(), actual: platform("linux/arm64") }, SourceState::PlatformMismatch, Why::PlatformMismatch, NOW, &["correct the source's platforms, or put the right archive in its place"])]
#[case::incomplete_in_an_archive(ResolveError::Incomplete { reference: in_archive(), digest: digest() }, SourceState::Incomplete, Why::WaitingForPlatforms, NO, &["put a whole archive in its place"])]
#[case::config_gone_in_an_archive(ResolveError::ConfigGone { reference: in_archive(), digest: digest() }, SourceState::Incomplete, Why::WaitingForPlatforms, NO, &["put a whole archive in its place"])]
fn of_content(
    #[case] error: ResolveError,
    #[case] state: SourceState,
    #[case] reason: Why,
    #[case] stalled: Stalled,
    #[case] words: &[&str],
) {
    let expected = Consequence { reason, stalled, retry: Retry::Interval };
    assert_eq!(of_source(&error, true), (state, expected));
    let message = error.to_string();
    for word in words.iter().chain(&["the-image"]) {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert!(!message.contains('#') || !message.contains("push"), "{message}");
}

/// As a reference to what is in an archive is shown.
fn in_archive() -> String {
    let image: Reference = "r.example/the-image:1".parse().unwrap();
    Repository::in_archive("k3s/arm64.tar", image.repository()).tag("1").to_string()
}

#[test]
fn a_helper_that_fails_is_told_with_its_file() {
    let (helper, file) = ("docker-credential-x".to_owned(), "~/.docker/config.json".to_owned());
    let source = PluginError::Exited { code: 1 };
    let error = KeychainError::Helper { helper, file, server: "r.example".into(), source };
    let said = error.to_string();
    for word in ["docker-credential-x", "~/.docker/config.json", "r.example", "exit code 1"] {
        assert!(said.contains(word), "{said}");
    }
    let expected =
        Consequence { reason: Why::AuthenticationFailed, stalled: TRIED, retry: Retry::Backoff };
    assert_eq!(of_publish(&PublishError::Credential { source: error }), expected);
}

#[rstest]
#[case::not_found(KeychainError::NotFound { secret: "login".into() }, Why::SecretNotFound)]
#[case::wrong_type(KeychainError::WrongType { secret: "login".into(), found: "Opaque".into() }, Why::SecretInvalid)]
#[case::malformed(KeychainError::Malformed { origin: Origin::Secret("login".into()), why: "x".into() }, Why::SecretInvalid)]
#[case::no_certificates(KeychainError::NoCertificates { secret: "login".into() }, Why::SecretNotFound)]
#[case::bad_certificates(KeychainError::BadCertificates { secret: "login".into(), why: "x".into() }, Why::SecretInvalid)]
#[case::no_match(KeychainError::NoMatch { secret: "login".into(), repository: "r.example/app".into() }, Why::SecretInvalid)]
#[case::no_account(KeychainError::NoAccount { account: "login".into() }, Why::SecretNotFound)]
#[case::no_name(KeychainError::NoName { account: "login".into() }, Why::SecretInvalid)]
#[case::forbidden(KeychainError::Forbidden { what: "Secret login".into() }, Why::SecretNotFound)]
#[case::of_account(KeychainError::OfAccount { account: "builder".into(), source: Box::new(KeychainError::WrongType { secret: "login".into(), found: "Opaque".into() }) }, Why::SecretInvalid)]
fn of_a_secret(#[case] error: KeychainError, #[case] reason: Why) {
    let expected = Consequence { reason, stalled: TRIED, retry: Retry::Backoff };
    let message = error.to_string();
    assert!(message.contains("Secret login") || message.contains("ServiceAccount login"));
    let target = PublishError::Credential { source: error.clone() };
    assert_eq!(of_publish(&target), expected);
    assert!(target.pushed().is_none());
    let source = ResolveError::Credential { source: error };
    assert_eq!(of_source(&source, true), (SourceState::Unauthorized, expected));
}

#[rstest]
#[case::not_allowed(KeychainError::ProviderNotAllowed { namespace: "team-b".into(), repository: "r.example/app".into() }, Why::RegistryNotAllowed, NOW, Retry::Interval, &["team-b", "secretRef", "--credential-provider-allow team-b=r.example/app"])]
#[case::none_for_it(KeychainError::NoProvider { repository: "r.example/app".into() }, Why::RegistryNotAllowed, NOW, Retry::Interval, &["matchImages", "--credential-provider-config"])]
#[case::none_given(KeychainError::NoneGiven { provider: "ecr".into(), repository: "r.example/app".into() }, Why::AuthenticationFailed, TRIED, Retry::Backoff, &["provider ecr"])]
#[case::failed(KeychainError::Provider { provider: "ecr".into(), repository: "r.example/app".into(), source: PluginError::Exited { code: 3 } }, Why::AuthenticationFailed, TRIED, Retry::Backoff, &["provider ecr", "exit code 3"])]
fn of_a_provider(
    #[case] error: KeychainError,
    #[case] reason: Why,
    #[case] stalled: Stalled,
    #[case] retry: Retry,
    #[case] words: &[&str],
) {
    let expected = Consequence { reason, stalled, retry };
    let message = error.to_string();
    for word in words.iter().chain(&["r.example/app"]) {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert_eq!(of_publish(&PublishError::Credential { source: error.clone() }), expected);
    let source = ResolveError::Credential { source: error };
    assert_eq!(of_source(&source, true), (SourceState::Unauthorized, expected));
}

#[rstest]
#[case::waiting(Held::Waiting { waiting: vec!["linux/amd64".into()] }, Why::WaitingForPlatforms, NO, "linux/amd64")]
#[case::failed(Held::SourceFailed, Why::WaitingForPlatforms, NO, "failed")]
#[case::differ(Held::Differ { label: "rev".into(), values: vec![(Label::Absent, vec!["a".into()]), (Label::of(Some("1")), vec!["b".into(), "c".into()])], more: 0 }, Why::WaitingForMatch, NO, "\"rev\": no such label in a; \"1\" in b, c")]
#[case::format(Held::Format { platform: platform("linux/amd64"), digest: digest() }, Why::FormatMismatch, NOW, "linux/amd64 as an OCI image")]
#[case::double(Held::Duplicate { platform: platform("linux/amd64"), first: "a".into(), second: "b".into() }, Why::DuplicatePlatform, NOW, "a and b both give linux/amd64")]
#[case::shrink(Held::WouldShrink { platforms: vec!["linux/amd64".into()] }, Why::WouldShrink, NOW, "removalPolicy")]
#[case::no_image(Held::NoImage, Why::UnsupportedContent, NOW, "removalPolicy: Remove")]
#[case::many(Held::TooMany { children: 129 }, Why::TooManyPlatforms, NOW, "129")]
#[case::large(Held::TooLarge { bytes: 5_000_000 }, Why::UnsupportedContent, NOW, "5000000")]
fn of_a_plan(
    #[case] held: Held,
    #[case] reason: Why,
    #[case] stalled: Stalled,
    #[case] word: &str,
) {
    assert_eq!(of_held(&held), Consequence { reason, stalled, retry: Retry::Interval });
    assert!(held.to_string().contains(word), "{held}");
}

#[rstest]
#[case::refused(to_a_write(refused()), Why::PushFailed, NO, Retry::Refused { soon: true })]
#[case::protocol(protocol(), Why::PushFailed, NO, Retry::Backoff)]
#[case::unavailable(unavailable(None), Why::PushFailed, NO, Retry::Backoff)]
#[case::unavailable_until(
    unavailable(WAIT),
    Why::RegistryUnreachable,
    NO,
    Retry::After(Duration::from_secs(7))
)]
#[case::limited(limited(WAIT), Why::RateLimited, NO, Retry::After(Duration::from_secs(7)))]
#[case::denied(to_a_write(denied()), Why::AccessDenied, TRIED, Retry::Refused { soon: true })]
#[case::unreachable(unreachable(), Why::RegistryUnreachable, NO, Retry::Backoff)]
#[case::no_repository(to_a_write(no_repository()), Why::RepositoryNotFound, NOW, Retry::Refused { soon: false })]
#[case::immutable(to_a_write(immutable()), Why::TagImmutable, NOW, Retry::Refused { soon: false })]
fn of_a_push(
    #[case] source: RegistryError,
    #[case] reason: Why,
    #[case] stalled: Stalled,
    #[case] retry: Retry,
) {
    let error = PublishError::Push { target: reference(), source };
    assert_eq!(of_publish(&error), Consequence { reason, stalled, retry });
    assert!(error.to_string().starts_with("failed to push r.example/app:1.0: "));
    assert_eq!(error.pushed(), None, "it was not taken");
}

fn pinned() -> Reference {
    reference().pinned_to(&digest())
}

#[rstest]
#[case::unavailable(unavailable(None), Why::ReadingBack, NO, Retry::Backoff)]
#[case::limited(limited(WAIT), Why::ReadingBack, NO, Retry::After(Duration::from_secs(7)))]
#[case::denied(denied(), Why::AccessDenied, TRIED, Retry::Backoff)]
fn of_a_read_back(
    #[case] source: RegistryError,
    #[case] reason: Why,
    #[case] stalled: Stalled,
    #[case] retry: Retry,
) {
    let error = PublishError::ReadBack { target: pinned(), source };
    assert_eq!(of_publish(&error), Consequence { reason, stalled, retry });
    assert_eq!((error.pushed(), error.awaited()), (Some(&digest()), Some(&digest())));
}

#[rstest]
#[case::lagging(PublishError::Lagging { target: pinned(), pushed: true }, Why::ReadingBack, Retry::Backoff, true)]
#[case::lagging_still(PublishError::Lagging { target: pinned(), pushed: false }, Why::ReadingBack, Retry::Backoff, false)]
#[case::refused(PublishError::Copy { name: "a".into(), image: reference(), source: protocol() }, Why::PushFailed, Retry::Backoff, false)]
#[case::a_write_is_refused(PublishError::Copy { name: "a".into(), image: reference(), source: to_a_write(refused()) }, Why::PushFailed, Retry::Refused { soon: true }, false)]
#[case::a_read_is_refused(PublishError::Copy { name: "a".into(), image: reference(), source: refused() }, Why::PushFailed, Retry::Backoff, false)]
#[case::child_refused(PublishError::ChildLost { image: reference(), source: Box::new(PublishError::Copy { name: "a".into(), image: reference(), source: to_a_write(refused()) }) }, Why::ChildMissing, Retry::Backoff, false)]
#[case::blob_gone(PublishError::BlobGone { name: "a".into(), image: reference(), blob: digest() }, Why::WaitingForPlatforms, Retry::Interval, false)]
#[case::child_gone(PublishError::ChildGone { image: reference() }, Why::ChildMissing, Retry::Backoff, false)]
#[case::child_lost(PublishError::ChildLost { image: reference(), source: Box::new(PublishError::Copy { name: "a".into(), image: reference(), source: limited(WAIT) }) }, Why::ChildMissing, Retry::After(Duration::from_secs(7)), false)]
#[case::moved(PublishError::Moved { tag: reference(), named: None }, Why::Progressing, Retry::Backoff, false)]
#[case::yielded(PublishError::Yielded { tag: reference(), published: digest(), named: None }, Why::DriftDetected, Retry::Interval, false)]
#[case::mismatch(PublishError::Mismatch { target: pinned(), seen: digest() }, Why::ReadBackMismatch, Retry::Backoff, true)]
fn of_the_tag(
    #[case] error: PublishError,
    #[case] reason: Why,
    #[case] retry: Retry,
    #[case] pushed: bool,
) {
    assert_eq!(of_publish(&error), Consequence { reason, stalled: NO, retry });
    assert_eq!(error.pushed(), pushed.then(digest).as_ref());
    assert!(error.to_string().contains("r.example/app:1.0"));
}

#[rstest]
#[case::drift_loop(PublishError::DriftLoop { tag: reference(), published: digest(), named: None }, Why::DriftLoop, "requestedAt")]
#[case::immutable(PublishError::Immutable { tag: reference(), named: None }, Why::TagImmutable, "writes a tag once")]
#[case::taken(PublishError::TagTaken { tag: reference(), platform: platform("linux/amd64") }, Why::TargetConflict, "linux/amd64")]
fn of_a_tag_that_is_left(#[case] error: PublishError, #[case] reason: Why, #[case] words: &str) {
    let consequence = Consequence { reason, stalled: NOW, retry: Retry::Interval };
    assert_eq!(of_publish(&error), consequence);
    assert!(error.pushed().is_none() && error.to_string().contains(words), "{error}");
}

#[test]
fn drift_and_time_out() {
    let failure = Failure::drifted(&reference(), &digest(), None);
    assert_eq!(failure.consequence.reason, Why::DriftDetected);
    assert_eq!(failure.consequence.retry, Retry::After(Duration::from_mins(1)));
    assert!(failure.message.contains("nothing instead of sha256:"), "{}", failure.message);
    let failure = Failure::timed_out(Duration::from_mins(2), "while pushing", None);
    assert_eq!(failure.consequence.retry, Retry::Backoff);
    assert!(failure.message.ends_with("(120s), while pushing"), "{}", failure.message);
    let failure = Failure::timed_out(Duration::from_mins(2), "while copying", Some(&digest()));
    assert_eq!(failure.consequence, stalled(Why::TimedOut));
    assert!(failure.message.ends_with("raise spec.timeout"), "{}", failure.message);
}

#[test]
fn what_a_person_must_act_on_weighs_most() {
    let weights = [
        stalled(Why::WouldShrink),
        tried(Why::AccessDenied),
        retried(Why::RateLimited),
        waiting(Why::WaitingForPlatforms),
    ]
    .map(|consequence| consequence.weight());
    assert!(weights.is_sorted_by(|a, b| a > b), "{weights:?}");
}

/// A reference, a host and digests as long as they may be.
fn longest() -> (Reference, String, Digest) {
    let host = format!("{}.example:65535", vec!["a".repeat(63); 3].join("."));
    let digest: Digest = format!("sha512:{}", "f".repeat(128)).parse().unwrap();
    let text = format!("{host}/{}:{}", vec!["b".repeat(50); 5].join("/"), "c".repeat(128));
    (text.parse().unwrap(), host, digest)
}

fn every_registry_error() -> Vec<RegistryError> {
    let (reference, host, digest) = longest();
    let request = Request::manifest("GET", reference.repository(), &reference.tag_or_digest());
    let secret = "s".repeat(253);
    let credential = format!("the credential of Secret {secret}");
    let (realm, address) = (format!("https://{host}/{}", "%20".repeat(300)), "address".into());
    let why = "a redirect to another host (".to_owned() + &host;
    let codes = vec!["PROJECTPOLICYVIOLATION".to_owned(); 20];
    let named = |error: RegistryError| {
        use RegistryError as E;
        let (host, request) = (host.clone(), request.clone());
        match error {
            E::Denied { status, .. } => {
                let (credential, codes) = (credential.clone(), codes.clone());
                E::Denied { host, request, credential, status, codes }
            }
            E::Refused { status, .. } => E::Refused { host, request, status, codes: codes.clone() },
            E::Unreachable { sent, .. } => E::Unreachable { host, request, why: why.clone(), sent },
            E::Protocol { .. } => E::Protocol { host, request, why: why.clone() },
            E::WrongDigest { .. } => {
                let (expected, computed) = (digest.clone(), digest.clone());
                E::WrongDigest { host, request, expected, computed }
            }
            E::Unusable { .. } => {
                let (content_type, media_type) = ("t/".repeat(127), "m/".repeat(127));
                let source = ManifestError::Contradiction { content_type, media_type };
                E::Unusable { host, request, source }
            }
            E::RealmNotTrusted { .. } => E::RealmNotTrusted {
                host,
                realm: realm.clone(),
                credential: Origin::Secret(secret.clone()),
            },
            E::ForbiddenAddress { why, .. } => {
                let address = String::clone(&address);
                E::ForbiddenAddress { host, address, why }
            }
            other => other,
        }
    };
    let all = [
        unauthorized(),
        denied(),
        limited(WAIT),
        unavailable(None),
        unreachable(),
        slow(),
        refused(),
        protocol(),
        no_repository(),
        immutable(),
        wrong_digest(),
        wrong_size(),
        large(),
        unusable(),
        self::realm(),
        self::address(),
        archive(),
        awaited(),
        not_allowed(),
        insecure(),
    ];
    all.map(named).into()
}

/// Whatever is in them: one line that nothing remote has shaped, and no longer than an object or an Event may have.
#[test]
fn messages_are_one_line() {
    use kube::runtime::events::EventType;
    use multiarch_crds::condition::{self, MAX_MESSAGE, Status, Type};
    let (target, _, digest) = longest();
    let mut messages = Vec::new();
    for source in every_registry_error() {
        let reference = target.pinned_to(&digest).to_string();
        messages.push(ResolveError::Registry { reference, source }.to_string());
    }
    for source in every_registry_error() {
        messages.push(PublishError::Push { target: target.clone(), source }.to_string());
    }
    for source in every_registry_error() {
        let name = "n".repeat(63);
        let copy = PublishError::Copy { name, image: target.pinned_to(&digest), source };
        messages.push(copy.to_string());
        let source = Box::new(copy);
        messages.push(PublishError::ChildLost { image: target.clone(), source }.to_string());
    }
    let platforms = vec!["windows(10.0.17763.1234)/amd64".to_owned(); 64];
    let names: Vec<_> = (0..64).map(|n| format!("{n:063}")).collect();
    let label = "l\u{1b}[31m\n".repeat(50);
    let values = vec![(Label::of(Some("\u{1b}[31m")), names.clone()), (Label::Absent, names)];
    messages.extend(
        [
            Held::Waiting { waiting: platforms.clone() },
            Held::WouldShrink { platforms },
            Held::Differ { label, values, more: 3 },
        ]
        .map(|held| held.to_string()),
    );
    let (namespace, repository) = ("n".repeat(63), target.repository().to_string());
    let provider = "p".repeat(255);
    let source = PluginError::NotRun { why: "No such file or directory (os error 2)".into() };
    messages.extend(
        [
            KeychainError::ProviderNotAllowed { namespace, repository: repository.clone() },
            KeychainError::Provider { provider, repository, source },
        ]
        .map(|error| error.to_string()),
    );
    assert!(messages.len() > 60);
    for message in messages {
        assert!(!message.chars().any(char::is_control), "{message:?}");
        let mut conditions = Vec::new();
        let now = jiff::Timestamp::UNIX_EPOCH;
        condition::set(&mut conditions, Type::Ready, Status::False, "X", &message, 1, now);
        assert!(conditions[0].message.len() <= MAX_MESSAGE);
        let event = crate::events::event(EventType::Warning, "X", "Y", message.clone());
        assert!(event.note.len() <= MAX_MESSAGE);
        // What matters most comes first, and is there when it is cut.
        let begin: String = message.chars().take(200).collect();
        assert!(conditions[0].message.starts_with(&begin));
    }
}

/// Statuses name reasons of the closed list, which the troubleshooting page explains one by one.
#[test]
fn every_reason_has_its_section() {
    let page = include_str!("../../../docs/troubleshooting.md");
    for reason in Why::ALL {
        let heading = format!("\n### {reason}\n");
        assert!(page.contains(&heading), "{reason} has no section");
    }
}

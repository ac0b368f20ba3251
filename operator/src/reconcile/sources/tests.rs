//! Each reason to refuse a spec, and what a good one is parsed into.

use multiarch_crds::v1alpha1::{Provider, Registry, SecretRef, Target};
use rstest::rstest;

use super::*;

const TARGET: &str = "r.example/team/app:1.0";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn source(name: &str, image: &str) -> SourceSpec {
    SourceSpec { name: name.into(), image: image.into(), ..SourceSpec::default() }
}

fn spec(target: &str, sources: Vec<SourceSpec>) -> MultiArchImageSpec {
    let target = Target { image: target.into(), ..Target::default() };
    MultiArchImageSpec { target, sources, ..MultiArchImageSpec::default() }
}

fn of(platforms: &[&str], trust: bool) -> Vec<SourceSpec> {
    vec![SourceSpec {
        platforms: platforms.iter().map(|text| (*text).to_owned()).collect(),
        platform_policy: if trust { PlatformPolicy::Trust } else { PlatformPolicy::Verify },
        ..source("amd64", "r.example/team/app:amd64")
    }]
}

#[rstest]
#[case::target("r.example/UPPER:1", of(&[], false), "spec.target.image: ")]
#[case::target_with_digest(&format!("r.example/a:1@{DIGEST}"), of(&[], false), "must be repository:tag, without a digest")]
#[case::target_without_tag(&format!("r.example/a@{DIGEST}"), of(&[], false), "must be repository:tag, without a digest")]
#[case::image(TARGET, vec![source("x", "r.example/a b:1")], "spec.sources[x].image: ")]
#[case::source_is_target(TARGET, vec![source("x", TARGET)], "use removalPolicy: Retain")]
#[case::platform(TARGET, of(&["linux"], false), "spec.sources[amd64].platforms: \"linux\" is not a platform")]
#[case::trust_of_none(TARGET, of(&[], true), "needs exactly one platform, it has 0")]
#[case::trust_of_two(TARGET, of(&["linux/amd64", "linux/arm64"], true), "needs exactly one platform, it has 2")]
#[case::twice(TARGET, [of(&[], false), of(&[], false)].concat(), "the name amd64 occurs twice")]
fn refuses(#[case] target: &str, #[case] sources: Vec<SourceSpec>, #[case] words: &str) {
    let message = Sources::parse(&spec(target, sources)).unwrap_err().to_string();
    assert!(message.contains(words), "{message}");
    assert!(message.starts_with("spec."), "it names the field: {message}");
}

#[test]
fn refuses_a_required_platform() {
    let required = vec!["linux/*".into()];
    let spec = MultiArchImageSpec { required_platforms: required, ..spec(TARGET, of(&[], false)) };
    let message = Sources::parse(&spec).unwrap_err().to_string();
    assert!(message.starts_with("spec.requiredPlatforms: "), "{message}");
}

#[rstest]
#[case::no_tag("a b", "is no tag")]
#[case::the_targets("1.0", "is the target's own tag")]
#[case::a_source("amd64", "is one of spec.target.additionalTags")]
fn refuses_an_additional_tag(#[case] tag: &str, #[case] words: &str) {
    let mut spec = spec(TARGET, of(&[], false));
    spec.target.additional_tags = vec![tag.into()];
    let message = Sources::parse(&spec).unwrap_err().to_string();
    assert!(message.starts_with("spec.") && message.contains(words), "{message}");
}

#[test]
fn refuses_a_template() {
    let mut spec = spec(TARGET, of(&[], false));
    spec.target.platform_tags = Some("{tag}".into());
    let message = Sources::parse(&spec).unwrap_err().to_string();
    assert!(message.starts_with("spec.target.platformTags: "), "{message}");
}

#[rstest]
#[case::required("spec.requiredPlatforms", |spec: &mut MultiArchImageSpec| spec.required_platforms = vec!["unknown/unknown".into()])]
#[case::declared("spec.sources[amd64].platforms", |spec: &mut MultiArchImageSpec| spec.sources[0].platforms = vec!["unknown/unknown".into()])]
#[case::attestations("spec.target.format: a Docker manifest list has no attestations", |spec: &mut MultiArchImageSpec| spec.attestations = Attestations::Keep)]
#[case::annotations("spec.target.format: a Docker manifest list has no annotations", |spec: &mut MultiArchImageSpec| { spec.annotations.insert("a".into(), "b".into()); })]
#[case::of_a_source("spec.target.format: a Docker manifest list has no annotations", |spec: &mut MultiArchImageSpec| { spec.sources[0].annotations.insert("a".into(), "b".into()); })]
#[case::buildkit("spec.sources[amd64].annotations: \"vnd.docker.reference.type\"", |spec: &mut MultiArchImageSpec| {
    spec.target.format = Format::Oci;
    spec.sources[0].annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
})]
fn refuses_what_an_index_cannot_say(
    #[case] words: &str,
    #[case] edit: fn(&mut MultiArchImageSpec),
) {
    let mut spec = spec(TARGET, of(&[], false));
    spec.target.format = Format::Docker;
    spec.attestations = Attestations::Drop;
    Sources::parse(&spec).unwrap();
    edit(&mut spec);
    let message = Sources::parse(&spec).unwrap_err().to_string();
    assert!(message.starts_with(words), "{message}");
}

#[test]
fn parses() {
    let secret = |name: &str| SecretRef { name: name.into() };
    let mut spec = spec(TARGET, of(&["linux/aarch64"], true));
    spec.target.secret_ref = Some(secret("push"));
    spec.sources[0].secret_ref = Some(secret("own"));
    spec.sources.push(SourceSpec { optional: true, ..source("x", "docker.io/alpine:3") });
    spec.image_pull_secrets = vec![secret("pull")];
    spec.service_account_name = Some("builder".into());
    spec.required_platforms = vec!["linux/x86_64".into()];
    spec.registries = vec![
        Registry { host: "r.example".into(), plain_http: true, cert_secret_ref: None },
        Registry {
            host: "s.example".into(),
            plain_http: false,
            cert_secret_ref: Some(secret("ca")),
        },
    ];
    let sources = Sources::parse(&spec).unwrap();
    assert_eq!((sources.target.to_string().as_str(), sources.tag()), (TARGET, "1.0"));
    let [first, second] = sources.sources.as_slice() else { panic!("{sources:?}") };
    assert!(first.trust && !first.optional && second.optional && !second.trust);
    assert_eq!((first.secret.as_deref(), second.secret.as_deref()), (Some("own"), None));
    assert_eq!(first.declared[0].text, "linux/aarch64", "the user's words are kept");
    assert_eq!(first.declared[0].platform.to_string(), "linux/arm64");
    assert_eq!(second.reference.to_string(), "docker.io/library/alpine:3");
    assert_eq!(sources.required[0].to_string(), "linux/amd64");
    assert_eq!(sources.push_secret.as_deref(), Some("push"));
    assert_eq!(sources.pull_secrets, ["pull"]);
    assert_eq!(sources.account.as_deref(), Some("builder"));
    assert!(sources.plain_http(sources.target.repository()));
    assert!(!sources.plain_http(second.reference.repository()));
    assert_eq!(sources.certificates, [("s.example".into(), "ca".into())].into());
    spec.registries[1].plain_http = true;
    let message = Sources::parse(&spec).unwrap_err().to_string();
    assert!(
        message.starts_with("spec.registries[s.example]: certSecretRef is for TLS"),
        "{message}"
    );
}

fn with_provider(
    target: bool,
    source: bool,
    secret: bool,
    registries: Vec<Registry>,
) -> MultiArchImageSpec {
    let mut spec = spec(TARGET, of(&[], false));
    spec.target.provider = target.then_some(Provider::Kubelet);
    spec.sources[0].provider = source.then_some(Provider::Kubelet);
    let named = secret.then(|| SecretRef { name: "s".into() });
    spec.target.secret_ref = named.clone().filter(|_| target);
    spec.sources[0].secret_ref = named.filter(|_| source);
    MultiArchImageSpec { registries, ..spec }
}

fn trusted(host: &str, plain_http: bool, secret: bool) -> Vec<Registry> {
    let cert_secret_ref = secret.then(|| SecretRef { name: "ca".into() });
    vec![Registry { host: host.into(), plain_http, cert_secret_ref }]
}

#[rstest]
#[case::target(with_provider(true, false, false, vec![]), None)]
#[case::source(with_provider(false, true, false, vec![]), None)]
#[case::elsewhere(with_provider(true, true, false, trusted("r.example:5000", true, false)), None)]
#[case::nothing_said(with_provider(true, true, false, trusted("r.example", false, false)), None)]
#[case::target_with_secret(with_provider(true, false, true, vec![]), Some("spec.target: provider gives the credential in the place"))]
#[case::source_with_secret(with_provider(false, true, true, vec![]), Some("spec.sources[amd64]: provider gives the credential in the place"))]
#[case::without_tls(
    with_provider(true, false, false, trusted("r.example", true, false)),
    Some("spec.target.provider: the operator's own credential")
)]
#[case::by_another_ca(
    with_provider(false, true, false, trusted("r.example", false, true)),
    Some("spec.sources[amd64].provider: the operator's own credential")
)]
fn a_provider_stands_alone(#[case] spec: MultiArchImageSpec, #[case] words: Option<&str>) {
    match (Sources::parse(&spec), words) {
        (Ok(sources), None) => {
            assert_eq!(sources.push_provider, spec.target.provider.is_some());
            assert_eq!(sources.sources[0].provider, spec.sources[0].provider.is_some());
        }
        (Err(error), Some(words)) => assert!(error.to_string().starts_with(words), "{error}"),
        (got, _) => panic!("{got:?}"),
    }
}

#[rstest]
#[case::any(&[], None)]
#[case::hosts(&["r.example", "docker.io"], None)]
#[case::paths(&["r.example/team/app", "docker.io/library"], None)]
#[case::target(&["docker.io"], Some("spec.target.image: r.example/team/app:1.0 is in no registry"))]
#[case::source(&["r.example"], Some("spec.sources[hub].image: docker.io/library/alpine:3 is in no registry"))]
#[case::look_alike(&["r.example.com", "x.r.example", "docker.io"], Some("ask the operator's admin to allow r.example/team/app"))]
fn tenants_name_what_is_allowed(#[case] allowed: &[&str], #[case] words: Option<&str>) {
    // A source that is optional, too: else it would be asked.
    let hub = SourceSpec { optional: true, ..source("hub", "alpine:3") };
    let sources = [of(&[], false), vec![hub]].concat();
    let sources = Sources::parse(&spec(TARGET, sources)).unwrap();
    let allowed: Vec<Prefix> = allowed.iter().map(|text| text.parse().unwrap()).collect();
    match (sources.check_allowed(&allowed), words) {
        (Ok(()), None) => {}
        (Err(error), Some(words)) => {
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.to_string().contains("--allowed-registries"), "{error}");
        }
        (got, _) => panic!("{got:?}"),
    }
}

/// A file has no registry that could be allowed, trusted or spoken to without TLS, whatever its images are called.
#[test]
fn what_is_in_an_archive_is_on_no_registry() {
    let mut sources = Sources::parse(&spec(TARGET, vec![source("hub", "alpine:3")])).unwrap();
    sources.plain_http.insert("docker.io".into());
    sources.certificates.insert("docker.io".into(), "certs".into());
    let hub = sources.sources[0].reference.repository().clone();
    let inside = Repository::in_archive("a.tar", &hub);
    assert!(sources.plain_http(&hub) && sources.has_own_tls(&hub));
    assert!(!sources.plain_http(&inside) && !sources.has_own_tls(&inside));
    sources.plain_http.clear();
    assert!(sources.has_own_tls(&hub) && !sources.has_own_tls(&inside));
    let allowed: Vec<Prefix> = vec!["r.example".parse().unwrap()];
    assert!(sources.check_allowed(&allowed).is_err());
    sources.sources[0].reference = inside.tag("3");
    sources.check_allowed(&allowed).unwrap();
}

#[rstest]
#[case::short("rancher/pause:3.1", "docker.io/rancher/pause:3.1")]
#[case::shortest("busybox:1.36", "docker.io/library/busybox:1.36")]
#[case::whole("quay.io/coreos/etcd:v3.5.0", "quay.io/coreos/etcd:v3.5.0")]
fn an_archives_image_is_called_as_docker_calls_it(#[case] image: &str, #[case] called: &str) {
    let sources = Sources::parse(&spec(TARGET, vec![archived(image)])).unwrap();
    let reference = &sources.sources[0].reference;
    assert_eq!(reference.to_string(), format!("k3s/arm64.tar.zst#{called}"));
    assert_eq!(reference.repository().archive(), Some("k3s/arm64.tar.zst"));
}

#[rstest]
#[case::alone(&format!("rancher/pause@{DIGEST}"), None)]
#[case::with_a_tag(&format!("rancher/pause:3.1@{DIGEST}"), Some("3.1"))]
fn a_digest_decides_in_an_archive_too(#[case] image: &str, #[case] tag: Option<&str>) {
    let sources = Sources::parse(&spec(TARGET, vec![archived(image)])).unwrap();
    let reference = &sources.sources[0].reference;
    assert_eq!(reference.repository().archive(), Some("k3s/arm64.tar.zst"));
    assert_eq!(reference.tag(), tag);
    assert_eq!(reference.tag_or_digest().to_string(), DIGEST);
    let told = Source::absence(reference);
    assert!(told.contains("has no image of this digest"), "{told}");
}

fn archived(image: &str) -> SourceSpec {
    let archive = ArchiveSource { path: "k3s/arm64.tar.zst".into(), image: image.into() };
    SourceSpec { archive: Some(archive), ..source("arm64", "") }
}

#[rstest]
#[case::no_name(archived("a b:1"), "spec.sources[arm64].archive.image: ")]
#[case::no_tag(archived("rancher/pause"), "spec.sources[arm64].archive.image")]
#[case::an_image_too(SourceSpec { image: "r.example/a:1".into(), ..archived("pause:3.1") }, "spec.sources[arm64]")]
#[case::a_secret_too(SourceSpec { secret_ref: Some(SecretRef { name: "x".into() }), ..archived("pause:3.1") }, "spec.sources[arm64]")]
#[case::a_provider_too(SourceSpec { provider: Some(Provider::Kubelet), ..archived("pause:3.1") }, "spec.sources[arm64]")]
fn refuses_of_archives(#[case] source: SourceSpec, #[case] words: &str) {
    let message = Sources::parse(&spec(TARGET, vec![source])).unwrap_err().to_string();
    assert!(message.starts_with(words), "{message}");
}

/// The same tag by digest is no loop: the digest decides, and it never moves.
#[test]
fn a_source_may_be_the_target_pinned() {
    Sources::parse(&spec(TARGET, vec![source("x", &format!("{TARGET}@{DIGEST}"))])).unwrap();
}

//! Hostile and broken registries: a clear error for each, bounded memory, and nothing published.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use faces::{access, by, remote, remote_naming, tag};
use multiarch_operator::{
    oci::{Descriptor, Digest, RawManifest, Reference, Repository, TagOrDigest, media_type},
    registry::{
        Access, Put, Registry, RegistryError,
        memory::{Image, Lie, Lies, Server, Store, serve},
        remote::{Limits, Options, Remote},
    },
};
use rstest::rstest;

const APP: &str = "team/app";
/// More than the network takes of a body that nobody reads, and far less than 1 GiB.
const BUFFERED: u64 = 64 << 20;
const SOON: Duration = Duration::from_millis(100);

/// What tests would wait for, shortened.
fn quick() -> Limits {
    Limits { backoff: Duration::from_millis(1), ..Limits::default() }
}

/// A registry with one image, `1.0`, that lies; and a client.
struct Scene {
    server: Server,
    remote: Remote,
    access: Access,
    app: Repository,
    image: RawManifest,
    config: Descriptor,
}

impl Scene {
    async fn of(lies: impl IntoIterator<Item = Lie>) -> Self {
        Self::within(Limits::default(), lies).await
    }

    async fn within(limits: Limits, lies: impl IntoIterator<Item = Lie>) -> Self {
        let store = Store::new();
        let image = Image::of("linux/amd64");
        let digest = store.push(APP, Some("1.0"), &image).digest;
        let config = store.push_blob(APP, "config", image.config());
        let image = store.manifest(APP, &by(&digest)).unwrap();
        let lies = Lies { lies: lies.into_iter().collect(), ..Lies::default() };
        let server = serve(store, lies).await;
        let app = server.repository(APP);
        let remote = remote_naming(&server.addr.to_string(), limits);
        Self { server, remote, access: access(None), app, image, config }
    }

    async fn head(&self, reference: &TagOrDigest) -> Result<Option<Descriptor>, RegistryError> {
        self.remote.head_manifest(&self.access, &self.app, reference).await
    }

    async fn get(&self, reference: &TagOrDigest) -> Result<Option<RawManifest>, RegistryError> {
        self.remote.get_manifest(&self.access, &self.app, reference).await
    }

    async fn blob(&self) -> Result<Option<Bytes>, RegistryError> {
        self.remote.get_blob(&self.access, &self.app, &self.config).await
    }

    /// PUT of the image under another tag.
    async fn put(&self) -> Result<Put, RegistryError> {
        self.remote.put_manifest(&self.access, &self.app, &tag("2.0"), &self.image).await
    }

    fn published(&self) -> bool {
        self.server.store().tagged(APP, "2.0").is_some()
    }

    /// Requests since the last look, without the origin.
    fn requests(&self) -> Vec<String> {
        let requests = self.server.requests();
        self.server.forget();
        requests
    }
}

/// The error's sentence, which must hold `parts` and no secret.
#[track_caller]
fn says(error: &RegistryError, parts: &[&str]) {
    let whole = format!("{error} {error:?}");
    for secret in ["secret", "hunter2", "sig="] {
        assert!(!whole.replace("secret: ", "").contains(secret), "{whole} shows {secret}");
    }
    for part in parts {
        assert!(error.to_string().contains(part), "{error} does not say {part}");
    }
}

macro_rules! error {
    ($result:expr, $variant:pat, $($part:expr),+) => {{
        let error = $result.unwrap_err();
        assert!(matches!(error, $variant), "{error:?}");
        says(&error, &[$($part),+]);
    }};
}

#[tokio::test]
async fn a_digest_header_of_other_content_is_an_error() {
    let scene = Scene::of([Lie::WrongDigestHeader]).await;
    let (named, true_) = (Digest::of(b"something else"), scene.image.digest());
    let parts = ["GET manifest team/app:1.0", true_.as_str(), named.as_str()];
    error!(
        scene.get(&tag("1.0")).await,
        RegistryError::WrongDigest { .. },
        parts[0],
        parts[1],
        parts[2]
    );
    error!(
        scene.head(&by(true_)).await,
        RegistryError::WrongDigest { .. },
        "HEAD manifest team/app@"
    );
}

#[tokio::test]
async fn a_body_that_is_not_its_digest_is_an_error() {
    let scene = Scene::of([Lie::WrongBody]).await;
    for reference in [tag("1.0"), by(scene.image.digest())] {
        error!(
            scene.get(&reference).await,
            RegistryError::WrongDigest { .. },
            "content of digest sha256:"
        );
    }
    error!(scene.blob().await, RegistryError::WrongDigest { .. }, "GET blob team/app@sha256:");
}

#[tokio::test]
async fn other_content_under_a_digest_is_an_error_though_it_is_valid() {
    let scene = Scene::of([Lie::OtherContent]).await;
    let other = scene.server.store().push_image(APP, "other", "linux/arm64");
    let result = scene.get(&by(scene.image.digest())).await;
    error!(
        result,
        RegistryError::WrongDigest { .. },
        other.digest.as_str(),
        scene.image.digest().as_str()
    );
}

#[tokio::test]
async fn a_blob_of_another_size_is_an_error() {
    let scene = Scene::of([Lie::WrongSize]).await;
    let size = scene.config.size;
    error!(
        scene.blob().await,
        RegistryError::WrongSize { .. },
        &format!("{} bytes where {size} were promised", size + 1)
    );
}

#[tokio::test]
async fn a_blob_that_claims_to_be_huge_is_never_asked_for() {
    let mut scene = Scene::of([]).await;
    scene.config.size = (8 << 20) + 1;
    error!(
        scene.blob().await,
        RegistryError::TooLarge { limit: 8_388_608, .. },
        "the limit for a blob"
    );
    assert_eq!(scene.requests(), [""; 0]);
}

#[rstest]
#[tokio::test]
async fn a_huge_body_is_not_read(#[values(true, false)] announced: bool) {
    let scene = Scene::of([Lie::Huge { announced }]).await;
    error!(
        scene.get(&tag("1.0")).await,
        RegistryError::TooLarge { limit: 4_194_304, .. },
        "GET manifest team/app:1.0",
        "more than 4194304 bytes, the limit for a manifest"
    );
    error!(scene.blob().await, RegistryError::WrongSize { .. }, "were promised");
    assert!(scene.server.sent() < BUFFERED, "{} bytes were taken", scene.server.sent());
}

#[tokio::test]
async fn a_huge_error_is_not_read() {
    let scene = Scene::of([Lie::HugeError]).await;
    error!(scene.get(&tag("1.0")).await, RegistryError::Refused { status: 400, .. }, "HTTP 400");
    assert!(scene.server.sent() < BUFFERED, "{} bytes were taken", scene.server.sent());
}

#[rstest]
#[case::no_type(Lie::NoMediaType, "neither an image manifest nor an index")]
#[case::schema1(Lie::Schema1, "schema 1")]
#[case::html(Lie::Html(200), "not a valid manifest")]
#[tokio::test]
async fn what_is_no_manifest_is_refused_by_name(#[case] lie: Lie, #[case] why: &str) {
    let scene = Scene::of([lie]).await;
    let unusable = "has no usable content for GET manifest team/app:1.0";
    error!(scene.get(&tag("1.0")).await, RegistryError::Unusable { .. }, unusable, why);
    error!(scene.head(&tag("1.0")).await, RegistryError::Unusable { .. }, unusable, why);
}

#[tokio::test]
async fn an_index_that_is_an_image_too_is_refused() {
    let scene = Scene::of([Lie::Ambiguous]).await;
    error!(
        scene.get(&tag("1.0")).await,
        RegistryError::Unusable { .. },
        "an index and an image manifest at once"
    );
}

#[tokio::test]
async fn one_byte_a_second_is_too_slow() {
    let limits = Limits { rate_window: SOON, ..Limits::default() };
    let scene = Scene::within(limits, [Lie::Trickle]).await;
    let why = "under 1024 bytes a second for 100ms";
    error!(
        scene.get(&tag("1.0")).await,
        RegistryError::TooSlow { .. },
        "too slow for GET manifest",
        why
    );
    error!(scene.blob().await, RegistryError::TooSlow { .. }, why);
}

#[tokio::test]
async fn a_body_that_never_comes_is_too_slow() {
    let limits = Limits { idle: SOON, ..Limits::default() };
    let scene = Scene::within(limits, [Lie::SilentBody]).await;
    error!(scene.get(&tag("1.0")).await, RegistryError::TooSlow { .. }, "no byte within 100ms");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_too_slow() {
    let limits = Limits { first_byte: SOON, ..Limits::default() };
    let scene = Scene::within(limits, [Lie::Silence]).await;
    error!(scene.head(&tag("1.0")).await, RegistryError::TooSlow { .. }, "no answer within 100ms");
    error!(scene.put().await, RegistryError::TooSlow { .. }, "PUT manifest team/app:2.0");
}

#[tokio::test]
async fn a_registry_that_does_not_read_is_too_slow() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let reference: Reference = format!("{host}/{APP}:1.0").parse().unwrap();
    // More than the buffers of both ends take.
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, vec![b' '; 16 << 20].into());
    let remote = remote(Limits { idle: SOON, ..Limits::default() });
    let result =
        remote.put_manifest(&access(None), reference.repository(), &tag("1.0"), &manifest).await;
    error!(result, RegistryError::TooSlow { .. }, "PUT manifest", "no byte within 100ms");
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let scene = Scene::of([Lie::RedirectLoop]).await;
    error!(
        scene.get(&tag("1.0")).await,
        RegistryError::Protocol { .. },
        "more than 5 redirects in a row"
    );
    assert_eq!(scene.requests().len(), 6);
}

#[tokio::test]
async fn a_write_never_leaves_the_host() {
    let other = serve(Store::new(), Lies::default()).await;
    let scene = Scene::of([Lie::RedirectWrites(other.origin())]).await;
    error!(
        scene.put().await,
        RegistryError::Protocol { .. },
        "a redirect of a PUT to another host (127.0.0.1",
        "where no write goes"
    );
    assert_eq!(other.requests(), [""; 0]);
    assert!(!scene.published());
}

#[tokio::test]
async fn a_write_stays_within_the_redirects_of_its_host() {
    let scene = Scene::of([Lie::RedirectLoop]).await;
    error!(scene.put().await, RegistryError::Protocol { .. }, "more than 5 redirects in a row");
    assert!(scene.requests().iter().all(|request| request.starts_with("PUT ")));
    assert!(!scene.published());
}

#[tokio::test]
async fn a_connection_that_is_cut_in_a_body_is_an_error() {
    let scene = Scene::of([Lie::CutBody]).await;
    let cut = "the connection broke before the whole answer came";
    error!(scene.get(&tag("1.0")).await, RegistryError::Unreachable { .. }, "GET manifest", cut);
    error!(scene.blob().await, RegistryError::Unreachable { .. }, "GET blob", cut);
}

/// A port that was free a moment ago: bound, and closed again.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn head_at(remote: &Remote, host: &str, plain_http: bool) -> RegistryError {
    let reference: Reference = format!("{host}/{APP}:1.0").parse().unwrap();
    let access = Access { plain_http, ..access(None) };
    remote.head_manifest(&access, reference.repository(), &tag("1.0")).await.unwrap_err()
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    let closed = closed();
    let remote = remote_naming(&closed, Limits::default());
    let result: Result<(), _> = Err(head_at(&remote, &closed, true).await);
    error!(result, RegistryError::Unreachable { .. }, &closed, "connection refused");
}

/// What would tell a closed port from an open one, one that filters from one that speaks something else, or a name that is
/// there from one that is not, is told of hosts that the admin has named, and of no other.
#[tokio::test]
async fn a_host_that_no_admin_has_named_is_told_of_in_one_sentence() {
    let silent = Scene::of([Lie::Silence]).await;
    // Accepts, and ends the connection at once.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let resolve = Arc::new(|name: String| {
        let found: futures::future::BoxFuture<'static, _> = match &*name {
            "never.test" => Box::pin(std::future::pending()),
            _ => Box::pin(std::future::ready(Err(std::io::Error::other("secret words")))),
        };
        found
    });
    let limits = Limits { first_byte: SOON, connect: SOON, ..Limits::default() };
    let remote = |allowed: &str| {
        let allowed = vec![allowed.parse().unwrap()];
        let (limits, resolve) = (limits.clone(), resolve.clone());
        let flags = Options { allow_loopback: true, allow_http: true, ..Options::default() };
        Remote::new(Options { limits, resolve, allowed, ..flags }).unwrap()
    };
    let speaks = silent.server.addr.to_string();
    let cases = [
        (closed(), true),
        (deaf, true),
        (speaks.clone(), true),
        (speaks, false),
        ("gone.test".to_owned(), false),
        ("never.test".to_owned(), false),
    ];
    let mut detailed = Vec::new();
    for (host, plain_http) in cases {
        let told = head_at(&remote("other.test"), &host, plain_http).await;
        assert!(matches!(told, RegistryError::Unreachable { .. }), "{told:?}");
        let sentence = format!(
            "failed to reach {host} for HEAD manifest team/app:1.0: no usable connection (the operator's log says more)"
        );
        assert_eq!(told.to_string(), sentence);
        let named = head_at(&remote(&host), &host, plain_http).await;
        detailed.push(named.to_string().replace(&host, "it"));
    }
    detailed.sort();
    detailed.dedup();
    assert!(detailed.len() >= 5, "{detailed:#?}");
}

#[tokio::test]
async fn a_registry_without_tls_is_told_so() {
    let scene = Scene::of([]).await;
    let access = Access { plain_http: false, ..scene.access.clone() };
    let result = scene.remote.head_manifest(&access, &scene.app, &tag("1.0")).await;
    error!(result, RegistryError::Unreachable { .. }, "does not speak TLS (is plainHTTP missing?)");
}

#[rstest]
#[case("7", 7, 1)]
#[case("100000", 900, 1)]
#[case("Fri, 01 Jan 2038 00:00:00 GMT", 900, 1)]
#[case("Sun, 06 Nov 1994 08:49:37 GMT", 0, 4)]
#[tokio::test]
async fn a_rate_limit_says_how_long(
    #[case] header: &str,
    #[case] seconds: u64,
    #[case] requests: usize,
) {
    let scene = Scene::within(quick(), [Lie::RateLimited(header.into())]).await;
    let error = scene.head(&tag("1.0")).await.unwrap_err();
    let RegistryError::RateLimited { retry_after, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*retry_after, Some(Duration::from_secs(seconds)));
    says(&error, &["limits the rate of requests (HTTP 429"]);
    assert_eq!(scene.requests().len(), requests, "once, where a run should not wait for it");
}

#[rstest]
#[case(400, "Refused", "")]
#[case(401, "Unauthorized", "")]
#[case(403, "Denied", "DENIED")]
#[case(409, "Refused", "DENIED")]
#[case(500, "Unavailable", "DENIED")]
#[tokio::test]
async fn errors_show_codes_of_the_spec_and_nothing_else(
    #[case] status: u16,
    #[case] variant: &str,
    #[case] code: &str,
) {
    let scene = Scene::of([Lie::Secrets(status)]).await;
    let errors = [scene.get(&tag("1.0")).await.unwrap_err(), scene.put().await.unwrap_err()];
    for error in errors {
        assert!(format!("{error:?}").starts_with(variant), "{error:?}");
        says(&error, &[&format!("HTTP {status}"), code]);
    }
    assert!(!scene.published());
}

#[rstest]
#[case(404, None)]
#[case(403, Some("Denied"))]
#[case(502, Some("Unavailable"))]
#[tokio::test]
async fn a_proxys_page_counts_by_its_status(#[case] status: u16, #[case] variant: Option<&str>) {
    let scene = Scene::of([Lie::Html(status)]).await;
    match (scene.get(&tag("1.0")).await, variant) {
        (Ok(found), None) => assert_eq!(found, None),
        (Err(error), Some(variant)) => {
            assert!(format!("{error:?}").starts_with(variant), "{error:?}");
            says(&error, &[&format!("HTTP {status}")]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_404_to_a_write_is_about_the_repository() {
    let scene = Scene::of([Lie::PutRefused(404, "NAME_UNKNOWN")]).await;
    error!(
        scene.put().await,
        RegistryError::RepositoryNotFound { .. },
        "PUT manifest team/app:2.0",
        "create it first"
    );
}

/// Where a tag is refused that names something else, the same bytes by digest tell whether it is
/// the tag that may not change.
#[rstest]
#[case::immutable(Lie::Immutable(412, "PRECONDITION"), "TagImmutable", true)]
#[case::immutable_by_405(Lie::Immutable(405, "UNSUPPORTED"), "TagImmutable", true)]
#[case::no_right(Lie::PutRefused(403, "DENIED"), "Denied", false)]
#[case::bad_manifest(Lie::PutRefused(400, "MANIFEST_INVALID"), "Refused", false)]
#[tokio::test]
async fn a_refused_tag_is_tried_by_digest(
    #[case] lie: Lie,
    #[case] variant: &str,
    #[case] stored: bool,
) {
    let scene = Scene::of([lie]).await;
    let store = scene.server.store();
    let digest = store.push(APP, None, &Image::of("linux/amd64").labelled("a", "b")).digest;
    let manifest = store.manifest(APP, &by(&digest)).unwrap();
    store.delete_manifest(APP, &digest);
    let put = scene.remote.put_manifest(&scene.access, &scene.app, &tag("1.0"), &manifest).await;
    let error = put.unwrap_err();
    assert!(format!("{error:?}").starts_with(variant), "{error:?}");
    says(&error, &["PUT manifest team/app:1.0"]);
    let (at_tag, at_digest) = ("team/app/manifests/1.0", format!("team/app/manifests/{digest}"));
    let expected =
        [format!("PUT /v2/{at_tag}"), format!("HEAD /v2/{at_tag}"), format!("PUT /v2/{at_digest}")];
    assert_eq!(scene.requests(), expected);
    assert_eq!(store.manifest(APP, &by(&digest)).is_some(), stored);
    assert_eq!(store.tagged(APP, "1.0"), Some(scene.image.clone()), "the tag is as it was");
}

#[tokio::test]
async fn a_head_without_digest_is_a_get_and_never_asked_again() {
    for lie in [Lie::WithoutDigest("HEAD"), Lie::HeadRefused(405), Lie::HeadRefused(501)] {
        let scene = Scene::of([lie]).await;
        for _ in 0..2 {
            let found = scene.head(&tag("1.0")).await.unwrap();
            assert_eq!(found, Some(scene.image.descriptor()));
        }
        let path = "/v2/team/app/manifests/1.0";
        let expected = ["HEAD", "GET", "GET"].map(|method| format!("{method} {path}"));
        assert_eq!(scene.requests(), expected);
    }
}

/// Artifactory's octet-stream: only the body tells what it is, and HEAD stays of use for others.
#[tokio::test]
async fn a_type_that_says_nothing_yields_to_the_body() {
    for vague in ["application/octet-stream", "text/plain; charset=utf-8", "application/json"] {
        let scene = Scene::of([Lie::Header("content-type", vague.into())]).await;
        let found = scene.head(&tag("1.0")).await.unwrap();
        assert_eq!(found, Some(scene.image.descriptor()));
        scene.server.lie([]);
        scene.head(&tag("1.0")).await.unwrap();
        let asked: Vec<_> = scene.server.seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(asked, ["HEAD", "GET", "HEAD"]);
    }
}

#[tokio::test]
async fn a_digest_header_of_another_algorithm_is_ignored() {
    let other = format!("sha512:{}", "0".repeat(128));
    let scene = Scene::of([Lie::Header("docker-content-digest", other)]).await;
    let image = Some(scene.image.descriptor());
    assert_eq!(scene.head(&by(scene.image.digest())).await.unwrap(), image);
    assert_eq!(scene.get(&tag("1.0")).await.unwrap().as_ref(), Some(&scene.image));
    assert_eq!(scene.head(&tag("1.0")).await.unwrap(), image);
}

#[tokio::test]
async fn headers_have_a_limit() {
    let scene = Scene::of([Lie::Header("x-large", "x".repeat(70_000))]).await;
    error!(
        scene.get(&tag("1.0")).await,
        RegistryError::Protocol { .. },
        "more than 65536 bytes of headers"
    );
}

/// A registry that lags on what an index lists says nothing of the tag, also where it has caught up a moment later.
#[tokio::test]
async fn a_tag_that_is_refused_for_what_its_index_lists_is_no_immutable_one() {
    let scene = Scene::of([Lie::Immutable(400, "MANIFEST_BLOB_UNKNOWN")]).await;
    let store = scene.server.store();
    let digest = store.push(APP, None, &Image::of("linux/amd64").labelled("a", "b")).digest;
    let manifest = store.manifest(APP, &by(&digest)).unwrap();
    let put = scene.remote.put_manifest(&scene.access, &scene.app, &tag("1.0"), &manifest).await;
    error!(put, RegistryError::Refused { status: 400, .. }, "MANIFEST_BLOB_UNKNOWN");
    let at_tag = "/v2/team/app/manifests/1.0";
    assert_eq!(scene.requests(), [format!("PUT {at_tag}"), format!("HEAD {at_tag}")]);
}

#[tokio::test]
async fn an_answer_that_fails_once_is_not_hidden() {
    let scene = Scene::of([Lie::Once(503)]).await;
    error!(
        scene.get(&tag("1.0")).await,
        RegistryError::Unavailable { status: 503, .. },
        "HTTP 503"
    );
    assert!(scene.get(&tag("1.0")).await.unwrap().is_some());
}

/// What becomes of a PUT, and what it asks: P for PUT, H for the look by HEAD.
#[rstest]
#[case::stored_and_cut(Lie::CutStoredPut, Ok(Put::Taken), "PH")]
#[case::cut(Lie::CutPut, Ok(Put::Taken), "PHP")]
#[case::stored_502(Lie::StoredPut(502), Ok(Put::Taken), "PH")]
#[case::stored_504(Lie::StoredPut(504), Ok(Put::Taken), "PH")]
#[case::once_502(Lie::Once(502), Ok(Put::Taken), "PHP")]
#[case::once_500(Lie::Once(500), Ok(Put::Taken), "PP")]
#[case::once_408(Lie::Once(408), Ok(Put::Taken), "PP")]
#[case::once_503(Lie::Once(503), Err("HTTP 503"), "P")]
#[case::decided_500(Lie::PutRefused(500, "DENIED"), Err("HTTP 500 DENIED"), "PPP")]
#[case::always_500(Lie::PutRefused(500, ""), Err("HTTP 500"), "PPPP")]
#[case::always_502(Lie::PutRefused(502, ""), Err("HTTP 502"), "PHPHPHPH")]
#[case::stored_409(Lie::StoredPut(409), Ok(Put::Present), "PH")]
#[case::stored_403(Lie::StoredPut(403), Ok(Put::Present), "PH")]
#[case::refused_409(Lie::PutRefused(409, "TAG_IMMUTABLE"), Err("HTTP 409 TAG_IMMUTABLE"), "PH")]
#[case::refused_429(Lie::PutRefused(429, ""), Err("HTTP 429"), "PPPP")]
#[case::refused_503(Lie::PutRefused(503, ""), Err("HTTP 503"), "P")]
#[tokio::test]
async fn a_put_whose_answer_is_lost_is_looked_for(
    #[case] lie: Lie,
    #[case] outcome: Result<Put, &str>,
    #[case] asked: &str,
) {
    let scene = Scene::within(quick(), [lie]).await;
    match (scene.put().await, outcome) {
        (Ok(put), Ok(expected)) => {
            assert_eq!(put, expected);
            assert!(scene.published());
        }
        (Err(error), Err(part)) => {
            says(&error, &[part]);
            assert!(!scene.published());
        }
        (got, _) => panic!("{got:?}"),
    }
    let initials: String = scene.requests().iter().map(|request| &request[..1]).collect();
    assert_eq!(initials, asked);
}

#[tokio::test]
async fn loopback_is_forbidden_without_the_flag() {
    let scene = Scene::of([]).await;
    let options = Options { allow_http: true, ..Options::default() };
    let strict = Remote::new(options).unwrap();
    let result = strict.get_manifest(&scene.access, &scene.app, &tag("1.0")).await;
    error!(
        result,
        RegistryError::ForbiddenAddress { .. },
        "127.0.0.1",
        "--allow-loopback-registries"
    );
    assert_eq!(scene.requests(), [""; 0]);
}

#[rstest]
#[case("metadata.test", "169.254.169.254", "link-local")]
#[case("mapped.test", "::ffff:169.254.169.254", "link-local")]
#[case("loopback.test", "127.0.0.1", "--allow-loopback-registries")]
#[tokio::test]
async fn a_name_is_judged_by_its_addresses(
    #[case] name: &'static str,
    #[case] address: IpAddr,
    #[case] why: &str,
) {
    let resolve = Arc::new(move |_: String| {
        let found: futures::future::BoxFuture<'static, _> =
            Box::pin(std::future::ready(Ok(vec![address])));
        found
    });
    let remote = Remote::new(Options { resolve, ..Options::default() }).unwrap();
    let reference: Reference = format!("{name}/{APP}:1.0").parse().unwrap();
    let access = Access { plain_http: false, ..access(None) };
    let result = remote.head_manifest(&access, reference.repository(), &tag("1.0")).await;
    error!(result, RegistryError::ForbiddenAddress { .. }, name, &address.to_string(), why);
}

#[tokio::test]
async fn a_name_that_is_never_resolved_is_too_slow() {
    let resolve = Arc::new(|_: String| {
        let never: futures::future::BoxFuture<'static, _> = Box::pin(std::future::pending());
        never
    });
    let limits = Limits { connect: SOON, ..Limits::default() };
    let allowed = vec!["registry.test".parse().unwrap()];
    let remote = Remote::new(Options { resolve, limits, allowed, ..Options::default() }).unwrap();
    let reference: Reference = format!("registry.test/{APP}:1.0").parse().unwrap();
    let access = Access { plain_http: false, ..access(None) };
    let result = remote.head_manifest(&access, reference.repository(), &tag("1.0")).await;
    error!(result, RegistryError::TooSlow { .. }, "registry.test", "no connection within 100ms");
}

#[tokio::test]
async fn a_name_that_has_no_address_is_unreachable() {
    let resolve = Arc::new(|_: String| {
        let failed = Err(std::io::Error::other("secret words of a resolver"));
        let failed: futures::future::BoxFuture<'static, _> = Box::pin(std::future::ready(failed));
        failed
    });
    let allowed = vec!["registry.test".parse().unwrap()];
    let remote = Remote::new(Options { resolve, allowed, ..Options::default() }).unwrap();
    let reference: Reference = format!("registry.test/{APP}:1.0").parse().unwrap();
    let access = Access { plain_http: false, ..access(None) };
    let result = remote.head_manifest(&access, reference.repository(), &tag("1.0")).await;
    let error = result.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().ends_with("its name was not resolved"), "{error}");
}

#[rstest]
#[case::literal("http://169.254.169.254", "169.254.169.254")]
#[case::short("http://0", "0.0.0.0")]
#[tokio::test]
async fn a_redirect_is_judged_by_its_address(#[case] to: &str, #[case] address: &str) {
    let scene = Scene::of([Lie::RedirectManifests(to.into())]).await;
    let result = scene.get(&tag("1.0")).await;
    error!(result, RegistryError::ForbiddenAddress { .. }, address, "does not go");
}

#[tokio::test]
async fn plain_http_needs_the_flag() {
    let scene = Scene::of([]).await;
    let options = Options { allow_loopback: true, ..Options::default() };
    let strict = Remote::new(options).unwrap();
    let result = strict.get_manifest(&scene.access, &scene.app, &tag("1.0")).await;
    error!(result, RegistryError::InsecureNotAllowed { .. }, "--insecure-allow-http");
    assert_eq!(scene.requests(), [""; 0]);
}

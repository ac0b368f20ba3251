//! Referrers and the deletion of tags on registries that do it otherwise, and what they cost at the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;

use std::time::Duration;

use faces::{Asks, Face, Kind, PASSWORD, PATHS, Speaks, USER, access, by, remote, tag};
use multiarch_operator::{
    oci::{
        Descriptor, Digest, Index, Manifest, RawManifest, Repository,
        referrer::{Referrer, fallback_tag},
    },
    registry::{
        Access, Registry, RegistryError, Scope,
        memory::{Image, Lie, Lies, Login, Server, Store, serve, server::User},
        remote::{Limits, Remote},
    },
};
use rstest::rstest;

const APP: &str = PATHS[0];
const NOT_FOUND: (&str, &str) = ("text/plain; charset=utf-8", "404 page not found\n");
const HTML: (&str, &str) = ("text/html", "<html>token=hunter2</html>");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry without referrers API, as distribution is one.
fn without() -> Lie {
    Lie::Referrers(404, NOT_FOUND.0, NOT_FOUND.1)
}

/// A registry with an image, and a client.
struct Scene {
    server: Server,
    remote: Remote,
    access: Access,
    app: Repository,
    subject: Descriptor,
}

impl Scene {
    async fn of(lies: impl IntoIterator<Item = Lie>) -> Self {
        Self::with(Login::Nobody, access(None), lies).await
    }

    async fn bearer(lies: impl IntoIterator<Item = Lie>) -> Self {
        let login = Login::bearer(vec![User::new(USER, PASSWORD, &[APP])]);
        Self::with(login, access(Some((USER, PASSWORD))), lies).await
    }

    async fn with(login: Login, access: Access, lies: impl IntoIterator<Item = Lie>) -> Self {
        let store = Store::new();
        let subject = store.push_image(APP, "1.0", "linux/amd64");
        let server = serve(store, Lies { login, lies: lies.into_iter().collect() }).await;
        let limits = Limits { backoff: Duration::from_millis(1), ..Limits::default() };
        let app = server.repository(APP);
        Self { server, remote: remote(limits), access, app, subject }
    }

    async fn list(&self) -> Result<Vec<Descriptor>, RegistryError> {
        self.remote.list_referrers(&self.access, &self.app, &self.subject.digest).await
    }

    async fn put(&self, referrer: &RawManifest) -> Result<(), RegistryError> {
        let subject = &self.subject.digest;
        self.remote.put_referrer(&self.access, &self.app, referrer, subject).await
    }

    async fn delete(&self) -> Result<bool, RegistryError> {
        self.remote.delete_tag(&self.access, &self.app, "1.0").await
    }

    /// A referrer that is there, though the fallback tag does not list it.
    fn referrer(&self, name: &str) -> RawManifest {
        let there = self.server.store().push_referrer(APP, &self.subject, name);
        self.server.store().manifest(APP, &by(&there.digest)).unwrap()
    }

    fn listed_as(&self, referrer: &RawManifest) -> Descriptor {
        Referrer::of(referrer, &self.subject.digest).unwrap().descriptor
    }

    /// Makes the fallback tag name `index`.
    fn fallback(&self, index: &Index) {
        let tag = fallback_tag(&self.subject.digest);
        self.server.store().push_manifest(APP, Some(&tag), &index.to_raw());
    }

    fn under_fallback(&self) -> Option<Index> {
        let found = self.server.store().tagged(APP, &fallback_tag(&self.subject.digest))?;
        match found.parse().unwrap() {
            Manifest::Index(index) => Some(index),
            Manifest::Image(_) => None,
        }
    }

    /// Requests since the last look; `REFERRERS`, `FALLBACK`, `DIGEST` and `1.0` stand for what they
    /// are about.
    fn requests(&self) -> Vec<String> {
        let fallback = fallback_tag(&self.subject.digest);
        let short = |request: String| {
            let (method, path) = request.split_once(' ').unwrap();
            let about = match path.strip_prefix("/v2/team/app/").unwrap_or(path) {
                path if path.starts_with("referrers/") => "REFERRERS",
                path => path.strip_prefix("manifests/").unwrap_or(path),
            };
            let about = if about.starts_with("sha256:") { "DIGEST" } else { about };
            format!("{method} {}", if about == fallback { "FALLBACK" } else { about })
        };
        let requests = self.server.requests().into_iter().map(short).collect();
        self.server.forget();
        requests
    }
}

fn digests(listed: &[Descriptor]) -> Vec<&Digest> {
    listed.iter().map(|descriptor| &descriptor.digest).collect()
}

/// The error's sentence, which must hold `parts` and no secret.
#[track_caller]
fn says(error: &RegistryError, parts: &[&str]) {
    let whole = format!("{error} {error:?}");
    assert!(!whole.contains("hunter2") && !whole.contains("last="), "{whole} shows a secret");
    for part in parts {
        assert!(error.to_string().contains(part), "{error} does not say {part}");
    }
}

#[tokio::test]
async fn the_api_costs_one_request_each_way() {
    let scene = Scene::of([]).await;
    let one = scene.referrer("one");
    scene.put(&one).await.unwrap();
    assert_eq!(scene.requests(), ["PUT DIGEST"]);
    assert_eq!(scene.list().await.unwrap(), [scene.listed_as(&one)]);
    let seen = scene.server.seen();
    assert_eq!((seen.len(), seen[0].header("accept")), (1, INDEX));
    assert_eq!(seen[0].query, "", "without a filter");
    assert_eq!(scene.under_fallback(), None);
}

#[rstest]
#[case::not_found(404, NOT_FOUND)]
#[case::bad_request(400, HTML)]
#[case::not_allowed(405, ("application/json", r#"{"errors":[{"code":"UNSUPPORTED"}]}"#))]
#[case::html(200, HTML)]
#[case::see_other(303, HTML)]
#[case::no_list(200, ("application/json", r#"{"ok":true}"#))]
#[tokio::test]
async fn without_the_api_the_fallback_tag_is_read(
    #[case] status: u16,
    #[case] (content_type, body): (&'static str, &'static str),
) {
    let scene = Scene::of([Lie::Referrers(status, content_type, body)]).await;
    assert_eq!(scene.list().await.unwrap(), []);
    assert_eq!(scene.requests(), ["GET REFERRERS", "GET FALLBACK"]);
    let listed = [scene.listed_as(&scene.referrer("one")), scene.listed_as(&scene.referrer("two"))];
    let mut twice = Index::new(listed.to_vec(), [].into());
    twice.manifests.push(twice.manifests[0].clone());
    scene.fallback(&twice);
    assert_eq!(scene.list().await.unwrap(), twice.manifests[..2], "each once");
    assert_eq!(scene.requests(), ["GET FALLBACK"], "the host is known not to have it");
}

#[rstest]
#[case::no_repository("NAME_UNKNOWN")]
#[case::no_subject("MANIFEST_UNKNOWN")]
#[tokio::test]
async fn one_name_that_is_not_there_says_nothing_of_the_api(#[case] code: &str) {
    let body: &'static str = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#).leak();
    let scene = Scene::of([Lie::Referrers(404, "application/json", body)]).await;
    let one = scene.referrer("one");
    assert_eq!(scene.list().await.unwrap(), []);
    scene.server.lie([]);
    assert_eq!(scene.list().await.unwrap(), [scene.listed_as(&one)]);
}

#[rstest]
#[case::denied(403, "HTTP 403", 1)]
#[case::limited(429, "HTTP 429", 4)]
#[case::unavailable(503, "HTTP 503", 1)]
#[tokio::test]
async fn what_is_unknown_is_not_empty(
    #[case] status: u16,
    #[case] part: &str,
    #[case] times: usize,
) {
    let scene = Scene::of([Lie::Referrers(status, HTML.0, HTML.1)]).await;
    let error = scene.list().await.unwrap_err();
    says(&error, &["GET referrers team/app@sha256:", part]);
    assert_eq!(error.status(), Some(status));
    assert_eq!(scene.requests(), vec!["GET REFERRERS"; times]);
}

#[tokio::test]
async fn what_passes_is_asked_again() {
    let scene = Scene::of([Lie::Once(502)]).await;
    assert_eq!(scene.list().await.unwrap(), []);
    assert_eq!(scene.requests(), ["GET REFERRERS"; 2]);
}

#[tokio::test]
async fn pages_are_read_to_the_last_one() {
    let scene = Scene::bearer([Lie::PagesOf(2)]).await;
    let mut expected: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| scene.referrer(name)).into();
    expected.sort_by_key(|referrer| referrer.digest().clone());
    let listed = scene.list().await.unwrap();
    assert_eq!(listed, expected.iter().map(|one| scene.listed_as(one)).collect::<Vec<_>>());
    let pages = ["GET REFERRERS", "GET /token", "GET REFERRERS", "GET REFERRERS", "GET REFERRERS"];
    assert_eq!(scene.requests(), pages);
}

#[rstest]
#[case::other_host("http://evil.example.com/v2/team/app/referrers/x?last=1", "(evil.example.com)")]
#[case::same_host_without_scheme("//evil.example.com/v2/team/app/referrers/x", "evil.example.com")]
#[case::other_repository("/v2/team/other/referrers/x?last=1", "another list")]
#[case::up("../../../other/referrers/x", "another list")]
#[case::something_else("/v2/team/app/manifests/1.0", "another list")]
#[case::no_url("http://[bad/", "a Link to something that is not a URL")]
#[case::file("file:///etc/passwd", "a Link to something that is neither")]
#[case::credential("http://u:hunter2@127.0.0.1/", "holds a credential")]
#[case::itself("?last=", "more than 16 pages")]
#[tokio::test]
async fn a_next_page_is_the_same_list_and_there_is_an_end(#[case] link: &str, #[case] why: &str) {
    let scene = Scene::of([Lie::NextPage(link.into())]).await;
    let error = scene.list().await.unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error:?}");
    says(&error, &["GET referrers team/app@sha256:", why]);
    let pages = if link == "?last=" { 16 } else { 1 };
    assert_eq!(scene.requests(), vec!["GET REFERRERS"; pages]);
}

#[tokio::test]
async fn a_list_has_a_bound() {
    let scene = Scene::of([]).await;
    let one = serde_json::to_string(&scene.subject).unwrap();
    let listed = vec![one; 1025].join(",");
    let body: &'static str = format!(r#"{{"schemaVersion":2,"manifests":[{listed}]}}"#).leak();
    scene.server.lie([Lie::Referrers(200, INDEX, body)]);
    let error = scene.list().await.unwrap_err();
    assert!(matches!(error, RegistryError::Unusable { .. }), "{error:?}");
    says(&error, &["1025 children, more than the 1024"]);
}

#[rstest]
#[tokio::test]
async fn a_huge_page_is_not_read(#[values(true, false)] announced: bool) {
    let scene = Scene::of([Lie::Huge { announced }]).await;
    let error = scene.list().await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 4_194_304, .. }), "{error:?}");
    says(&error, &["the limit for a page of referrers"]);
    assert!(scene.server.sent() < 64 << 20, "{} bytes were taken", scene.server.sent());
}

#[rstest]
#[case::broken(INDEX, "<html>token=hunter2</html>", "not a valid")]
#[case::both(INDEX, r#"{"manifests":[],"layers":[]}"#, "at once")]
#[case::contradiction(
    INDEX,
    r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#,
    "says"
)]
#[tokio::test]
async fn a_page_that_is_no_list_is_refused(
    #[case] content_type: &'static str,
    #[case] body: &'static str,
    #[case] why: &str,
) {
    let scene = Scene::of([Lie::Referrers(200, content_type, body)]).await;
    let error = scene.list().await.unwrap_err();
    assert!(matches!(error, RegistryError::Unusable { .. }), "{error:?}");
    says(&error, &["GET referrers team/app@sha256:", why]);
}

#[tokio::test]
async fn a_fallback_tag_that_names_an_image_is_refused_and_kept() {
    let scene = Scene::of([without()]).await;
    let one = scene.referrer("one");
    let other = scene.server.store().push_image(APP, "other", "linux/arm64");
    scene.server.store().tag(APP, &fallback_tag(&scene.subject.digest), &other.digest);
    for error in [scene.list().await.unwrap_err(), scene.put(&one).await.unwrap_err()] {
        assert!(matches!(error, RegistryError::Unusable { .. }), "{error:?}");
        says(&error, &["it is no index of referrers"]);
    }
    let kept = scene.server.store().tagged(APP, &fallback_tag(&scene.subject.digest)).unwrap();
    assert_eq!(kept.descriptor(), other);
}

#[tokio::test]
async fn without_the_api_the_fallback_tag_is_written() {
    let scene = Scene::of([without()]).await;
    let (one, two) = (scene.referrer("one"), scene.referrer("two"));
    scene.put(&one).await.unwrap();
    let merge = ["PUT DIGEST", "GET FALLBACK", "PUT FALLBACK", "HEAD FALLBACK"];
    assert_eq!(scene.requests(), merge);
    scene.put(&two).await.unwrap();
    assert_eq!(scene.requests(), merge);
    scene.put(&one).await.unwrap();
    assert_eq!(scene.requests(), merge[..2], "it is listed already");
    let index = scene.under_fallback().unwrap();
    assert_eq!(index.manifests, [scene.listed_as(&one), scene.listed_as(&two)]);
}

/// On distribution, which has no such API, and where it may be lied about.
#[rstest]
#[case::lying(Kind::Http)]
#[case::real(Kind::Real(Asks::Nobody, Speaks::Plain))]
#[case::real_tokens(Kind::Real(Asks::Token, Speaks::Tls))]
#[tokio::test]
async fn a_merge_keeps_what_others_have_listed(#[case] kind: Kind) {
    let face = Face::start(kind).await;
    face.lie([without()]);
    let (access, app) = (face.access(), face.repository(APP));
    let subject = face.push(APP, &Image::of("linux/amd64")).await;
    let mut foreign = face.push(APP, &Image::of("linux/s390x")).await.descriptor();
    foreign.annotations = [("z".into(), "<&>".into())].into();
    foreign.artifact_type = Some("text/x-foreign".into());
    let other = face.push(APP, &Image::of("linux/arm64")).await.descriptor();
    let before = Index {
        manifests: vec![foreign, other],
        annotations: [("by".into(), "another tool".into())].into(),
        ..Index::new(Vec::new(), [].into())
    };
    let at = tag(&fallback_tag(subject.digest()));
    face.client.put_manifest(&access, &app, &at, &before.to_raw()).await.unwrap();
    let one = face.prepare_referrer(APP, &subject.descriptor(), "one").await;
    face.client.put_referrer(&access, &app, &one, subject.digest()).await.unwrap();
    let after = face.client.get_manifest(&access, &app, &at).await.unwrap().unwrap();
    let mut expected = before.clone();
    expected.manifests.push(Referrer::of(&one, subject.digest()).unwrap().descriptor);
    assert_eq!(after, expected.to_raw());
    let listed = face.client.list_referrers(&access, &app, subject.digest()).await.unwrap();
    assert_eq!(listed, expected.manifests);
}

/// GitLab takes the fallback tag for the digest, so that it names the subject itself: its images
/// refer to nothing, and nothing is added to it (<https://github.com/oras-project/oras-go/issues/1396>).
#[tokio::test]
async fn a_subject_under_its_own_fallback_tag_is_no_list() {
    let scene = Scene::of([without(), Lie::DashedDigests]).await;
    let store = scene.server.store();
    let children = vec![scene.subject.clone()];
    let index = store.push_index(APP, Some("2.0"), children);
    for subject in [&scene.subject, &index] {
        let listed = scene.remote.list_referrers(&scene.access, &scene.app, &subject.digest);
        assert_eq!(listed.await.unwrap(), []);
        let about = store.push_referrer(APP, subject, "one");
        let about = store.manifest(APP, &by(&about.digest)).unwrap();
        let (remote, access) = (&scene.remote, &scene.access);
        let error = remote.put_referrer(access, &scene.app, &about, &subject.digest).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains("the subject itself under its fallback tag"), "{error}");
    }
    assert_eq!(store.tags(APP), ["1.0", "2.0"], "nothing was written there");
}

#[tokio::test]
async fn an_entry_that_was_overwritten_is_put_back() {
    let scene = Scene::of([]).await;
    let (one, two) = (scene.referrer("one"), scene.referrer("two"));
    let theirs = Index::new(vec![scene.listed_as(&two)], [].into()).to_raw();
    scene.server.store().push_manifest(APP, None, &theirs);
    scene.server.lie([without(), Lie::Overwritten(theirs.digest().clone())]);
    scene.put(&one).await.unwrap();
    let round = ["GET FALLBACK", "PUT FALLBACK", "HEAD FALLBACK"];
    assert_eq!(scene.requests(), [&["PUT DIGEST"], &round[..], &round].concat());
    let index = scene.under_fallback().unwrap();
    assert_eq!(digests(&index.manifests), [two.digest(), one.digest()]);

    // Somebody who never stops is left alone.
    let three = scene.referrer("three");
    let again = Lie::Overwritten(theirs.digest().clone());
    scene.server.lie([without(), again.clone(), again.clone(), again.clone(), again]);
    let error = scene.put(&three).await.unwrap_err();
    says(&error, &["PUT manifest team/app:sha256-", "at the same time"]);
    let rounds = [&["PUT DIGEST"], &round[..], &round, &round, &["GET FALLBACK"]].concat();
    assert_eq!(scene.requests(), rounds);
    assert_eq!(digests(&scene.under_fallback().unwrap().manifests), [two.digest()]);
}

#[tokio::test]
async fn a_lost_answer_is_made_up_for_by_the_list() {
    let scene = Scene::of([Lie::CutStoredPut]).await;
    scene.put(&scene.referrer("one")).await.unwrap();
    assert_eq!(scene.requests(), ["PUT DIGEST", "HEAD DIGEST", "GET REFERRERS"]);
    assert_eq!(scene.under_fallback(), None);

    let scene = Scene::of([without(), Lie::CutStoredPut]).await;
    let one = scene.referrer("one");
    scene.put(&one).await.unwrap();
    assert_eq!(digests(&scene.under_fallback().unwrap().manifests), [one.digest()]);
}

#[tokio::test]
async fn a_registry_that_got_the_api_is_asked_by_it_again() {
    let scene = Scene::of([without()]).await;
    assert_eq!(scene.list().await.unwrap(), []);
    scene.server.lie([]);
    let one = scene.referrer("one");
    scene.put(&one).await.unwrap();
    assert_eq!(scene.list().await.unwrap(), [scene.listed_as(&one)]);
}

#[rstest]
#[case::bad_request(400)]
#[case::denied(403)]
#[case::not_allowed(405)]
#[case::not_implemented(501)]
#[case::unavailable(503)]
#[tokio::test]
async fn a_tag_that_is_not_deleted_says_why_after_one_request(#[case] status: u16) {
    let scene = Scene::of([Lie::Refused("DELETE", status, "UNSUPPORTED")]).await;
    let error = scene.delete().await.unwrap_err();
    says(&error, &["DELETE manifest team/app:1.0", &format!("HTTP {status}"), "UNSUPPORTED"]);
    assert_eq!(error.status(), Some(status));
    assert_eq!(scene.requests(), ["DELETE 1.0"]);
}

#[tokio::test]
async fn a_deletion_is_believed_and_not_repeated() {
    let scene = Scene::of([Lie::DeleteIgnored]).await;
    assert!(scene.delete().await.unwrap());
    assert_eq!(scene.requests(), ["DELETE 1.0"], "whether it is gone is the caller's to see");
    scene.server.lie([Lie::OnceTo("DELETE", 502)]);
    assert_eq!(scene.delete().await.unwrap_err().status(), Some(502));
    assert_eq!(scene.requests(), ["DELETE 1.0"]);
}

#[tokio::test]
async fn nothing_but_a_tag_is_deleted() {
    let scene = Scene::of([]).await;
    for name in [scene.subject.digest.as_str(), "../1.0", "1.0?x", ""] {
        let error = scene.remote.delete_tag(&scene.access, &scene.app, name).await.unwrap_err();
        says(&error, &["no tag"]);
    }
    assert_eq!(scene.requests(), [""; 0]);
}

#[tokio::test]
async fn deleting_takes_a_token_for_it() {
    let scene = Scene::bearer([]).await;
    assert!(scene.delete().await.unwrap());
    assert_eq!(scene.requests(), ["DELETE 1.0", "GET /token", "DELETE 1.0"]);

    // One token where the whole run asks for it.
    let mut scene = Scene::bearer([]).await;
    scene.access = scene.access.clone().with_scope(Scope::delete(&scene.app));
    assert!(scene.remote.head_manifest(&scene.access, &scene.app, &tag("1.0")).await.is_ok());
    let tokens = scene.server.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert!(tokens.query.contains("repository%3Ateam%2Fapp%3Apull%2Cpush%2Cdelete"));
    assert!(scene.delete().await.unwrap());
    assert_eq!(scene.requests(), ["HEAD 1.0", "GET /token", "HEAD 1.0", "DELETE 1.0"]);
}

#[tokio::test]
async fn a_token_endpoint_that_knows_no_delete_is_asked_without() {
    let mut scene = Scene::bearer([Lie::UnknownDelete]).await;
    scene.access = scene.access.clone().with_scope(Scope::delete(&scene.app));
    assert!(scene.delete().await.unwrap());
    assert_eq!(scene.requests(), ["DELETE 1.0", "GET /token", "GET /token", "DELETE 1.0"]);
    assert!(!scene.delete().await.unwrap());
    assert_eq!(scene.requests(), ["DELETE 1.0"], "it is remembered, and so is the token");
}

#[tokio::test]
async fn who_may_not_delete_is_told_so() {
    let scene = Scene::bearer([Lie::KeepsDelete]).await;
    let error = scene.delete().await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { status: 401, .. }), "{error:?}");
    says(&error, &["DELETE manifest team/app:1.0 to the credential of Secret push"]);
    assert!(scene.server.store().tagged(APP, "1.0").is_some());
}

//! Copying blobs: what every registry promises, within one and between two, and what it costs at the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[macro_use]
#[path = "registry/everywhere.rs"]
mod everywhere;
#[path = "registry/faces.rs"]
mod faces;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use faces::{Asks, Client, Face, Given, Kind, PATHS, Speaks, access, remote};
use multiarch_e2e::await_condition::{SOON, await_some};
use multiarch_operator::{
    oci::{Descriptor, Digest, Repository},
    registry::{
        Access, Copied, Place, Progress, Registry, RegistryError, Scope,
        memory::{Lie, Lies, Login, Server, Store, serve, server::User},
        remote::{Limits, Remote},
    },
};
use rstest::rstest;

const APP: &str = PATHS[0];
const OTHER: &str = PATHS[1];

fn silent() -> Progress {
    Arc::new(|_| {})
}

/// Bytes that are not the same twice in a row.
fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at ^ (at >> 8)) & 0xff).unwrap()).collect()
}

everywhere! {
    a_look_tells_what_is_there
    a_blob_of_another_repository_is_mounted
    what_the_source_does_not_have_is_none_and_leaves_nothing_open
    a_blob_is_pushed_once
    what_is_no_blob_is_not_pushed_and_leaves_nothing_open
}

mod promise {
    use super::*;

    pub(crate) async fn a_look_tells_what_is_there(face: Face) {
        let (access, app, other) = (face.access(), face.repository(APP), face.repository(OTHER));
        let mut blob = face.push_blob(APP, "x", bytes(1000)).await;
        assert!(face.client.blob_exists(&access, &app, &blob).await.unwrap());
        assert!(!face.client.blob_exists(&access, &other, &blob).await.unwrap());
        blob.size = 999;
        match face.client.blob_exists(&access, &app, &blob).await.unwrap_err() {
            RegistryError::WrongSize { expected: 999, received: 1000, request, .. } => {
                assert_eq!(request.to_string(), format!("HEAD blob {APP}@{}", blob.digest));
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn a_blob_of_another_repository_is_mounted(face: Face) {
        let (access, app, other) = (face.access(), face.repository(APP), face.repository(OTHER));
        let content = bytes(100_000);
        let blob = face.push_blob(OTHER, "x", content.clone()).await;
        let from = Place { access: &access, repository: &other };
        let to = Place { access: &access, repository: &app };
        let copied = face.client.copy_blob(from, to, &blob, &silent()).await.unwrap();
        assert_eq!(copied, Some(Copied::Mounted));
        assert_eq!(face.client.get_blob(&access, &app, &blob).await.unwrap(), Some(content));
        assert_eq!(face.open_uploads(APP), 0);
    }

    pub(crate) async fn what_the_source_does_not_have_is_none_and_leaves_nothing_open(face: Face) {
        let (access, app, other) = (face.access(), face.repository(APP), face.repository(OTHER));
        face.push_blob(OTHER, "x", bytes(10)).await;
        let mut blob = face.push_blob(APP, "x", bytes(11)).await;
        blob.digest = Digest::of(b"nothing");
        let from = Place { access: &access, repository: &other };
        let to = Place { access: &access, repository: &app };
        let copied = face.client.copy_blob(from, to, &blob, &silent()).await.unwrap();
        assert_eq!(copied, None);
        assert!(!face.client.blob_exists(&access, &app, &blob).await.unwrap());
        assert_eq!(face.open_uploads(APP), 0);
    }

    pub(crate) async fn a_blob_is_pushed_once(face: Face) {
        let (access, app) = (face.access(), face.repository(APP));
        let to = Place { access: &access, repository: &app };
        for length in [0, 1, 300_000] {
            let content = bytes(length);
            let (blob, given) = (descriptor(&content), Given::new(&content));
            let told = Arc::new(AtomicU64::new(0));
            let last = Arc::clone(&told);
            let progress: Progress = Arc::new(move |sent| last.store(sent, Ordering::Relaxed));
            for expected in [Copied::Uploaded, Copied::Present] {
                let pushed = face.client.push_blob(to, &blob, &given, &progress).await.unwrap();
                assert_eq!(pushed, Some(expected), "{length} bytes");
                assert_eq!(told.load(Ordering::Relaxed), blob.size);
            }
            assert_eq!(given.opened(), 1, "what is there is not read");
            let read = face.client.get_blob(&access, &app, &blob).await.unwrap();
            assert_eq!(read, Some(content));
            assert_eq!(face.open_uploads(APP), 0);
        }
    }

    pub(crate) async fn what_is_no_blob_is_not_pushed_and_leaves_nothing_open(face: Face) {
        let (access, app) = (face.access(), face.repository(APP));
        let to = Place { access: &access, repository: &app };
        let content = bytes(200_000);
        let blob = descriptor(&content);
        let mut other = content.to_vec();
        other[199_999] ^= 1;
        let absent = Given { chunks: None, ..Given::new(&content) };
        let pushed = face.client.push_blob(to, &blob, &absent, &silent()).await.unwrap();
        assert_eq!(pushed, None);
        for (content, words) in [
            (content.slice(..199_999), "given.tar answered GET blob it with 199999 bytes where"),
            (
                [&content[..], b"x"].concat().into(),
                "given.tar answered GET blob it with 200001 bytes",
            ),
            (other.into(), "given.tar answered GET blob it with content of digest sha256:"),
        ] {
            let given = Given::new(&content);
            let error = face.client.push_blob(to, &blob, &given, &silent()).await.unwrap_err();
            assert!(error.to_string().starts_with(words), "{error}");
        }
        assert!(!face.client.blob_exists(&access, &app, &blob).await.unwrap());
        assert_eq!(face.open_uploads(APP), 0);
    }
}

/// What `content` is as a blob.
fn descriptor(content: &Bytes) -> Descriptor {
    Store::new().push_blob(APP, "x", content.clone())
}

#[rstest]
#[case::http(Kind::Http, Kind::Http)]
#[case::to_real(Kind::Http, Kind::Real(Asks::Nobody, Speaks::Plain))]
#[case::from_real(Kind::Real(Asks::Nobody, Speaks::Plain), Kind::HttpBearer)]
#[case::two_tokens(Kind::HttpBearer, Kind::HttpBearer)]
#[case::with_passwords(Kind::HttpBasic, Kind::Real(Asks::Password, Speaks::Plain))]
#[case::real_ones(Kind::Real(Asks::Password, Speaks::Tls), Kind::Real(Asks::Nobody, Speaks::Plain))]
#[case::real_tokens(
    Kind::Real(Asks::Token, Speaks::Plain),
    Kind::Real(Asks::Token, Speaks::MutualTls)
)]
#[case::real_certificates(
    Kind::Real(Asks::Nobody, Speaks::MutualTls),
    Kind::Real(Asks::Token, Speaks::Tls)
)]
#[tokio::test]
async fn a_blob_of_another_registry_is_sent_once(#[case] from: Kind, #[case] to: Kind) {
    let (source, target) = (Face::start(from).await, Face::start(to).await);
    let client = Face::client_of([&source, &target]);
    let (reads, writes) = (source.access(), target.access());
    let (other, app) = (source.repository(OTHER), target.repository(APP));
    for length in [0, 1, 3_000_000] {
        let content = bytes(length);
        let blob = source.push_blob(OTHER, "x", content.clone()).await;
        let told = Arc::new(AtomicU64::new(0));
        let last = Arc::clone(&told);
        let progress: Progress = Arc::new(move |sent| last.store(sent, Ordering::Relaxed));
        for expected in [Copied::Uploaded, Copied::Present] {
            let from = Place { access: &reads, repository: &other };
            let to = Place { access: &writes, repository: &app };
            let copied = client.copy_blob(from, to, &blob, &progress).await.unwrap();
            assert_eq!(copied, Some(expected), "{length} bytes");
            assert_eq!(told.load(Ordering::Relaxed), blob.size);
        }
        let read = target.client.get_blob(&writes, &app, &blob).await.unwrap();
        assert_eq!(read, Some(content));
        assert_eq!(target.open_uploads(APP), 0);
    }
}

/// As when an object's timeout ends a run: the upload that was begun is cancelled, by a token that may.
#[rstest]
#[case::http(Kind::Http)]
#[case::http_basic(Kind::HttpBasic)]
#[case::http_bearer(Kind::HttpBearer)]
#[case::real(Kind::Real(Asks::Nobody, Speaks::Plain))]
#[case::real_htpasswd(Kind::Real(Asks::Password, Speaks::Plain))]
#[case::real_tokens(Kind::Real(Asks::Token, Speaks::Plain))]
#[case::real_tokens_by_tls(Kind::Real(Asks::Token, Speaks::Tls))]
#[case::real_by_mutual_tls(Kind::Real(Asks::Nobody, Speaks::MutualTls))]
#[tokio::test]
async fn a_copy_that_is_dropped_leaves_nothing_open(#[case] kind: Kind) {
    let store = Store::new();
    let blob = store.push_blob(OTHER, "x", bytes(100_000));
    let lies = Lies { lies: vec![Lie::SilentBody], ..Lies::default() };
    let source = serve(store, lies).await;
    let target = Face::start(kind).await;
    let (reads, writes) = (access(None), target.access());
    let (other, app) = (source.repository(OTHER), target.repository(APP));
    let from = Place { access: &reads, repository: &other };
    let to = Place { access: &writes, repository: &app };
    let progress = silent();
    tokio::select! {
        outcome = target.client.copy_blob(from, to, &blob, &progress) => panic!("{outcome:?}"),
        // The session is known to the copy by then: it reads what it is to send.
        () = source.until(|source| !source.requests().is_empty()) => {}
    }
    let closed = async || Ok((target.open_uploads(APP) == 0).then_some(()));
    assert_eq!(target.open_uploads(APP), 1);
    await_some("the upload is cancelled", SOON, closed).await.unwrap();
}

/// The same of a push, whose source stops giving.
#[rstest]
#[case::http_bearer(Kind::HttpBearer)]
#[case::real(Kind::Real(Asks::Nobody, Speaks::Plain))]
#[case::real_tokens(Kind::Real(Asks::Token, Speaks::Plain))]
#[tokio::test]
async fn a_push_that_is_dropped_leaves_nothing_open(#[case] kind: Kind) {
    let target = Face::start(kind).await;
    let (access, app) = (target.access(), target.repository(APP));
    let content = bytes(200_000);
    let blob = descriptor(&content);
    let given = Given { hangs: true, ..Given::new(&content.slice(..100_000)) };
    let sent = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&sent);
    let progress: Progress = Arc::new(move |_| told.notify_one());
    let to = Place { access: &access, repository: &app };
    tokio::select! {
        outcome = target.client.push_blob(to, &blob, &given, &progress) => panic!("{outcome:?}"),
        () = sent.notified() => {}
    }
    let closed = async || Ok((target.open_uploads(APP) == 0).then_some(()));
    assert_eq!(target.open_uploads(APP), 1);
    await_some("the upload is cancelled", SOON, closed).await.unwrap();
}

/// A registry is not asked for what an archive has, whatever the images in it are called.
#[tokio::test]
async fn nothing_of_an_archive_is_asked_of_a_registry() {
    let wire = Wire::start().await;
    let inside = Repository::in_archive("a.tar", &wire.source.repository(OTHER));
    let (access, app) = (access(None), wire.target.repository(APP));
    let from = Place { access: &access, repository: &inside };
    for to in [&app, &wire.source.repository(APP), &inside] {
        let to = Place { access: &access, repository: to };
        let copied = wire.remote.copy_blob(from, to, &wire.blobs[0], &silent()).await;
        let error = copied.unwrap_err();
        assert!(error.to_string().starts_with("a.tar#127.0.0.1"), "{error}");
        assert!(matches!(error, RegistryError::Archive { .. }), "{error:?}");
    }
    assert_eq!(wire.source.open_uploads() + wire.target.open_uploads(), 0);
    let asked = wire.source.seen().into_iter().filter(|seen| seen.path.contains(OTHER));
    assert_eq!(asked.count(), 0, "{:#?}", wire.source.requests());
}

/// The same where the registry has begun it, and has not said so yet.
#[tokio::test]
async fn a_copy_that_is_dropped_while_a_session_is_begun_leaves_nothing_open() {
    let wire = Wire::start().await;
    wire.target.login(Login::bearer(vec![User::new("a", "b", &[APP])]));
    wire.target.lie([Lie::HeldBack("POST")]);
    let app = wire.target.repository(APP);
    let (reads, writes) = (access(None), access(Some(("a", "b"))).with_scope(Scope::push(&app)));
    tokio::select! {
        copied = wire.copy(&reads, &writes, &app) => panic!("{copied:?}"),
        () = wire.target.until(|target| target.open_uploads() == 1) => {}
    }
    wire.target.lie([]);
    wire.target.until(|target| target.open_uploads() == 0).await;
}

/// The store has one content under every host's name, so that the pipeline's tests need one.
#[tokio::test]
async fn in_memory_a_blob_moves_between_hosts_and_where_mounts_are_refused() {
    let store = Store::new();
    let access = access(None);
    let repository = |text: &str| {
        let reference: multiarch_operator::oci::Reference = text.parse().unwrap();
        reference.repository().clone()
    };
    let blob = store.push_blob("team/app", "x", bytes(10));
    let from = repository("a.test/team/app:1");
    store.refuse_mounts();
    for to in [repository("a.test/team/near:1"), repository("b.test/team/far:1")] {
        store.forget();
        let place = |repository| Place { access: &access, repository };
        let copied = store.copy_blob(place(&from), place(&to), &blob, &silent()).await.unwrap();
        assert_eq!(copied, Some(Copied::Uploaded));
        let asked: Vec<_> = store
            .requests()
            .iter()
            .map(|asked| format!("{} {}", asked.method, asked.noun))
            .collect();
        let sent = ["HEAD blob", "GET blob", "POST upload", "PUT blob"];
        assert!(asked.ends_with(&sent.map(String::from)), "{asked:?}");
        assert_eq!(asked.len() > sent.len(), to.host() == from.host(), "a mount within a registry");
    }
}

/// A registry with three blobs in `OTHER`, and one without.
struct Wire {
    source: Server,
    target: Server,
    remote: Remote,
    blobs: Vec<Descriptor>,
}

impl Wire {
    async fn start() -> Self {
        let store = Store::new();
        let blobs = (1..4).map(|at| store.push_blob(OTHER, "x", bytes(at * 1000))).collect();
        let source = serve(store, Lies::default()).await;
        let target = serve(Store::new(), Lies::default()).await;
        Self { source, target, remote: remote(Limits::default()), blobs }
    }

    async fn copy(&self, reads: &Access, writes: &Access, to: &Repository) -> Vec<Copied> {
        let from = self.source.repository(OTHER);
        let mut copied = Vec::new();
        for blob in &self.blobs {
            let from = Place { access: reads, repository: &from };
            let to = Place { access: writes, repository: to };
            let how = self.remote.copy_blob(from, to, blob, &silent()).await.unwrap();
            copied.push(how.unwrap());
        }
        copied
    }

    /// What either was asked since the last look, by method.
    fn asked(&self) -> (Vec<String>, Vec<String>) {
        let methods = |server: &Server| {
            let methods = server.seen().into_iter().map(|seen| seen.method).collect();
            server.forget();
            methods
        };
        (methods(&self.source), methods(&self.target))
    }
}

#[tokio::test]
async fn another_repository_costs_one_mount_a_blob() {
    let wire = Wire::start().await;
    let app = wire.source.repository(APP);
    let copied = wire.copy(&access(None), &access(None), &app).await;
    assert_eq!(copied, [Copied::Mounted; 3]);
    for (seen, blob) in wire.source.seen().iter().zip(&wire.blobs) {
        assert_eq!(
            (seen.method.as_str(), seen.path.as_str()),
            ("POST", "/v2/team/app/blobs/uploads/")
        );
        assert_eq!(seen.query, format!("mount={}&from={OTHER}", blob.digest));
    }
    assert_eq!(wire.source.seen().len(), 3);
}

#[tokio::test]
async fn another_registry_costs_a_look_a_get_a_post_and_a_put_a_blob() {
    let wire = Wire::start().await;
    let app = wire.target.repository(APP);
    let copied = wire.copy(&access(None), &access(None), &app).await;
    assert_eq!(copied, [Copied::Uploaded; 3]);
    let puts = wire.target.seen().into_iter().filter(|seen| seen.method == "PUT");
    for (put, blob) in puts.zip(&wire.blobs) {
        assert_eq!(put.header("content-length"), blob.size.to_string());
        assert_eq!(put.header("content-type"), "application/octet-stream");
        assert_eq!((put.header("transfer-encoding"), put.header("content-range")), ("", ""));
    }
    let (source, target) = wire.asked();
    assert_eq!(source, ["GET"; 3]);
    assert_eq!(target, ["HEAD", "POST", "PUT"].repeat(3));
}

#[tokio::test]
async fn a_second_version_costs_a_look_for_what_is_there() {
    let mut wire = Wire::start().await;
    let app = wire.target.repository(APP);
    wire.copy(&access(None), &access(None), &app).await;
    wire.asked();
    wire.blobs.push(wire.source.store().push_blob(OTHER, "x", bytes(7)));
    let copied = wire.copy(&access(None), &access(None), &app).await;
    assert_eq!(&copied[..3], [Copied::Present; 3]);
    let (source, target) = wire.asked();
    assert_eq!(source, ["GET"]);
    assert_eq!(target, ["HEAD", "HEAD", "HEAD", "HEAD", "POST", "PUT"]);
}

/// A refused mount is not asked for again, and its upload session is used.
#[rstest]
#[case::with_a_session(202, &["POST", "HEAD", "GET", "PUT"])]
#[case::forbidden(403, &["POST", "HEAD", "GET", "POST", "PUT"])]
#[case::not_supported(405, &["POST", "HEAD", "GET", "POST", "PUT"])]
#[tokio::test]
async fn a_refused_mount_is_remembered(#[case] status: u16, #[case] first: &[&str]) {
    let wire = Wire::start().await;
    wire.source.lie([Lie::MountRefused(status)]);
    let app = wire.source.repository(APP);
    assert_eq!(wire.copy(&access(None), &access(None), &app).await, [Copied::Uploaded; 3]);
    let expected = [first, &["HEAD", "POST", "GET", "PUT"].repeat(2)].concat();
    let sorted = |mut methods: Vec<String>| {
        // GET of the source and POST of the target are one server's here, in any order.
        methods.sort();
        methods
    };
    assert_eq!(sorted(wire.asked().0), sorted(expected.into_iter().map(Into::into).collect()));
    assert_eq!(wire.source.open_uploads(), 0);
    // Another identity may have other rights.
    let named = access(Some(("someone", "else")));
    wire.copy(&named, &named, &wire.source.repository("team/third")).await;
    let mounts = wire.source.seen().into_iter().filter(|seen| seen.query.starts_with("mount="));
    assert_eq!(mounts.count(), 1);
}

/// One token with both scopes; and where it is refused or trimmed, one for each repository and no
/// mount. It is so for a run, whose every call has both scopes, and for a call that has its own.
#[rstest]
#[case::both(None, Copied::Mounted, [1, 1], [6, 7])]
// What was good for a read may be stale when it is not good for more, so it is renewed once.
#[case::gitlab_gives_the_last_scope(Some(Lie::LastScope), Copied::Uploaded, [2, 1], [2, 2])]
// The read has shown that both are not given, so no mount is asked for.
#[case::one_scope_or_nothing(Some(Lie::OneScope), Copied::Uploaded, [1, 1], [0, 1])]
#[tokio::test]
async fn a_mount_is_asked_for_with_both_scopes(
    #[case] lie: Option<Lie>,
    #[case] expected: Copied,
    #[case] tokens_of_both: [usize; 2],
    #[case] mounts: [usize; 2],
    #[values(true, false)] run: bool,
) {
    let wire = Wire::start().await;
    wire.source.login(Login::bearer(vec![User::new("a", "b", &[APP, OTHER])]));
    wire.source.lie(lie);
    let (app, other) = (wire.source.repository(APP), wire.source.repository(OTHER));
    let (pull, push) = (Scope::pull(&other), Scope::push(&app));
    let who = access(Some(("a", "b")));
    let (mut reads, mut writes) =
        (who.clone().with_scope(pull.clone()), who.with_scope(push.clone()));
    if run {
        (reads, writes) = (reads.with_scope(push), writes.with_scope(pull));
        // As the sources are read before anything is copied.
        let found = wire.remote.blob_exists(&reads, &other, &wire.blobs[0]).await;
        assert!(found.unwrap());
    }
    for _ in 0..2 {
        let copied = wire.copy(&reads, &writes, &app).await;
        assert!(copied == [expected; 3] || copied == [Copied::Present; 3], "{copied:?}");
    }
    let seen = wire.source.seen();
    let mut tokens: Vec<_> =
        seen.iter().filter(|seen| seen.path == "/token").map(|seen| seen.query.as_str()).collect();
    let (app, other) = ("scope=repository%3Ateam%2Fapp%3A", "scope=repository%3Ateam%2Fother%3A");
    let both = format!("service=lies&{app}pull%2Cpush&{other}pull");
    let alone = [format!("service=lies&{app}pull%2Cpush"), format!("service=lies&{other}pull")];
    assert_eq!(tokens[0], both);
    let asked = tokens.iter().filter(|query| **query == both).count();
    assert_eq!(asked, tokens_of_both[usize::from(!run)], "{tokens:?}");
    tokens.retain(|query| *query != both);
    tokens.sort_unstable();
    if expected == Copied::Mounted {
        assert_eq!(tokens, [""; 0]);
    } else {
        assert_eq!(tokens, alone, "and none is asked for twice");
    }
    let asked = seen.iter().filter(|seen| seen.query.starts_with("mount=")).count();
    assert_eq!(asked, mounts[usize::from(!run)], "{:#?}", wire.source.requests());
    assert_eq!(wire.source.open_uploads(), 0);
}

/// Where the identity that pushes is not the one that reads, each has a token of its own, and there is no
/// mount: nobody has said that the one may read what the other does.
#[tokio::test]
async fn two_identities_have_a_token_each_and_no_mounts() {
    let wire = Wire::start().await;
    let users = vec![User::new("reader", "c", &[OTHER]), User::new("writer", "b", &[APP, OTHER])];
    wire.source.login(Login::bearer(users));
    let (app, other) = (wire.source.repository(APP), wire.source.repository(OTHER));
    let reads = access(Some(("reader", "c"))).with_scope(Scope::pull(&other));
    let writes = access(Some(("writer", "b"))).with_scope(Scope::push(&app));
    assert_eq!(wire.copy(&reads, &writes, &app).await, [Copied::Uploaded; 3]);
    let seen = wire.source.seen();
    assert!(
        !seen.iter().any(|seen| seen.query.contains("mount=")),
        "{:#?}",
        wire.source.requests()
    );
    let mut tokens: Vec<_> =
        seen.iter().filter(|seen| seen.path == "/token").map(|seen| seen.query.as_str()).collect();
    tokens.sort_unstable();
    let app = "service=lies&scope=repository%3Ateam%2Fapp%3Apull%2Cpush";
    assert_eq!(tokens, [app, "service=lies&scope=repository%3Ateam%2Fother%3Apull"]);
}

/// A session that a mount left behind is cancelled with the right to delete, where there is one.
#[rstest]
#[case::who_may(None, 0)]
#[case::who_may_not(Some(Lie::KeepsDelete), 1)]
#[case::quay_knows_no_delete(Some(Lie::UnknownDelete), 0)]
#[tokio::test]
async fn a_session_that_is_not_needed_is_cancelled(#[case] lie: Option<Lie>, #[case] left: usize) {
    let mut wire = Wire::start().await;
    wire.blobs.truncate(1);
    wire.source.login(Login::bearer(vec![User::new("a", "b", &[APP, OTHER])]));
    wire.source.lie([Lie::MountRefused(202)].into_iter().chain(lie.clone()));
    for blob in &wire.blobs {
        let bytes = wire.source.store().blob(OTHER, &blob.digest).unwrap();
        wire.source.store().push_blob(APP, "x", bytes);
    }
    let app = wire.source.repository(APP);
    let writes = access(Some(("a", "b"))).with_scope(Scope::push(&app));
    assert_eq!(wire.copy(&writes, &writes, &app).await, [Copied::Present]);
    assert_eq!(wire.source.open_uploads(), left);
    let seen = wire.source.seen();
    let deletes = seen.iter().filter(|seen| seen.method == "DELETE").count();
    let tokens = seen.iter().filter(|seen| seen.query.contains("%2Cdelete")).count();
    assert_eq!((deletes, tokens), (1, 1), "{:#?}", wire.source.requests());
}

#[tokio::test]
async fn a_wrong_credential_at_either_end_is_told_by_its_host() {
    let (source, target) =
        (Face::start(Kind::HttpBasic).await, Face::start(Kind::HttpBearer).await);
    let blob = source.push_blob(OTHER, "x", bytes(10)).await;
    let (from, to) = (source.repository(OTHER), target.repository(APP));
    let wrong = access(Some(("pusher", "wrong")));
    for (reads, writes, host) in
        [(&wrong, &target.access(), &source.host), (&source.access(), &wrong, &target.host)]
    {
        let from = Place { access: reads, repository: &from };
        let to = Place { access: writes, repository: &to };
        let Client::Remote(remote) = &target.client else { panic!("not over HTTP") };
        match remote.copy_blob(from, to, &blob, &silent()).await.unwrap_err() {
            RegistryError::Unauthorized { host: told, .. } => assert_eq!(told, *host),
            other => panic!("{other:?}"),
        }
        assert_eq!(target.open_uploads(APP), 0);
    }
}

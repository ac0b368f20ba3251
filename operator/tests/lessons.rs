//! What went wrong in this field before, one test each: whole runs, and what each peer was sent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::sync::Arc;

use faces::{remote, tag};
use multiarch_crds::condition::Reason;
use multiarch_operator::{
    reconcile::status::{Outcome, Run},
    registry::{
        Access, Registry, RegistryError,
        memory::{
            Lie, Lies, Login, Server, Store, serve,
            server::{Realm, User},
        },
        remote::Limits,
        shared::Shared,
    },
};
use object::Object;
use rstest::rstest;
use serde_json::{Value, json};

const APP: &str = "team/app";
const PASSWORD: &str = "hunter2-password";

async fn registry(login: Login, lies: impl IntoIterator<Item = Lie>) -> Server {
    let store = Store::new();
    for platform in ["amd64", "arm64"] {
        store.push_image(APP, platform, &format!("linux/{platform}"));
    }
    serve(store, Lies { login, lies: lies.into_iter().collect() }).await
}

/// Takes down whatever it is sent, and lets everyone in.
async fn thief() -> Server {
    registry(Login::Nobody, []).await
}

fn alice() -> Vec<User> {
    vec![User::new("alice", PASSWORD, &[APP, "team/new"])]
}

/// An object whose images are all at `server`, with `login` for it.
fn object(server: &Server, login: &Value) -> Object {
    let host = server.addr.to_string();
    let image = |tag: &str| format!("{host}/{APP}:{tag}");
    let object = Object::new(&image("1.0"), &["amd64", "arm64"].map(image));
    let auths = json!({"auths": {host.clone(): login}}).to_string();
    object.by_http([host.as_str()]).with_logins(auths, true)
}

fn password() -> Value {
    json!({"username": "alice", "password": PASSWORD})
}

/// Runs it, and sees to it that nothing shows a secret, whatever came of it.
async fn run(object: &mut Object) -> Run {
    let run = object.run(&remote(Limits::default())).await;
    let shown = format!("{run:?} {:?}", object.status);
    for secret in [PASSWORD, "hunter2", "sig=", "secret="] {
        assert!(!shown.contains(secret), "{shown} shows {secret}");
    }
    run
}

#[track_caller]
fn held(run: &Run, reason: Reason, words: &str) {
    let Outcome::Held(failure) = &run.outcome else { panic!("{run:?}") };
    assert_eq!(failure.consequence.reason, reason, "{}", failure.message);
    assert!(failure.message.contains(words), "{}", failure.message);
    assert!(!run.pushed);
}

/// Neither in a header nor in a body did it get anything that proves who asks.
#[track_caller]
fn stole_nothing(thief: &Server) {
    for seen in thief.seen() {
        let sent = format!("{:?} {} {:?}", seen.headers, seen.query, seen.body);
        assert!(seen.header("authorization").is_empty(), "{sent}");
        assert!(!sent.contains(PASSWORD), "{sent}");
    }
}

/// distribution as a cache, go-containerregistry#2193, containerd's CVE-2020-15157 and Rust's oci-client sent who they were to
/// wherever a registry's challenge said. With a password by GET, with a refresh token by POST.
#[rstest]
#[case::password(password())]
#[case::identity_token(json!({"identitytoken": PASSWORD}))]
#[tokio::test]
async fn cve_2026_33540_a_realm_elsewhere_is_sent_no_credential(#[case] login: Value) {
    let thief = thief().await;
    let realm = Realm::At(format!("{}/token", thief.origin()));
    let login_by = Login::Bearer { realm, users: alice(), public: Vec::new(), expires_in: None };
    let server = registry(login_by, []).await;
    let run = run(&mut object(&server, &login)).await;
    held(&run, Reason::TokenRealmNotTrusted, &thief.addr.to_string());
    assert_eq!(thief.requests(), [""; 0]);
}

/// oras-go followed realms to clouds' metadata, and from https to http.
#[rstest]
#[case("http://169.254.169.254/latest/meta-data/iam/")]
#[case("http://[::ffff:169.254.169.254]/latest/meta-data/")]
#[case("http://[fd00:ec2::254]/latest/meta-data/")]
#[tokio::test]
async fn cve_2026_48978_a_realm_is_never_where_metadata_is(#[case] realm: &str) {
    let realm = Realm::At(realm.into());
    let public = vec![APP.into()];
    let login = Login::Bearer { realm, users: alice(), public, expires_in: None };
    let server = registry(login, []).await;
    // Who has no credential would have gone there.
    let host = server.addr.to_string();
    let image = |tag: &str| format!("{host}/{APP}:{tag}");
    let mut object = Object::new(&image("1.0"), &["amd64", "arm64"].map(image)).by_http([&*host]);
    held(&run(&mut object).await, Reason::RegistryNotAllowed, "does not go");
}

/// oras-go sent the credential along with the blob, to wherever the answer to the POST said.
#[tokio::test]
async fn cve_2026_50151_an_upload_location_elsewhere_is_sent_nothing() {
    let thief = thief().await;
    let lies = [Lie::Location(Some(thief.origin()))];
    let target = registry(Login::Basic(alice()), lies).await;
    let source = registry(Login::Nobody, []).await;
    let hosts = [target.addr.to_string(), source.addr.to_string()];
    let sources = ["amd64", "arm64"].map(|tag| format!("{}/{APP}:{tag}", hosts[1]));
    // Nothing of it is there yet, so that blobs are sent.
    let object = Object::new(&format!("{}/team/new:1.0", hosts[0]), &sources);
    let auths = json!({"auths": {hosts[0].clone(): password()}}).to_string();
    let mut object = object.by_http(hosts.iter().map(String::as_str)).with_logins(auths, true);
    let run = run(&mut object).await;
    held(&run, Reason::PushFailed, "where no write goes");
    assert_eq!(thief.requests(), [""; 0]);
    assert!(target.seen().iter().all(|seen| seen.method != "PUT"), "{:?}", target.requests());
}

/// oras-go took another port of a host for the same one when a read was redirected.
#[rstest]
#[case::manifests(Lie::RedirectManifests as fn(String) -> Lie)]
#[case::blobs(Lie::RedirectBlobs)]
#[tokio::test]
async fn ghsa_vh4v_2xq2_g5cg_another_port_is_another_host(#[case] lie: fn(String) -> Lie) {
    let thief = thief().await;
    let server = registry(Login::Basic(alice()), [lie(thief.origin())]).await;
    run(&mut object(&server, &password())).await;
    assert!(!thief.requests().is_empty(), "{:?}", server.requests());
    stole_nothing(&thief);
}

/// connaisseur#2166: credentials for `registry.example.com` went to `registry.example.com.evil.tld`.
#[tokio::test]
async fn connaisseur_2166_a_host_that_begins_like_another_sees_nothing() {
    let thief = registry(Login::Basic(alice()), []).await;
    let (host, port) = (thief.addr.to_string(), thief.addr.port());
    let near = ["127.0.0.1".to_owned(), format!("127.0.0.1:{}", port / 10), format!("{host}0")];
    let auths: serde_json::Map<_, _> = near.into_iter().map(|host| (host, password())).collect();
    let auths = json!({"auths": auths}).to_string();
    let mut object = object(&thief, &password()).with_logins(auths, false);
    let run = run(&mut object).await;
    assert!(!run.pushed && !thief.requests().is_empty());
    stole_nothing(&thief);
}

/// source-controller logged a signed URL when its host did not answer, cert-manager#8756 showed an answer's body in a status.
#[rstest]
#[case::body(Lie::Secrets(500))]
#[case::signed_url(Lie::RedirectBlobs("http://127.0.0.1:9".into()))]
#[tokio::test]
async fn cve_2024_31216_neither_bodies_nor_signed_urls_are_shown(#[case] lie: Lie) {
    let server = registry(Login::Nobody, [lie]).await;
    let mut object = object(&server, &password());
    let run = run(&mut object).await;
    assert!(!run.pushed);
    let (reason, message) = object.ready();
    assert_eq!(reason, "RegistryUnreachable", "{message}");
    assert!(message.contains("127.0.0.1") && !message.contains('?'), "{message}");
}

/// What one client takes for an index and another for an image has two contents under one digest.
#[tokio::test]
async fn cve_2021_41190_what_is_both_an_index_and_an_image_is_refused() {
    let server = registry(Login::Nobody, [Lie::Ambiguous]).await;
    let run = run(&mut object(&server, &password())).await;
    held(&run, Reason::UnsupportedContent, "CVE-2021-41190");
    assert!(server.requests().iter().all(|request| !request.starts_with("PUT")));
}

/// What was read for one tenant is no answer for another, who may not read it, also where answers are kept.
#[rstest]
#[case::basic(Login::Basic as fn(Vec<User>) -> Login)]
#[case::bearer(Login::bearer)]
#[tokio::test]
async fn what_one_tenant_read_is_not_kept_for_another(#[case] login: fn(Vec<User>) -> Login) {
    let users = [alice(), vec![User::new("mallory", "m", &["mallory/app"])]].concat();
    let server = registry(login(users), []).await;
    let app = server.repository(APP);
    let remote = Shared::new(remote(Limits::default()), 1 << 20, Arc::new(|_| {}));
    let who = |name: &str, password: &str| faces::access(Some((name, password)));
    let read = async |access: &Access| remote.get_manifest(access, &app, &tag("amd64")).await;
    let found = read(&who("alice", PASSWORD)).await.unwrap().unwrap();
    let digest = faces::by(found.digest());
    for _ in 0..2 {
        let mallory = who("mallory", "m");
        for refused in [read(&mallory).await, remote.get_manifest(&mallory, &app, &digest).await] {
            assert!(matches!(refused, Err(RegistryError::Denied { .. })), "{refused:?}");
        }
        assert!(read(&who("alice", PASSWORD)).await.unwrap().is_some());
    }
    // Nobody is not someone either.
    let refused = read(&faces::access(None)).await;
    let is =
        matches!(refused, Err(RegistryError::Unauthorized { .. } | RegistryError::Denied { .. }));
    assert!(is, "{refused:?}");
}

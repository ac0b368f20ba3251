//! Registries that go for credentials: where each request went, what it carried, and that nothing shows a secret.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::{net::IpAddr, sync::Arc, time::Duration};

use faces::{access, remote, tag};
use multiarch_operator::{
    oci::Repository,
    registry::{
        Access, Credential, Registry, RegistryError, Scope,
        memory::{
            Lie, Lies, Login, Server, Store, serve,
            server::{Realm, TokenLie, User},
        },
        remote::{Limits, Options, Remote},
    },
};
use object::Object;
use rstest::rstest;

const APP: &str = "team/app";
const PASSWORD: &str = "hunter2";
const HEAD: &str = "HEAD /v2/team/app/manifests/amd64";
const SOON: Duration = Duration::from_millis(100);

async fn registry(login: Login, lies: impl IntoIterator<Item = Lie>) -> Server {
    let store = Store::new();
    for platform in ["amd64", "arm64"] {
        store.push_image(APP, platform, &format!("linux/{platform}"));
    }
    serve(store, Lies { login, lies: lies.into_iter().collect() }).await
}

fn users() -> Vec<User> {
    vec![User::new("alice", PASSWORD, &[APP])]
}

fn bearer_at(realm: &str) -> Login {
    let realm = Realm::At(realm.into());
    Login::Bearer { realm, users: users(), public: vec![APP.into()], expires_in: None }
}

fn alice(app: &Repository) -> Access {
    access(Some(("alice", PASSWORD))).with_scope(Scope::push(app))
}

/// Alice, who trusts `realm` with her credential.
fn trusting(app: &Repository, realm: &str) -> Access {
    let credential = Credential::of_password("push", "alice", PASSWORD);
    let credential = Credential { token_realm: Some(realm.into()), ..credential };
    Access { credential: Some(credential), ..alice(app) }
}

/// The error of asking for the image, which shows no secret.
async fn refused(remote: &Remote, access: &Access, app: &Repository) -> RegistryError {
    let error = remote.head_manifest(access, app, &tag("amd64")).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    for secret in [PASSWORD, "secret=", "sig=", "alice"] {
        assert!(!shown.contains(secret), "{shown} shows {secret}");
    }
    error
}

/// A remote whose resolver knows `metadata.test` and nothing else.
fn with_metadata() -> Remote {
    let resolve = Arc::new(|_: String| {
        let address: IpAddr = "169.254.169.254".parse().unwrap();
        let found: futures::future::BoxFuture<'static, _> =
            Box::pin(std::future::ready(Ok(vec![address])));
        found
    });
    let flags = Options { allow_loopback: true, allow_http: true, ..Options::default() };
    Remote::new(Options { resolve, ..flags }).unwrap()
}

/// Whoever is trusted by name, and nobody: no realm leads to where metadata is.
#[rstest]
#[case::v4("http://169.254.169.254/latest/meta-data")]
#[case::decimal("http://2852039166/token")]
#[case::hexadecimal("http://0xa9.0xfe.0xa9.0xfe/token")]
#[case::octal("http://0251.0376.0251.0376/token")]
#[case::mapped("http://[::ffff:169.254.169.254]/token")]
#[case::mapped_hexadecimal("http://[::ffff:a9fe:a9fe]/token")]
#[case::compatible("http://[::169.254.169.254]/token")]
#[case::nat64("http://[64:ff9b::a9fe:a9fe]/token")]
#[case::six_to_four("http://[2002:a9fe:a9fe::1]/token")]
#[case::v6("http://[fd00:ec2::254]/token")]
#[case::link_local("http://[fe80::a9fe:a9fe]/token")]
#[case::alibaba("http://100.100.100.200/token")]
#[case::name("http://metadata.test/token")]
#[tokio::test]
async fn a_realm_never_leads_to_metadata(#[case] realm: &str) {
    let server = registry(bearer_at(realm), []).await;
    let (app, remote) = (server.repository(APP), with_metadata());
    let canonical: url::Url = realm.parse().unwrap();
    for access in [access(None), trusting(&app, canonical.as_str())] {
        server.forget();
        let error = refused(&remote, &access, &app).await;
        assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
        assert!(server.seen().iter().all(|seen| seen.header("authorization").is_empty()));
    }
}

#[rstest]
#[case::literal("http://[::ffff:169.254.169.254]")]
#[case::name("http://metadata.test")]
#[tokio::test]
async fn a_redirect_never_leads_to_metadata(#[case] to: &str) {
    let server = registry(Login::Nobody, [Lie::RedirectManifests(to.into())]).await;
    let error = refused(&with_metadata(), &access(None), &server.repository(APP)).await;
    assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
    assert_eq!(server.requests(), [HEAD]);
}

#[tokio::test]
async fn an_upload_location_never_leads_to_metadata_even_where_the_admin_trusts_it() {
    let target = registry(Login::Nobody, [Lie::Location(Some("http://metadata.test".into()))]);
    let (source, target) = (registry(Login::Nobody, []).await, target.await);
    let resolve = Arc::new(|_: String| {
        let found: futures::future::BoxFuture<'static, _> =
            Box::pin(std::future::ready(Ok(vec!["169.254.169.254".parse().unwrap()])));
        found
    });
    let flags = Options { allow_loopback: true, allow_http: true, ..Options::default() };
    let upload_hosts = vec![(target.addr.to_string(), "metadata.test".into())];
    let remote = Remote::new(Options { resolve, upload_hosts, ..flags }).unwrap();
    let hosts = [source.addr.to_string(), target.addr.to_string()];
    let sources = [format!("{}/{APP}:amd64", hosts[0])];
    let object = Object::new(&format!("{}/new:1.0", hosts[1]), &sources);
    let run = object.by_http(hosts.iter().map(String::as_str)).run(&remote).await;
    let (shown, why) = (format!("{run:?}"), "metadata.test is at 169.254.169.254");
    assert!(!run.pushed && shown.contains(why), "{shown}");
    assert!(target.requests().iter().all(|request| !request.starts_with("PUT")));
}

/// Once a request has left, its credential does not come back with it.
#[tokio::test]
async fn a_redirect_chain_sheds_the_credential_for_good() {
    let server = registry(Login::Basic(users()), []).await;
    let peer = registry(Login::Nobody, [Lie::RedirectManifests(server.origin())]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    // The challenge is known from here on.
    remote.head_manifest(&alice(&app), &app, &tag("arm64")).await.unwrap().unwrap();
    server.forget();
    server.lie([Lie::RedirectManifests(peer.origin())]);
    let error = refused(&remote, &alice(&app), &app).await;
    // Back at the registry it is nobody who asks.
    assert!(matches!(error, RegistryError::Denied { status: 401, .. }), "{error:?}");
    let carried = |server: &Server| -> Vec<bool> {
        server.seen().iter().map(|seen| !seen.header("authorization").is_empty()).collect()
    };
    assert_eq!((carried(&server), carried(&peer)), (vec![true, false], vec![false]));
}

/// A token endpoint that redirects: the credential stays where it was asked for, and a POST does not leave.
#[rstest]
#[case::password(false)]
#[case::identity_token(true)]
#[tokio::test]
async fn a_token_endpoint_leads_no_credential_elsewhere(#[case] identity: bool) {
    let thief = registry(Login::bearer(users()), []).await;
    let lies = [Lie::Token(TokenLie::Redirect(thief.origin()))];
    let server = registry(Login::bearer(users()), lies).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let mut access = alice(&app);
    if identity {
        let (username, token) = ("<token>".into(), PASSWORD.into());
        access.credential.as_mut().unwrap().proof =
            multiarch_operator::registry::Proof::IdentityToken { username, token };
    }
    refused(&remote, &access, &app).await;
    let stolen = thief.seen();
    assert_eq!(stolen.len(), usize::from(!identity), "{:?}", thief.requests());
    for seen in stolen {
        assert_eq!((seen.header("authorization"), seen.header("cookie")), ("", ""));
        assert!(seen.body.is_empty());
    }
}

#[tokio::test]
async fn a_huge_token_is_not_read() {
    let server = registry(Login::bearer(users()), [Lie::Token(TokenLie::Huge)]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let error = refused(&remote, &alice(&app), &app).await;
    assert!(matches!(error, RegistryError::TooLarge { limit: 65_536, .. }), "{error:?}");
    // What the network takes of a body that nobody reads.
    assert!(server.sent() < 64 << 20, "{} bytes were taken", server.sent());
    assert_eq!(server.requests(), [HEAD, "GET /token"]);
}

#[tokio::test]
async fn a_slow_token_is_given_up() {
    let server = registry(Login::bearer(users()), [Lie::Token(TokenLie::Trickle)]).await;
    let limits = Limits { rate_window: SOON, ..Limits::default() };
    let (app, remote) = (server.repository(APP), remote(limits));
    let error = refused(&remote, &alice(&app), &app).await;
    assert!(matches!(error, RegistryError::TooSlow { .. }), "{error:?}");
    assert!(error.to_string().contains("GET token team/app"), "{error}");
    assert_eq!(server.requests()[..2], [HEAD, "GET /token"]);
    // The password went to the token endpoint, and nowhere else.
    for seen in server.seen() {
        let basic = seen.header("authorization").starts_with("Basic ");
        assert_eq!(basic, seen.path == "/token", "{} {}", seen.method, seen.path);
    }
}

/// Whatever it says, it is asked so often and no more.
#[rstest]
#[case::another_challenge_each_time(Lie::Token(TokenLie::NewChallenge), 4)]
#[case::never_enough(Lie::InsufficientScope, 2)]
#[tokio::test]
async fn challenges_without_end_end(#[case] lie: Lie, #[case] asked: usize) {
    let server = registry(Login::bearer(users()), [lie]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    refused(&remote, &alice(&app), &app).await;
    let heads = server.requests().iter().filter(|request| *request == HEAD).count();
    assert_eq!(heads, asked, "{:?}", server.requests());
    // Passwords go to the token endpoint, and nowhere else.
    for seen in server.seen() {
        let basic = seen.header("authorization").starts_with("Basic ");
        assert_eq!(basic, seen.path == "/token", "{} {}", seen.method, seen.path);
    }
}

#[rstest]
#[case::realm(true)]
#[case::redirect(false)]
#[tokio::test]
async fn urls_with_a_credential_are_not_followed(#[case] realm: bool) {
    let thief = registry(Login::Nobody, []).await;
    let url = thief.origin().replace("://", "://alice:hunter2@");
    let server = if realm {
        registry(bearer_at(&format!("{url}/token")), []).await
    } else {
        registry(Login::Nobody, [Lie::RedirectManifests(url)]).await
    };
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let error = refused(&remote, &access(None), &app).await;
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error:?}");
    assert_eq!(thief.requests(), [""; 0]);
}

/// The Secret has entries for hosts that look like the thief's, and none for it.
#[tokio::test]
async fn a_host_that_looks_alike_sees_no_credential() {
    let thief = registry(Login::Basic(users()), []).await;
    let host = thief.addr.to_string();
    let login = serde_json::json!({"username": "alice", "password": PASSWORD});
    let port = thief.addr.port();
    let auths = serde_json::json!({"auths": {
        "127.0.0.1": login, format!("127.0.0.1:{}", port / 10): login,
        format!("{host}0"): login, format!("localhost:{port}"): login,
        format!("registry.example.com@{host}"): login, format!("registry.example.com:443@{host}"): login,
        format!("https://alice:{PASSWORD}@{host}"): login, format!("{host}.example.com"): login,
        format!("{host}/team/ap"): login, format!("{host}/team/app/more"): login,
    }});
    let image = |tag: &str| format!("{host}/{APP}:{tag}");
    let object = Object::new(&image("1.0"), &["amd64", "arm64"].map(image));
    let mut object = object.by_http([host.as_str()]).with_logins(auths.to_string(), false);
    let run = object.run(&remote(Limits::default())).await;
    assert!(!run.pushed && !thief.requests().is_empty());
    assert!(thief.seen().iter().all(|seen| seen.header("authorization").is_empty()));
    let shown = format!("{run:?} {:?}", object.status);
    assert!(!shown.contains(PASSWORD), "{shown}");
}

/// Where the admin trusts a host with a registry's uploads, it sees them, and no credential.
#[rstest]
#[case::basic(Login::Basic(vec![User::new("alice", PASSWORD, &["new"])]))]
#[case::bearer(Login::bearer(vec![User::new("alice", PASSWORD, &["new"])]))]
#[tokio::test]
async fn a_trusted_upload_host_sees_no_credential(#[case] login: Login) {
    let source = registry(Login::Nobody, []).await;
    let uploads = registry(Login::Nobody, []).await;
    let target = registry(login, [Lie::Location(Some(uploads.origin()))]).await;
    let flags = Options { allow_loopback: true, allow_http: true, ..Options::default() };
    let upload_hosts = vec![(target.addr.to_string(), uploads.addr.to_string())];
    let remote = Remote::new(Options { upload_hosts, ..flags }).unwrap();
    let hosts = [source.addr.to_string(), target.addr.to_string()];
    let auths = serde_json::json!({"auths": {
        hosts[1].clone(): {"username": "alice", "password": PASSWORD},
    }});
    let object =
        Object::new(&format!("{}/new:1.0", hosts[1]), &[format!("{}/{APP}:amd64", hosts[0])]);
    let object = object.by_http(hosts.iter().map(String::as_str));
    object.with_logins(auths.to_string(), true).run(&remote).await;
    let seen = uploads.seen();
    assert!(seen.iter().any(|seen| seen.method == "PUT"), "{:?}", uploads.requests());
    assert!(seen.iter().all(|seen| seen.header("authorization").is_empty()));
}

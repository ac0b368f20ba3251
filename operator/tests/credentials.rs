//! Credentials at the wire: each form of them, after a change, and side by side on one host.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use faces::{remote, tag};
use futures::future::join_all;
use multiarch_operator::{
    oci::Repository,
    reconcile::status::{Outcome, Run},
    registry::{
        Access, Credential, Origin, Proof, Registry, RegistryError, Scope,
        memory::{
            Lie, Lies, Login, Server, Store, serve,
            server::{Seen, TokenLie, User},
        },
        remote::Limits,
    },
};
use object::Object;
use rstest::rstest;

const APP: &str = "team/app";
const HEAD: &str = "HEAD /v2/team/app/manifests/amd64";

async fn registry(login: Login, lies: impl IntoIterator<Item = Lie>) -> Server {
    let store = Store::new();
    for platform in ["amd64", "arm64"] {
        store.push_image(APP, platform, &format!("linux/{platform}"));
    }
    serve(store, Lies { login, lies: lies.into_iter().collect() }).await
}

fn alice(password: &str) -> Vec<User> {
    vec![User::new("alice", password, &[APP])]
}

fn access(proof: Proof, app: &Repository) -> Access {
    let credential = Credential { origin: Origin::Secret("push".into()), proof, token_realm: None };
    let access = Access { credential: Some(credential), plain_http: true, ..Access::default() };
    access.with_scope(Scope::push(app))
}

fn identity(token: &str) -> Proof {
    Proof::IdentityToken { username: "<token>".into(), token: token.into() }
}

fn password(username: &str, password: &str) -> Proof {
    Proof::Password { username: username.into(), password: password.into() }
}

/// A registry token of the server's, for reading.
fn token_of(name: &str) -> String {
    STANDARD.encode(format!("{name}-0 repository:{APP}:pull"))
}

#[tokio::test]
async fn an_identity_token_is_changed_for_a_token_by_post() {
    let server = registry(Login::bearer(alice("refresh-me")), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let access = access(identity("refresh-me"), &app);
    for name in ["amd64", "arm64"] {
        assert!(remote.head_manifest(&access, &app, &tag(name)).await.unwrap().is_some());
    }
    let arm64 = "HEAD /v2/team/app/manifests/arm64";
    assert_eq!(server.requests(), [HEAD, "POST /token", HEAD, arm64]);
    let post = &server.seen()[1];
    assert_eq!(post.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!((post.header("authorization"), &*post.query), ("", ""));
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "multiarch-operator"),
        ("service", "lies"),
        ("scope", "repository:team/app:pull,push"),
        ("refresh_token", "refresh-me"),
    ];
    assert_eq!(post.form(), form.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// Registries that know no POST say so with 404 by the spec, and with 405 in fact.
#[rstest]
#[tokio::test]
async fn where_there_is_no_post_an_identity_token_is_a_password(#[values(404, 405)] status: u16) {
    let users = vec![User::new("<token>", "refresh-me", &[APP])];
    let server = registry(Login::bearer(users), [Lie::Token(TokenLie::PostRefused(status))]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let access = access(identity("refresh-me"), &app);
    assert!(remote.head_manifest(&access, &app, &tag("amd64")).await.unwrap().is_some());
    assert_eq!(server.requests(), [HEAD, "POST /token", "GET /token", HEAD]);
    assert_eq!(owner(&server.seen()[2]).as_deref(), Some("<token>"));
}

#[rstest]
#[case::old(None, 401)]
// RFC 6749 says that an ended refresh token is a bad request.
#[case::invalid_grant(Some(400), 400)]
#[case::forbidden(Some(403), 403)]
#[tokio::test]
async fn an_identity_token_that_is_refused_is_a_wrong_credential(
    #[case] lie: Option<u16>,
    #[case] status: u16,
) {
    let lie = lie.map(|status| Lie::Token(TokenLie::PostRefused(status)));
    let server = registry(Login::bearer(alice("new")), lie).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let old = access(identity("old"), &app);
    let error = remote.head_manifest(&old, &app, &tag("amd64")).await.unwrap_err();
    let words = format!("{} refused the credential of Secret push with HTTP {status}", server.addr);
    assert_eq!(error.to_string(), words);
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
    assert_eq!(server.requests(), [HEAD, "POST /token"]);
}

#[tokio::test]
async fn an_identity_token_answers_basic_as_a_password() {
    let server = registry(Login::Basic(vec![User::new("<token>", "t", &[APP])]), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let access = access(identity("t"), &app);
    assert!(remote.head_manifest(&access, &app, &tag("amd64")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let server = registry(Login::bearer(Vec::new()), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let mine = access(Proof::RegistryToken(token_of("mine").into()), &app);
    for _ in 0..2 {
        assert!(remote.head_manifest(&mine, &app, &tag("amd64")).await.unwrap().is_some());
    }
    assert_eq!(server.requests(), [HEAD, HEAD, HEAD], "no token was asked for");
    assert_eq!(server.seen()[2].header("authorization"), format!("Bearer {}", token_of("mine")));

    // It is not renewed.
    server.forget();
    let ended = access(Proof::RegistryToken("ended".into()), &app);
    let error = remote.head_manifest(&ended, &app, &tag("amd64")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { status: 401, .. }), "{error:?}");
    assert_eq!(server.requests(), [HEAD]);
}

#[tokio::test]
async fn a_registry_token_is_never_sent_as_a_password() {
    let server = registry(Login::Basic(alice("p")), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let access = access(Proof::RegistryToken("mine".into()), &app);
    let error = remote.head_manifest(&access, &app, &tag("amd64")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_empty()));
}

/// A token that the old password got is good for minutes yet, and is not used.
#[tokio::test]
async fn tokens_of_an_old_credential_are_not_used() {
    let server = registry(Login::bearer(alice("old")), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let name = tag("amd64");
    let old = access(password("alice", "old"), &app);
    remote.head_manifest(&old, &app, &name).await.unwrap().unwrap();
    let stale = server.seen().last().unwrap().header("authorization").to_owned();
    server.login(Login::bearer(alice("new")));
    server.forget();
    for proof in [password("alice", "new"), identity("new")] {
        let access = access(proof, &app);
        remote.head_manifest(&access, &app, &name).await.unwrap().unwrap();
    }
    assert_eq!(server.requests(), ["GET /token", HEAD, "POST /token", HEAD]);
    assert!(server.seen().iter().all(|seen| seen.header("authorization") != stale));
}

/// A Secret is read for each run, so the next one has the new password, without a restart.
#[tokio::test]
async fn a_changed_secret_counts_from_the_next_run_on() {
    let server = registry(Login::bearer(alice("old")), []).await;
    let remote = remote(Limits::default());
    let mut object = object(&server, "1.0", &["amd64", "arm64"])
        .with_logins(logins(&server, "alice", "old"), true);
    assert!(served(&object.run(&remote).await));
    server.login(Login::bearer(alice("new")));
    server.forget();
    let mut object = object.with_logins(logins(&server, "alice", "new"), true);
    assert!(served(&object.run(&remote).await));
    assert_eq!(server.requests().iter().filter(|request| *request == "GET /token").count(), 1);
}

fn object(server: &Server, target: &str, sources: &[&str]) -> Object {
    at(
        server,
        &format!("{APP}:{target}"),
        &sources.iter().map(|tag| format!("{APP}:{tag}")).collect::<Vec<_>>(),
    )
}

fn at(server: &Server, target: &str, sources: &[String]) -> Object {
    let host = server.addr.to_string();
    let sources: Vec<_> = sources.iter().map(|image| format!("{host}/{image}")).collect();
    Object::new(&format!("{host}/{target}"), &sources).by_http([host.as_str()])
}

fn logins(server: &Server, username: &str, password: &str) -> String {
    let login = serde_json::json!({"username": username, "password": password});
    serde_json::json!({"auths": {server.addr.to_string(): login}}).to_string()
}

fn served(run: &Run) -> bool {
    matches!(run.outcome, Outcome::Served { .. } | Outcome::Unchanged)
}

/// Whose credential a request carries, by what the server's tokens and passwords say.
fn owner(seen: &Seen) -> Option<String> {
    let (_, value) = seen.header("authorization").split_once(' ')?;
    let plain = String::from_utf8(STANDARD.decode(value).unwrap()).unwrap();
    let (name, _) = plain.split_once([':', '-']).unwrap();
    Some(name.to_owned())
}

/// Tenants who each push to a repository of their own on one host, at once and with one client: the requests
/// that carry a tenant's credential are those about its repository, and as many as its runs need.
#[rstest]
#[case::basic(Login::Basic)]
#[case::bearer(Login::bearer)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_request_carries_its_own_tenants_credential(#[case] login: fn(Vec<User>) -> Login) {
    const TENANTS: usize = 8;
    const RUNS: usize = 3;
    let names: Vec<String> = (0..TENANTS).map(|at| format!("tenant{at}")).collect();
    let store = Store::new();
    let users = names.iter().map(|name| {
        for platform in ["amd64", "arm64"] {
            store.push_image(name, platform, &format!("linux/{platform}"));
        }
        User::new(name, &format!("password of {name}"), &[name])
    });
    let login = login(users.collect());
    let basic = matches!(login, Login::Basic(_));
    let server = serve(store, Lies { login, lies: Vec::new() }).await;
    let remote = remote(Limits::default());
    let (shared, client) = (&server, &remote);
    let runs = names.iter().map(|name| async move {
        let sources = ["amd64", "arm64"].map(|tag| format!("{name}:{tag}"));
        let object = at(shared, &format!("{name}:1.0"), &sources);
        let logins = logins(shared, name, &format!("password of {name}"));
        let mut object = object.with_logins(logins, true);
        for _ in 0..RUNS {
            let run = object.run(client).await;
            assert!(served(&run), "{run:?}");
        }
    });
    join_all(runs).await;

    let mut carried: BTreeMap<String, usize> = BTreeMap::new();
    let mut tokens: BTreeSet<String> = BTreeSet::new();
    let mut bare = 0;
    for seen in server.seen() {
        let Some(owner) = owner(&seen) else {
            // Challenges: whoever came before the host was known.
            bare += 1;
            continue;
        };
        if seen.path == "/token" {
            assert!(seen.query.contains(&format!("{owner}%3Apull")), "{owner}: {}", seen.query);
            assert!(tokens.insert(owner), "one token a tenant");
            continue;
        }
        assert!(seen.path.starts_with(&format!("/v2/{owner}/")), "{owner}: {}", seen.path);
        *carried.entry(owner).or_default() += 1;
    }
    // 2N + 3 the first time, N + 1 HEADs each later one.
    let expected = names.iter().map(|name| (name.clone(), 2 * 2 + 3 + (RUNS - 1) * 3));
    assert_eq!(carried, expected.collect());
    assert_eq!(tokens.len(), if basic { 0 } else { TENANTS });
    assert_eq!(bare, 1, "one challenge for all");
}

/// One object, two credentials for one host: the source's reads, the target's writes, and neither does the other's.
#[rstest]
#[case::basic(Login::Basic)]
#[case::bearer(Login::bearer)]
#[tokio::test]
async fn source_and_target_have_their_own_credential(#[case] login: fn(Vec<User>) -> Login) {
    let store = Store::new();
    for platform in ["amd64", "arm64"] {
        store.push_image("builds", platform, &format!("linux/{platform}"));
    }
    let users = vec![User::new("reader", "r", &["builds"]), User::new("writer", "w", &[APP])];
    let server = serve(store, Lies { login: login(users), lies: Vec::new() }).await;
    let sources = ["amd64", "arm64"].map(|tag| format!("builds:{tag}"));
    let host = server.addr.to_string();
    // One Secret with both, told apart by path.
    let auths = serde_json::json!({"auths": {
        format!("{host}/builds"): {"username": "reader", "password": "r"},
        format!("{host}/{APP}"): {"username": "writer", "password": "w"},
    }});
    let mut object =
        at(&server, &format!("{APP}:1.0"), &sources).with_logins(auths.to_string(), true);
    let run = object.run(&remote(Limits::default())).await;
    assert!(served(&run), "{run:?}");
    let mut seen_of = BTreeMap::from([("reader".to_owned(), 0), ("writer".to_owned(), 0)]);
    for seen in server.seen().iter().filter(|seen| seen.path != "/token") {
        let Some(owner) = owner(seen) else { continue };
        let path = if owner == "reader" { "/v2/builds/" } else { "/v2/team/app/" };
        assert!(seen.path.starts_with(path), "{owner}: {} {}", seen.method, seen.path);
        let reads = matches!(&*seen.method, "GET" | "HEAD");
        assert!(owner == "writer" || reads, "{} {}", seen.method, seen.path);
        *seen_of.get_mut(&owner).unwrap() += 1;
    }
    assert!(seen_of.values().all(|requests| *requests > 0), "{seen_of:?}");
}

//! Who asks: challenges, tokens, realms and redirects, counted and read at the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;

use std::sync::{Arc, Mutex};

use base64::Engine;
use faces::{access, by, index, remote, tag};
use futures::future::join_all;
use multiarch_operator::{
    oci::{Descriptor, Manifest, RawManifest, Repository},
    registry::{
        Access, Actions, Credential, Registry, RegistryError, Scope,
        memory::{
            Lie, Lies, Login, Server, Store, serve,
            server::{Realm, User},
        },
        remote::{Limits, Options, Remote},
    },
};
use rstest::rstest;

const APP: &str = "team/app";
const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/s390x"];

/// A registry with one image for each platform, tagged by architecture.
async fn registry(login: Login, lies: impl IntoIterator<Item = Lie>) -> Server {
    let store = Store::new();
    for platform in PLATFORMS {
        store.push_image(APP, platform.split_once('/').unwrap().1, platform);
    }
    serve(store, Lies { login, lies: lies.into_iter().collect() }).await
}

fn users() -> Vec<User> {
    vec![User::new("alice", "a-password", &[APP]), User::new("bob", "b-password", &["bob/app"])]
}

fn alice(app: &Repository) -> Access {
    who("alice", "a-password", app)
}

fn who(name: &str, password: &str, app: &Repository) -> Access {
    access(Some((name, password))).with_scope(Scope::push(app))
}

/// What an assemble of N platforms in one repository asks of the port: children and configs at
/// once, the tag before, the index, and the tag after.
async fn assemble(remote: &Remote, access: &Access, app: &Repository) -> RawManifest {
    let children = PLATFORMS.map(|platform| async move {
        let name = tag(platform.split_once('/').unwrap().1);
        let child = remote.get_manifest(access, app, &name).await.unwrap().unwrap();
        let Manifest::Image(image) = child.parse().unwrap() else { panic!("no image") };
        assert!(remote.get_blob(access, app, &image.config).await.unwrap().is_some());
        child
    });
    let target = tag("1.0");
    let (children, before) =
        futures::join!(join_all(children), remote.head_manifest(access, app, &target));
    assert_eq!(before.unwrap(), None);
    let index = index(&children.iter().take(2).collect::<Vec<_>>());
    remote.put_manifest(access, app, &target, &index).await.unwrap();
    let after = remote.get_manifest(access, app, &target).await.unwrap();
    assert_eq!(after.as_ref(), Some(&index));
    index
}

/// REGISTRY.md's budget: one request a call, with Basic one challenge more, and with Bearer one
/// challenge and one token more, though the first requests start together.
#[rstest]
#[case::nobody(Login::Nobody, 0, 0)]
#[case::basic(Login::Basic(users()), 1, 0)]
#[case::bearer(Login::bearer(users()), 1, 1)]
#[tokio::test]
async fn assemble_costs_what_the_budget_says(
    #[case] login: Login,
    #[case] challenges: usize,
    #[case] tokens: usize,
) {
    let nobody = matches!(login, Login::Nobody);
    let server = registry(login, []).await;
    let app = server.repository(APP);
    let access = if nobody { access(None) } else { alice(&app) };
    let remote = remote(Limits::default());
    assemble(&remote, &access, &app).await;
    let seen = server.seen();
    let calls = 2 * PLATFORMS.len() + 3;
    let asked = |path: &str| seen.iter().filter(|seen| seen.path == path).count();
    let without = seen.iter().filter(|seen| seen.header("authorization").is_empty()).count();
    assert_eq!(seen.len(), calls + challenges + tokens, "{:#?}", server.requests());
    assert_eq!((asked("/token"), asked("/v2/")), (tokens, 0));
    assert_eq!(without, if nobody { calls } else { challenges }, "requests without credential");

    // An object that did not change: HEADs alone, with what is remembered of the host.
    server.forget();
    for name in ["amd64", "arm64", "s390x", "1.0"] {
        remote.head_manifest(&access, &app, &tag(name)).await.unwrap().unwrap();
    }
    assert_eq!(server.seen().len(), 4, "{:#?}", server.requests());
}

#[tokio::test]
async fn every_request_looks_the_same() {
    let server = registry(Login::Nobody, []).await;
    assemble(&remote(Limits::default()), &access(None), &server.repository(APP)).await;
    for seen in server.seen() {
        assert_eq!(seen.header("accept-encoding"), "identity");
        assert_eq!(
            seen.header("user-agent"),
            concat!("multiarch-operator/", env!("CARGO_PKG_VERSION"))
        );
        if seen.method != "PUT" && seen.path.contains("/manifests/") {
            assert_eq!(seen.header("accept"), multiarch_operator::oci::media_type::ACCEPT);
        }
    }
}

#[tokio::test]
async fn one_token_is_asked_with_all_scopes_of_the_access() {
    let server = registry(Login::bearer(users()), []).await;
    let app = server.repository(APP);
    let access = alice(&app).with_scope(Scope { path: "bob/app".into(), actions: Actions::Pull });
    let remote = remote(Limits::default());
    remote.head_manifest(&access, &app, &tag("amd64")).await.unwrap();
    remote.put_manifest(&access, &app, &tag("x"), &some_image(&server)).await.unwrap();
    let tokens: Vec<_> = server.seen().into_iter().filter(|seen| seen.path == "/token").collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].query,
        "service=lies&scope=repository%3Abob%2Fapp%3Apull&scope=repository%3Ateam%2Fapp%3Apull%2Cpush"
    );
}

fn some_image(server: &Server) -> RawManifest {
    server.store().tagged(APP, "amd64").unwrap()
}

/// Alice and Bob on one host: neither's password or token is ever sent for the other.
#[rstest]
#[case::basic(Login::Basic(users()))]
#[case::bearer(Login::bearer(users()))]
#[tokio::test]
async fn two_tenants_of_one_host_never_share_a_credential(#[case] login: Login) {
    let server = registry(login, []).await;
    server.store().push_image("bob/app", "amd64", "linux/amd64");
    let remote = remote(Limits::default());
    let (app, bobs) = (server.repository(APP), server.repository("bob/app"));
    let tenants = [
        (alice(&app), "alice", &app),
        (who("bob", "b-password", &bobs), "bob", &bobs),
        (access(None), "nobody", &app),
    ];
    // Twice, since what is remembered counts too.
    for _ in 0..2 {
        for (access, name, own) in &tenants {
            for repository in [&app, &bobs] {
                let access = access.clone().with_scope(Scope::pull(repository));
                let read = remote.get_manifest(&access, repository, &tag("amd64")).await;
                match (*name, repository == *own) {
                    ("nobody", _) => {
                        assert!(
                            matches!(read, Err(RegistryError::Unauthorized { .. })),
                            "{read:?}"
                        );
                    }
                    (_, true) => assert!(read.unwrap().is_some()),
                    (_, false) => {
                        assert!(matches!(read, Err(RegistryError::Denied { .. })), "{read:?}");
                    }
                }
                let seen = server.seen();
                assert!(!seen.is_empty());
                server.forget();
                for owner in seen.iter().filter_map(|seen| owner(seen.header("authorization"))) {
                    assert_eq!(owner, *name);
                }
            }
        }
    }
}

/// Whose credential the value of `Authorization` is.
fn owner(authorization: &str) -> Option<String> {
    let (_, value) = authorization.split_once(' ')?;
    let plain = base64::engine::general_purpose::STANDARD.decode(value).unwrap();
    let plain = String::from_utf8(plain).unwrap();
    Some(plain.split([':', '-']).next().unwrap().into())
}

#[tokio::test]
async fn the_same_password_under_another_name_is_another_identity() {
    let users = vec![User::new("one", "same", &[APP]), User::new("two", "same", &[])];
    let server = registry(Login::bearer(users), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    assert!(remote.head_manifest(&who("one", "same", &app), &app, &tag("amd64")).await.is_ok());
    let error = remote.head_manifest(&who("two", "same", &app), &app, &tag("amd64")).await;
    assert!(matches!(error, Err(RegistryError::Denied { .. })), "{error:?}");
}

#[tokio::test]
async fn a_new_password_in_the_secret_counts_at_once() {
    let server = registry(Login::bearer(users()), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let wrong = who("alice", "old", &app);
    let error = remote.head_manifest(&wrong, &app, &tag("amd64")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} refused the credential of Secret push with HTTP 401", server.addr)
    );
    assert!(remote.head_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_for_everyone_who_waits() {
    let server = registry(Login::bearer(users()), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let wrong = who("alice", "old", &app);
    let name = tag("amd64");
    let all = (0..8).map(|_| remote.head_manifest(&wrong, &app, &name));
    for result in join_all(all).await {
        assert!(matches!(result, Err(RegistryError::Unauthorized { .. })), "{result:?}");
    }
    assert_eq!(server.requests().iter().filter(|request| *request == "GET /token").count(), 1);
}

#[tokio::test]
async fn a_stale_token_is_renewed_once() {
    let server = registry(Login::bearer(users()), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let alice = alice(&app);
    remote.head_manifest(&alice, &app, &tag("amd64")).await.unwrap();
    server.forget();
    server.lie([Lie::Stale]);
    assert!(remote.head_manifest(&alice, &app, &tag("amd64")).await.unwrap().is_some());
    let head = "HEAD /v2/team/app/manifests/amd64";
    assert_eq!(server.requests(), [head, "GET /token", head]);
    let seen = server.seen();
    assert_ne!(seen[0].header("authorization"), seen[2].header("authorization"));
}

#[tokio::test]
async fn insufficient_scope_of_a_fresh_token_is_final() {
    let server = registry(Login::bearer(users()), [Lie::InsufficientScope]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let error = remote.get_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { status: 401, .. }), "{error:?}");
    let get = "GET /v2/team/app/manifests/amd64";
    assert_eq!(server.requests(), [get, "GET /token", get]);
    assert_eq!(
        error.to_string(),
        format!(
            "{} denied GET manifest team/app:amd64 to the credential of Secret push with HTTP 401 \
             UNAUTHORIZED",
            server.addr
        )
    );
}

/// Docker Hub answers 401 and not 403 to a token without the right.
#[tokio::test]
async fn a_put_that_a_401_refused_is_looked_for() {
    let server = registry(Login::bearer(users()), [Lie::StoredPut(401), Lie::StoredPut(401)]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let image = server.store().tagged(APP, "amd64").unwrap();
    remote.put_manifest(&alice(&app), &app, &tag("1.0"), &image).await.unwrap();
    let (put, head) = ("PUT /v2/team/app/manifests/1.0", "HEAD /v2/team/app/manifests/1.0");
    // The challenge, the answer to a token, and what a fresh one would be without the look.
    assert_eq!(server.requests(), [put, "GET /token", put, "GET /token", head]);
}

#[tokio::test]
async fn a_token_without_life_is_good_for_one_request() {
    let login = Login::Bearer {
        realm: Realm::Own,
        users: users(),
        public: Vec::new(),
        expires_in: Some(0),
    };
    let server = registry(login, []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    for _ in 0..2 {
        remote.head_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap();
    }
    let tokens = server.requests().iter().filter(|request| *request == "GET /token").count();
    assert_eq!(tokens, 2);
}

#[tokio::test]
async fn nobody_reads_public_repositories_by_an_anonymous_token() {
    let login = Login::Bearer {
        realm: Realm::Own,
        users: users(),
        public: vec![APP.into()],
        expires_in: None,
    };
    let server = registry(login, []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let nobody = access(None);
    assert!(remote.head_manifest(&nobody, &app, &tag("amd64")).await.unwrap().is_some());
    let put = remote.put_manifest(&nobody, &app, &tag("x"), &some_image(&server)).await;
    match put.unwrap_err() {
        RegistryError::Denied { credential, .. } => {
            assert_eq!(credential, "a request without credential");
        }
        other => panic!("{other:?}"),
    }
    let hidden = server.repository("bob/app");
    let error = remote.head_manifest(&nobody, &hidden, &tag("amd64")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn a_403_to_a_good_basic_credential_is_denied() {
    let server = registry(Login::Basic(users()), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let bob = who("bob", "b-password", &app);
    let error = remote.get_manifest(&bob, &app, &tag("amd64")).await.unwrap_err();
    match error {
        RegistryError::Denied { status: 403, codes, .. } => assert_eq!(codes, ["DENIED"]),
        other => panic!("{other:?}"),
    }
}

/// The one exception to "no pings".
#[tokio::test]
async fn a_404_is_not_believed_while_a_credential_was_not_asked_for() {
    let server = registry(Login::Basic(users()), [Lie::Hidden]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let head = "HEAD /v2/team/app/manifests/amd64";
    assert_eq!(remote.head_manifest(&access(None), &app, &tag("amd64")).await.unwrap(), None);
    assert!(remote.head_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap().is_some());
    assert_eq!(server.requests(), [head, head, "GET /v2/", head]);
    // From here on the host is known.
    server.forget();
    assert_eq!(remote.head_manifest(&alice(&app), &app, &tag("none")).await.unwrap(), None);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_404_of_a_registry_that_asks_nobody_is_believed_after_one_look() {
    let server = registry(Login::Nobody, []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    for _ in 0..2 {
        assert_eq!(remote.head_manifest(&alice(&app), &app, &tag("none")).await.unwrap(), None);
    }
    let head = "HEAD /v2/team/app/manifests/none";
    assert_eq!(server.requests(), [head, "GET /v2/", head]);
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_empty()));
}

#[tokio::test]
async fn a_foreign_realm_never_sees_a_credential() {
    let tokens = serve(Store::new(), Lies::default()).await;
    let realm = format!("{}/token?account=secret", tokens.origin());
    let login = Login::Bearer {
        realm: Realm::At(realm),
        users: users(),
        public: vec![APP.into()],
        expires_in: None,
    };
    tokens.login(login.clone());
    let server = registry(login, []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let error = remote.head_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap_err();
    match &error {
        RegistryError::RealmNotTrusted { host, realm, credential } => {
            assert_eq!(*host, server.addr.to_string());
            assert_eq!(*realm, format!("{}/token", tokens.origin()));
            assert_eq!(credential.secret(), Some("push"));
        }
        other => panic!("{other:?}"),
    }
    let text = error.to_string();
    assert!(text.contains("--token-realm") && text.contains("multiarch.dev/token-realm"), "{text}");
    assert!(!text.contains("account"), "{text} shows a query");
    assert_eq!(tokens.requests(), [""; 0]);

    // A token for nobody may come from anywhere, and is asked for without a credential.
    let found = remote.head_manifest(&access(None), &app, &tag("amd64")).await.unwrap();
    assert!(found.is_some());
    let seen = tokens.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), "");
    assert!(seen[0].query.starts_with("account=secret&service=lies&scope="), "{}", seen[0].query);

    // Who owns the credential may say so.
    let mut owned = alice(&app);
    let credential = owned.credential.as_mut().unwrap();
    credential.token_realm = Some(format!("{}/token", tokens.origin()));
    remote.head_manifest(&owned, &app, &tag("amd64")).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_realm_is_judged_by_its_address() {
    let login = Login::Bearer {
        realm: Realm::At("http://169.254.169.254/latest/meta-data".into()),
        users: users(),
        public: Vec::new(),
        expires_in: None,
    };
    let server = registry(login, []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let error = remote.head_manifest(&access(None), &app, &tag("amd64")).await.unwrap_err();
    assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
}

#[rstest]
#[case::basic(Login::Basic(users()))]
#[case::bearer(Login::bearer(users()))]
#[tokio::test]
async fn a_config_on_another_host_is_read_without_credential(#[case] login: Login) {
    let storage = registry(Login::Nobody, []).await;
    let server = registry(login, [Lie::RedirectBlobs(storage.origin())]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let config = config(&server);
    let read = remote.get_blob(&alice(&app), &app, &config).await.unwrap();
    assert_eq!(read, server.store().blob(APP, &config.digest));
    let seen = storage.seen();
    assert_eq!((seen.len(), seen[0].query.as_str()), (1, "sig=secret"));
    for name in ["authorization", "cookie", "referer"] {
        assert_eq!(seen[0].header(name), "", "{name}");
    }
}

/// As registry.k8s.io does: the host that it leads to wants a token, and gets one for nobody.
#[tokio::test]
async fn a_host_that_was_redirected_to_gets_an_anonymous_token_at_most() {
    let login = Login::Bearer {
        realm: Realm::Own,
        users: users(),
        public: vec![APP.into()],
        expires_in: None,
    };
    let mirror = registry(login, []).await;
    let server = registry(Login::Basic(users()), [Lie::RedirectManifests(mirror.origin())]).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let read = remote.get_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap();
    assert_eq!(read, Some(some_image(&server)));
    assert!(mirror.seen().iter().all(|seen| !seen.header("authorization").starts_with("Basic")));

    mirror.login(Login::Basic(users()));
    let error = remote.get_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { status: 401, .. }), "{error:?}");
    let sent: Vec<_> = mirror.seen().iter().map(|s| s.header("authorization").to_owned()).collect();
    assert!(sent.iter().all(|sent| !sent.starts_with("Basic")), "{sent:?}");
}

fn config(server: &Server) -> Descriptor {
    let Manifest::Image(image) = some_image(server).parse().unwrap() else { panic!("no image") };
    image.config
}

#[tokio::test]
async fn every_request_on_the_wire_is_observed() {
    let server = registry(Login::bearer(users()), []).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&log);
    let remote = Remote::new(Options {
        allow_loopback: true,
        allow_http: true,
        observe: Arc::new(move |seen| {
            let line = format!("{} {} {:?}", seen.registry, seen.method, seen.status);
            observed.lock().unwrap().push(line);
        }),
        ..Options::default()
    });
    let app = server.repository(APP);
    let remote = remote.unwrap();
    remote.head_manifest(&alice(&app), &app, &tag("amd64")).await.unwrap();
    let expected = ["HEAD Some(401)", "GET Some(200)", "HEAD Some(200)"];
    assert_eq!(*log.lock().unwrap(), expected.map(|seen| format!("{} {seen}", server.addr)));
    drop(server);
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let server = registry(Login::bearer(users()), []).await;
    let (app, remote) = (server.repository(APP), remote(Limits::default()));
    let alice = alice(&app);
    remote.head_manifest(&alice, &app, &by(some_image(&server).digest())).await.unwrap();
    let token = server.seen().last().unwrap().header("authorization").replace("Bearer ", "");
    let shown = format!("{remote:?} {alice:?}");
    for secret in ["a-password", "alice", token.as_str()] {
        assert!(!shown.contains(secret), "{shown} shows {secret}");
    }
    let credential = Credential::of_password("push", "alice", "a-password");
    assert_eq!(format!("{credential:?}"), "Credential { origin: Secret(\"push\"), .. }");
}

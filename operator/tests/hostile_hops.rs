//! Every door by which a registry may lead elsewhere, tried with every place where nobody is to be led: what was sent where.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "tls/front.rs"]
mod front;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use faces::{access, tag};
use front::{Authority, Front, Odd, tls};
use multiarch_operator::{
    oci::{Reference, Repository},
    registry::{
        Access, Certificates, Place, Progress, Registry, RegistryError, Scope,
        memory::{
            Lie, Lies, Login, Server, Store, serve,
            server::{Realm, TokenLie, User},
        },
        remote::{Limits, Observation, Options, Remote, Resolve},
    },
};
use rstest::rstest;

const APP: &str = "team/app";
const PASSWORD: &str = "hunter2";

/// Where a registry says to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Manifest,
    Blob,
    Realm,
    Token,
    Upload,
    Page,
}

fn users() -> Vec<User> {
    vec![User::new("alice", PASSWORD, &[APP])]
}

/// What a registry does that leads to the origin `to` by `door`.
fn leading(door: Door, to: &str) -> Lies {
    let to = to.to_owned();
    let bearer =
        |realm| Login::Bearer { realm, users: users(), public: vec![APP.into()], expires_in: None };
    let (login, lie) = match door {
        Door::Manifest => (Login::Nobody, Some(Lie::RedirectManifests(to))),
        Door::Blob => (Login::Nobody, Some(Lie::RedirectBlobs(to))),
        Door::Realm => (bearer(Realm::At(format!("{to}/token"))), None),
        Door::Token => (bearer(Realm::Own), Some(Lie::Token(TokenLie::Redirect(to)))),
        Door::Upload => (Login::Nobody, Some(Lie::Location(Some(to)))),
        Door::Page => {
            let next = format!("{to}/v2/{APP}/referrers/x?last=1");
            (Login::Nobody, Some(Lie::NextPage(next)))
        }
    };
    Lies { login, lies: lie.into_iter().collect() }
}

fn store() -> Store {
    let store = Store::new();
    store.push_image(APP, "1.0", "linux/amd64");
    store
}

/// Goes through `door` of the registry at `app`; the error must show nothing that is secret.
async fn enter(door: Door, remote: &Remote, who: &Access, app: &Repository) -> RegistryError {
    let store = store();
    let image = store.tagged(APP, "1.0").unwrap();
    let blob = store.push_blob(APP, "config", "{}".into());
    let entered = match door {
        Door::Manifest | Door::Realm | Door::Token => {
            remote.head_manifest(who, app, &tag("1.0")).await.map(drop)
        }
        Door::Blob => remote.get_blob(who, app, &blob).await.map(drop),
        Door::Page => remote.list_referrers(who, app, image.digest()).await.map(drop),
        Door::Upload => {
            let source = serve(store, Lies::default()).await;
            let (from, nobody) = (source.repository(APP), access(None));
            let from = Place { access: &nobody, repository: &from };
            let to = Place { access: who, repository: app };
            let progress: Progress = Arc::new(|_| {});
            remote.copy_blob(from, to, &blob, &progress).await.map(drop)
        }
    };
    let error = entered.expect_err("it is not entered");
    let shown = format!("{error} {error:?}");
    for secret in [PASSWORD, "sig=", "secret=", "a=secret", "alice"] {
        assert!(!shown.contains(secret), "{shown} shows {secret}");
    }
    error
}

fn resolving(to: &'static str) -> Resolve {
    Arc::new(move |_| Box::pin(std::future::ready(Ok(vec![to.parse::<IpAddr>().unwrap()]))))
}

fn flags() -> Options {
    Options { allow_loopback: true, allow_http: true, ..Options::default() }
}

/// All forms of the addresses where clouds hand out credentials, by all doors, even where the admin has trusted the
/// place with uploads and who asks is nobody.
#[rstest]
#[tokio::test]
async fn no_door_leads_to_metadata(
    #[values(Door::Manifest, Door::Blob, Door::Realm, Door::Token, Door::Upload)] door: Door,
    #[values(
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[::ffff:0:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[2001:0:1:2:3:4:5601:5601]",
        "[fe80::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "instance-data",
        "metadata.test"
    )]
    place: &str,
) {
    // With a port that none of them has by itself, so that there is one spelling of it.
    let to = format!("http://{place}:8080");
    let url: url::Url = to.parse().unwrap();
    let place = format!("{}:8080", url.host_str().unwrap());
    let server = serve(store(), leading(door, &to)).await;
    let upload_hosts = vec![(server.addr.to_string(), place)];
    let answered = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&answered);
    let observe = Arc::new(move |seen: &Observation| {
        log.lock().unwrap().extend(seen.status.map(|_| seen.host.clone()));
    });
    let resolve = resolving("169.254.169.254");
    let options = Options { resolve, upload_hosts, observe, ..flags() };
    let (remote, app) = (Remote::new(options).unwrap(), server.repository(APP));
    let error = enter(door, &remote, &access(None).with_scope(Scope::pull(&app)), &app).await;
    assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
    // Nobody has answered but who led there, and the source of an upload.
    let mut answered = std::mem::take(&mut *answered.lock().unwrap());
    answered.retain(|host| *host != server.addr.to_string());
    assert_eq!(answered.len(), usize::from(door == Door::Upload), "{answered:?}");
    assert!(answered.iter().all(|host| host.starts_with("127.0.0.1:")), "{answered:?}");
}

/// The same places, named by an object itself.
#[rstest]
#[case("169.254.169.254")]
#[case("2852039166:80")]
#[case("0xa9fea9fe:80")]
#[case("0251.0376.0251.0376")]
#[case("[fd00:ec2::254]")]
#[case("[64:ff9b::a9fe:a9fe]")]
#[case("metadata.google.internal")]
#[case("metadata.test")]
#[tokio::test]
async fn no_object_names_metadata(#[case] host: &str) {
    let reference: Reference = format!("{host}/{APP}:1.0").parse().unwrap();
    let options = Options { resolve: resolving("::ffff:169.254.169.254"), ..flags() };
    let remote = Remote::new(options).unwrap();
    for plain_http in [true, false] {
        let who = Access { plain_http, ..access(None) };
        let asked = remote.head_manifest(&who, reference.repository(), &tag("1.0")).await;
        let error = asked.unwrap_err();
        assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
    }
}

/// By whatever door: what began with TLS does not go on without, and the other end hears nothing.
#[rstest]
#[case(Door::Manifest, "from https to http")]
#[case(Door::Blob, "from https to http")]
#[case(Door::Realm, "a token realm on http")]
#[case(Door::Token, "from https to http")]
#[case(Door::Upload, "from https to http")]
#[case(Door::Page, "from https to http")]
#[tokio::test]
async fn no_door_leads_from_https_to_http(#[case] door: Door, #[case] why: &str) {
    let thief = serve(store(), Lies::default()).await;
    let server = serve(store(), leading(door, &thief.origin())).await;
    let authority = Authority::new("ours");
    let front = Front::start(server.addr, &authority.server(Odd::Nothing), None).await;
    if door == Door::Token {
        let realm = Realm::At(format!("{}/token", front.origin()));
        let public = vec![APP.into()];
        server.login(Login::Bearer { realm, users: users(), public, expires_in: None });
    }
    let of = [(front.host(), Arc::new(tls("ca", Some(&authority.pem), None)))];
    let certificates = Arc::new(Certificates::new(BTreeMap::from(of)));
    let reference: Reference = format!("{}/{APP}:1.0", front.host()).parse().unwrap();
    let app = reference.repository();
    let remote = Remote::new(flags()).unwrap();
    let who = Access { plain_http: false, certificates, ..access(None) };
    let error = enter(door, &remote, &who.with_scope(Scope::push(app)), app).await;
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(thief.requests(), [""; 0]);
}

/// By whatever door: a user and a password in a URL are followed by nobody.
#[rstest]
#[tokio::test]
async fn no_door_leads_to_a_url_with_a_credential(
    #[values(
        Door::Manifest,
        Door::Blob,
        Door::Realm,
        Door::Token,
        Door::Upload,
        Door::Page
    )]
    door: Door,
    #[values("bob:hunter2@", "bob@", ":hunter2@")] user: &str,
) {
    let thief = serve(store(), Lies::default()).await;
    let to = thief.origin().replace("://", &format!("://{user}"));
    let server = serve(store(), leading(door, &to)).await;
    let (remote, app) = (Remote::new(flags()).unwrap(), server.repository(APP));
    let error = enter(door, &remote, &access(None).with_scope(Scope::push(&app)), &app).await;
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error:?}");
    assert_eq!(thief.requests(), [""; 0]);
}

/// A name that is somewhere else when it is looked up again: what is connected to is what was checked, each time.
#[tokio::test]
async fn a_name_is_judged_each_time_that_it_is_looked_up() {
    let server = serve(store(), Lies::default()).await;
    let looked_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looked_up);
    let resolve: Resolve = Arc::new(move |_| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        let address: IpAddr = if first { "127.0.0.1" } else { "169.254.169.254" }.parse().unwrap();
        Box::pin(std::future::ready(Ok(vec![address])))
    });
    let limits = Limits { tries: 2, ..Limits::default() };
    let remote = Remote::new(Options { resolve, limits, ..flags() }).unwrap();
    let host = format!("rebind.test:{}", server.addr.port());
    let reference: Reference = format!("{host}/{APP}:1.0").parse().unwrap();
    // The connection is gone after it, and it is asked again.
    server.lie([Lie::CutBody]);
    let asked = remote.get_manifest(&access(None), reference.repository(), &tag("1.0")).await;
    let error = asked.unwrap_err();
    assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
    assert_eq!((server.requests().len(), looked_up.load(Ordering::Relaxed)), (1, 2));
}

/// Of several addresses, those where nobody goes are passed over.
#[rstest]
#[case(&["169.254.169.254", "127.0.0.1"])]
#[case(&["fe80::1", "::ffff:169.254.169.254", "127.0.0.1"])]
#[tokio::test]
async fn only_what_is_allowed_of_a_names_addresses_is_connected_to(#[case] addresses: &[&str]) {
    let server = serve(store(), Lies::default()).await;
    let found: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let resolve: Resolve = Arc::new(move |_| Box::pin(std::future::ready(Ok(found.clone()))));
    let remote = Remote::new(Options { resolve, ..flags() }).unwrap();
    let reference: Reference =
        format!("several.test:{}/{APP}:1.0", server.addr.port()).parse().unwrap();
    let found = remote.get_manifest(&access(None), reference.repository(), &tag("1.0")).await;
    assert!(found.unwrap().is_some());
}

/// A token endpoint is asked for a token, and not who is to be asked for that.
#[rstest]
#[tokio::test]
async fn a_token_endpoint_that_wants_a_token_is_asked_once(
    #[values(true, false)] own: bool,
    #[values(true, false)] nobody: bool,
) {
    let thief = serve(store(), Lies::default()).await;
    let login = Login::Bearer {
        realm: Realm::Own,
        users: users(),
        public: vec![APP.into()],
        expires_in: None,
    };
    let server: Server = serve(store(), Lies { login, lies: Vec::new() }).await;
    let realm = if own { server.origin() } else { thief.origin() };
    server.lie([Lie::Token(TokenLie::Challenge(format!("{realm}/token")))]);
    let (remote, app) = (Remote::new(flags()).unwrap(), server.repository(APP));
    let who = access(Some(("alice", PASSWORD)).filter(|_| !nobody)).with_scope(Scope::pull(&app));
    let error = enter(Door::Token, &remote, &who, &app).await;
    assert!(matches!(error, RegistryError::Unauthorized { status: 401, .. }), "{error:?}");
    assert_eq!(server.requests(), ["HEAD /v2/team/app/manifests/1.0", "GET /token"]);
    assert_eq!(thief.requests(), [""; 0]);
}

//! TLS on the wire: who is trusted, who is shown what, and that no tenant's certificates serve another one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "tls/front.rs"]
mod front;

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use front::{Authority, Front, Odd, Pair, Proxy, tls};
use futures::{FutureExt, future::join_all};
use multiarch_operator::{
    oci::{Reference, Repository, TagOrDigest},
    registry::{
        Access, Certificates, Registry, RegistryError,
        memory::{
            Image, Lie, Lies, Server, Store, serve,
            server::{Login, Realm},
        },
        remote::{Limits, Options, Proxies, Remote, Resolve, SetupError},
        tls::Tls,
    },
};
use rstest::rstest;
use tokio::{
    io::{AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

const APP: &str = "team/app";

async fn registry() -> Server {
    let store = Store::new();
    for path in [APP, "team-a/app", "team-b/app"] {
        store.push(path, Some("1.0"), &Image::of("linux/amd64"));
    }
    serve(store, Lies::default()).await
}

/// An admin has named `hosts`, so it is told what they fail at.
fn options<const N: usize>(hosts: [&str; N]) -> Options {
    // The bundle is looked at before every request, and nothing is tried twice.
    let limits = Limits { bundle_age: Duration::ZERO, tries: 1, ..Limits::default() };
    let allowed = hosts.iter().map(|host| host.parse().unwrap()).collect();
    Options { allow_loopback: true, allowed, limits, ..Options::default() }
}

fn remote<const N: usize>(hosts: [&str; N]) -> Remote {
    Remote::new(options(hosts)).unwrap()
}

/// Who has these certificates for hosts.
fn access<const N: usize>(of: [(String, Tls); N]) -> Access {
    let of: BTreeMap<_, _> = of.into_iter().map(|(host, tls)| (host, Arc::new(tls))).collect();
    Access { certificates: Arc::new(Certificates::new(of)), ..Access::default() }
}

fn repository(host: &str, path: &str) -> Repository {
    let reference: Reference = format!("{host}/{path}:1.0").parse().unwrap();
    reference.repository().clone()
}

/// Asks `host` for the image.
async fn ask(remote: &Remote, host: &str, access: &Access) -> Result<(), RegistryError> {
    let tag = TagOrDigest::Tag("1.0".into());
    let found = remote.get_manifest(access, &repository(host, APP), &tag).await?;
    assert!(found.is_some());
    Ok(())
}

/// What is said of a registry that is not reached.
fn unreachable(result: Result<(), RegistryError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_private_ca_is_trusted_by_whom_it_is_given() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = registry().await;
    let front = Front::start(server.addr, &ours.server(Odd::Nothing), None).await;
    let host = front.host();
    let remote = remote([&host]);
    let said = unreachable(ask(&remote, &host, &Access::default()).await);
    for word in [host.as_str(), "unknown issuer", "spec.registries[].certSecretRef", "--ca-bundle"]
    {
        assert!(said.contains(word), "{said}");
    }
    let wrong = access([(host.clone(), tls("private", Some(&other.pem), None))]);
    let of_before =
        access([(host.clone(), tls("private", Some(&Authority::new("ours").pem), None))]);
    for access in [&wrong, &of_before] {
        let said = unreachable(ask(&remote, &host, access).await);
        assert!(said.ends_with("that CA is not in ca.crt of Secret private"), "{said}");
    }
    let elsewhere = access([("127.0.0.1:1".into(), tls("private", Some(&ours.pem), None))]);
    unreachable(ask(&remote, &host, &elsewhere).await);
    assert_eq!(server.requests(), [""; 0]);

    let several = format!("{}{}", other.pem, ours.pem);
    for ca in [&ours.pem, &several] {
        let right = access([(host.clone(), tls("private", Some(ca), None))]);
        ask(&remote, &host, &right).await.unwrap();
        // A connection that another tenant's CA has opened serves nobody else.
        unreachable(ask(&remote, &host, &Access::default()).await);
        unreachable(ask(&remote, &host, &wrong).await);
    }
}

#[rstest]
#[case(Odd::Expired, "its certificate has expired: the registry needs a new one")]
#[case(Odd::NotYet, "its certificate is not valid yet: is a clock wrong?")]
#[case(Odd::OtherName, "the registry needs one with this host in its subjectAltName")]
#[case(Odd::ItsOwnAuthority, "its certificate is a CA's own")]
#[tokio::test]
async fn a_certificate_that_is_wrong_is_refused(#[case] odd: Odd, #[case] words: &str) {
    let authority = Authority::new("ours");
    let server = registry().await;
    let shown = authority.server(odd);
    let front = Front::start(server.addr, &shown, None).await;
    let ca = if odd == Odd::ItsOwnAuthority { &shown.certificate } else { &authority.pem };
    let access = access([(front.host(), tls("private", Some(ca), None))]);
    let said = unreachable(ask(&remote([&front.host()]), &front.host(), &access).await);
    assert!(said.contains(words), "{said}");
    assert!(!said.contains("secret-name"), "{said}");
    assert_eq!(server.requests(), [""; 0]);
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_no_ca_vouches_for_itself() {
    let server = registry().await;
    let shown = Authority::new("nobody").server(Odd::SelfSigned);
    let front = Front::start(server.addr, &shown, None).await;
    let own = access([(front.host(), tls("private", Some(&shown.certificate), None))]);
    let (host, remote) = (front.host(), remote([]));
    ask(&remote, &host, &own).await.unwrap();
    unreachable(ask(&remote, &host, &Access::default()).await);
}

#[tokio::test]
async fn the_bundle_is_read_again_when_it_changes() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = registry().await;
    let first = Front::start(server.addr, &old.server(Odd::Nothing), None).await;
    let second = Front::start(server.addr, &new.server(Odd::Nothing), None).await;
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    fs::write(&bundle, &old.pem).unwrap();
    let remote = Remote::new(Options { ca_bundle: Some(bundle.clone()), ..options([]) }).unwrap();
    let nobody = Access::default();
    let own = access([(second.host(), tls("private", Some(&new.pem), None))]);
    ask(&remote, &first.host(), &nobody).await.unwrap();
    unreachable(ask(&remote, &second.host(), &nobody).await);
    ask(&remote, &second.host(), &own).await.unwrap();

    fs::write(&bundle, format!("{}{}", old.pem, new.pem)).unwrap();
    ask(&remote, &first.host(), &nobody).await.unwrap();
    ask(&remote, &second.host(), &nobody).await.unwrap();

    // What cannot be read changes nothing.
    fs::write(&bundle, "half a file").unwrap();
    ask(&remote, &second.host(), &nobody).await.unwrap();
    fs::remove_file(&bundle).unwrap();
    ask(&remote, &second.host(), &nobody).await.unwrap();

    fs::write(&bundle, &new.pem).unwrap();
    unreachable(ask(&remote, &first.host(), &nobody).await);
    ask(&remote, &second.host(), &own).await.unwrap();
}

#[rstest]
#[case::not_there(None, "No such file")]
#[case::garbage(Some("garbage"), "the file is not a certificate in PEM")]
#[case::empty(Some(""), "the file is not a certificate in PEM")]
fn a_bundle_that_cannot_be_read_is_no_start(#[case] content: Option<&str>, #[case] why: &str) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    if let Some(content) = content {
        fs::write(&bundle, content).unwrap();
    }
    let error = Remote::new(Options { ca_bundle: Some(bundle), ..options([]) }).unwrap_err();
    assert!(matches!(error, SetupError::Bundle { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.starts_with("--ca-bundle ") && said.contains("ca.pem: "), "{said}");
    assert!(said.contains(why), "{said}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_host() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let server = registry().await;
    let shown = servers.server(Odd::Nothing);
    let front = Front::start(server.addr, &shown, Some(&clients)).await;
    let host = front.host();
    let remote = remote([&host]);
    let with = |pair: Option<&Pair>| access([(host.clone(), tls("me", Some(&servers.pem), pair))]);
    let said = unreachable(ask(&remote, &host, &with(None)).await);
    assert!(said.contains("it wants a client certificate: name a Secret with tls.crt"), "{said}");
    for by in [&servers, &Authority::new("clients")] {
        let said = unreachable(ask(&remote, &host, &with(Some(&by.client("stranger")))).await);
        assert!(said.ends_with("it refused the client certificate of Secret me"), "{said}");
    }
    assert_eq!(server.requests(), [""; 0]);
    ask(&remote, &host, &with(Some(&clients.client("me")))).await.unwrap();
    unreachable(ask(&remote, &host, &with(None)).await);
}

/// Each repository is asked for by its own tenant; all connections to the one host are looked at.
#[tokio::test]
async fn two_tenants_of_one_host_each_have_their_own() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let server = registry().await;
    let shown = servers.server(Odd::Nothing);
    let front = Front::start(server.addr, &shown, Some(&clients)).await;
    let host = front.host();
    let remote = remote([&host]);
    let tenants = ["team-a", "team-b"].map(|name| {
        let pair = clients.client(name);
        let tls = tls("registry", Some(&servers.pem), Some(&pair));
        (format!("{name}/app"), pair, access([(host.clone(), tls)]))
    });
    let tag = TagOrDigest::Tag("1.0".into());
    let asking = (0..40).map(|turn| {
        let (path, _, access) = &tenants[turn % 2];
        let (remote, tag, repository) = (&remote, &tag, repository(&host, path));
        async move { remote.get_manifest(access, &repository, tag).await.unwrap().unwrap() }
    });
    join_all(asking).await;
    let connections = front.connections();
    for (path, pair, _) in &tenants {
        let theirs = connections.iter().filter(|it| it.client == Some(pair.der()));
        let sent: String = theirs.map(|it| it.sent.as_str()).collect();
        assert_eq!(sent.matches("GET /v2/").count(), 20, "{path}");
        assert_eq!(sent.matches(&format!("GET /v2/{path}/")).count(), 20, "{path}");
    }
}

#[tokio::test]
async fn certificates_are_for_their_host_and_not_for_where_it_leads() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (server, storage) = (registry().await, registry().await);
    let shown = authority.server(Odd::Nothing);
    let front = Front::start(server.addr, &shown, None).await;
    let behind = Front::start(storage.addr, &shown, None).await;
    server.lie([Lie::RedirectManifests(behind.origin())]);
    let own = || tls("private", Some(&authority.pem), Some(&clients.client("me")));
    let one = access([(front.host(), own())]);
    let (host, elsewhere) = (front.host(), behind.host());
    let remote = remote([&host, &elsewhere]);
    let said = unreachable(ask(&remote, &host, &one).await);
    assert!(said.contains(&format!("failed to reach {elsewhere} for")), "{said}");
    assert!(said.contains("unknown issuer: name a Secret"), "{said}");
    assert_eq!(storage.requests(), [""; 0]);
    let both = access([(front.host(), own()), (behind.host(), own())]);
    ask(&remote, &host, &both).await.unwrap();
    assert_eq!(storage.requests().len(), 1);
}

/// A registry may give tokens by client certificate, so that without credential is not the same as nobody.
#[tokio::test]
async fn a_token_is_for_the_certificate_that_it_was_fetched_with() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let server = registry().await;
    let shown = servers.server(Odd::Nothing);
    let front = Front::start(server.addr, &shown, Some(&clients)).await;
    server.login(Login::Bearer {
        realm: Realm::At(format!("{}/token", front.origin())),
        users: Vec::new(),
        public: vec![APP.into()],
        expires_in: Some(300),
    });
    let host = front.host();
    let remote = remote([&host]);
    let tenants = ["a", "b"].map(|name| {
        let tls = tls("registry", Some(&servers.pem), Some(&clients.client(name)));
        access([(host.clone(), tls)])
    });
    for tenant in &tenants {
        ask(&remote, &host, tenant).await.unwrap();
        ask(&remote, &host, tenant).await.unwrap();
    }
    let tokens = server.requests().iter().filter(|it| *it == "GET /token").count();
    assert_eq!(tokens, 2, "{:?}", server.requests());
}

/// Who waits for another one's token is told of their own Secret, though both have the same certificates in it.
#[tokio::test]
async fn a_tokens_failure_names_nobody_elses_secret() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = registry().await;
    let front = Front::start(server.addr, &ours.server(Odd::Nothing), None).await;
    let behind = Front::start(server.addr, &other.server(Odd::Nothing), None).await;
    let endpoint = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (host, realm) = (front.host(), endpoint.local_addr().unwrap().to_string());
    server.login(Login::Bearer {
        realm: Realm::At(format!("https://{realm}/token")),
        users: Vec::new(),
        public: vec![APP.into()],
        expires_in: Some(300),
    });
    let remote = remote([&host, &realm]);
    let of = |secret: &str| {
        let tls = || tls(secret, Some(&ours.pem), None);
        access([(host.clone(), tls()), (realm.clone(), tls())])
    };
    let (one, two) = (of("a-ca"), of("b-ca"));
    let (mut first, mut second) =
        (pin!(ask(&remote, &host, &one)), pin!(ask(&remote, &host, &two)));
    // One asks for the token, and the other one waits for it, before anybody answers.
    let mut asking = tokio::select! {
        asking = endpoint.accept() => asking.unwrap().0,
        told = &mut first => panic!("nobody was asked: {told:?}"),
    };
    assert!(futures::poll!(&mut second).is_pending());
    let mut answering = TcpStream::connect(behind.addr).await.unwrap();
    tokio::spawn(async move { copy_bidirectional(&mut asking, &mut answering).await });
    let told = tokio::join!(first, second);
    for (said, secret) in [(told.0, "a-ca"), (told.1, "b-ca")] {
        let said = unreachable(said);
        let ends = format!("that CA is not in ca.crt of Secret {secret}");
        assert!(said.contains("token") && said.ends_with(&ends), "{said}");
    }
}

/// Who ends a connection by HTTP/2 may say anything as the reason.
#[tokio::test]
async fn no_form_of_a_failure_shows_what_a_registry_said_at_the_end() {
    const WORDS: &[u8] = b"hunter2";
    let authority = Authority::new("ours");
    let registry = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shown = authority.server(Odd::Nothing);
    let front = Front::offering(registry.local_addr().unwrap(), &shown, None, &["h2"]).await;
    tokio::spawn(async move {
        // SETTINGS, and GOAWAY for PROTOCOL_ERROR (RFC 9113, 6.5 and 6.8).
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let goaway = [0, 0, 8 + 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        loop {
            let (mut stream, _) = registry.accept().await.unwrap();
            stream.write_all(&[&settings[..], &goaway, WORDS].concat()).await.unwrap();
            let _ = copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    let host = front.host();
    let trusting = access([(host.clone(), tls("private", Some(&authority.pem), None))]);
    let error = ask(&remote([&host]), &host, &trusting).await.unwrap_err();
    let mut shown = vec![format!("{error:?}"), format!("{error:#?}")];
    let mut next: Option<&dyn Error> = Some(&error);
    while let Some(error) = next {
        shown.push(error.to_string());
        next = error.source();
    }
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    for shown in shown {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

fn by(proxy: &str, no: &str) -> Proxies {
    let variables = [("HTTPS_PROXY", format!("http://me:pass@{proxy}")), ("NO_PROXY", no.into())];
    let variable = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone())
    };
    Proxies::read(variable).unwrap()
}

fn proxied(proxy: &Proxy, no: &str) -> Remote {
    let proxies = by(&proxy.addr.to_string(), no);
    Remote::new(Options { proxies, ..options(["registry.test"]) }).unwrap()
}

#[tokio::test]
async fn a_proxy_hands_on_what_it_cannot_read() {
    let authority = Authority::new("ours");
    let server = registry().await;
    let front = Front::start(server.addr, &authority.server(Odd::Nothing), None).await;
    let proxy = Proxy::start(Some(front.addr)).await;
    let host = "registry.test:5000".to_owned();
    let trusting = access([(host.clone(), tls("private", Some(&authority.pem), None))]);
    ask(&proxied(&proxy, ""), &host, &trusting).await.unwrap();
    let [asked] = proxy.asked().try_into().unwrap();
    assert!(asked.starts_with("CONNECT registry.test:5000 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("proxy-authorization: basic bwu6cgfzcw=="), "{asked}");
    assert!(!front.connections()[0].sent.to_lowercase().contains("proxy-authorization"));
    // The registry is verified, and not the proxy that claims to lead there.
    unreachable(ask(&proxied(&proxy, ""), &host, &Access::default()).await);

    let direct = access([(front.host(), tls("private", Some(&authority.pem), None))]);
    ask(&proxied(&proxy, "example.com,127.0.0.1"), &front.host(), &direct).await.unwrap();
    assert_eq!(proxy.asked().len(), 2, "NO_PROXY");
}

/// Its admin has said where the proxy is; that says nothing of a registry of that name.
#[tokio::test]
async fn a_proxy_may_be_called_by_a_name_of_this_machine_and_no_registry_may() {
    let authority = Authority::new("ours");
    let server = registry().await;
    let front = Front::start(server.addr, &authority.server(Odd::Nothing), None).await;
    let proxy = Proxy::start(Some(front.addr)).await;
    let port = proxy.addr.port();
    let on_this_machine: Resolve = Arc::new(|_| {
        let found = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
        async move { Ok(found) }.boxed()
    });
    let host = "registry.test:5000".to_owned();
    for name in ["localhost", "proxy.test"] {
        let no = "proxy.test,https-proxy.invalid";
        let (resolve, proxies) = (Arc::clone(&on_this_machine), by(&format!("{name}:{port}"), no));
        let options = Options { proxies, resolve, allow_loopback: false, ..options([]) };
        let remote = Remote::new(options).unwrap();
        let trusting = access([(host.clone(), tls("private", Some(&authority.pem), None))]);
        ask(&remote, &host, &trusting).await.unwrap();
        for called in ["proxy.test", "https-proxy.invalid", "http-proxy.invalid"] {
            let error = ask(&remote, &format!("{called}:{port}"), &Access::default()).await;
            let error = error.unwrap_err();
            assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
        }
    }
    assert_eq!(proxy.asked().len(), 2);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told() {
    let proxy = Proxy::start(None).await;
    let said = unreachable(ask(&proxied(&proxy, ""), "registry.test", &Access::default()).await);
    assert!(said.contains("the proxy did not let it through"), "{said}");
    assert!(!said.contains("Secret words") && !said.contains("pass"), "{said}");
}

#[rstest]
#[case("169.254.169.254")]
#[case("[fe80::1]:443")]
#[case("metadata.google.internal")]
#[tokio::test]
async fn a_proxy_is_not_asked_for_metadata(#[case] host: &str) {
    let proxy = Proxy::start(None).await;
    let error = ask(&proxied(&proxy, ""), host, &Access::default()).await.unwrap_err();
    assert!(matches!(error, RegistryError::ForbiddenAddress { .. }), "{error:?}");
    assert!(proxy.asked().is_empty());
}

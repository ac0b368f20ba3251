//! No secret in any output: logs at their finest, status, Events, metrics and `Debug`, whatever registries do.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "controller/api.rs"]
mod api;
#[path = "tls/front.rs"]
mod front;

use std::{
    io,
    num::NonZeroU16,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use multiarch_operator::{
    admin::Admin,
    controller::{self, Options},
    leader::Term,
    metrics::{Format, Metrics},
    registry::{
        memory::{
            Lie, Lies, Login, Store, serve,
            server::{Realm, TokenLie, User},
        },
        remote::{self, Limits, Observation, Proxies, Remote},
    },
    shutdown::Shutdown,
};
use serde_json::{Value, json};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    api::Api,
    front::{Authority, Front, Odd, Proxy},
};

const PASSWORD: &str = "correct-horse-battery-staple";
const IDENTITY: &str = "identity-of-nobody-else";
const PROXY: &str = "password-of-the-proxy";

/// Where the registry is that speaks TLS, to who asks the proxy.
const BY_TLS: &str = "registry.test:5000";

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn secret(place: &str, login: &Value, realm: Option<&str>) -> Value {
    let config = json!({"auths": {place: login}}).to_string();
    let annotations = json!({"multiarch.dev/token-realm": realm.unwrap_or_default()});
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "annotations": annotations},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": STANDARD.encode(config)},
    })
}

/// What a case is about.
struct Case {
    login: Login,
    lies: Vec<Lie>,
    /// One that leads to the origin of the other registry.
    leads: Option<fn(String) -> Lie>,
    /// The Secret's entry for the registry.
    credential: Value,
    /// The realm that the Secret trusts with it.
    realm: Option<&'static str>,
    /// What makes the entry one for a host that looks alike.
    alike: fn(&str) -> String,
    /// Bytes that come slowly are soon given up.
    hasty: bool,
    /// An image is on another registry, so that blobs are sent.
    elsewhere: bool,
    /// By TLS and HTTP/2, with a client certificate, and by a proxy that wants a password.
    by_tls: bool,
    /// The API server sends this in the place of the Secret.
    broken: Option<Value>,
    /// What all that is shown has in it.
    says: &'static str,
}

impl Case {
    fn of(login: Login, credential: Value) -> Self {
        let lies = Vec::new();
        let says = "asked a registry";
        Self {
            login,
            lies,
            leads: None,
            credential,
            realm: None,
            alike: str::to_owned,
            hasty: false,
            elsewhere: false,
            by_tls: false,
            broken: None,
            says,
        }
    }

    fn saying(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    fn lying(self, lie: Lie) -> Self {
        Self { lies: vec![lie], ..self }
    }

    fn leading(self, leads: fn(String) -> Lie) -> Self {
        Self { leads: Some(leads), ..self }
    }
}

fn object(host: &str, arm64: &str, by_tls: bool) -> Value {
    let by = if by_tls {
        json!({"host": host, "certSecretRef": {"name": "tls"}})
    } else {
        json!({"host": host, "plainHTTP": true})
    };
    let mut registries = vec![by];
    if !arm64.starts_with(host) {
        let host = arm64.split('/').next().unwrap();
        registries.push(json!({"host": host, "plainHTTP": true}));
    }
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {"namespace": "team", "name": "app", "uid": "app", "generation": 1},
        "spec": {
            "target": {"image": format!("{host}/app:1.0"), "secretRef": {"name": "login"}},
            "sources": [
                {"name": "amd64", "image": format!("{host}/app:amd64")},
                {"name": "arm64", "image": arm64},
            ],
            "registries": registries,
            "imagePullSecrets": [{"name": "login"}],
        },
        "status": {"observedGeneration": -1},
    })
}

/// One object over one registry, until it is reported; all that anybody may see of it, and all that was sent.
async fn outputs(case: Case) -> (String, Vec<String>) {
    let store = Store::new();
    store.push_image("app", "amd64", "linux/amd64");
    store.push_image("builds", "arm64", "linux/arm64");
    let elsewhere = serve(store.clone(), Lies::default()).await;
    let leads = case.leads.map(|leads| leads(elsewhere.origin()));
    let lies = case.lies.into_iter().chain(leads).collect();
    let server = serve(store, Lies { login: case.login, lies }).await;
    let authority = Authority::new("ours");
    let client = authority.client("operator");
    let shown = authority.server(Odd::Nothing);
    let front = Front::offering(server.addr, &shown, Some(&authority), &["h2"]).await;
    let proxy = Proxy::start(Some(front.addr)).await;
    let host = if case.by_tls { BY_TLS.into() } else { server.addr.to_string() };
    let builds = if case.elsewhere { elsewhere.addr.to_string() } else { host.clone() };
    let arm64 = format!("{builds}/builds:arm64");
    let api = Api::new();
    let own = secret(&(case.alike)(&host), &case.credential, case.realm);
    api.secret("team/login", case.broken.unwrap_or(own));
    let pem = |text: &str| STANDARD.encode(text);
    api.secret(
        "team/tls",
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "type": "Opaque",
            "data": {
                "ca.crt": pem(&authority.pem),
                "tls.crt": pem(&client.certificate), "tls.key": pem(&client.key),
            },
        }),
    );
    api.apply(object(&host, &arm64, case.by_tls));
    let metrics = Arc::new(Metrics::new());
    let observed = Arc::clone(&metrics);
    let variable = |name: &str| {
        let url = format!("http://robot:{PROXY}@{}", proxy.addr);
        (case.by_tls && name == "HTTPS_PROXY").then_some(url)
    };
    let limits = Limits::default();
    let rate_window = if case.hasty { Duration::from_millis(100) } else { limits.rate_window };
    let remote = Remote::new(remote::Options {
        allow_loopback: true,
        allow_http: true,
        limits: Limits { rate_window, ..limits },
        // Every name is one of metadata.
        resolve: Arc::new(|_| {
            Box::pin(std::future::ready(Ok(vec!["169.254.169.254".parse().unwrap()])))
        }),
        proxies: Proxies::read(variable).unwrap(),
        observe: Arc::new(move |seen: &Observation| {
            observed.requested(&seen.registry, seen.method, seen.status, seen.elapsed);
        }),
        ..remote::Options::default()
    })
    .unwrap();
    let mut shown = format!("{remote:?}");
    let shutdown = Shutdown::default();
    let options = Options {
        namespaces: Vec::new(),
        selector: None,
        allowed: Vec::new(),
        providers: Arc::default(),
        concurrent: NonZeroU16::MIN,
        spread: Duration::ZERO,
        node_platforms: false,
        sets: false,
        shelf: Arc::default(),
    };
    let admin = Admin::new(metrics.clone());
    let client_of_api = api.client().await;
    let term = Term::alone(&shutdown);
    let run = controller::run(client_of_api, remote, options, metrics.clone(), admin, term);
    let running = tokio::spawn(run);
    let secret_read = |api: &Api| api.asked().iter().any(|seen| seen.path.ends_with("/login"));
    api.until("a status, or no outcome", |api| !api.patches().is_empty() || secret_read(api)).await;
    // The Events of a run are told before it ends.
    shutdown.stop.cancel();
    running.await.unwrap();
    for seen in api.asked() {
        shown = format!("{shown}\n{} {} {} {}", seen.method, seen.path, seen.query, seen.body);
    }
    shown = format!("{shown}\n{}", metrics.render(Format::accepted_by("")));
    assert_eq!(case.by_tls, !proxy.asked().is_empty(), "{shown}");
    let key = client.key.lines().filter(|line| !line.starts_with("-----")).map(ToOwned::to_owned);
    let seen = [server.seen(), elsewhere.seen()].concat();
    let sent = seen.into_iter().filter_map(|seen| {
        let (_, value) = seen.header("authorization").split_once(' ')?;
        Some(value.to_owned())
    });
    (shown, sent.chain(key).collect())
}

/// What the logs of those say that are asked to log all they can: the filter lets them through.
const TALKATIVE: [&str; 5] = ["h2::", "hyper_util::", "reqwest::", "rustls::", "kube_client::"];

fn user(password: &str) -> Vec<User> {
    vec![User::new("robot", password, &["app", "builds"])]
}

fn login(password: &str) -> Value {
    json!({"auth": STANDARD.encode(format!("robot:{password}"))})
}

/// Tokens of this endpoint.
fn realm(url: &str) -> Login {
    let realm = Realm::At(url.into());
    Login::Bearer { realm, users: user(PASSWORD), public: Vec::new(), expires_in: None }
}

fn good(login_by: Login) -> Case {
    Case::of(login_by, login(PASSWORD))
}

/// A realm that the Secret trusts, where metadata is.
fn metadata(url: &'static str) -> Case {
    Case { realm: Some(url), ..good(realm(&format!("{url}?session=hunter2-query"))) }
        .saying("where the operator does not go")
}

/// An entry for a host that looks like the registry.
fn alike(alike: fn(&str) -> String) -> Case {
    Case { alike, ..good(Login::bearer(user(PASSWORD))) }.saying("Secret login")
}

fn cases() -> Vec<Case> {
    let foreign = "http://127.0.0.1:9/token?session=hunter2-query";
    let to = |url: &str| url.to_owned();
    vec![
        good(Login::Basic(user(PASSWORD))).saying("Succeeded"),
        good(Login::bearer(user(PASSWORD))).saying("Succeeded"),
        good(Login::bearer(user("another"))).saying("AuthenticationFailed"),
        Case::of(Login::bearer(user(IDENTITY)), json!({"identitytoken": IDENTITY})),
        Case::of(Login::bearer(user("another")), json!({"identitytoken": IDENTITY})),
        Case::of(Login::bearer(vec![]), json!({"registrytoken": STANDARD.encode(PASSWORD)})),
        good(Login::bearer(user(PASSWORD))).lying(Lie::InsufficientScope),
        good(Login::bearer(user(PASSWORD))).lying(Lie::Secrets(500)),
        good(Login::bearer(user(PASSWORD))).lying(Lie::Html(502)),
        good(Login::Basic(user(PASSWORD))).lying(Lie::RedirectBlobs(to("http://127.0.0.1:9"))),
        good(Login::Basic(user(PASSWORD)))
            .lying(Lie::RedirectManifests(to("http://robot:hunter2-url@127.0.0.1:9"))),
        good(Login::bearer(user(PASSWORD)))
            .lying(Lie::Token(TokenLie::Redirect(to("http://127.0.0.1:9")))),
        good(realm(foreign)),
        good(realm("http://robot:hunter2-url@127.0.0.1:9/token")),
        metadata("http://169.254.169.254/latest/meta-data"),
        metadata("http://[fd00:ec2::254]/token"),
        metadata("http://[::ffff:a9fe:a9fe]/token"),
        metadata("http://metadata.test/token"),
        good(Login::bearer(user(PASSWORD)))
            .lying(Lie::Token(TokenLie::Huge))
            .saying("more than 65536 bytes"),
        Case { hasty: true, ..good(Login::bearer(user(PASSWORD))) }
            .lying(Lie::Token(TokenLie::Trickle))
            .saying("was too slow for GET token"),
        good(Login::bearer(user(PASSWORD)))
            .lying(Lie::Token(TokenLie::NewChallenge))
            .saying("with HTTP 401"),
        // Redirects that get somewhere, and such as do not.
        good(Login::bearer(user(PASSWORD))).leading(Lie::RedirectManifests).saying("Succeeded"),
        good(Login::Basic(user(PASSWORD))).leading(Lie::RedirectBlobs).saying("Succeeded"),
        good(Login::Basic(user(PASSWORD)))
            .lying(Lie::RedirectManifests(to("http://metadata.test")))
            .saying("where the operator does not go"),
        Case { by_tls: true, ..good(Login::Basic(user(PASSWORD))) }
            .leading(Lie::RedirectManifests)
            .saying("from https to http"),
        Case { elsewhere: true, ..good(Login::Basic(user(PASSWORD))) }
            .leading(|origin| Lie::Location(Some(origin)))
            .saying("on another host"),
        alike(|host| format!("{host}.example.com")),
        alike(|host| format!("{host}0")),
        alike(|host| format!("registry.example.com@{host}")),
        alike(|host| format!("https://robot:{PASSWORD}@{host}")),
        Case::of(Login::Nobody, json!({"auth": "hunter2-not-base64"}))
            .saying("is not base64 of user:password"),
        // Sessions of uploads have a state in their query, and whoever has it may write.
        Case { elsewhere: true, ..good(Login::bearer(user(PASSWORD))) }.saying("Succeeded"),
        Case { elsewhere: true, ..good(Login::Basic(user(PASSWORD))) }
            .lying(Lie::Location(Some(to("http://robot:hunter2-url@127.0.0.1:9"))))
            .saying("holds a credential"),
        Case { by_tls: true, ..good(Login::Basic(user(PASSWORD))) }.saying("Succeeded"),
        Case { by_tls: true, ..good(realm(&format!("https://{BY_TLS}/token"))) }
            .saying("Succeeded"),
        // Neither is what the client cannot parse.
        Case {
            broken: Some(json!({"metadata": {"name": "login"}, "data": "hunter2-no-map"})),
            ..good(Login::Nobody)
        }
        .saying("the API server's answer is no Secret called login"),
    ]
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let log = Log::default();
    // As the process does it: also what is logged by `log`, as rustls and reqwest do.
    let filter = EnvFilter::try_new("trace").unwrap();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).init();
    rustls::crypto::ring::default_provider().install_default().unwrap();

    let (mut talkative, mut silent) = (TALKATIVE.to_vec(), Vec::new());
    for (at, case) in cases().into_iter().enumerate() {
        let says = case.says;
        let (shown, sent) = outputs(case).await;
        let logged = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
        talkative.retain(|target| !logged.contains(target));
        let everything = format!("{shown}\n{logged}");
        if !everything.contains(says) {
            silent.push(format!("case {at} does not say {says}"));
        }
        let fixed =
            [PASSWORD, IDENTITY, PROXY, "hunter2", "sig=secret", "a=secret", "_state=", "robot:"];
        let encoded = [
            format!("robot:{PASSWORD}"),
            format!("<token>:{IDENTITY}"),
            format!("robot:{PROXY}"),
            PASSWORD.into(),
        ];
        let encoded = encoded.iter().map(|text| STANDARD.encode(text));
        let secrets = fixed.into_iter().map(ToOwned::to_owned).chain(encoded).chain(sent);
        for secret in secrets {
            let found = everything.lines().find(|line| line.contains(&secret));
            assert_eq!(found, None, "case {at} shows {secret}");
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
    assert!(talkative.is_empty(), "nothing was logged by {talkative:?}");
}

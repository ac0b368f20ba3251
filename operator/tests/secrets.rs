//! No secret in any output: logs at their finest, status, Events, metrics and `Debug`, whatever registries do.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "controller/api.rs"]
mod api;

use std::{
    io,
    num::NonZeroU16,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use multiarch_operator::{
    admin::Admin,
    controller::{self, Options},
    keychain::providers::Providers,
    metrics::{Format, Metrics},
    registry::{
        memory::{
            Lie, Lies, Login, Store, serve,
            server::{Realm, TokenLie, User},
        },
        remote::{self, Observation, Remote},
    },
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use crate::api::Api;

const PASSWORD: &str = "correct-horse-battery-staple";
const IDENTITY: &str = "identity-of-nobody-else";

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

fn secret(host: &str, login: &Value) -> Value {
    let config = json!({"auths": {host: login}}).to_string();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": STANDARD.encode(config)},
    })
}

fn object(host: &str) -> Value {
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {"namespace": "team", "name": "app", "uid": "app", "generation": 1},
        "spec": {
            "target": {"image": format!("{host}/app:1.0"), "secretRef": {"name": "login"}},
            "sources": [
                {"name": "amd64", "image": format!("{host}/app:amd64")},
                {"name": "arm64", "image": format!("{host}/builds:arm64")},
            ],
            "registries": [{"host": host, "plainHTTP": true}],
            "imagePullSecrets": [{"name": "login"}],
        },
        "status": {"observedGeneration": -1},
    })
}

/// One object over one registry, until it is reported; all that anybody may see of it, and all that was sent.
async fn outputs(login: Login, lies: Vec<Lie>, credential: &Value) -> (String, Vec<String>) {
    let store = Store::new();
    store.push_image("app", "amd64", "linux/amd64");
    store.push_image("builds", "arm64", "linux/arm64");
    let server = serve(store, Lies { login, lies }).await;
    let host = server.addr.to_string();
    let api = Api::new();
    api.secret("team/login", secret(&host, credential));
    api.apply(object(&host));
    let metrics = Arc::new(Metrics::new());
    let observed = Arc::clone(&metrics);
    let remote = Remote::new(remote::Options {
        allow_loopback: true,
        allow_http: true,
        observe: Arc::new(move |seen: &Observation| {
            observed.requested(&seen.registry, seen.method, seen.status, seen.elapsed);
        }),
        ..remote::Options::default()
    })
    .unwrap();
    let mut shown = format!("{remote:?}");
    let stop = CancellationToken::new();
    let options = Options {
        namespaces: Vec::new(),
        allowed: Vec::new(),
        providers: Providers::default(),
        concurrent: NonZeroU16::MIN,
    };
    let admin = Admin::new(metrics.clone());
    let client = api.client().await;
    let run = controller::run(client, remote, options, metrics.clone(), admin, stop.clone());
    let running = tokio::spawn(run);
    api.until("a status", |api| !api.patches().is_empty()).await;
    // The Events of a run are told before it ends.
    stop.cancel();
    running.await.unwrap();
    for seen in api.asked() {
        shown = format!("{shown}\n{} {} {} {}", seen.method, seen.path, seen.query, seen.body);
    }
    shown = format!("{shown}\n{}", metrics.render(Format::accepted_by("")));
    let sent = server.seen().into_iter().filter_map(|seen| {
        let (_, value) = seen.header("authorization").split_once(' ')?;
        Some(value.to_owned())
    });
    (shown, sent.collect())
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    tracing::subscriber::set_global_default(subscriber.with_writer(log.clone()).finish()).unwrap();

    let user = |password: &str| vec![User::new("robot", password, &["app", "builds"])];
    let login = |password: &str| json!({"auth": STANDARD.encode(format!("robot:{password}"))});
    let foreign = "http://127.0.0.1:9/token?session=hunter2-query";
    let realm = |url: &str| Login::Bearer {
        realm: Realm::At(url.into()),
        users: user(PASSWORD),
        public: Vec::new(),
        expires_in: None,
    };
    let cases: Vec<(Login, Vec<Lie>, Value)> = vec![
        (Login::Basic(user(PASSWORD)), vec![], login(PASSWORD)),
        (Login::bearer(user(PASSWORD)), vec![], login(PASSWORD)),
        (Login::bearer(user("another")), vec![], login(PASSWORD)),
        (Login::bearer(user(IDENTITY)), vec![], json!({"identitytoken": IDENTITY})),
        (Login::bearer(user("another")), vec![], json!({"identitytoken": IDENTITY})),
        (Login::bearer(vec![]), vec![], json!({"registrytoken": STANDARD.encode(PASSWORD)})),
        (Login::bearer(user(PASSWORD)), vec![Lie::InsufficientScope], login(PASSWORD)),
        (Login::bearer(user(PASSWORD)), vec![Lie::Secrets(500)], login(PASSWORD)),
        (Login::bearer(user(PASSWORD)), vec![Lie::Html(502)], login(PASSWORD)),
        (
            Login::Basic(user(PASSWORD)),
            vec![Lie::RedirectBlobs("http://127.0.0.1:9".into())],
            login(PASSWORD),
        ),
        (
            Login::Basic(user(PASSWORD)),
            vec![Lie::RedirectManifests("http://robot:hunter2-url@127.0.0.1:9".into())],
            login(PASSWORD),
        ),
        (
            Login::bearer(user(PASSWORD)),
            vec![Lie::Token(TokenLie::Redirect("http://127.0.0.1:9".into()))],
            login(PASSWORD),
        ),
        (realm(foreign), vec![], login(PASSWORD)),
        (realm("http://robot:hunter2-url@127.0.0.1:9/token"), vec![], login(PASSWORD)),
        (Login::Nobody, vec![], json!({"auth": "hunter2-not-base64"})),
    ];
    for (at, (login, lies, credential)) in cases.into_iter().enumerate() {
        let (shown, sent) = outputs(login, lies, &credential).await;
        let logged = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
        assert!(logged.contains("asked a registry") || sent.is_empty(), "case {at} logs nothing");
        let everything = format!("{shown}\n{logged}");
        let fixed = [PASSWORD, IDENTITY, "hunter2", "sig=secret", "a=secret", "robot:"];
        let encoded = [format!("robot:{PASSWORD}"), format!("<token>:{IDENTITY}"), PASSWORD.into()];
        let encoded = encoded.iter().map(|text| STANDARD.encode(text));
        let secrets = fixed.into_iter().map(ToOwned::to_owned).chain(encoded).chain(sent);
        for secret in secrets {
            let found = everything.lines().find(|line| line.contains(&secret));
            assert_eq!(found, None, "case {at} shows {secret}");
        }
    }
}

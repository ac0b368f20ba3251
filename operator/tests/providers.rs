//! Credential provider plugins, as real processes: what they are asked, how often, for whom, and what becomes of those that fail.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "providers/plugin.rs"]
mod plugin;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::join_all;
use multiarch_operator::{
    keychain::{
        KeychainError,
        providers::{Limits, Provider, Providers},
    },
    oci::{Reference, Repository},
    registry::{Credential, Proof},
};
use plugin::{Plugin, VERSION, answer, answer_for};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const APP: &str = "r.example/team/app";

fn repository(text: &str) -> Repository {
    format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
}

fn allowing(list: Vec<Provider>, allow: &[(&str, &str)]) -> Providers {
    let allow = allow.iter().map(|(to, prefix)| ((*to).to_owned(), prefix.parse().unwrap()));
    Providers::new(list, allow.collect())
}

/// The plugin alone, for two namespaces.
fn providers(plugin: &Plugin) -> Providers {
    allowing(vec![plugin.provider(&json!({}))], &[("a", "r.example"), ("b", "r.example/team")])
}

/// What `namespace` gets for `of`: the password and where it is from, or why there is none.
async fn ask(providers: &Providers, namespace: &str, of: &str, now: Instant) -> String {
    match providers.credential(namespace, &repository(of), now).await {
        Ok(credential) => password(&credential),
        Err(error) => error.to_string(),
    }
}

fn password(credential: &Credential) -> String {
    let Proof::Password { password, .. } = &credential.proof else { panic!("{credential:?}") };
    password.expose_secret().to_owned()
}

#[tokio::test]
async fn a_plugin_is_asked_as_a_kubelet_asks_it() {
    let plugin = Plugin::new("ecr", &answer("Registry", None, "p"));
    plugin.does("printf '%s %s %s\n' \"$A\" \"$HOME\" \"$#\" > \"$RECORD/env\"\n");
    let env =
        [json!({"name": "RECORD", "value": plugin.path("")}), json!({"name": "A", "value": "b c"})];
    let list = vec![plugin.provider(&json!({"args": ["get", "--all x"], "env": env}))];
    let providers = allowing(list, &[("a", "r.example")]);
    let of = repository("r.example:443/team/app");
    let credential = providers.credential("a", &of, Instant::now()).await.unwrap();
    assert_eq!(
        (password(&credential), credential.origin.to_string()),
        ("p".into(), "provider ecr".into())
    );
    let request = json!({"kind": "CredentialProviderRequest", "apiVersion": VERSION, "image": APP});
    assert_eq!(plugin.requests(), [request]);
    assert_eq!(plugin.written("args").as_deref(), Some("get\n--all x"));
    // Its own variables, beside the operator's.
    let home = std::env::var("HOME").unwrap_or_default();
    assert_eq!(plugin.written("env").unwrap(), format!("b c {home} 2"));
}

/// Docker Hub's images have their whole name, and none has a tag.
#[tokio::test]
async fn a_plugin_is_asked_for_the_canonical_name() {
    let plugin = Plugin::new("hub", &answer_for("docker.io", "Image", None, "p"));
    let list = vec![plugin.provider(&json!({"matchImages": ["docker.io/library"]}))];
    let providers = allowing(list, &[("a", "docker.io")]);
    assert_eq!(ask(&providers, "a", "debian", Instant::now()).await, "p");
    assert_eq!(plugin.images(), ["docker.io/library/debian"]);
}

#[rstest]
#[case::another_namespace("c", APP)]
#[case::a_part_of_its_name("", APP)]
#[case::a_longer_name("a-b", APP)]
#[case::another_path("b", "r.example/other/app")]
#[case::a_path_that_begins_alike("b", "r.example/team-b/app")]
#[case::a_host_that_begins_alike("a", "r.example.evil.example/team/app")]
#[case::a_host_that_ends_alike("a", "evil-r.example/team/app")]
#[case::a_subdomain("a", "x.r.example/team/app")]
#[case::another_port("a", "r.example:5000/team/app")]
#[case::upwards("b", "r.example/teams/team/app")]
#[tokio::test]
async fn nobody_who_is_not_listed_has_a_plugin_run(#[case] namespace: &str, #[case] of: &str) {
    let plugin = Plugin::new("ecr", &answer("Global", None, "p"));
    let images =
        json!({"matchImages": ["*.example", "*.*.example", "*.*.*.example", "*.example:5000"]});
    let list = vec![plugin.provider(&images)];
    let providers = allowing(list, &[("a", "r.example"), ("b", "r.example/team")]);
    let now = Instant::now();
    let refused =
        KeychainError::ProviderNotAllowed { namespace: namespace.into(), repository: of.into() };
    let given = |namespace: &'static str, of: &'static str| {
        let (providers, of) = (&providers, repository(of));
        async move { providers.credential(namespace, &of, now).await }
    };
    let (namespace, of) = (String::from(namespace).leak(), String::from(of).leak());
    assert_eq!(given(namespace, of).await.unwrap_err(), refused);
    assert!(plugin.requests().is_empty());
    // Nor does it see what others were given.
    given("a", APP).await.unwrap();
    given("b", APP).await.unwrap();
    assert_eq!(given(namespace, of).await.unwrap_err(), refused);
    assert_eq!(plugin.requests().len(), 2);
}

#[rstest]
#[case::image("Image", 4)]
#[case::registry("Registry", 2)]
#[case::global("Global", 1)]
#[tokio::test]
async fn an_answer_is_kept_for_what_it_says(#[case] kept_by: &str, #[case] runs: usize) {
    let mut all = answer(kept_by, Some("1h"), "p");
    all["auth"]["s.example"] = json!({"username": "u", "password": "p"});
    let plugin = Plugin::new("ecr", &all);
    let list = vec![plugin.provider(&json!({}))];
    let providers = allowing(list, &[("a", "r.example"), ("a", "s.example"), ("b", "r.example")]);
    let now = Instant::now();
    let of = [APP, "r.example/team/other", "s.example/x", "s.example/y"];
    for _ in 0..2 {
        for of in of {
            assert_eq!(ask(&providers, "a", of, now).await, "p");
        }
    }
    assert_eq!(plugin.requests().len(), runs);
    // Another namespace shares nothing of it.
    assert_eq!(ask(&providers, "b", APP, now).await, "p");
    assert_eq!(plugin.requests().len(), runs + 1);
}

#[rstest]
#[case::as_it_says(Some("10m"), 600)]
#[case::by_default(None, 3600)]
#[tokio::test]
async fn a_new_credential_is_fetched_when_the_old_one_ends(
    #[case] life: Option<&str>,
    #[case] seconds: u32,
) {
    let plugin = Plugin::new("ecr", &answer("Registry", life, "old"));
    let (providers, now) = (providers(&plugin), Instant::now());
    assert_eq!(ask(&providers, "a", APP, now).await, "old");
    let given = Instant::now();
    plugin.answers(&answer("Registry", life, "new"));
    assert_eq!(ask(&providers, "a", APP, now + SECOND * seconds).await, "old");
    assert_eq!(ask(&providers, "a", APP, given + SECOND * (seconds + 1)).await, "new");
    assert_eq!(plugin.requests().len(), 2);
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_not() {
    let plugin = Plugin::new("ecr", &answer("Registry", Some("0s"), "p"));
    let (providers, now) = (providers(&plugin), Instant::now());
    for run in 1..=3 {
        assert_eq!(ask(&providers, "a", APP, now).await, "p");
        assert_eq!(plugin.requests().len(), run);
    }
    let list = vec![plugin.provider(&json!({"defaultCacheDuration": "0s"}))];
    plugin.answers(&answer("Registry", None, "p"));
    let providers = allowing(list, &[("a", "r.example")]);
    for run in 4..=5 {
        assert_eq!(ask(&providers, "a", APP, now).await, "p");
        assert_eq!(plugin.requests().len(), run);
    }
}

#[tokio::test]
async fn who_comes_at_once_waits_for_one_run() {
    let plugin = Plugin::new("ecr", &answer("Registry", None, "p"));
    let (providers, now) = (providers(&plugin), Instant::now());
    let of = (0..20).map(|number| format!("r.example/team/app{}", number % 5));
    let asked = of.map(|of| {
        let providers = &providers;
        async move { ask(providers, "a", &of, now).await }
    });
    assert_eq!(join_all(asked).await, ["p"; 20]);
    assert_eq!(plugin.requests().len(), 1);
}

const LEAK: &str = "hunter2-of-the-cloud";

/// What a plugin does, what it prints, and the words for it.
#[rstest]
#[case::exits("exit 3", "", "it ended with exit code 3")]
#[case::is_killed("kill -9 $$", "", "it was ended by signal 9")]
#[case::nothing("exit 0", "", "what it printed is no CredentialProviderResponse")]
#[case::garbage(
    "",
    "Logging in with hunter2-of-the-cloud",
    "what it printed is no CredentialProviderResponse"
)]
#[case::half(
    "",
    r#"{"apiVersion": "hunter2-of-the-cloud"#,
    "what it printed is no CredentialProviderResponse"
)]
#[case::version("", r#"{"apiVersion": "hunter2-of-the-cloud", "kind": "CredentialProviderResponse", "cacheKeyType": "Image"}"#, "what it printed is not of the apiVersion")]
#[case::key_type("", r#"{"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderResponse", "cacheKeyType": "hunter2-of-the-cloud"}"#, "what it printed is no CredentialProviderResponse")]
#[case::too_much(
    "while :; do printf '%s\\n' hunter2-of-the-cloud; done",
    "",
    "it printed more than 1048576 bytes"
)]
#[case::closes_its_input("exec <&-; exit 7", "", "it ended with exit code 7")]
#[tokio::test]
async fn a_failure_is_told_without_what_was_printed(
    #[case] does: &str,
    #[case] prints: &str,
    #[case] words: &str,
) {
    let plugin = Plugin::new("ecr", &json!({}));
    plugin.does(&format!("printf '%s\\n' {LEAK} >&2\n{does}\n"));
    plugin.prints(prints);
    let (providers, now) = (providers(&plugin), Instant::now());
    let error = providers.credential("a", &repository(APP), now).await.unwrap_err();
    let expected = format!("the operator's credential provider ecr gave none for {APP}: {words}");
    assert!(error.to_string().starts_with(&expected), "{error}");
    for shown in [error.to_string(), format!("{error:?}"), format!("{providers:?}")] {
        assert!(!shown.contains(LEAK), "{shown}");
    }
    assert_eq!(plugin.requests().len(), 1);
}

#[tokio::test]
async fn a_plugin_that_is_gone_is_told() {
    let plugin = Plugin::new("ecr", &answer("Image", None, "p"));
    let providers = providers(&plugin);
    std::fs::remove_file(plugin.path("ecr")).unwrap();
    let said = ask(&providers, "a", APP, Instant::now()).await;
    assert!(said.contains("it could not be run: No such file"), "{said}");
}

/// One that does not read what it is asked may know all the same.
#[tokio::test]
async fn a_plugin_need_not_listen() {
    let plugin = Plugin::new("ecr", &answer("Image", None, "p"));
    plugin.does("exec <&-\n");
    assert_eq!(ask(&providers(&plugin), "a", APP, Instant::now()).await, "p");
}

#[tokio::test]
async fn a_plugin_that_fails_is_left_alone_for_a_moment() {
    let plugin = Plugin::new("ecr", &answer("Registry", None, "p"));
    plugin.does("exit 1\n");
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let providers = providers(&plugin).observed_by(Arc::new(move |name, result| {
        tell.lock().unwrap().push(format!("{name} {result}"));
    }));
    let now = Instant::now();
    for of in [APP, APP, "r.example/team/other"] {
        let said = ask(&providers, "a", of, now + 9 * SECOND).await;
        assert!(said.ends_with("exit code 1"), "{said}");
    }
    assert_eq!(plugin.requests().len(), 1);
    // It is nothing to another namespace.
    assert!(ask(&providers, "b", APP, now + 9 * SECOND).await.ends_with("exit code 1"));
    assert_eq!(plugin.requests().len(), 2);
    plugin.does("");
    assert_eq!(ask(&providers, "a", APP, Instant::now() + 19 * SECOND).await, "p");
    assert_eq!(plugin.requests().len(), 3);
    assert_eq!(*told.lock().unwrap(), ["ecr exited", "ecr exited", "ecr success"]);
}

#[tokio::test]
async fn all_providers_that_are_for_an_image_are_asked() {
    let [one, two, other] =
        ["one", "two", "other"].map(|name| Plugin::new(name, &answer("Image", None, name)));
    let list = |images: &Value| {
        let more = json!({"matchImages": images});
        vec![
            other.provider(&json!({"matchImages": ["other.example"]})),
            one.provider(&more),
            two.provider(&more),
        ]
    };
    let allow = [("a", "r.example")];
    let now = Instant::now();
    let images = json!(["r.example/team", "x.example"]);
    // Of equals the first; of others the longest.
    let providers = allowing(list(&images), &allow);
    assert_eq!(ask(&providers, "a", APP, now).await, "one");
    two.answers(&answer_for("r.example/team", "Image", None, "two"));
    let providers = allowing(list(&images), &allow);
    assert_eq!(ask(&providers, "a", APP, now).await, "two");
    // One that fails, or has nothing, holds back no other.
    two.does("exit 1\n");
    let providers = allowing(list(&images), &allow);
    assert_eq!(ask(&providers, "a", APP, now).await, "one");
    one.answers(&answer_for("s.example", "Image", None, "one"));
    let providers = allowing(list(&images), &allow);
    let said = ask(&providers, "a", APP, now).await;
    assert!(said.contains("provider two gave none") && said.ends_with("exit code 1"), "{said}");
    two.does("");
    two.answers(&json!({"apiVersion": VERSION, "kind": "CredentialProviderResponse", "cacheKeyType": "Image", "auth": null}));
    let providers = allowing(list(&images), &allow);
    let said = ask(&providers, "a", APP, now).await;
    assert!(said.contains("provider one has no credential for r.example/team/app"), "{said}");
    assert_eq!((one.requests().len(), two.requests().len()), (5, 5));
    // None of them is for it.
    let said = ask(&providers, "a", "r.example/other/app", now).await;
    assert!(
        said.starts_with("the operator has no credential provider for r.example/other/app"),
        "{said}"
    );
    assert!(other.requests().is_empty());
}

#[cfg(target_os = "linux")]
mod ends {
    use super::*;

    /// Starts something that goes on whatever becomes of its parent: the kernel wakes what a dead one leaves stopped.
    const STAYS: &str = "/bin/sh -c 'trap \"\" HUP; echo $$ > \"$RECORD/child\"; while :; do kill -STOP $$; done' &\n";
    /// Stops.
    const HANGS: &str = "kill -STOP $$\n";

    /// Whether the process is there and has not ended.
    fn runs(number: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
        state.flatten().is_some_and(|state| state != 'Z')
    }

    async fn until(what: &str, is: impl Fn() -> bool) {
        let wait = async {
            while !is() {
                tokio::task::yield_now().await;
            }
        };
        // Not a limit that is tested: a test that waits for what never comes shall say so.
        let waited = tokio::time::timeout(Duration::from_mins(1), wait).await;
        assert!(waited.is_ok(), "{what} never happened");
    }

    async fn hung(plugin: &Plugin) -> (String, String) {
        until("a start", || plugin.written("child").is_some() && plugin.written("pid").is_some())
            .await;
        (plugin.written("pid").unwrap(), plugin.written("child").unwrap())
    }

    /// The process is gone, waited for, and what it had started has ended.
    async fn ended((process, child): &(String, String)) {
        until("the end of the plugin", || !std::path::Path::new("/proc").join(process).exists())
            .await;
        until("the end of its child", || !runs(child)).await;
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_is_killed_with_all_that_it_started() {
        let plugin = Plugin::new("ecr", &answer("Registry", None, "p"));
        plugin.does(&format!("{STAYS}{HANGS}"));
        let (providers, now) = (Arc::new(providers(&plugin)), Instant::now());
        let of_task = Arc::clone(&providers);
        let asking = tokio::spawn(async move { ask(&of_task, "a", APP, now).await });
        let processes = hung(&plugin).await;
        tokio::time::pause();
        tokio::time::advance(Limits::default().time + SECOND).await;
        let said = asking.await.unwrap();
        tokio::time::resume();
        assert!(said.ends_with("it took longer than 60s"), "{said}");
        ended(&processes).await;
        // Who comes next does not wait as long once more.
        let jumped = Limits::default().time + SECOND;
        let left_alone = now + jumped + 59 * SECOND;
        assert!(ask(&providers, "a", "r.example/x", left_alone).await.ends_with("60s"));
        assert_eq!(plugin.requests().len(), 1);
        plugin.does("");
        assert_eq!(ask(&providers, "a", APP, Instant::now() + jumped + 60 * SECOND).await, "p");
    }

    #[tokio::test]
    async fn a_plugin_that_nobody_waits_for_is_killed() {
        let plugin = Plugin::new("ecr", &answer("Registry", None, "p"));
        plugin.does(&format!("{STAYS}{HANGS}"));
        let (providers, now) = (Arc::new(providers(&plugin)), Instant::now());
        let of_task = Arc::clone(&providers);
        let asking = tokio::spawn(async move { ask(&of_task, "a", APP, now).await });
        let processes = hung(&plugin).await;
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        ended(&processes).await;
        // It counts for nothing.
        plugin.does("");
        assert_eq!(ask(&providers, "a", APP, now).await, "p");
    }

    /// A child that holds on to the output cannot keep the run from its end.
    #[tokio::test]
    async fn a_child_that_stays_is_killed_too() {
        let plugin = Plugin::new("ecr", &answer("Registry", None, "p"));
        plugin.does(STAYS);
        let (providers, now) = (Arc::new(providers(&plugin)), Instant::now());
        let of_task = Arc::clone(&providers);
        let asking = tokio::spawn(async move { ask(&of_task, "a", APP, now).await });
        let processes = hung(&plugin).await;
        until("the end of the plugin itself", || !runs(&processes.0)).await;
        tokio::time::pause();
        tokio::time::advance(Limits::default().time + SECOND).await;
        let said = asking.await.unwrap();
        tokio::time::resume();
        assert!(said.ends_with("it took longer than 60s"), "{said}");
        ended(&processes).await;
    }

    /// One that gives its output to nobody is no reason to wait, and ends with the plugin.
    #[rstest]
    #[case::of_one_that_answers("", "p")]
    #[case::of_one_that_fails("exit 3\n", "it ended with exit code 3")]
    #[tokio::test]
    async fn a_child_that_goes_its_own_way_is_killed_too(#[case] does: &str, #[case] said: &str) {
        let plugin = Plugin::new("ecr", &answer("Registry", None, "p"));
        let quiet = STAYS.replace(" &\n", " >/dev/null 2>&1 </dev/null &\n");
        let started = "while [ ! -s \"$RECORD/child\" ]; do :; done\n";
        plugin.does(&format!("{quiet}{started}{does}"));
        let told = ask(&providers(&plugin), "a", APP, Instant::now()).await;
        assert!(told.ends_with(said), "{told}");
        ended(&hung(&plugin).await).await;
    }

    /// Each that ends is waited for.
    #[tokio::test]
    async fn no_plugin_is_left_behind() {
        let plugin = Plugin::new("ecr", &answer("Image", Some("0s"), "p"));
        let (providers, now) = (providers(&plugin), Instant::now());
        for does in ["", "exit 1", "while :; do printf '%s\\n' more; done"] {
            plugin.does(&format!("{does}\n"));
            let of = format!("r.example/app{}", does.len());
            ask(&providers, "a", &of, now + HOUR * u32::try_from(does.len()).unwrap()).await;
            let process = plugin.written("pid").unwrap();
            until("its end", || !std::path::Path::new("/proc").join(&process).exists()).await;
        }
        assert_eq!(plugin.requests().len(), 3);
    }
}

//! Whose credentials are used: those of who runs the command, and no Secret's.

use multiarch_operator::registry::memory::{Image, Login, server::User};
use serde_json::json;

use super::bench::{Bench, object, outcomes};

/// A registry that wants a password, an image there, and an object that names Secrets.
async fn scene() -> Bench {
    let bench = Bench::new().await;
    bench.store().push("team/app", Some("1.0-amd64"), &Image::of("linux/amd64"));
    bench.server.login(Login::Basic(vec![User::new("alice", "hunter2", &["team/app"])]));
    let source = bench.at("team/app:1.0-amd64");
    let mut object = object("app", &bench.at("team/app:1.0"), &[("amd64", &source)]);
    object["spec"]["target"]["secretRef"] = json!({ "name": "push" });
    object["spec"]["imagePullSecrets"] = json!([{ "name": "pull" }]);
    bench.file("app.json", &object.to_string());
    bench
}

const PUBLISH: [&str; 3] = ["publish", "-f", "app.json"];

#[tokio::test]
async fn dockers_file_lets_in_and_secrets_are_not_asked_for() {
    let bench = scene().await;
    let (code, results) = bench.json(&PUBLISH).await;
    assert_eq!((code, outcomes(&results)), (1, vec!["Failed AuthenticationFailed".into()]));
    let login = json!({ "username": "alice", "password": "hunter2" });
    let file = json!({ "auths": { bench.server.addr.to_string(): login } });
    bench.file(".docker/config.json", &file.to_string());
    let ended = bench.run(&PUBLISH).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.err.matches("note: secretRef").count(), 1, "{}", ended.err);
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"));
}

#[tokio::test]
async fn podmans_file_does_as_well_and_a_wrong_password_names_its_file() {
    let bench = scene().await;
    let login = |password: &str| {
        let login = json!({ "username": "alice", "password": password });
        json!({ "auths": { bench.server.addr.to_string(): login } }).to_string()
    };
    bench.file("run/containers/auth.json", &login("wrong"));
    let (code, results) = bench.json(&PUBLISH).await;
    assert_eq!(code, 1);
    let said = results["images"][0]["message"].as_str().unwrap();
    assert!(said.contains("the credential of ~/run/containers/auth.json"), "{said}");
    bench.file("run/containers/auth.json", &login("hunter2"));
    assert_eq!(bench.json(&PUBLISH).await.0, 0);
}

/// It is run once for a registry, however many images there are.
#[tokio::test]
async fn a_helper_is_asked_once() {
    let bench = scene().await;
    bench.program(
        "docker-credential-keys",
        r#"read -r server; echo "$1 $server" >> "$HOME/asked"; echo '{"Username":"alice","Secret":"hunter2"}'"#,
    );
    let helpers = json!({ "credsStore": "keys" });
    bench.file(".docker/config.json", &helpers.to_string());
    let ended = bench.run(&PUBLISH).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let asked = std::fs::read_to_string(bench.home.path().join("asked")).unwrap();
    assert_eq!(asked, format!("get {}\n", bench.server.addr));
}

#[tokio::test]
async fn a_helper_that_fails_is_named_and_what_it_printed_is_not() {
    let bench = scene().await;
    let helpers = json!({ "credHelpers": { bench.server.addr.to_string(): "keys" } });
    bench.file(".docker/config.json", &helpers.to_string());
    // What is told of the command as a whole says it once, too.
    let ended = bench.run(&["inspect", &bench.at("team/app:1.0-amd64")]).await;
    assert_eq!(ended.err.matches("could not be run").count(), 1, "{}", ended.err);
    for script in [None, Some("echo hunter2; echo hunter2 >&2; exit 1"), Some("echo hunter2")] {
        if let Some(script) = script {
            bench.program("docker-credential-keys", script);
        }
        let ended = bench.run(&PUBLISH).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        let named =
            "the credential helper docker-credential-keys, which ~/.docker/config.json names";
        assert!(ended.out.contains(named), "{}", ended.out);
        assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"), "{ended:?}");
    }
    // One that has nothing is no failure: nobody asks, and is refused.
    bench
        .program("docker-credential-keys", "echo credentials not found in native keychain; exit 1");
    let (code, results) = bench.json(&PUBLISH).await;
    assert_eq!((code, outcomes(&results)), (1, vec!["Failed AuthenticationFailed".into()]));
}

#[tokio::test]
async fn a_file_that_is_none_ends_the_command() {
    let bench = scene().await;
    bench.file(".docker/config.json", "hunter2");
    let ended = bench.run(&PUBLISH).await;
    assert!(ended.code == 1 && ended.err.contains("~/.docker/config.json"), "{ended:?}");
    assert!(!ended.err.contains("hunter2"), "{ended:?}");
}

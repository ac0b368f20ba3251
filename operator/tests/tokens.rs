//! Tokens at the wire of a real registry: what a run costs with them, and whose they are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use faces::{Asks, Real};
use multiarch_crds::v1alpha1::SourceState;
use multiarch_e2e::{
    images::Image,
    proxy::Seen,
    registry::{CI, READER},
    tokens::{Asked, Habit, Proof, User, whose},
};
use object::Object;
use rstest::rstest;
use serde_json::{Value, json};

const PLATFORMS: [&str; 2] = ["amd64", "arm64"];
const SOURCE: &str = "build/app";
const TARGET: &str = "team/app";
const ALL: &str = "pull,push,delete";
/// As they are asked for.
const PULL: &str = "repository:build/app:pull";
const PUSH: &str = "repository:team/app:pull,push";

/// A user of the tokens with the name and password of somebody.
fn user(who: multiarch_e2e::registry::Login, rights: &[(&str, &str)]) -> User {
    User::new(who.user, who.password, rights)
}

fn logins(real: &Real, login: &Value) -> String {
    json!({"auths": {(real.host()): login}}).to_string()
}

fn password(who: multiarch_e2e::registry::Login) -> Value {
    json!({"username": who.user, "password": who.password})
}

/// A registry with two images of `version`, each with a config and a layer of its own, and one layer
/// that they share.
async fn push(real: &Real, version: &str) {
    for platform in PLATFORMS {
        let layers = ["shared by both", &format!("{version} for {platform}")];
        let image = Image::layered(&format!("linux/{platform}"), &layers).unwrap();
        real.registry.push(&format!("{SOURCE}:{version}-{platform}"), &image).await.unwrap();
    }
}

/// An object that publishes them in another repository of the registry.
fn object(real: &Real, version: &str) -> Object {
    let image = |platform| format!("{}/{SOURCE}:{version}-{platform}", real.host());
    let target = format!("{}/{TARGET}:{version}", real.host());
    Object::new(&target, &PLATFORMS.map(image))
        .by_http([real.host()])
        .with_certificates(&real.secrets())
}

/// What the registry and its token server were asked since the last look.
fn since(real: &Real) -> (Vec<Seen>, Vec<Asked>) {
    let tokens = real.tokens.as_ref().unwrap();
    let seen = (real.registry.proxy.seen(), tokens.seen());
    real.registry.proxy.forget();
    tokens.forget();
    seen
}

/// Requests by what they are: `POST mount`.
fn kinds(seen: &[Seen]) -> Vec<String> {
    let kind = |seen: &Seen| {
        let what = match &*seen.path {
            _ if seen.is_mount() => "mount".into(),
            path if path.contains("/blobs/uploads/") => "upload".into(),
            path if path.contains("/blobs/") => "blob".into(),
            path if path.contains("/manifests/sha256:") => "image".into(),
            path => path.rsplit_once('/').unwrap().1.to_owned(),
        };
        let status = if seen.status == 401 { " (challenge)" } else { "" };
        format!("{} {what}{status}", seen.method)
    };
    let mut kinds: Vec<_> = seen.iter().map(kind).collect();
    kinds.sort();
    kinds
}

/// Fourteen requests (challenge, token, 2 manifests, 2 configs, 5 mounts, 2 images, the index), the look at
/// the tag, and the look after the push; and of an object that did not change, the HEADs alone.
#[rstest]
#[case::a_password(password(CI), Proof::Password)]
#[case::an_identity_token(json!({"identitytoken": format!("identity-{}", CI.password)}), Proof::IdentityToken)]
#[tokio::test]
async fn one_identity_has_one_token_and_mounts_all(#[case] login: Value, #[case] proof: Proof) {
    let real =
        Real::counted(Asks::Token, vec![user(CI, &[("build/*", "pull"), ("team/*", ALL)])]).await;
    push(&real, "1").await;
    let remote = real.remote();
    let mut object = object(&real, "1").with_logins(logins(&real, &login), true);
    since(&real);
    object.serves(&remote, true).await;
    let (seen, tokens) = since(&real);
    let mut read = kinds(&seen);
    // Which of the two goes first is chance.
    let challenge = read.iter().position(|kind| kind.ends_with(" (challenge)")).unwrap();
    assert!(
        ["GET 1-amd64 (challenge)", "GET 1-arm64 (challenge)"].contains(&&*read.remove(challenge))
    );
    let expected = [
        &["GET 1", "GET 1-amd64", "GET 1-arm64", "GET blob", "GET blob", "HEAD 1"][..],
        &["POST mount"; 5],
        &["PUT 1", "PUT image", "PUT image"],
    ];
    let expected = expected.concat();
    assert_eq!(read, expected);
    let one = Asked {
        proof,
        user: Some(CI.user.into()),
        service: "registry".into(),
        scopes: vec![PULL.into(), PUSH.into()],
        granted: vec![PULL.into(), PUSH.into()],
        status: 200,
    };
    assert_eq!(tokens, [one]);
    assert!(seen.iter().filter(|seen| seen.is_mount()).all(|mount| mount.status == 201));
    assert_eq!(seen.len() + tokens.len(), 14 + 2);

    object.rests(&remote).await;
    let (seen, tokens) = since(&real);
    assert_eq!(
        kinds(&seen),
        ["HEAD 1", "HEAD 1-amd64", "HEAD 1-arm64", "HEAD image", "HEAD image"]
    );
    assert_eq!(tokens, []);
}

/// With two identities, each has a token of its own, and nothing is mounted.
#[tokio::test]
async fn two_identities_have_a_token_each_and_no_mounts() {
    // Who pushes could read, too: it was not said that it should.
    let users = vec![
        user(CI, &[("build/*", "pull"), ("team/*", ALL)]),
        user(READER, &[("build/*", "pull")]),
    ];
    let real = Real::counted(Asks::Token, users).await;
    push(&real, "1").await;
    let remote = real.remote();
    let mut object = object(&real, "1")
        .with_logins(logins(&real, &password(CI)), true)
        .with_secret("pull", logins(&real, &password(READER)));
    object.spec.image_pull_secrets[0].name = "pull".into();
    since(&real);
    object.serves(&remote, true).await;
    let (seen, tokens) = since(&real);
    let mut asked: Vec<_> = tokens
        .iter()
        .map(|asked| (asked.user.as_deref().unwrap(), asked.scopes.join(" ")))
        .collect();
    asked.sort();
    assert_eq!(asked, [(CI.user, PUSH.into()), (READER.user, PULL.into())]);
    assert!(!seen.iter().any(Seen::is_mount), "{seen:#?}");
    // A challenge; each blob is looked for, read, and sent in two; the tag is looked at once more.
    let kinds = kinds(&seen);
    let count = |what: &str| kinds.iter().filter(|kind| *kind == what).count();
    let of_blobs = ["HEAD blob", "POST upload", "PUT upload"].map(count);
    assert_eq!((of_blobs, count("GET blob")), ([5; 3], 2 + 5), "{kinds:#?}");
    assert_eq!(["GET 1", "HEAD 1"].map(count), [1, 2], "{kinds:#?}");
    assert_eq!(seen.len(), 1 + 4 + 3 + 4 * 5 + 2 + 1, "{kinds:#?}");
    each_is_whose_it_should_be(&seen);
}

/// Who reads the source, or pushes the target, does so with his own token.
fn each_is_whose_it_should_be(seen: &[Seen]) {
    for seen in seen.iter().filter(|seen| seen.authorization.is_some()) {
        let owner = if seen.path.starts_with("/v2/build/") { READER.user } else { CI.user };
        assert_eq!(whose(seen.authorization.as_ref().unwrap()).as_deref(), Some(owner), "{seen:?}");
    }
}

/// A token server that gives less than it was asked for at once, or nothing, costs mounts and a token for
/// each repository, and nothing else; for an hour it is not asked so again.
#[rstest]
#[case::gitlab(Habit::LastScope)]
#[case::a_bad_request(Habit::OneScope(400))]
#[case::unauthorized(Habit::OneScope(401))]
#[case::forbidden(Habit::OneScope(403))]
#[tokio::test]
async fn what_is_not_given_together_is_asked_for_alone(#[case] habit: Habit) {
    let real =
        Real::counted(Asks::Token, vec![user(CI, &[("build/*", "pull"), ("team/*", ALL)])]).await;
    real.tokens.as_ref().unwrap().behave(&[habit]);
    push(&real, "1").await;
    push(&real, "2").await;
    let remote = real.remote();
    since(&real);
    for (version, both) in [("1", 1), ("2", 0)] {
        let mut object = object(&real, version).with_logins(logins(&real, &password(CI)), true);
        object.serves(&remote, true).await;
        let (seen, tokens) = since(&real);
        assert!(!seen.iter().any(Seen::is_mount), "{seen:#?}");
        let begun = seen.iter().filter(|seen| seen.is_start()).count();
        let sent = seen.iter().filter(|seen| seen.is_upload()).count();
        assert_eq!(sent, if version == "1" { 5 } else { 4 }, "each blob once: {seen:#?}");
        assert_eq!(begun, sent, "nothing is left open");
        let mut asked: Vec<_> = tokens.iter().map(|asked| asked.scopes.join(" ")).collect();
        asked.sort();
        let together = format!("{PULL} {PUSH}");
        let (at_once, alone): (Vec<_>, Vec<_>) = asked.iter().partition(|it| **it == together);
        assert_eq!(at_once.len(), both, "{asked:?}");
        assert_eq!(alone, if version == "1" { vec![PULL, PUSH] } else { vec![] });
    }
}

/// Who may read and not push is told so of the target, and his sources are read all the same.
#[rstest]
#[case::a_token_for_less(&[], "AccessDenied")]
#[case::no_token(&[Habit::AllOrNothing], "AuthenticationFailed")]
#[tokio::test]
async fn what_fails_at_one_end_is_not_told_of_the_other(
    #[case] habits: &[Habit],
    #[case] reason: &str,
) {
    let real = Real::counted(Asks::Token, vec![user(CI, &[("build/*", "pull")])]).await;
    real.tokens.as_ref().unwrap().behave(habits);
    push(&real, "1").await;
    let remote = real.remote();
    let mut object = object(&real, "1").with_logins(logins(&real, &password(CI)), true);
    object.run(&remote).await;
    assert_eq!(object.ready().0, reason, "{}", object.ready().1);
    let states = object.status.sources.iter().map(|source| source.state);
    assert_eq!(states.collect::<Vec<_>>(), [SourceState::Resolved; 2]);
    let reads = |seen: &Seen| seen.path.starts_with("/v2/build/") && seen.status == 200;
    assert_eq!(since(&real).0.iter().filter(|seen| reads(seen)).count(), 4);

    // The other way round, for who has no token yet.
    let users = vec![user(CI, &[("team/*", ALL)])];
    real.tokens.as_ref().unwrap().admit(users);
    let another = real.remote();
    let mut object = crate::object(&real, "1").with_logins(logins(&real, &password(CI)), true);
    object.run(&another).await;
    let states = object.status.sources.iter().map(|source| source.state);
    let expected = if habits.is_empty() { SourceState::Denied } else { SourceState::Unauthorized };
    assert_eq!(states.collect::<Vec<_>>(), [expected; 2]);
    // Rights that were given meanwhile count from the next run on.
    real.tokens.as_ref().unwrap().admit(vec![user(CI, &[("build/*", "pull"), ("team/*", ALL)])]);
    object.serves(&another, true).await;
}

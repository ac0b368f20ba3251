//! A whole run over a hostile registry: whatever it does, the object says why, and nothing is pushed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::time::Duration;

use faces::remote;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{MultiArchImage, MultiArchImageStatus},
};
use multiarch_operator::{
    oci::Reference,
    reconcile::{
        claims::{Claimant, Claims, Owner},
        status::{Outcome, Run},
    },
    registry::{
        memory::{Lie, Lies, Server, Store, serve},
        remote::Limits,
    },
};
use object::Object;
use rstest::rstest;

const APP: &str = "team/app";
const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

/// A registry with an image for each platform, that lies.
async fn registry(lies: impl IntoIterator<Item = Lie>) -> Server {
    let store = Store::new();
    for platform in PLATFORMS {
        store.push_image(APP, platform, &format!("linux/{platform}"));
    }
    serve(store, Lies { lies: lies.into_iter().collect(), ..Lies::default() }).await
}

/// One run of an object whose sources are these images.
async fn run(server: &Server, limits: Limits) -> Run {
    let host = server.addr.to_string();
    let image = |tag: &str| format!("{host}/{APP}:{tag}");
    let object = Object::new(&image("1.0"), &PLATFORMS.map(image));
    object.by_http([host.as_str()]).run(&remote(limits)).await
}

#[rstest]
#[case::digest_header(Lie::WrongDigestHeader, Reason::UnsupportedContent, "content of digest")]
#[case::digest(Lie::WrongBody, Reason::UnsupportedContent, "content of digest")]
#[case::size(Lie::WrongSize, Reason::UnsupportedContent, "were promised")]
#[case::huge(Lie::Huge { announced: true }, Reason::UnsupportedContent, "more than 4194304 bytes")]
#[case::endless(Lie::Huge { announced: false }, Reason::UnsupportedContent, "more than 4194304 bytes")]
#[case::no_type(Lie::NoMediaType, Reason::UnsupportedContent, "media type is absent")]
#[case::ambiguous(Lie::Ambiguous, Reason::UnsupportedContent, "an index and an image manifest")]
#[case::schema1(Lie::Schema1, Reason::UnsupportedContent, "schema 1")]
#[case::trickle(Lie::Trickle, Reason::RegistryUnreachable, "too slow")]
#[case::loop_(Lie::RedirectLoop, Reason::RegistryUnreachable, "redirects in a row")]
#[tokio::test]
async fn it_is_told_and_nothing_is_pushed(
    #[case] lie: Lie,
    #[case] reason: Reason,
    #[case] words: &str,
) {
    // Short only where everything is slow: an honest answer may take its time on a busy machine.
    let rate_window = Duration::from_millis(if lie == Lie::Trickle { 100 } else { 30_000 });
    let server = registry([lie]).await;
    let run = run(&server, Limits { rate_window, ..Limits::default() }).await;
    let Outcome::Held(failure) = &run.outcome else { panic!("{run:?}") };
    assert_eq!(failure.consequence.reason, reason, "{}", failure.message);
    assert!(failure.message.contains(words), "{}", failure.message);
    assert!(!run.pushed);
    let requests = server.requests();
    assert!(!requests.iter().any(|request| request.starts_with("PUT")), "{requests:?}");
    assert!(server.store().tagged(APP, "1.0").is_none());
    assert!(server.sent() < 64 << 20, "{} bytes were taken", server.sent());
}

#[tokio::test]
async fn a_push_that_is_led_elsewhere_publishes_nowhere() {
    let other = registry([]).await;
    let server = registry([Lie::RedirectWrites(other.origin())]).await;
    let run = run(&server, Limits::default()).await;
    let Outcome::Held(failure) = &run.outcome else { panic!("{run:?}") };
    assert_eq!(failure.consequence.reason, Reason::PushFailed, "{}", failure.message);
    assert!(failure.message.contains("where no write goes"), "{}", failure.message);
    assert!(!run.pushed && other.requests().is_empty());
    assert!(server.store().tagged(APP, "1.0").is_none());
}

#[tokio::test]
async fn configs_on_another_host_are_read_and_the_index_published() {
    let storage = registry([]).await;
    let server = registry([Lie::RedirectBlobs(storage.origin())]).await;
    let run = run(&server, Limits::default()).await;
    assert!(matches!(run.outcome, Outcome::Served { .. }), "{run:?}");
    assert_eq!(storage.seen().len(), PLATFORMS.len());
    assert!(server.store().tagged(APP, "1.0").is_some());
}

/// A push that is refused makes no owner, also where what was to be put is there by then: somebody else has put it there.
#[tokio::test]
async fn who_was_refused_holds_no_tag() {
    let server = registry([]).await;
    let host = server.addr.to_string();
    let image = |tag: &str| format!("{host}/{APP}:{tag}");
    let object = || Object::new(&image("1.0"), &PLATFORMS.map(image)).by_http([host.as_str()]);
    object().serves(&remote(Limits::default()), true).await;
    server.lie(PLATFORMS.map(|_| Lie::StoredPut(403)));
    let mut squatter = object();
    squatter.spec.target.platform_tags = Some("{tag}-{arch}".into());
    squatter.serves(&remote(Limits::default()), false).await;
    assert_eq!(squatter.status.tags, ["1.0", "1.0-amd64", "1.0-arm64"]);
    assert_eq!(owner(&squatter, "1.0"), None, "{:#?}", squatter.status);
    // The same of one that is intended, which somebody else pushes before it is tried again.
    let mut squatter = object();
    squatter.spec.target.image = image("2.0");
    server.lie([Lie::PutRefused(502, "")]);
    let limits = Limits { tries: 1, ..Limits::default() };
    squatter.run(&remote(limits)).await;
    server.lie([]);
    server.store().tag(APP, "2.0", server.store().tagged(APP, "1.0").unwrap().digest());
    server.lie([Lie::Refused("PUT", 403, "DENIED")]);
    squatter.run(&remote(Limits::default())).await;
    assert_eq!(squatter.ready().0, "Succeeded");
    assert_eq!(owner(&squatter, "2.0"), None, "{:#?}", squatter.status);
}

/// Who has pushed to a repository of its own, and then names another one's tag with just what it has.
#[tokio::test]
async fn who_has_pushed_elsewhere_holds_no_tag() {
    let server = registry([]).await;
    let host = server.addr.to_string();
    let image = |tag: &str| format!("{host}/{APP}:{tag}");
    let object = || Object::new(&image("1.0"), &PLATFORMS.map(image)).by_http([host.as_str()]);
    object().serves(&remote(Limits::default()), true).await;
    let mut squatter = object();
    squatter.spec.target.image = format!("{host}/squatters/own:1.0");
    squatter.serves(&remote(Limits::default()), true).await;
    assert_eq!(
        owner(&squatter, "1.0"),
        Some(Owner::Stranger),
        "of the repository that it has pushed to"
    );
    squatter.spec.target.image = image("1.0");
    squatter.serves(&remote(Limits::default()), false).await;
    assert_eq!(owner(&squatter, "1.0"), None, "{:#?}", squatter.status);
}

/// What `object` keeps of the repository that it publishes to from one that has written nothing.
fn owner(object: &Object, tag: &str) -> Option<Owner> {
    let watched = |name: &str| {
        let mut watched = MultiArchImage::new(name, object.spec.clone());
        watched.metadata.uid = Some(name.into());
        watched.metadata.namespace = Some(name.into());
        watched
    };
    let (own, other, nothing) = (watched("own"), watched("other"), MultiArchImageStatus::default());
    let own = Claimant { object: &own, status: &object.status };
    let target: Reference = object.status.reference.as_ref().unwrap().parse().unwrap();
    let other = Claimant { object: &other, status: &nothing };
    Claims::against(other, target.repository(), [own]).owner(tag).cloned()
}

/// Who may read and not push names the tag first, older than everyone, with content of its own and with just what is there:
/// it holds nobody off.
#[rstest]
#[case::content_of_its_own(&PLATFORMS[..1])]
#[case::what_is_there(&PLATFORMS)]
#[tokio::test]
async fn who_may_not_push_holds_no_tag(#[case] sources: &[&str]) {
    let server = registry([]).await;
    let host = server.addr.to_string();
    let image = |tag: &str| format!("{host}/{APP}:{tag}");
    let object = |sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|tag| image(tag)).collect();
        Object::new(&image("1.0"), &sources).by_http([host.as_str()])
    };
    let mut owner = object(&PLATFORMS);
    owner.serves(&remote(Limits::default()), true).await;
    let published = server.store().tagged(APP, "1.0");
    server.lie([Lie::Refused("PUT", 403, "DENIED"), Lie::Refused("POST", 403, "DENIED")]);
    let mut squatter = object(sources);
    for _ in 0..3 {
        squatter.run(&remote(Limits::default())).await;
    }
    let watched = |name: &str, created: i64, object: &Object| {
        let mut watched = MultiArchImage::new(name, object.spec.clone());
        watched.metadata.namespace = Some(format!("of-{name}"));
        watched.metadata.uid = Some(name.into());
        let created = jiff::Timestamp::from_second(created).unwrap();
        watched.metadata.creation_timestamp = Some(Time(created));
        watched
    };
    let (one, two) = (watched("squatter", 1, &squatter), watched("owner", 2, &owner));
    let squats = Claimant { object: &one, status: &squatter.status };
    let owns = Claimant { object: &two, status: &owner.status };
    let target: Reference = image("1.0").parse().unwrap();
    let claims = |own, other| Claims::against(own, target.repository(), [other]);
    assert_eq!(claims(owns, squats).owner("1.0"), None, "{:#?}", squatter.status);
    assert_eq!(claims(squats, owns).owner("1.0"), Some(&Owner::Stranger));
    assert_eq!(server.store().tagged(APP, "1.0"), published);
}

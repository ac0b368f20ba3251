//! What many ask of one registry: who may have whose answer, for how long, and what that saves.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "shared/many.rs"]
mod many;
#[path = "registry/object.rs"]
mod object;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use multiarch_operator::{
    oci::{Descriptor, Digest, RawManifest, Reference, Repository, TagOrDigest, referrer},
    registry::{
        Access, Certificates, Credential, Origin, Registry, RegistryError, Request,
        memory::{Image, Store},
        shared::{Of, Shared, Use},
        tls::Tls,
    },
};
use proptest::prelude::*;
use rstest::rstest;
use tokio::time::{Instant, advance};

const PATH: &str = "team/app";
const MIB: usize = 1 << 20;

fn shared(store: &Store) -> Shared<Store> {
    Shared::new(store.clone(), MIB, Arc::new(|_| {}))
}

fn app() -> Repository {
    "r.example/team/app:any".parse::<Reference>().unwrap().repository().clone()
}

fn tag(tag: &str) -> TagOrDigest {
    TagOrDigest::Tag(tag.into())
}

fn by(digest: &Digest) -> TagOrDigest {
    TagOrDigest::Digest(digest.clone())
}

/// Somebody who believes what others were told within `age`.
fn within(age: Duration) -> Access {
    Access::default().since(Instant::now().checked_sub(age).unwrap())
}

/// Somebody who believes all that others were told.
fn whatever() -> Access {
    within(Duration::from_hours(1))
}

/// The requests since the last time, as `HEAD manifest team/app:1`.
fn asked(store: &Store) -> Vec<String> {
    let asked = store.requests().iter().map(ToString::to_string).collect();
    store.forget();
    asked
}

async fn name(shared: &Shared<Store>, access: &Access, reference: &str) -> Option<Digest> {
    let named = shared.head_manifest(access, &app(), &tag(reference)).await.unwrap();
    named.map(|named| named.digest)
}

fn push(store: &Store, salt: &str) -> Descriptor {
    store.push(PATH, Some("1"), &Image::of("linux/amd64").salted(salt))
}

/// How old an answer may be, by who asks how long after it.
#[rstest]
#[case::at_once(0, Some(0), true)]
#[case::young_enough(26, Some(27), true)]
#[case::just(27, Some(27), true)]
#[case::too_old(28, Some(27), false)]
#[case::of_before_the_run(1, Some(0), false)]
#[case::for_nobody_else(0, None, false)]
#[tokio::test(start_paused = true)]
async fn an_answer_is_believed_as_long_as_one_says(
    #[case] seconds: u64,
    #[case] age: Option<u64>,
    #[case] is_believed: bool,
) {
    let store = Store::new();
    advance(Duration::from_hours(2)).await;
    let shared = shared(&store);
    let old = push(&store, "old");
    assert_eq!(name(&shared, &within(Duration::ZERO), "1").await, Some(old.digest.clone()));
    let new = push(&store, "new");
    asked(&store);

    advance(Duration::from_secs(seconds)).await;
    let access = match age {
        Some(age) => within(Duration::from_secs(age)),
        None => Access::default(),
    };
    let named = name(&shared, &access, "1").await;
    assert_eq!(asked(&store).is_empty(), is_believed);
    assert_eq!(named, Some(if is_believed { old.digest } else { new.digest }));
}

#[tokio::test]
async fn that_there_is_nothing_and_failures_are_asked_again() {
    let store = Store::new();
    let shared = shared(&store);
    let unavailable = |request: &Request| RegistryError::Unavailable {
        host: "r.example".into(),
        request: request.clone(),
        status: 503,
        codes: Vec::new(),
        retry_after: None,
    };
    assert_eq!(name(&shared, &whatever(), "1").await, None);
    store.fail(|_| true, unavailable);
    shared.head_manifest(&whatever(), &app(), &tag("1")).await.unwrap_err();
    shared.get_manifest(&whatever(), &app(), &tag("1")).await.unwrap_err();
    store.mend();
    let image = push(&store, "");
    assert_eq!(name(&shared, &whatever(), "1").await, Some(image.digest));
    assert_eq!(asked(&store).len(), 4);
}

/// Eight who ask at once, of a registry that takes a second for each answer.
async fn at_once<T, F: Future<Output = T>>(store: &Store, ask: impl Fn() -> F) -> (Vec<T>, usize) {
    store.forget();
    store.delay(Duration::from_secs(1), |_| true);
    let answers = join_all((0..8).map(|_| ask())).await;
    store.mend();
    (answers, asked(store).len())
}

#[tokio::test(start_paused = true)]
async fn who_asks_the_same_at_once_has_one_answer() {
    advance(Duration::from_hours(2)).await;
    let store = Store::new();
    let image = Image::of("linux/amd64");
    let pushed = push(&store, "");
    let config = store.push_blob(PATH, "config", image.config());
    let begun = within(Duration::ZERO);
    let app = app();

    let shared = shared(&store);
    let one = tag("1");
    let (named, requests) = at_once(&store, || shared.head_manifest(&begun, &app, &one)).await;
    assert!(named.iter().all(|named| named.as_ref().unwrap().as_ref() == Some(&pushed)));
    assert_eq!(requests, 1, "a tag");
    let none = tag("none");
    let (named, requests) = at_once(&store, || shared.head_manifest(&begun, &app, &none)).await;
    assert!(named.iter().all(|named| named.as_ref().unwrap().is_none()));
    assert_eq!(requests, 1, "a tag that is not there");
    for reference in [by(&pushed.digest), by(&Digest::of(b"none"))] {
        let (raw, requests) =
            at_once(&store, || shared.get_manifest(&begun, &app, &reference)).await;
        let is_there = reference == by(&pushed.digest);
        assert!(raw.iter().all(|raw| raw.as_ref().unwrap().is_some() == is_there));
        assert_eq!(requests, 1, "a manifest: {is_there}");
    }
    let gone = Descriptor { digest: Digest::of(b"none"), ..config.clone() };
    for blob in [config, gone] {
        let (bytes, requests) = at_once(&store, || shared.get_blob(&begun, &app, &blob)).await;
        assert!(bytes.iter().all(Result::is_ok));
        assert_eq!(requests, 1, "a blob");
    }
    let anew = Access::default();
    let (_, requests) = at_once(&store, || shared.head_manifest(&anew, &app, &one)).await;
    assert_eq!(requests, 8, "who wants to know anew asks");
}

/// A run that begins while another one's question is on its way does not know whether that one was
/// asked before or after what it was woken for.
#[tokio::test(start_paused = true)]
async fn a_question_of_before_is_not_ones_own() {
    advance(Duration::from_hours(2)).await;
    let (store, app, one) = (Store::new(), app(), tag("1"));
    push(&store, "");
    let shared = shared(&store);
    store.delay(Duration::from_secs(1), |_| true);
    let before = within(Duration::ZERO);
    let mut first = Box::pin(shared.head_manifest(&before, &app, &one));
    assert!(futures::poll!(&mut first).is_pending());
    advance(Duration::from_millis(1)).await;
    let access = within(Duration::ZERO);
    let later = join_all((0..4).map(|_| shared.head_manifest(&access, &app, &one)));
    let (first, later) = futures::join!(first, later);
    assert!(first.is_ok() && later.iter().all(Result::is_ok));
    assert_eq!(asked(&store).len(), 2, "one for all those that began after it");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_the_others_an_answer() {
    advance(Duration::from_hours(2)).await;
    let (store, app, one) = (Store::new(), app(), tag("1"));
    push(&store, "");
    let shared = shared(&store);
    store.delay(Duration::from_secs(1), |_| true);
    let access = within(Duration::ZERO);
    let mut first = Box::pin(shared.get_manifest(&access, &app, &one));
    assert!(futures::poll!(&mut first).is_pending());
    let mut others = Box::pin(join_all((0..4).map(|_| shared.get_manifest(&access, &app, &one))));
    assert!(futures::poll!(&mut others).is_pending());
    drop(first);
    assert!(others.await.iter().all(|raw| raw.as_ref().unwrap().is_some()));
    assert_eq!(asked(&store).len(), 2, "the one that was given up, and one");
}

fn tls(secret: &str) -> Arc<Certificates> {
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
    let tls = Tls::parse(secret, Some(pem.as_bytes()), None, None).unwrap();
    Arc::new(Certificates::new(BTreeMap::from([("r.example".to_owned(), Arc::new(tls))])))
}

/// Who differs in anything that the registry may see, or that decides what it is sent, is another one.
#[tokio::test(start_paused = true)]
async fn nothing_passes_from_one_identity_to_another() {
    advance(Duration::from_hours(2)).await;
    let store = Store::new();
    let pushed = push(&store, "");
    let config = store.push_blob(PATH, "config", Image::of("linux/amd64").config());
    let shared = shared(&store);
    let password = |word: &str| Access {
        credential: Some(Credential::of_password("s", "u", word)),
        ..whatever()
    };
    let mut elsewhere = password("one");
    elsewhere.credential.as_mut().unwrap().token_realm = Some("https://auth.example/".into());
    let everyone = [
        whatever(),
        Access { plain_http: true, ..whatever() },
        Access { certificates: tls("ca"), ..whatever() },
        Access { certificates: tls("ca"), ..whatever() },
        password("one"),
        password("two"),
        Access { certificates: tls("ca"), ..password("one") },
        elsewhere,
    ];
    let (app, one) = (app(), tag("1"));
    let reads = async |access: &Access| {
        asked(&store);
        shared.head_manifest(access, &app, &one).await.unwrap().unwrap();
        shared.get_manifest(access, &app, &one).await.unwrap().unwrap();
        shared.get_manifest(access, &app, &by(&pushed.digest)).await.unwrap().unwrap();
        shared.get_blob(access, &app, &config).await.unwrap().unwrap();
        asked(&store)
    };
    for access in &everyone {
        let first = reads(access).await;
        let of = |digest: &Digest| format!("{PATH}@{digest}");
        let expected = [
            format!("HEAD manifest {PATH}:1"),
            format!("GET manifest {PATH}:1"),
            format!("HEAD manifest {}", of(&pushed.digest)),
            format!("GET blob {}", of(&config.digest)),
        ];
        assert_eq!(first, expected, "{access:?}");
        assert_eq!(reads(access).await, [""; 0], "{access:?} again");
    }
    // Nor while it is on its way.
    store.delay(Duration::from_secs(1), |_| true);
    advance(Duration::from_millis(1)).await;
    let later: Vec<_> = everyone.iter().map(|access| access.since(Instant::now())).collect();
    join_all(later.iter().map(|access| shared.head_manifest(access, &app, &one))).await;
    assert_eq!(asked(&store).len(), everyone.len());
}

/// The same credential in Secrets of other names: a failure names the one of whoever is told.
#[tokio::test(start_paused = true)]
async fn a_failure_names_nobody_elses_secret() {
    advance(Duration::from_hours(2)).await;
    let (store, app, one) = (Store::new(), app(), tag("1"));
    store.require_login("u", "right");
    store.delay(Duration::from_secs(1), |_| true);
    let shared = shared(&store);
    let of = |secret: &str| Access {
        credential: Some(Credential::of_password(secret, "u", "wrong")),
        ..within(Duration::ZERO)
    };
    let own = |name: &str| {
        let mut access = of(name);
        access.credential.as_mut().unwrap().origin = Origin::Provider(name.into());
        access
    };
    let all = [of("a"), of("a"), of("b"), of("b"), own("a"), own("a")];
    let told = join_all(all.iter().map(|access| shared.head_manifest(access, &app, &one))).await;
    for (access, told) in all.iter().zip(told) {
        assert!(told.unwrap_err().to_string().contains(&access.who()));
    }
    assert_eq!(asked(&store).len(), 3);
}

#[tokio::test]
async fn what_is_kept_costs_a_look() {
    let store = Store::new();
    let uses = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&uses);
    let observe = Arc::new(move |of: &Use| noted.lock().unwrap().push((of.of, of.hit)));
    let shared = Shared::new(store.clone(), MIB, observe);
    let (app, one) = (app(), tag("1"));
    let old = push(&store, "old");
    let get = async |reference: &TagOrDigest| {
        // Of a run of its own, that believes nobody before it.
        let access = Access::default().since(Instant::now());
        let raw = shared.get_manifest(&access, &app, reference).await.unwrap();
        (raw.map(|raw| raw.descriptor()), asked(&store))
    };
    let (head, read) = (format!("HEAD manifest {PATH}:1"), format!("GET manifest {PATH}:1"));
    assert_eq!(get(&one).await, (Some(old.clone()), vec![read.clone()]));
    assert_eq!(get(&one).await, (Some(old.clone()), vec![head.clone()]));
    let of_old = format!("HEAD manifest {PATH}@{}", old.digest);
    assert_eq!(get(&by(&old.digest)).await, (Some(old.clone()), vec![of_old.clone()]));
    let new = push(&store, "new");
    assert_eq!(get(&one).await, (Some(new.clone()), vec![head.clone(), read]));
    assert_eq!(get(&one).await, (Some(new.clone()), vec![head.clone()]));
    // Kept is not there.
    store.delete_manifest(PATH, &old.digest);
    assert_eq!(get(&by(&old.digest)).await, (None, vec![of_old.clone()]));
    let anew = shared.get_manifest(&Access::default(), &app, &by(&old.digest)).await;
    assert_eq!((anew.unwrap(), asked(&store)), (None, vec![of_old]));
    store.delete_tag(PATH, "1");
    assert_eq!(get(&one).await, (None, vec![head]));

    let config = store.push_blob(PATH, "config", Bytes::from_static(b"{}"));
    for requests in [1, 0] {
        let bytes = shared.get_blob(&Access::default(), &app, &config).await.unwrap();
        assert_eq!((bytes.unwrap().as_ref(), asked(&store).len()), (&b"{}"[..], requests));
    }
    let longer = Descriptor { size: 3, ..config };
    let error = shared.get_blob(&Access::default(), &app, &longer).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongSize { .. }), "{error:?}");
    let uses = uses.lock().unwrap();
    let count = |of, hit| uses.iter().filter(|used| **used == (of, hit)).count();
    assert_eq!((count(Of::Manifest, true), count(Of::Manifest, false)), (4, 2));
    assert_eq!((count(Of::Config, true), count(Of::Config, false)), (1, 2));
}

/// Without room, everything is right and nothing is saved.
#[tokio::test]
async fn without_room_everything_is_read() {
    let store = Store::new();
    let shared = Shared::new(store.clone(), 0, Arc::new(|used| assert_eq!(used.kept, 0)));
    let (app, one) = (app(), tag("1"));
    let pushed = push(&store, "");
    let config = store.push_blob(PATH, "config", Bytes::from_static(b"{}"));
    for _ in 0..2 {
        for reference in [one.clone(), by(&pushed.digest)] {
            let raw = shared.get_manifest(&whatever(), &app, &reference).await.unwrap();
            assert_eq!(raw.unwrap().descriptor(), pushed);
        }
        assert!(shared.get_blob(&whatever(), &app, &config).await.unwrap().is_some());
    }
    let reads = asked(&store).iter().filter(|asked| asked.starts_with("GET")).count();
    assert_eq!(reads, 6);
}

/// An answer from before a write of one's own is told to nobody after it, however the write ended.
#[tokio::test(start_paused = true)]
async fn what_was_written_is_forgotten() {
    advance(Duration::from_hours(2)).await;
    let (store, app, one) = (Store::new(), app(), tag("1"));
    let old = push(&store, "old");
    let new = store.push(PATH, None, &Image::of("linux/amd64").salted("new"));
    let raw = |descriptor: &Descriptor| store.manifest(PATH, &by(&descriptor.digest)).unwrap();
    let (old, new) = (raw(&old), raw(&new));
    let shared = shared(&store);
    let other = Access { plain_http: true, ..whatever() };
    let both = async || {
        let everyone = [whatever(), other.clone()];
        join_all(everyone.each_ref().map(|access| name(&shared, access, "1"))).await
    };
    let (is_old, is_new) = (Some(old.digest().clone()), Some(new.digest().clone()));
    assert_eq!(both().await, [is_old.clone(), is_old.clone()]);
    shared.put_manifest(&Access::default(), &app, &one, &new).await.unwrap();
    assert_eq!(both().await, [is_new.clone(), is_new.clone()]);

    // Given up: whether it was done is not known.
    store.delay(Duration::from_secs(1), |request| request.method == "PUT");
    let access = Access::default();
    let mut put = Box::pin(shared.put_manifest(&access, &app, &one, &old));
    assert!(futures::poll!(&mut put).is_pending());
    // Somebody asks meanwhile.
    assert_eq!(both().await, [is_new.clone(), is_new.clone()]);
    store.tag(PATH, "1", old.digest());
    drop(put);
    assert_eq!(both().await, [is_old.clone(), is_old.clone()]);

    // Asked before it was done, answered after.
    store.mend();
    store.delay(Duration::from_secs(1), |request| request.method == "HEAD");
    advance(Duration::from_millis(1)).await;
    let before = within(Duration::ZERO);
    let mut slow = Box::pin(shared.head_manifest(&before, &app, &one));
    assert!(futures::poll!(&mut slow).is_pending());
    shared.put_manifest(&access, &app, &one, &new).await.unwrap();
    slow.await.unwrap();
    asked(&store);
    assert_eq!(name(&shared, &whatever(), "1").await, is_new);
    assert_eq!(asked(&store).len(), 1);

    store.mend();
    assert!(shared.delete_tag(&access, &app, "1").await.unwrap());
    assert_eq!(name(&shared, &whatever(), "1").await, None);
}

#[tokio::test]
async fn the_fallback_tag_is_forgotten_with_a_referrer() {
    let (store, app) = (Store::new(), app());
    let subject = push(&store, "");
    let about = store.push_referrer(PATH, &subject, "one");
    let about = store.manifest(PATH, &by(&about.digest)).unwrap();
    let fallback = referrer::fallback_tag(&subject.digest);
    store.tag(PATH, &fallback, &subject.digest);
    let shared = shared(&store);
    name(&shared, &whatever(), &fallback).await.unwrap();
    asked(&store);
    shared.put_referrer(&Access::default(), &app, &about, &subject.digest).await.unwrap();
    asked(&store);
    name(&shared, &whatever(), &fallback).await;
    assert_eq!(asked(&store).len(), 1);
}

/// What is done in [`own_writes_are_always_seen`].
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u8, u8),
    PutGivenUp(u8, u8),
    Delete(u8),
    Name(u8),
    Get(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (tag, image) = (0_u8..2, 0_u8..3);
    let step = prop_oneof![
        (tag.clone(), image.clone()).prop_map(|(tag, image)| Step::Put(tag, image)),
        (tag.clone(), image).prop_map(|(tag, image)| Step::PutGivenUp(tag, image)),
        tag.clone().prop_map(Step::Delete),
        tag.clone().prop_map(Step::Name),
        tag.prop_map(Step::Get),
    ];
    prop::collection::vec(step, 1..24)
}

proptest! {
    /// Where nobody else writes, whoever believes everything is told what is so.
    #[test]
    fn own_writes_are_always_seen(steps in steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            advance(Duration::from_hours(2)).await;
            let (store, app) = (Store::new(), app());
            let images: Vec<RawManifest> = (0..3)
                .map(|n| {
                    let salt = n.to_string();
                    let pushed = store.push(PATH, None, &Image::of("linux/amd64").salted(&salt));
                    store.manifest(PATH, &by(&pushed.digest)).unwrap()
                })
                .collect();
            let (shared, access) = (shared(&store), whatever());
            for step in steps {
                match step {
                    Step::Put(of, image) => {
                        let image = &images[usize::from(image)];
                        shared.put_manifest(&access, &app, &tag(&of.to_string()), image).await.unwrap();
                    }
                    Step::PutGivenUp(of, image) => {
                        store.delay(Duration::from_secs(1), |request| request.method == "PUT");
                        let (of, image) = (of.to_string(), &images[usize::from(image)]);
                        let reference = tag(&of);
                        let put = shared.put_manifest(&access, &app, &reference, image);
                        prop_assert!(put.now_or_never().is_none());
                        // It arrives all the same.
                        store.mend();
                        store.tag(PATH, &of, image.digest());
                    }
                    Step::Delete(of) => {
                        shared.delete_tag(&access, &app, &of.to_string()).await.unwrap();
                    }
                    Step::Name(of) => {
                        let told = name(&shared, &access, &of.to_string()).await;
                        let is = store.tagged(PATH, &of.to_string());
                        prop_assert_eq!(told, is.map(|raw| raw.digest().clone()));
                    }
                    Step::Get(of) => {
                        let reference = tag(&of.to_string());
                        let told = shared.get_manifest(&access, &app, &reference).await.unwrap();
                        prop_assert_eq!(told, store.tagged(PATH, &of.to_string()));
                    }
                }
            }
            Ok(())
        })?;
    }
}

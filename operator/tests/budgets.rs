//! What a registry is asked at the wire: so many requests at once, in turn, and none while it wants a pause or is away.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use faces::{PASSWORD, access, remote, tag, unhurried};
use futures::future::{join_all, poll_immediate};
use multiarch_operator::{
    oci::{Descriptor, RawManifest, Reference, Repository},
    registry::{
        Access, Copied, Object, Pause, Place, Progress, Registry, RegistryError,
        memory::{
            Lie, Lies, Login, Server, Store, serve,
            server::{LimitLie, User},
        },
        remote::{Limits, Options, Remote},
    },
};
use rstest::rstest;
use tokio::sync::watch;

const APP: &str = "team/app";

/// A registry with one image, `1.0`, that has answered once; and a client.
struct Scene {
    server: Server,
    remote: Remote,
    app: Repository,
    image: RawManifest,
}

/// What tests would wait for, shortened.
fn limits() -> Limits {
    unhurried(Limits { backoff: Duration::from_millis(1), ..Limits::default() })
}

/// Who asks, on behalf of which object.
fn asker(who: Option<&str>, object: u64) -> Access {
    Access { object: Object::of(&object), ..access(who.map(|name| (name, PASSWORD))) }
}

impl Scene {
    async fn of(limits: Limits) -> Self {
        let scene = Self::with(remote(limits), Login::default()).await;
        scene.head(None, 0).await.unwrap();
        scene.server.forget();
        scene
    }

    /// One that knows two tenants.
    async fn of_tenants(limits: Limits) -> Self {
        let users = ["a", "b"].map(|name| User::new(name, PASSWORD, &[APP]));
        let scene = Self::with(remote(limits), Login::Basic(users.into())).await;
        for who in ["a", "b"] {
            scene.head(Some(who), 0).await.unwrap();
        }
        scene.server.forget();
        scene
    }

    async fn with(remote: Remote, login: Login) -> Self {
        let store = Store::new();
        store.push_image(APP, "1.0", "linux/amd64");
        let image = store.tagged(APP, "1.0").unwrap();
        let server = serve(store, Lies { login, lies: Vec::new() }).await;
        let app = server.repository(APP);
        Self { server, remote, app, image }
    }

    async fn head(&self, who: Option<&str>, object: u64) -> Result<(), RegistryError> {
        let access = asker(who, object);
        self.remote.head_manifest(&access, &self.app, &tag("1.0")).await.map(|_| ())
    }

    async fn get(&self, who: Option<&str>) -> Result<(), RegistryError> {
        self.remote.get_manifest(&asker(who, 0), &self.app, &tag("1.0")).await.map(|_| ())
    }

    async fn put(&self, who: Option<&str>) -> Result<(), RegistryError> {
        let access = asker(who, 0);
        self.remote.put_manifest(&access, &self.app, &tag("2.0"), &self.image).await.map(|_| ())
    }

    fn asked(&self) -> usize {
        self.server.requests().len()
    }

    /// A blob in a repository of the same registry.
    fn blob(&self, path: &str, n: u32) -> Descriptor {
        self.server.store().push_blob(path, "x", Bytes::from(n.to_string().repeat(1000)))
    }
}

async fn copy(
    remote: &Remote,
    (from, to): (&Repository, &Repository),
    blob: &Descriptor,
    object: u64,
) -> Copied {
    let (access, progress): (_, Progress) = (asker(None, object), Arc::new(|_| {}));
    let (from, to) =
        (Place { access: &access, repository: from }, Place { access: &access, repository: to });
    remote.copy_blob(from, to, blob, &progress).await.unwrap().unwrap()
}

/// What was not sent because of a pause.
#[track_caller]
fn paused(result: Result<(), RegistryError>) -> (Pause, Option<Duration>) {
    match result.unwrap_err() {
        RegistryError::Paused { pause, retry_after, .. } => (pause, retry_after),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::one_object(&[30], 6)]
#[case::two(&[30, 1], 7)]
#[case::more(&[10, 10, 10, 1], 8)]
#[case::many(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 8)]
#[tokio::test]
async fn so_many_requests_at_once(#[case] objects: &[usize], #[case] most: usize) {
    let scene = Scene::of(limits()).await;
    scene.server.lie([Lie::Limit(LimitLie::GateTo("HEAD"))]);
    let each = (0_u64..).zip(objects);
    let heads = each.flat_map(|(of, times)| (0..*times).map(move |_| of));
    let heads = join_all(heads.map(|of| scene.head(None, of)));
    let open = async {
        scene.server.until(|server| server.waiting() >= most).await;
        // If more came, they would come meanwhile.
        for _ in 0..20 {
            scene.get(Some("another")).await.unwrap();
        }
        assert_eq!(scene.server.waiting(), most);
        scene.server.lie([]);
    };
    let (heads, ()) = tokio::join!(heads, open);
    assert!(heads.iter().all(Result::is_ok), "all of them are answered: {heads:?}");
    assert_eq!(scene.asked(), 20 + objects.iter().sum::<usize>());
}

/// One identity that has used up what it has waits, and no other one with it.
#[tokio::test]
async fn so_many_requests_a_second_for_each_identity() {
    // One in a quarter of an hour, which is longer than this takes.
    let limits = Limits { a_second: 0.001, ..limits() };
    let options = Options { allow_loopback: true, allow_http: true, limits, ..Options::default() };
    let scene = Scene::with(Remote::new(options).unwrap(), Login::default()).await;
    scene.head(Some("a"), 1).await.unwrap();
    let mut second = Box::pin(scene.head(Some("a"), 2));
    assert!(poll_immediate(&mut second).await.is_none());
    scene.head(Some("b"), 1).await.unwrap();
    scene.head(None, 1).await.unwrap();
    assert!(poll_immediate(&mut second).await.is_none());
    assert_eq!(scene.asked(), 3);
}

/// However many blobs an object has: another one's request is answered, and its first blob begins.
#[tokio::test]
async fn an_object_with_many_blobs_does_not_starve_the_others() {
    let scene = Scene::of(limits()).await;
    let target = serve(Store::new(), Lies::default()).await;
    let (from, to) = (&scene.app, &target.repository(APP));
    let blobs: Vec<_> = (0..30).map(|n| scene.blob(APP, n)).collect();
    let other = scene.blob(APP, 1000);
    target.lie([Lie::Limit(LimitLie::GateTo("PUT"))]);
    let many = join_all(blobs.iter().map(|blob| copy(&scene.remote, (from, to), blob, 1)));
    let others = async {
        target.until(|target| target.waiting() >= 4).await;
        let found = scene.remote.head_manifest(&asker(None, 2), to, &tag("1.0")).await;
        assert_eq!(found.unwrap(), None, "its HEAD is answered");
        let opened = async {
            target.until(|target| target.waiting() >= 5).await;
            for _ in 0..20 {
                scene.remote.head_manifest(&asker(None, 3), to, &tag("1.0")).await.unwrap();
            }
            target.lie([]);
        };
        tokio::join!(copy(&scene.remote, (from, to), &other, 2), opened)
    };
    let (many, _) = tokio::join!(many, others);
    assert_eq!(many, [Copied::Uploaded; 30]);
    assert_eq!(target.peak(), 5, "four of one object, and the first of the other");
}

/// What reads and what writes share one host and identity, and never wait for each other in a circle.
#[rstest]
#[case(2)]
#[case(8)]
#[tokio::test]
async fn copies_within_a_registry_come_to_their_end(#[case] at_once: usize) {
    let scene = Scene::of(Limits { at_once, ..limits() }).await;
    scene.server.lie([Lie::MountRefused(202)]);
    let (from, to) = (&scene.app, &scene.server.repository("team/other"));
    let blobs: Vec<_> = (0..30).map(|n| scene.blob(APP, n)).collect();
    let copies =
        (0_u64..).zip(&blobs).map(|(n, blob)| copy(&scene.remote, (from, to), blob, n % 5));
    assert_eq!(join_all(copies).await, [Copied::Uploaded; 30]);
    assert_eq!(scene.server.open_uploads(), 0);
}

/// The look whether a credential is wanted comes before the answer is believed, and needs a place.
#[tokio::test]
async fn what_is_asked_in_between_finds_a_place() {
    let users = vec![User::new("a", PASSWORD, &[APP])];
    let remote = remote(Limits { at_once: 2, ..limits() });
    let scene = Scene::with(remote, Login::bearer(users)).await;
    scene.server.lie([Lie::Hidden]);
    let heads = (0..20).map(|object| scene.head(Some("a"), object));
    assert!(join_all(heads).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn one_tenants_429_leaves_anothers_pushes_alone() {
    let scene = Scene::of_tenants(limits()).await;
    scene.server.lie([Lie::Limit(LimitLie::Who("a", "60".into()))]);
    let limited = scene.head(Some("a"), 1).await.unwrap_err();
    assert!(matches!(limited, RegistryError::RateLimited { .. }), "{limited:?}");
    assert_eq!(scene.asked(), 1);
    // Nothing more is sent for it, whatever object it is and whatever is asked.
    for result in
        [scene.head(Some("a"), 2).await, scene.get(Some("a")).await, scene.put(Some("a")).await]
    {
        let (pause, wait) = paused(result);
        assert_eq!(pause, Pause::Asked { status: 429 });
        assert!(wait.unwrap() <= Duration::from_mins(1));
    }
    assert_eq!(scene.asked(), 1);
    scene.put(Some("b")).await.unwrap();
    scene.get(Some("b")).await.unwrap();
    assert_eq!(scene.asked(), 3);
}

/// A registry that is overloaded is so for everyone; for who was not told so, for a minute.
#[tokio::test]
async fn a_503_that_says_how_long_is_of_the_host() {
    let scene = Scene::of_tenants(limits()).await;
    scene.server.lie([Lie::Limit(LimitLie::Unavailable("600".into()))]);
    let error = scene.head(Some("a"), 1).await.unwrap_err();
    assert_eq!(error.status(), Some(503));
    for (who, most) in [("a", 600), ("b", 60)] {
        let (pause, wait) = paused(scene.head(Some(who), 2).await);
        assert_eq!(pause, Pause::Asked { status: 503 });
        let least = Duration::from_secs(most - 30);
        assert!(wait.is_some_and(|wait| wait > least && wait <= Duration::from_secs(most)));
    }
    assert_eq!(scene.asked(), 1);
    // One that does not say how long is asked again by whoever wants to.
    let scene = Scene::of_tenants(limits()).await;
    scene.server.lie([Lie::Once(503)]);
    scene.head(Some("a"), 1).await.unwrap_err();
    scene.head(Some("a"), 1).await.unwrap();
}

/// A pause that is shorter than a run may wait is kept, by all who want the same; then the request goes again.
#[tokio::test]
async fn a_short_pause_is_waited_for() {
    let scene = Scene::of(limits()).await;
    scene.server.lie([Lie::RateLimited("1".into())]);
    let mend = async {
        scene.server.until(|server| !server.requests().is_empty()).await;
        scene.server.lie([]);
        // The pause is known by now, or what follows would be sent at once; either way it is answered.
        scene.put(None).await
    };
    let (head, put) = tokio::join!(scene.head(None, 1), mend);
    head.unwrap();
    put.unwrap();
    let asked = scene.server.requests();
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("HEAD")).count(), 2, "{asked:?}");
}

/// What passes is asked again within the run, and what does not is not (ARCHITECTURE.md has the whole table).
#[rstest]
#[case(408, 4)]
#[case(429, 4)]
#[case(500, 4)]
#[case(502, 4)]
#[case(504, 4)]
#[case(400, 1)]
#[case(403, 1)]
#[case(412, 1)]
#[case(501, 1)]
#[case(503, 1)]
#[tokio::test]
async fn reads_are_repeated(#[case] status: u16, #[case] times: usize) {
    let refused = |method| Lie::Refused(method, status, "UNSUPPORTED");
    let scene = Scene::of(limits()).await;
    let config = scene.blob(APP, 1);
    let (access, app) = (asker(None, 1), &scene.app);
    scene.server.lie([refused("GET")]);
    scene.get(None).await.unwrap_err();
    assert_eq!(scene.asked(), times);
    scene.remote.get_blob(&access, app, &config).await.unwrap_err();
    assert_eq!(scene.asked(), 2 * times);
    scene.server.lie([refused("HEAD")]);
    scene.remote.blob_exists(&access, app, &config).await.unwrap_err();
    assert_eq!(scene.asked(), 3 * times);
    // By 501 it says that it knows no HEAD of manifests.
    if status != 501 {
        scene.head(None, 1).await.unwrap_err();
        assert_eq!(scene.asked(), 4 * times);
    }
}

/// A 429 without a word on how long is asked again soon, and not for ever.
#[tokio::test]
async fn a_429_without_retry_after_is_asked_again_a_few_times() {
    let scene = Scene::of(limits()).await;
    scene.server.lie([Lie::PutRefused(429, "TOOMANYREQUESTS")]);
    let error = scene.put(None).await.unwrap_err();
    assert!(matches!(error, RegistryError::RateLimited { retry_after: None, .. }), "{error:?}");
    assert_eq!(scene.asked(), 4);
}

/// What registries count are GETs of manifests: with none left they are not sent, and all else is.
#[tokio::test]
async fn pulls_are_spared_where_a_registry_says_that_none_is_left() {
    let left = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&left);
    let options = Options {
        allow_loopback: true,
        allow_http: true,
        limits: limits(),
        observe: Arc::new(move |observed| seen.lock().unwrap().push(observed.left)),
        ..Options::default()
    };
    let scene = Scene::with(Remote::new(options).unwrap(), Login::default()).await;
    let says = |remaining: &str| {
        let limit = Lie::Header("ratelimit-limit", "100;w=21600".into());
        scene.server.lie([limit, Lie::Header("ratelimit-remaining", remaining.into())]);
    };
    says("0;w=21600");
    // The last one.
    scene.get(None).await.unwrap();
    let (pause, wait) = paused(scene.get(None).await);
    assert_eq!(pause, Pause::NoneLeft);
    let a_216th = Duration::from_secs(216);
    assert!(wait.is_some_and(|wait| wait <= a_216th && wait > a_216th / 2), "{wait:?}");
    scene.put(None).await.unwrap();
    let config = scene.blob(APP, 1);
    scene.remote.get_blob(&asker(None, 0), &scene.app, &config).await.unwrap().unwrap();
    assert_eq!(scene.asked(), 3);
    // A HEAD costs none, and tells that there are some again.
    says("60;w=21600");
    scene.head(None, 1).await.unwrap();
    scene.get(None).await.unwrap();
    assert_eq!(*left.lock().unwrap(), [Some(0), None, None, Some(60), Some(60)]);
}

/// Pulls that wait until there is one more keep no place from what costs none.
#[tokio::test]
async fn pulls_that_wait_leave_their_places_to_others() {
    let scene = Scene::of(limits()).await;
    // One more every four seconds.
    let limit = Lie::Header("ratelimit-limit", "100;w=400".into());
    let says = [limit, Lie::Header("ratelimit-remaining", "0;w=400".into())];
    scene.server.lie(says.clone());
    scene.get(None).await.unwrap();
    scene.server.forget();
    scene.server.lie(says.into_iter().chain([Lie::Limit(LimitLie::GateTo("HEAD"))]));
    let mut pulls = Box::pin(join_all((0..6).map(|_| scene.get(None))));
    assert!(poll_immediate(&mut pulls).await.is_none());
    let mut heads = Box::pin(join_all((1..=8).map(|object| scene.head(None, object))));
    tokio::select! {
        _ = &mut heads => panic!("they are not answered"),
        _ = &mut pulls => panic!("they wait"),
        () = scene.server.until(|server| server.waiting() == 8) => {}
    }
    let asked = scene.server.requests();
    assert!(asked.iter().all(|asked| asked.starts_with("HEAD")), "{asked:?}");
    drop(pulls);
    scene.server.lie([]);
    assert!(heads.await.iter().all(Result::is_ok));
}

/// A registry by name, and how often that was to be resolved.
struct Named {
    remote: Remote,
    reference: Reference,
    name: Arc<Mutex<Name>>,
    tried: watch::Sender<usize>,
    _server: Server,
}

/// What comes of resolving a name.
#[derive(Clone, Copy)]
enum Name {
    Absent,
    Hangs,
    There,
}

impl Named {
    async fn new(limits: Limits) -> Self {
        let store = Store::new();
        store.push_image(APP, "1.0", "linux/amd64");
        let server = serve(store, Lies::default()).await;
        let (name, tried) = (Arc::new(Mutex::new(Name::Absent)), watch::Sender::new(0));
        let (now, count) = (Arc::clone(&name), tried.clone());
        let host = format!("registry.test:{}", server.addr.port());
        let options = Options {
            allow_loopback: true,
            allow_http: true,
            allowed: vec![host.parse().unwrap()],
            limits,
            resolve: Arc::new(move |_| {
                count.send_modify(|times| *times += 1);
                let name = *now.lock().unwrap();
                Box::pin(async move {
                    match name {
                        Name::Absent => Err(io::ErrorKind::NotFound.into()),
                        Name::Hangs => std::future::pending().await,
                        Name::There => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
                    }
                })
            }),
            ..Options::default()
        };
        let reference = format!("{host}/{APP}:1.0").parse().unwrap();
        let remote = Remote::new(options).unwrap();
        Self { remote, reference, name, tried, _server: server }
    }

    fn is(&self, name: Name) {
        *self.name.lock().unwrap() = name;
    }

    async fn head(&self, who: Option<&str>) -> Result<(), RegistryError> {
        let repository = self.reference.repository();
        let found = self.remote.head_manifest(&asker(who, 1), repository, &tag("1.0")).await;
        found.map(|found| assert!(found.is_some()))
    }

    fn tried(&self) -> usize {
        *self.tried.borrow()
    }
}

#[tokio::test]
async fn a_dead_host_is_not_asked_for_each_object() {
    let named = Named::new(Limits { away: Duration::from_mins(1), ..limits() }).await;
    let mut told = Vec::new();
    for who in [None, Some("a"), Some("b"), None, Some("c")].iter().cycle().take(50) {
        told.push(named.head(*who).await.unwrap_err());
    }
    assert_eq!(named.tried(), 3, "three times in a row is no chance");
    for error in &told {
        assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("its name was not resolved"), "{error}");
    }
    let last = told.last().unwrap().to_string();
    assert!(
        last.contains(", since 20") && last.ends_with("; it is asked again within a minute"),
        "{last}"
    );
    assert_eq!(told[3].to_string(), last, "no status changes because of it");
}

#[tokio::test]
async fn a_host_that_is_back_is_asked_by_all_again() {
    let named = Named::new(Limits { away: Duration::ZERO, ..limits() }).await;
    for _ in 0..5 {
        named.head(None).await.unwrap_err();
    }
    // Left alone for no time at all, it is asked each time.
    assert_eq!(named.tried(), 5);
    named.is(Name::There);
    named.head(Some("a")).await.unwrap();
    let heads = join_all((0..8).map(|_| named.head(None))).await;
    assert!(heads.iter().all(Result::is_ok), "{heads:?}");
}

/// Silence may be one tenant's own repository's, so that it is counted for that one alone.
#[tokio::test]
async fn a_registry_that_is_silent_to_one_is_asked_by_others() {
    let soon = Duration::from_millis(100);
    let limits = Limits { first_byte: soon, away: Duration::from_mins(1), ..limits() };
    let scene = Scene::of_tenants(limits).await;
    scene.server.lie([Lie::Silence]);
    for _ in 0..5 {
        scene.head(Some("a"), 1).await.unwrap_err();
    }
    assert_eq!(scene.asked(), 3);
    let away = scene.head(Some("a"), 2).await.unwrap_err();
    assert!(matches!(away, RegistryError::Unreachable { .. }), "{away:?}");
    scene.server.lie([]);
    scene.put(Some("b")).await.unwrap();
    assert!(scene.head(Some("a"), 1).await.is_err(), "which says nothing of the other's");
    assert_eq!(scene.asked(), 4);
}

/// One request at a time sees whether it is back; where that one is cut off, the next one does.
#[tokio::test]
async fn one_at_a_time_sees_whether_it_is_back() {
    let named = Named::new(Limits { away: Duration::ZERO, ..limits() }).await;
    for _ in 0..3 {
        named.head(None).await.unwrap_err();
    }
    named.is(Name::Hangs);
    let mut tried = named.tried.subscribe();
    let mut probe = Box::pin(named.head(None));
    tokio::select! {
        _ = &mut probe => panic!("its name is not resolved yet"),
        there = tried.wait_for(|times| *times == 4) => drop(there.unwrap()),
    }
    for who in [None, Some("a"), Some("b")] {
        named.head(who).await.unwrap_err();
    }
    assert_eq!(named.tried(), 4, "one is on its way");
    drop(probe);
    named.is(Name::There);
    named.head(Some("a")).await.unwrap();
}

/// A registry that cannot be verified is there: why is told each time, and no pause hides it.
#[tokio::test]
async fn a_registry_that_fails_at_tls_is_there() {
    let scene = Scene::of(limits()).await;
    let remote = faces::remote_naming(&scene.server.addr.to_string(), limits());
    let access = Access { plain_http: false, ..asker(None, 1) };
    for _ in 0..5 {
        let error = remote.head_manifest(&access, &scene.app, &tag("1.0")).await.unwrap_err();
        assert!(error.to_string().ends_with("(is plainHTTP missing?)"), "{error}");
    }
}

//! Writes to registries in the time of a term: whatever a write waits for on its way, it is not sent after the end.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use faces::{PASSWORD, access, tag, unhurried};
use futures::FutureExt;
use multiarch_operator::{
    oci::{RawManifest, Reference, Repository},
    registry::{
        Access, Fence, Object, Place, Progress, Registry,
        memory::{
            Lie, Lies, Login, Server, Store, serve,
            server::{LimitLie, User},
        },
        remote::{Limits, Observation, Options, Remote},
    },
};
use rstest::rstest;
use tokio::{sync::watch, time::Instant};

const APP: &str = "team/app";

/// A term, and who decides how long it is.
#[derive(Clone)]
struct Term(Arc<watch::Sender<Option<Instant>>>);

impl Term {
    fn begin() -> Self {
        let term = Self(Arc::new(watch::Sender::new(None)));
        term.renew();
        term
    }

    fn renew(&self) {
        self.0.send_replace(Some(Instant::now() + Duration::from_hours(1)));
    }

    /// Its deadline is over, and nobody is told: the clock shows it.
    fn end(&self) {
        self.0.send_if_modified(|until| {
            *until = Some(Instant::now());
            false
        });
    }

    fn access(&self, object: u64, login: Option<(&str, &str)>) -> Access {
        let fence = Fence::until(self.0.subscribe());
        Access { fence, object: Object::of(&object), ..access(login) }
    }
}

/// What a write waits for when the term ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Its turn.
    Turn,
    /// A pause that the registry asked for.
    Pause,
    /// Another try.
    Again,
    /// A token.
    Token,
    /// The registry's address, to connect to it.
    Connection,
}

/// A registry with one image, `1.0`, and a client, of which the term ends while a write waits.
struct Scene {
    term: Term,
    server: Server,
    remote: Remote,
    app: Repository,
    image: RawManifest,
}

impl Scene {
    async fn of(wait: Wait) -> Self {
        let term = Term::begin();
        let (of_answers, of_names) = (term.clone(), term.clone());
        // A registry without a word on a pause, a server's error, and who wants a token.
        let ends = move |seen: &Observation| {
            let ends = match wait {
                Wait::Pause => seen.status == Some(429),
                Wait::Again => seen.status == Some(500),
                Wait::Token => seen.status == Some(401),
                Wait::Turn | Wait::Connection => false,
            };
            if ends && seen.method != "GET" {
                of_answers.end();
            }
        };
        let resolve = move |_| {
            if wait == Wait::Connection {
                of_names.end();
            }
            std::future::ready(Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])).boxed()
        };
        let limits = Limits { backoff: Duration::from_millis(1), at_once: 2, ..Limits::default() };
        let remote = Remote::new(Options {
            allow_loopback: true,
            allow_http: true,
            limits: unhurried(limits),
            observe: Arc::new(ends),
            resolve: Arc::new(resolve),
            ..Options::default()
        });
        let store = Store::new();
        store.push_image(APP, "1.0", "linux/amd64");
        let image = store.tagged(APP, "1.0").unwrap();
        let login = match wait {
            Wait::Token => Login::bearer(vec![User::new("a", PASSWORD, &[APP])]),
            _ => Login::default(),
        };
        let lies = match wait {
            Wait::Pause => vec![Lie::PutRefused(429, "TOOMANYREQUESTS")],
            Wait::Again => vec![Lie::PutRefused(500, "UNKNOWN")],
            _ => Vec::new(),
        };
        let server = serve(store, Lies { login, lies }).await;
        let app = match wait {
            Wait::Connection => {
                let named = format!("registry.test:{}/{APP}:any", server.addr.port());
                named.parse::<Reference>().unwrap().repository().clone()
            }
            _ => server.repository(APP),
        };
        let scene = Self { term, server, remote: remote.unwrap(), app, image };
        if wait == Wait::Turn {
            // Else others wait for the first answer of all.
            scene.read(0).await;
            scene.server.forget();
        }
        scene
    }

    fn access(&self, object: u64, wait: Wait) -> Access {
        self.term.access(object, (wait == Wait::Token).then_some(("a", PASSWORD)))
    }

    async fn read(&self, object: u64) {
        self.read_as(object, None).await;
    }

    async fn read_as(&self, object: u64, login: Option<(&str, &str)>) {
        let access = self.term.access(object, login);
        // Where it wants a token, nobody gets to read; it was asked all the same.
        let _ = self.remote.head_manifest(&access, &self.app, &tag("1.0")).await;
    }

    fn asked(&self, method: &str) -> usize {
        self.server.requests().iter().filter(|asked| asked.starts_with(method)).count()
    }
}

/// The process was held up: it wakes with all that it waited for at hand, and its time is over.
#[rstest]
#[case::turn(Wait::Turn, "PUT", 0)]
#[case::turn_to_delete(Wait::Turn, "DELETE", 0)]
#[case::pause(Wait::Pause, "PUT", 1)]
#[case::again(Wait::Again, "PUT", 1)]
#[case::token(Wait::Token, "PUT", 1)]
#[case::token_to_delete(Wait::Token, "DELETE", 1)]
#[case::connection(Wait::Connection, "PUT", 0)]
#[case::connection_to_delete(Wait::Connection, "DELETE", 0)]
#[tokio::test]
async fn no_tag_is_written_after_the_end(
    #[case] wait: Wait,
    #[case] method: &str,
    #[case] sent_before: usize,
) {
    let scene = Scene::of(wait).await;
    let Scene { server, remote, app, image, term } = &scene;
    let access = scene.access(0, wait);
    let to = tag("2.0");
    let mut writes = if method == "PUT" {
        remote.put_manifest(&access, app, &to, image).map(|put| put.map(drop)).boxed()
    } else {
        remote.delete_tag(&access, app, "1.0").map(|deleted| deleted.map(drop)).boxed()
    };
    if wait == Wait::Turn {
        // All places are taken.
        server.lie([Lie::Limit(LimitLie::GateTo("HEAD"))]);
        let mut reads = std::pin::pin!(async { tokio::join!(scene.read(1), scene.read(2)) });
        let taken = server.until(|server| server.waiting() == 2);
        tokio::select! {
            _ = &mut reads => unreachable!("they are not answered"),
            () = taken => {}
        }
        assert!(futures::poll!(&mut writes).is_pending());
        term.end();
        server.lie([]);
        reads.await;
    }
    let meanwhile = async {
        while term.0.borrow().is_some_and(|until| Instant::now() < until) {
            tokio::task::yield_now().await;
        }
        server.lie([]);
        // If it were sent, it would be meanwhile.
        for _ in 0..50 {
            scene.read(3).await;
        }
    };
    tokio::select! {
        done = &mut writes => panic!("{done:?}"),
        () = meanwhile => {}
    }
    assert_eq!(scene.asked(method), sent_before);

    // A renewal that was late lets it go on.
    term.renew();
    writes.await.unwrap();
    assert_eq!(scene.asked(method), sent_before + 1);
    let store = server.store();
    assert_eq!(store.tagged(APP, "2.0").is_some(), method == "PUT");
    assert_eq!(store.tagged(APP, "1.0").is_some(), method == "PUT");
}

/// What ends the uploads of a term goes after it, too; and nothing else does.
#[tokio::test]
async fn after_the_end_uploads_are_cancelled() {
    let scene = Scene::of(Wait::Turn).await;
    let Scene { server, remote, app, term, .. } = &scene;
    let target = server.repository("team/other");
    server.lie([Lie::MountRefused(202), Lie::Limit(LimitLie::GateTo("PUT"))]);
    let blob = server.store().push_blob(APP, "x", Bytes::from_static(b"content"));
    let (access, progress): (_, Progress) = (term.access(0, None), Arc::new(|_| {}));
    let of = |repository| Place { access: &access, repository };
    let mut copies = remote.copy_blob(of(app), of(&target), &blob, &progress).boxed();
    tokio::select! {
        done = &mut copies => panic!("{done:?}"),
        () = server.until(|server| server.waiting() == 1) => {}
    }
    term.end();
    drop(copies);
    remote.settle().await;
    assert_eq!(server.open_uploads(), 0);
    assert_eq!(scene.asked("DELETE"), 1);
}

/// Whose run is gone before the upload was begun begins none.
#[tokio::test]
async fn nothing_is_begun_for_a_run_that_is_gone() {
    let scene = Scene::of(Wait::Turn).await;
    let Scene { server, remote, app, term, .. } = &scene;
    let target = server.repository("team/other");
    let blob = server.store().push_blob(APP, "x", Bytes::from_static(b"content"));
    server.lie([Lie::Limit(LimitLie::GateTo("HEAD"))]);
    // Where both ends have one credential, a mount is asked for first.
    let login = Some(("a", PASSWORD));
    let reads = async { tokio::join!(scene.read_as(1, login), scene.read_as(2, login)) };
    let mut reads = std::pin::pin!(reads);
    tokio::select! {
        _ = &mut reads => unreachable!("they are not answered"),
        () = server.until(|server| server.waiting() == 2) => {}
    }
    let (access, progress): (_, Progress) = (term.access(0, login), Arc::new(|_| {}));
    let of = |repository| Place { access: &access, repository };
    let mut copies = remote.copy_blob(of(app), of(&target), &blob, &progress).boxed();
    // By then the POST waits for its turn, in a task of its own.
    for _ in 0..100 {
        assert!(futures::poll!(&mut copies).is_pending());
        tokio::task::yield_now().await;
    }
    drop(copies);
    server.lie([]);
    reads.await;
    remote.settle().await;
    assert_eq!(scene.asked("POST"), 0);
}

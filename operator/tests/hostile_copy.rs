//! Hostile and broken registries at either end of a copy: a wrong blob is never completed, nothing is left open, and what passes is tried again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use faces::{Given, access, remote};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use multiarch_operator::{
    oci::Descriptor,
    registry::{
        BlobSource, Chunks, Copied, Place, Progress, Registry, RegistryError, Request,
        memory::{Lie, Lies, Server, Store, serve, server::LimitLie},
        remote::{Limits, Remote},
    },
};
use rstest::rstest;

const APP: &str = "team/app";
const SOON: Duration = Duration::from_millis(100);
const LENGTH: usize = 100_000;

/// A registry with a blob, one without, and a client.
struct Scene {
    source: Server,
    target: Server,
    remote: Remote,
    blob: Descriptor,
}

/// What tests would wait for, shortened.
fn quick() -> Limits {
    Limits { backoff: Duration::from_millis(1), ..Limits::default() }
}

impl Scene {
    async fn of(lies: impl IntoIterator<Item = Lie>) -> Self {
        Self::within(quick(), LENGTH, lies).await
    }

    /// `lies` are the target's.
    async fn within(limits: Limits, length: usize, lies: impl IntoIterator<Item = Lie>) -> Self {
        let store = Store::new();
        let content: Bytes = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let blob = store.push_blob(APP, "x", content);
        let source = serve(store, Lies::default()).await;
        let lies = Lies { lies: lies.into_iter().collect(), ..Lies::default() };
        let target = serve(Store::new(), lies).await;
        Self { source, target, remote: remote(limits), blob }
    }

    async fn copy(&self) -> Result<Option<Copied>, RegistryError> {
        let (access, progress): (_, Progress) = (access(None), Arc::new(|_| {}));
        let (from, to) = (self.source.repository(APP), self.target.repository(APP));
        let from = Place { access: &access, repository: &from };
        let to = Place { access: &access, repository: &to };
        self.remote.copy_blob(from, to, &self.blob, &progress).await
    }

    async fn push(&self, source: &dyn BlobSource) -> Result<Option<Copied>, RegistryError> {
        let (access, progress): (_, Progress) = (access(None), Arc::new(|_| {}));
        let to = self.target.repository(APP);
        let to = Place { access: &access, repository: &to };
        self.remote.push_blob(to, &self.blob, source, &progress).await
    }

    /// It succeeds, with the right bytes, and nothing is left open.
    async fn succeeds(&self) {
        assert_eq!(self.copy().await.unwrap(), Some(Copied::Uploaded));
        let there = self.target.store().blob(APP, &self.blob.digest);
        assert!(there.is_some() && there == self.source.store().blob(APP, &self.blob.digest));
        assert_eq!(self.target.open_uploads(), 0, "{:#?}", self.target.requests());
    }

    /// It fails in these words, with nothing there and nothing left open.
    async fn fails(&self, parts: &[&str]) -> RegistryError {
        let error = self.copy().await.unwrap_err();
        for secret in ["secret", "_state", "sig="] {
            assert!(!error.to_string().contains(secret), "{error} shows {secret}");
        }
        for part in parts {
            assert!(error.to_string().contains(part), "{error} does not say {part}");
        }
        assert_eq!(self.target.store().blob(APP, &self.blob.digest), None);
        assert_eq!(self.target.open_uploads(), 0, "{:#?}", self.target.requests());
        error
    }

    /// What the target was asked, a letter each: Head, Get, Open, Put, pAtch, Delete.
    fn asked(&self) -> String {
        let letter = |seen: &multiarch_operator::registry::memory::server::Seen| match &*seen.method
        {
            "POST" => 'O',
            "PATCH" => 'A',
            other => other.chars().next().unwrap(),
        };
        self.target.seen().iter().map(letter).collect()
    }
}

/// What passes is tried again, what was stored is found, and the upload begins anew where the
/// registry has nothing of it.
#[rstest]
#[case::stored_and_cut(Lie::CutStoredPut, "HOPH")]
#[case::stored_502(Lie::StoredPut(502), "HOPH")]
#[case::stored_403(Lie::StoredPut(403), "HOPHD")]
#[case::stored_409(Lie::StoredPut(409), "HOPHD")]
#[case::once_401(Lie::OnceTo("PUT", 401), "HOPGDOP")]
#[case::ghcr_416(Lie::OnceTo("PUT", 416), "HOPGDOP")]
#[case::session_vanishes(Lie::SessionVanishes, "HOPGDOP")]
#[case::once_502(Lie::OnceTo("PUT", 502), "HOPHGDOP")]
#[case::start_500(Lie::OnceTo("POST", 500), "HOOP")]
#[case::look_504(Lie::OnceTo("HEAD", 504), "HHOP")]
#[case::stored_without_location(Lie::StoredLocation(None), "HOP")]
#[case::stored_elsewhere(Lie::StoredLocation(Some("http://evil.test/?secret".into())), "HOP")]
#[tokio::test]
async fn an_upload_goes_on(#[case] lie: Lie, #[case] asked: &str) {
    let scene = Scene::of([lie]).await;
    scene.succeeds().await;
    // Whether all was sent when the answer came is chance where it came early; a look follows then.
    assert_eq!(scene.asked().replace("PHG", "PG"), asked.replace("PHG", "PG"));
}

/// The same of bytes that come from anywhere: they are asked for again where a part of them is to be sent again, and
/// told as wrong where they are others then.
#[rstest]
#[case::cut(Lie::CutUpload(50_000), "HOPGP", 2)]
#[case::cut_at_the_end(Lie::CutUpload(LENGTH), "HOPHGP", 1)]
#[case::anew(Lie::OnceTo("PUT", 416), "HOPGDOP", 2)]
#[case::stored_and_cut(Lie::CutStoredPut, "HOPH", 1)]
#[tokio::test]
async fn a_push_goes_on(#[case] lie: Lie, #[case] asked: &str, #[case] opened: usize) {
    let scene = Scene::of([lie]).await;
    let content = scene.source.store().blob(APP, &scene.blob.digest).unwrap();
    let given = Given::new(&content);
    assert_eq!(scene.push(&given).await.unwrap(), Some(Copied::Uploaded));
    assert_eq!(scene.target.store().blob(APP, &scene.blob.digest), Some(content));
    assert_eq!(scene.target.open_uploads(), 0, "{:#?}", scene.target.requests());
    assert_eq!(scene.asked().replace("PHG", "PG"), asked.replace("PHG", "PG"));
    assert_eq!(given.opened(), opened);
}

/// A source that cannot be read ends the push, and is not taken for the target.
#[tokio::test]
async fn a_push_of_what_cannot_be_read_fails_at_once() {
    struct Broken;
    impl BlobSource for Broken {
        fn named(&self) -> (String, Request) {
            ("a.tar".into(), Request { method: "GET", noun: "blob", of: "it".into() })
        }
        fn open(&self) -> BoxFuture<'_, Result<Option<Chunks>, RegistryError>> {
            let broken = || RegistryError::Archive { why: "a.tar ends".into() };
            let chunks = [Ok(Bytes::from_static(&[0; 1000])), Err(broken())];
            std::future::ready(Ok(Some(stream::iter(chunks).boxed()))).boxed()
        }
    }
    let scene = Scene::of([]).await;
    let error = scene.push(&Broken).await.unwrap_err();
    assert_eq!(error.to_string(), "a.tar ends");
    assert_eq!(scene.target.open_uploads(), 0, "{:#?}", scene.target.requests());
    // Whether anything of the PUT comes through is chance.
    assert_eq!(scene.asked().replace('P', ""), "HOD");
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_where_it_was() {
    let scene = Scene::of([Lie::CutUpload(50_000)]).await;
    scene.succeeds().await;
    assert_eq!(scene.asked().replace("PHG", "PG"), "HOPGP");
    let seen = scene.target.seen();
    let put = seen.last().unwrap();
    assert_eq!(put.header("content-range"), "50000-99999");
    assert_eq!(put.header("content-length"), "50000");
    assert!(put.query.starts_with("_state=50000&digest="), "{}", put.query);
    assert_eq!(scene.source.requests().len(), 2);
}

/// GHCR bounds what says its range, and not what comes as a whole:
/// <https://github.com/oras-project/rust-oci-client/issues/35>
#[tokio::test]
async fn a_rest_that_is_too_long_for_its_range_is_sent_as_a_whole() {
    let scene = Scene::of([Lie::CutUpload(50_000), Lie::RangeTooLong(40_000)]).await;
    scene.succeeds().await;
    assert_eq!(scene.asked().replace("PHG", "PG"), "HOPGPDOP");
    let (first, last) = (&scene.target.seen()[2], scene.target.seen().pop().unwrap());
    assert_eq!(first.header("content-range"), "");
    assert_eq!(last.header("content-range"), "");
    assert_eq!(last.header("content-length"), "100000");
}

/// A registry whose word on what it has cannot be right gets everything anew.
#[rstest]
#[case("0-0")]
#[case("0-999999999")]
#[case("5-7")]
#[case("secret")]
#[tokio::test]
async fn an_unclear_range_begins_anew(#[case] range: &str) {
    let scene = Scene::of([Lie::CutUpload(50_000), Lie::Range("GET", range.into())]).await;
    scene.succeeds().await;
    assert_eq!(scene.asked().replace("PHG", "PG"), "HOPGDOP");
}

/// Every byte arrived and only the end of the upload was lost.
#[tokio::test]
async fn an_upload_that_is_cut_at_its_end_is_only_finished() {
    let scene = Scene::of([Lie::CutUpload(LENGTH)]).await;
    scene.succeeds().await;
    assert_eq!(scene.asked(), "HOPHGP");
    assert_eq!(scene.target.seen().last().unwrap().header("content-length"), "0");
    assert_eq!(scene.source.requests().len(), 1);
}

#[rstest]
#[case::quota(Lie::PutRefused(403, "QUOTA_EXCEEDED"), &["PUT blob", "HTTP 403 QUOTA_EXCEEDED", "no push right, or quota full"])]
#[case::denied(Lie::Refused("POST", 403, "DENIED"), &["POST upload", "no push right, or quota full"])]
#[case::no_repository(Lie::Refused("POST", 404, "NAME_UNKNOWN"), &["HTTP 404", "create it first"])]
#[case::ecr(Lie::CutPosts, &["POST upload", "a cut connection, three times", "create it first"])]
#[case::put_limited(Lie::PutRefused(429, ""), &["limits the rate", "PUT blob"])]
#[case::start_limited(Lie::Refused("POST", 429, ""), &["limits the rate"])]
#[case::unavailable(Lie::PutRefused(503, ""), &["HTTP 503"])]
#[case::always_502(Lie::PutRefused(502, ""), &["PUT blob", "HTTP 502"])]
#[case::always_401(Lie::PutRefused(401, "UNAUTHORIZED"), &["PUT blob", "HTTP 401"])]
#[case::always_404(Lie::PutRefused(404, "BLOB_UPLOAD_UNKNOWN"), &["HTTP 404 BLOB_UPLOAD_UNKNOWN"])]
#[case::not_stored(Lie::PutRefused(202, ""), &["PUT blob", "HTTP 202"])]
#[case::moved(Lie::RedirectWrites("http://evil.test".into()), &["a redirect of a P"])]
#[tokio::test]
async fn an_upload_fails_in_clear_words(#[case] lie: Lie, #[case] parts: &[&str]) {
    Scene::of([lie]).await.fails(parts).await;
}

#[tokio::test]
async fn tries_are_bounded() {
    let scene = Scene::of([Lie::CutPosts]).await;
    scene.fails(&[]).await;
    assert_eq!(scene.asked(), "HOOO");
    let scene = Scene::of([Lie::PutRefused(504, "")]).await;
    scene.fails(&["HTTP 504"]).await;
    assert_eq!(scene.asked().matches('P').count(), 4);
    let scene = Scene::of([Lie::PutRefused(429, "")]).await;
    scene.fails(&[]).await;
    assert_eq!(scene.asked(), "HOPGDOPGDOPGDOPD");
    let scene = Scene::of([Lie::RateLimited("60".into())]).await;
    scene.fails(&["limits the rate"]).await;
    assert_eq!(scene.asked(), "H", "a longer pause is the object's to wait for");
    let scene = Scene::of([Lie::Limit(LimitLie::To("PUT", "60".into()))]).await;
    scene.fails(&["limits the rate"]).await;
    assert_eq!(scene.asked(), "HOPD", "and what was begun is ended all the same");
}

#[tokio::test]
async fn where_a_session_cannot_be_deleted_the_error_is_still_the_first_one() {
    let lies = [Lie::PutRefused(403, "DENIED"), Lie::Refused("DELETE", 405, "UNSUPPORTED")];
    let scene = Scene::of(lies).await;
    let error = scene.copy().await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { status: 403, .. }), "{error:?}");
    assert!(scene.asked().ends_with('D'));
}

#[tokio::test]
async fn an_upload_location_is_needed_and_never_leaves_the_host() {
    let scene = Scene::of([Lie::Location(None)]).await;
    let error = scene.copy().await.unwrap_err();
    assert!(error.to_string().contains("an upload without Location"), "{error}");

    let other = serve(Store::new(), Lies::default()).await;
    scene.target.lie([Lie::Location(Some(other.origin()))]);
    let error = scene.copy().await.unwrap_err();
    let words = "an upload Location on another host (127.0.0.1";
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(other.requests(), [""; 0]);
    assert_eq!(scene.target.store().blob(APP, &scene.blob.digest), None);

    // With its own name before it, it is as good as without.
    let scene = Scene::of([]).await;
    scene.target.lie([Lie::Location(Some(scene.target.origin()))]);
    scene.succeeds().await;
}

fn chunks() -> Limits {
    Limits { chunk: 64 << 10, chunk_least: 10_000, ..quick() }
}

#[tokio::test]
async fn what_is_too_large_at_once_is_sent_in_chunks() {
    let scene = Scene::within(chunks(), LENGTH, [Lie::TooLarge(40_000)]).await;
    scene.succeeds().await;
    assert_eq!(scene.asked(), "HOPDOADOAAAAP");
    let seen = scene.target.seen();
    let ranges: Vec<_> = seen.iter().map(|seen| seen.header("content-range")).collect();
    let chunks = ["0-32767", "32768-65535", "65536-98303", "98304-99999"];
    assert_eq!(&ranges[8..12], chunks);
    assert_eq!(seen.last().unwrap().header("content-length"), "0");
}

#[tokio::test]
async fn what_is_too_large_in_every_way_fails() {
    let scene = Scene::within(chunks(), LENGTH, [Lie::TooLarge(5_000)]).await;
    scene.fails(&["PATCH blob", "HTTP 413"]).await;
}

#[rstest]
#[case::stuck("0-32767", "of which 32768 were before")]
#[case::beyond("0-99999", "100000 bytes taken of 32768, of which 0 were before")]
#[tokio::test]
async fn a_chunk_has_to_advance_what_the_registry_has(#[case] range: &str, #[case] why: &str) {
    let lies = [Lie::TooLarge(40_000), Lie::Range("PATCH", range.into())];
    let scene = Scene::within(chunks(), LENGTH, lies).await;
    scene.fails(&["PATCH blob", why]).await;
}

#[tokio::test]
async fn a_chunk_that_is_cut_goes_on_where_it_was() {
    let lies = [Lie::TooLarge(70_000), Lie::OnceTo("PATCH", 502)];
    let scene = Scene::within(chunks(), LENGTH, lies).await;
    scene.succeeds().await;
    assert_eq!(scene.asked().replace("AHG", "AG"), "HOPDOAGDOAAP");
}

/// A wrong blob never completes an upload.
#[rstest]
#[case::other_bytes(&[Lie::WrongBody], "WrongDigest")]
#[case::other_bytes_unannounced(&[Lie::WrongBody, Lie::Chunked], "WrongDigest")]
#[case::too_long(&[Lie::WrongSize], "WrongSize")]
#[case::too_long_unannounced(&[Lie::WrongSize, Lie::Chunked], "WrongSize")]
#[case::too_short(&[Lie::Short], "WrongSize")]
#[case::too_short_unannounced(&[Lie::Short, Lie::Chunked], "WrongSize")]
#[case::cut(&[Lie::CutBody], "Unreachable")]
#[case::always_502(&[Lie::Refused("GET", 502, "")], "Unavailable")]
#[case::denied(&[Lie::Refused("GET", 403, "DENIED")], "Denied")]
#[case::limited(&[Lie::Refused("GET", 429, "")], "RateLimited")]
#[tokio::test]
async fn a_bad_source_is_told_as_such(#[case] lies: &[Lie], #[case] variant: &str) {
    let scene = Scene::of([]).await;
    scene.source.lie(lies.iter().cloned());
    let host = scene.source.addr.to_string();
    let error = scene.fails(&[&host, "GET blob"]).await;
    assert!(format!("{error:?}").starts_with(variant), "{error:?}");
}

#[tokio::test]
async fn a_source_that_fails_once_is_asked_again() {
    let scene = Scene::of([]).await;
    scene.source.lie([Lie::OnceTo("GET", 502)]);
    scene.succeeds().await;
    assert_eq!(scene.asked(), "HOP");
}

#[rstest]
#[case::silent(Lie::SilentBody, Limits { idle: SOON, ..quick() }, "no byte within 100ms")]
#[case::slow(Lie::Trickle, Limits { rate_window: SOON, ..quick() }, "under 1024 bytes a second")]
#[tokio::test]
async fn a_slow_source_is_told_and_not_its_target(
    #[case] lie: Lie,
    #[case] limits: Limits,
    #[case] why: &str,
) {
    let scene = Scene::within(limits, LENGTH, []).await;
    scene.source.lie([lie]);
    let host = scene.source.addr.to_string();
    scene.fails(&[&host, "too slow for GET blob", why]).await;
}

#[tokio::test]
async fn a_target_that_does_not_read_is_too_slow() {
    let limits = Limits { idle: SOON, ..quick() };
    // More than the buffers of both ends take.
    let scene = Scene::within(limits, 16 << 20, [Lie::Deaf]).await;
    let host = scene.target.addr.to_string();
    scene.fails(&[&host, "too slow for PUT blob", "no byte within 100ms"]).await;
}

#[tokio::test]
async fn a_target_that_does_not_answer_has_longer_for_more_bytes() {
    let limits = Limits { first_byte: SOON, first_byte_most: 2 * SOON, checked: 1000, ..quick() };
    let scene = Scene::within(limits, LENGTH, [Lie::SilentTo("PUT")]).await;
    scene.fails(&["too slow for PUT blob", "no answer within 200ms"]).await;
    assert_eq!(scene.asked(), "HOPHD");
}

/// As when an object's timeout ends a run.
#[tokio::test]
async fn a_copy_that_is_dropped_leaves_nothing_open() {
    let scene = Scene::of([]).await;
    scene.source.lie([Lie::SilentBody]);
    tokio::select! {
        outcome = scene.copy() => panic!("{outcome:?}"),
        // The session is known to the copy by then: it reads what it is to send.
        () = scene.source.until(|source| !source.requests().is_empty()) => {}
    }
    scene.target.until(|target| target.open_uploads() == 0).await;
    assert!(scene.asked().ends_with('D'));
}

/// The registry has opened one, and has not said so yet.
#[tokio::test]
async fn a_copy_that_is_dropped_while_a_session_is_begun_leaves_nothing_open() {
    let scene = Scene::of([Lie::HeldBack("POST")]).await;
    tokio::select! {
        outcome = scene.copy() => panic!("{outcome:?}"),
        () = scene.target.until(|target| target.open_uploads() == 1) => {}
    }
    scene.target.lie([]);
    scene.target.until(|target| target.open_uploads() == 0).await;
    assert_eq!(scene.asked(), "HOD");
}

#[tokio::test]
async fn a_source_on_another_host_sees_no_credential() {
    let scene = Scene::of([]).await;
    let store = scene.source.store().clone();
    let storage = serve(store, Lies::default()).await;
    scene.source.lie([Lie::RedirectBlobs(storage.origin())]);
    scene.succeeds().await;
    assert_eq!(storage.seen().len(), 1);
    storage.lie([Lie::WrongBody]);
    scene.target.store().delete_blob(APP, &scene.blob.digest);
    scene.fails(&["GET blob"]).await;
}

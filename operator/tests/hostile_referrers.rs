//! Lists of referrers that lie, or are half made: what is wrong is told, what is right is copied, and the index is published.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::{collections::BTreeMap, time::Duration};

use faces::{by, remote};
use multiarch_crds::v1alpha1::Referrers;
use multiarch_operator::{
    oci::{Descriptor, Digest, Index, RawManifest, media_type, referrer::fallback_tag},
    reconcile::status::Run,
    registry::{
        memory::{Image, Lie, Lies, Server, Store, serve},
        remote::Limits,
    },
};
use object::Object;
use rstest::rstest;

const FROM: &str = "ci/app";
const TO: &str = "team/app";

/// A registry without referrers API, with an image of which a fallback tag lists what a test likes, and
/// an honest SBOM at the end.
struct Scene {
    server: Server,
    image: Descriptor,
    sbom: Descriptor,
    object: Object,
}

impl Scene {
    async fn new(lies: impl IntoIterator<Item = Lie>) -> Self {
        let store = Store::new();
        let image = store.push_image(FROM, "1.0", "linux/amd64");
        let sbom = store.push_referrer(FROM, &image, "sbom");
        let lies = Lies { lies: lies.into_iter().collect(), ..Lies::default() };
        let server = serve(store, lies).await;
        let host = server.addr.to_string();
        let object = Object::new(&format!("{host}/{TO}:1.0"), &[format!("{host}/{FROM}:1.0")]);
        let mut object = object.by_http([host.as_str()]);
        object.spec.referrers = Referrers::Copy;
        Self { server, image, sbom, object }
    }

    async fn listing(list: fn(&Store, &Descriptor) -> Vec<Descriptor>) -> Self {
        let without = Lie::Referrers(404, "text/plain; charset=utf-8", "404 page not found\n");
        let scene = Self::new([without]).await;
        let mut listed = list(scene.server.store(), &scene.image);
        listed.push(scene.sbom.clone());
        scene.list(FROM, listed);
        scene
    }

    /// Makes the fallback tag of the image list these.
    fn list(&self, path: &str, listed: Vec<Descriptor>) {
        let index = Index::new(listed, BTreeMap::new()).to_raw();
        let tag = fallback_tag(&self.image.digest);
        self.server.store().push_manifest(path, Some(&tag), &index);
    }

    async fn run(&mut self) -> Run {
        let limits = Limits { backoff: Duration::from_millis(1), ..Limits::default() };
        let run = self.object.run(&remote(limits)).await;
        let tagged = self.server.store().tagged(TO, "1.0").unwrap();
        assert_eq!(tagged.digest(), &self.image.digest, "it is mirrored: {run:#?}");
        run
    }

    /// What the target lists as referrers of the image.
    fn listed_at_the_target(&self) -> Vec<Digest> {
        let tag = fallback_tag(&self.image.digest);
        let Some(raw) = self.server.store().tagged(TO, &tag) else { return Vec::new() };
        let index: Index = serde_json::from_slice(raw.bytes()).unwrap();
        index.manifests.into_iter().map(|child| child.digest).collect()
    }
}

/// A manifest of these fields in the source's repository.
fn push(store: &Store, fields: &serde_json::Value) -> Descriptor {
    let bytes = serde_json::to_vec(fields).unwrap();
    let media_type = fields["mediaType"].as_str().unwrap();
    store.push_manifest(FROM, None, &RawManifest::new(media_type, bytes.into()))
}

fn nothing(_: &Store, _: &Descriptor) -> Vec<Descriptor> {
    Vec::new()
}

fn the_same_again_and_again(store: &Store, image: &Descriptor) -> Vec<Descriptor> {
    vec![store.push_referrer(FROM, image, "sbom"); 100]
}

fn the_subject(_: &Store, image: &Descriptor) -> Vec<Descriptor> {
    vec![image.clone()]
}

fn an_image_about_nothing(store: &Store, _: &Descriptor) -> Vec<Descriptor> {
    vec![store.push(FROM, None, &Image::of("linux/s390x"))]
}

fn one_about_another_image(store: &Store, _: &Descriptor) -> Vec<Descriptor> {
    let other = store.push(FROM, None, &Image::of("linux/s390x"));
    vec![store.push_referrer(FROM, &other, "of another")]
}

fn one_that_is_gone(store: &Store, image: &Descriptor) -> Vec<Descriptor> {
    let gone = store.push_referrer(FROM, image, "gone");
    store.delete_manifest(FROM, &gone.digest);
    vec![gone]
}

fn one_without_its_blob(store: &Store, image: &Descriptor) -> Vec<Descriptor> {
    let torn = store.push_referrer(FROM, image, "torn");
    let [_, layer] = multiarch_operator::registry::memory::images::about("torn");
    store.delete_blob(FROM, &Digest::of(&layer));
    vec![torn]
}

fn an_index(store: &Store, image: &Descriptor) -> Vec<Descriptor> {
    let child = store.push_referrer(FROM, image, "sbom");
    let fields = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [child],
        "subject": image,
    });
    vec![push(store, &fields)]
}

fn no_manifest_at_all(store: &Store, _: &Descriptor) -> Vec<Descriptor> {
    let fields = serde_json::json!({"mediaType": media_type::OCI_MANIFEST, "config": 1});
    vec![push(store, &fields)]
}

#[rstest]
#[case::honest(nothing, None)]
#[case::again_and_again(the_same_again_and_again, None)]
#[case::subject(the_subject, None)]
#[case::about_nothing(an_image_about_nothing, Some("its subject is another manifest or none"))]
#[case::about_another(one_about_another_image, Some("its subject is another manifest or none"))]
#[case::gone(one_that_is_gone, Some("it is listed, and not there"))]
#[case::torn(one_without_its_blob, Some("is gone"))]
#[case::index(an_index, Some("it is an index"))]
#[case::no_manifest(no_manifest_at_all, Some("not a valid"))]
#[tokio::test]
async fn what_is_wrong_is_told_and_the_rest_copied(
    #[case] list: fn(&Store, &Descriptor) -> Vec<Descriptor>,
    #[case] why: Option<&str>,
) {
    let mut scene = Scene::listing(list).await;
    let notes = scene.run().await.referrers.unwrap().notes;
    assert_eq!(notes.len(), usize::from(why.is_some()), "{notes:?}");
    if let Some(why) = why {
        assert!(notes[0].contains(why) && notes[0].contains("was not copied"), "{notes:?}");
    }
    assert_eq!(scene.listed_at_the_target(), [scene.sbom.digest.clone()]);
    let stored = scene.server.store().manifest(TO, &by(&scene.sbom.digest));
    assert!(stored.is_some());
    // Nothing of what is refused is moved: the image's two blobs, and the SBOM's two.
    let moved = scene.server.requests().into_iter().filter(|r| r.starts_with("POST"));
    let torn = usize::from(why == Some("is gone"));
    assert!(moved.count() <= 4 + torn);
}

#[rstest]
#[case::html(404, "text/html", "<html>", None)]
#[case::huge(200, media_type::OCI_INDEX, "[", Some("not a valid"))]
#[case::no_list(200, media_type::OCI_INDEX, "{}", Some("not a valid"))]
#[case::denied(403, "text/plain", "", Some("403"))]
#[case::unavailable(503, "text/plain", "", Some("503"))]
#[tokio::test]
async fn an_api_that_lies(
    #[case] status: u16,
    #[case] content_type: &'static str,
    #[case] body: &'static str,
    #[case] why: Option<&str>,
) {
    let mut scene = Scene::new([Lie::Referrers(status, content_type, body)]).await;
    let notes = scene.run().await.referrers.unwrap().notes;
    let Some(why) = why else { return assert!(notes.is_empty(), "{notes:?}") };
    assert!(notes.len() == 1 && notes[0].contains(why), "{notes:?}");
}

/// The registry stored it, and then something went wrong before the fallback tag listed it.
#[tokio::test]
async fn one_that_is_there_and_not_listed_is_listed() {
    let mut scene = Scene::listing(nothing).await;
    let store = scene.server.store().clone();
    let raw = store.manifest(FROM, &by(&scene.sbom.digest)).unwrap();
    store.push_manifest(TO, None, &raw);
    let own = store.push_referrer(TO, &scene.image, "the target's own");
    scene.list(TO, vec![own.clone()]);
    assert!(scene.run().await.referrers.unwrap().notes.is_empty());
    assert_eq!(scene.listed_at_the_target(), [own.digest, scene.sbom.digest.clone()]);
}

/// REGISTRY.md's budget: five requests an image where there is nothing, and one fewer when the registry
/// is known to have no API.
#[rstest]
#[case::with_api(None, 4)]
#[case::without(Some(404), 5)]
#[tokio::test]
async fn requests_where_nothing_refers(#[case] api: Option<u16>, #[case] expected: usize) {
    let lie = api.map(|status| Lie::Referrers(status, "text/plain", "404 page not found\n"));
    let mut scene = Scene::new(lie).await;
    scene.server.store().delete_manifest(FROM, &scene.sbom.digest);
    scene.run().await;
    let about = |request: &&String| {
        request.contains("/referrers/") || request.contains(&fallback_tag(&scene.image.digest))
    };
    let requests = scene.server.requests();
    assert_eq!(requests.iter().filter(about).count(), expected, "{requests:#?}");
}

//! The object is deleted: its own tags go, and nothing else.

use multiarch_operator::{
    oci::TagOrDigest,
    reconcile::{
        delete::{self, Deleted},
        sources::Sources,
    },
    registry::{Access, RegistryError, Request},
};
use rstest::rstest;

use crate::world::*;

async fn delete(world: &World) -> Deleted {
    world.store.forget();
    let sources = Sources::parse(&world.spec).unwrap();
    let access = Access::default();
    delete::delete(&world.store, &access, &sources, &world.status, &world.claims).await
}

fn tags(deleted: &Deleted) -> Vec<&str> {
    deleted.tags.iter().filter_map(|tag| tag.tag()).collect()
}

/// An object that has written four tags.
async fn tagged() -> World {
    let mut world = World::pair();
    world.spec.target.additional_tags = vec!["latest".into()];
    world.spec.target.platform_tags = Some("{tag}-{arch}".into());
    world.run().await;
    world.assert_ready("True", "Succeeded");
    world
}

#[tokio::test(start_paused = true)]
async fn its_tags_go_and_nothing_else() {
    let world = tagged().await;
    let index = world.tagged().unwrap();
    let deleted = delete(&world).await;
    assert!(deleted.left.is_empty(), "{deleted:?}");
    assert_eq!(tags(&deleted), ["1.0", "latest", "1.0-amd64", "1.0-arm64"]);
    for tag in ["1.0", "latest", "1.0-amd64", "1.0-arm64"] {
        assert!(world.store.tagged(PATH, tag).is_none(), "{tag}");
    }
    assert!(world.store.tagged(PATH, "amd64").is_some(), "a source's tag is not ours");
    let by_digest = TagOrDigest::Digest(index.digest().clone());
    assert!(world.store.manifest(PATH, &by_digest).is_some(), "nothing is deleted by digest");
    let requests = world.store.requests();
    assert!(requests.iter().all(|request| !request.of.contains('@')), "{requests:?}");
    assert_eq!(requests.len(), 2 * 4);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_something_else_has_moved_or_deleted_is_left() {
    let world = tagged().await;
    let foreign = world.push_foreign(&["linux/amd64"]);
    world.store.delete_tag(PATH, "latest");
    let deleted = delete(&world).await;
    assert_eq!(tags(&deleted), ["1.0-amd64", "1.0-arm64"]);
    assert!(deleted.left.is_empty());
    assert_eq!(world.tagged().unwrap().digest(), &foreign.digest);
}

#[tokio::test(start_paused = true)]
async fn a_tag_of_the_index_that_somebody_gave_to_one_image_is_left() {
    let world = tagged().await;
    let image = world.store.tagged(PATH, "1.0-amd64").unwrap();
    world.store.tag(PATH, "latest", image.digest());
    assert_eq!(tags(&delete(&world).await), ["1.0", "1.0-amd64", "1.0-arm64"]);
}

#[tokio::test(start_paused = true)]
async fn what_another_tool_made_is_left() {
    let first = tagged().await;
    let mut world = World::pair();
    world.store = first.store;
    world.spec = first.spec;
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert!(world.status.last_publish_time.is_none(), "it was found to be right");
    assert_eq!(tags(&delete(&world).await), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_was_published_and_nothing_is_asked() {
    let world = World::pair();
    let deleted = delete(&world).await;
    assert!(deleted.tags.is_empty() && deleted.left.is_empty());
    assert!(world.store.requests().is_empty());
}

fn refused<const STATUS: u16>(request: &Request) -> RegistryError {
    let (host, codes) = (HOST.into(), Vec::new());
    RegistryError::Refused { host, request: request.clone(), status: STATUS, codes }
}

#[rstest]
#[case::cannot(refused::<405>, false)]
#[case::cannot_by_tag(refused::<400>, false)]
#[case::not_implemented(refused::<501>, false)]
#[case::too_many(rate_limited, true)]
#[case::away(unavailable, true)]
#[case::denied(denied, true)]
#[tokio::test(start_paused = true)]
async fn what_the_registry_does_not_delete_stays(
    #[case] error: fn(&Request) -> RegistryError,
    #[case] may_pass: bool,
) {
    let world = tagged().await;
    world
        .store
        .fail(|request| request.method == "DELETE" && request.of.ends_with(":latest"), error);
    let deleted = delete(&world).await;
    assert_eq!(tags(&deleted), ["1.0", "1.0-amd64", "1.0-arm64"], "the others go");
    let [left] = deleted.left.as_slice() else { panic!("{deleted:?}") };
    assert_eq!(left.may_pass, may_pass);
    let message = left.to_string();
    assert!(message.starts_with(&format!("failed to delete {}: ", image("latest"))), "{message}");
}

//! Killed at any request of a publication, and run again: what it has written is its own all the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageStatus};
use multiarch_operator::{
    oci::Reference,
    reconcile::{
        claims::{Claimant, Claims},
        delete,
        sources::Sources,
    },
    registry::Access,
};
use rstest::rstest;

use crate::world::*;

/// The tags of a pair with one more tag and one for each image.
const TAGS: [&str; 4] = [TAG, "latest", "1.0-amd64", "1.0-arm64"];

fn tagged() -> World {
    let mut world = World::pair();
    world.spec.target.additional_tags = vec!["latest".into()];
    world.spec.target.platform_tags = Some("{tag}-{arch}".into());
    world
}

/// What `world` keeps from an object of another namespace that has written nothing, and is older.
fn keeps(world: &World) -> Claims {
    let object = |name: &str, created: i64| {
        let mut object = MultiArchImage::new(name, world.spec.clone());
        object.metadata.namespace = Some(name.into());
        object.metadata.uid = Some(name.into());
        let created = jiff::Timestamp::from_second(created).unwrap();
        object.metadata.creation_timestamp = Some(Time(created));
        object
    };
    let (own, stranger) = (object("own", 2), object("stranger", 1));
    let nothing = MultiArchImageStatus::default();
    let target: Reference = world.spec.target.image.parse().unwrap();
    let stranger = Claimant { object: &stranger, status: &nothing };
    let own = Claimant { object: &own, status: &world.status };
    Claims::against(stranger, target.repository(), [own])
}

/// Deletes the object; the tags that are left.
async fn left_after_deletion(world: &World) -> Vec<String> {
    let sources = Sources::parse(&world.spec).unwrap();
    let (access, status) = (Access::default(), &world.status);
    let deleted = delete::delete(&world.store, &access, &sources, status, &Claims::default()).await;
    assert!(deleted.left.is_empty(), "{deleted:?}");
    let tags = world.store.tags(PATH).into_iter();
    tags.filter(|tag| TAGS.contains(&tag.as_str())).collect()
}

#[rstest]
#[case::and_nothing_else_happens(false)]
#[case::and_a_source_goes_on(true)]
#[tokio::test(start_paused = true)]
async fn what_was_written_is_its_own(#[case] moved: bool) {
    let mut honest = tagged();
    let requests = honest.run().await.requests.len();
    for at in 0..=requests {
        let mut world = tagged();
        world.killed_after(at).await;
        world.store.mend();
        if moved {
            world.move_to("amd64", "linux/amd64", "2");
        }
        world.later(10);
        world.run().await;
        let (ready, reason, message) = world.ready();
        assert_eq!((ready, reason), ("True", "Succeeded"), "killed at {at}: {message}");
        let keeps = keeps(&world);
        for tag in TAGS {
            assert!(keeps.owner(tag).is_some(), "killed at {at}: {tag} is anybody's");
        }
        world.assert_fixpoint().await;
        let left = left_after_deletion(&world).await;
        assert!(left.is_empty(), "killed at {at}: {left:?} are left");
    }
}

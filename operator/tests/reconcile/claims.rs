//! A tag that another object has written is its own, until it lets go.

use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSpec, MultiArchImageStatus};
use multiarch_operator::{
    oci::{Digest, Reference},
    reconcile::claims::{Claimant, Claims},
};

use crate::world::*;

/// What an older object of another namespace keeps, which has written `tags`.
fn kept(tags: &[&str]) -> Claims {
    let status = MultiArchImageStatus {
        reference: Some(format!("{}@{}", image(TAG), Digest::of(b"theirs"))),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        pushed_to: Some(format!("{HOST}/{PATH}")),
        ..MultiArchImageStatus::default()
    };
    let mut other = MultiArchImage::new("other", MultiArchImageSpec::default());
    other.metadata.namespace = Some("elsewhere".into());
    other.metadata.uid = Some("other".into());
    let own = MultiArchImage::new("own", MultiArchImageSpec::default());
    let nothing = MultiArchImageStatus::default();
    let target: Reference = image(TAG).parse().unwrap();
    let own = Claimant { object: &own, status: &nothing };
    Claims::against(own, target.repository(), [Claimant { object: &other, status: &status }])
}

#[tokio::test(start_paused = true)]
async fn the_target_s_tag_is_left_and_nothing_is_asked() {
    let mut world = World::pair();
    world.claims = kept(&[TAG]);
    for _ in 0..2 {
        let report = world.run().await;
        world.assert_stalled("TargetConflict");
        world.assert_message(&[&image(TAG), "a MultiArchImage of another namespace"]);
        assert!(!world.ready().2.contains("elsewhere"), "nothing is told of it");
        assert_eq!(report.requests, [""; 0]);
        world.later(10);
    }
    world.claims = Claims::default();
    world.run().await;
    world.assert_ready("True", "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn another_tag_is_left_and_the_index_is_published() {
    let mut world = World::pair();
    world.spec.target.additional_tags = vec!["1".into(), "latest".into()];
    let theirs = world.store.push_image(PATH, "latest", "linux/s390x");
    world.claims = kept(&["latest"]);
    world.run().await;
    world.assert_stalled("TargetConflict");
    world.assert_message(&[&image("latest")]);
    assert_eq!(world.condition(multiarch_crds::condition::Type::Published).0, "True");
    assert_eq!(world.status.tags, [TAG, "1"]);
    assert_eq!(world.store.tagged(PATH, "latest").unwrap().digest(), &theirs.digest);

    world.later(10);
    world.run().await.assert_idle(2 + 2);
    world.claims = Claims::default();
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.tags, [TAG, "1", "latest"]);
    assert_eq!(
        world.store.tagged(PATH, "latest").unwrap().digest(),
        world.tagged().unwrap().digest()
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_to_an_older_object_is_not_put_back() {
    let mut world = World::published().await;
    let foreign = world.push_foreign(&["linux/amd64", "linux/arm64"]);
    world.claims = kept(&[TAG]);
    for _ in 0..2 {
        world.run().await;
        world.assert_stalled("TargetConflict");
        assert_eq!(world.tagged().unwrap().digest(), &foreign.digest);
        world.later(10);
    }
}

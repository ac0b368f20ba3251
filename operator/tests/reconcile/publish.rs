//! Publishing: what it costs, what waits, what changes nothing.

use multiarch_crds::{condition::Type, v1alpha1::PublishPolicy};
use multiarch_operator::oci::media_type;
use rstest::rstest;

use crate::world::*;

#[rstest]
#[case::one(&["linux/amd64"])]
#[case::two(&["linux/amd64", "linux/arm64"])]
#[case::seven(&["linux/386", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/ppc64le", "linux/s390x"])]
#[tokio::test(start_paused = true)]
async fn the_first_index_costs_2n_plus_3_requests(#[case] platforms: &[&str]) {
    let tags: Vec<_> = platforms.iter().map(|p| p.replace('/', "-")).collect();
    let mut world = World::new(tags.iter().map(|tag| source(tag)).collect());
    for (tag, platform) in tags.iter().zip(platforms) {
        world.push(tag, platform);
    }
    let n = platforms.len();

    let report = world.run().await;
    report.assert_counts(1, 2 * n + 1, 1);
    assert_eq!(report.events, ["IndexPublished"]);
    assert_eq!(world.platforms(), platforms);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::Published).0, "True");
    assert_eq!(world.condition(Type::PlatformsComplete).0, "True");
    assert_eq!(world.condition(Type::SourcesResolved).0, "True");
    let digest = world.tagged().unwrap().digest().to_string();
    let status = &world.status;
    assert_eq!(status.reference, Some(format!("{}@{digest}", image(TAG))));
    assert_eq!(status.digest, Some(digest));
    // One source is mirrored: no index is made of an image.
    let kind = if n == 1 { media_type::OCI_MANIFEST } else { media_type::OCI_INDEX };
    assert_eq!(status.media_type.as_deref(), Some(kind));
    assert_eq!(status.tags, [TAG]);
    assert_eq!(status.last_publish_time.as_ref().unwrap().0, world.now);
    let coverage = status.coverage.as_ref().unwrap();
    assert_eq!(coverage.summary, format!("{n}/{n}"));
    assert_eq!(usize::try_from(coverage.published), Ok(n));
    assert_eq!(status.platforms.len(), n);
    assert!(status.platforms.iter().zip(&tags).all(|(p, tag)| p.source == *tag));
    assert!(status.platforms.iter().all(|p| p.config_digest.is_some()));

    world.later(10);
    world.run().await.assert_idle(n + 1);
    world.restart();
    world.later(10);
    world.run().await.assert_idle(n + 1);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_tag_is_read_once() {
    let mut world = World::pair();
    world.push_foreign(&["linux/amd64", "linux/arm64"]);
    world.run().await.assert_counts(1, 2 * 2 + 1, 1);
    world.assert_ready("True", "Succeeded");
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_the_canonical_ones_in_any_order_of_sources() {
    let mut world = World::pair();
    world.run().await;
    let first = world.tagged().unwrap();
    assert_eq!(world.index().to_raw().bytes(), first.bytes());

    world.later(10);
    world.edit(|spec| spec.sources.reverse());
    let report = world.run().await;
    assert_eq!(report.count("PUT"), 0);
    assert!(report.events.is_empty());
    assert_eq!(world.tagged().unwrap().bytes(), first.bytes());
    let names: Vec<_> = world.status.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["arm64", "amd64"], "in the order of the spec");
}

#[tokio::test(start_paused = true)]
async fn waits_by_heads_alone_and_publishes_what_comes() {
    let mut world =
        World::new(vec![source("amd64"), declared("arm64", "linux/arm64"), source("x")]);
    world.push("amd64", "linux/amd64");
    let report = world.run().await;
    report.assert_counts(0, 4, 0);
    world.assert_ready("Unknown", "WaitingForPlatforms");
    world.assert_reconciling("WaitingForPlatforms");
    world.assert_message(&["linux/arm64", "arm64", &image("arm64"), &image("x")]);
    assert_eq!(world.status.coverage.as_ref().unwrap().summary, "1/3");
    assert_eq!(world.status.coverage.as_ref().unwrap().missing, ["linux/arm64"]);
    assert_eq!(world.condition(Type::Published).0, "False");
    assert_eq!(world.condition(Type::PlatformsComplete).0, "False");
    assert_eq!(world.condition(Type::SourcesResolved).0, "False");
    assert_eq!(report.retry, Some(multiarch_operator::error::Retry::Interval));

    world.later(10);
    world.run().await.assert_idle(3);
    world.restart();
    world.run().await.assert_idle(3);

    world.push("arm64", "linux/arm64");
    world.later(10);
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    assert_eq!(world.status.coverage.as_ref().unwrap().summary, "2/3");
    assert!(world.tagged().is_none());

    world.push("x", "linux/s390x");
    world.later(10);
    let report = world.run().await;
    assert_eq!(report.events, ["IndexPublished"]);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64", "linux/s390x"]);
    assert_eq!(world.condition(Type::Reconciling).0, "");
}

#[tokio::test(start_paused = true)]
async fn a_late_platform_joins_a_partial_index() {
    let mut world = World::new(vec![source("amd64"), declared("arm64", "linux/arm64")]);
    world.spec.publish_policy = PublishPolicy::Partial;
    world.run().await.assert_counts(0, 2, 0);
    world.assert_ready("Unknown", "WaitingForPlatforms");

    world.push("amd64", "linux/amd64");
    world.later(10);
    assert_eq!(world.run().await.events, ["IndexPublished"]);
    world.assert_ready("True", "PublishedPartial");
    assert_eq!(world.condition(Type::Published).0, "True");
    let (status, _, message) = world.condition(Type::PlatformsComplete);
    assert_eq!(status, "False");
    assert!(message.contains("linux/arm64"), "{message}");
    assert_eq!(world.status.coverage.as_ref().unwrap().summary, "1/2");
    world.later(10);
    world.run().await.assert_idle(3);

    world.push("arm64", "linux/arm64");
    world.later(10);
    assert_eq!(world.run().await.events, ["IndexPublished"]);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::PlatformsComplete).0, "True");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
}

#[rstest]
#[case::complete(PublishPolicy::Complete, "Unknown", "WaitingForPlatforms")]
#[case::partial(PublishPolicy::Partial, "True", "PublishedPartial")]
#[tokio::test(start_paused = true)]
async fn a_required_platform_that_no_source_has(
    #[case] policy: PublishPolicy,
    #[case] status: &str,
    #[case] reason: &str,
) {
    let mut world = World::pair();
    world.spec.required_platforms = vec!["linux/s390x".into(), "linux/aarch64".into()];
    world.spec.publish_policy = policy;
    world.run().await;
    world.assert_ready(status, reason);
    assert_eq!(world.tagged().is_some(), policy == PublishPolicy::Partial);
    let coverage = world.status.coverage.clone().unwrap();
    assert_eq!((coverage.summary.as_str(), coverage.missing), ("2/3", vec!["linux/s390x".into()]));
    world.later(10);
    let published = usize::from(policy == PublishPolicy::Partial);
    world.run().await.assert_idle(2 + published);
}

#[tokio::test(start_paused = true)]
async fn a_requested_run_that_finds_nothing_costs_heads_and_one_write() {
    let mut world = World::published().await;
    world.request();
    let report = world.run().await;
    report.assert_counts(3, 0, 0);
    assert!(report.changed, "the request is echoed");
    assert!(report.events.is_empty());
    world.assert_ready("True", "Succeeded");
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn a_moved_source_is_published() {
    let mut world = World::published().await;
    let before = world.digests();
    let moved = world.move_to("arm64", "linux/arm64", "2");
    let report = world.run().await;
    assert_eq!(report.events, ["IndexPublished", "SourceChanged"]);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.digests(), [before[0].clone(), moved.digest.clone()]);
    assert_eq!(world.source("arm64").digest, Some(moved.digest.to_string()));
    assert_eq!(world.status.last_publish_time.as_ref().unwrap().0, world.now);
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn equal_content_in_other_bytes_is_adopted_and_left() {
    let mut world = World::pair();
    world.run().await;
    let ours = world.index();
    world.store.delete_tag(PATH, TAG);

    // The same by another tool: other order, other white space.
    let mut other = ours.clone();
    other.manifests.reverse();
    let bytes = serde_json::to_vec_pretty(&other).unwrap();
    let theirs = multiarch_operator::oci::RawManifest::new(media_type::OCI_INDEX, bytes.into());
    let store = world.store;
    let mut world = World::pair();
    world.store = store;
    world.store.push_manifest(PATH, Some(TAG), &theirs);

    let report = world.run().await;
    report.assert_counts(0, 5, 0);
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.digest, Some(theirs.digest().to_string()));
    assert_eq!(world.status.last_publish_time, None, "nothing was pushed");
    assert!(report.events.is_empty());
    world.later(10);
    world.run().await.assert_idle(3);
    // Also when all is read again.
    world.edit(|_| {});
    assert_eq!(world.run().await.count("PUT"), 0);
    assert_eq!(world.status.digest, Some(theirs.digest().to_string()));
}

#[tokio::test(start_paused = true)]
async fn annotations_make_another_index() {
    let mut world = World::published().await;
    world.edit(|spec| {
        spec.annotations.insert("com.example.<b>".into(), "1 & 2".into());
    });
    let report = world.run().await;
    report.assert_counts(1, 5, 1);
    assert_eq!(report.events, ["IndexPublished"]);
    assert_eq!(world.index().annotations["com.example.<b>"], "1 & 2");
    world.later(10);
    world.run().await.assert_idle(3);
}

#[tokio::test(start_paused = true)]
async fn a_raised_tag_is_published_and_the_old_one_left() {
    let mut world = World::published().await;
    let old = world.tagged();
    let digest = world.status.digest.clone();
    world.edit(|spec| {
        spec.target.image = image("2.0");
        spec.sources[0].image = image("amd64-2");
        spec.sources[1].image = image("arm64-2");
    });
    world.run().await;
    world.assert_ready("Unknown", "WaitingForPlatforms");
    assert_eq!(world.condition(Type::Published).0, "True", "keeps its last value");
    assert_eq!(world.status.digest, digest, "keeps its last value");
    world.run().await.assert_idle(2);

    world.move_to("amd64-2", "linux/amd64", "2");
    world.move_to("arm64-2", "linux/arm64", "2");
    assert!(world.run().await.events.contains(&"IndexPublished".into()));
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.status.tags, ["2.0"]);
    assert_eq!(world.tagged(), old, "the old tag is left as it is");
    assert!(world.store.tagged(PATH, "2.0").is_some());
}

#[tokio::test(start_paused = true)]
async fn optional_sources_never_hold() {
    let mut world = World::new(vec![source("amd64"), optional("arm64"), optional("s390x")]);
    world.push("amd64", "linux/amd64");
    world.fail("s390x", unavailable);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.condition(Type::PlatformsComplete).0, "True");
    assert_eq!(world.condition(Type::SourcesResolved).0, "False");
    assert_eq!(world.status.coverage.as_ref().unwrap().summary, "1/1");
    // The words of a failure name the request, which is a HEAD from the second look on.
    world.later(10);
    world.run().await.assert_counts(4, 0, 0);
    world.later(10);
    world.run().await.assert_idle(4);

    // One that comes is published; one that fails then keeps its child.
    world.push("arm64", "linux/arm64");
    world.run().await;
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
    world.fail("arm64", unavailable);
    world.move_to("amd64", "linux/amd64", "2");
    world.later(10);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    assert_eq!(world.platforms(), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_condition_stays() {
    let mut world = World::pair();
    let foreign = k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
        type_: "example.com/Scanned".into(),
        status: "True".into(),
        reason: "Clean".into(),
        message: "no findings".into(),
        observed_generation: None,
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
    };
    world.status.conditions.push(foreign.clone());
    world.run().await;
    assert!(world.status.conditions.contains(&foreign));
}

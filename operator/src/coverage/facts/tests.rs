//! What is made of objects in each state.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use multiarch_crds::v1alpha1::{Coverage, MultiArchImageSpec, PublishedPlatform, Source};

use super::*;

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

fn object(target: &str, additional: &[&str]) -> MultiArchImage {
    let mut spec = MultiArchImageSpec::default();
    spec.target.image = target.into();
    spec.target.additional_tags = additional.iter().map(ToString::to_string).collect();
    let mut object = MultiArchImage::new("app", spec);
    object.metadata.namespace = Some("team-a".into());
    object.metadata.uid = Some("uid".into());
    object.metadata.creation_timestamp = Some(Time(Timestamp::from_second(7).unwrap()));
    object
}

fn condition(kind: &str, status: &str) -> Condition {
    Condition {
        type_: kind.into(),
        status: status.into(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: String::new(),
        observed_generation: None,
        reason: "Why".into(),
    }
}

/// `object` after it has pushed `tags` of r.example/app.
fn published(mut object: MultiArchImage, tags: &[&str]) -> MultiArchImage {
    let image = |platform: &str| PublishedPlatform {
        platform: platform.into(),
        digest: digest(platform).to_string(),
        ..PublishedPlatform::default()
    };
    object.status = Some(MultiArchImageStatus {
        reference: Some(format!("r.example/app:{}@{}", tags[0], digest("index"))),
        tags: tags.iter().map(ToString::to_string).collect(),
        pushed_to: Some("r.example/app".into()),
        platforms: vec![image("linux/amd64"), image("linux/arm/v7")],
        coverage: Some(Coverage {
            missing: vec!["linux/s390x".into()],
            nodes_missing: vec!["windows(10.0.20348)/amd64".into()],
            ..Coverage::default()
        }),
        conditions: vec![condition("Published", "True"), condition("PlatformsComplete", "False")],
        ..MultiArchImageStatus::default()
    });
    object
}

/// Each claim as the maps have it.
fn shown(object: &MultiArchImage) -> Vec<String> {
    let short = |text: String| {
        ["index", "linux/amd64", "linux/arm/v7"]
            .iter()
            .fold(text, |text, of| text.replace(digest(of).as_str(), &format!("<{of}>")))
            .replace(&digest("index").as_str().replace(':', "_c"), "<index>")
    };
    let claims = Facts::of(object).claims.unwrap();
    claims.iter().map(|claim| short(format!("{} {}", claim.key, claim.value))).collect()
}

#[test]
fn one_that_has_published_nothing_speaks_to_its_own_namespace() {
    let object = object("r.example/app:2", &["latest"]);
    let facts = Facts::of(&object);
    assert_eq!((facts.object.to_string(), facts.created), ("team-a/app".into(), 7));
    let expected = [
        "r.example_sapp_c2_nteam-a 1||no|no|||team-a/app|||",
        "r.example_sapp_clatest_nteam-a 1||no|no|||team-a/app|||",
    ];
    assert_eq!(shown(&object), expected);
}

#[test]
fn one_that_has_pushed_speaks_to_all() {
    let object = published(object("r.example/app:2", &["latest"]), &["2", "latest"]);
    let value =
        "1|<index>|yes|no|linux/amd64,linux/arm|linux/s390x|team-a/app||windows(10.0.20348)/amd64|";
    let keys = ["r.example_sapp_a<index>", "r.example_sapp_c2", "r.example_sapp_clatest"];
    assert_eq!(shown(&object), keys.map(|key| format!("{key} {value}")));
}

#[test]
fn one_that_only_found_it_right_does_not() {
    let mut object = published(object("r.example/app:2", &[]), &["2"]);
    for pushed_to in [None, Some("r.example/its-own".to_owned())] {
        object.status.as_mut().unwrap().pushed_to = pushed_to;
        let claims = Facts::of(&object).claims.unwrap();
        assert_eq!(claims.len(), 2);
        assert!(claims.iter().all(|claim| claim.key.namespace() == Some("team-a")));
        assert!(claims.iter().all(|claim| claim.value.published));
    }
}

#[test]
fn a_tag_that_is_to_come_waits_beside_the_one_that_is_there() {
    let object = published(object("r.example/app:3", &["2"]), &["2"]);
    let shown = shown(&object);
    assert_eq!(shown[2], "r.example_sapp_c3 1||no|no||linux/s390x|team-a/app|||");
    assert!(shown[1].starts_with("r.example_sapp_c2 1|<index>|yes|"), "{}", shown[1]);
}

#[test]
fn the_tag_of_an_image_says_what_that_image_is() {
    let mut object = object("r.example/app:2", &[]);
    object.spec.target.platform_tags = Some("{tag}-{arch}{variant}".into());
    let mut object = published(object, &["2", "2-amd64", "2-armv7", "old"]);
    let shown = shown(&object);
    assert_eq!(
        shown[2],
        "r.example_sapp_c2-amd64 1|<linux/amd64>|yes|yes|linux/amd64||team-a/app|||"
    );
    assert_eq!(
        shown[3],
        "r.example_sapp_c2-armv7 1|<linux/arm/v7>|yes|yes|linux/arm||team-a/app|||"
    );
    let guessed = |object: &MultiArchImage| {
        let claims = Facts::of(object).claims.unwrap().into_iter();
        claims.filter(|claim| claim.guessed).map(|claim| claim.key.reference()).collect::<Vec<_>>()
    };
    assert_eq!(guessed(&object), ["r.example/app:old"]);
    object.spec.target.platform_tags = None;
    assert_eq!(guessed(&object).len(), 3, "what they name is not told any more");
}

#[test]
fn an_edit_leaves_what_is_published() {
    let mut edited = published(object("r.example/app:2", &[]), &["2"]);
    let before = Facts::of(&edited);
    edited.metadata.generation = Some(9);
    edited.spec.required_platforms.push("linux/riscv64".into());
    assert_eq!(Facts::of(&edited), before);
}

/// PlatformsComplete is about the published index, and status.coverage.missing about what the sources have.
#[test]
fn what_was_found_and_not_pushed_is_missing() {
    let source = |platform: &str, optional| Source {
        platforms: vec![platform.into()],
        optional,
        ..Source::default()
    };
    let mut object = published(object("r.example/app:2", &[]), &["2"]);
    object.status.as_mut().unwrap().coverage = Some(Coverage::default());
    let missing = |object: &MultiArchImage| {
        let claims = Facts::of(object).claims.unwrap();
        claims.last().unwrap().value.missing.to_string()
    };
    assert_eq!(missing(&object), "", "no spec names it");
    object.spec.required_platforms = vec!["linux/amd64".into(), "linux/aarch64".into()];
    object.spec.sources = vec![
        source("linux/s390x", false),
        source("linux/riscv64", true),
        source("linux/arm/v7", false),
    ];
    assert_eq!(missing(&object), "linux/arm64,linux/s390x");
    object.status.as_mut().unwrap().conditions[1].status = "True".into();
    assert_eq!(missing(&object), "", "it is complete as it was published");
}

#[test]
fn what_no_registry_takes_is_nothing() {
    let mut object = object("r.example/app", &["a/b"]);
    assert_eq!(shown(&object), [""; 0]);
    object.status = Some(MultiArchImageStatus {
        reference: Some("r.example/app:2".into()),
        tags: vec!["2".into()],
        ..MultiArchImageStatus::default()
    });
    assert_eq!(shown(&object), [""; 0]);
    assert_eq!(Facts::unknown(&object.metadata).claims, None);
}

//! What holds of tags and images whatever happens: random histories of moves, deletions, failures and edits.

use std::collections::BTreeMap;

use multiarch_crds::v1alpha1::{RemovalPolicy, TagPolicy};
use multiarch_operator::{
    oci::{Digest, TagOrDigest},
    registry::memory::Image,
};
use proptest::{collection, prelude::*, sample::select};
use rstest::rstest;

use crate::{scale::scale, world::*};

/// The first one is in the target's repository.
const SOURCES: [(&str, &str, &str); 3] = [
    (PATH, "amd64", "linux/amd64"),
    ("ci/a", "arm64", "linux/arm64"),
    ("ci/b", "s390x", "linux/s390x"),
];

/// Every tag that may be ours.
const TAGS: [&str; 7] = [TAG, "latest", "1", "1.0-amd64", "1.0-arm64", "1.0-s390x", "1.0-riscv64"];

#[derive(Clone, Debug)]
enum Step {
    Push(usize, u8),
    DeleteSource(usize),
    /// The image is gone from its source's repository, with its tags.
    LoseSource(usize),
    Move(&'static str, Vec<&'static str>),
    Delete(&'static str),
    /// The published image of this number is gone, or the index.
    LoseChild(usize),
    Fail(&'static str),
    FailWrites(&'static str),
    /// The registry lets no tag of the target's repository be overwritten.
    Protect,
    Mend,
    /// What was refused is put off, or due.
    PutOff(bool),
    Policy(TagPolicy),
    Removal(RemovalPolicy),
    Tags(Vec<&'static str>),
    PlatformTags(bool),
    Annotate(u8),
    Request,
    Restart,
    Later(i64),
}

fn step() -> impl Strategy<Value = Step> {
    use proptest::sample::subsequence;
    let at = 0..SOURCES.len();
    let foreign = vec!["linux/amd64", "linux/arm64", "linux/riscv64"];
    let policies = [TagPolicy::Enforce, TagPolicy::Yield, TagPolicy::Immutable];
    let removals = [RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove];
    prop_oneof![
        4 => (at.clone(), 0..3_u8).prop_map(|(at, salt)| Step::Push(at, salt)),
        1 => at.clone().prop_map(Step::DeleteSource),
        1 => at.prop_map(Step::LoseSource),
        4 => (select(&TAGS[..]), subsequence(foreign, 1..=3)).prop_map(|(t, p)| Step::Move(t, p)),
        2 => select(&TAGS[..]).prop_map(Step::Delete),
        2 => (0..4_usize).prop_map(Step::LoseChild),
        1 => select(&["amd64", "arm64", TAG, "latest"][..]).prop_map(Step::Fail),
        2 => select(&[TAG, "latest", "1.0-arm64"][..]).prop_map(Step::FailWrites),
        1 => Just(Step::Protect),
        3 => Just(Step::Mend),
        2 => any::<bool>().prop_map(Step::PutOff),
        3 => select(policies.to_vec()).prop_map(Step::Policy),
        1 => select(removals.to_vec()).prop_map(Step::Removal),
        2 => subsequence(vec!["latest", "1"], 0..=2).prop_map(Step::Tags),
        2 => any::<bool>().prop_map(Step::PlatformTags),
        1 => (0..3_u8).prop_map(Step::Annotate),
        2 => Just(Step::Request),
        1 => Just(Step::Restart),
        6 => select(&[1_i64, 3, 10][..]).prop_map(Step::Later),
    ]
}

fn push(world: &World, at: usize, salt: &str) {
    let (path, tag, platform) = SOURCES[at];
    world.store.push(path, Some(tag), &Image::of(platform).salted(salt));
}

fn play(world: &mut World, step: &Step) {
    match step {
        Step::Push(at, salt) => push(world, *at, &salt.to_string()),
        Step::DeleteSource(at) => world.store.delete_tag(SOURCES[*at].0, SOURCES[*at].1),
        Step::LoseSource(at) => {
            let (path, tag, _) = SOURCES[*at];
            if let Some(raw) = world.store.tagged(path, tag) {
                world.store.delete_manifest(path, raw.digest());
            }
        }
        Step::Move(tag, platforms) => {
            world.push_foreign_as(tag, platforms);
        }
        Step::Delete(tag) => world.store.delete_tag(PATH, tag),
        Step::LoseChild(n) => {
            let image = world.status.platforms.get(*n).map(|image| image.digest.clone());
            if let Some(lost) = image.or_else(|| world.status.digest.clone()) {
                world.store.delete_manifest(PATH, &lost.parse().unwrap());
            }
        }
        Step::Fail(of) => world.fail(of, unavailable),
        Step::FailWrites(tag) => {
            let of = format!("{PATH}:{tag}");
            world.store.fail(move |request| request.method == "PUT" && request.of == of, denied);
        }
        Step::Protect => world.store.protect(),
        Step::Mend => world.store.mend(),
        Step::PutOff(on) => world.put_off = *on,
        Step::Policy(policy) => world.edit(|spec| spec.target.tag_policy = *policy),
        Step::Removal(policy) => world.edit(|spec| spec.removal_policy = *policy),
        Step::Tags(tags) => world.edit(|spec| {
            spec.target.additional_tags = tags.iter().map(|tag| (*tag).into()).collect();
        }),
        Step::PlatformTags(on) => world.edit(|spec| {
            spec.target.platform_tags = on.then(|| "{tag}-{arch}".into());
        }),
        Step::Annotate(n) => world.edit(|spec| {
            spec.annotations.insert("n".into(), n.to_string());
        }),
        Step::Request => world.request(),
        Step::Restart => world.restart(),
        Step::Later(minutes) => world.later(*minutes),
    }
}

/// What each tag of the target's repository names.
fn tags(world: &World) -> BTreeMap<String, Digest> {
    let tags = world.store.tags(PATH).into_iter();
    tags.filter_map(|tag| Some((tag.clone(), world.named(&tag)?))).collect()
}

/// One run, and what may not have happened in it.
async fn run(world: &mut World) {
    let (before, status) = (tags(world), world.status.clone());
    world.run_unchecked().await;
    let after = tags(world);
    let target = &world.spec.target;
    for (tag, named) in &after {
        let then = before.get(tag);
        if then == Some(named) {
            continue;
        }
        assert!(TAGS.contains(&tag.as_str()), "{tag} is not ours");
        let is_additional = target.additional_tags.contains(tag);
        assert!(
            tag == TAG || is_additional || target.platform_tags.is_some(),
            "{tag} is not in the spec"
        );
        // Whoever sees the tag finds all of it.
        world.check_manifest(&world.store.tagged(PATH, tag).unwrap());
        assert!(
            then.is_none() || target.tag_policy != TagPolicy::Immutable,
            "{tag} is written once"
        );
        let is_platforms = tag != TAG && !is_additional;
        // Also one that was let go of, and still names what this object has published.
        let was_ours = then.is_some_and(|then| {
            status.tags.contains(tag)
                || status.platforms.iter().any(|image| image.digest == then.as_str())
        });
        assert!(then.is_none() || !is_platforms || was_ours, "{tag} was something else's");
    }
    assert!(before.keys().all(|tag| after.contains_key(tag)), "nothing is ever deleted");
    let pushed = world.status.last_publish_time.as_ref();
    let is_lag = pushed.is_some_and(|at| world.now.duration_since(at.0).as_mins() < 2);
    if world.ready().0 != "True" || is_lag {
        return;
    }
    let of = |tag: &str| after.get(tag).map(ToString::to_string);
    assert_eq!(of(TAG), world.status.digest, "Ready, and the tag names something else");
    for tag in &world.spec.target.additional_tags {
        assert_eq!(of(tag), world.status.digest, "Ready, and {tag} names something else");
    }
    for image in &world.status.platforms {
        let digest = TagOrDigest::Digest(image.digest.parse().unwrap());
        assert!(world.store.manifest(PATH, &digest).is_some(), "Ready, and {image:?} is gone");
        if world.spec.target.platform_tags.is_some() {
            let tag = format!("{TAG}-{}", image.platform.rsplit('/').next().unwrap());
            assert_eq!(of(&tag).as_ref(), Some(&image.digest), "Ready, and {tag} is not right");
        }
    }
}

/// What happens, each followed by a run or not, and the law's own checks of it all.
fn history(steps: &[(Step, bool)]) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let sources = SOURCES.map(|(path, tag, _)| {
            let mut source = source(tag);
            source.image = format!("{HOST}/{path}:{tag}");
            source
        });
        let mut world = World::new(sources.into());
        world.spec.target.additional_tags = vec!["latest".into()];
        for at in 0..SOURCES.len() {
            push(&world, at, "first");
        }
        run(&mut world).await;
        for (step, runs) in steps {
            play(&mut world, step);
            if *runs {
                run(&mut world).await;
            }
        }
        // Left alone, it comes to rest, whatever is the matter.
        for _ in 0..5 {
            world.later(10);
            run(&mut world).await;
        }
        world.assert_fixpoint().await;
        // In the end all is well again, and nothing more happens.
        world.store.mend();
        for at in 0..SOURCES.len() {
            push(&world, at, "last");
        }
        for tag in &TAGS[3..] {
            world.store.delete_tag(PATH, tag);
        }
        world.later(10);
        world.edit(|spec| {
            spec.removal_policy = RemovalPolicy::Remove;
            spec.target.tag_policy = TagPolicy::Enforce;
        });
        run(&mut world).await;
        world.assert_ready("True", "Succeeded");
        world.later(10);
        let report = world.run().await;
        let target = &world.spec.target;
        let beside = if target.platform_tags.is_some() { SOURCES.len() } else { 0 };
        report.assert_idle(SOURCES.len() + 1 + target.additional_tags.len() + beside);
    });
}

/// Histories that once broke a law.
#[rstest]
#[case::a_platform_tag_is_let_go_of_and_taken_up(&[
    (Step::PlatformTags(true), false),
    (Step::Annotate(0), true),
    (Step::PlatformTags(false), false),
    (Step::Mend, true),
    (Step::PlatformTags(true), false),
    (Step::Push(0, 0), false),
])]
#[case::one_platform_tag_is_taken_and_another_refused(&[
    (Step::Move("1.0-amd64", vec!["linux/riscv64"]), false),
    (Step::FailWrites("1.0-arm64"), false),
    (Step::PlatformTags(true), false),
])]
fn a_history_leaves_every_tag_whole_and_ours(#[case] steps: &[(Step, bool)]) {
    history(steps);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(scale(1000, 100)) })]

    #[test]
    fn no_history_leaves_a_tag_that_is_not_whole_or_not_ours(
        steps in collection::vec((step(), any::<bool>()), 1..30)
    ) {
        history(&steps);
    }
}

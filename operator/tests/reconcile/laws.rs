//! What holds whatever happens: random histories of sources, tags, failures, edits and restarts.

use std::collections::{BTreeMap, BTreeSet};

use multiarch_crds::v1alpha1::{
    Attestations, Format, MultiArchImageStatus, PublishPolicy, RemovalPolicy, Source,
};
use multiarch_operator::{
    oci::{Descriptor, Digest, ImageConfig, Label, Manifest, TagOrDigest},
    registry::memory::Image,
};
use proptest::{collection, prelude::*, sample::select};
use rstest::rstest;

use crate::{scale::scale, world::*};

const PLATFORMS: [(&str, &str); 3] =
    [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("s390x", "linux/s390x")];

#[derive(Clone, Debug)]
enum Step {
    Push(usize, u8),
    Attest(usize, u8),
    Delete(usize),
    Foreign(Vec<&'static str>),
    LoseTag,
    LoseIndex,
    Fail(&'static str),
    Mend,
    Publish(PublishPolicy),
    Removal(RemovalPolicy),
    Optional(usize, bool),
    Retag(usize, bool),
    Drop(usize),
    Annotate(u8),
    Say(usize, u8),
    Attestations(Attestations),
    Match(bool),
    Request,
    Restart,
    Later(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..PLATFORMS.len();
    let foreign = ["linux/amd64", "linux/arm64", "linux/riscv64"];
    prop_oneof![
        4 => (at.clone(), 0..3_u8).prop_map(|(at, salt)| Step::Push(at, salt)),
        1 => (at.clone(), 0..3_u8).prop_map(|(at, salt)| Step::Attest(at, salt)),
        3 => at.clone().prop_map(Step::Delete),
        2 => proptest::sample::subsequence(foreign.to_vec(), 1..=3).prop_map(Step::Foreign),
        1 => Just(Step::LoseTag),
        1 => Just(Step::LoseIndex),
        2 => select(&["amd64", "arm64", "s390x", TAG][..]).prop_map(Step::Fail),
        3 => Just(Step::Mend),
        1 => select(&[PublishPolicy::Complete, PublishPolicy::Partial][..]).prop_map(Step::Publish),
        1 => select(&[RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove][..])
            .prop_map(Step::Removal),
        1 => (1..PLATFORMS.len(), any::<bool>()).prop_map(|(at, is)| Step::Optional(at, is)),
        1 => (at, any::<bool>()).prop_map(|(at, new)| Step::Retag(at, new)),
        1 => (1..PLATFORMS.len()).prop_map(Step::Drop),
        1 => (0..3_u8).prop_map(Step::Annotate),
        1 => (0..PLATFORMS.len(), 0..3_u8).prop_map(|(at, n)| Step::Say(at, n)),
        1 => select(&[Attestations::Keep, Attestations::Drop][..]).prop_map(Step::Attestations),
        1 => any::<bool>().prop_map(Step::Match),
        2 => Just(Step::Request),
        1 => Just(Step::Restart),
        4 => select(&[1_i64, 3, 10][..]).prop_map(Step::Later),
    ]
}

/// The image of a platform that the sources push, of a revision.
fn build(at: usize, revision: &str) -> Image {
    Image::of(PLATFORMS[at].1).salted(revision).labelled(REVISION, revision)
}

const REVISION: &str = "org.opencontainers.image.revision";

/// What the images of the tag's index say of their revision.
fn revisions(world: &World) -> BTreeSet<Label> {
    let images = tagged(world).into_values();
    let label = |digest| {
        let raw = world.store.manifest(PATH, &TagOrDigest::Digest(digest)).unwrap();
        let Manifest::Image(image) = raw.parse().unwrap() else { panic!("an index") };
        let config = world.store.blob(PATH, &image.config.digest).unwrap();
        ImageConfig::labels(&config, &[REVISION.into()]).unwrap().remove(0)
    };
    images.map(label).collect()
}

fn edit(world: &mut World, at: usize, edit: impl FnOnce(&mut Source)) {
    let name = PLATFORMS[at].0;
    if world.spec.sources.iter().any(|source| source.name == name) {
        world.edit(|spec| edit(spec.sources.iter_mut().find(|s| s.name == name).unwrap()));
    }
}

fn play(world: &mut World, step: &Step) {
    match step {
        Step::Push(at, salt) => {
            world.store.push(PATH, Some(PLATFORMS[*at].0), &build(*at, &salt.to_string()));
        }
        Step::Attest(at, salt) => {
            let image = build(*at, &salt.to_string());
            world.store.push_attested(PATH, PLATFORMS[*at].0, &image);
        }
        Step::Delete(at) => world.store.delete_tag(PATH, PLATFORMS[*at].0),
        Step::Foreign(platforms) => {
            world.push_foreign(platforms);
        }
        Step::LoseTag => world.store.delete_tag(PATH, TAG),
        Step::LoseIndex => {
            if let Some(tagged) = world.tagged() {
                world.store.delete_manifest(PATH, tagged.digest());
            }
        }
        Step::Fail(of) => world.fail(of, unavailable),
        Step::Mend => world.store.mend(),
        Step::Publish(policy) => world.edit(|spec| spec.publish_policy = *policy),
        Step::Removal(policy) => world.edit(|spec| spec.removal_policy = *policy),
        Step::Optional(at, is) => edit(world, *at, |source| source.optional = *is),
        Step::Retag(at, new) => edit(world, *at, |source| {
            let tag = PLATFORMS[*at].0;
            source.image = if *new { image(&format!("{tag}-new")) } else { image(tag) };
        }),
        Step::Drop(at) => {
            let name = PLATFORMS[*at].0;
            world.edit(|spec| spec.sources.retain(|source| source.name != name));
        }
        Step::Annotate(n) => world.edit(|spec| {
            spec.annotations.insert("n".into(), n.to_string());
        }),
        Step::Say(at, n) => edit(world, *at, |source| {
            source.annotations.insert("n".into(), n.to_string());
        }),
        Step::Attestations(policy) => world.edit(|spec| spec.attestations = *policy),
        Step::Match(on) => world.edit(|spec| {
            spec.equal_labels = on.then(|| REVISION.to_owned()).into_iter().collect();
        }),
        Step::Request => world.request(),
        Step::Restart => world.restart(),
        Step::Later(minutes) => world.later(*minutes),
    }
}

/// The platforms of an index at the tag, with their images.
fn tagged(world: &World) -> BTreeMap<String, Digest> {
    let Some(Ok(Manifest::Index(index))) = world.tagged().map(|raw| raw.parse()) else {
        return BTreeMap::new();
    };
    let images = index.manifests.into_iter().filter(|child| !child.is_attestation());
    images.map(|child| (child.platform.unwrap().to_string(), child.digest)).collect()
}

/// One run, and what may not have happened in it.
async fn run(world: &mut World) {
    let (before, status) = (tagged(world), world.status.clone());
    let report = world.run().await;
    let after = tagged(world);
    let has: BTreeSet<_> = after.keys().collect();
    let sources = &world.spec.sources;
    if report.count("PUT") == 0 {
        assert_eq!(before, after);
    } else {
        if !world.spec.equal_labels.is_empty() {
            let revisions = revisions(world);
            assert!(revisions.len() == 1 && !revisions.contains(&Label::Absent), "{revisions:?}");
        }
        let attested = world.index().manifests.iter().any(Descriptor::is_attestation);
        assert!(!attested || world.spec.attestations == Attestations::Keep);
        let published: BTreeSet<_> = status.platforms.iter().map(|p| p.digest.clone()).collect();
        let removes = world.spec.removal_policy == RemovalPolicy::Remove;
        if !removes {
            assert!(
                before.keys().all(|platform| has.contains(platform)),
                "the tag lost a platform"
            );
        }
        for source in sources {
            let platform = &source.platforms[0];
            let answers = world.source(&source.name).state;
            let missing = format!("{answers:?}") == "Missing";
            let was = status.platforms.iter().any(|p| p.source == source.name);
            let partial = world.spec.publish_policy == PublishPolicy::Partial;
            let may_lack = source.optional || partial;
            assert!(may_lack || has.contains(platform), "published half");
            assert!(
                !was || has.contains(platform) || (removes && missing && may_lack),
                "a published platform of {} is lost while it is {answers:?}",
                source.name,
            );
            // What is old stands beside nothing new. What something else has put there for the platform, after this source's
            // was let go, is retained as anything else is.
            if missing && was && !source.optional && has.contains(platform) {
                for other in sources.iter().filter(|other| !other.optional) {
                    let image = after.get(&other.platforms[0]);
                    assert!(
                        image.is_none_or(|image| published.contains(image.as_str())),
                        "an old {platform} beside a new {}",
                        other.name,
                    );
                }
            }
        }
    }
    if world.ready().0 == "True" {
        let fresh = world.status.last_publish_time.as_ref();
        let lag = fresh.is_some_and(|at| world.now.duration_since(at.0).as_mins() < 2);
        let named = world.tagged().map(|raw| raw.digest().to_string());
        assert!(lag || named == world.status.digest, "Ready, and the tag names something else");
        for source in sources.iter().filter(|source| !source.optional) {
            let partial = world.spec.publish_policy == PublishPolicy::Partial;
            assert!(
                partial || lag || has.contains(&source.platforms[0]),
                "Ready without {}",
                source.name
            );
        }
    }
}

/// What happens, each followed by a run or not, and the law's own checks of it all.
fn history(steps: &[(Step, bool)]) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let mut world =
            World::new(PLATFORMS.iter().map(|(tag, platform)| declared(tag, platform)).collect());
        for (at, (tag, _)) in PLATFORMS.into_iter().enumerate() {
            world.store.push(PATH, Some(tag), &build(at, "first"));
        }
        run(&mut world).await;
        for (step, runs) in steps {
            play(&mut world, step);
            if *runs {
                run(&mut world).await;
            }
        }
        // In the end all is well again, and nothing more happens.
        world.store.mend();
        for (at, (tag, _)) in PLATFORMS.into_iter().enumerate() {
            world.store.push(PATH, Some(tag), &build(at, "last"));
            world.store.push(PATH, Some(&format!("{tag}-new")), &build(at, "last"));
        }
        world.later(10);
        world.edit(|spec| spec.removal_policy = RemovalPolicy::Remove);
        run(&mut world).await;
        world.assert_ready("True", "Succeeded");
        world.later(10);
        world.run().await.assert_idle(world.spec.sources.len() + 1);
    });
}

/// Histories that once broke a law.
#[rstest]
#[case::what_is_foreign_is_retained_after_an_edit(&[
    (Step::Retag(0, true), false),
    (Step::Removal(RemovalPolicy::Remove), false),
    (Step::Publish(PublishPolicy::Partial), true),
    (Step::Foreign(vec!["linux/amd64"]), false),
    (Step::Removal(RemovalPolicy::Retain), true),
])]
fn a_history_loses_no_platform_and_publishes_no_half(#[case] steps: &[(Step, bool)]) {
    history(steps);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(scale(600, 60)) })]

    #[test]
    fn no_history_loses_a_platform_or_publishes_half(
        steps in collection::vec((step(), any::<bool>()), 1..25)
    ) {
        history(&steps);
    }
}

const OTHER: &str = "ci/app";
const SOURCES: usize = 6;

/// Sources in the `order` given, and a tag that has more; with `reversed`, indexes list their images
/// the other way round. What is published depends on neither.
async fn published(format: Format, order: &[usize], reversed: bool) -> Digest {
    let mut world = World::new(Vec::new());
    world.spec.target.format = format;
    world.spec.removal_policy = RemovalPolicy::Retain;
    let docker = format == Format::Docker;
    if docker {
        world.spec.attestations = Attestations::Drop;
    }
    let image = |platform: &str, salt: &str| {
        let image = Image::of(platform).salted(salt);
        if docker { image.docker() } else { image }
    };
    for &at in order {
        let tag = format!("s{at}");
        let mut source = Source { image: format!("{HOST}/{OTHER}:{tag}"), ..source(&tag) };
        let listed = |platform: &str| {
            let child = world.listed(OTHER, &image(platform, ""));
            // Two sources attest with the same bytes, so that what stands first could decide.
            let about = ["same", "more"].map(|salt| world.attestation(OTHER, &child, salt));
            [vec![child], about.into()].concat()
        };
        let mut children = match at {
            0 => [listed("linux/arm/v7"), listed("linux/riscv64")].concat(),
            1 => listed("linux/arm64/v8"),
            2 => listed("windows(10.0.17763.1)/amd64"),
            _ => Vec::new(),
        };
        if reversed {
            children.reverse();
        }
        match at {
            3 => world.store.push(OTHER, Some(&tag), &image("windows(10.0.17763.2)/amd64", "")),
            4 => world.store.push(OTHER, Some(&tag), &image("linux/amd64", "gzip")),
            5 => world.store.push(
                OTHER,
                Some(&tag),
                &image(["linux/amd64", "linux/386"][usize::from(docker)], "zstd"),
            ),
            _ => world.store.push_index(OTHER, Some(&tag), children),
        };
        if !docker {
            source.annotations.insert("com.example.source".into(), tag);
        }
        if !docker && at == 5 {
            let zstd = "io.github.containers.compression.zstd";
            source.annotations.insert(zstd.into(), "true".into());
        }
        world.spec.sources.push(source);
    }
    let stays = world.listed(PATH, &image("linux/s390x", "old"));
    let about = world.attestation(PATH, &stays, "old");
    world.store.push_index(PATH, Some(TAG), vec![stays, about]);
    world.run().await;
    world.assert_ready("True", "Succeeded");
    let (images, attestations) = if docker { (8, 0) } else { (8, 9) };
    assert_eq!(world.status.platforms.len(), images);
    assert_eq!(world.index().manifests.len(), images + attestations);
    let digest = world.tagged().unwrap().digest().clone();
    // Another replica, which remembers nothing, adopts it.
    world.status = MultiArchImageStatus::default();
    assert_eq!(world.run().await.count("PUT"), 0);
    digest
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn five_runs_of_shuffled_sources_give_one_digest(
        format in select(&[Format::Oci, Format::Docker][..]),
        runs in collection::vec(
            (Just((0..SOURCES).collect::<Vec<_>>()).prop_shuffle(), any::<bool>()), 4
        ),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
            let straight = published(format, &(0..SOURCES).collect::<Vec<_>>(), false).await;
            for (order, reversed) in runs {
                assert_eq!(published(format, &order, reversed).await, straight);
            }
        });
    }
}

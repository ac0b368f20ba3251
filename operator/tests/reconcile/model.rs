//! Two objects in one repository, through long random histories of pushes, clean-ups, faults, edits, kills and restarts: what the API
//! promises holds after every run, and all ends well when the trouble does.

#[path = "model/law.rs"]
mod law;
#[path = "model/step.rs"]
mod step;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use multiarch_crds::v1alpha1::{MultiArchImage, RemovalPolicy, Source, TagPolicy};
use multiarch_operator::{
    oci::{Digest, Manifest, RawManifest},
    reconcile::claims::{Claimant, Claims},
    registry::{
        RegistryError,
        memory::{Image, Store},
    },
};
use proptest::{collection, prelude::ProptestConfig, test_runner::TestRunner};

use self::step::{Edit, Fault, Step, Who, step};
use crate::{scale::scale, world::*};

/// Where each source is: repository, tag and platform. The first one is in the target's repository.
const REPOSITORIES: [(&str, &str, &str); 3] = [
    (PATH, "amd64", "linux/amd64"),
    ("ci/a", "arm64", "linux/arm64"),
    ("ci/b", "s390x", "linux/s390x"),
];

/// Every tag of the target's repository that may be an object's, but for those of the platforms of the second one.
const TAGS: [&str; 8] =
    [TAG, "2.0", "latest", "1", "1.0-amd64", "1.0-arm64", "1.0-s390x", "1.0-riscv64"];

/// The targets' tags.
const OWN: [&str; 2] = [TAG, "2.0"];

const REVISION: &str = "org.opencontainers.image.revision";

/// All of a history.
struct Model {
    store: Store,
    objects: [World; 2],
    faults: Vec<Fault>,
    is_protected: bool,
    lag: Option<u8>,
    /// Every image and attestation that anybody has pushed.
    pushed: HashSet<Digest>,
    /// What the target's tags were seen to name in the run at hand: tag and digest.
    read: Arc<Mutex<HashSet<(String, Digest)>>>,
    /// What each object has put under which tag.
    wrote: [BTreeMap<String, Digest>; 2],
    /// The reasons of Ready after each run, and how often.
    shown: BTreeMap<String, usize>,
}

/// What is compared before and after a run.
struct Before {
    tags: BTreeMap<String, Digest>,
    status: multiarch_crds::v1alpha1::MultiArchImageStatus,
    images: BTreeMap<String, Digest>,
}

impl Model {
    fn new() -> Self {
        let first = World::new(Vec::new());
        let store = first.store.clone();
        let mut second = World::new(Vec::new());
        second.store = store.clone();
        let mut model = Self {
            store,
            objects: [first, second],
            faults: Vec::new(),
            is_protected: false,
            lag: None,
            pushed: HashSet::new(),
            read: Arc::default(),
            wrote: Default::default(),
            shown: BTreeMap::new(),
        };
        for (who, own) in OWN.into_iter().enumerate() {
            let spec = &mut model.objects[who].spec;
            spec.target.image = image(own);
            spec.sources = (0..REPOSITORIES.len()).map(source_at).collect();
        }
        model.objects[0].spec.target.additional_tags = vec!["latest".into()];
        for at in 0..REPOSITORIES.len() {
            model.push(at, "first", false);
        }
        model.install();
        model
    }

    /// The faults at work, and behind them who notes what is read.
    fn install(&self) {
        self.store.mend();
        if self.is_protected {
            self.store.protect();
        }
        for fault in &self.faults {
            fault.install(&self.store);
        }
        if let Some(looks) = self.lag {
            self.objects[0].lag(looks.into());
        }
        let (store, read) = (self.store.clone(), Arc::clone(&self.read));
        let note = move |request: &multiarch_operator::registry::Request| {
            let tag = request.of.strip_prefix(PATH).and_then(|rest| rest.strip_prefix(':'));
            if let Some(tag) = tag.filter(|_| matches!(request.method, "HEAD" | "GET"))
                && let Some(named) = store.tagged(PATH, tag)
            {
                read.lock().unwrap().insert((tag.into(), named.digest().clone()));
            }
            false
        };
        let never = |_: &multiarch_operator::registry::Request| -> RegistryError { unreachable!() };
        self.store.fail(note, never);
    }

    fn push(&mut self, at: usize, salt: &str, attested: bool) {
        let (path, tag, platform) = REPOSITORIES[at];
        let image = Image::of(platform).salted(salt).labelled(REVISION, salt);
        if attested {
            self.store.push_attested(path, tag, &image);
        } else {
            self.store.push(path, Some(tag), &image);
        }
        let tagged = self.store.tagged(path, tag).unwrap();
        self.know(&tagged);
    }

    /// What `manifest` is, or lists, may be published.
    fn know(&mut self, manifest: &RawManifest) {
        self.pushed.insert(manifest.digest().clone());
        if let Ok(Manifest::Index(index)) = manifest.parse() {
            self.pushed.extend(index.manifests.into_iter().map(|child| child.digest));
        }
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Push(at, salt) => self.push(*at, &salt.to_string(), false),
            Step::Attest(at, salt) => self.push(*at, &salt.to_string(), true),
            Step::Clean(at) => self.store.delete_tag(REPOSITORIES[*at].0, REPOSITORIES[*at].1),
            Step::Lose(at) => {
                let (path, tag, _) = REPOSITORIES[*at];
                if let Some(raw) = self.store.tagged(path, tag) {
                    self.store.delete_manifest(path, raw.digest());
                }
            }
            Step::Move(tag, platforms) => {
                self.objects[0].push_foreign_as(tag, platforms);
                let moved = self.store.tagged(PATH, tag).unwrap();
                self.know(&moved);
            }
            Step::Delete(tag) => self.store.delete_tag(PATH, tag),
            Step::Collect(who, n) => {
                let status = &self.objects[*who].status;
                let image = status.platforms.get(*n).map(|image| image.digest.clone());
                if let Some(lost) = image.or_else(|| status.digest.clone()) {
                    self.store.delete_manifest(PATH, &lost.parse().unwrap());
                }
            }
            Step::Break(which, how, times) => self.faults.push(Fault::new(*which, *how, *times)),
            Step::Protect => self.is_protected = true,
            Step::Lag(looks) => self.lag = Some(*looks),
            Step::Mend => self.mend(),
            Step::Edit(who, edit) => edit_object(&mut self.objects[*who], *who, edit),
            Step::Request(who) => self.objects[*who].request(),
            Step::Restart => self.objects.iter_mut().for_each(World::restart),
            Step::Later(minutes) => self.later(*minutes),
            Step::Kill(..) | Step::Fight(_) | Step::Rest | Step::Calm => {
                unreachable!("they are runs")
            }
        }
    }

    fn mend(&mut self) {
        self.faults.clear();
        self.is_protected = false;
        self.lag = None;
    }

    fn later(&mut self, minutes: i64) {
        self.objects.iter_mut().for_each(|world| world.later(minutes));
    }

    /// What the other object keeps.
    fn claims(&self, who: Who) -> Claims {
        let object = |who: Who| {
            let world = &self.objects[who];
            let mut object = MultiArchImage::new(&format!("object-{who}"), world.spec.clone());
            object.metadata.namespace = Some("team".into());
            object.metadata.uid = Some(who.to_string());
            let created = Timestamp::constant(1_700_000_000, 0);
            object.metadata.creation_timestamp = Some(Time(created));
            object
        };
        let (own, other) = (object(who), object(1 - who));
        let target: multiarch_operator::oci::Reference =
            self.objects[who].spec.target.image.parse().unwrap();
        let own = Claimant { object: &own, status: &self.objects[who].status };
        let other = Claimant { object: &other, status: &self.objects[1 - who].status };
        Claims::against(own, target.repository(), [other])
    }

    /// What each tag of the target's repository names.
    fn tags(&self) -> BTreeMap<String, Digest> {
        let tags = self.store.tags(PATH).into_iter();
        tags.filter_map(|tag| {
            let named = self.store.tagged(PATH, &tag)?;
            Some((tag, named.digest().clone()))
        })
        .collect()
    }

    /// The images of what the target's tag of an object names, by platform.
    fn images(&self, who: Who) -> BTreeMap<String, Digest> {
        let named = self.store.tagged(PATH, self.objects[who].tag());
        let Some(Ok(Manifest::Index(index))) = named.map(|raw| raw.parse()) else {
            return BTreeMap::new();
        };
        let images = index.manifests.into_iter().filter(|child| !child.is_attestation());
        images.map(|child| (child.platform.unwrap().to_string(), child.digest)).collect()
    }

    fn before(&self, who: Who) -> Before {
        let status = self.objects[who].status.clone();
        Before { tags: self.tags(), status, images: self.images(who) }
    }

    /// One run of an object, and what may not have happened in it.
    async fn run(&mut self, who: Who) -> Report {
        self.install();
        let before = self.before(who);
        self.read.lock().unwrap().clear();
        self.objects[who].claims = self.claims(who);
        let report = self.objects[who].run_unchecked().await;
        self.holds_after_run(who, &before, &report);
        self.note_writes(who, &before);
        self.what_it_wrote_is_its_own(who);
        let reason = self.objects[who].ready().1.to_owned();
        *self.shown.entry(reason).or_default() += 1;
        report
    }

    /// The same where the operator is killed in it.
    async fn kill(&mut self, who: Who, requests: usize) {
        self.install();
        let before = self.before(who);
        self.objects[who].claims = self.claims(who);
        self.objects[who].killed_after(requests).await;
        self.objects[1 - who].restart();
        self.holds_after_kill(who, &before);
        self.note_writes(who, &before);
    }

    /// Something else writes the object's tag as often as it is put back, and more often than that.
    async fn fight(&mut self, who: Who) {
        for round in 0..5 {
            let platform = ["linux/amd64", "linux/arm64"][round % 2];
            let tag = self.objects[who].tag().to_owned();
            self.objects[who].push_foreign_as(&tag, &[platform]);
            let moved = self.store.tagged(PATH, &tag).unwrap();
            self.know(&moved);
            // A look, and one that confirms it.
            for _ in 0..2 {
                self.later(2);
                self.run(who).await;
            }
        }
    }

    /// Left alone, it comes to rest, whatever is the matter.
    async fn rest(&mut self) {
        // What never shows what is pushed is pushed to for ever.
        self.lag = None;
        for _ in 0..8 {
            self.later(10);
            for who in [0, 1] {
                self.run(who).await;
            }
        }
        self.later(10);
        for who in [0, 1] {
            let report = self.run(who).await;
            assert!(!report.changed && report.events.is_empty(), "{report:#?}");
            // What a registry refuses is tried again.
            let is_well = self.objects[who].ready().0 == "True";
            assert!(!is_well || report.count("PUT") == 0, "{report:#?}");
        }
    }

    /// In the end all is well again, within a few looks, and then nothing more happens.
    async fn calm(&mut self) {
        self.mend();
        for at in 0..REPOSITORIES.len() {
            self.push(at, "calm", false);
        }
        for tag in TAGS.iter().filter(|tag| tag.starts_with("1.0-")) {
            self.store.delete_tag(PATH, tag);
        }
        for who in [0, 1] {
            self.objects[who].edit(|spec| {
                spec.target.image = image(OWN[who]);
                spec.removal_policy = RemovalPolicy::Remove;
                spec.target.tag_policy = TagPolicy::Enforce;
                spec.target.additional_tags.retain(|_| who == 0);
                spec.target.platform_tags = spec.target.platform_tags.take().filter(|_| who == 0);
                spec.required_platforms.clear();
            });
        }
        for _ in 0..3 {
            self.later(10);
            // The second one lets go of what the first one is to have.
            for who in [1, 0] {
                self.run(who).await;
            }
        }
        self.later(10);
        for who in [0, 1] {
            self.objects[who].assert_ready("True", "Succeeded");
            let report = self.run(who).await;
            let (spec, images) = (&self.objects[who].spec, self.images(who));
            let platforms = if spec.target.platform_tags.is_some() { images.len() } else { 0 };
            let tags = 1 + spec.target.additional_tags.len() + platforms;
            assert!(images.len() >= spec.sources.len(), "{images:?}");
            report.assert_idle(spec.sources.len() + tags);
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Kill(who, requests) => self.kill(*who, (*requests).into()).await,
            Step::Fight(who) => self.fight(*who).await,
            Step::Rest => self.rest().await,
            Step::Calm => self.calm().await,
            step => self.play(step),
        }
    }
}

fn source_at(at: usize) -> Source {
    let (path, tag, platform) = REPOSITORIES[at];
    Source { image: format!("{HOST}/{path}:{tag}"), ..declared(tag, platform) }
}

fn edit_object(world: &mut World, who: Who, edit: &Edit) {
    let edit_source = |world: &mut World, at: usize, edit: &dyn Fn(&mut Source)| {
        let name = REPOSITORIES[at].1;
        world.edit(|spec| spec.sources.iter_mut().filter(|s| s.name == name).for_each(edit));
    };
    match edit {
        Edit::Tags(policy) => world.edit(|spec| spec.target.tag_policy = *policy),
        Edit::Removal(policy) => world.edit(|spec| spec.removal_policy = *policy),
        Edit::Publish(policy) => world.edit(|spec| spec.publish_policy = *policy),
        Edit::Attestations(policy) => world.edit(|spec| spec.attestations = *policy),
        // Not all may be optional.
        Edit::Optional(at, is) if *at > 0 => {
            edit_source(world, *at, &|source| source.optional = *is);
        }
        Edit::Optional(..) => {}
        Edit::Drop(at) => world.edit(|spec| {
            if *at > 0 {
                spec.sources.retain(|source| source.name != REPOSITORIES[*at].1);
            }
        }),
        Edit::Add(at) => world.edit(|spec| {
            if spec.sources.iter().all(|source| source.name != REPOSITORIES[*at].1) {
                spec.sources.push(source_at(*at));
            }
        }),
        Edit::Annotate(n) => world.edit(|spec| {
            spec.annotations.insert("n".into(), n.to_string());
        }),
        Edit::Say(at, n) => edit_source(world, *at, &|source| {
            source.annotations.insert("n".into(), n.to_string());
        }),
        Edit::Beside(tags) => world.edit(|spec| {
            spec.target.additional_tags = tags.iter().map(|tag| (*tag).into()).collect();
        }),
        Edit::PlatformTags(on) => world.edit(|spec| {
            spec.target.platform_tags = on.then(|| "{tag}-{arch}".into());
        }),
        Edit::Match(on) => world.edit(|spec| {
            spec.equal_labels = on.then(|| REVISION.to_owned()).into_iter().collect();
        }),
        Edit::Require(on) => world.edit(|spec| {
            spec.required_platforms = on.then(|| "linux/s390x".to_owned()).into_iter().collect();
        }),
        Edit::Retarget(other) => world.edit(|spec| {
            spec.target.image = image(OWN[if *other { 1 - who } else { who }]);
        }),
    }
}

/// How long a history may be.
const STEPS: usize = 300;

/// What has to come up, or the histories show nothing of it.
const SHOWN: [&str; 14] = [
    "AccessDenied",
    "AuthenticationFailed",
    "ChildMissing",
    "DriftDetected",
    "DriftLoop",
    "RateLimited",
    "ReadingBack",
    "RegistryUnreachable",
    "Succeeded",
    "TagImmutable",
    "TargetConflict",
    "TimedOut",
    "WaitingForPlatforms",
    "WouldShrink",
];

#[test]
#[allow(clippy::print_stdout, reason = "what was seen is what a soak is for")]
fn whatever_happens_the_promises_hold() {
    let histories =
        collection::vec((step(), proptest::option::weighted(0.6, 0..2_usize)), 1..=STEPS);
    let cases = scale(200, 20);
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 10_000,
        ..ProptestConfig::with_cases(cases)
    };
    let shown = Mutex::new(BTreeMap::<String, usize>::new());
    let steps_taken = Mutex::new(0);
    let run = TestRunner::new(config).run(&histories, |steps| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
            let mut model = Model::new();
            for who in [0, 1] {
                model.run(who).await;
            }
            for (step, who) in &steps {
                model.step(step).await;
                if let Some(who) = who {
                    model.run(*who).await;
                }
            }
            model.rest().await;
            model.calm().await;
            let mut shown = shown.lock().unwrap();
            for (reason, times) in model.shown {
                *shown.entry(reason).or_default() += times;
            }
        });
        *steps_taken.lock().unwrap() += steps.len();
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    let (shown, steps) = (shown.into_inner().unwrap(), steps_taken.into_inner().unwrap());
    let runs: usize = shown.values().sum();
    println!("model: {cases} histories, {steps} steps, {runs} runs: {shown:?}");
    // A tenth may miss one.
    let missing: Vec<_> = SHOWN.iter().filter(|reason| !shown.contains_key(**reason)).collect();
    assert!(missing.is_empty() || scale(1, 0) == 0, "no history came to {missing:?}");
}

//! A registry in memory and one object, run after run as the controller does it: status → Memory → run → status.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};
use multiarch_crds::{
    condition::{self, Type},
    v1alpha1::{MultiArchImageSpec, MultiArchImageStatus, SecretRef, Source, SourceStatus, Target},
};
use multiarch_operator::{
    error::{Failure, Retry},
    events,
    keychain::{DockerConfig, Keychain},
    nodes::View,
    oci::{
        Descriptor, Digest, ImageConfig, Index, Manifest, RawManifest, Reference, Repository,
        TagOrDigest, media_type,
    },
    reconcile::{
        self, Job, Stage,
        busy::{Busy, Who},
        claims::Claims,
        memory::Memory,
        referrers::Looks,
        since::Since,
        sources::Sources,
        status::{self, About, Outcome, Run},
        tags::Corrections,
        writer::{Ask, Writer},
    },
    registry::{
        RegistryError, Request,
        memory::{Image, Store},
    },
};
use tokio::time::Instant;

pub(crate) const HOST: &str = "r.example";
pub(crate) const PATH: &str = "team/app";
pub(crate) const TAG: &str = "1.0";

/// One object and what it sees.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) spec: MultiArchImageSpec,
    pub(crate) status: MultiArchImageStatus,
    pub(crate) now: Timestamp,
    pub(crate) secrets: HashMap<String, String>,
    generation: i64,
    requested_at: Option<String>,
    failures: u32,
    /// What is refused is put off, from the next run on and until this is taken back.
    pub(crate) put_off: bool,
    /// The last run but those that put it off was refused something, for the spec of this generation.
    refused: Option<i64>,
    corrections: Corrections,
    looks: Looks,
    cut_off: Option<(i64, Digest)>,
    /// What other objects keep.
    pub(crate) claims: Claims,
    /// What the run at hand has said in the status.
    said: Mutex<MultiArchImageStatus>,
}

/// What one run did.
#[derive(Debug)]
pub(crate) struct Report {
    /// `HEAD manifest team/app:1.0`, sorted.
    pub(crate) requests: Vec<String>,
    /// How many of them look for images and attestations that the status shows as published.
    pub(crate) children: usize,
    /// The status was written.
    pub(crate) changed: bool,
    /// The Events by reason.
    pub(crate) events: Vec<String>,
    /// What they say.
    pub(crate) notes: Vec<String>,
    /// When it runs again, where that is not the interval.
    pub(crate) retry: Option<Retry>,
}

pub(crate) fn image(tag: &str) -> String {
    format!("{HOST}/{PATH}:{tag}")
}

/// A source that is called as its tag.
pub(crate) fn source(tag: &str) -> Source {
    Source { name: tag.into(), image: image(tag), ..Source::default() }
}

pub(crate) fn optional(tag: &str) -> Source {
    Source { optional: true, ..source(tag) }
}

/// A source of which the platform is declared.
pub(crate) fn declared(tag: &str, platform: &str) -> Source {
    Source { platforms: vec![platform.into()], ..source(tag) }
}

impl World {
    /// An object with a source for each of `tags`, and nothing in the registry.
    pub(crate) fn new(sources: Vec<Source>) -> Self {
        let target = Target { image: image(TAG), ..Target::default() };
        Self {
            store: Store::new(),
            spec: MultiArchImageSpec { target, sources, ..MultiArchImageSpec::default() },
            status: MultiArchImageStatus {
                observed_generation: Some(-1),
                ..MultiArchImageStatus::default()
            },
            now: Timestamp::constant(1_800_000_000, 0),
            secrets: HashMap::new(),
            generation: 1,
            requested_at: None,
            failures: 0,
            put_off: false,
            refused: None,
            corrections: Corrections::default(),
            looks: Looks::default(),
            cut_off: None,
            claims: Claims::default(),
            said: Mutex::default(),
        }
    }

    /// The sources amd64 and arm64, each with an image.
    pub(crate) fn pair() -> Self {
        let world = Self::new(vec![source("amd64"), source("arm64")]);
        world.push("amd64", "linux/amd64");
        world.push("arm64", "linux/arm64");
        world
    }

    /// The same, published.
    pub(crate) async fn published() -> Self {
        let mut world = Self::pair();
        world.run().await;
        world.assert_ready("True", "Succeeded");
        world.later(10);
        world
    }

    pub(crate) fn push(&self, tag: &str, platform: &str) -> Descriptor {
        self.store.push_image(PATH, tag, platform)
    }

    /// Another image of `platform` under `tag`.
    pub(crate) fn move_to(&self, tag: &str, platform: &str, salt: &str) -> Descriptor {
        self.store.push(PATH, Some(tag), &Image::of(platform).salted(salt))
    }

    /// `image` in the repository `path`, as an index lists it.
    pub(crate) fn listed(&self, path: &str, image: &Image) -> Descriptor {
        let descriptor = self.store.push(path, None, image);
        Descriptor { platform: Some(image.platform.clone()), ..descriptor }
    }

    /// An attestation manifest about the image `about`, as an index lists it.
    pub(crate) fn attestation(&self, path: &str, about: &Descriptor, salt: &str) -> Descriptor {
        let mut attestation = self.listed(path, &Image::of("unknown/unknown").salted(salt));
        attestation.annotations = BTreeMap::from([
            ("vnd.docker.reference.type".into(), "attestation-manifest".into()),
            ("vnd.docker.reference.digest".into(), about.digest.to_string()),
        ]);
        attestation
    }

    /// A Docker manifest list of `children` in the order given.
    pub(crate) fn push_list(&self, path: &str, tag: &str, children: Vec<Descriptor>) -> Descriptor {
        let list = Index {
            media_type: media_type::DOCKER_LIST.into(),
            manifests: children,
            ..Index::new(Vec::new(), BTreeMap::new())
        };
        self.store.push_manifest(path, Some(tag), &list.to_raw())
    }

    /// An image of `platform` that no source names, as an index lists it.
    pub(crate) fn foreign(&self, platform: &str) -> Descriptor {
        self.listed(PATH, &Image::of(platform).salted("foreign"))
    }

    /// Something else pushes an index to the target's tag.
    pub(crate) fn push_foreign(&self, platforms: &[&str]) -> Descriptor {
        self.push_foreign_as(TAG, platforms)
    }

    /// Something else pushes an index to `tag`.
    pub(crate) fn push_foreign_as(&self, tag: &str, platforms: &[&str]) -> Descriptor {
        let children = platforms.iter().map(|platform| self.foreign(platform)).collect();
        self.store.push_index(PATH, Some(tag), children)
    }

    /// Changes the spec, which is a new generation.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut MultiArchImageSpec)) {
        edit(&mut self.spec);
        self.generation += 1;
    }

    /// A person asks for a run.
    pub(crate) fn request(&mut self) {
        self.requested_at = Some(self.now.to_string());
    }

    pub(crate) fn later(&mut self, minutes: i64) {
        self.now += SignedDuration::from_mins(minutes);
    }

    /// The operator is killed and started again.
    pub(crate) fn restart(&mut self) {
        self.failures = 0;
        self.refused = None;
        self.corrections = Corrections::default();
        self.looks = Looks::default();
        self.cut_off = None;
    }

    /// A Secret with a credential for [`HOST`].
    pub(crate) fn secret(&mut self, name: &str, username: &str) {
        let auths = serde_json::json!({HOST: {"username": username, "password": "p"}});
        self.secrets.insert(name.into(), serde_json::json!({"auths": auths}).to_string());
    }

    pub(crate) fn push_secret(&mut self, name: &str) {
        self.spec.target.secret_ref = Some(SecretRef { name: name.into() });
    }

    /// Runs as the controller does, up to the status that it would write.
    pub(crate) async fn run(&mut self) -> Report {
        let report = self.run_unchecked().await;
        self.check_tags();
        report
    }

    /// As [`Self::run`] where tags name what is not there.
    pub(crate) async fn run_unchecked(&mut self) -> Report {
        let requested = self.is_requested();
        let stage = Stage::default();
        self.store.forget();
        let timeout = self.spec.timeout.into();
        *self.said.get_mut().unwrap() = self.status.clone();
        let (run, at) = {
            let attempt = tokio::time::timeout(timeout, self.attempt(&stage, requested));
            let mut attempt = std::pin::pin!(attempt);
            (attempt.as_mut().await, stage.blob())
        };
        let before = std::mem::replace(&mut self.status, self.said.get_mut().unwrap().clone());
        let run = run.unwrap_or_else(|_| {
            let now = at.map(|blob| (self.generation, blob));
            let again = now.as_ref().filter(|now| self.cut_off.as_ref() == Some(now));
            let again = again.map(|(_, blob)| blob);
            let late = Failure::timed_out(timeout, &stage.now(), again);
            self.cut_off = now;
            Run::without_answers(Outcome::Held(late))
        });
        let mut requests: Vec<_> = self.store.requests().iter().map(ToString::to_string).collect();
        requests.sort();
        let retry = run.failure().map(|failure| failure.consequence.retry);
        if let Some(followed) = &run.referrers {
            self.looks = followed.looks.clone();
        }
        if requested || self.status.observed_generation != Some(self.generation) {
            self.failures = 0;
            self.corrections = Corrections::default();
        }
        if run.put_back {
            self.corrections.count(self.now);
        }
        let is_refused = matches!(retry, Some(Retry::Refused { .. }))
            || (self.is_put_off(requested) && retry.is_none());
        self.refused = is_refused.then_some(self.generation);
        self.failures = match retry {
            Some(Retry::Backoff | Retry::After(_) | Retry::Refused { .. }) => self.failures + 1,
            Some(Retry::Interval) | None => 0,
        };
        let about = About {
            generation: Some(self.generation),
            requested_at: self.requested_at.clone(),
            failures: self.failures,
            repository: Some(self.repository()),
            nodes: View::Off,
            now: self.now,
        };
        let next = status::next(&self.status, &about, &run);
        assert_eq!(status::next(&next, &about, &run), next, "not a fixpoint");
        let told = events::between(&self.status, &next, &run);
        let changed = next != before || self.status != before;
        // Through the API server and back.
        self.status = serde_json::from_value(serde_json::to_value(&next).unwrap()).unwrap();
        assert_eq!(self.status, next);
        self.check();
        let shown =
            self.status.platforms.iter().flat_map(|p| p.attestations.iter().chain([&p.digest]));
        let shown: Vec<_> = shown.map(|digest| format!("HEAD manifest {PATH}@{digest}")).collect();
        Report {
            children: requests.iter().filter(|request| shown.contains(request)).count(),
            requests,
            changed,
            notes: told.iter().map(|told| told.note.clone()).collect(),
            events: told.into_iter().map(|told| told.reason.to_owned()).collect(),
            retry,
        }
    }

    /// One run, without a limit of time, and without what becomes of it.
    async fn attempt(&self, stage: &Stage, requested: bool) -> Run {
        let sources = Sources::parse(&self.spec).unwrap();
        let memory = Memory::of(&self.status, Some(self.generation), &sources);
        let secrets = self
            .secrets
            .iter()
            .map(|(name, json)| (name.clone(), DockerConfig::parse(name, json.as_bytes())));
        let keychain = Keychain::with(secrets.collect());
        let (writer, mut asks) = Writer::new(Busy::default(), Who::default());
        let job = Job {
            registry: &self.store,
            sources: &sources,
            keychain: &keychain,
            memory: &memory,
            requested,
            put_off: self.is_put_off(requested),
            looks: &self.looks,
            claims: &self.claims,
            writer: &writer,
            corrections: &self.corrections,
            now: self.now,
            since: Since::anew(Instant::now()),
            stage,
        };
        let mut run = Box::pin(reconcile::run(&job));
        loop {
            tokio::select! {
                run = &mut run => return run,
                Some(Ask { tags, said }) = asks.recv() => {
                    let mut status = self.said.lock().unwrap();
                    *status = status::intending(&status, &tags);
                    said.send(self.claims.clone()).unwrap();
                }
            }
        }
    }

    /// Is killed in a run when it makes a request after so many, or before it writes its status; and is started again.
    pub(crate) async fn killed_after(&mut self, requests: usize) {
        self.store.forget();
        let store = self.store.clone();
        self.store.hang(move |_| store.requests().len() > requests);
        let (stage, timeout) = (Stage::default(), self.spec.timeout.into());
        let requested = self.is_requested();
        *self.said.get_mut().unwrap() = self.status.clone();
        // The clock stands still while anything moves, so it is over only when nothing does.
        let _ = tokio::time::timeout(timeout, self.attempt(&stage, requested)).await;
        self.status = self.said.get_mut().unwrap().clone();
        self.restart();
    }

    fn is_put_off(&self, requested: bool) -> bool {
        self.put_off && !requested && self.refused == Some(self.generation)
    }

    fn is_requested(&self) -> bool {
        self.requested_at.is_some() && self.requested_at != self.status.last_handled_reconcile_at
    }

    /// The target's tag.
    pub(crate) fn tag(&self) -> &str {
        self.spec.target.image.rsplit(':').next().unwrap()
    }

    /// The target's repository.
    pub(crate) fn repository(&self) -> Repository {
        self.spec.target.image.parse::<Reference>().unwrap().repository().clone()
    }

    /// The generation of the spec.
    pub(crate) fn generation(&self) -> i64 {
        self.generation
    }

    /// What holds after every run.
    fn check(&self) {
        let shown = |kind| condition::get(&self.status.conditions, kind);
        for kind in [Type::Ready, Type::Published, Type::PlatformsComplete, Type::SourcesResolved] {
            assert!(shown(kind).is_some(), "{kind} is always shown");
        }
        assert!(shown(Type::Stalled).is_none() || shown(Type::Reconciling).is_none());
        assert_eq!(self.status.observed_generation, Some(self.generation));
        assert_eq!(self.status.last_handled_reconcile_at, self.requested_at);
        for condition in &self.status.conditions {
            assert!(!condition.message.is_empty(), "{} says nothing", condition.type_);
            assert!(condition.message.len() <= 1024);
        }
        for source in &self.status.sources {
            assert!(source.message.as_ref().is_none_or(|message| message.len() <= 256));
        }
    }

    /// Whatever the tags name is whole, and they name what the status says where Ready is True.
    fn check_tags(&self) {
        let pushed = self.status.last_publish_time.as_ref();
        let is_lag = pushed.is_some_and(|at| self.now.duration_since(at.0).as_mins() < 2);
        for tag in self.status.tags.iter().map(String::as_str).chain([TAG]) {
            let Some(named) = self.store.tagged(PATH, tag) else { continue };
            self.check_manifest(&named);
        }
        if self.ready().0 != "True" || is_lag {
            return;
        }
        let images = self.status.platforms.iter().map(|image| &image.digest);
        let known: Vec<_> = images.chain(&self.status.digest).collect();
        for (n, tag) in self.status.tags.iter().enumerate() {
            let named = self.named(tag).map(|digest| digest.to_string());
            assert!(named.as_ref().is_some_and(|named| known.contains(&named)), "{tag}: {named:?}");
            let is_of_the_index = n <= self.spec.target.additional_tags.len();
            assert_eq!(named == self.status.digest, is_of_the_index, "{tag}");
        }
    }

    /// Nothing changes but the time: nothing is written or told any more.
    pub(crate) async fn assert_fixpoint(&mut self) {
        self.later(10);
        let tags = self.store.tags(PATH).into_iter().map(|tag| (self.named(&tag), tag));
        let before: Vec<_> = tags.collect();
        let was = self.status.clone();
        let report = self.run_unchecked().await;
        assert!(before.iter().all(|(named, tag)| self.named(tag) == *named), "{report:#?}");
        // What a refused push was to write is said again before it is tried again.
        let rests = self.status == was && report.events.is_empty();
        assert!(rests, "{report:#?}\n{was:#?}\n{:#?}", self.status);
    }

    /// What `tag` names.
    pub(crate) fn named(&self, tag: &str) -> Option<Digest> {
        self.store.tagged(PATH, tag).map(|raw| raw.digest().clone())
    }

    /// `raw` is whole.
    pub(crate) fn check_manifest(&self, raw: &RawManifest) {
        match raw.parse() {
            Ok(Manifest::Index(index)) => {
                for child in index.manifests {
                    let child = self.store.manifest(PATH, &TagOrDigest::Digest(child.digest));
                    self.check_manifest(&child.unwrap());
                }
            }
            Ok(Manifest::Image(image)) => {
                let layers = image.layers.iter().filter(|layer| layer.urls.is_empty());
                for blob in layers.chain([&image.config]) {
                    assert!(self.store.blob(PATH, &blob.digest).is_some(), "{blob:?} is dangling");
                }
            }
            Err(_) => {}
        }
    }

    /// What the target's tag names.
    pub(crate) fn tagged(&self) -> Option<RawManifest> {
        self.store.tagged(PATH, TAG)
    }

    /// The index that the target's tag names.
    pub(crate) fn index(&self) -> Index {
        match self.tagged().unwrap().parse().unwrap() {
            Manifest::Index(index) => index,
            Manifest::Image(_) => panic!("the tag names an image"),
        }
    }

    /// The platforms of what the target's tag names: an index, or an image that is mirrored.
    pub(crate) fn platforms(&self) -> Vec<String> {
        let index = match self.tagged().unwrap().parse().unwrap() {
            Manifest::Index(index) => index,
            Manifest::Image(image) => {
                let config = self.store.blob(PATH, &image.config.digest).unwrap();
                return vec![
                    ImageConfig::parse(&config).unwrap().platform.normalized().to_string(),
                ];
            }
        };
        let images = index.manifests.iter().filter(|child| !child.is_attestation());
        images.map(|child| child.platform.as_ref().unwrap().normalized().to_string()).collect()
    }

    /// The images that the status shows.
    pub(crate) fn digests_of_status(&self) -> Vec<Digest> {
        self.status.platforms.iter().map(|image| image.digest.parse().unwrap()).collect()
    }

    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.index().manifests.into_iter().map(|child| child.digest).collect()
    }

    pub(crate) fn ready(&self) -> (&str, &str, &str) {
        self.condition(Type::Ready)
    }

    pub(crate) fn condition(&self, kind: Type) -> (&str, &str, &str) {
        let condition = condition::get(&self.status.conditions, kind);
        condition.map_or(("", "", ""), |c| (&c.status, &c.reason, &c.message))
    }

    #[track_caller]
    pub(crate) fn assert_ready(&self, status: &str, reason: &str) {
        let (is, why, message) = self.ready();
        assert_eq!((is, why), (status, reason), "{message}");
    }

    /// Held: the reason of Ready, with Reconciling beside it.
    #[track_caller]
    pub(crate) fn assert_reconciling(&self, reason: &str) {
        self.assert_beside(reason, Type::Reconciling);
    }

    /// Held: the reason of Ready, with Stalled beside it.
    #[track_caller]
    pub(crate) fn assert_stalled(&self, reason: &str) {
        self.assert_ready("False", reason);
        self.assert_beside(reason, Type::Stalled);
    }

    #[track_caller]
    fn assert_beside(&self, reason: &str, kind: Type) {
        let (_, why, message) = self.ready();
        assert_eq!(why, reason, "{message}");
        assert_eq!(self.condition(kind), ("True", reason, message));
    }

    #[track_caller]
    pub(crate) fn assert_message(&self, parts: &[&str]) {
        let (_, _, message) = self.ready();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    pub(crate) fn source(&self, name: &str) -> &SourceStatus {
        self.status.sources.iter().find(|source| source.name == name).unwrap()
    }

    /// What a tag names for a while after a push, as replicas answer: what it named before.
    pub(crate) fn lag(&self, heads: usize) {
        let (store, before) = (self.store.clone(), self.tagged());
        let pushed = Arc::new(std::sync::Mutex::new((None::<Digest>, heads)));
        let target = format!("{PATH}:{TAG}");
        self.store.fail(
            move |request| {
                let mut state = pushed.lock().unwrap();
                if request.of == target && request.method == "PUT" {
                    *state = (None, heads);
                } else if request.of == target {
                    let shown = store.tagged(PATH, TAG).map(|raw| raw.digest().clone());
                    if state.0.is_none() && shown != before.as_ref().map(|raw| raw.digest().clone())
                    {
                        state.0 = shown;
                    }
                    if let Some(new) = state.0.clone() {
                        if state.1 == 0 {
                            store.tag(PATH, TAG, &new);
                        } else {
                            state.1 -= 1;
                            match &before {
                                Some(before) => store.tag(PATH, TAG, before.digest()),
                                None => store.delete_tag(PATH, TAG),
                            }
                        }
                    }
                }
                false
            },
            |_| unreachable!("it only changes the store"),
        );
    }

    /// Requests for `of` (`amd64`, or a digest) fail from now on.
    pub(crate) fn fail(&self, of: &str, error: fn(&Request) -> RegistryError) {
        let ends = [format!(":{of}"), format!("@{of}")];
        self.store.fail(move |request| ends.iter().any(|end| request.of.ends_with(end)), error);
    }
}

impl Report {
    pub(crate) fn count(&self, method: &str) -> usize {
        self.requests.iter().filter(|request| request.starts_with(method)).count()
    }

    #[track_caller]
    pub(crate) fn assert_counts(&self, heads: usize, gets: usize, puts: usize) {
        let counts = (self.count("HEAD"), self.count("GET"), self.count("PUT"));
        assert_eq!(counts, (heads, gets, puts), "{:#?}", self.requests);
    }

    /// Nothing changed: nothing but `heads` HEADs of sources and tags, and those of the published
    /// images that no other answer shows, no write of the status and no Event.
    #[track_caller]
    pub(crate) fn assert_idle(&self, heads: usize) {
        self.assert_counts(heads + self.children, 0, 0);
        assert!(!self.changed, "the status was written");
        assert!(self.events.is_empty(), "{:?}", self.events);
    }
}

pub(crate) fn unavailable(request: &Request) -> RegistryError {
    RegistryError::Unavailable {
        host: HOST.into(),
        request: request.clone(),
        status: 503,
        codes: Vec::new(),
        retry_after: None,
    }
}

pub(crate) fn rate_limited(request: &Request) -> RegistryError {
    RegistryError::RateLimited {
        host: HOST.into(),
        request: request.clone(),
        retry_after: Some(std::time::Duration::from_secs(77)),
    }
}

pub(crate) fn denied(request: &Request) -> RegistryError {
    RegistryError::Denied {
        host: HOST.into(),
        request: request.clone(),
        credential: "the credential of Secret pull".into(),
        status: 403,
        codes: vec!["DENIED".into()],
    }
}

pub(crate) fn unauthorized(_: &Request) -> RegistryError {
    RegistryError::Unauthorized {
        host: HOST.into(),
        credential: "the credential of Secret pull".into(),
        status: 401,
    }
}

impl World {
    /// As [`Self::run`] where the tag's index names what is not there.
    pub(crate) async fn run_dangling(&mut self) -> Report {
        let tagged = self.tagged().unwrap();
        let report = Box::pin(self.run_unchecked()).await;
        assert_eq!(self.tagged(), Some(tagged), "the index is left alone");
        report
    }

    /// What was pushed under the tag while the registry lagged, and the tag.
    pub(crate) fn pushed_elsewhere(&self) -> (Digest, String) {
        let (_, _, message) = self.ready();
        let digest = message.split('@').nth(1).unwrap().split(',').next().unwrap();
        (digest.parse().unwrap(), TAG.into())
    }
}

/// A 4xx.
pub(crate) fn refuse(status: u16) -> impl Fn(&Request) -> RegistryError {
    move |request| {
        let (host, codes) = (HOST.into(), Vec::new());
        match status {
            403 => denied(request),
            _ => RegistryError::Refused { host, request: request.clone(), status, codes },
        }
    }
}

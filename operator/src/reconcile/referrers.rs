//! writes: what refers to images that were copied (signatures, SBOMs), into the target's repository.

pub mod looks;

use std::{collections::HashSet, ops::ControlFlow, time::Duration};

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::Referrers;
use tokio::time::{Instant, timeout_at};

pub use self::looks::Looks;
use self::looks::Skipped;
use super::{Job, access::AccessMap};
use crate::{
    oci::{
        Digest, ImageManifest, Manifest, RawManifest, Reference, Referrer, TagOrDigest,
        referrer::fallback_tag,
    },
    registry::{Place, Registry, RegistryError},
};

/// How many images are looked at at once.
const AT_ONCE: usize = 4;

/// How many referrers of one image are copied, those of its referrers included.
const MOST: usize = 64;

/// How long all of it may take: nobody waits for a signature longer than that.
const TIME: Duration = Duration::from_mins(2);

/// The tags that cosign gives to what is about an image, by suffix.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// A manifest whose referrers are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    digest: Digest,
    /// It, where it came from.
    image: Reference,
    /// Name of the source that it came from.
    source: String,
}

/// What a run that looked for referrers leaves to the next one, and to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// All looks, those of this run among them.
    pub looks: Looks,
    /// What was not copied, and why, in words.
    pub notes: Vec<String>,
}

/// The tags under which cosign keeps what is about `image`.
#[must_use]
pub fn cosign_tags(image: &Digest) -> [String; 3] {
    COSIGN.map(|suffix| format!("{}.{suffix}", fallback_tag(image)))
}

/// Those of `images`, each with its source, whose referrers are looked for in this run: what came
/// from another repository on a registry and is new, or due again, or asked for by a person.
pub fn subjects<'a, R>(
    job: &Job<'_, R>,
    images: impl Iterator<Item = (&'a Digest, &'a str)>,
) -> Vec<Subject> {
    if job.sources.referrers == Referrers::Ignore {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let moved = images.filter_map(|(digest, name)| {
        let source = job.sources.named(name)?;
        let repository = source.reference.repository();
        let elsewhere =
            repository != job.sources.target.repository() && repository.archive().is_none();
        let moved = elsewhere && seen.insert(digest);
        let image = repository.digest(digest);
        moved.then(|| Subject { digest: digest.clone(), image, source: name.into() })
    });
    let (now, edited) = (job.now, !job.memory.current);
    let is_due =
        |subject: &Subject| job.requested || job.looks.are_due(&subject.image, now, edited);
    moved.filter(is_due).collect()
}

/// Copies what refers to `subjects`, and never overwrites what the target has. `None` where there
/// is nothing to look for.
pub async fn follow<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    subjects: &[Subject],
) -> Option<Followed> {
    let target = access.target().ok().filter(|_| !subjects.is_empty())?;
    job.stage.at("while copying signatures and other referrers");
    let to = Place { access: target, repository: job.sources.target.repository() };
    // Of a short time for the run, most is left to publish in.
    let end = Instant::now() + TIME.min(job.sources.timeout / 4);
    let turns: HashSet<_> = subjects.iter().map(|subject| &subject.digest).collect();
    let follows: Vec<_> =
        subjects.iter().map(|subject| one(job, access, to, subject, &turns, end)).collect();
    let skipped: Vec<_> = stream::iter(follows).buffered(AT_ONCE).collect().await;
    let mut looks = job.looks.clone();
    looks.prune(job.now);
    let told = subjects.iter().zip(skipped);
    let told = told.map(|(subject, skipped)| {
        let tell = looks.record(&subject.image, skipped, job.now);
        if job.requested { looks.notes(&subject.image).to_vec() } else { tell }
    });
    let notes = told.flatten().collect();
    Some(Followed { looks, notes })
}

/// Copies what refers to `subject`, until `end`.
async fn one<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    to: Place<'_>,
    subject: &Subject,
    turns: &HashSet<&Digest>,
    end: Instant,
) -> Skipped {
    let mut skipped = Skipped::default();
    let reader = match access.named(&subject.source) {
        Ok(reader) => reader,
        Err(error) => {
            skipped.add(
                format!("what refers to {} was not looked for: {error}", subject.image),
                false,
            );
            return skipped;
        }
    };
    let from = Place { access: reader, repository: subject.image.repository() };
    let mut step = Step { job, turns, from, to, skipped };
    let in_time = Instant::now() < end && timeout_at(end, step.all(&subject.digest)).await.is_ok();
    if !in_time {
        let note = format!("there was not time enough for all that refers to {}", subject.image);
        step.skipped.add(note, true);
    }
    step.skipped
}

/// Copies for one image.
struct Step<'a, R> {
    job: &'a Job<'a, R>,
    /// The images that have a look of their own in this run.
    turns: &'a HashSet<&'a Digest>,
    from: Place<'a>,
    to: Place<'a>,
    skipped: Skipped,
}

/// Why one of them is left.
enum Why {
    Registry(RegistryError),
    Words(String),
}

impl<R: Registry> Step<'_, R> {
    /// All that refers to `image`.
    async fn all(&mut self, image: &Digest) -> ControlFlow<()> {
        self.referrers(image).await?;
        for tag in cosign_tags(image) {
            if let Err(why) = self.tagged(&TagOrDigest::Tag(tag.clone())).await {
                let tag = self.from.repository.tag(&tag);
                self.skip(&format!("{tag} was not copied"), why)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The OCI referrers of `image`, and theirs in turn (a signature of an SBOM).
    async fn referrers(&mut self, image: &Digest) -> ControlFlow<()> {
        let (mut left, mut seen) = (MOST, HashSet::from([image.clone()]));
        let mut subjects = vec![image.clone()];
        while let Some(subject) = subjects.pop() {
            let (listed, there) = match self.lists(&subject).await {
                Ok(lists) => lists,
                Err(why) => {
                    let of = self.from.repository.digest(&subject);
                    self.skip(&format!("what refers to {of} was not copied"), why)?;
                    continue;
                }
            };
            for referrer in listed {
                if !seen.insert(referrer.clone()) {
                    continue;
                }
                let what = format!("{} was not copied", self.from.repository.digest(&referrer));
                if left == 0 {
                    let why = Why::Words(format!("more than {MOST} refer to its image"));
                    return self.skip(&what, why);
                }
                left -= 1;
                if !there.contains(&referrer)
                    && let Err(why) = self.referrer(&referrer, &subject).await
                {
                    self.skip(&what, why)?;
                } else if !self.turns.contains(&referrer) {
                    subjects.push(referrer);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// What the source lists as referrers of `subject`, and if that is anything, what the target
    /// lists. Being there is not enough: where an index under the fallback tag lists them, one may
    /// have been stored and not listed.
    async fn lists(&self, subject: &Digest) -> Result<(Vec<Digest>, HashSet<Digest>), Why> {
        let registry = self.job.registry;
        let (from, to) = (self.from, self.to);
        let listed = registry.list_referrers(from.access, from.repository, subject).await?;
        if listed.is_empty() {
            return Ok((Vec::new(), HashSet::new()));
        }
        let there = registry.list_referrers(to.access, to.repository, subject).await?;
        let listed = listed.into_iter().map(|referrer| referrer.digest).collect();
        Ok((listed, there.into_iter().map(|referrer| referrer.digest).collect()))
    }

    async fn referrer(&self, digest: &Digest, subject: &Digest) -> Result<(), Why> {
        let raw = self.read(&TagOrDigest::Digest(digest.clone())).await?;
        let raw = raw.ok_or_else(|| Why::Words("it is listed, and not there".into()))?;
        // Before any blob of it moves: a list may name whatever it likes.
        Referrer::of(&raw, subject).map_err(|source| Why::Words(source.to_string()))?;
        self.blobs(&raw).await?;
        let (registry, to) = (self.job.registry, self.to);
        Ok(registry.put_referrer(to.access, to.repository, &raw, subject).await?)
    }

    /// What cosign keeps under the tag `of`.
    async fn tagged(&self, of: &TagOrDigest) -> Result<(), Why> {
        let (registry, from, to) = (self.job.registry, self.from, self.to);
        let Some(wanted) = registry.head_manifest(from.access, from.repository, of).await? else {
            return Ok(());
        };
        if self.has(of, &wanted.digest).await? {
            return Ok(());
        }
        let Some(raw) = self.read(of).await? else { return Ok(()) };
        self.blobs(&raw).await?;
        // Somebody may have signed there in between.
        if self.has(of, raw.digest()).await? {
            return Ok(());
        }
        registry.put_manifest(to.access, to.repository, of, &raw).await?;
        Ok(())
    }

    /// Whether the target's `of` names `wanted`; an error where it names something else.
    async fn has(&self, of: &TagOrDigest, wanted: &Digest) -> Result<bool, Why> {
        let Place { access, repository } = self.to;
        match self.job.registry.head_manifest(access, repository, of).await? {
            None => Ok(false),
            Some(there) if there.digest == *wanted => Ok(true),
            Some(_) => Err(Why::Words("the target has another one, which stays".into())),
        }
    }

    async fn read(&self, of: &TagOrDigest) -> Result<Option<RawManifest>, Why> {
        let Place { access, repository } = self.from;
        Ok(self.job.registry.get_manifest(access, repository, of).await?)
    }

    /// Copies the blobs of `raw`.
    async fn blobs(&self, raw: &RawManifest) -> Result<(), Why> {
        let Ok(Manifest::Image(ImageManifest { config, layers, .. })) = raw.parse() else {
            return Err(Why::Words("it is an index, and only manifests with blobs are".into()));
        };
        for blob in layers.iter().chain([&config]).filter(|blob| blob.urls.is_empty()) {
            let progress = self.job.stage.progress();
            let copied = self.job.registry.copy_blob(self.from, self.to, blob, &progress).await?;
            copied.ok_or_else(|| Why::Words(format!("its blob {} is gone", blob.digest)))?;
        }
        Ok(())
    }

    /// Notes that `what` because of `why`, and breaks off where nothing else would go better now.
    fn skip(&mut self, what: &str, why: Why) -> ControlFlow<()> {
        let (why, may_pass, ends) = match why {
            Why::Registry(error) => (error.to_string(), may_pass(&error), is_of_host(&error)),
            Why::Words(why) => (why, false, false),
        };
        self.skipped.add(format!("{what}: {why}"), may_pass);
        if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl From<RegistryError> for Why {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// Whether another try soon may help.
fn may_pass(error: &RegistryError) -> bool {
    use RegistryError as E;
    matches!(
        error,
        E::RateLimited { .. }
            | E::Paused { .. }
            | E::Unavailable { .. }
            | E::Unreachable { .. }
            | E::TooSlow { .. }
    )
}

/// Whether the next request would be answered so, too.
fn is_of_host(error: &RegistryError) -> bool {
    use RegistryError as E;
    matches!(
        error,
        E::RateLimited { .. } | E::Paused { .. } | E::Unreachable { .. } | E::Unauthorized { .. }
    )
}

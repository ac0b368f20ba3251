//! writes: what refers to images that were copied (signatures, SBOMs), into the target's repository.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt, stream};
use multiarch_crds::v1alpha1::Referrers;

use super::{Job, access::AccessMap, stage::Stage};
use crate::{
    oci::{Digest, ImageManifest, Manifest, RawManifest, TagOrDigest, referrer::fallback_tag},
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
    /// Its digest.
    pub digest: Digest,
    /// Name of the source that it came from.
    pub source: String,
}

/// What was not copied. It never holds the index back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// What, and why, in words.
    pub notes: Vec<String>,
    /// Whether another look soon may help.
    pub may_pass: bool,
}

/// Those of `images`, each with its source, whose referrers are looked for in this run: all that
/// came from another repository when that is due, else those that are new.
pub fn subjects<'a, R>(
    job: &Job<'_, R>,
    images: impl Iterator<Item = (&'a Digest, &'a str)>,
) -> Vec<Subject> {
    if job.sources.referrers == Referrers::Ignore {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let subjects = images.filter(|(digest, source)| {
        let of = job.sources.sources.iter().find(|of| of.name == *source);
        let moved =
            of.is_some_and(|of| of.reference.repository() != job.sources.target.repository());
        let known = job.memory.published.as_ref().is_some_and(|index| index.lists(digest));
        moved && (job.referrers_due || !known) && seen.insert(*digest)
    });
    subjects
        .map(|(digest, source)| Subject { digest: digest.clone(), source: source.into() })
        .collect()
}

/// Copies what refers to `subjects`, and never overwrites what the target has.
pub async fn follow<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    subjects: &[Subject],
) -> Skipped {
    if subjects.is_empty() {
        return Skipped::default();
    }
    job.stage.at("while copying signatures and other referrers");
    let Ok(target) = access.target() else { return Skipped::default() };
    let to = Place { access: target, repository: job.sources.target.repository() };
    let follows: Vec<_> = subjects.iter().map(|subject| one(job, access, to, subject)).collect();
    let all = stream::iter(follows).buffered(AT_ONCE).collect::<Vec<_>>();
    let Ok(skipped) = tokio::time::timeout(TIME, all).await else {
        let notes = vec![format!("copying referrers took longer than {TIME:?}")];
        return Skipped { notes, may_pass: true };
    };
    let may_pass = skipped.iter().any(|skipped| skipped.may_pass);
    Skipped { notes: skipped.into_iter().flat_map(|skipped| skipped.notes).collect(), may_pass }
}

async fn one<R: Registry>(
    job: &Job<'_, R>,
    access: &AccessMap,
    to: Place<'_>,
    subject: &Subject,
) -> Skipped {
    let source = job.sources.sources.iter().find(|source| source.name == subject.source);
    let (Some(source), Ok(reader)) = (source, access.named(&subject.source)) else {
        return Skipped::default();
    };
    let from = Place { access: reader, repository: source.reference.repository() };
    let mut step =
        Step { registry: job.registry, stage: job.stage, from, to, skipped: Skipped::default() };
    step.referrers(&subject.digest).await;
    for suffix in COSIGN {
        step.tag(&format!("{}.{suffix}", fallback_tag(&subject.digest))).await;
    }
    step.skipped
}

/// Copies for one image.
struct Step<'a, R> {
    registry: &'a R,
    stage: &'a Stage,
    from: Place<'a>,
    to: Place<'a>,
    skipped: Skipped,
}

/// Why one of them is left.
enum Why {
    Registry(RegistryError),
    Words(&'static str),
}

impl<R: Registry> Step<'_, R> {
    /// The OCI referrers of `subject`, and theirs in turn (a signature of an SBOM).
    async fn referrers(&mut self, subject: &Digest) {
        let (mut left, mut seen) = (MOST, HashSet::from([subject.clone()]));
        let mut subjects = vec![subject.clone()];
        while let Some(subject) = subjects.pop() {
            let listed =
                self.registry.list_referrers(self.from.access, self.from.repository, &subject);
            let listed = match listed.await {
                Ok(listed) => listed,
                Err(error) => {
                    self.skip(&self.from.repository.digest(&subject).to_string(), error.into());
                    continue;
                }
            };
            for referrer in listed {
                if !seen.insert(referrer.digest.clone()) {
                    continue;
                }
                let reference = self.from.repository.digest(&referrer.digest).to_string();
                if left == 0 {
                    let why = "there are more than 64 for its image";
                    return self.skip(&reference, Why::Words(why));
                }
                left -= 1;
                match self.referrer(&referrer.digest, &subject).await {
                    Ok(()) => subjects.push(referrer.digest),
                    Err(why) => self.skip(&reference, why),
                }
            }
        }
    }

    async fn referrer(&self, digest: &Digest, subject: &Digest) -> Result<(), Why> {
        let of = TagOrDigest::Digest(digest.clone());
        let there = self.registry.head_manifest(self.to.access, self.to.repository, &of).await?;
        if there.is_some() {
            return Ok(());
        }
        let raw = self.read(&of).await?.ok_or(Why::Words("it is listed, and not there"))?;
        self.blobs(&raw).await?;
        let put = self.registry.put_referrer(self.to.access, self.to.repository, &raw, subject);
        Ok(put.await?)
    }

    /// What cosign keeps under `tag`.
    async fn tag(&mut self, tag: &str) {
        let name = self.from.repository.tag(tag).to_string();
        if let Err(why) = self.tagged(&TagOrDigest::Tag(tag.to_owned())).await {
            self.skip(&name, why);
        }
    }

    async fn tagged(&self, of: &TagOrDigest) -> Result<(), Why> {
        let (from, to) = (self.from, self.to);
        let Some(ours) = self.registry.head_manifest(from.access, from.repository, of).await?
        else {
            return Ok(());
        };
        match self.registry.head_manifest(to.access, to.repository, of).await? {
            Some(theirs) if theirs.digest == ours.digest => return Ok(()),
            Some(_) => return Err(Why::Words("the target has another one, which stays")),
            None => {}
        }
        let Some(raw) = self.read(of).await? else { return Ok(()) };
        self.blobs(&raw).await?;
        Ok(self.registry.put_manifest(to.access, to.repository, of, &raw).await?)
    }

    async fn read(&self, of: &TagOrDigest) -> Result<Option<RawManifest>, Why> {
        Ok(self.registry.get_manifest(self.from.access, self.from.repository, of).await?)
    }

    /// Copies the blobs of `raw`.
    async fn blobs(&self, raw: &RawManifest) -> Result<(), Why> {
        let Ok(Manifest::Image(ImageManifest { config, layers, .. })) = raw.parse() else {
            return Err(Why::Words("it is an index"));
        };
        for blob in layers.iter().chain([&config]).filter(|blob| blob.urls.is_empty()) {
            let progress = self.stage.progress();
            let copied = self.registry.copy_blob(self.from, self.to, blob, &progress).await?;
            copied.ok_or(Why::Words("a blob of it is gone"))?;
        }
        Ok(())
    }

    fn skip(&mut self, what: &str, why: Why) {
        let why = match why {
            Why::Registry(error) => {
                self.skipped.may_pass |= may_pass(&error);
                error.to_string()
            }
            Why::Words(why) => why.to_owned(),
        };
        self.skipped.notes.push(format!("{what} was not copied: {why}"));
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
        E::RateLimited { .. } | E::Unavailable { .. } | E::Unreachable { .. } | E::TooSlow { .. }
    )
}

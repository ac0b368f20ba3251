//! Archives, as registries that are read and never written, before the registries that their images go to.

mod known;
mod opened;
mod order;
mod part;
mod port;
mod stream;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{sync::OnceCell, task::spawn_blocking};

use self::{known::Known, opened::Opened, stream::InArchive};
pub use self::{order::Lacking, turns::Turns};
use super::{Copied, Place, Progress, Registry, RegistryError, Request};
use crate::{
    archive::{Archive, Image, InUse, Kind},
    oci::{
        Descriptor, Digest, Manifest, RawManifest, Reference, Repository, TagOrDigest,
        media_type::DOCKER_CONFIG,
    },
};

/// A registry, and archives beside it: what is in an archive ([`Repository::in_archive`]) is answered from there, and
/// its blobs are pushed to the registry; all else is the registry's.
///
/// Nothing can be written to an archive. It has no referrers.
pub struct Archives<R> {
    registry: R,
    opened: BTreeMap<String, Opened>,
    /// Those that could not be opened; `None` where they are not there.
    lacking: BTreeMap<String, Option<RegistryError>>,
    known: Known,
    turns: Arc<Turns>,
    /// Of archives whose turns others take, too.
    shared: BTreeMap<String, Arc<Turns>>,
    find: Option<Find>,
    found: OnceCell<()>,
    _in_use: Vec<InUse>,
}

/// Finds manifests of images by their configs, wherever they may be already.
pub type Find =
    Arc<dyn Fn(BTreeSet<Digest>) -> BoxFuture<'static, HashMap<Digest, RawManifest>> + Send + Sync>;

/// Who answers for a repository.
enum Of<'a> {
    Registry,
    Archive(&'a Opened),
    /// The archive is not there.
    Nothing,
}

impl<R> Archives<R> {
    /// `registry`, and these archives, each with what it is called.
    pub fn new(registry: R, opened: impl IntoIterator<Item = (String, Arc<Archive>)>) -> Self {
        let opened = opened.into_iter().map(|(name, archive)| (name, Opened::new(archive)));
        let opened: BTreeMap<_, _> = opened.collect();
        Self {
            registry,
            _in_use: opened.values().map(Opened::in_use).collect(),
            opened,
            lacking: BTreeMap::new(),
            known: Known::default(),
            turns: Arc::default(),
            shared: BTreeMap::new(),
            find: None,
            found: OnceCell::new(),
        }
    }

    /// The same, with archives that could not be opened, each with why; `None` where it is not there.
    #[must_use]
    pub fn without(
        self,
        lacking: impl IntoIterator<Item = (String, Option<RegistryError>)>,
    ) -> Self {
        Self { lacking: lacking.into_iter().collect(), ..self }
    }

    /// The same, where other runs take these turns with archives, by what they are called: a blob that one of them has sent is there for all.
    #[must_use]
    pub fn sharing(self, turns: impl IntoIterator<Item = (String, Arc<Turns>)>) -> Self {
        Self { shared: turns.into_iter().collect(), ..self }
    }

    /// The same, for who looks again where one cannot be read for now: when it was unchanged for as long as `settles`.
    #[must_use]
    pub fn settling(self, settles: Duration) -> Self {
        let opened = self.opened.into_iter();
        let opened = opened.map(|(name, opened)| (name, opened.settling(settles)));
        Self { opened: opened.collect(), ..self }
    }

    /// The same, which asks `find` once before the manifests of images are made.
    #[must_use]
    pub fn finding(self, find: Find) -> Self {
        Self { find: Some(find), ..self }
    }

    /// Calls the image of `digest` `name`, a name in its archive, whatever it is called there.
    pub fn call(&self, name: Reference, digest: &Digest) {
        let archive = name.repository().archive().and_then(|archive| self.opened.get(archive));
        let image = archive.and_then(|it| it.images().iter().find(|it| it.digest == *digest));
        if let Some(image) = image {
            self.known.call(name, image.clone());
        }
    }

    /// The digest of the config of `name`, an image in an archive for which a manifest is to be made. `None` of any other
    /// one.
    #[must_use]
    pub fn config_of(&self, name: &Reference) -> Option<Digest> {
        let image = self.image(name)?;
        (image.kind == Kind::Saved).then_some(image.digest)
    }

    /// Whether the manifest of `name`, an image in an archive, is to be made, and was not yet.
    #[must_use]
    pub fn is_to_be_made(&self, name: &Reference) -> bool {
        self.config_of(name).is_some() && self.known.manifest(name).is_none()
    }

    /// Takes `manifest` for that of `name`, instead of one that is made: a registry has it of an image with the same
    /// config.
    pub fn adopt(&self, name: Reference, manifest: RawManifest) {
        self.known.adopt(name, manifest);
    }

    /// Makes the manifests of those of `names` that have none, in one reading of each archive; what cannot be made is
    /// told when it is asked for.
    pub async fn make(&self, names: &[Reference]) {
        let mut by_archive: BTreeMap<&str, Vec<(Reference, Image)>> = BTreeMap::new();
        for name in names.iter().filter(|name| self.known.manifest(name).is_none()) {
            let image = self.image(name).filter(|image| image.kind == Kind::Saved);
            if let (Some(archive), Some(image)) = (name.repository().archive(), image) {
                by_archive.entry(archive).or_default().push((name.clone(), image));
            }
        }
        for (file, named) in by_archive {
            let Some(archive) = self.opened.get(file).cloned() else { continue };
            let made = spawn_blocking(move || {
                let images: Vec<_> = named.iter().map(|(_, image)| image).collect();
                let made = archive.manifests_of(&images).into_iter();
                let made = made.map(|made| made.map_err(|error| archive.told(&error)));
                named.into_iter().map(|(name, _)| name).zip(made).collect::<Vec<_>>()
            });
            // What panics is asked for again, and told then.
            for (name, made) in made.await.unwrap_or_default() {
                self.known.made(name, made);
            }
            self.rest(file);
        }
    }

    /// Lets go of what the reader of the archive called `name` has in memory, until it is read again.
    pub fn rest(&self, name: &str) {
        if let Some(archive) = self.opened.get(name) {
            archive.rest();
        }
    }

    /// Whether the archive called `name` is to be read in its order.
    #[must_use]
    pub fn is_compressed(&self, name: &str) -> bool {
        self.opened.get(name).is_some_and(|archive| archive.is_compressed())
    }

    /// Who answers for `repository`.
    fn of(&self, repository: &Repository) -> Result<Of<'_>, RegistryError> {
        let Some(name) = repository.archive() else { return Ok(Of::Registry) };
        if let Some(archive) = self.opened.get(name) {
            return Ok(Of::Archive(archive));
        }
        let why = || format!("{repository} is in an archive that was not opened");
        match self.lacking.get(name) {
            Some(None) => Ok(Of::Nothing),
            Some(Some(error)) => Err(error.clone()),
            None => Err(RegistryError::Archive { why: why() }),
        }
    }

    /// Takes for those of images without a manifest what is found of them elsewhere.
    async fn look(&self) {
        let Some(find) = &self.find else { return };
        let look = async || {
            let saved = self.opened.values().flat_map(|archive| archive.images());
            let saved = saved.filter(|image| image.kind == Kind::Saved);
            let configs: BTreeSet<_> = saved.map(|image| image.digest.clone()).collect();
            if !configs.is_empty() {
                self.known.found(find(configs).await);
            }
        };
        self.found.get_or_init(look).await;
    }

    /// What tells the image that `tag` names from another one, without a manifest being made.
    async fn image_of(
        &self,
        archive: &Opened,
        repository: &Repository,
        tag: &str,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let (archive, name) = (archive.clone(), repository.tag(tag));
        let image = self.image(&name);
        blocking(move || match image {
            Some(image) => told_by(&archive, &name, image),
            None => absent(&archive, &name),
        })
        .await
    }

    /// The image that is called `name` in its archive.
    fn image(&self, name: &Reference) -> Option<Image> {
        let repository = name.repository();
        let archive = self.opened.get(repository.archive()?)?;
        let outside = repository.outside().tag(name.tag()?);
        self.known.called(name).or_else(|| archive.named(&outside).cloned())
    }

    /// The manifest that `reference` names in `archive`.
    async fn manifest(
        &self,
        archive: &Opened,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let archive = archive.clone();
        let tag = match reference {
            TagOrDigest::Tag(tag) => tag,
            TagOrDigest::Digest(digest) => {
                if let Some(known) = self.known.by_digest(repository, digest) {
                    return Ok(Some(known));
                }
                let (digest, outside) = (digest.clone(), repository.outside());
                return blocking(move || by_digest(&archive, &digest, &outside)).await;
            }
        };
        let name = repository.tag(tag);
        if let Some(known) = self.known.manifest(&name) {
            return known.map(Some);
        }
        let Some(image) = self.image(&name) else {
            return blocking(move || absent(&archive, &name)).await;
        };
        if image.kind == Kind::Saved {
            self.look().await;
            if let Some(found) = self.known.found_for(&name, &image.digest) {
                return Ok(Some(found));
            }
        }
        let of = name.clone();
        let made = blocking(move || {
            archive.make_all();
            let raw = archive.manifest_of(&image).map_err(|error| archive.told(&error))?;
            part::of(&archive, &of, raw, &image.absent)
        });
        let made = made.await;
        self.known.made(name, made.clone());
        made.map(Some)
    }
}

impl<R: Registry> Archives<R> {
    /// Sees to it that `to` has `blob` of `archive`. It is read once for one registry: other repositories there have it
    /// from the first one.
    async fn send(
        &self,
        archive: &Opened,
        (from, to): (Place<'_>, Place<'_>),
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        if let Some(copied) = self.known.take_ahead(to.repository, &blob.digest) {
            if copied == Copied::Uploaded {
                progress(blob.size);
            }
            return Ok(Some(copied));
        }
        let shared = from.repository.archive().and_then(|name| self.shared.get(name));
        let turn = shared.unwrap_or(&self.turns).turn(to, &blob.digest);
        let mut first = turn.lock().await;
        if let Some(first) = first.as_ref().filter(|first| *first != to.repository) {
            let from = Place { repository: first, ..to };
            // What fails here fails there as well, or is of no consequence.
            if let Ok(Some(copied)) = self.registry.copy_blob(from, to, blob, progress).await {
                return Ok(Some(copied));
            }
        }
        let source = InArchive::new(archive, from.repository, &blob.digest);
        let copied = self.registry.push_blob(to, blob, &source, progress).await?;
        if copied.is_some() && first.is_none() {
            *first = Some(to.repository.clone());
        }
        Ok(copied)
    }
}

impl<R: fmt::Debug> fmt::Debug for Archives<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.opened.keys().collect();
        f.debug_struct("Archives")
            .field("registry", &self.registry)
            .field("opened", &names)
            .finish_non_exhaustive()
    }
}

/// That `archive` has no image called `name`; or why it does not, where it names it.
fn absent<T>(archive: &Opened, name: &Reference) -> Result<Option<T>, RegistryError> {
    let outside = name.repository().outside().tag(name.tag().unwrap_or_default());
    let mut unusable = archive.unusable().iter();
    match unusable.find(|image| image.names.contains(&outside)) {
        Some(image) => Err(archive.told(&image.why)),
        None => Ok(None),
    }
}

/// What `image`, which `name` names, is told from another one by: its config, and of an index what of it is in the archive.
fn told_by(
    archive: &Opened,
    name: &Reference,
    image: Image,
) -> Result<Option<Descriptor>, RegistryError> {
    if image.kind == Kind::Saved {
        let size = archive.blob(&image.digest).unwrap_or_default();
        return Ok(Some(Descriptor::of(DOCKER_CONFIG, image.digest, size)));
    }
    let raw = archive.manifest(&image.digest).map_err(|error| archive.told(&error))?;
    let Some(raw) = raw else { return Ok(None) };
    let raw = part::of(archive, name, raw, &image.absent)?;
    Ok(Some(match raw.parse() {
        Ok(Manifest::Image(image)) => image.config,
        _ => raw.descriptor(),
    }))
}

/// The manifest of `digest` in `archive`; where it has none, one that is made of what it has of `repository`.
fn by_digest(
    archive: &Opened,
    digest: &Digest,
    repository: &Repository,
) -> Result<Option<RawManifest>, RegistryError> {
    let known = || archive.manifest(digest).map_err(|error| archive.told(&error));
    if let Some(known) = known()? {
        return Ok(Some(known));
    }
    let named = |image: &&Image| image.names.iter().any(|name| name.repository() == repository);
    let saved = archive.images().iter().filter(|image| image.kind == Kind::Saved);
    let saved: Vec<_> = saved.filter(named).collect();
    archive.manifests_of(&saved);
    known()
}

/// Who has a blob of an archive, and what is asked, for messages.
fn asked(method: &'static str, repository: &Repository, digest: &Digest) -> (String, Request) {
    let archive = crate::oci::printable(repository.archive().unwrap_or_default());
    (archive, Request::blob(method, repository, digest))
}

/// `work`, which blocks, beside the tasks that do not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    let why = || "failed to read an archive: the thread that read it has ended".into();
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(RegistryError::Archive { why: why() }))
}

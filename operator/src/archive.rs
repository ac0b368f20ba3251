//! Image archives, read without being unpacked: `docker save` tarballs, podman's, skopeo's and crane's, and OCI layouts.
//!
//! ```text
//!  path ─store→ Store ─┬─layout (index.json)──→ Vec<Image> ─manifest_of→ RawManifest ─open_blob→ bytes
//!        names, places └─saved (manifest.json)↗                layer, gzip                  held
//! ```
//!
//! All of it blocks. Memory does not grow with the archive: a plain one is read at offsets, of a packed one there is one reader,
//! and of all that zstd has packed there are few ([`windows`]).

mod cursor;
mod entries;
mod error;
mod files;
mod folder;
mod gzip;
mod header;
mod held;
mod kept;
mod layer;
mod layout;
mod made;
mod packing;
mod path;
mod saved;
mod stamp;
mod store;
mod tape;
mod windows;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

pub use self::error::{ArchiveError, Part};
pub(crate) use self::stamp::Stamp;
use self::{gzip::Gzip, held::Held, made::Made, saved::Parts, store::Store};
use crate::oci::{
    Descriptor, Digest, Manifest, Platform, RawManifest, Reference, manifest::MAX_BYTES,
    saved::Saved,
};

/// An archive of images, whose names and small documents were read.
pub struct Archive {
    store: Store,
    images: Vec<Image>,
    unusable: Vec<Unusable>,
    /// What images without a manifest are made of, by the digest of their config.
    saved: BTreeMap<Digest, Parts>,
    made: Made,
    made_all: OnceLock<()>,
    /// As it was before it was read.
    stamp: Stamp,
    /// About how many bytes of memory it takes since then, without what is made later.
    keeps: usize,
    users: AtomicUsize,
}

/// The use of an archive: until the last one is dropped its reader stays where it is.
#[derive(Debug)]
pub struct InUse(Arc<Archive>);

/// An image in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is called: repositories with a tag, each once; none where the archive does not say.
    pub names: Vec<Reference>,
    /// Of a layout's image the digest of its manifest or index, else that of its config.
    pub digest: Digest,
    /// What the digest is of.
    pub kind: Kind,
    /// Which manifests of it, or of the indexes in it, the archive was written without, or without their config or a layer.
    pub absent: Vec<Descriptor>,
    /// What it is for, as its config says, or as its indexes list those of its images that are there. `None` where one of them says nothing or
    /// cannot be read, which is told to whoever asks for it.
    pub platforms: Option<Vec<Platform>>,
}

/// An image that an archive names and does not have. It stops no other one.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// What it is called, as in [`Image`].
    pub names: Vec<Reference>,
    /// Why it cannot be had.
    pub why: ArchiveError,
}

/// What an image of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A config and layers, as `docker save` wrote them before it wrote layouts. There is no manifest: it is made.
    Saved,
    /// An image manifest of a layout.
    Manifest,
    /// An index of a layout.
    Index,
}

impl Archive {
    /// Opens the file or folder at `path`, and reads its names and small documents: a packed archive once to its end.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::of(path, store::open(path)?)
    }

    /// The same of an open file or folder, which is called `name` in messages.
    pub fn of(name: &Path, file: File) -> Result<Self, ArchiveError> {
        let failed = |error| ArchiveError::Open { file: name.into(), source: Arc::new(error) };
        let stamp = Stamp::of(&file).map_err(failed)?;
        Self::read(Store::of(name, file)?, stamp)
    }

    fn read(store: Store, stamp: Stamp) -> Result<Self, ArchiveError> {
        let listed = match &store {
            Store::Folder(_) => Vec::new(),
            Store::Tar { .. } | Store::Packed { .. } => saved::list(&store)?,
        };
        if let Some(files) = store.files() {
            files.settle(store.path(), &saved::paths(&listed))?;
        }
        let index = store.file("index.json")?;
        let mut images = Vec::new();
        if let Some(place) = &index {
            images = layout::images(&store, &store.document(place, MAX_BYTES)?)?;
        }
        let (mut saved, mut unusable) = (BTreeMap::new(), Vec::new());
        match store.files() {
            None if index.is_none() => {
                return Err(ArchiveError::NotALayout { file: store.path().into() });
            }
            Some(files) if index.is_none() && files.file("manifest.json").is_none() => {
                return Err(no_images(&store));
            }
            // index.json says more, and has the digests that the images were pulled by.
            Some(files) if images.is_empty() => {
                (images, saved, unusable) = saved::images(&store, files, listed)?;
            }
            _ => name(&store, &mut images, &listed)?,
        }
        let keeps = store.keeps()
            + images.iter().map(Image::keeps).sum::<usize>()
            + saved.values().map(Parts::keeps).sum::<usize>()
            + unusable.iter().map(|image| weight(&image.names)).sum::<usize>();
        let (made, users) = (Made::default(), AtomicUsize::new(0));
        let made_all = OnceLock::new();
        Ok(Self { store, images, unusable, saved, made, made_all, stamp, keeps, users })
    }

    /// The images that are in it.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The images that it names and does not have.
    #[must_use]
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }

    /// The image that is called `name`; of several the last one, as `docker load` has it.
    #[must_use]
    pub fn named(&self, name: &Reference) -> Option<&Image> {
        self.images.iter().rfind(|image| image.names.contains(name))
    }

    /// Whether it is packed, so that reading it in another order than its own takes long.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.store.is_packed()
    }

    /// What it is called.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Whether nothing has written to it since it was opened. What is wrong in one that is written to is no matter of the archive.
    #[must_use]
    pub fn is_as_it_was(&self) -> bool {
        Stamp::of(self.store.itself()).is_ok_and(|now| now.has_the_bytes_of(&self.stamp))
    }

    /// Whether nobody can open it any more, since it was deleted, or another one is in its place. Its bytes take room until
    /// this is dropped.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self.store.itself().metadata() {
            Ok(about) => about.nlink() == 0,
            Err(error) => error.kind() == ErrorKind::StaleNetworkFileHandle,
        }
    }

    /// About how many bytes of memory it takes while nobody reads it: names, small documents, manifests that were made.
    #[must_use]
    pub fn keeps(&self) -> usize {
        self.keeps + self.made.keeps()
    }

    /// Says that it is used, until that is dropped.
    #[must_use]
    pub fn in_use(self: &Arc<Self>) -> InUse {
        self.users.fetch_add(1, Ordering::Relaxed);
        InUse(Arc::clone(self))
    }

    /// How many bytes of the file were read so far, by all together.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.store.bytes_read()
    }

    /// How far [`Self::manifests_of`] is, which takes long: how many bytes of layers were read, and of how many.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.made.progress()
    }

    /// The manifest or index of `image`. Where it has none it is made, for which its layers are deflated once and held to
    /// the config's diff_ids; that is remembered.
    pub fn manifest_of(&self, image: &Image) -> Result<RawManifest, ArchiveError> {
        let mut manifests = self.manifests_of(&[image]);
        let absent = || ArchiveError::Absent {
            file: self.store.path().into(),
            digest: image.digest.clone(),
        };
        manifests.pop().unwrap_or_else(|| Err(absent()))
    }

    /// Makes, once, the manifests of all images of a packed archive that have none, in one reading: many that each want another one would read it
    /// as often. What cannot be made is told to whoever asks for it.
    pub fn make_all(&self) {
        if self.is_compressed() {
            self.made_all.get_or_init(|| drop(self.made.read(&self.store, self.saved.values())));
        }
    }

    /// The manifests or indexes of `images`, in their order, in one reading of a packed archive.
    pub fn manifests_of(&self, images: &[&Image]) -> Vec<Result<RawManifest, ArchiveError>> {
        let saved = |image: &&&Image| self.saved.get(&image.digest);
        let failed = self.made.read(&self.store, images.iter().filter_map(|image| saved(&image)));
        images
            .iter()
            .map(|image| match self.saved.get(&image.digest) {
                Some(parts) => self.made.manifest(&self.store, &image.digest, parts, &failed),
                None => self.manifest(&image.digest)?.ok_or_else(|| ArchiveError::Absent {
                    file: self.store.path().into(),
                    digest: image.digest.clone(),
                }),
            })
            .collect()
    }

    /// A manifest or index of a layout, or one that was made. `None` where the archive does not have it.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<RawManifest>, ArchiveError> {
        match self.made.known_manifest(digest) {
            Some(made) => Ok(Some(made)),
            None => layout::manifest(&self.store, digest),
        }
    }

    /// The size of a config or layer: as the archive has it, or as it was deflated.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<u64> {
        self.find(digest).ok()?.map(|blob| blob.size)
    }

    /// Where the blob begins in the unpacked archive: the order to ask in.
    #[must_use]
    pub fn position(&self, digest: &Digest) -> Option<u64> {
        self.find(digest).ok()?.map(|blob| blob.place.at)
    }

    /// The blob's bytes from the first one; may be called again. Errors of the reader are made of [`ArchiveError`]s.
    ///
    /// Of a packed archive there is one reader at a time: this waits until the one before is dropped, and where others wait too
    /// goes by [`Self::position`]. Whoever has one must not wait for a second one.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<Box<dyn Read + Send>>, ArchiveError> {
        let Some(blob) = self.find(digest)? else { return Ok(None) };
        let reader = self.store.read(&blob.place)?;
        let reader = if blob.is_deflated { Box::new(Gzip::new(reader)) } else { reader };
        let of = self.store.part(&blob.place.name);
        Ok(Some(Box::new(Held::new(reader, blob.size, digest.clone(), of))))
    }

    /// Lets go of the memory that the reader of a packed archive has, until it is read again: then from its first byte.
    pub fn rest(&self) {
        self.store.rest();
    }

    fn find(&self, digest: &Digest) -> Result<Option<made::Blob>, ArchiveError> {
        if let Some(layer) = self.made.layer(digest) {
            return Ok(Some(layer));
        }
        let place = match self.saved.get(digest) {
            Some(parts) => Some(parts.config.clone()),
            None => self.store.file(&layout::blob(digest))?,
        };
        Ok(place.map(|place| made::Blob { size: place.size, place, is_deflated: false }))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.rest();
        }
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, images) = (self.store.path(), self.images.len());
        f.debug_struct("Archive")
            .field("file", &file)
            .field("images", &images)
            .finish_non_exhaustive()
    }
}

impl Image {
    /// About how many bytes of memory it takes.
    fn keeps(&self) -> usize {
        let absent = self.absent.iter().map(|of| of.weight() + size_of::<Descriptor>());
        weight(&self.names) + absent.sum::<usize>()
    }
}

/// About how many bytes of memory an image of these names takes.
fn weight(names: &[Reference]) -> usize {
    let names = names.iter().map(|name| name.to_string().len() + size_of::<Reference>());
    size_of::<Image>() + names.sum::<usize>()
}

/// Names images of a layout that have none as manifest.json does.
fn name(store: &Store, images: &mut [Image], listed: &[Saved]) -> Result<(), ArchiveError> {
    for image in images.iter_mut().filter(|image| image.names.is_empty()) {
        let manifest = match layout::manifest(store, &image.digest) {
            Err(error) if error.may_pass() => return Err(error),
            manifest => manifest.ok().flatten(),
        };
        let Some(Manifest::Image(manifest)) = manifest.and_then(|raw| raw.parse().ok()) else {
            continue;
        };
        let config = layout::blob(&manifest.config.digest);
        let same = listed.iter().filter(|saved| saved.config == config);
        let names = same.flat_map(|saved| &saved.repo_tags).filter_map(|tag| layout::name(tag));
        image.names = layout::unique(names.collect());
    }
    Ok(())
}

/// Why there are none, as far as that can be told.
fn no_images(store: &Store) -> ArchiveError {
    let is_there = |name| matches!(store.file(name), Ok(Some(_)));
    let hint = if is_there("repositories") {
        ", as docker before 1.10 wrote it: load it, and save it again"
    } else if is_there("oci-layout") {
        ", although it begins as an OCI layout does: it was not written to its end"
    } else {
        ""
    };
    ArchiveError::NoImages { file: store.path().into(), hint }
}

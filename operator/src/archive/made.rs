//! Manifests that are made for images without one, and the layers that were deflated for them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    ArchiveError,
    files::Place,
    layer::Layer,
    packing::Counted,
    saved::{MAX_CONFIG, Parts},
    store::Store,
};
use crate::oci::{Descriptor, Digest, ImageConfig, RawManifest, media_type, saved};

/// What was made so far.
#[derive(Default)]
pub(super) struct Made {
    known: Mutex<Known>,
    /// What those who wait want to be read, by where it begins: the next one reads it all at once.
    wanted: Mutex<BTreeMap<u64, Place>>,
    /// Whoever reads layers, so that none is read twice.
    reading: Mutex<()>,
    /// How many bytes of layers were read, and how many were to be.
    done: Arc<AtomicU64>,
    all: AtomicU64,
}

#[derive(Default)]
struct Known {
    /// Layers by where they begin.
    layers: BTreeMap<u64, (Layer, Place)>,
    /// Where the layers of these digests begin; of two that are alike the first one.
    places: BTreeMap<Digest, u64>,
    manifests: BTreeMap<Digest, RawManifest>,
    /// How many bytes the manifests have.
    bytes: usize,
}

/// A blob of an archive.
pub(super) struct Blob {
    pub(super) place: Place,
    pub(super) size: u64,
    /// The archive has it plain.
    pub(super) is_deflated: bool,
}

/// Why layers could not be read, by where they begin.
pub(super) type Failed = BTreeMap<u64, ArchiveError>;

/// How many bytes the manifests of an archive may have, all together.
const MAX_MANIFESTS: usize = 8 << 20;

/// About how many bytes a layer takes that was read.
const LAYER: usize = 1 << 10;

/// How many layers of a plain archive are read at once, each by a thread of its own.
const AT_ONCE: usize = 4;

impl Made {
    /// Reads the layers of `images` that were not read before, and those that others wait for, in the order of the archive.
    pub(super) fn read<'a>(
        &self,
        store: &Store,
        images: impl Iterator<Item = &'a Parts>,
    ) -> Failed {
        let mut mine = BTreeMap::new();
        for name in images.flat_map(|parts| &parts.layers) {
            let place = store.files().and_then(|files| files.get(name));
            mine.extend(place.map(|place| (place.at, place)));
        }
        lock(&self.wanted).extend(mine.clone());
        let _one = lock(&self.reading);
        let mut places = std::mem::take(&mut *lock(&self.wanted));
        // What failed for somebody else is tried again, and told.
        places.extend(mine);
        places.retain(|at, _| !self.known().layers.contains_key(at));
        let places: Vec<_> = places.into_values().collect();
        let bytes = places.iter().map(|place: &Place| place.size).sum();
        self.all.fetch_add(bytes, Ordering::Relaxed);
        let failed = Mutex::new(Failed::new());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.read_one(store, place) {
                    Ok(layer) => self.known().add(layer, place.clone()),
                    Err(error) => {
                        lock(&failed).insert(place.at, error);
                    }
                }
            }
        };
        // A packed archive has one reader.
        let threads = if store.is_packed() { 1 } else { AT_ONCE.min(places.len()) };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 1..threads.min(cores) {
                scope.spawn(work);
            }
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_one(&self, store: &Store, place: &Place) -> Result<Layer, ArchiveError> {
        let layer = Counted { reader: store.read(place)?, taken: Arc::clone(&self.done) };
        Layer::read(layer, &store.part(&place.name))
    }

    /// About how many bytes of memory it keeps by now.
    pub(super) fn keeps(&self) -> usize {
        let known = self.known();
        known.bytes + known.layers.len() * LAYER
    }

    /// How many bytes of layers were read, and of how many.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }

    /// The manifest of the image `config`, whose layers were read, but for those that failed.
    pub(super) fn manifest(
        &self,
        store: &Store,
        config: &Digest,
        parts: &Parts,
        failed: &Failed,
    ) -> Result<RawManifest, ArchiveError> {
        let bytes = store.document(&parts.config, MAX_CONFIG)?;
        if !config.matches(&bytes) {
            let (of, expected) = (store.part(&parts.config.name), config.clone());
            return Err(ArchiveError::Digest { of, expected, computed: Digest::of(&bytes) });
        }
        let diff_ids = ImageConfig::diff_ids(&bytes).map_err(|source| ArchiveError::Document {
            of: store.part(&parts.config.name),
            source,
        })?;
        if diff_ids.len() != parts.layers.len() {
            return Err(ArchiveError::Layers {
                file: store.path().into(),
                config: config.clone(),
                layers: parts.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let mut layers = Vec::new();
        for (name, expected) in parts.layers.iter().zip(diff_ids) {
            let layer = self.read_layer(store, name, failed)?;
            if layer.diff_id != expected {
                return Err(ArchiveError::DiffId {
                    of: store.part(name),
                    config: config.clone(),
                    expected,
                    computed: layer.diff_id,
                });
            }
            layers.push(layer);
        }
        let manifest = assemble(config, parts.config.size, &layers);
        if !self.known().keep(&manifest) {
            let (file, what) = (store.path().into(), "bytes of manifests");
            return Err(ArchiveError::TooMany { file, what, limit: MAX_MANIFESTS });
        }
        Ok(manifest)
    }

    /// The layer that manifest.json calls `name`.
    fn read_layer(
        &self,
        store: &Store,
        name: &str,
        failed: &Failed,
    ) -> Result<Layer, ArchiveError> {
        let missing = || ArchiveError::Missing { of: store.part(name), what: "a layer" };
        let place = store.files().and_then(|files| files.get(name)).ok_or_else(missing)?;
        if let Some(error) = failed.get(&place.at) {
            return Err(error.clone());
        }
        let known = self.known();
        known.layers.get(&place.at).map(|(layer, _)| layer.clone()).ok_or_else(missing)
    }

    /// A manifest that was made.
    pub(super) fn known_manifest(&self, digest: &Digest) -> Option<RawManifest> {
        self.known().manifests.get(digest).cloned()
    }

    /// A layer that was read.
    pub(super) fn layer(&self, digest: &Digest) -> Option<Blob> {
        let known = self.known();
        let (layer, place) = known.layers.get(known.places.get(digest)?)?;
        let is_deflated = layer.packing.is_none();
        Some(Blob { place: place.clone(), size: layer.size, is_deflated })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Remembers `manifest`, where there is room.
    fn keep(&mut self, manifest: &RawManifest) -> bool {
        if !self.manifests.contains_key(manifest.digest()) {
            self.bytes += manifest.bytes().len();
            if self.bytes > MAX_MANIFESTS {
                return false;
            }
            self.manifests.insert(manifest.digest().clone(), manifest.clone());
        }
        true
    }

    fn add(&mut self, layer: Layer, place: Place) {
        let at = self.places.entry(layer.digest.clone()).or_insert(place.at);
        *at = place.at.min(*at);
        self.layers.insert(place.at, (layer, place));
    }
}

/// Docker's manifest, as `docker push` makes it; OCI's where a layer is of a kind that Docker's has no type for.
fn assemble(config: &Digest, size: u64, layers: &[Layer]) -> RawManifest {
    let descriptor =
        |media_type: &str, digest: &Digest, size| Descriptor::of(media_type, digest.clone(), size);
    let docker: Option<Vec<_>> = layers
        .iter()
        .map(|layer| Some(descriptor(layer.docker_type()?, &layer.digest, layer.size)))
        .collect();
    if let Some(layers) = docker {
        let config = descriptor(media_type::DOCKER_CONFIG, config, size);
        return saved::manifest(media_type::DOCKER_MANIFEST, &config, &layers);
    }
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor(layer.oci_type(), &layer.digest, layer.size))
        .collect();
    let config = descriptor(media_type::OCI_CONFIG, config, size);
    saved::manifest(media_type::OCI_MANIFEST, &config, &layers)
}

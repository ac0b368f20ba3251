//! The images of a `docker save` archive: what manifest.json names, by the digests of their configs.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ArchiveError, Image, Kind, Unusable,
    files::{Files, Place},
    layout,
    layout::MAX_IMAGES,
    path,
    store::Store,
};
use crate::oci::{
    Digest, ImageConfig,
    manifest::MAX_BYTES,
    saved::{self, Saved},
};

/// How many bytes a config may have.
pub(super) const MAX_CONFIG: u64 = 8 << 20;

/// How many layers an image may have: docker takes 127.
const MAX_LAYERS: usize = 1024;

/// What an image is made of.
pub(super) struct Parts {
    pub(super) config: Place,
    /// Bottom first, each with the name that manifest.json has for it.
    pub(super) layers: Vec<String>,
}

impl Parts {
    /// About how many bytes of memory they take.
    pub(super) fn keeps(&self) -> usize {
        let layers = self.layers.iter().map(|name| name.len() + size_of::<String>());
        size_of::<Self>() + layers.sum::<usize>()
    }
}

/// The images of manifest.json, their parts by the digests of their configs, and those that are not there.
pub(super) type Images = (Vec<Image>, BTreeMap<Digest, Parts>, Vec<Unusable>);

/// The images that manifest.json lists.
pub(super) fn list(store: &Store) -> Result<Vec<Saved>, ArchiveError> {
    let Some(place) = store.file("manifest.json")? else { return Ok(Vec::new()) };
    let bytes = store.document(&place, MAX_BYTES)?;
    let of = store.part("manifest.json");
    let mut listed = saved::list(&bytes).map_err(|source| ArchiveError::Document { of, source })?;
    if listed.len() > MAX_IMAGES {
        let (file, limit) = (store.path().into(), MAX_IMAGES);
        return Err(ArchiveError::TooMany { file, what: "images", limit });
    }
    for image in &mut listed {
        if image.layers.len() > MAX_LAYERS {
            let (file, limit) = (store.path().into(), MAX_LAYERS);
            return Err(ArchiveError::TooMany { file, what: "layers of one image", limit });
        }
        for name in image.layers.iter_mut().chain([&mut image.config]) {
            *name = path::normal(name).map_err(|why| ArchiveError::Path {
                file: store.path().into(),
                path: std::mem::take(name),
                why,
            })?;
        }
    }
    Ok(listed)
}

/// All paths that manifest.json names.
pub(super) fn paths(listed: &[Saved]) -> BTreeSet<String> {
    listed.iter().flat_map(|image| image.layers.iter().chain([&image.config])).cloned().collect()
}

/// The images of `listed`, each once, with the digest that their config really has. Fails where none can be had.
pub(super) fn images(
    store: &Store,
    files: &Files,
    listed: Vec<Saved>,
) -> Result<Images, ArchiveError> {
    let mut places: Vec<_> = listed.iter().filter_map(|image| files.get(&image.config)).collect();
    // In the order of the archive, so that a packed one is read once.
    places.sort_by_key(|place| place.at);
    places.dedup_by_key(|place| place.at);
    let read = |place: &Place| {
        let config = store.document(place, MAX_CONFIG)?;
        Ok((Digest::of(&config), ImageConfig::parse(&config).ok()))
    };
    let configs: BTreeMap<_, Result<(Digest, Option<ImageConfig>), ArchiveError>> =
        places.iter().map(|place| (place.at, read(place))).collect();
    let config = |image: &Saved| {
        let of = || store.part(&image.config);
        let missing = || ArchiveError::Missing { of: of(), what: "the config" };
        let place = files.get(&image.config).ok_or_else(missing)?;
        configs[&place.at].clone().map(|(digest, config)| (place, digest, config))
    };
    let (mut images, mut unusable) = (Vec::<Image>::new(), Vec::new());
    let (mut parts, mut known) = (BTreeMap::new(), BTreeMap::new());
    for image in listed {
        let names = image.repo_tags.iter().filter_map(|tag| layout::name(tag)).collect();
        let names = layout::unique(names);
        let (place, digest, config) = match config(&image) {
            Ok(found) => found,
            Err(why) if why.may_pass() => return Err(why),
            Err(why) => {
                unusable.push(Unusable { names, why });
                continue;
            }
        };
        if let Some(at) = known.get(&digest) {
            let before: &mut Image = &mut images[*at];
            before.names = layout::unique(before.names.drain(..).chain(names).collect());
            continue;
        }
        known.insert(digest.clone(), images.len());
        parts.insert(digest.clone(), Parts { config: place, layers: image.layers });
        let platforms = config.map(|config| vec![config.platform]);
        images.push(Image { names, digest, kind: Kind::Saved, absent: Vec::new(), platforms });
    }
    match unusable.first() {
        Some(first) if images.is_empty() => Err(first.why.clone()),
        _ => Ok((images, parts, unusable)),
    }
}

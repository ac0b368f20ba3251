//! An index of which not all is in its archive, as one of what is.

use std::collections::HashSet;

use super::opened::Opened;
use crate::{
    oci::{Descriptor, Digest, Index, Manifest, RawManifest, Reference},
    registry::RegistryError,
};

/// `raw`, which `name` names in `archive`, without what is `absent` of it. Where all is there, it is what it is; else
/// it is another index, of the images that are there, each with what attests it.
pub(super) fn of(
    archive: &Opened,
    name: &Reference,
    raw: RawManifest,
    absent: &[Descriptor],
) -> Result<RawManifest, RegistryError> {
    let Ok(Manifest::Index(index)) = raw.parse() else { return Ok(raw) };
    if absent.is_empty() {
        return Ok(raw);
    }
    let absent: HashSet<&Digest> = absent.iter().map(|descriptor| &descriptor.digest).collect();
    let (mut children, mut seen) = (Vec::new(), HashSet::new());
    let mut open = index.manifests.clone();
    open.reverse();
    while let Some(child) = open.pop() {
        if absent.contains(&child.digest) {
            continue;
        }
        if !crate::oci::media_type::is_index(&child.media_type) {
            children.push(child);
            continue;
        }
        if !seen.insert(child.digest.clone()) {
            continue;
        }
        let inner = archive.manifest(&child.digest).map_err(|error| archive.told(&error))?;
        match inner.map(|inner| inner.parse()) {
            Some(Ok(Manifest::Index(inner))) => open.extend(inner.manifests.into_iter().rev()),
            // Whoever reads the index says what is wrong with it.
            _ => children.push(child),
        }
    }
    let images: HashSet<Digest> =
        children.iter().filter(|it| !it.is_attestation()).map(|it| it.digest.clone()).collect();
    if images.is_empty() {
        let why = format!(
            "none of the images that {name} lists is in the archive: save it with the platforms that it is for"
        );
        return Err(RegistryError::Archive { why });
    }
    children.retain(|child| {
        !child.is_attestation() || child.attests().is_some_and(|of| images.contains(&of))
    });
    Ok(Index { manifests: children, ..index }.to_raw())
}

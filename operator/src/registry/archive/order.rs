//! The order in which blobs of archives are copied, so that a packed one is read once for all of them.

use std::collections::BTreeMap;

use super::Archives;
use crate::{
    oci::{Descriptor, Digest, Repository},
    registry::{Access, Copied, Place, Progress, Registry, RegistryError},
};

/// A blob of an archive that a repository lacks.
#[derive(Clone, Debug)]
pub struct Lacking {
    /// What the archive has of the image's repository.
    pub from: Repository,
    /// Where it is lacking.
    pub to: Repository,
    /// Who writes there.
    pub writes: Access,
    /// Its digest.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

impl<R> Archives<R> {
    /// Those of `blobs` that packed archives have, by archive: each once for a repository, in the order of the archive.
    #[must_use]
    pub fn in_order(&self, blobs: Vec<Lacking>) -> Vec<(String, Vec<Lacking>)> {
        let mut by_archive: BTreeMap<String, Vec<(u64, Lacking)>> = BTreeMap::new();
        for blob in blobs {
            let Some(name) = blob.from.archive().map(str::to_owned) else { continue };
            let archive = self.opened.get(&name).filter(|archive| archive.is_compressed());
            if let Some(at) = archive.and_then(|archive| archive.position(&blob.digest)) {
                by_archive.entry(name).or_default().push((at, blob));
            }
        }
        let in_order = by_archive.into_iter().map(|(name, mut blobs)| {
            blobs.sort_by(|(one, a), (other, b)| (one, &a.to).cmp(&(other, &b.to)));
            blobs.dedup_by(|(_, a), (_, b)| (&a.digest, &a.to) == (&b.digest, &b.to));
            (name, blobs.into_iter().map(|(_, blob)| blob).collect())
        });
        in_order.collect()
    }
}

impl<R: Registry> Archives<R> {
    /// Copies `blob` before the run that needs it, which is then told what was done for it.
    pub async fn copy_ahead(
        &self,
        blob: &Lacking,
        progress: &Progress,
    ) -> Result<Option<Copied>, RegistryError> {
        let Lacking { from, to, writes, digest, size } = blob;
        let descriptor = Descriptor {
            media_type: "application/octet-stream".into(),
            digest: digest.clone(),
            size: *size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        };
        let nobody = Access::default();
        let from = Place { access: &nobody, repository: from };
        let to = Place { access: writes, repository: to };
        let copied = self.copy_blob(from, to, &descriptor, progress).await?;
        if let Some(copied) = copied {
            self.known.ahead(to.repository, digest, copied);
        }
        Ok(copied)
    }
}

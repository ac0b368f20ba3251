//! reads: the config of an image: the truth about its platform, and the labels that must be equal.

use super::{ResolveError, read::Reader};
use crate::{
    oci::{ImageConfig, ImageManifest, Label, Platform, manifest::ManifestError},
    registry::Registry,
};

impl<R: Registry> Reader<'_, R> {
    /// What the config of `image` says.
    pub(super) async fn config(
        &self,
        image: &ImageManifest,
    ) -> Result<(Platform, Vec<Label>), ResolveError> {
        if !image.has_platform() {
            let config =
                image.artifact_type.clone().unwrap_or_else(|| image.config.media_type.clone());
            return Err(ResolveError::NoPlatform { reference: self.reference(), config });
        }
        let bytes = self.blob(image).await?;
        let config = ImageConfig::parse(&bytes).map_err(|source| self.unusable(source))?;
        let keys = &self.sources.equal_labels;
        let labels = ImageConfig::labels(&bytes, keys).map_err(|source| self.unusable(source))?;
        Ok((config.platform, labels))
    }

    /// The labels of an image whose platform is trusted: an artifact that has no image config has
    /// none.
    pub(super) async fn labels(&self, image: &ImageManifest) -> Result<Vec<Label>, ResolveError> {
        let keys = &self.sources.equal_labels;
        if keys.is_empty() || !image.has_platform() {
            return Ok(vec![Label::Absent; keys.len()]);
        }
        let bytes = self.blob(image).await?;
        ImageConfig::labels(&bytes, keys).map_err(|source| self.unusable(source))
    }

    async fn blob(&self, image: &ImageManifest) -> Result<bytes::Bytes, ResolveError> {
        let blob = self.registry.get_blob(self.access, self.repository, &image.config).await;
        let (reference, digest) = (self.reference(), image.config.digest.clone());
        let blob = blob.map_err(|source| self.failed(source))?;
        blob.ok_or(ResolveError::ConfigGone { reference, digest })
    }

    fn unusable(&self, source: ManifestError) -> ResolveError {
        ResolveError::Content { reference: self.reference(), source }
    }
}

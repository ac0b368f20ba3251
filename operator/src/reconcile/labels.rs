//! reads: the labels of published images that stay, whose sources are not there to be read.

use futures::{StreamExt, TryStreamExt, stream};

use super::{plan::Labelled, publish::PublishError, sources::Sources};
use crate::{
    oci::{ImageConfig, Label, Manifest, TagOrDigest},
    registry::{Access, Registry},
};

/// How many images are read at once.
const AT_ONCE: usize = 8;

/// `images`, each with what its config says for the labels that must be equal. An index may not mix
/// builds because one of them is only kept.
pub async fn read<R: Registry>(
    registry: &R,
    access: &Access,
    sources: &Sources,
    images: Vec<Labelled>,
) -> Result<Vec<Labelled>, PublishError> {
    let reads = images.into_iter().map(|image| async move {
        let labels = match image.labels {
            Some(labels) => labels,
            None => of_target(registry, access, sources, &image).await?,
        };
        Ok(Labelled { labels: Some(labels), ..image })
    });
    let reads: Vec<_> = reads.collect();
    stream::iter(reads).buffered(AT_ONCE).try_collect().await
}

/// What the config of `image`, which is in the target's repository, says.
async fn of_target<R: Registry>(
    registry: &R,
    access: &Access,
    sources: &Sources,
    image: &Labelled,
) -> Result<Vec<Label>, PublishError> {
    let (repository, keys) = (sources.target.repository(), &sources.equal_labels);
    let none = || vec![Label::Absent; keys.len()];
    let failed = |source| PublishError::Look { target: sources.target.clone(), source };
    let gone = || PublishError::ChildGone { image: repository.digest(&image.digest) };
    let of = TagOrDigest::Digest(image.digest.clone());
    let raw = registry.get_manifest(access, repository, &of).await.map_err(failed)?;
    let config = match raw.ok_or_else(gone)?.parse() {
        Ok(Manifest::Image(manifest)) if manifest.has_platform() => manifest.config,
        _ => return Ok(none()),
    };
    let bytes = registry.get_blob(access, repository, &config).await.map_err(failed)?;
    Ok(ImageConfig::labels(&bytes.ok_or_else(gone)?, keys).unwrap_or_else(|_| none()))
}

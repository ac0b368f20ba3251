//! pure: what the published index may be and list, by the target's format.

use std::collections::BTreeMap;

use multiarch_crds::v1alpha1::{Attestations, Format, MultiArchImageSpec};

use super::{Sources, SpecError};
use crate::oci::{Descriptor, Index, media_type};

impl Sources {
    /// Whether attestation manifests are left out.
    #[must_use]
    pub fn drops_attestations(&self) -> bool {
        self.attestations == Attestations::Drop
    }

    /// Whether what has `media_type` may be published as it is.
    #[must_use]
    pub fn may_publish(&self, media_type: &str) -> bool {
        let oci = matches!(media_type, media_type::OCI_INDEX | media_type::OCI_MANIFEST);
        let docker = matches!(media_type, media_type::DOCKER_LIST | media_type::DOCKER_MANIFEST);
        match self.format {
            _ if self.any_format => oci || docker,
            Format::Oci => oci,
            Format::Docker => docker,
        }
    }

    /// Whether the index may list what has `media_type`. An OCI index takes both kinds; an image is
    /// never converted, since that would change its digest.
    #[must_use]
    pub fn may_list(&self, media_type: &str) -> bool {
        self.format == Format::Oci || self.may_publish(media_type)
    }

    /// `image` as the index lists it: a Docker manifest list has no annotations and no more of a
    /// descriptor than media type, size, digest and platform (distribution's manifestlist).
    #[must_use]
    pub fn listed(&self, image: Descriptor) -> Descriptor {
        match self.format {
            Format::Oci => image,
            Format::Docker => Descriptor {
                urls: Vec::new(),
                annotations: BTreeMap::new(),
                data: None,
                artifact_type: None,
                ..image
            },
        }
    }

    /// The index of `children`.
    #[must_use]
    pub fn index(&self, children: Vec<Descriptor>) -> Index {
        let index = Index::new(children, self.annotations.clone());
        match self.format {
            Format::Oci => index,
            Format::Docker => Index { media_type: media_type::DOCKER_LIST.into(), ..index },
        }
    }
}

/// Refuses a Docker manifest list with what it cannot have.
pub(super) fn check(spec: &MultiArchImageSpec) -> Result<(), SpecError> {
    let docker = spec.target.format == Format::Docker;
    let annotated = !spec.annotations.is_empty()
        || spec.sources.iter().any(|source| !source.annotations.is_empty());
    if docker && spec.attestations != Attestations::Drop {
        let (what, remedy) = ("attestations", "set attestations: Drop");
        return Err(SpecError::Docker { what, remedy });
    }
    if docker && annotated {
        let (what, remedy) = ("annotations", "leave them out");
        return Err(SpecError::Docker { what, remedy });
    }
    Ok(())
}

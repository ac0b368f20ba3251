//! pure: an object of either kind, as far as both are alike.

use anyhow::{Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSet};

use super::{
    name::{Kind, Name},
    set::SetState,
    state::{State, is_current},
};

/// An object of either kind.
#[derive(Debug)]
pub(crate) enum Object {
    /// One tag.
    Image(Box<MultiArchImage>),
    /// A list of images.
    Set(Box<MultiArchImageSet>),
}

impl From<MultiArchImage> for Object {
    fn from(image: MultiArchImage) -> Self {
        Self::Image(Box::new(image))
    }
}

impl From<MultiArchImageSet> for Object {
    fn from(set: MultiArchImageSet) -> Self {
        Self::Set(Box::new(set))
    }
}

impl Object {
    /// Its metadata.
    pub(super) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Image(image) => &image.metadata,
            Self::Set(set) => &set.metadata,
        }
    }

    /// Where it is, and what it is called.
    pub(super) fn named(&self) -> Result<(&str, Name)> {
        let kind = match self {
            Self::Image(_) => Kind::MultiArchImage,
            Self::Set(_) => Kind::MultiArchImageSet,
        };
        match (&self.meta().namespace, &self.meta().name) {
            (Some(namespace), Some(name)) => Ok((namespace, kind.named(name))),
            _ => bail!("the API server gave an object without a name"),
        }
    }

    /// Whether it is to be left alone.
    pub(super) fn is_suspended(&self) -> bool {
        match self {
            Self::Image(image) => image.spec.suspend,
            Self::Set(set) => set.spec.suspend,
        }
    }

    /// Whether the status speaks of it as it is now.
    pub(super) fn is_current(&self) -> bool {
        let observed = match self {
            Self::Image(image) => image.status.as_ref().and_then(|it| it.observed_generation),
            Self::Set(set) => set.status.as_ref().and_then(|it| it.observed_generation),
        };
        is_current(self.meta(), observed)
    }

    /// The request for a run that was last acted on.
    pub(super) fn handled(&self) -> Option<&str> {
        match self {
            Self::Image(image) => image.status.as_ref()?.last_handled_reconcile_at.as_deref(),
            Self::Set(set) => set.status.as_ref()?.last_handled_reconcile_at.as_deref(),
        }
    }

    /// Its conditions.
    pub(super) fn conditions(&self) -> &[Condition] {
        match self {
            Self::Image(image) => image.status.as_ref().map_or(&[], |it| &it.conditions),
            Self::Set(set) => set.status.as_ref().map_or(&[], |it| &it.conditions),
        }
    }

    /// What it says, where that is not told by its being fine.
    pub(super) fn says(&self) -> Option<String> {
        match self {
            Self::Image(image) => State::of(image).says(),
            Self::Set(set) => SetState::of(set).says(),
        }
    }
}

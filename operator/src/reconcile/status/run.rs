//! pure: what a run found and did.

use multiarch_crds::v1alpha1::{PendingTag, PublishedPlatform};

use crate::{
    error::Failure,
    oci::{Platform, Reference},
    reconcile::{
        children::Kept, plan::Required, publish::Published, referrers::Followed,
        resolve::Resolution,
    },
};

/// What a run found and did.
#[derive(Debug)]
pub struct Run {
    /// What the sources gave, in the order of the spec; empty where none was asked.
    pub resolutions: Vec<Resolution>,
    /// What the index must have and the plan has, where it was counted.
    pub counted: Option<Counted>,
    /// The registry took an index under the target's tag, whether or not it was read back.
    pub pushed: bool,
    /// The registry took something under another tag.
    pub wrote_tag: bool,
    /// What tags named before this run put them back, in words.
    pub drifts: Vec<String>,
    /// A tag that something else had moved was put back, whether or not it stayed.
    pub put_back: bool,
    /// The tags that were not yet seen to name what they are to name; `None` where that is as it was.
    pub pending: Option<Vec<PendingTag>>,
    /// Images of the published index that were gone and put back.
    pub repaired: Vec<Reference>,
    /// Whether all images of the published index are there; `None` where that is not known.
    pub whole: Option<bool>,
    /// What became of referrers of those images, where they were looked for.
    pub referrers: Option<Followed>,
    /// Names of sources that give the same platform.
    pub conflict: Vec<String>,
    /// Name of the source of which a blob is gone, as the outcome says.
    pub incomplete: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Run {
    /// A run that ended before it asked anything.
    #[must_use]
    pub fn without_answers(outcome: Outcome) -> Self {
        Self {
            resolutions: Vec::new(),
            counted: None,
            pushed: false,
            wrote_tag: false,
            drifts: Vec::new(),
            put_back: false,
            pending: None,
            repaired: Vec::new(),
            whole: None,
            referrers: None,
            conflict: Vec::new(),
            incomplete: None,
            outcome,
        }
    }

    /// It with what became of the published images.
    #[must_use]
    pub fn with(self, kept: Kept) -> Self {
        let Kept { repaired, whole, referrers } = kept;
        Self { repaired, whole, referrers, ..self }
    }

    /// Why it did not do all that the spec asks for.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Held(failure) => Some(failure),
            Outcome::Served { tags, .. } | Outcome::Stands { tags } => tags.failed.as_ref(),
            Outcome::Unchanged | Outcome::Suspended => None,
        }
    }
}

/// What an index must have, and what the sources or the plan have of it.
#[derive(Clone, Debug)]
pub struct Counted {
    /// What it must have.
    pub required: Required,
    /// What there is.
    pub planned: Vec<Platform>,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is as the status says, apart from what the sources answered.
    Unchanged,
    /// The target's tag was read back.
    Served {
        /// What it names.
        published: Published,
        /// The images of the index.
        platforms: Vec<PublishedPlatform>,
        /// What became of the other tags.
        tags: Tags,
    },
    /// The target's tag was written once and stands, whatever the sources give now.
    Stands {
        /// What became of the other tags.
        tags: Tags,
    },
    /// Nothing was published, or not read back.
    Held(Failure),
    /// The object is suspended.
    Suspended,
}

/// What became of the tags beside the target's.
#[derive(Debug, Default)]
pub struct Tags {
    /// Those that this object has written.
    pub ours: Vec<String>,
    /// Why one of them is not as it should be.
    pub failed: Option<Failure>,
}

//! pure: what a run found and did.

use multiarch_crds::v1alpha1::PublishedPlatform;

use crate::{
    error::Failure,
    oci::{Platform, Reference},
    reconcile::{plan::Required, publish::Published, referrers::Skipped, resolve::Resolution},
};

/// What a run found and did.
#[derive(Debug)]
pub struct Run {
    /// What the sources gave, in the order of the spec; empty where none was asked.
    pub resolutions: Vec<Resolution>,
    /// What the index must have and the plan has, where it was counted.
    pub counted: Option<Counted>,
    /// The registry took an index, whether or not it was read back.
    pub pushed: bool,
    /// What the tag named instead of the published index before this run put it back, in words.
    pub drift: Option<String>,
    /// Images of the published index that were gone and put back.
    pub repaired: Vec<Reference>,
    /// Which referrers were not copied, where they were looked for.
    pub referrers: Option<Skipped>,
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
            drift: None,
            repaired: Vec::new(),
            referrers: None,
            conflict: Vec::new(),
            incomplete: None,
            outcome,
        }
    }

    /// Whether there is something to tell of beside the status.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let skipped = self.referrers.as_ref().is_some_and(|skipped| !skipped.notes.is_empty());
        skipped || !self.repaired.is_empty()
    }

    /// Why it did not do all that the spec asks for.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Held(failure) | Outcome::Served { failed: Some(failure), .. } => Some(failure),
            _ => None,
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
        /// The other tags that this object has written.
        tags: Vec<String>,
        /// Why one of the other tags is not as it should be.
        failed: Option<Failure>,
    },
    /// The target's tag was written once and stands, whatever the sources give now.
    Stands,
    /// Nothing was published, or not read back.
    Held(Failure),
    /// The object is suspended.
    Suspended,
}

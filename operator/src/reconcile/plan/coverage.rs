//! pure: what an index must have, and what the sources or a plan have of it.

use std::collections::HashSet;

use multiarch_crds::v1alpha1::Coverage;

use crate::{
    oci::Platform,
    reconcile::{
        memory::Memory,
        resolve::{Answer, Resolution},
        sources::Sources,
    },
};

/// The platforms that an index must have to be complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// Those that are known, normalised and in order.
    pub platforms: Vec<Platform>,
    /// Sources of which not even the platform is known.
    pub unknown: usize,
}

/// What an index must have: the spec's platforms, and those that the sources have or, while they
/// are absent, had or are declared to have. Optional sources require nothing.
#[must_use]
pub fn required(sources: &Sources, resolutions: &[Resolution], memory: &Memory) -> Required {
    let mut platforms: Vec<Platform> = sources.required.iter().map(Platform::normalized).collect();
    let mut unknown = 0;
    let answers = sources.sources.iter().zip(resolutions);
    for (source, resolution) in answers.filter(|(source, _)| !source.optional) {
        let mut its: Vec<Platform> = match &resolution.answer {
            Answer::Found(found) => {
                let lacking = found.lacking.iter().filter_map(|text| text.parse::<Platform>().ok());
                let found = found.children.iter().map(|child| child.platform.clone());
                found.chain(lacking.map(|platform| platform.normalized())).collect()
            }
            _ => memory.published_from(&source.name).map(|child| child.platform.clone()).collect(),
        };
        if its.is_empty() {
            its = source.declared.iter().map(|d| d.platform.normalized()).collect();
        }
        unknown += usize::from(its.is_empty());
        platforms.append(&mut its);
    }
    platforms.sort_by_cached_key(Platform::sort_key);
    platforms.dedup();
    Required { platforms, unknown }
}

impl Required {
    /// The known platforms that none of `has` covers.
    #[must_use]
    pub fn lacking(&self, has: &[Platform]) -> Vec<String> {
        let covered = |required: &&Platform| !has.iter().any(|platform| platform.covers(required));
        self.platforms.iter().filter(covered).map(|p| p.normalized().to_string()).collect()
    }

    /// Coverage by a plan that has the platforms `planned`, beside a tag that has `published`. A
    /// platform that is there as gzip and as zstd is one platform.
    #[must_use]
    pub fn coverage(&self, planned: &[Platform], published: &[Platform]) -> Coverage {
        let published = published.iter().map(Platform::sort_key).collect::<HashSet<_>>().len();
        let missing = self.lacking(planned);
        let required = self.platforms.len() + self.unknown;
        let covered = self.platforms.len() - missing.len();
        Coverage {
            required: count(required),
            covered: count(covered),
            published: count(published),
            missing,
            nodes_missing: Vec::new(),
            summary: format!("{covered}/{required}"),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

//! Which tags are being worked on: of two objects that name one tag, the second begins when the first has been reported.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use multiarch_crds::v1alpha1::Target;

use super::lock;
use crate::oci::Reference;

/// The tags that runs at hand may write.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy(Arc<Mutex<HashSet<Reference>>>);

/// The tags of one run, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Alone {
    busy: Busy,
    tags: Vec<Reference>,
}

impl Busy {
    /// The right to work on the tags of `target`; `None` while another run works on one of them.
    pub(super) fn enter(&self, target: &Target) -> Option<Alone> {
        let image: Option<Reference> = target.image.parse().ok();
        let of = |image: &Reference| -> Vec<Reference> {
            let more = target.additional_tags.iter().map(|tag| image.repository().tag(tag));
            more.chain([image.clone()]).collect()
        };
        let tags = image.as_ref().map(of).unwrap_or_default();
        let mut busy = lock(&self.0);
        if tags.iter().any(|tag| busy.contains(tag)) {
            return None;
        }
        busy.extend(tags.iter().cloned());
        Some(Alone { busy: self.clone(), tags })
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let mut busy = lock(&self.busy.0);
        for tag in &self.tags {
            busy.remove(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(tag: &str, more: &[&str]) -> Target {
        let additional_tags = more.iter().map(|tag| (*tag).to_owned()).collect();
        Target { image: format!("r.example/app:{tag}"), additional_tags, ..Target::default() }
    }

    #[test]
    fn one_at_a_time_for_each_tag() {
        let busy = Busy::default();
        let first = busy.enter(&target("1.0", &["latest"])).unwrap();
        assert!(busy.enter(&target("1.0", &[])).is_none());
        assert!(busy.enter(&target("2.0", &["latest"])).is_none());
        assert!(busy.enter(&target("latest", &[])).is_none());
        let second = busy.enter(&target("2.0", &[])).unwrap();
        drop(first);
        assert!(busy.enter(&target("1.0", &["latest"])).is_some());
        assert!(busy.enter(&target("2.0", &[])).is_none());
        drop(second);
        assert!(busy.enter(&target("2.0", &[])).is_some());
    }
}

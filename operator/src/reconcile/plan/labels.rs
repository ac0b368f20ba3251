//! pure: whether the images of an index agree in the labels that must be equal.

use std::collections::BTreeMap;

use super::Held;
use crate::{
    oci::{Digest, Label},
    reconcile::resolve::Child,
};

/// An image with what its config says for each of the labels that must be equal.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// What messages call it.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// What it says, in the order of the labels; `None` where its config was not read.
    pub labels: Option<Vec<Label>>,
}

/// `children`, called as their source, and by platform where that does not tell them apart.
pub(super) fn of(children: &[Child]) -> Vec<Labelled> {
    let name = |child: &Child| {
        let siblings = children.iter().filter(|other| other.source == child.source).count();
        match (child.source.as_str(), siblings) {
            ("", _) => format!("{} of the tag", child.platform),
            (source, 1) => source.to_owned(),
            (source, _) => format!("{source} ({})", child.platform),
        }
    };
    let labelled = |child: &Child| Labelled {
        name: name(child),
        digest: child.descriptor.digest.clone(),
        labels: child.labels.clone(),
    };
    children.iter().map(labelled).collect()
}

/// Holds `images` to one value of each of the labels `keys`. One whose config was not read says
/// nothing.
pub fn agree(keys: &[String], images: &[Labelled]) -> Result<(), Held> {
    let mut differ = keys.iter().enumerate().filter_map(|(at, key)| {
        let mut values: BTreeMap<&Label, Vec<String>> = BTreeMap::new();
        for image in images {
            if let Some(label) = image.labels.as_ref().and_then(|labels| labels.get(at)) {
                values.entry(label).or_default().push(image.name.clone());
            }
        }
        let agree = values.len() <= 1 && !values.contains_key(&Label::Absent);
        (!agree).then_some((key, values))
    });
    let Some((label, values)) = differ.next() else { return Ok(()) };
    let values = values.into_iter().map(|(value, mut names)| {
        names.sort_unstable();
        (value.clone(), names)
    });
    Err(Held::Differ { label: label.clone(), values: values.collect(), more: differ.count() })
}

//! Where the images of a set come from: from a registry, or from those of its archives that have them.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use kube::ResourceExt;
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{MultiArchImageSet, SetArchive},
};

use super::Desk;
use crate::{
    archive::{Archive, Kind},
    controller::archives::told,
    error::{Stalled, of_registry},
    oci::{Platform, Reference},
    set::{
        children::{Held, Origin},
        status::Unknown,
    },
    shelf::ShelfError,
};

/// The archives of a set, opened.
pub(super) struct Opened<'a>(Vec<(&'a SetArchive, Arc<Archive>)>);

/// Why they are not.
pub(super) struct NotOpened {
    pub(super) why: Unknown,
    /// When one that is being written may be read.
    pub(super) after: Option<Duration>,
}

impl Desk {
    /// Opens the archives of `set`. Where one cannot be opened, nothing is known of what all of them have.
    pub(super) async fn open<'a>(
        &self,
        set: &'a MultiArchImageSet,
    ) -> Result<Opened<'a>, NotOpened> {
        let namespace = set.namespace().unwrap_or_default();
        // One for a platform that is not wanted has nothing to say.
        let wanted = set.spec.archives.iter().filter(|archive| is_wanted(set, archive));
        let opens =
            wanted.map(async |archive| (archive, self.shelf.open(&namespace, &archive.path).await));
        let mut opened = Vec::new();
        for (archive, read) in join_all(opens).await {
            match read {
                Ok(read) => opened.push((archive, read)),
                Err(error) => {
                    let after = match &error {
                        ShelfError::Settles { after, .. } => Some(*after),
                        _ => None,
                    };
                    let stalled =
                        told(&error).is_some_and(|told| of_registry(&told).stalled != Stalled::No);
                    let (reason, message) = (Reason::ArchiveNotReady, error.to_string());
                    return Err(NotOpened { why: Unknown { reason, message, stalled }, after });
                }
            }
        }
        Ok(Opened(opened))
    }
}

impl<'a> Opened<'a> {
    /// Where `image` of `set` comes from; `None` from nowhere.
    pub(super) fn origin(&self, set: &MultiArchImageSet, image: &Reference) -> Option<Origin<'a>> {
        let name = image.repository().tag(image.tag().unwrap_or_default());
        let having = self.0.iter().filter_map(|(archive, opened)| {
            let held = match opened.named(&name)?.kind {
                Kind::Index => Held::Index,
                Kind::Saved | Kind::Manifest => Held::Image,
            };
            Some((*archive, held))
        });
        let having: Vec<_> = having.collect();
        if !having.is_empty() {
            return Some(Origin::Archives(having));
        }
        // Archives alone are all that there is, unless a registry is named, too.
        let has_registry = set.spec.archives.is_empty() || set.spec.from.is_some();
        has_registry.then_some(Origin::Registry)
    }
}

fn is_wanted(set: &MultiArchImageSet, archive: &SetArchive) -> bool {
    let of = |text: &String| text.parse::<Platform>().ok().map(|platform| platform.normalized());
    let Some(platform) = archive.platform.as_ref().and_then(of) else { return true };
    set.spec.platforms.is_empty()
        || set.spec.platforms.iter().filter_map(of).any(|wanted| platform.covers(&wanted))
}

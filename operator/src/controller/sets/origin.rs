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
    controller::archives::of_shelf,
    error::{Stalled, causes, of_registry},
    oci::{Platform, Reference},
    set::{
        children::{Held, Origin},
        status::Unknown,
    },
    shelf::ShelfError,
};

/// The archives of a set.
pub(super) struct Opened<'a> {
    read: Vec<(&'a SetArchive, Arc<Archive>)>,
    /// Why some are not read. What these have nobody knows, of whatever image.
    pub(super) unread: Option<Unread>,
}

/// Why archives are not read.
pub(super) struct Unread {
    pub(super) why: Unknown,
    /// When one of them may be read.
    pub(super) after: Option<Duration>,
}

impl Desk {
    /// Opens the archives of `set`.
    pub(super) async fn open<'a>(&self, set: &'a MultiArchImageSet) -> Opened<'a> {
        let namespace = set.namespace().unwrap_or_default();
        // One for a platform that is not wanted has nothing to say.
        let wanted = set.spec.archives.iter().filter(|archive| is_wanted(set, archive));
        let opens =
            wanted.map(async |archive| (archive, self.shelf.open(&namespace, &archive.path).await));
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        for (archive, opened) in join_all(opens).await {
            match opened {
                Ok(opened) => read.push((archive, opened)),
                Err(error) => errors.push(error),
            }
        }
        Opened { read, unread: unread(&errors, self.shelf.settles()) }
    }
}

/// What `errors` come to, of archives that are to be unchanged for as long as `settles`.
fn unread(errors: &[ShelfError], settles: Duration) -> Option<Unread> {
    let stalls = |error: &&ShelfError| {
        let told = of_shelf(error, settles);
        told.is_some_and(|told| of_registry(&told).stalled != Stalled::No)
    };
    // What a person must act for comes first.
    let stalled = errors.iter().find(stalls);
    let mut message = causes(stalled.or(errors.first())?);
    if errors.len() > 1 {
        message = format!("{message}; and {} more", errors.len() - 1);
    }
    let after = errors.iter().filter_map(|error| error.again(settles)).min();
    let why = Unknown { reason: Reason::ArchiveNotReady, message, stalled: stalled.is_some() };
    Some(Unread { why, after })
}

impl<'a> Opened<'a> {
    /// Where `image` of `set` comes from; `None` from nowhere.
    pub(super) fn origin(&self, set: &MultiArchImageSet, image: &Reference) -> Option<Origin<'a>> {
        let name = image.repository().tag(image.tag().unwrap_or_default());
        let having = self.read.iter().filter_map(|(archive, opened)| {
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

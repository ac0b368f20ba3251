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
    archive::Archive,
    controller::archives::of_shelf,
    error::{Stalled, causes, of_registry},
    oci::{Platform, Reference, printable},
    set::{
        children::{Origin, Taken},
        held::{Held, Lack, held},
        lines::Image,
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
    /// Where `image` of `set` comes from; else why from nowhere, in a sentence.
    pub(super) fn origin(
        &self,
        set: &MultiArchImageSet,
        image: &Image,
    ) -> Result<Origin<'a>, String> {
        let mut lacks = Vec::new();
        for name in image.names() {
            let mut taken = Vec::new();
            for (archive, opened) in &self.read {
                match self::taken(set, archive, opened, image, &name) {
                    Some(Ok(held)) => {
                        taken.push(Taken { archive, name: name.clone(), held });
                    }
                    Some(Err(lack)) => lacks.push((*archive, lack)),
                    None => {}
                }
            }
            if !taken.is_empty() {
                return Ok(Origin::Archives(taken));
            }
        }
        // Archives alone are all that there is, unless a registry is named, too.
        if set.spec.archives.is_empty() || set.spec.from.is_some() {
            return Ok(Origin::Registry);
        }
        Err(nowhere(&lacks))
    }
}

/// What `set` takes of `archive` for `image`, which is called `name` there, or why nothing; `None` where there is none of that name.
fn taken(
    set: &MultiArchImageSet,
    archive: &SetArchive,
    opened: &Archive,
    image: &Image,
    name: &Reference,
) -> Option<Result<Held, Lack>> {
    let digest = image.source.digest();
    if let Some(found) = opened.named(name) {
        return Some(held(&set.spec, archive, found, digest));
    }
    // One that is broken is told by its object, which so lacks it and no other.
    let is_named = opened.unusable().iter().any(|broken| broken.names.contains(name));
    is_named.then_some(if digest.is_some() { Err(Lack::OtherDigest) } else { Ok(Held::Image) })
}

/// Why an image comes from nowhere, of which archives have something that is not taken.
fn nowhere(lacks: &[(&SetArchive, Lack)]) -> String {
    const OTHERWISE: &str =
        "and there is no other place: spec.from names a registry for what archives lack";
    let paths = |of: Lack| {
        let paths = lacks.iter().filter(|(_, lack)| *lack == of);
        let paths: Vec<_> = paths.map(|(archive, _)| printable(&archive.path)).collect();
        paths.join(", ")
    };
    match lacks.first() {
        None => format!("no archive has it, {OTHERWISE}"),
        Some((_, Lack::OtherDigest)) => format!(
            "in {} it has another digest than the line's, or none, {OTHERWISE}",
            paths(Lack::OtherDigest)
        ),
        Some((_, Lack::OtherPlatforms)) => format!(
            "in {} it is only for other platforms than spec.platforms, {OTHERWISE}",
            paths(Lack::OtherPlatforms)
        ),
    }
}

fn is_wanted(set: &MultiArchImageSet, archive: &SetArchive) -> bool {
    let of = |text: &String| text.parse::<Platform>().ok().map(|platform| platform.normalized());
    let Some(platform) = archive.platform.as_ref().and_then(of) else { return true };
    set.spec.platforms.is_empty()
        || set.spec.platforms.iter().filter_map(of).any(|wanted| platform.covers(&wanted))
}

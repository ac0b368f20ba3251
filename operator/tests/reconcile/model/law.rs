//! What API.md promises, as what holds after each run, and after a run that was killed.

use std::collections::BTreeSet;

use multiarch_crds::{
    condition::Type,
    v1alpha1::{Attestations, PublishPolicy, RemovalPolicy, SourceState, TagPolicy},
};
use multiarch_operator::oci::{Descriptor, Digest, Manifest, TagOrDigest};

use super::{Before, Model, REPOSITORIES, step::Who};
use crate::world::*;

/// No run asks more than this of a registry, whatever is the matter.
const REQUESTS: usize = 150;

impl Model {
    pub(super) fn holds_after_run(&self, who: Who, before: &Before, report: &Report) {
        self.tags_are_ours_and_whole(who, before);
        self.policies_are_kept(who, before, Some(report));
        self.nothing_is_lost(who, before, report);
        self.status_is_true(who, before, report);
        assert!(report.requests.len() <= REQUESTS, "{report:#?}");
        for request in &report.requests {
            let is_write = !request.starts_with("HEAD") && !request.starts_with("GET");
            let is_ours = request.split(' ').nth(2).is_some_and(|of| {
                of.strip_prefix(PATH).is_some_and(|rest| rest.starts_with([':', '@']))
            });
            assert!(!is_write || is_ours, "{request} is of somebody else's repository");
            assert!(!request.starts_with("DELETE"), "{request}");
        }
    }

    pub(super) fn holds_after_kill(&self, who: Who, before: &Before) {
        self.tags_are_ours_and_whole(who, before);
        self.policies_are_kept(who, before, None);
        let mut status = self.objects[who].status.clone();
        status.pending_tags.clone_from(&before.status.pending_tags);
        assert_eq!(status, before.status, "nothing was said but what it was about to write");
    }

    /// What it has written, and still is so, is its own by the next run that ends well, however the one ended that wrote it.
    pub(super) fn what_it_wrote_is_its_own(&mut self, who: Who) {
        let (status, tags) = (&self.objects[who].status, self.tags());
        if self.objects[who].ready().0 != "True" {
            return;
        }
        let wrote = &mut self.wrote[who];
        wrote.retain(|tag, digest| status.tags.contains(tag) && tags.get(tag) == Some(digest));
        let here = format!("{HOST}/{PATH}");
        let is_its_own = status.pushed_to.as_ref() == Some(&here);
        assert!(wrote.is_empty() || is_its_own, "{wrote:?} is anybody's: {status:#?}");
    }

    /// Notes which tags were written since.
    pub(super) fn note_writes(&mut self, who: Who, before: &Before) {
        let after = self.tags().into_iter();
        let written = after.filter(|(tag, digest)| before.tags.get(tag) != Some(digest));
        self.wrote[who].extend(written);
    }

    /// Tags that have changed are the object's and no one else's, and name what is all there, byte for byte what somebody pushed.
    fn tags_are_ours_and_whole(&self, who: Who, before: &Before) {
        let world = &self.objects[who];
        let (target, after) = (&world.spec.target, self.tags());
        for (tag, named) in &after {
            let then = before.tags.get(tag);
            if then == Some(named) {
                continue;
            }
            let is_additional = target.additional_tags.contains(tag);
            let is_platforms = target.platform_tags.is_some()
                && tag.strip_prefix(world.tag()).is_some_and(|rest| rest.starts_with('-'));
            assert!(
                tag == world.tag() || is_additional || is_platforms,
                "{tag} is not in the spec"
            );
            assert!(world.claims.owner(tag).is_none(), "{tag} is another object's");
            let raw = self.store.tagged(PATH, tag).unwrap();
            world.check_manifest(&raw);
            let images = match raw.parse().unwrap() {
                Manifest::Index(index) => {
                    index.manifests.into_iter().map(|child| child.digest).collect()
                }
                Manifest::Image(_) => vec![named.clone()],
            };
            for image in images {
                assert!(self.pushed.contains(&image), "{image} was never pushed by anybody");
            }
            // Also one that was let go of, and still names what this object has published.
            let was_ours = then.is_some_and(|then| {
                before.status.tags.contains(tag)
                    || before.status.platforms.iter().any(|image| image.digest == then.as_str())
            });
            assert!(then.is_none() || !is_platforms || was_ours, "{tag} was something else's");
        }
        assert!(before.tags.keys().all(|tag| after.contains_key(tag)), "a tag was deleted");
    }

    /// Immutable is written once, and Yield never over what something else has put there.
    fn policies_are_kept(&self, who: Who, before: &Before, report: Option<&Report>) {
        let world = &self.objects[who];
        let (policy, after) = (world.spec.target.tag_policy, self.tags());
        if policy == TagPolicy::Immutable {
            for (tag, then) in &before.tags {
                assert_eq!(after.get(tag), Some(then), "{tag} is written once");
            }
        }
        let tag = world.tag();
        let (then, now) = (before.tags.get(tag), after.get(tag));
        let was_here = before
            .status
            .reference
            .as_ref()
            .is_some_and(|reference| reference.starts_with(&format!("{HOST}/{PATH}:{tag}@")));
        let published = before.status.digest.as_deref().filter(|_| was_here);
        let is_foreign = |named: &str| {
            let pending = before.status.pending_tags.iter().find(|pending| pending.name == tag);
            published.is_some_and(|published| named != published)
                && pending.is_none_or(|pending| {
                    pending.digest.as_deref().is_some_and(|digest| digest != named)
                })
        };
        let overwritten = then.filter(|then| now != Some(then) && is_foreign(then.as_str()));
        if policy == TagPolicy::Yield
            && let Some(foreign) = overwritten
            && report.is_some()
        {
            let given = |platforms: &[multiarch_crds::v1alpha1::PublishedPlatform]| {
                let given = platforms.iter().filter(|image| !image.source.is_empty());
                given.map(|image| image.digest.clone()).collect::<BTreeSet<_>>()
            };
            let served = |kind| {
                let conditions = &before.status.conditions;
                conditions.iter().find(|condition| condition.type_ == kind)?.observed_generation
            };
            let is_edited = served("Published") != Some(world.generation());
            // A run that failed after its push has not said what it has pushed.
            let is_told = world.status.digest.as_deref() == now.map(Digest::as_str);
            let news = given(&before.status.platforms) != given(&world.status.platforms);
            assert!(is_edited || news || !is_told, "{tag} named {foreign}, which is to stay");
        }
    }

    /// Nothing but a 404, and the user's leave, makes an index smaller; nothing is published half, and nothing old beside something new.
    fn nothing_is_lost(&self, who: Who, before: &Before, report: &Report) {
        let world = &self.objects[who];
        for source in &world.status.sources {
            let place = REPOSITORIES.iter().find(|(_, name, _)| *name == source.name);
            let Some((path, tag, _)) = place else { continue };
            // A run that was cut off knows of no answer.
            let asked = world.ready().1 != "TimedOut"
                && report.requests.iter().any(|it| it.ends_with(&format!(" {path}:{tag}")));
            let is_missing = source.state == SourceState::Missing;
            let is_there = self.store.tagged(path, tag).is_some();
            assert!(!(asked && is_missing && is_there), "{} is there: {source:?}", source.name);
        }
        let after = self.images(who);
        if before.images == after {
            return;
        }
        let (spec, has) = (&world.spec, after.keys().collect::<BTreeSet<_>>());
        let removes = spec.removal_policy == RemovalPolicy::Remove;
        let partial = spec.publish_policy == PublishPolicy::Partial;
        assert!(
            removes || before.images.keys().all(|platform| has.contains(platform)),
            "the tag lost a platform: {:?}, and now {after:?}",
            before.images
        );
        let listed = self.store.tagged(PATH, world.tag()).map(|raw| raw.parse());
        if let Some(Ok(Manifest::Index(index))) = listed {
            let attested = index.manifests.iter().any(Descriptor::is_attestation);
            assert!(!attested || spec.attestations == Attestations::Keep);
        }
        let published: BTreeSet<_> =
            before.status.platforms.iter().map(|image| image.digest.as_str()).collect();
        for source in &spec.sources {
            let platform = &source.platforms[0];
            let state = world.source(&source.name).state;
            let is_missing = state == SourceState::Missing;
            let was = before.status.platforms.iter().any(|image| image.source == source.name)
                && before.images.contains_key(platform);
            let may_lack = source.optional || partial;
            assert!(may_lack || has.contains(platform), "published without {platform}");
            assert!(
                !was || has.contains(platform) || (removes && is_missing && may_lack),
                "{platform} is lost while its source is {state:?}"
            );
            // What something else has put there for the platform is retained as anything else is.
            if is_missing && was && !source.optional && has.contains(platform) {
                for other in spec.sources.iter().filter(|other| !other.optional) {
                    let image = after.get(&other.platforms[0]);
                    assert!(
                        image.is_none_or(|image| published.contains(image.as_str())),
                        "an old {platform} beside a new {}",
                        other.name
                    );
                }
            }
        }
    }

    /// Status claims what was read back, forgets nothing by a failure, and Ready is True of what is so.
    fn status_is_true(&self, who: Who, before: &Before, report: &Report) {
        let world = &self.objects[who];
        let (status, then) = (&world.status, &before.status);
        if status.reference != then.reference
            && let Some(digest) = &status.digest
        {
            let seen = (world.tag().to_owned(), digest.parse().unwrap());
            assert!(self.read.lock().unwrap().contains(&seen), "{digest} was not read back");
        }
        let moved = then.reference.as_ref().is_some_and(|reference| {
            !reference.starts_with(&format!("{HOST}/{PATH}:{}@", world.tag()))
        });
        assert!(moved || then.digest.is_none() || status.digest.is_some(), "a digest was erased");
        let (ready, reason, message) = world.ready();
        assert!(
            world.claims.owner(world.tag()).is_none() || reason == "TargetConflict",
            "{reason}: {message}"
        );
        let is_stalled = world.condition(Type::Stalled).0 == "True";
        let is_reconciling = world.condition(Type::Reconciling).0 == "True";
        assert_ne!((ready, is_stalled || is_reconciling), ("False", false), "{reason}: {message}");
        assert!(ready != "True" || !is_stalled && !is_reconciling, "{reason}: {message}");

        let pushed = status.last_publish_time.as_ref();
        let is_lag = pushed.is_some_and(|at| world.now.duration_since(at.0).as_mins() < 2);
        if ready != "True" || is_lag {
            return;
        }
        let after = self.tags();
        let of = |tag: &str| after.get(tag).map(ToString::to_string);
        let told = format!("{reason}: {message}, {report:#?}");
        assert_eq!(
            of(world.tag()),
            status.digest,
            "Ready, and the tag names something else: {told}"
        );
        for tag in &world.spec.target.additional_tags {
            assert_eq!(of(tag), status.digest, "Ready, and {tag} names something else: {told}");
        }
        for image in &status.platforms {
            let digest = TagOrDigest::Digest(image.digest.parse().unwrap());
            assert!(self.store.manifest(PATH, &digest).is_some(), "Ready, and {image:?} is gone");
            if world.spec.target.platform_tags.is_some() {
                let arch = image.platform.rsplit('/').next().unwrap();
                let tag = format!("{}-{arch}", world.tag());
                assert_eq!(of(&tag).as_ref(), Some(&image.digest), "Ready, and {tag} is not right");
            }
        }
        let partial = world.spec.publish_policy == PublishPolicy::Partial;
        for source in world.spec.sources.iter().filter(|source| !source.optional && !partial) {
            let has = status.platforms.iter().any(|image| image.platform == source.platforms[0]);
            assert!(has || reason == "TagImmutable", "Ready without {}: {told}", source.name);
        }
    }
}

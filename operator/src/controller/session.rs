//! What the process knows of an object beside what the watch shows: failures in a row, and a status that it wrote and the watch has not brought back yet.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageStatus};
use tokio::time::Instant;

use super::{Watched, lock};
use crate::{
    error::Retry,
    oci::{Digest, Repository},
    reconcile::{referrers::Looks, tags::Corrections},
};

/// For how long its own write is preferred to what the watch shows. A watch that is behind for longer is dead, or the data of the
/// API server are older than they were.
const CATCHES_UP: Duration = Duration::from_mins(5);

/// Sessions are looked through for deleted objects when there are this many more than last time.
const PRUNE: usize = 1024;

/// The sessions of all objects in one term.
#[derive(Debug)]
pub(super) struct Sessions {
    /// By uid.
    of: Mutex<HashMap<String, Session>>,
    /// When the term began.
    begun: Instant,
}

#[derive(Debug, Default)]
struct Session {
    /// Of who writes its status.
    turn: Arc<tokio::sync::Mutex<()>>,
    generation: Option<i64>,
    failures: u32,
    /// Runs in a row that had no outcome.
    lost: u32,
    /// What they pushed, and no status says yet.
    unreported: Option<Pushes>,
    /// When its last run was over.
    ended: Option<Instant>,
    /// The Secrets of its last run.
    secrets: Option<u64>,
    /// What was refused is not tried again before.
    put_off: Option<Instant>,
    written: Option<Written>,
    corrections: Corrections,
    looks: Looks,
    /// How often in a row its status was not written, because something else had written it.
    stale: u32,
    /// The blob that its last run of some generation was cut off in.
    cut_off: Option<(Option<i64>, Digest)>,
    /// Tries to delete its tags.
    deletions: usize,
    /// Runs of all objects since this one ran.
    idle: usize,
}

/// What was pushed to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pushes {
    pub(super) repository: Option<Repository>,
    /// The index.
    pub(super) index: bool,
    /// A tag beside it.
    pub(super) tag: bool,
}

#[derive(Debug)]
struct Written {
    version: u64,
    status: MultiArchImageStatus,
    at: Instant,
}

/// A status, and the version of the object that has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) status: MultiArchImageStatus,
    pub(super) version: Option<String>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { of: Mutex::default(), begun: Instant::now() }
    }
}

impl Sessions {
    /// The latest status: of the object as it was watched, or as it was written here since.
    pub(super) fn known(&self, object: &MultiArchImage) -> Known {
        self.written(object).unwrap_or_else(|| {
            let status = object.status.clone().unwrap_or_default();
            Known { status, version: object.metadata.resource_version.clone() }
        })
    }

    /// The same status alone, which is copied only where the watch has not brought it yet.
    pub(super) fn status<'a>(&self, object: &'a MultiArchImage) -> Cow<'a, MultiArchImageStatus> {
        match (self.written(object), &object.status) {
            (Some(known), _) => Cow::Owned(known.status),
            (None, Some(status)) => Cow::Borrowed(status),
            (None, None) => Cow::default(),
        }
    }

    /// What was written to `object` and is not in it yet.
    fn written(&self, object: &MultiArchImage) -> Option<Known> {
        let watched = version(object.metadata.resource_version.as_deref());
        let mut sessions = lock(&self.of);
        let session = sessions.get_mut(&uid(object))?;
        match (&session.written, watched) {
            (Some(written), Some(watched))
                if written.version > watched && written.at.elapsed() < CATCHES_UP =>
            {
                let version = Some(written.version.to_string());
                Some(Known { status: written.status.clone(), version })
            }
            _ => {
                session.written = None;
                None
            }
        }
    }

    /// `status` was written to the object, which is at `version` since.
    pub(super) fn remember(
        &self,
        object: &MultiArchImage,
        version_written: Option<&str>,
        status: MultiArchImageStatus,
    ) {
        let written = version(version_written);
        let written = written.map(|version| Written { version, status, at: Instant::now() });
        let mut sessions = lock(&self.of);
        let session = sessions.entry(uid(object)).or_default();
        session.written = written;
        session.stale = 0;
    }

    /// A run has made `pushes`, which is to be reported; with those that it follows and that could not be.
    pub(super) fn count_pushes(&self, object: &MultiArchImage, mut pushes: Pushes) -> Pushes {
        let mut sessions = lock(&self.of);
        let session = sessions.entry(uid(object)).or_default();
        let before = session.unreported.take();
        if let Some(before) = before.filter(|before| before.repository == pushes.repository) {
            pushes.index |= before.index;
            pushes.tag |= before.tag;
        }
        session.unreported = Some(pushes.clone());
        pushes
    }

    /// Whether it has pushed to `repository` what could not be reported.
    pub(super) fn has_pushed(&self, object: &MultiArchImage, repository: &Repository) -> bool {
        let sessions = lock(&self.of);
        let pushes = sessions.get(&uid(object)).and_then(|session| session.unreported.as_ref());
        pushes.is_some_and(|pushes| {
            pushes.repository.as_ref() == Some(repository) && (pushes.index || pushes.tag)
        })
    }

    /// The status of the object is not what was thought, so that nothing was written. Tells how often in a row.
    pub(super) fn count_stale(&self, object: &MultiArchImage) -> u32 {
        let mut sessions = lock(&self.of);
        let session = sessions.entry(uid(object)).or_default();
        // Also where the data of the API server is older than what was written here.
        session.written = None;
        // What the other writer knew is not older than this.
        session.ended = Some(Instant::now());
        session.stale = session.stale.saturating_add(1);
        session.stale
    }

    /// A run of `object` is over.
    pub(super) fn end(&self, object: &MultiArchImage) {
        lock(&self.of).entry(uid(object)).or_default().ended = Some(Instant::now());
    }

    /// Until when all that was answered about the sources of `object` is in its status: the end of its last run, or the list that the
    /// term began with.
    pub(super) fn known_until(&self, object: &MultiArchImage) -> Instant {
        let sessions = lock(&self.of);
        sessions.get(&uid(object)).and_then(|session| session.ended).unwrap_or(self.begun)
    }

    /// A run of `object` begins, with Secrets in the state `secrets`: whether what a registry refused in the last one
    /// is to be left for now. Another spec, other Secrets and a person's request have it tried again, from a short
    /// delay on.
    pub(super) fn is_put_off(
        &self,
        object: &MultiArchImage,
        requested: bool,
        secrets: u64,
        now: Instant,
    ) -> bool {
        let mut sessions = lock(&self.of);
        let session = sessions.entry(uid(object)).or_default();
        let other_secrets = session.secrets.is_some_and(|then| then != secrets);
        session.secrets = Some(secrets);
        if other_secrets {
            session.failures = 0;
        }
        let same = !requested && !other_secrets && session.generation == object.metadata.generation;
        session.put_off = session.put_off.filter(|until| same && now < *until);
        session.put_off.is_some()
    }

    /// When `object` runs again, whose run asked for `retry` and is due after `delay`: at the end of its `interval`
    /// at the latest, and what was refused is left until it is due.
    pub(super) fn put_off(
        &self,
        object: &MultiArchImage,
        retry: Option<Retry>,
        (delay, interval): (Duration, Duration),
        now: Instant,
    ) -> Duration {
        let mut sessions = lock(&self.of);
        let session = sessions.entry(uid(object)).or_default();
        if let Some(Retry::Refused { .. }) = retry {
            session.put_off = Some(now + delay);
        }
        let due = session.put_off.map(|until| until.saturating_duration_since(now));
        due.map_or(delay, |due| due.min(interval))
    }

    /// Counts a run that asks for `retry`: how many have failed in a row, this one included. A new
    /// generation and a person's request start anew, corrections of tags too. One in which what was refused before was
    /// left, and nothing else is new, counts for nothing.
    pub(super) fn count(
        &self,
        object: &MultiArchImage,
        requested: bool,
        retry: Option<Retry>,
    ) -> u32 {
        let mut sessions = lock(&self.of);
        prune(&mut sessions);
        let session = sessions.entry(uid(object)).or_default();
        session.idle = 0;
        if requested || session.generation != object.metadata.generation {
            session.failures = 0;
            session.corrections = Corrections::default();
            session.generation = object.metadata.generation;
            session.put_off = None;
        }
        if retry.is_none() && session.put_off.is_some() {
            return session.failures;
        }
        session.put_off = None;
        session.failures = match retry {
            Some(Retry::Backoff | Retry::After(_) | Retry::Refused { .. }) => {
                session.failures.saturating_add(1)
            }
            Some(Retry::Interval) | None => 0,
        };
        session.failures
    }

    /// Who has it writes the status of `object`, and nobody else does.
    pub(super) fn turn(&self, object: &MultiArchImage) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&lock(&self.of).entry(uid(object)).or_default().turn)
    }

    /// Whether `object` has run since the start, as far as is known. That something was said in its status is no run.
    pub(super) fn has_run(&self, object: &MultiArchImage) -> bool {
        lock(&self.of).get(&uid(object)).is_some_and(|session| {
            session.ended.is_some() || session.generation.is_some() || session.lost > 0
        })
    }

    /// When tags of `object` were put back.
    pub(super) fn corrections(&self, object: &MultiArchImage) -> Corrections {
        let sessions = lock(&self.of);
        sessions.get(&uid(object)).map(|session| session.corrections.clone()).unwrap_or_default()
    }

    /// When referrers of the images of `object` were looked for.
    pub(super) fn looks(&self, object: &MultiArchImage) -> Looks {
        let sessions = lock(&self.of);
        sessions.get(&uid(object)).map(|session| session.looks.clone()).unwrap_or_default()
    }

    /// The same, since its last run.
    pub(super) fn set_looks(&self, object: &MultiArchImage, looks: Looks) {
        lock(&self.of).entry(uid(object)).or_default().looks = looks;
    }

    /// A run of `object` was cut off in `blob`. Tells it where that of the run before was the same.
    pub(super) fn cut_off(&self, object: &MultiArchImage, blob: Option<Digest>) -> Option<Digest> {
        let now = Some((object.metadata.generation, blob?));
        let mut sessions = lock(&self.of);
        let session = sessions.entry(uid(object)).or_default();
        let again = session.cut_off == now;
        session.cut_off = now;
        session.cut_off.iter().filter(|_| again).map(|(_, blob)| blob.clone()).next()
    }

    /// Counts a try to delete the tags of `object`: how many there were before.
    pub(super) fn count_deletion(&self, object: &MultiArchImage) -> usize {
        let mut sessions = lock(&self.of);
        let session = sessions.entry(uid(object)).or_default();
        session.deletions += 1;
        session.deletions - 1
    }

    /// A tag of `object` was put back.
    pub(super) fn count_correction(&self, object: &MultiArchImage, now: Timestamp) {
        lock(&self.of).entry(uid(object)).or_default().corrections.count(now);
    }

    /// Counts a run that had no outcome: how many in a row. Not among the failures, which are the outcomes of others: neither
    /// may end the other's patience.
    pub(super) fn count_lost(&self, object: &Watched) -> u32 {
        let mut sessions = lock(&self.of);
        let session = sessions.entry(object.uid().unwrap_or_default()).or_default();
        session.lost = session.lost.saturating_add(1);
        session.lost
    }

    /// A run of the object of `meta` had an outcome, which is reported.
    pub(super) fn end_lost(&self, meta: &ObjectMeta) {
        if let Some(session) = lock(&self.of).get_mut(meta.uid.as_deref().unwrap_or_default()) {
            (session.lost, session.unreported) = (0, None);
        }
    }
}

/// Forgets objects that are long gone. Forgetting one that is not costs it a quick retry.
fn prune(sessions: &mut HashMap<String, Session>) {
    if sessions.len() < PRUNE {
        return;
    }
    let many = sessions.len() * 8;
    for session in sessions.values_mut() {
        session.idle += 1;
    }
    sessions.retain(|_, session| session.idle < many);
}

fn uid(object: &MultiArchImage) -> String {
    object.uid().unwrap_or_default()
}

/// Resource versions are comparable as numbers (guaranteed since Kubernetes 1.35, true before).
fn version(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use kube::Resource;

    use super::*;
    use crate::reconcile::referrers::looks::Skipped;

    fn object(version: &str, digest: &str) -> MultiArchImage {
        let mut object =
            MultiArchImage::new("app", multiarch_crds::v1alpha1::MultiArchImageSpec::default());
        object.meta_mut().uid = Some("u".into());
        object.meta_mut().generation = Some(1);
        object.meta_mut().resource_version = Some(version.into());
        object.status = Some(status(digest));
        object
    }

    fn status(digest: &str) -> MultiArchImageStatus {
        MultiArchImageStatus { digest: Some(digest.into()), ..MultiArchImageStatus::default() }
    }

    #[test]
    fn prefers_its_own_status_until_the_watch_has_caught_up() {
        let sessions = Sessions::default();
        sessions.remember(&object("9", "old"), Some("10"), status("new"));
        let known = |object: MultiArchImage| {
            let Known { status, version } = sessions.known(&object);
            (status, version.unwrap())
        };
        assert_eq!(known(object("9", "old")), (status("new"), "10".into()));
        assert_eq!(known(object("10", "new")), (status("new"), "10".into()));
        assert_eq!(known(object("11", "edited")), (status("edited"), "11".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_prefer_it_for_ever() {
        let sessions = Sessions::default();
        sessions.remember(&object("9", "old"), Some("10"), status("new"));
        tokio::time::advance(CATCHES_UP).await;
        assert_eq!(sessions.known(&object("9", "old")).status, status("old"));
    }

    /// The data of the API server may be restored from a backup: then its versions begin again.
    #[test]
    fn forgets_its_own_status_where_that_is_not_there() {
        let sessions = Sessions::default();
        sessions.remember(&object("9", "old"), Some("1000"), status("new"));
        assert_eq!(sessions.count_stale(&object("9", "old")), 1);
        assert_eq!(sessions.known(&object("9", "old")).status, status("old"));
        assert_eq!(sessions.count_stale(&object("9", "old")), 2);
        sessions.remember(&object("9", "old"), Some("10"), status("new"));
        assert_eq!(sessions.count_stale(&object("9", "old")), 1);
    }

    #[test]
    fn counts_failures_in_a_row() {
        let sessions = Sessions::default();
        let mut object = object("1", "");
        let failed = Some(Retry::Backoff);
        assert_eq!(sessions.count(&object, false, failed), 1);
        assert_eq!(sessions.count(&object, false, failed), 2);
        assert_eq!(sessions.count(&object, true, failed), 1, "a request starts anew");
        assert_eq!(sessions.count(&object, false, None), 0);
        assert_eq!(sessions.count(&object, false, failed), 1);
        object.meta_mut().generation = Some(2);
        assert_eq!(sessions.count(&object, false, failed), 1, "a new generation starts anew");
    }

    #[test]
    fn what_was_refused_is_left_until_it_is_due_or_something_is_new() {
        const MINUTE: Duration = Duration::from_mins(1);
        let (sessions, now) = (Sessions::default(), Instant::now());
        let mut object = object("1", "");
        let refused = Some(Retry::Refused { soon: true });
        let refuse = |object: &MultiArchImage, delay: Duration| {
            let failures = sessions.count(object, false, refused);
            (failures, sessions.put_off(object, refused, (delay, 10 * MINUTE), now))
        };
        assert!(!sessions.is_put_off(&object, false, 7, now));
        assert_eq!(refuse(&object, 25 * MINUTE), (1, 10 * MINUTE), "it is looked at all the same");
        let later = now + 10 * MINUTE;
        assert!(sessions.is_put_off(&object, false, 7, later));
        assert_eq!(sessions.count(&object, false, None), 1, "nothing new is no success");
        let next = sessions.put_off(&object, None, (10 * MINUTE, 10 * MINUTE), now + 20 * MINUTE);
        assert_eq!(next, 5 * MINUTE);
        assert!(!sessions.is_put_off(&object, false, 7, now + 25 * MINUTE), "it is due");
        assert_eq!(refuse(&object, 50 * MINUTE).0, 2);

        assert!(!sessions.is_put_off(&object, false, 8, later), "other Secrets");
        assert_eq!(refuse(&object, MINUTE), (1, MINUTE));
        assert!(!sessions.is_put_off(&object, true, 8, now), "a person asks");
        refuse(&object, MINUTE);
        object.meta_mut().generation = Some(2);
        assert!(!sessions.is_put_off(&object, false, 8, now), "another spec");
        refuse(&object, MINUTE);
        assert!(sessions.is_put_off(&object, false, 8, now));
        assert_eq!(sessions.count(&object, false, Some(Retry::Backoff)), 2);
        assert!(!sessions.is_put_off(&object, false, 8, now), "something else failed since");
    }

    /// What was looked for stays, whatever becomes of the object's runs.
    #[test]
    fn keeps_looks_for_referrers() {
        let sessions = Sessions::default();
        let (mut object, now) = (object("1", ""), Timestamp::UNIX_EPOCH);
        let image = format!("r.example/app@{}", crate::oci::Digest::of(b"x")).parse().unwrap();
        assert!(sessions.looks(&object).are_due(&image, now, false));
        let mut looks = sessions.looks(&object);
        looks.record(&image, Skipped::default(), now);
        sessions.set_looks(&object, looks.clone());
        object.meta_mut().generation = Some(2);
        sessions.count(&object, true, Some(Retry::Backoff));
        assert_eq!(sessions.looks(&object), looks);
        object.meta_mut().uid = Some("another".into());
        assert_eq!(sessions.looks(&object), Looks::default());
    }

    #[test]
    fn knows_a_blob_that_is_cut_off_again() {
        let sessions = Sessions::default();
        let mut object = object("1", "");
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let cut =
            |object: &MultiArchImage, blob: &Digest| sessions.cut_off(object, Some(blob.clone()));
        assert_eq!(cut(&object, &one), None);
        assert_eq!(cut(&object, &one), Some(one.clone()));
        assert_eq!(cut(&object, &other), None, "it has come further");
        object.meta_mut().generation = Some(2);
        assert_eq!(cut(&object, &other), None, "the timeout may be another one");
        assert_eq!(sessions.cut_off(&object, None), None, "it copied nothing");
    }

    #[test]
    fn forgets_corrections_where_a_person_acts() {
        let sessions = Sessions::default();
        let mut object = object("1", "");
        let now = Timestamp::UNIX_EPOCH;
        let corrected = |object: &MultiArchImage| {
            sessions.count(object, false, None);
            for _ in 0..3 {
                sessions.count_correction(object, now);
            }
            sessions.count(object, false, None);
            sessions.corrections(object).are_exhausted(now)
        };
        assert!(corrected(&object));
        sessions.count(&object, true, None);
        assert!(!sessions.corrections(&object).are_exhausted(now), "a request starts anew");
        assert!(corrected(&object));
        object.meta_mut().generation = Some(2);
        sessions.count(&object, false, None);
        assert!(!sessions.corrections(&object).are_exhausted(now), "a new generation starts anew");
    }
}

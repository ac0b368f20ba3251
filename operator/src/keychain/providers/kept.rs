//! The answers of plugins, kept as long as they say and for what they say, in one namespace each; and failures, for a moment.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    answer::{KeptBy, Logins},
    plugin::PluginError,
};
use crate::oci::Repository;

/// How much is kept, in bytes of what plugins printed: repositories come from users, so there is a bound.
const MOST: u64 = 16 << 20;
/// After a failure a plugin is left alone for as long; its next run may be for another object.
const PAUSE: Duration = Duration::from_secs(10);
/// The same where it hung: a run that waits for it is one of few.
const LONG_PAUSE: Duration = Duration::from_mins(1);

/// For whom a plugin is run. Nothing is shared between two of these, though the credential may be one: what one namespace was
/// given tells another one nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub(super) namespace: String,
    /// Its place in the list of providers.
    pub(super) provider: usize,
}

/// What is kept.
#[derive(Default)]
pub(super) struct Kept {
    answers: HashMap<(Who, Of), Entry>,
    /// By host: one that is away says nothing of another one.
    failures: HashMap<(Who, String), (Instant, PluginError)>,
    bytes: u64,
}

#[derive(PartialEq, Eq, Hash)]
enum Of {
    Image(Repository),
    Registry(String),
    Everything,
}

struct Entry {
    logins: Arc<Logins>,
    ends: Instant,
    bytes: u64,
}

impl Kept {
    /// What is known for `repository` without running the plugin.
    pub(super) fn get(
        &self,
        who: &Who,
        repository: &Repository,
        now: Instant,
    ) -> Option<Result<Arc<Logins>, PluginError>> {
        let host = || repository.host().to_owned();
        let fitting = [Of::Image(repository.clone()), Of::Registry(host()), Of::Everything];
        let mut entries = fitting.into_iter().filter_map(|of| self.answers.get(&(who.clone(), of)));
        if let Some(entry) = entries.find(|entry| now <= entry.ends) {
            return Some(Ok(Arc::clone(&entry.logins)));
        }
        let (ends, error) = self.failures.get(&(who.clone(), host()))?;
        (now < *ends).then(|| Err(error.clone()))
    }

    /// Keeps what was given for `repository`, of `bytes` bytes, for `life`.
    pub(super) fn keep(
        &mut self,
        (who, repository): (&Who, &Repository),
        (logins, bytes): (Arc<Logins>, u64),
        kept_by: KeptBy,
        (now, life): (Instant, Duration),
    ) {
        self.failures.remove(&(who.clone(), repository.host().to_owned()));
        let Some(ends) = now.checked_add(life).filter(|_| !life.is_zero()) else { return };
        if self.bytes + bytes > MOST {
            self.answers.retain(|_, entry| now <= entry.ends);
            self.bytes = self.answers.values().map(|entry| entry.bytes).sum();
            if self.bytes + bytes > MOST {
                self.answers.clear();
                self.bytes = 0;
            }
        }
        let of = match kept_by {
            KeptBy::Image => Of::Image(repository.clone()),
            KeptBy::Registry => Of::Registry(repository.host().into()),
            KeptBy::Global => Of::Everything,
        };
        let old = self.answers.insert((who.clone(), of), Entry { logins, ends, bytes });
        self.bytes = self.bytes + bytes - old.map_or(0, |old| old.bytes);
    }

    /// Keeps that the plugin failed for the host of `repository`.
    pub(super) fn failed(
        &mut self,
        (who, repository): (&Who, &Repository),
        error: &PluginError,
        now: Instant,
    ) {
        let pause = if matches!(error, PluginError::TimedOut { .. }) { LONG_PAUSE } else { PAUSE };
        let of = (who.clone(), repository.host().to_owned());
        self.failures.insert(of, (now + pause, error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::oci::Reference;

    const HOUR: Duration = Duration::from_hours(1);

    fn repository(text: &str) -> Repository {
        format!("{text}:x").parse::<Reference>().unwrap().repository().clone()
    }

    fn who(namespace: &str, provider: usize) -> Who {
        Who { namespace: namespace.into(), provider }
    }

    impl Kept {
        fn keep_one(&mut self, of: &str, kept_by: KeptBy, at: (Instant, Duration), bytes: u64) {
            let logins = Arc::new(Logins::default());
            self.keep((&who("a", 0), &repository(of)), (logins, bytes), kept_by, at);
        }

        fn has(&self, who: &Who, of: &str, now: Instant) -> bool {
            matches!(self.get(who, &repository(of), now), Some(Ok(_)))
        }
    }

    #[rstest]
    #[case::image(KeptBy::Image, [true, false, false, false])]
    #[case::registry(KeptBy::Registry, [true, true, false, false])]
    #[case::global(KeptBy::Global, [true, true, true, true])]
    fn keeps_for_what_the_plugin_says(#[case] kept_by: KeptBy, #[case] expected: [bool; 4]) {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.keep_one("r.io/team/app", kept_by, (now, HOUR), 1);
        let of = ["r.io/team/app", "r.io/team/other", "r.io:5000/team/app", "s.io/team/app"];
        assert_eq!(of.map(|of| kept.has(&who("a", 0), of, now)), expected);
        // Neither for another namespace nor from another provider.
        assert_eq!(of.map(|of| kept.has(&who("b", 0), of, now)), [false; 4]);
        assert_eq!(of.map(|of| kept.has(&who("a", 1), of, now)), [false; 4]);
    }

    #[test]
    fn keeps_for_as_long_as_the_plugin_says() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        let has = |kept: &Kept, now| kept.has(&who("a", 0), "r.io/app", now);
        kept.keep_one("r.io/app", KeptBy::Image, (now, Duration::ZERO), 1);
        assert!(!has(&kept, now), "0 is not at all");
        kept.keep_one("r.io/app", KeptBy::Image, (now, HOUR), 1);
        assert!(has(&kept, now + HOUR));
        assert!(!has(&kept, now + HOUR + Duration::from_nanos(1)));
        // An image's own comes before its registry's.
        kept.keep_one("r.io/app", KeptBy::Registry, (now, 2 * HOUR), 1);
        assert!(has(&kept, now + 2 * HOUR));
    }

    #[rstest]
    #[case::exit(PluginError::Exited { code: 1 }, 10)]
    #[case::hung(PluginError::TimedOut { limit: Duration::from_mins(1) }, 60)]
    fn a_failure_is_kept_for_a_moment(#[case] error: PluginError, #[case] seconds: u64) {
        let (mut kept, now) = (Kept::default(), Instant::now());
        let get = |kept: &Kept, who: &Who, of: &str, at: u64| {
            let got = kept.get(who, &repository(of), now + Duration::from_secs(at));
            got.and_then(Result::err)
        };
        kept.failed((&who("a", 0), &repository("r.io/app")), &error, now);
        assert_eq!(get(&kept, &who("a", 0), "r.io/other", seconds - 1), Some(error.clone()));
        assert_eq!(get(&kept, &who("a", 0), "r.io/app", seconds), None);
        for (who, of) in
            [(who("a", 0), "s.io/app"), (who("b", 0), "r.io/app"), (who("a", 1), "r.io/app")]
        {
            assert_eq!(get(&kept, &who, of, 0), None, "{of}");
        }
        // What was kept before stands, and a success ends it.
        kept.keep_one("r.io/app", KeptBy::Image, (now, HOUR), 1);
        kept.failed((&who("a", 0), &repository("r.io/other")), &error, now);
        assert_eq!(get(&kept, &who("a", 0), "r.io/app", 0), None);
        assert_eq!(get(&kept, &who("a", 0), "r.io/other", 0), Some(error));
        kept.keep_one("r.io/third", KeptBy::Image, (now, HOUR), 1);
        assert_eq!(get(&kept, &who("a", 0), "r.io/other", 0), None);
    }

    proptest! {
        /// It never holds more than it may, counts right, and has what came last.
        #[test]
        fn is_bounded(all in prop::collection::vec((0..40_u32, 0..MOST / 3, 0..3_u64), 1..60)) {
            let (mut kept, start) = (Kept::default(), Instant::now());
            for (number, (image, bytes, hours)) in (0..).zip(all) {
                let (of, now) = (format!("r.io/app{image}"), start + HOUR * number);
                let life = HOUR * u32::try_from(hours).unwrap();
                kept.keep_one(&of, KeptBy::Image, (now, life), bytes);
                prop_assert!(kept.bytes <= MOST);
                prop_assert_eq!(kept.bytes, kept.answers.values().map(|entry| entry.bytes).sum::<u64>());
                prop_assert!(life.is_zero() || kept.has(&who("a", 0), &of, now));
            }
        }
    }
}

//! Which mounts were refused, so that they are not asked for again.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::token::Identity;
use crate::registry::{Place, tls::Fingerprint};

/// Rights change: after this long a mount is tried again.
const KEPT: Duration = Duration::from_hours(1);
/// Repositories come from users, so there is a bound.
const MOST: usize = 4096;

#[derive(Default)]
pub(super) struct Mounts(Mutex<HashMap<Key, Instant>>);

/// From where, for whom.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    host: String,
    from: String,
    identity: Option<Identity>,
    certificates: Option<Fingerprint>,
}

impl Key {
    /// `None` where there is nothing to mount: two registries, or one repository.
    pub(super) fn of(from: Place<'_>, to: Place<'_>) -> Option<Self> {
        let (source, target) = (from.repository, to.repository);
        (source != target && source.host() == target.host()).then(|| Self {
            host: source.host().into(),
            from: source.path().into(),
            identity: to.access.credential.as_ref().map(Identity::of),
            certificates: to.access.certificates.fingerprint(),
        })
    }
}

impl Mounts {
    pub(super) fn refused(&self, key: &Key, now: Instant) -> bool {
        self.kept().get(key).is_some_and(|at| now.duration_since(*at) < KEPT)
    }

    pub(super) fn refuse(&self, key: Key, now: Instant) {
        let mut kept = self.kept();
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key, now);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mounts(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        oci::{Reference, Repository},
        registry::{Access, Credential},
    };

    fn repository(text: &str) -> Repository {
        text.parse::<Reference>().unwrap().repository().clone()
    }

    fn key(from: &str, to: &str, password: Option<&str>) -> Option<Key> {
        let credential = password.map(|password| Credential::of_password("push", "u", password));
        let (access, nobody) = (Access { credential, ..Access::default() }, Access::default());
        let (from, to) = (repository(from), repository(to));
        let from = Place { access: &nobody, repository: &from };
        Key::of(from, Place { access: &access, repository: &to })
    }

    #[test]
    fn there_is_nothing_to_mount_elsewhere_or_from_itself() {
        assert!(key("a.test/x:1", "b.test/y:1", None).is_none());
        assert!(key("a.test/x:1", "a.test/x:2", None).is_none());
        assert!(key("a.test/x:1", "a.test/y:1", None).is_some());
    }

    #[test]
    fn a_refusal_is_of_a_source_and_an_identity_and_ends() {
        let (mounts, now) = (Mounts::default(), Instant::now());
        let of = |from: &str, password| key(from, "a.test/y:1", Some(password)).unwrap();
        mounts.refuse(of("a.test/x:1", "one"), now);
        assert!(mounts.refused(&of("a.test/x:2", "one"), now), "whatever the tag");
        assert!(!mounts.refused(&of("a.test/x:1", "two"), now));
        assert!(!mounts.refused(&of("a.test/z:1", "one"), now));
        assert!(!mounts.refused(&of("a.test/x:1", "one"), now + KEPT));
    }
}

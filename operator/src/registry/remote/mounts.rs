//! For whom mounts from a repository are asked, and refused.

use super::token::Identity;
use crate::registry::{Access, Place, Scope, tls::Fingerprint};

/// From where, for whom.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    host: String,
    from: String,
    identity: Option<Identity>,
    certificates: Option<Fingerprint>,
}

impl Key {
    /// `None` where there is nothing to mount: two registries, one repository, or two identities, of
    /// which the one that pushes was not said to read.
    pub(super) fn of(from: Place<'_>, to: Place<'_>) -> Option<Self> {
        let (source, target) = (from.repository, to.repository);
        let identity = |place: Place<'_>| place.access.credential.as_ref().map(Identity::of);
        let there = source != target && source.is_beside(target);
        (there && identity(from) == identity(to)).then(|| Self {
            host: source.host().into(),
            from: source.path().into(),
            identity: identity(to),
            certificates: to.access.certificates.fingerprint(),
        })
    }
}

/// Who asks for a mount: by the token of the run that has the rights on both, where there is one.
pub(super) fn both(from: Place<'_>, to: Place<'_>) -> Access {
    let (reads, writes) = (Scope::pull(from.repository), Scope::push(to.repository));
    let mut known = [to.access, from.access].into_iter();
    let known = known.find(|access| access.allows(&reads) && access.allows(&writes));
    let scopes = known.map_or_else(|| vec![writes, reads], |known| known.scopes.clone());
    Access { scopes, ..to.access.clone() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        oci::{Reference, Repository},
        registry::Credential,
    };

    fn repository(text: &str) -> Repository {
        text.parse::<Reference>().unwrap().repository().clone()
    }

    fn key(from: (&str, Option<&str>), to: (&str, Option<&str>)) -> Option<Key> {
        let access = |password: Option<&str>| {
            let credential = password.map(|word| Credential::of_password("push", "u", word));
            Access { credential, ..Access::default() }
        };
        let (reads, writes) = (access(from.1), access(to.1));
        let (from, to) = (repository(from.0), repository(to.0));
        let from = Place { access: &reads, repository: &from };
        Key::of(from, Place { access: &writes, repository: &to })
    }

    #[rstest]
    #[case::elsewhere(("a.test/x:1", None), ("b.test/y:1", None), false)]
    #[case::from_itself(("a.test/x:1", None), ("a.test/x:2", None), false)]
    #[case::nobody(("a.test/x:1", None), ("a.test/y:1", None), true)]
    #[case::one_identity(("a.test/x:1", Some("a")), ("a.test/y:1", Some("a")), true)]
    #[case::two_identities(("a.test/x:1", Some("a")), ("a.test/y:1", Some("b")), false)]
    #[case::read_by_nobody(("a.test/x:1", None), ("a.test/y:1", Some("b")), false)]
    fn there_is_something_to_mount(
        #[case] from: (&str, Option<&str>),
        #[case] to: (&str, Option<&str>),
        #[case] expected: bool,
    ) {
        assert_eq!(key(from, to).is_some(), expected);
    }

    #[test]
    fn nothing_is_mounted_from_an_archive() {
        let (access, app) = (Access::default(), repository("a.test/x:1"));
        let inside = Repository::in_archive("a.tar", &repository("a.test/y:1"));
        let place = |repository| Place { access: &access, repository };
        assert!(Key::of(place(&inside), place(&app)).is_none());
    }

    #[test]
    fn a_refusal_is_of_a_source_and_an_identity() {
        let of = |from, password| key((from, Some(password)), ("a.test/y:1", Some(password)));
        let refused = of("a.test/x:1", "one");
        assert!(refused == of("a.test/x:2", "one"), "whatever the tag");
        assert!(refused != of("a.test/x:1", "two"));
        assert!(refused != of("a.test/z:1", "one"));
    }

    #[test]
    fn the_token_of_the_run_that_has_both_is_taken() {
        let (from, to) = (repository("a.test/x:1"), repository("a.test/y:1"));
        let of = |scopes: &[Scope]| Access { scopes: scopes.to_vec(), ..Access::default() };
        let (reads, writes) = (Scope::pull(&from), Scope::push(&to));
        let more = Scope::pull(&repository("a.test/z:1"));
        let both = |source: &Access, target: &Access| {
            let from = Place { access: source, repository: &from };
            super::both(from, Place { access: target, repository: &to }).scopes
        };
        let all = [writes.clone(), reads.clone(), more];
        assert_eq!(both(&of(&all), &of(&all[..1])), all);
        assert_eq!(both(&of(&all[1..]), &of(&all)), all);
        assert_eq!(both(&of(&all[1..2]), &of(&all[..1])), [writes, reads]);
    }
}
